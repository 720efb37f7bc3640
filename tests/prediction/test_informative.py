"""Which architectures are measured first on a new target."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_devices import SPACE, TARGET_DEVICE, Device, drawn

from nas.prediction.informative import most_informative, own_features, prior_covariance
from nas.prediction.medoids import medoids
from nas.prediction.predictor import FloatArray

DEVICES = (Device(), Device(0.02, 1e-8, 5e-8, 3e-6), Device(0.001, 8e-8, 4e-7, 1e-7))


def elsewhere_of(count: int) -> FloatArray:
    """Return logarithms of the latencies of drawn architectures on three devices."""
    return np.log(np.column_stack([device.latencies_ms(drawn(count, seed=1)) for device in DEVICES]))


def variance_left(covariance: FloatArray, rows: list[int]) -> float:
    """Return the mean variance after measuring some rows, by the formula for all of them at once."""
    seen = covariance[np.ix_(rows, rows)] + 0.15 * np.eye(len(rows))
    told = covariance[:, rows] @ np.linalg.solve(seen, covariance[rows])
    return float((np.diag(covariance) - np.diag(told)).mean())


def test_what_is_chosen_leaves_less_variance_than_what_is_drawn_or_central() -> None:
    covariance = prior_covariance(own_features(SPACE, drawn(300, seed=1)), elsewhere_of(300))
    for count in (5, 10, 20):
        chosen = most_informative(covariance, count)
        assert len(set(chosen.tolist())) == count
        left = variance_left(covariance, chosen.tolist())
        rng = np.random.default_rng(0)
        others = [rng.choice(300, count, replace=False) for _ in range(20)] + [medoids(elsewhere_of(300), count, rng)]
        assert left < 0.95 * min(variance_left(covariance, rows.tolist()) for rows in others)


def test_each_choice_is_the_best_one_after_those_before_it() -> None:
    """Of the nine tenths that are usual, by the formula for all rows at once."""
    covariance = prior_covariance(own_features(SPACE, drawn(60, seed=1)), elsewhere_of(60))
    usual = np.flatnonzero(np.diag(covariance) <= np.quantile(np.diag(covariance), 0.9)).tolist()
    chosen = most_informative(covariance, 4).tolist()
    for index in range(4):
        before = chosen[:index]
        left = {row: variance_left(covariance, [*before, row]) for row in usual if row not in before}
        assert left[chosen[index]] == pytest.approx(min(left.values()))


def test_ten_measurements_tell_which_device_to_believe() -> None:
    """The shares of three devices in a fourth are told far better than by ten at random."""
    logs = elsewhere_of(300)
    columns = np.hstack([np.ones((300, 1)), (logs - logs.mean(axis=0)) / logs.std(axis=0)])
    chosen = most_informative(prior_covariance(own_features(SPACE, drawn(300, seed=1)), logs), 10)
    rng = np.random.default_rng(0)

    def uncertainty(rows: FloatArray) -> float:
        return float(np.trace(np.linalg.inv(rows.T @ rows + 0.01 * np.eye(4))))

    at_random = [uncertainty(columns[rng.choice(300, 10, replace=False)]) for _ in range(50)]
    assert uncertainty(columns[chosen]) < 0.8 * np.quantile(at_random, 0.1)


def test_rows_that_were_measured_come_first_and_count() -> None:
    covariance = prior_covariance(own_features(SPACE, drawn(100, seed=1)), elsewhere_of(100))
    alone = most_informative(covariance, 6)
    more = most_informative(covariance, 8, first=alone.tolist())
    assert more[:6].tolist() == alone.tolist()
    assert more.tolist() == most_informative(covariance, 8).tolist()
    unusual = int(np.diag(covariance).argmax())
    assert most_informative(covariance, 3, first=[unusual, unusual])[0] == unusual
    assert unusual not in most_informative(covariance, 30)


def test_few_rows_are_all_taken() -> None:
    """So is an unusual one, where the others are too few."""
    covariance = prior_covariance(own_features(SPACE, drawn(10, seed=1)), elsewhere_of(10))
    assert sorted(most_informative(covariance, 10).tolist()) == list(range(10))
    assert sorted(most_informative(covariance, 12, first=[4]).tolist()) == list(range(10))
    assert most_informative(covariance, 12, first=[4])[0] == 4
    assert len(set(most_informative(covariance, 9).tolist())) == 9
    with pytest.raises(ValueError, match="at least 1, but got 0"):
        most_informative(covariance, 0)


def test_without_other_targets_sizes_and_choices_decide() -> None:
    """Equal costs on another target tell nothing either."""
    own = own_features(SPACE, drawn(80, seed=1))
    assert len(np.unique(own.round(9), axis=0)) == 80
    nothing = prior_covariance(own, np.empty((80, 0)))
    np.testing.assert_array_equal(nothing, prior_covariance(own, np.zeros((80, 2))))
    chosen = most_informative(nothing, 10).tolist()
    logs = np.log(TARGET_DEVICE.latencies_ms([drawn(80, seed=1)[row] for row in chosen]))
    assert np.ptp(logs) > 0.5 * np.ptp(np.log(TARGET_DEVICE.latencies_ms(drawn(80, seed=1))))
