"""Several seeds give an interval, which is shown beside the accuracy; winners that learned nothing are marked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from awkward_fronts import winner
from rich.console import Console
from run_record_example import example_record

from nas.reports.console import print_front
from nas.reports.report import headline, remarks_of
from nas.results.chance_marks import NEAR, WORSE, chance_mark, chance_text
from nas.results.front import Front, front_of
from nas.results.seeds import over_seeds
from nas.tasks.criteria import Regression
from nas.values.error_words import OF_IMAGES
from nas.values.evaluation import Evaluation, Failure
from nas.values.indexed_rows import last_rows
from nas.values.measurement import Interval
from nas.values.objective import Objective

SEEDS = [0.1, 0.2, 0.3]


def front(*rows: Evaluation) -> Front:
    objectives = [Objective.parse("error"), Objective.parse("latency_ms")]
    return front_of(rows, objectives, [], Path("runs/one"))


def with_details(row: Evaluation, **details: Any) -> Evaluation:
    return replace(row, details={**row.details, **details})


def text_of(found: Front, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    print_front(found, console, has_report=False)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_interval_over_seeds_is_that_of_student() -> None:
    """Three errors around 0.2 with a standard deviation of 0.1: ±4.3027 · 0.1 / √3, cut at 0."""
    found = over_seeds(SEEDS)
    assert found is not None
    assert found.mean == pytest.approx(0.2)
    assert found.spread == pytest.approx(0.1)
    assert found.estimate.interval.upper == pytest.approx(0.2 + 0.24841, abs=1e-5)
    assert found.estimate.interval.lower == 0.0
    assert found.text(OF_IMAGES) == "80.00 % over 3 seeds (55.16–100.00 %)"
    assert over_seeds([0.9, 0.1]).text(OF_IMAGES) == "50.00 % over 2 seeds (0.00–100.00 %)"  # type: ignore[union-attr]
    assert over_seeds([0.25, 0.25], failed=1).text(OF_IMAGES) == "75.00 % in each of 2 seeds, 1 more failed"  # type: ignore[union-attr]


@pytest.mark.parametrize("errors", [[], [0.1]])
def test_one_seed_has_no_interval(errors: Sequence[float]) -> None:
    assert over_seeds(errors) is None


def test_seeds_are_shown_wherever_the_accuracy_is() -> None:
    """In the object, the front's text and table, the terminal in both widths, the headline, JSON and data frames."""
    error = 36 / 359
    row = with_details(winner({"depth": 1}, 36, 1.0), seed_errors=[error, 0.11, 0.12], failed_seeds=1)
    plain = winner({"depth": 2}, 40, 0.5)
    found = front(row, plain)
    assert found.best.seeds is not None
    said = found.best.seeds.text(OF_IMAGES)
    assert said.startswith("88.99 % over 3 seeds (")
    assert said.endswith("%), 1 more failed")
    bounds = OF_IMAGES.range_text(found.best.seeds.estimate.interval)
    assert said in repr(found.best)
    for shown in (repr(found), found._repr_html_()):
        assert f"{bounds} (3)" in shown
        assert "one seed" in shown
    wide, narrow = text_of(found, 160), text_of(found, 40)
    assert "88.99 %" in wide
    assert f"{bounds.removesuffix(' %')}" in wide
    assert " ".join(narrow.split()).count(said) == 1
    record = replace(example_record(), rows=(row, plain), objectives=found.objectives, limits=())
    assert f"89.97 % test accuracy, {said}," in headline(record)
    assert found.to_json()["winners"][0]["seeds"]["test_errors"] == [error, 0.11, 0.12]
    assert found.to_json()["winners"][1]["seeds"] is None
    table = found.to_dataframe()
    assert table["seeds"].tolist()[0] == 3
    assert table["test_error_over_seeds"].tolist()[0] == pytest.approx(found.best.seeds.mean)
    assert any(said in mark.name for mark in found.plot().scene.marks)


def test_without_seeds_nothing_is_added() -> None:
    """Runs of one seed look as before."""
    found = front(winner({"depth": 1}, 36, 1.0))
    for shown in (repr(found), text_of(found, 160)):
        assert "seed" not in shown.lower()


@pytest.mark.parametrize(
    ("wrong", "chance", "mark"),
    [(36, 0.9, ""), (300, 0.85, NEAR), (310, 0.85, WORSE), (359, 0.85, WORSE), (300, None, "")],
)
def test_a_winner_that_learned_nothing_is_marked(wrong: int, chance: float | None, mark: str) -> None:
    """Near chance if the interval reaches the constant answer; worse if the error itself is above it."""
    found = front(winner({"depth": 1}, wrong, 1.0, chance=chance))
    (only,) = found.winners
    assert only.chance_mark == mark
    assert only.is_near_chance == bool(mark)
    assert only.is_worse_than_constant == (mark == WORSE)
    shown = found.to_json()["winners"][0]
    assert shown["worse_than_constant"] == (None if chance is None else mark == WORSE)
    if mark:
        assert f"({mark})" in repr(found)
        assert mark in repr(only)
        start = "Near chance: " if mark == NEAR else "Worse than a constant answer: "
        assert [note[: len(start)] for note in only_notes(found)] == [start]
        assert start.rstrip(": ") in " ".join(text_of(found, 120).split())
        assert any(remark.startswith(start) for remark in remarks_of(found))
    else:
        assert "constant" not in repr(found)


def only_notes(found: Front) -> list[str]:
    return [note for notes in found.notes for note in notes]


def test_one_bad_winner_among_good_ones_is_marked_where_it_is_the_best() -> None:
    """The headline says so too: a lower limit of latency may leave it alone."""
    bad = winner({"depth": 1}, 330, 1.0, chance=0.85)
    good = winner({"depth": 2}, 36, 5.0, chance=0.85)
    record = replace(example_record(), rows=(bad, good), objectives=front(bad).objectives)
    (limit,) = (type(record.limits[0]).parse("latency_ms <= 2ms"),)
    assert f"({WORSE})" in headline(replace(record, limits=(limit,)))


def test_values_are_compared_with_the_mean() -> None:
    """Regression has the same marks, in its own words."""
    words = Regression(scale=(2.0,)).words
    assert chance_mark(1.2, Interval(1.1, 1.3), 1.0) == WORSE
    assert chance_text(1.2, Interval(1.1, 1.3), 1.0, words) == (
        "Worse than a constant answer: the test standardised squared error is 120.00 %, but that of always answering "
        "the mean is 100.00 %."
    )
    assert chance_mark(0.95, Interval(0.9, 1.01), 1.0) == NEAR
    assert chance_text(0.5, Interval(0.4, 0.6), 1.0, words) == ""


def retrained(row: Evaluation, number: int, **details: Any) -> Evaluation:
    folder = f"retrained/{number}/{row.architecture.id}"
    return with_details(row, retraining=number, folder=folder, **details)


def test_the_last_retraining_counts_and_the_models_before_are_named() -> None:
    """One row an architecture; a note tells the accuracy before, and warns if the new model is surely worse."""
    first = with_details(winner({"depth": 1}, 36, 1.0), epochs=16)
    better = retrained(winner({"depth": 1}, 20, 1.0), 1, epochs=60)
    found = front(first, winner({"depth": 2}, 40, 0.5), better)
    assert len(found) == 2
    assert found.best.folder == better.details["folder"]
    assert found.best.retraining == 1
    assert [each.folder for each in found.best.earlier] == [first.details["folder"]]
    (note,) = [note for note in only_notes(found) if "was retrained" in note]
    own = first.architecture.id
    assert note.startswith(f"{own} was retrained (number 1). Before: 89.97 % (")
    assert note.endswith(f") after 16 epochs, in winners/{own}.")
    worse = front(first, retrained(winner({"depth": 1}, 150, 1.0), 1))
    assert only_notes(worse)[0].endswith("The new model is surely worse.")
    assert found.to_json()["winners"][0]["earlier"][0]["epochs"] == 16


def test_a_retraining_that_failed_leaves_the_model_as_it_is() -> None:
    """In the front, and in the counts of architectures that failed."""
    first = winner({"depth": 1}, 36, 1.0)
    failed = Evaluation("winner", first.architecture, details={"retraining": 1}, failure=Failure("nan", "no"))
    lost = Evaluation("retrain", first.architecture, details={"retraining": 1}, failure=Failure("nan", "no"))
    trained = Evaluation("retrain", first.architecture, details={"folder": "winners/a"})
    rows = (trained, first, lost, failed)
    found = front(*rows)
    assert [each.folder for each in found] == [first.details["folder"]]
    assert found.failed == 0
    assert last_rows(rows, "retrain")[first.architecture] is trained
    assert last_rows((failed, first), "winner")[first.architecture] is first
    assert last_rows((failed,), "winner")[first.architecture] is failed
