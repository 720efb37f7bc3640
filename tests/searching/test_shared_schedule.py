"""The time of weights that the parts of a parent share: how long they are tuned, and what scoring keeps."""

from __future__ import annotations

import pytest
from made_schedule import Clock, schedule

from nas.searching.schedule import SCORING_SHARE


@pytest.mark.parametrize(
    ("epoch_s", "time_s", "epochs"), [(0.0, 600, 12), (10.0, 600, 12), (30.0, 600, 6), (900.0, 600, 1)]
)
def test_shared_weights_are_tuned_for_a_third_of_the_time(epoch_s: float, time_s: float, epochs: int) -> None:
    """And as long as asked for where there is no time, or an epoch takes nobody knows how long."""
    keys = {"evaluate": "supernet", "supernet": {"epochs": 12, "check": 4}}
    planned = schedule(search_time_s=time_s, **keys)
    planned.durations.supernet_epoch_s = epoch_s
    assert planned.supernet_epochs() == epochs
    untimed = schedule(**keys)
    untimed.durations.supernet_epoch_s = epoch_s
    assert untimed.supernet_epochs() == 12


def test_candidates_are_scored_though_winners_would_take_all_the_time() -> None:
    """For a sixth of it; fewer winners are made then."""
    clock = Clock()
    planned = schedule(search_time_s=600, evaluate="supernet", rounds=1, clock=clock)
    clock.now_s = 590.0
    assert planned.end_of_round_s(1) == pytest.approx(590.0 + SCORING_SHARE * 600)
    trained = schedule(search_time_s=600, rounds=1, clock=clock)
    assert trained.end_of_round_s(1) == pytest.approx(590.0)


def test_scoring_takes_its_least_time_once_and_not_again_in_the_last_round() -> None:
    """Each of three rounds has a third of it, so the time of winners stays theirs."""
    clock = Clock()
    planned = schedule(search_time_s=600, evaluate="supernet", rounds=3, clock=clock)
    clock.now_s = 590.0
    assert planned.rounds_from(3) == planned.rounds_from(1) == 1
    assert planned.end_of_round_s(3) == pytest.approx(590.0 + SCORING_SHARE * 600 / 3)


def test_the_plan_has_the_tuning_of_shared_weights_and_its_check() -> None:
    planned = schedule(search_time_s=600, evaluate="supernet", supernet={"epochs": 12, "check": 4})
    assert "shared weights" not in planned.text(1)
    planned.durations.supernet_epoch_s, planned.durations.guess = 10.0, 2.0
    assert "tune shared weights for 12 epochs (2 min 00 s), train 4 alone, as a check (" in planned.text(1)


def test_a_short_time_has_fewer_checks_or_none() -> None:
    """A check needs three trainings, and takes a sixth of the time at most."""
    keys = {"evaluate": "supernet", "training": {"epochs": 1}, "supernet": {"check": 6}}

    def checks(epoch_s: float, **more: float) -> int:
        planned = schedule(**keys, **more)
        planned.durations.guess = epoch_s
        return planned.checks()

    assert [checks(each, search_time_s=600) for each in (1.0, 18.0, 30.0, 31.0)] == [6, 5, 3, 0]
    assert checks(1000.0) == 6


def test_shared_weights_leave_the_time_of_winners() -> None:
    """And that of scoring. What is left is less than a third of the time."""
    planned = schedule(search_time_s=600, evaluate="supernet", training={"epochs": 1}, retraining={"epochs": 2})
    planned.durations.supernet_epoch_s, planned.durations.guess = 10.0, 5.0
    assert planned.sharing_s == pytest.approx(180.0)
    planned.durations.guess = 60.0
    assert planned.checks() == 0
    kept_s = SCORING_SHARE * 600 + planned.reserve_s
    assert planned.reserve_s > 100
    assert 0 < planned.sharing_s < 600 - kept_s
    assert planned.supernet_epochs() == max(1, int(planned.sharing_s / 10))
