"""Selecting winners and what to measure next, and picking a few points of a front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from fake_predictor import fit_fake
from made_up_beliefs import beliefs_of, of_simple
from tiny_space import TinySpace

from nas.searching.beliefs import Beliefs
from nas.searching.selection import (
    changing_the_front,
    choose_winners,
    folds_count,
    front_candidates,
    judged,
    only_misses,
    simple_winners,
    spread_over_front,
)
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.values.evaluation import BY_FOLDS, PARENT, VALIDATED, Evaluation, Failure
from nas.values.measurement import Measurement
from nas.values.pareto import non_dominated

ALL = list(enumerate_space(TinySpace()))
BEST, GOOD, FAIR, POOR = ALL[:4]


def beliefs_about(
    errors: Mapping[Architecture, float], readings: Mapping[Architecture, tuple[float, float]]
) -> Beliefs:
    """Return beliefs of a search for the least error within a millisecond.

    Each measured architecture has two readings. For all others some microseconds are predicted.
    """
    found = {a: Measurement("latency_ms", "", tuple((value,) for value in values)) for a, values in readings.items()}
    beliefs = beliefs_of(
        "latency_ms <= 1ms",
        rows=[
            *(Evaluation("measure", a, measurements={"latency_ms": each}) for a, each in found.items()),
            *(Evaluation("train", a, values={"error": error}) for a, error in errors.items()),
        ],
    )
    predicted = np.linspace(1e-3, 2e-3, len(ALL))
    beliefs.rely_on({"latency_ms": fit_fake(beliefs.describer, ALL, predicted, target="", seed=0)})
    return beliefs


def test_an_architecture_that_does_not_surely_meet_a_limit_hides_no_other() -> None:
    """The next best is measured, though the median of the best is within the limit."""
    beliefs = beliefs_about({BEST: 0.1, GOOD: 0.2, POOR: 0.4}, {BEST: (0.98, 1.01)})
    assert beliefs.probably_meets(BEST)
    (row,) = front_candidates(beliefs, surely=False)
    assert row.architecture == GOOD
    assert front_candidates(beliefs, surely=True) == []


NEAR_MISSES = {POOR: (0.9, 1.0), FAIR: (0.98, 1.02), GOOD: (0.98, 1.02), BEST: (2.0, 2.0)}


def test_the_best_of_the_nearest_misses_becomes_a_winner() -> None:
    """Upper bounds decide which are nearest, and then the objectives, not the order of training."""
    beliefs = beliefs_about({POOR: 0.4, FAIR: 0.3, GOOD: 0.2, BEST: 0.1}, NEAR_MISSES)
    assert choose_winners(beliefs, 1) == [GOOD]
    assert only_misses(beliefs)
    excesses = [beliefs.excess_of_bounds(each) for each in (FAIR, GOOD, POOR, BEST)]
    assert 0 < excesses[0] == excesses[1] < excesses[2] < excesses[3]


def test_a_candidate_that_surely_meets_the_limits_comes_before_any_miss() -> None:
    """Then no miss becomes a winner, however low its error is."""
    beliefs = beliefs_about({FAIR: 0.3, GOOD: 0.2, BEST: 0.1}, {**NEAR_MISSES, FAIR: (0.5, 0.5)})
    assert choose_winners(beliefs, 2) == [FAIR]
    assert not only_misses(beliefs)


def test_winners_that_were_chosen_stay_and_failed_ones_make_way() -> None:
    """A retraining that ended is kept; another architecture takes the place of one that failed."""
    within = dict.fromkeys((FAIR, GOOD, BEST), (0.5, 0.5))
    beliefs = beliefs_about({FAIR: 0.3, GOOD: 0.2, BEST: 0.1}, within)
    assert choose_winners(beliefs, 1) == [BEST]
    beliefs.add(Evaluation("retrain", BEST, failure=Failure("nan", "the loss is NaN")))
    assert choose_winners(beliefs, 1) == [GOOD]
    beliefs.add(Evaluation("retrain", GOOD))
    assert choose_winners(beliefs, 1) == [GOOD]


@pytest.mark.parametrize("seed", range(8))
def test_those_that_could_be_on_the_front_are_those_that_a_comparison_with_all_finds(seed: int) -> None:
    """Comparing each lower bound with the front alone leaves nothing out and adds nothing."""
    rng = np.random.default_rng(seed)
    beliefs = beliefs_about({a: float(rng.choice((0.1, 0.2, 0.3))) for a in ALL}, {BEST: (2e-3, 2e-3)})
    means = rng.choice(np.linspace(1e-3, 4e-3, 7), len(ALL))
    beliefs.rely_on({"latency_ms": fit_fake(beliefs.describer, ALL, means, target="", seed=0)})
    found = changing_the_front(beliefs, beliefs.candidates)
    losses = np.array([beliefs.losses(beliefs.values(row.architecture)) for row in beliefs.candidates])
    expected = []
    for index, row in enumerate(beliefs.candidates):
        others = losses.copy()
        others[index] = beliefs.losses(
            beliefs.values(row.architecture) | {"latency_ms": beliefs.predicted(row.architecture)["latency_ms"].lower}
        )
        if row.architecture not in beliefs.measurements and non_dominated(others)[index]:
            expected.append(row.architecture)
    assert found
    assert set(found) == set(expected)


def test_those_that_break_a_limit_by_their_mean_come_after_those_that_meet_it() -> None:
    """They add nothing to the front until a measurement says otherwise, however low their error is."""
    beliefs = beliefs_about({}, {})
    values = np.linspace(0.97, 1.03, len(ALL))
    beliefs.rely_on({"latency_ms": fit_fake(beliefs.describer, ALL, values, target="", seed=0)})
    means = beliefs.costs(ALL, "latency_ms")
    over, within = ALL[int(means.argmax())], ALL[int(means.argmin())]
    beliefs.add(Evaluation("train", over, values={"error": 0.1}), Evaluation("train", within, values={"error": 0.2}))
    assert not beliefs.probably_meets(over)
    assert changing_the_front(beliefs, beliefs.candidates) == [within, over]


def test_nothing_trained_gives_no_winners() -> None:
    """There are no misses either."""
    beliefs = beliefs_about({}, {})
    assert choose_winners(beliefs, 2) == []
    assert not only_misses(beliefs)


def test_the_best_in_the_first_objective_comes_first_and_then_what_adds_most() -> None:
    """Hypervolume over the scaled front prefers a point in a gap to one beside another."""
    losses = np.array([[0.0, 10.0], [0.1, 9.9], [0.5, 4.0], [1.0, 0.0]])
    assert spread_over_front(losses, 1) == [0]
    assert spread_over_front(losses, 2) == [0, 3]
    assert set(spread_over_front(losses, 3)) == {0, 2, 3}
    assert sorted(spread_over_front(losses, 9)) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_few_points_represent_a_flat_front_at_even_distances(count: int) -> None:
    """The ends, or points close to them, are picked."""
    first = np.linspace(0, 1, 61)
    picked = sorted(spread_over_front(np.column_stack([first, 1 - first]), count))
    assert picked[0] == 0
    assert picked[-1] >= 57
    assert np.diff(picked) == pytest.approx(60 / (count - 1), abs=3)


def test_an_exchange_corrects_a_greedy_choice() -> None:
    """The best second point is exchanged when three points are wanted: for the middle and the other end."""
    losses = np.array([[0.0, 1.0], [0.3, 0.62], [0.5, 0.45], [0.7, 0.25], [1.0, 0.0]])
    assert sorted(spread_over_front(losses, 3)) == [0, 2, 4]


def test_three_objectives_and_one() -> None:
    """Six of three objectives hold each corner or its neighbour; one objective gives one point."""
    grid = [(a, b, 10 - a - b) for a in range(11) for b in range(11 - a)]
    picked = {grid[index] for index in spread_over_front(np.array(grid, dtype=np.float64), 6)}
    assert len(picked) == 6
    assert min(max(point[axis] for point in picked) for axis in range(3)) >= 9
    assert spread_over_front(np.array([[2.0]]), 4) == [0]


@pytest.mark.parametrize("count", [0, 3])
def test_nothing_is_picked_from_nothing(count: int) -> None:
    """An empty front has no winners."""
    assert spread_over_front(np.empty((0, 2)), count) == []


def test_objectives_that_do_not_vary_are_ignored() -> None:
    """Equal values in an objective are not scaled."""
    assert sorted(spread_over_front(np.array([[1.0, 5.0], [1.0, 5.0]]), 2)) == [0, 1]


def test_of_candidates_with_equal_errors_the_one_with_the_lower_log_loss_wins() -> None:
    """A dozen validation items give many equal errors."""
    beliefs = beliefs_of(
        "latency_ms <= 1ms",
        rows=[
            *(
                Evaluation("measure", a, measurements={"latency_ms": Measurement("latency_ms", "", ((0.5,), (0.5,)))})
                for a in (BEST, GOOD, FAIR)
            ),
            Evaluation("train", BEST, values={"error": 0.1, "log_loss": 0.5}),
            Evaluation("train", GOOD, values={"error": 0.1, "log_loss": 0.2}),
            Evaluation("train", FAIR, values={"error": 0.1}),
        ],
    )
    assert choose_winners(beliefs, 3) == [GOOD, BEST, FAIR]
    assert choose_winners(beliefs, 1) == [GOOD]


def test_the_best_simple_models_are_winners_though_others_seem_better() -> None:
    """Those that no other simple one dominates, at most three, and none that breaks a limit."""
    beliefs = of_simple((0.1, 0.5, False), (0.3, 2.0, True), (0.2, 6.0, True), (0.35, 3.0, True), (0.1, 20.0, True))
    assert choose_winners(beliefs, 4) == [ALL[0]]
    assert simple_winners(beliefs) == [ALL[2], ALL[1]]
    many = of_simple(*((0.5 - 0.05 * number, 1.0 + number, True) for number in range(6)))
    assert len(simple_winners(many)) == 3
    assert simple_winners(many)[0] == ALL[5]


def test_there_may_be_no_simple_model() -> None:
    assert simple_winners(of_simple((0.1, 0.5, False))) == []
    assert simple_winners(of_simple((0.1, 20.0, True))) == []


def test_simple_models_that_were_retrained_take_no_place_of_others() -> None:
    """After a kill, what is retrained already is kept, but the search still makes the winners that it chose."""
    points = [(0.1, 5.0, False), (0.2, 3.0, True), (0.3, 1.0, False)]
    fresh = of_simple(*points)
    assert choose_winners(fresh, 1) == [ALL[0]]
    fresh.add(Evaluation("retrain", ALL[1], details={"epochs": 1, "fitted": True}))
    assert choose_winners(fresh, 1) == [ALL[0]]
    assert simple_winners(fresh) == [ALL[1]]
    assert choose_winners(fresh, 2) == [ALL[0], ALL[2]]


def test_simple_models_are_compared_by_folds_where_these_have_judged() -> None:
    """The second seemed better than the third by the few validation items, and costs more."""
    beliefs = of_simple((0.1, 0.5, False), (0.2, 6.0, True), (0.3, 2.0, True))
    assert simple_winners(beliefs) == [ALL[1], ALL[2]]
    for number, error in ((1, 0.3), (2, 0.25)):
        row = beliefs.trainings[ALL[number]]
        beliefs.add(replace(row, details={**row.details, BY_FOLDS: {"error": error, "standard_error": 0.01}}))
    assert simple_winners(beliefs) == [ALL[2]]


def by_folds(beliefs: Beliefs, *errors: float) -> None:
    """Let folds find other errors of the first simple models."""
    for architecture, error in zip(ALL, errors, strict=False):
        row = beliefs.trainings[architecture]
        beliefs.add(replace(row, details={**row.details, BY_FOLDS: {"error": error, "standard_error": 0.01}}))


def judged_errors(beliefs: Beliefs) -> list[float]:
    """Return the errors by which the front is found, in the order of the space."""
    found = {row.architecture: row.values["error"] for row in judged(beliefs)}
    return [found[each] for each in ALL if each in found]


def test_where_all_are_simple_the_front_is_that_by_folds() -> None:
    """On the few validation items the luckiest of many hides all that cost more."""
    points = [(0.10, 1.0, True), (0.12, 2.0, True), (0.15, 3.0, True)]
    beliefs = of_simple(*points)
    assert choose_winners(beliefs, 3) == [ALL[0]]
    by_folds(beliefs, 0.2, 0.3, 0.16)
    assert judged_errors(beliefs) == [0.2, 0.3, 0.16]
    assert choose_winners(beliefs, 3) == [ALL[2], ALL[0]]
    assert beliefs.trainings[ALL[0]].values["error"] == 0.10, "rows stay as they are"
    mixed = of_simple(*points, (0.11, 4.0, False))
    by_folds(mixed, 0.2, 0.3, 0.16)
    assert choose_winners(mixed, 3) == [ALL[0]], "one that was tuned was judged by validation items alone"
    parent = mixed.trainings[ALL[3]]
    mixed.add(replace(parent, details={"epochs": 0}))
    assert choose_winners(mixed, 3) == [ALL[3], ALL[2], ALL[0]], "a parent is as it is"


def test_folds_that_the_validation_split_does_not_bear_out_are_dropped() -> None:
    """Where each object is there twice, folds promise 12 % and the split of the user says 31 %."""
    for error, wanted in ((0.30, [0.31, 0.33]), (0.27, [0.27, 0.28])):
        beliefs = of_simple((0.31, 1.0, True), (0.33, 2.0, True))
        for place, architecture in enumerate(ALL[:2]):
            row = beliefs.trainings[architecture]
            found = {"error": error + place / 100, "standard_error": 0.01, VALIDATED: 0.025}
            if error == 0.30:
                found["error"] -= 0.18
            beliefs.add(replace(row, details={**row.details, BY_FOLDS: found}))
        assert judged_errors(beliefs) == pytest.approx(wanted)
        assert folds_count(beliefs) is (error != 0.30)


def test_a_simple_model_that_folds_did_not_judge_keeps_its_error() -> None:
    """It has too many features for that. The others are judged all the same."""
    beliefs = of_simple((0.10, 2.0, True), (0.13, 1.0, True))
    by_folds(beliefs, 0.2)
    assert judged_errors(beliefs) == [0.2, 0.13]


def winner_at(architecture: Architecture, latency_ms: float) -> Evaluation:
    measured = Measurement("latency_ms", "", ((latency_ms,), (latency_ms,)))
    return Evaluation("winner", architecture, measurements={"latency_ms": measured}, details={"test_error": 0.2})


def test_a_winner_that_breaks_a_limit_in_the_end_makes_way_for_one_that_meets_it() -> None:
    """On a busy machine the last measurement may be the longest. Then the next best candidate becomes a winner too."""
    beliefs = of_simple((0.1, 5.0, True), (0.3, 9.0, True), (0.4, 11.0, False))
    assert choose_winners(beliefs, 1) == simple_winners(beliefs) == [ALL[0]]
    beliefs.add(winner_at(ALL[0], 9.9))
    assert choose_winners(beliefs, 1) == [ALL[0]]
    beliefs.add(winner_at(ALL[0], 10.1))
    assert choose_winners(beliefs, 1) == simple_winners(beliefs) == [ALL[1]]
    beliefs.add(winner_at(ALL[1], 10.2))
    assert choose_winners(beliefs, 1) == [ALL[0]], "nothing is left that meets the limit"


def test_a_parent_that_breaks_a_limit_takes_no_place_of_those_that_broke_it_in_the_end() -> None:
    """It is a winner anyhow, and usually slower than the limit."""
    beliefs = of_simple((0.1, 50.0, False), *((0.1 * each, 9.0, False) for each in range(2, 6)))
    parent = winner_at(ALL[0], 50.0)
    beliefs.add(replace(parent, details={**parent.details, PARENT: True}))
    beliefs.add(*(winner_at(each, 10.1) for each in ALL[1:4]))
    assert ALL[4] in choose_winners(beliefs, 1)


@pytest.mark.parametrize("count", [1, 2])
def test_a_parent_that_met_the_limit_before_makes_way_too(count: int) -> None:
    beliefs = of_simple((0.1, 9.9, False), (0.2, 5.0, False), (0.3, 4.0, False))
    parent = winner_at(ALL[0], 10.1)
    beliefs.add(replace(parent, details={**parent.details, PARENT: True}))
    assert choose_winners(beliefs, count) == ALL[1 : count + 1]
