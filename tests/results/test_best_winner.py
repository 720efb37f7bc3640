"""The best winner is chosen by what the search knew: by folds, and by validation items."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from judged_winners import front, rows_of, simple
from run_record_example import architecture_at

from nas.results.best_winner import best_judged, best_of, luck, standard_error
from nas.results.front import Front
from nas.values.evaluation import BY_FOLDS, FITTED, TESTED_PER_VALIDATED, TRIED
from nas.values.metric import METRICS


def test_the_test_has_no_part_in_the_choice() -> None:
    found = front(rows_of(0, 0.10, {"error": 0.3}), rows_of(1, 0.20, {"error": 0.2}))
    assert found.best.test_error == 0.20
    assert found.best.searched == {"error": 0.2}


def test_of_equal_errors_the_lower_log_loss_is_better_and_then_the_lower_latency() -> None:
    first, second = {"error": 0.2, "log_loss": 0.9}, {"error": 0.2, "log_loss": 0.7}
    assert front(rows_of(0, 0.2, first), rows_of(1, 0.3, second)).best.architecture == architecture_at(1)
    assert front(rows_of(1, 0.3, second), rows_of(0, 0.2, second)).best.architecture == architecture_at(0)


@pytest.mark.parametrize(("validation", "best"), [(0.185, 0), (0.175, 1)])
def test_a_simple_model_gives_way_only_to_one_that_is_better_by_more_than_the_standard_error(
    validation: float, best: int
) -> None:
    """Its own validation error is 0.2, and the standard error 0.02."""
    found = front(simple(0, 0.3, validation=0.2, folds=0.25), rows_of(1, 0.1, {"error": validation}))
    assert standard_error(found[f"{architecture_at(0).id}"]) == pytest.approx(0.02)
    assert found.best.architecture == architecture_at(best)


@pytest.mark.parametrize(("tried", "best"), [(1, 1), (2, 1), (30, 0), (1000, 0)])
def test_the_luckiest_of_many_must_be_better_by_more(tried: int, best: int) -> None:
    """It is better by 1.75 standard errors: more than chance with one or two candidates, and less with thirty."""
    network = rows_of(1, 0.1, {"error": 0.165})
    network[-1] = replace(network[-1], details={**network[-1].details, TRIED: tried})
    found = front(simple(0, 0.3, validation=0.2, folds=0.25), network)
    assert found.best.architecture == architecture_at(best)


def test_luck_is_the_expected_largest_of_normal_deviates() -> None:
    """Known values for 2, 10 and 100 are 0.56, 1.54 and 2.51; one standard error is the least."""
    assert luck(1) == luck(2) == 1.0
    assert luck(10) == pytest.approx(1.54, abs=0.02)
    assert luck(100) == pytest.approx(2.51, abs=0.02)
    drawn = np.random.default_rng(0).normal(size=(4000, 30)).max(axis=1)
    assert luck(30) == pytest.approx(drawn.mean(), abs=0.03)


def test_a_lucky_simple_model_hides_no_network_that_is_better_than_the_best_one() -> None:
    """The luckiest by validation is a simple model too; what folds say of it is worse."""
    lucky = simple(0, 0.3, validation=0.05, folds=0.3)
    found = front(lucky, simple(1, 0.2, validation=0.2, folds=0.2), rows_of(2, 0.1, {"error": 0.06}))
    assert found.best.architecture == architecture_at(2)


def test_what_was_retrained_for_much_longer_is_not_judged_by_the_search() -> None:
    """Twice as much training is alike, and more is another model: then the test is all that there is."""
    for epochs, best in ((4, 0), (5, 1)):  # of all items, after 4 epochs of half of them
        found = front(simple(0, 0.3, validation=0.2, folds=0.2), rows_of(1, 0.1, {"error": 0.2}, epochs=epochs))
        assert found.best.architecture == architecture_at(best)


@pytest.mark.parametrize("changes", [{"by": "zero-cost"}, {"by": "supernet"}])
def test_estimated_errors_choose_nothing(changes: dict[str, Any]) -> None:
    found = front(rows_of(0, 0.3, {"error": 0.1}, **changes), rows_of(1, 0.2, {"error": 0.2}, **changes))
    assert found.best.architecture == architecture_at(1)


def test_a_run_of_an_earlier_version_keeps_its_best_winner() -> None:
    """Its rows have errors of the search too, but do not say how many items were behind them."""
    rows = [*rows_of(0, 0.3, {"error": 0.1}), *rows_of(1, 0.2, {"error": 0.2})]
    for row in rows:
        if row.stage == "winner":
            del cast(dict[str, Any], row.details)[TESTED_PER_VALIDATED]
    assert front(rows).best.architecture == architecture_at(1)


def test_folds_choose_among_simple_models_though_validation_says_otherwise() -> None:
    found = front(simple(0, 0.3, validation=0.2, folds=0.22), simple(1, 0.1, validation=0.1, folds=0.25))
    assert found.best.architecture == architecture_at(0)


def test_fewer_validation_items_make_a_larger_standard_error() -> None:
    (winner,) = front(simple(0, 0.3, validation=0.2, folds=0.25))
    assert standard_error(replace(winner, tested_per_validated=4.0)) == pytest.approx(0.04)


def test_what_is_known_of_some_alone_chooses_nothing() -> None:
    """Runs of earlier versions, and winners of tables, are compared by the values that they are shown with."""
    known, unknown = rows_of(0, 0.3, {"error": 0.1}), rows_of(1, 0.2, {})
    assert front(known, unknown).best.architecture == architecture_at(1)
    assert best_of([], METRICS["error"]) is None


def test_another_quality_is_compared_by_validation_alone() -> None:
    one = rows_of(
        0,
        0.3,
        {"error": 0.2, "balanced_error": 0.30},
        **{FITTED: True, BY_FOLDS: {"error": 0.1, "standard_error": 0.01}},
    )
    other = rows_of(1, 0.3, {"error": 0.2, "balanced_error": 0.29})
    winners = list(front(one, other))
    best = best_of(winners, METRICS["balanced_error"])
    assert best is not None
    assert best.architecture == architecture_at(1)


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ([(0.045, 0.26), (0.05, 0.22), (0.09, 0.1)], 1),  # the last one is surely worse
        ([(0.045, None), (0.05, None)], 0),
        ([(0.05, 0.2), (0.045, None)], 1),
        ([(0.05, 0.2), (0.04, 0.2)], 1),
    ],
)
def test_errors_within_a_standard_error_are_told_apart_by_log_loss(
    found: list[tuple[float, float | None]], best: int
) -> None:
    judged = [
        {"error": error, "standard_error": 0.015, **({} if loss is None else {"log_loss": loss})}
        for error, loss in found
    ]
    assert best_judged(judged) == best


def test_a_note_says_why_the_winner_of_the_test_is_not_the_best() -> None:
    network, other = rows_of(1, 0.1, {"error": 0.19}), rows_of(2, 0.15, {"error": 0.18})
    simple_best, lucky = front(simple(0, 0.3, validation=0.2, folds=0.2), network), front(network, other)
    first, second, third = (architecture_at(number).id for number in range(3))
    assert said_of(simple_best) == [
        f"The search chose {first} as the best, though the test of {second} looks better: in the search none was "
        "better than this simple model by more than luck may explain."
    ]
    assert said_of(lucky) == [
        f"The search chose {third} as the best, though the test of {second} looks better: the luckiest of several "
        "tests looks better than the model is."
    ]
    assert said_of(front(network)) == []
    judged_well = front(simple(0, 0.3, validation=0.2, folds=0.2), simple(1, 0.1, validation=0.2, folds=0.3))
    assert said_of(judged_well) == [
        f"The search chose {first} as the best, though the test of {second} looks better: folds over all training and "
        "validation items found 80.00 % against 70.00 %."
    ]


def said_of(found: Front) -> list[str]:
    """Return what the notes of the best winner say of the choice."""
    notes = dict(zip((winner.architecture for winner in found), found.notes, strict=True))
    return [note for note in notes[found.best.architecture] if note.startswith("The search chose")]
