"""Power laws and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from nas.reports.analysis.power_law import power_law


def test_an_exact_power_law_is_found() -> None:
    sizes = np.geomspace(10, 1000, 20)
    law = power_law(sizes[:, None], 3 * sizes**0.7)
    assert law is not None
    (exponent,) = law.exponents
    assert (exponent.value, exponent.lower, exponent.upper) == pytest.approx((0.7, 0.7, 0.7))
    assert exponent.of_twice == pytest.approx(2**0.7)
    assert law.explained == pytest.approx(1)
    assert law.bend is None
    assert law.curve is not None
    at, middle, _, _ = law.curve
    assert middle == pytest.approx(3 * at**0.7)


def test_the_slope_of_three_levels_by_hand() -> None:
    """At sizes 1, 2 and 4, three values each of 2⁰, 2¹ and 2²: the exponent is 1, and HC3 finds no doubt."""
    sizes = np.repeat([1.0, 2.0, 4.0], 3)
    values = sizes * np.tile([0.5, 1.0, 2.0], 3)
    law = power_law(sizes[:, None], values)
    assert law is not None
    exponent = law.exponents[0]
    # Residuals are ±ln 2 and 0 at each level; leverage is 1/9 + 1/6 at the ends and 1/9 in the middle.
    ends, slope_spread = (np.log(2) / (1 - 1 / 9 - 1 / 6)) ** 2, 6 * np.log(2) ** 2
    error = np.sqrt(4 * ends * np.log(2) ** 2) / slope_spread
    assert exponent.value == pytest.approx(1)
    assert exponent.upper - exponent.value == pytest.approx(2.364624 * error, rel=1e-5)


def test_the_interval_contains_the_truth_in_most_draws() -> None:
    """Of 200 draws with spread that grows along the sizes, about 95 % contain the exponent."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        sizes = rng.lognormal(5, 1, 25)
        noise = rng.normal(0, 0.1 + 0.05 * np.log(sizes).clip(0), 25)
        law = power_law(sizes[:, None], sizes**0.5 * np.exp(noise))
        assert law is not None
        inside += law.exponents[0].lower <= 0.5 <= law.exponents[0].upper
    assert 0.9 <= inside / 200 <= 0.99


def test_two_sizes_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.lognormal(3, 1, (60, 2))
    law = power_law(sizes, sizes[:, 0] ** 0.8 * sizes[:, 1] ** 1.1)
    assert law is not None
    assert [each.value for each in law.exponents] == pytest.approx([0.8, 1.1])


def test_a_bent_line_is_called_bent() -> None:
    """A latency with a floor hardly grows at first; a straight line does not bend, whatever the noise."""
    rng = np.random.default_rng(0)
    sizes = np.geomspace(1, 10_000, 60)
    floor = power_law(sizes[:, None], (1 + sizes / 100) * rng.lognormal(0, 0.02, 60))
    assert floor is not None
    assert floor.bend is not None
    assert floor.bend[0] < 0.2 < 0.8 < floor.bend[1]
    straight = power_law(sizes[:, None], sizes**0.5 * rng.lognormal(0, 0.1, 60))
    assert straight is not None
    assert straight.bend is None


@pytest.mark.parametrize(
    ("sizes", "values"),
    [
        (np.geomspace(1, 9, 7), np.ones(7)),
        (np.geomspace(10, 11, 20), np.arange(1.0, 21)),
        (np.full(20, 3.0), np.arange(1.0, 21)),
        (np.geomspace(1, 9, 20), np.zeros(20)),
    ],
    ids=["few", "alike", "equal", "zero"],
)
def test_nothing_is_told_where_nothing_can_be(sizes: np.ndarray, values: np.ndarray) -> None:
    assert power_law(sizes[:, None], values) is None


def test_sizes_that_grow_together_are_not_told_apart() -> None:
    sizes = np.geomspace(1, 100, 20)
    assert power_law(np.column_stack([sizes, sizes**2]), sizes) is None


def test_values_that_hardly_differ_have_bounds() -> None:
    """Sizes of files of a pretrained model with two heads at two resolutions, for which a report could not be written.

    Rounding made the variance at the larger resolution negative, because all values there are equal.
    """
    side = np.array([0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0])
    values = np.full(14, 13_491_695.0)
    values[[1, 3]] = 13_477_332.0
    law = power_law(np.where(side, 27_648.0, 12_288.0)[:, None], values)
    assert law is not None
    assert law.curve is not None
    assert np.isfinite(np.concatenate(law.curve)).all()
    assert np.isfinite([bound for each in law.exponents for bound in (each.value, each.lower, each.upper)]).all()
