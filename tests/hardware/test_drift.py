"""The level behind noisy readings: a steady level is averaged, and a real drift is followed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from nas.hardware.drift import MOST_RESPONSE, FloatArray, response, smoothed

NOISE = 0.01
USUAL, DEVIATION = 0.5, 1.0


def rms(differences: FloatArray) -> float:
    return float(np.sqrt(np.mean(differences**2)))


def noisy(levels: FloatArray, rng: np.random.Generator) -> FloatArray:
    readings: FloatArray = levels + rng.normal(0, NOISE, len(levels))
    return readings


def test_a_steady_level_is_averaged(rng: np.random.Generator) -> None:
    """Sixty readings of a steady level are five times as accurate as one, and nearly as accurate as their mean."""
    errors, means = [], []
    for _ in range(50):
        readings_N = noisy(np.full(60, 0.3), rng)
        errors.append(rms(smoothed(readings_N) - 0.3))
        means.append(abs(float(readings_N.mean()) - 0.3))
    assert np.mean(errors) < NOISE / 5
    assert np.mean(errors) < 2 * np.mean(means)


def test_a_drift_is_followed(rng: np.random.Generator) -> None:
    """The level is off by less than 0.6 % and by less than a single reading, where the mean would be off by 3 %."""
    levels_N = 0.05 * np.sin(np.linspace(0, 6, 80))
    errors = [rms(smoothed(noisy(levels_N, rng)) - levels_N) for _ in range(20)]
    assert rms(levels_N - levels_N.mean()) > 0.03
    assert np.mean(errors) < 0.6 * NOISE


def test_a_step_is_followed(rng: np.random.Generator) -> None:
    """After a step of 20 %, the level is right immediately before and after it."""
    levels_N = np.where(np.arange(40) < 20, 0.0, 0.2)
    found_N = smoothed(noisy(levels_N, rng))
    assert np.abs(found_N[:18] - levels_N[:18]).max() < 0.03
    assert np.abs(found_N[22:] - levels_N[22:]).max() < 0.03
    assert found_N[21] - found_N[18] > 0.12


def test_a_step_without_noise_is_exact() -> None:
    """Readings without noise are not smoothed."""
    levels_N = np.array([0.0, 0.0, 0.0, 0.04, 0.04, 0.04])
    np.testing.assert_allclose(smoothed(levels_N), levels_N, atol=1e-3)


@pytest.mark.parametrize("place", [0, 7, 14])
def test_a_single_reading_far_off_moves_nothing(rng: np.random.Generator, place: int) -> None:
    """One outlier among fifteen readings moves no other level; the mean would be off by 2.7 %."""
    readings_N = noisy(np.zeros(15), rng)
    readings_N[place] += 0.4
    assert np.abs(smoothed(readings_N)).max() < NOISE


def test_the_likeliest_wins_over_its_neighbours(rng: np.random.Generator) -> None:
    """Smoothing improves a random walk with noise and leaves a walk without noise unchanged."""
    steps_N = rng.normal(0, 1, 200)
    walk_N = np.cumsum(steps_N)
    assert rms(smoothed(walk_N) - walk_N) < 0.35
    mixed_N = walk_N + rng.normal(0, 1, 200)
    assert rms(smoothed(mixed_N) - walk_N) < 0.8 * rms(mixed_N - walk_N)


@pytest.mark.parametrize(
    ("readings", "expected"), [([], []), ([0.1], [0.1]), ([0.1, 0.3], [0.2, 0.2]), ([0.1] * 3, [0.1] * 3)]
)
def test_few_readings_give_their_mean(readings: list[float], expected: list[float]) -> None:
    """Two readings give their mean, because they cannot show a drift. No readings give no level."""
    np.testing.assert_allclose(smoothed(np.array(readings)), expected)


@given(
    arrays(np.float64, st.integers(0, 25), elements=st.floats(-1, 1, width=32)), st.floats(-2, 2), st.floats(0.1, 10)
)
def test_levels_move_and_scale_with_their_readings(readings: FloatArray, offset: float, factor: float) -> None:
    """Levels are finite, lie within the readings, and do not depend on the unit or the zero point."""
    found = smoothed(readings)
    assert np.isfinite(found).all()
    if len(readings) == 0:
        return
    assert readings.min() - 1e-9 <= found.min() <= found.max() <= readings.max() + 1e-9
    if np.ptp(readings) > 1e-3:
        np.testing.assert_allclose(smoothed(offset + factor * readings), offset + factor * found, atol=2e-2 * factor)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 1.8])
def test_the_response_to_a_cause_is_found_where_the_cause_changed(slope: float, rng: np.random.Generator) -> None:
    """Fifteen readings with one per cent of noise, and a cause that varies by five per cent."""
    cause_N = 0.05 * np.sin(np.linspace(0, 6, 15))
    found, doubts = zip(
        *(response(noisy(slope * cause_N, rng), cause_N, USUAL, DEVIATION) for _ in range(30)), strict=True
    )
    assert np.mean(found) == pytest.approx(slope, abs=0.1)
    assert min(found) >= 0
    assert max(doubts) < DEVIATION / 4
    assert np.mean(np.abs(np.array(found) - slope) < 2 * np.array(doubts)) >= 0.85


def test_the_response_is_the_usual_one_where_nothing_changed(rng: np.random.Generator) -> None:
    """A constant cause tells nothing, and a single reading neither."""
    assert response(noisy(np.zeros(8), rng), np.full(8, 0.2), USUAL, DEVIATION) == (USUAL, DEVIATION)
    assert response(np.array([0.1]), np.array([0.3]), USUAL, DEVIATION) == (USUAL, DEVIATION)


def test_the_response_has_bounds() -> None:
    """Readings that fall with the cause, or rise five times as much, follow something else."""
    cause_N = np.linspace(0, 0.1, 15)
    assert response(-cause_N, cause_N, USUAL, DEVIATION)[0] == 0.0
    assert response(5 * cause_N, cause_N, USUAL, DEVIATION)[0] == MOST_RESPONSE
