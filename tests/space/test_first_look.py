"""A user's space runs first in a process of its own, which may exit, hang or print without harm to the search."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import pytest

from nas.errors import CandidateError, RecipeError, SpaceError
from nas.space.architecture import Architecture
from nas.space.first_look import LookApart, load_space_apart
from nas.space.signature import image_signature

TRAPS = """
import os
import sys
import time

import nas


class Traps:
    choices = (nas.Choice("trap", ("none", "raise", "exit", "kill", "hang", "print", "input", "slow", "shape")),)

    def __init__(self, seconds=0.2):
        self.seconds = seconds

    def build(self, architecture):
        raise RuntimeError("not built: it is looked up")

    def layers(self, architecture):
        trap = architecture["trap"]
        if trap == "raise":
            raise RuntimeError("boom")
        if trap == "exit":
            sys.exit("bye")
        if trap == "kill":
            os.kill(os.getpid(), 9)
        if trap == "print":
            print('{"ok": true}')
            os.system("echo printed by a program")
        if trap == "input":
            input()
        if trap == "slow":
            time.sleep(self.seconds)
        while trap == "hang":
            time.sleep(0.01)
        shape = 64 if trap == "shape" else (64,)
        return [nas.Layer("linear", shape, (10,), macs=640, params=650)]
"""


def line_of(word: str) -> int:
    """Return the number of the first line of ``TRAPS`` that has a word."""
    return next(number for number, line in enumerate(TRAPS.splitlines(), start=1) if word in line)


@pytest.fixture(name="traps")
def traps_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the module ``traps`` and go to its folder. Of another test's, this process knows nothing."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "traps", raising=False)
    (tmp_path / "traps.py").write_text(TRAPS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="told")
def told_news() -> list[str]:
    """What a look says to people who wait."""
    return []


@pytest.fixture(name="look")
def trap_look(traps: Path, told: list[str]) -> Iterator[LookApart]:
    """A look at ``Traps`` as in a table, where nothing is built, so that torch is not waited for."""
    look = LookApart("traps:Traps", 20.0, told.append)
    look.make({}, image_signature((1, 8, 8), 10), builds=False)
    yield look
    look.close()


def trap(name: str) -> Architecture:
    return Architecture({"trap": name})


@pytest.mark.slow
def test_layers_come_back_as_the_space_gives_them(look: LookApart) -> None:
    """The second question about an architecture needs no process."""
    (layer,) = look.layers(trap("none"))
    assert (layer.kind, layer.input_shape, layer.output_shape, layer.macs, layer.params) == (
        *("linear", (64,), (10,), 640, 650),
    )
    look.close()
    assert look.layers(trap("none")) == (layer,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("raise", f"layers raised RuntimeError: boom (HERE, line {line_of('boom')})"),
        ("exit", f"layers raised SystemExit: bye (HERE, line {line_of('bye')})"),
        ("kill", "build ended its process with signal 9, probably for lack of memory."),
        ("input", "layers raised EOFError"),
        ("shape", "the input_shape of a layer must be a tuple of whole numbers, but got 64."),
    ],
)
def test_a_failure_is_one_sentence_and_the_next_look_works(name: str, says: str, look: LookApart, traps: Path) -> None:
    """It names the file and the line. A process that ended is started again."""
    for _ in range(2):
        with pytest.raises(CandidateError) as failure:
            look.layers(trap(name))
        assert failure.value.kind == "build"
        assert failure.value.reason.startswith(says.replace("HERE", str(traps / "traps.py")))
    assert look.layers(trap("none"))


@pytest.mark.slow
def test_a_hang_is_ended_and_told(traps: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who waits hears of it first. The second question waits no more."""
    monkeypatch.setattr("nas.space.first_look.TELL_EVERY_S", 0.2)
    look = LookApart("traps:Traps", 1.0, told.append)
    look.make({}, image_signature((1, 8, 8), 10), builds=False)
    told.clear()
    for _ in range(2):
        with pytest.raises(CandidateError, match="build must come back within 1 s, but did not") as failure:
            look.layers(trap("hang"))
        assert failure.value.kind == "timeout"
    assert told[0] == "building trap=hang takes longer than 0 s; it is given up after 1 s"
    assert look.layers(trap("none"))
    look.close()


@pytest.mark.slow
def test_a_space_that_mostly_hangs_stops_the_run(traps: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a run could wait for hours. The first ones are failed rows."""
    monkeypatch.setattr("nas.space.first_look.MOST_LATE", 1)
    look = LookApart("traps:Traps", 0.3, told.append)
    look.make({}, image_signature((1, 8, 8), 10), builds=False)
    with pytest.raises(SpaceError, match=r"1 architectures did not come back within 0\.3 s, so the run stops"):
        look.layers(trap("hang"))
    look.close()


@pytest.mark.slow
def test_a_space_that_always_ends_its_process_stops_the_run(
    traps: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starting a process for each of hundreds of architectures would take minutes."""
    monkeypatch.setattr("nas.space.first_look.MOST_LATE", 2)
    _, look = load_space_apart("traps:Traps", {}, image_signature((1, 8, 8), 10), say=told.append, builds=False)
    with pytest.raises(CandidateError, match="build ended its process with signal 9"):
        look.layers(trap("kill"))
    with pytest.raises(SpaceError, match=r"none of 2 architectures came back.* signal 9"):
        look.layers(Architecture({"trap": "kill", "again": 1}))
    look.close()


@pytest.mark.slow
def test_slow_looks_are_told(traps: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Many looks that are each short can take long together."""
    monkeypatch.setattr("nas.space.first_look.TELL_EVERY_S", 0.1)
    look = LookApart("traps:Traps", 20.0, told.append)
    look.make({"seconds": 0.3}, image_signature((1, 8, 8), 10), builds=False)
    told.clear()
    look.layers(trap("slow"))
    look.layers(trap("none"))
    look.close()
    assert any("building architectures takes its time: 2 in " in text for text in told)


@pytest.mark.slow
def test_what_a_space_prints_disturbs_nothing(traps: Path, told: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """It goes to standard error, also what a program prints that the space starts."""
    look = LookApart("traps:Traps", 20.0, told.append)
    look.make({}, image_signature((1, 8, 8), 10), builds=False)
    assert look.layers(trap("print"))
    look.close()
    output = capfd.readouterr()
    assert output.out == ""
    assert '{"ok": true}' in output.err
    assert "printed by a program" in output.err


@pytest.mark.slow
def test_a_class_that_no_name_leads_to_is_sent_along(told: list[str]) -> None:
    """As for a class of a notebook, or of a script, whose module cannot be imported."""
    names: dict[str, object] = {"__name__": "__main__"}
    exec(TRAPS, names)
    look = LookApart("Traps", 20.0, told.append, cloudpickle.dumps(names["Traps"]))
    look.make({}, image_signature((1, 8, 8), 10), builds=False)
    assert look.layers(trap("none"))
    look.close()


def test_a_module_that_was_edited_since_its_import_is_told(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process imports the edited file, while this one goes on with the old module."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "edited.py").write_text(TRAPS)
    importlib.import_module("edited")
    (tmp_path / "edited.py").write_text(TRAPS.replace('"none", ', '"none", "another", '))
    with pytest.raises(SpaceError, match=r"edited:Traps has other choices in a new one.* call importlib\.reload"):
        load_space_apart("edited:Traps", {}, image_signature((1, 8, 8), 10), say=told.append, builds=False)
    monkeypatch.delitem(sys.modules, "edited")


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("import os\nos.kill(os.getpid(), 9)", SpaceError, "'own:Space': importing it ended its process with signal 9"),
        (
            "import os\nos._exit(0)",
            RecipeError,
            "own fails to import: ProcessExitError: os._exit",
        ),
        ("import time\ntime.sleep(99)", SpaceError, "importing it must come back within"),
        ("import sys\nsys.exit(0)", RecipeError, "own fails to import: SystemExit: 0"),
        ("class Space: ...", RecipeError, "has no method build"),
    ],
)
def test_a_space_that_cannot_be_made_is_refused(
    code: str, error: type[Exception], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """One sentence at the start, and no process is left."""
    (tmp_path / "own.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    look = LookApart("own:Space", 0.3 if "sleep" in code else 20.0, told.append)
    with pytest.raises(error, match=says):
        look.make({}, image_signature((1, 8, 8), 10))
    look.close()


DRIVER = """
import os, sys
from nas.space.architecture import Architecture
from nas.space.first_look import LookApart
from nas.space.signature import image_signature
look = LookApart("traps:Traps", 600.0, print)
look.make({}, image_signature((1, 8, 8), 10), builds=False)
print(look._process.pid, flush=True)
look.layers(Architecture({"trap": "hang"}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the test asks the system for a process by its number")
def test_a_killed_driver_leaves_no_process_behind(traps: Path) -> None:
    """Also where the space's code hangs at that moment."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    process = int(driver.stdout.readline())
    time.sleep(0.3)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    assert _ends(lambda: not _lives(process), 20.0)


def _ends(happened: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not happened():
        time.sleep(0.05)
    return happened()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")  # a process without a parent may wait for somebody to collect it
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


BUILT = """
import os
import torch.nn.functional  # while the process loads torch in another thread
import torch.nn as nn
import nas


class Space:
    choices = (nas.Choice("width", (4, 8)), nas.Choice("trap", (False, True)))

    def build(self, architecture):
        if architecture["trap"]:
            os.kill(os.getpid(), 9)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.mark.slow
def test_a_space_without_layers_is_traced_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """Builds are compared first; the architectures that end the process are left out."""
    (tmp_path / "built.py").write_text(textwrap.dedent(BUILT), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    look = LookApart("built:Space", 60.0, told.append)
    look.make({}, image_signature((1, 8, 8), 10))
    (layer,) = look.layers(Architecture({"width": 4, "trap": False}))
    assert (layer.kind, layer.macs) == ("linear", 640)
    assert 0 < look.step_seconds(Architecture({"width": 4, "trap": False}), 8, 1) < 60
    with pytest.raises(CandidateError, match="a training step ended its process with signal 9"):
        look.step_seconds(Architecture({"width": 4, "trap": True}), 8, 1)
    look.close()
