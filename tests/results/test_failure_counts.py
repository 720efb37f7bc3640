"""Failed evaluations are counted by kind, and the first one of the most frequent kind is quoted."""

from __future__ import annotations

from pathlib import Path

import fault_spaces
from fault_spaces import Faulty
from quick_runs import search

from nas.results.failures import FailureCount, failure_counts, failures_text
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, Failure


def failed(kind: str, reason: str) -> Evaluation:
    return Evaluation("train", Architecture({"width": 1}), failure=Failure(kind, reason))


def test_failures_are_counted_by_kind() -> None:
    """The most frequent kind comes first, with its first reason."""
    rows = [failed("nan", "NaN in epoch 2"), failed("build", "boom"), failed("build", "bang"), sound()]
    assert failure_counts(rows) == (FailureCount("build", 2, "boom"), FailureCount("nan", 1, "NaN in epoch 2"))


def sound() -> Evaluation:
    return Evaluation("train", Architecture({"width": 1}), values={"error": 0.1})


def test_the_text_counts_and_quotes() -> None:
    text = failures_text(failure_counts([failed("build", "boom"), failed("build", "bang"), failed("nan", "NaN.")]))
    assert text == "3 evaluations failed (build 2, nan 1). The first of the kind 'build' says: boom."
    assert failures_text(failure_counts([failed("nan", "NaN.")])) == "1 evaluation failed (nan 1). It says: NaN."
    assert failures_text(()) == ""


def test_a_search_in_which_every_candidate_fails_tells_why(tmp_path: Path) -> None:
    """The front, its JSON and the report quote the first failure, with the line of the user's code."""
    changes = {"objectives": ["error", "macs"], "trials": 4, "rounds": 1}
    front = search(tmp_path, Faulty("raise", always=True), **changes)
    line = f"({fault_spaces.__file__}, line "
    assert not front.winners
    assert [each.kind for each in front.failures] == ["exception"]
    for text in (repr(front), front.to_json()["failures"][0]["first"], (tmp_path / "run" / "report.html").read_text()):
        assert "this part cannot be trained" in text
        assert line in text
    assert repr(front).count("\n") <= 1
