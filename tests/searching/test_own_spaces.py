"""A search in a user's own space survives whatever its code does, and says so in rows or in one sentence."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from commands import evaluations_of
from fake_bench import FakeBench, FakeClock
from quick_runs import BASE, Diary, OneChoice, search
from torch import nn

import nas
from nas.cli.output import json_alone
from nas.errors import RecipeError, SpaceError
from nas.searching.instruments import Instruments
from nas.searching.resolving import STRANDED
from nas.space.architecture import Architecture, Choice
from nas.space.parts.parents import first_of
from nas.values.evaluation import Evaluation

pytestmark = pytest.mark.usefixtures("quick_export")


def search_apart(runs: Path, space: Any, diary: Diary, limit_s: float = 60.0) -> nas.Front:
    """Search in ``space``, which first runs in a process of its own."""
    recipe = {**BASE, "trials": 2, "rounds": 1}
    recipe["execution"] = {"executor": "inline", "first_look_limit_s": limit_s}
    bench = FakeBench(space() if isinstance(space, type) else space)
    instruments = Instruments(bench=bench, clock=FakeClock(), stopwatch=FakeClock())
    return nas.search(recipe, space=space, runs=runs, progress=diary, instruments=instruments)


class Restless(OneChoice):
    """A space that prints, and goes to another folder."""

    def build(self, architecture: Architecture) -> nn.Module:
        print("built")
        os.chdir("/")
        return super().build(architecture)


def test_a_build_that_changes_the_folder_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's folder is relative to where the search began. What the space prints goes to standard error."""
    monkeypatch.chdir(tmp_path)
    front = search(Path("runs"), Restless())
    assert Path.cwd() == tmp_path
    assert all((tmp_path / "runs" / "run" / winner.folder / "model.onnx").is_file() for winner in front)
    output = capsys.readouterr()
    assert "built" in output.err
    assert "built" not in output.out


def test_json_stands_alone_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Also where a program prints that the space starts."""
    with json_alone(True):
        print("by the space")
        os.system("echo by a program")
    print(json.dumps({"winners": []}))
    output = capfd.readouterr()
    assert json.loads(output.out) == {"winners": []}
    assert "by the space" in output.err
    assert "by a program" in output.err


class Leaving(OneChoice):
    """A space whose networks call ``sys.exit`` in training."""

    def build(self, architecture: Architecture) -> nn.Module:
        return nn.Sequential(Exit(), super().build(architecture))


class Exit(nn.Module):
    """Calls ``sys.exit`` in training."""

    def forward(self, x: Any) -> Any:
        if self.training:
            sys.exit(0)
        return x


def test_a_training_that_calls_exit_is_a_failed_row(tmp_path: Path) -> None:
    """Otherwise the whole command would end in silence with status 0."""
    search(tmp_path, Leaving(), objectives=["error", "macs"])
    rows = evaluations_of(tmp_path / "run", "train")
    assert len(rows) == len(OneChoice.choices[0].options)
    for row in rows:
        assert row.failure is not None
        assert row.failure.reason.startswith(f"training raised SystemExit: 0 ({__file__}, line ")


class Kept(OneChoice):
    """A space that returns one module for ever."""

    def __init__(self) -> None:
        self._module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def build(self, architecture: Architecture) -> nn.Module:
        return self._module


@pytest.mark.slow
def test_a_kept_module_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    """Identical networks got errors from 0.82 down to 0.50, in the order of their trainings."""
    with pytest.raises(SpaceError, match=r"must return a new module each time, but two builds of width=2 share"):
        search_apart(tmp_path, Kept, Diary())
    assert list(tmp_path.iterdir()) == []


class Trapped(OneChoice):
    """A space in which one width hangs and one ends the process when they are first looked at."""

    choices = (Choice("width", (2, 3, 4, 5, 6, 7, 8, 9, 10)),)

    def build(self, architecture: Architecture) -> nn.Module:
        if architecture["width"] == 4:
            os.kill(os.getpid(), 9)
        while architecture["width"] == 5:
            time.sleep(0.01)
        return super().build(architecture)


@pytest.mark.slow
def test_what_hangs_or_exits_is_a_failed_row_and_the_search_goes_on(tmp_path: Path) -> None:
    """It ends with winners among the others. The search runs in this process, which is still there."""
    diary = Diary()
    front = search_apart(tmp_path, Trapped, diary, limit_s=12.0)
    assert front.winners
    failed = {row.architecture["width"]: row.failure for row in evaluations_of(tmp_path / "run", "measure")}
    assert failed[4] is not None
    assert (failed[4].kind, failed[4].reason) == (
        "build",
        "build ended its process with signal 9, probably for lack of memory.",
    )
    assert failed[5] is not None
    assert (failed[5].kind, failed[5].reason) == ("timeout", "build must come back within 12 s, but did not.")
    assert all(isinstance(row, Evaluation) for row in evaluations_of(tmp_path / "run", "train"))


class Unpicklable(OneChoice):
    """A sound space that cannot be sent to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


def test_a_space_that_cannot_be_sent_is_searched_here(tmp_path: Path) -> None:
    """A message says that nothing ends a build that hangs."""
    diary = Diary()
    space = Unpicklable()
    assert search_apart(tmp_path, space, diary).winners
    assert any(text.startswith(STRANDED) for text in diary.news)


class NoSpace:
    """A class without a method ``build``."""

    choices = (Choice("width", (1, 2)),)


def test_a_class_that_is_no_space_is_one_short_error(tmp_path: Path) -> None:
    """Without the chain of exceptions that led to it."""
    with pytest.raises(RecipeError, match="NoSpace has no method build") as error:
        nas.search({"data": "digits"}, space=NoSpace, runs=tmp_path)  # type: ignore[arg-type]
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (32, r"is 32\. If it is something else, give it another name\."),
        ([3], r"holds 3: 'int' object is not iterable"),
        ([Architecture({"width": 7})], r"holds \{'width': 7\}: width must be one of \(2, 3, 4, 5, 6, 8\), but got 7\."),
        ([Architecture({"widht": 2, "width": 2})], "holds .*: the space has no choice 'widht'"),
        ([Architecture({})], "holds .*: every active choice must have a value, but 'width' has none"),
    ],
)
def test_first_holds_architectures_of_the_space(tmp_path: Path, first: object, message: str) -> None:
    """Else a search says so before anything is measured."""
    space = type("Named", (OneChoice,), {"first": first})()
    with pytest.raises(
        SpaceError, match=f"first of a space must hold architectures of it, but first of Named {message}"
    ):
        search(tmp_path, space)
    assert not (tmp_path / "run").exists()


def test_first_holds_each_network_once() -> None:
    """Whatever options of inactive choices it names, and whether it names those of training."""

    class Named(OneChoice):
        choices = (
            *OneChoice.choices,
            Choice("kernel", (3, 5), when=("width", (8,))),
            Choice("learning_rate", (0.1, 0.2, 0.3), affects="training"),
        )
        first = tuple(Architecture({"width": 2, "kernel": kernel}) for kernel in (3, 5))

    assert list(map(dict, first_of(Named()))) == [{"width": 2, "learning_rate": 0.2}]


class Raising(OneChoice):
    """A class whose constructor raises."""

    def __init__(self) -> None:
        raise KeyError("weights")


def test_a_constructor_that_raises_is_one_short_error(tmp_path: Path) -> None:
    """It names the file and the line, and has no chain of exceptions either."""
    with pytest.raises(RecipeError, match=r"cannot be made: KeyError: 'weights' \(.*, line \d+\)") as error:
        search(tmp_path, Raising)  # type: ignore[arg-type]
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
