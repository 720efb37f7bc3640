"""Sentences about precisions: slower, no faster as far as can be told, less accurate; and those about all networks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.results.notes.precision_notes import precision_notes, precision_sentences
from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.evaluation import TRAINED_AS, Evaluation
from nas.values.measurement import Estimate, Interval, Measurement


def latency(*samples_ms: float) -> dict[str, Measurement]:
    return {"latency_ms": Measurement("latency_ms", "t", tuple((sample,) for sample in samples_ms))}


def winner(own: tuple[float, ...], plain: tuple[float, ...], error: float = 0.1, precision: str = "int8") -> Winner:
    """Return a winner with these latencies, and a test error of 10 % before deploying."""
    interval = Interval(error - 0.01, error + 0.01)
    exported = Estimate(0.1, Interval(0.09, 0.11))
    architecture = Architecture({"width": 2, "precision": precision})
    return Winner(architecture, error, interval, {}, latency(*own), {}, "", fp32=latency(*plain), exported=exported)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ((1.0, 1.01, 0.99), []),
        ((3.0, 3.01, 2.99), ["is slower. It takes 3"]),
        ((2.2, 1.0, 3.4), ["is slower, or as fast, since the intervals meet"]),
        ((1.9, 1.0, 3.4), ["gains no time that the measurements can tell"]),
    ],
    ids=["faster", "slower", "perhaps slower", "perhaps faster"],
)
def test_a_winner_is_compared_with_its_weights_in_fp32(own: tuple[float, ...], said: list[str]) -> None:
    """Only what is surely faster has no note."""
    notes = precision_notes(winner(own, (2.0, 2.01, 1.99)))
    assert [sentence in note for sentence, note in zip(said, notes, strict=True)] == [True] * len(said)
    assert precision_notes(winner(own, (2.0, 2.01, 1.99), precision="fp32")) == []


def test_a_form_in_fp32_that_could_not_be_measured_is_told() -> None:
    """A precision of a table's row has none to compare with."""
    alone = replace(winner((1.0, 1.01, 0.99), (2.0,), error=0.3), fp32={})
    (first, second) = precision_notes(alone)
    assert "takes 1 ms" in first
    assert first.endswith("its weights could not be measured in fp32.")
    assert second.startswith("int8 costs accuracy")
    assert precision_notes(replace(alone, exported=None)) == []


def test_a_loss_of_accuracy_is_told_with_intervals() -> None:
    """One within the joint interval is none."""
    assert precision_notes(winner((1.0, 1.0), (2.0, 2.0), error=0.11)) == []
    (note,) = precision_notes(winner((1.0, 1.0), (2.0, 2.0), error=0.3))
    assert note.startswith("int8 costs accuracy: the test accuracy of")
    assert "in fp32." in note


def test_sentences_about_all_networks() -> None:
    """They count those that are slower, and tell how errors differ; two networks say nothing."""
    rows = []
    for width in (1, 2, 3):
        for precision, factor in (("fp32", 1.0), ("int8", 0.5 * width)):
            architecture = Architecture({"width": width, "precision": precision})
            rows.append(Evaluation("measure", architecture, measurements=latency(factor * width)))
            details = {TRAINED_AS: "a"} if precision == "int8" else {}
            rows.append(Evaluation("train", architecture, values={"error": 0.1 * factor}, details=details))
    times, errors = precision_sentences(rows)
    assert times.startswith("In int8, 3 measured networks take 1.00 times as long as in fp32 (median; 0.50 to 1.50).")
    assert times.endswith("1 is slower.")
    assert (
        "the validation error of 3 trained networks differs by +0 from that in fp32 (median; -0.05 to +0.05)" in errors
    )
    assert precision_sentences(rows[:8]) == []
