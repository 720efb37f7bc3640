"""Spaces of a few networks: all are measured, nothing is predicted, and nobody is told what cannot help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import assert_nothing_twice, evaluations_of
from fake_bench import latency_ms
from quick_runs import Diary, OneChoice, resume, search, trained
from torch import nn

from nas.errors import LimitError, SpaceError
from nas.results.front import Front
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import enumerate_space, whole_space
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Fit

pytestmark = pytest.mark.usefixtures("quick_export")

USUAL: Mapping[str, Any] = {
    "trials": 40,
    "rounds": 3,
    "measuring": {},
    "early_stopping": {"enabled": False},
    "retraining": {"epochs": 1, "winners": 4},
    "training": {"epochs": 1, "subset": 0.1},
}


class Few(OneChoice):
    """A choice among ``count`` networks, of which those with a width in ``broken`` cannot be built."""

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        self.choices = (Choice("width", (2, 3, 4, 5, 6, 8)[:count]),)
        self._broken = broken

    def build(self, architecture: Architecture) -> nn.Module:
        if architecture["width"] in self._broken:
            raise RuntimeError("this width cannot be built")
        return super().build(architecture)


def searched(runs: Path, space: Few, **changes: Any) -> tuple[Front, Diary]:
    diary = Diary()
    return search(runs, space, progress=diary, **{**USUAL, **changes}), diary


@pytest.mark.parametrize("limits", [[], ["latency_ms <= 900us"]], ids=["no limit", "a limit"])
@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_a_few_models_are_all_measured_and_none_is_predicted(tmp_path: Path, count: int, limits: list[str]) -> None:
    """Those that meet the limit are trained, and winners have no predictions."""
    space = Few(count)
    front, diary = searched(tmp_path, space, limits=limits)
    run = tmp_path / "run"
    assert {row.architecture for row in evaluations_of(run, "measure")} == set(enumerate_space(space))
    within = [a for a in enumerate_space(space) if not limits or latency_ms(a) < 0.9]
    assert set(trained(run)) == set(within)
    assert_nothing_twice(run)
    assert 1 <= len(front) <= len(within)
    assert read_rows(run, Fit) == []
    assert all(not row.predicted for row in evaluations_of(run, "winner"))
    assert sum("nothing is predicted" in text for text in diary.news) == 1
    assert not any("predictor" in text or "too small" in text for text in diary.news)


@pytest.mark.parametrize("broken", [(2,), (2, 3, 5)])
def test_those_that_cannot_be_built_are_failed_rows(tmp_path: Path, broken: tuple[int, ...]) -> None:
    """The others are measured and trained, and the failures have their reason."""
    front, _ = searched(tmp_path, Few(4, broken))
    rows = evaluations_of(tmp_path / "run", "measure")
    assert {int(row.architecture["width"]) for row in rows if row.failed} == set(broken)
    assert all("this width cannot be built" in row.failure.reason for row in rows if row.failure)
    assert {int(a["width"]) for a in trained(tmp_path / "run")} == {2, 3, 4, 5} - set(broken)
    assert len(front) >= 1


def test_a_space_of_which_nothing_can_be_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="this width cannot be built") as caught:
        searched(tmp_path, Few(3, (2, 3, 4)))
    assert not hasattr(caught.value, "__notes__")


def test_a_limit_that_none_meets_gives_no_hint_to_resume(tmp_path: Path) -> None:
    """Everything is measured, so nothing changes by going on."""
    with pytest.raises(LimitError, match="latency") as caught:
        searched(tmp_path, Few(4), limits=["latency_ms <= 1us"])
    assert not hasattr(caught.value, "__notes__")


def test_an_interrupted_search_of_a_few_models_goes_on(tmp_path: Path) -> None:
    """A finished run adds nothing, and one that stopped after measuring repeats no measurement."""

    class Stops(Diary):
        def say(self, text: str) -> None:
            super().say(text)
            if "nothing is predicted" in text:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Few(4), progress=Stops(), **USUAL)
    front = resume(tmp_path / "run", Few(4))
    assert_nothing_twice(tmp_path / "run")
    assert len(front) >= 1


def test_a_budget_larger_than_the_space_is_said_to_be(tmp_path: Path) -> None:
    """All are trained in the first round, because there is nothing to learn between rounds."""
    _, diary = searched(tmp_path, Few(4))
    assert {row.round for row in evaluations_of(tmp_path / "run", "train")} == {1}
    assert sum("every architecture of the space is trained" in text for text in diary.news) == 1
    assert [name for name in diary.stages if name.startswith("round")] == ["round 1/3: training"]


def test_a_space_is_whole_up_to_a_number(tmp_path: Path) -> None:
    """Architectures count, and not the assignments that ``canonical`` makes one of."""

    class Same(Few):
        def canonical(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"width": 2}

    assert whole_space(Few(4), 4) == set(enumerate_space(Few(4)))
    assert whole_space(Few(4), 3) is None
    assert [dict(a) for a in whole_space(Same(6), 1) or ()] == [{"width": 2}]


def test_the_plan_of_a_few_models_has_no_more_than_there_are(tmp_path: Path) -> None:
    """Nothing is measured after rounds, and nothing is told to be left once all are trained."""
    _, diary = searched(tmp_path, Few(4))
    (plan,) = (text for text in diary.news if text.startswith("plan: "))
    assert "measure 4 models (" in plan
    assert "evaluate 4 candidates " in plan
    assert "measure up to" not in plan
    assert sum(text.startswith("left: ") for text in diary.news) == 1
