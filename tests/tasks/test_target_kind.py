"""Classes or values: one rule for tables and signals, for files and arrays, whatever the type of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import nas
from nas.tasks.loading import Loading
from nas.tasks.signals.loading import load_signals
from nas.tasks.tabular.loading import load_tables
from nas.tasks.target_kind import are_classes
from nas.tasks.task import facts_of

RNG = np.random.default_rng(0)
LABELS = {
    "two": (np.arange(60) % 2, True),
    "counts": (np.minimum(RNG.poisson(3, 400), 12), True),
    "few grades": (RNG.integers(3, 9, 60), True),
    "letters": (np.arange(260) % 26 + 1, True),
    "forty speakers": (np.arange(400) % 40 + 1, True),
    "ages": (RNG.normal(50, 12, 400).round().clip(18, 90), False),
    "codes with gaps": (np.arange(400) % 40 * 5, False),
    "fractions": (np.arange(60) % 3 / 2, False),
    "days": (np.arange(60), False),
}


def read_everywhere(labels: Any, folder: Path, whole: bool) -> list[Any]:
    """Return the tasks of a table and of signals with these labels: in files, in arrays, as integers and as floats."""
    rows = np.random.default_rng(1).normal(size=(len(labels), 6)).round(4)
    frame = pandas.DataFrame(rows, columns=list("abcdef"))
    frame.assign(label=labels).to_csv(folder / "floats.csv", index=False)
    tasks: list[Any] = [
        nas.Tabular.from_frame(frame.assign(label=labels.astype(np.float64)), target="label"),
        nas.Signals.from_arrays(rows, labels.astype(np.float64)),
        load_tables("floats.csv", Loading(folder=folder), target="label"),
        load_signals("floats.csv", Loading(folder=folder)),
    ]
    if whole:
        frame.assign(label=labels.astype(int)).to_csv(folder / "whole.csv", index=False)
        tasks += [
            nas.Tabular.from_frame(frame.assign(label=labels.astype(int)), target="label"),
            nas.Signals.from_arrays(rows, labels.astype(int)),
            load_tables("whole.csv", Loading(folder=folder), target="label"),
            load_signals("whole.csv", Loading(folder=folder)),
        ]
    return tasks


@pytest.mark.parametrize("name", LABELS)
def test_one_rule_for_all_tasks(tmp_path: Path, name: str) -> None:
    """The same labels are the same everywhere, and whole numbers are told with the option that changes it."""
    labels, is_classes = LABELS[name]
    whole = bool((labels == np.rint(labels)).all())
    assert are_classes(labels) == is_classes
    wanted = "set data.kind=regression" if is_classes else "set data.kind=classification"
    for task in read_everywhere(labels, tmp_path, whole):
        assert bool(task.classes) == is_classes, task
        assert [wanted in each for each in task.readings] == [True] * whole, task.readings
        assert (wanted in facts_of(task).get("read as", "")) == whole


def test_the_user_decides(tmp_path: Path) -> None:
    """With data.kind nothing is guessed, and nothing told."""
    labels = np.arange(60) % 3
    frame = pandas.DataFrame({"a": np.arange(60) % 7, "b": np.arange(60) % 5, "label": labels})
    frame.to_csv(tmp_path / "t.csv", index=False)
    for kind, count in (("classification", 3), ("regression", 0)):
        here = Loading(folder=tmp_path)
        tasks: list[Any] = [
            load_tables("t.csv", here, target="label", kind=kind),
            load_signals("t.csv", here, kind=kind),  # type: ignore[arg-type]
            nas.Signals.from_arrays(frame[["a", "b"]].to_numpy(), labels, kind=kind),  # type: ignore[arg-type]
        ]
        assert [len(task.classes) for task in tasks] == [count] * 3
        assert not any(task.readings for task in tasks)


def test_text_is_a_class() -> None:
    """Text and booleans are classes, and need no telling."""
    assert are_classes(np.array(["a", "b"]))
    assert are_classes(np.array([True, False]))
    assert not nas.Signals.from_arrays(np.random.default_rng(0).normal(size=(20, 8)), ["a", "b"] * 10).readings


def test_a_run_says_what_it_took(tmp_path: Path) -> None:
    """A dry run has a line that names the option, and the columns of the table."""
    from nas.progress import NullProgress
    from nas.recipe.recipe import Recipe
    from nas.searching.run import look

    frame = pandas.DataFrame({"a": np.arange(260) % 7, "code": np.arange(260) % 26 + 1})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = {"task": "tables", "name": str(tmp_path / "t.csv"), "target": "code"}
    _, lines = look(Recipe.from_mapping({"data": data}), tmp_path, NullProgress())
    kind = "note: code: 26 different whole numbers, so each is a class. If they are amounts or counts, set data.kind="
    assert any(line.startswith(kind) for line in lines)
    assert any(line.split() == ["column", "type", "role", "missing", "examples"] for line in lines)
