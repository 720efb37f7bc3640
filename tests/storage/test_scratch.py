"""Temporary files lie in one private folder for each process, and what a killed process leaves is removed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nas.storage import scratch
from nas.storage.scratch import LOCK_SUFFIX, PARENTS, for_children, scratch_folder, temporary_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at users and modes")

HOLD = """
import sys
from nas.storage.scratch import scratch_folder, temporary_folder
with temporary_folder("work") as folder:
    (folder / "file").write_text("held")
    print(scratch_folder(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(name="place", autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own, in which nothing has been claimed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_claimed", {})
    monkeypatch.delenv(PARENTS, raising=False)
    return tmp_path


def started(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """Return a process that holds temporary files, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def ended(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=20)


def test_nobody_else_can_enter(place: Path) -> None:
    """The folder of all of this user's processes has the mode 0700, also if it was made with another one."""
    home = place / f"nas-{os.getuid()}"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    folder = scratch_folder()
    assert folder.parent == home
    assert stat.S_IMODE(home.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert scratch_folder() == folder


@pytest.mark.parametrize("what", ["a link", "a file"])
def test_what_somebody_else_put_there_is_not_used(place: Path, what: str) -> None:
    """A link or a file in the place of the folder may belong to an attacker: another private folder is made."""
    home = place / f"nas-{os.getuid()}"
    (place / "elsewhere").mkdir()
    if what == "a link":
        home.symlink_to(place / "elsewhere")
    else:
        home.write_text("")
    folder = scratch_folder()
    assert folder.parent != home
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert list((place / "elsewhere").iterdir()) == []


def fail_in_a_block() -> None:
    with temporary_folder("models") as folder:
        assert list(folder.iterdir()) == []
        assert folder.name.startswith("models-")
        (folder / "file").write_text("text")
        raise ValueError("oops")


def test_a_block_leaves_nothing() -> None:
    """The folder of a block is empty at first and gone afterwards, even after an error."""
    with pytest.raises(ValueError, match="oops"):
        fail_in_a_block()
    assert list(scratch_folder().iterdir()) == []


def test_a_process_that_ends_leaves_nothing(place: Path) -> None:
    """Its folder and the lock are gone."""
    process, folder = started(place)
    assert (folder.parent / f"{folder.name}{LOCK_SUFFIX}").exists()
    ended(process)
    assert [path.name for path in folder.parent.iterdir()] == ["lock"]


def test_the_next_process_removes_what_a_killed_one_left(place: Path) -> None:
    """Folders and locks of killed processes go, and those of living ones stay."""
    killed, left = started(place)
    living, held = started(place)
    killed.send_signal(signal.SIGKILL)
    ended(killed)
    assert left.exists()
    (left.parent / f"stray{LOCK_SUFFIX}").write_text("")
    scratch_folder()
    assert not left.exists()
    assert (next(held.iterdir()) / "file").read_text() == "held"
    names = {path.name for path in held.parent.iterdir()}
    assert names == {"lock", *(f"{each.name}{end}" for each in (held, scratch_folder()) for end in ("", LOCK_SUFFIX))}
    ended(living)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_that_ends_removes_nothing(place: Path) -> None:
    """The folder belongs to the process that made it."""
    code = """
import os, sys
from nas.storage.scratch import scratch_folder
folder = scratch_folder()
if os.fork() == 0:
    sys.exit(0)
os.wait()
print(folder.is_dir())
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(place)}, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout == "True\n"


def test_children_use_the_folder_of_their_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own files and those of their libraries lie there, so that they go with it."""
    ours = scratch_folder()
    given = for_children({"KEPT": "1"})
    assert given == {"KEPT": "1", PARENTS: str(ours), "TMPDIR": str(ours), "TEMP": str(ours), "TMP": str(ours)}
    monkeypatch.setattr(scratch, "_claimed", {})
    monkeypatch.setenv(PARENTS, given[PARENTS])
    assert scratch_folder() == ours
    monkeypatch.setenv(PARENTS, "/gone")  # as on another node of a cluster
    assert scratch_folder() not in (ours, Path("/gone"))


def test_a_short_path_for_sockets(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the temporary folder has a long path, Ray's lies in /tmp."""
    long = place / ("long" * 10)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert long in scratch_folder().parents
    assert len(str(scratch_folder(34))) <= 34
    assert scratch_folder(34).parent.parent == Path("/tmp")
