"""Sentences that set winners beside the model that they were made from."""

from __future__ import annotations

from dataclasses import replace

from nas.results.notes.parent_notes import parent_notes
from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.error_words import ErrorWords
from nas.values.measurement import Interval, Measurement
from nas.values.metric import METRICS

COSTS = (METRICS["latency_ms"], METRICS["params"])


def winner(width: int, error: float, latency_ms: float) -> Winner:
    measured = {"latency_ms": Measurement("latency_ms", "t", ((latency_ms,), (latency_ms,)))}
    architecture = Architecture({"width": width})
    return Winner(architecture, error, Interval(error, error), {}, measured, {"params": 100.0 * width}, "")


PARENT = replace(winner(8, 0.2, 4.0), is_parent=True)


def test_a_winner_is_told_what_it_keeps_and_saves() -> None:
    """The shares are of what people see: the accuracy, and each cost that both have."""
    small = winner(2, 0.24, 1.0)
    own = small.architecture.id
    assert parent_notes(small, PARENT, COSTS) == [
        f"{own} keeps 95.0 % of the parent's test accuracy at 25 % of its latency and 25 % of its parameters."
    ]
    assert parent_notes(replace(small, measurements={}), PARENT, COSTS[:1]) == [
        f"{own} keeps 95.0 % of the parent's test accuracy."
    ]


def test_an_error_without_an_accuracy_is_a_multiple() -> None:
    """As of a regression."""
    words = ErrorWords(noun="rows", error="relative squared error", accuracy="", is_share=False)
    small, parent = (replace(each, words=words) for each in (winner(2, 0.24, 1.0), PARENT))
    (note,) = parent_notes(small, parent, COSTS[:1])
    assert note.endswith("has 1.20 times the parent's test relative squared error at 25 % of its latency.")


def test_the_parent_is_named_and_a_front_without_one_says_nothing() -> None:
    """So it is where the parent always errs: nothing is a share of that."""
    assert parent_notes(PARENT, PARENT, COSTS) == [
        f"{PARENT.architecture.id} is the parent, from which the others are made."
    ]
    assert parent_notes(PARENT, None, COSTS) == []
    assert parent_notes(winner(2, 0.5, 1.0), replace(PARENT, test_error=1.0), COSTS) == []
