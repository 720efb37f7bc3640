"""The replay of recorded trainings: the order of workers, the rules that stop, and the score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import early_stopping
from experiments.early_stopping_replay import (
    ForeseeingRule,
    HalvingRule,
    MedianRankRule,
    ProductRule,
    RandomRule,
    Training,
    orders,
    replay,
    score,
)
from nas.recipe.training_sections import EarlyStoppingRecipe


class StopsAt:
    """Stops every training at an epoch, and records the calls."""

    trust = None

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self.seen: list[tuple[int, int]] = []
        self.ended: list[Training] = []

    def report(self, index: int, training: Training, epoch: int) -> bool:
        self.seen.append((index, epoch))
        return epoch < self._epoch

    def end(self, training: Training) -> None:
        self.ended.append(training)


def trainings(*lasts: float, epoch_s: float = 1.0) -> list[Training]:
    """Return trainings of four epochs with these last errors and with costs 1, 2, …"""
    return [
        Training((last + 0.3, last + 0.2, last + 0.1, last), 1.0 + index, epoch_s) for index, last in enumerate(lasts)
    ]


def test_one_worker_trains_one_after_the_other() -> None:
    """A single worker trains in the given order, each training until it is stopped."""
    rule = StopsAt(2)
    found = replay(trainings(0.1, 0.2), [1, 0], 1, rule)
    assert rule.seen == [(1, 1), (1, 2), (0, 1), (0, 2)]
    assert found.epochs == (2, 2)
    assert found.decisions == {1: (2, 2), 2: (2, 0)}
    assert rule.ended == []


def test_a_free_worker_takes_the_next_training() -> None:
    """The worker of a fast training begins another one before the slow training reports twice."""
    slow, quick = trainings(0.1, epoch_s=5.0), trainings(0.2, 0.3)
    rule = StopsAt(5)
    found = replay([*slow, *quick], [0, 1, 2], 2, rule)
    assert rule.seen[:6] == [(1, 1), (1, 2), (1, 3), (1, 4), (0, 1), (2, 1)]
    assert found.epochs == (4, 4, 4)
    assert len(rule.ended) == 3


def test_the_search_rule_stops_dominated_trainings() -> None:
    """The class of the search stops no training before enough are whole, then those that others dominate."""
    kept = [Training((0.3 + 0.1 * index, 0.2 + 0.1 * index, 0.1 + 0.1 * index), 1.0, 1.0) for index in range(6)]
    settings = EarlyStoppingRecipe(check=3, reduction=2, keep=0.1, min_peers=2)
    found = replay(kept, range(6), 1, ProductRule(settings, 3))
    assert found.epochs == (3, 3, 3, 1, 1, 1)
    assert found.trust is not None
    assert found.trust.relied_on == (1,)


def test_the_random_rule_continues_the_same_share() -> None:
    """The random rule continues half of the trainings at epoch 2, and all at the other epochs."""
    kept = trainings(*[0.1] * 400)
    found = replay(kept, range(400), 1, RandomRule({2: (10, 5)}, seed=0))
    assert set(found.epochs) == {2, 4}
    assert found.epochs.count(2) == pytest.approx(200, abs=30)


def test_the_foreseeing_rule_stops_what_earlier_ones_dominate() -> None:
    """A training goes on beyond the epoch unless one that went on before ends with no more error and costs no more."""
    found = replay(trainings(0.3, 0.4, 0.2, 0.2), range(4), 1, ForeseeingRule(2))
    assert found.epochs == (4, 2, 4, 2)
    assert score(trainings(0.3, 0.4, 0.2, 0.2), found.epochs, [1.0] * 4).lost == 0


def test_the_median_of_ranks_stops_the_worse_half() -> None:
    """After five whole trainings one that they dominate is stopped at once, and one of the front goes on."""
    kept = [Training((0.5, 0.4, 0.1 + 0.01 * n), 1.0 + n, 1.0) for n in range(5)]
    kept += [Training((0.9, 0.9, 0.9), 9.0, 1.0), Training((0.2, 0.2, 0.2), 9.0, 1.0)]
    assert replay(kept, range(7), 1, MedianRankRule()).epochs == (3, 3, 3, 3, 3, 1, 3)


def test_halving_stops_what_is_not_in_the_best_third() -> None:
    """Of worse and worse trainings the first alone ends; better and better ones all do, whatever costs say."""
    pytest.importorskip("syne_tune")
    worse = [Training((0.1 * n,) * 9, 1.0, 1.0) for n in range(1, 6)]
    for costs in (False, True):
        assert replay(worse, range(5), 1, HalvingRule(9, costs=costs)).epochs == (9, 1, 1, 1, 1)
        assert replay(worse[::-1], range(5), 1, HalvingRule(9, costs=costs)).epochs == (9, 9, 9, 9, 9)
    mixed = [Training((error,) * 9, 1.0, 1.0) for error in (0.5, 0.9, 0.1, 0.7)]
    assert replay(mixed, range(4), 1, HalvingRule(9)).epochs == (9, 1, 9, 1)
    released = replay(mixed, range(4), 1, HalvingRule(9, as_released=True))
    assert released.epochs == (9, 1, 9, 3), "its rungs take the order for places"


def test_the_score_of_savings_and_losses() -> None:
    """Savings weigh epochs by their images, and losses are a share of the front's hypervolume."""
    kept = [Training((0.5, 0.1), 100.0, 1.0), Training((0.5, 0.3), 1.0, 1.0), Training((0.5, 0.5), 100.0, 1.0)]
    everything = score(kept, [2, 2, 2], [1.0, 1.0])
    assert (everything.ratio, everything.lost, everything.front_stopped, everything.whole) == (1.0, 0.0, 0, 3)
    stopped = score(kept, [1, 2, 1], [0.25, 1.0])
    assert stopped.ratio == pytest.approx(3 * 1.25 / (0.25 + 1.25 + 0.25))
    assert stopped.front_stopped == 1
    # Scaled, the front is (0, 1) and (0.5, 0): 1.1 * 0.1 + 0.6 * 1.0; without the first 0.6 * 1.1 is left.
    assert stopped.lost == pytest.approx(1 - 0.6 * 1.1 / (1.1 * 0.1 + 0.6 * 1.0))


def test_orders_begin_with_the_recorded_one() -> None:
    """The other orders are shuffles of the recorded one, the same in every call."""
    found = orders(5, 3)
    assert found[0] == [0, 1, 2, 3, 4]
    assert all(sorted(order) == found[0] for order in found)
    assert found == orders(5, 3)


def test_the_command_replays_the_set_beside_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the rules side by side and writes them as JSON."""
    out = tmp_path / "out.json"
    options = ["replay", "--first", "12", "--shuffles", "1", "--early-stopping", "check=4", "--json", str(out)]
    assert early_stopping.main(options) == 0
    figures = json.loads(out.read_text())
    assert figures["orders"] == 2
    assert figures["rules"]["none"]["ratio"] == [1.0]
    assert all(0 <= lost < 100 for rule in figures["rules"].values() for lost in rule["lost_percent"])
    assert figures["rules"]["early_stopping"]["ratio"][0] >= 1
    assert figures["rules"]["foreseeing, 1"]["lost_percent"] == pytest.approx([0, 0])
    printed = capsys.readouterr().out
    assert "12 trainings of" in printed
    assert "Spearman of errors with the last ones, all 12 trainings" in printed
