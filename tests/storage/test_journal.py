"""The journal keeps every acknowledged row, whatever ends the process. A folder has one run and one writer."""

from __future__ import annotations

import errno
import itertools
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from nas.errors import JournalError
from nas.space.architecture import Architecture
from nas.storage.journal import JOURNAL, RECIPE, Journal, read_rows, write_aside
from nas.storage.journal_rows import BenchUsed, Cost, RecipeText, RoundEnded
from nas.values.evaluation import Evaluation, Failure

RECIPE_TEXT = "trials = 5\n"


def started(folder: Path) -> Journal:
    return Journal.start(folder, RECIPE_TEXT, clock=lambda: 1.5)


def rounds_of(folder: Path) -> list[int]:
    return [row.round for row in read_rows(folder, RoundEnded)]


def run_child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that has the journal's names, and ``folder`` from its first argument."""
    head = (
        "import sys, time\nfrom pathlib import Path\nfrom nas.errors import JournalError\n"
        "from nas.storage.journal import Journal, read_rows\n"
        "from nas.storage.journal_rows import RecipeText, RoundEnded\n"
        "folder = Path(sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestRows:
    def test_of_each_class_are_read_in_order(self, tmp_path: Path) -> None:
        """The open journal and its folder give the same rows of a class, oldest first."""
        with started(tmp_path / "run") as journal:
            journal.append(RoundEnded(1), RoundEnded(2))
            journal.append(BenchUsed("cpu"))
            journal.append(RoundEnded(3))
            expected = [RoundEnded(1), RoundEnded(2), RoundEnded(3)]
            assert journal.rows(RoundEnded) == read_rows(tmp_path / "run", RoundEnded) == expected
            assert journal.rows(BenchUsed) == [BenchUsed("cpu")]
            assert journal.rows(Cost) == []

    def test_are_there_again_after_resuming(self, tmp_path: Path) -> None:
        """A resumed journal has the old rows, and appends new ones after them."""
        rows = [
            Evaluation("measure", Architecture({"depth": 1})),
            Evaluation("train", Architecture({"depth": 2}), 1, values={"error": 0.1}, failure=Failure("nan", "…")),
        ]
        with started(tmp_path) as journal:
            journal.append(*rows[:1])
        with Journal.resume(tmp_path, clock=time.time) as journal:
            journal.append(*rows[1:])
            assert journal.rows(Evaluation) == rows
        assert (tmp_path / RECIPE).read_text() == RECIPE_TEXT

    def test_carry_the_clock(self, tmp_path: Path) -> None:
        """All rows of one append have one time, which the given clock tells."""
        ticks = itertools.count(10.0)
        with Journal.start(tmp_path, RECIPE_TEXT, clock=lambda: next(ticks)) as journal:
            journal.append(RoundEnded(1), BenchUsed("cpu"))
            journal.append(RoundEnded(2))
        with sqlite3.connect(tmp_path / JOURNAL) as connection:
            assert [at for (at,) in connection.execute("SELECT at FROM rows ORDER BY number")] == [10, 10, 11]
        connection.close()

    def test_come_all_or_none(self, tmp_path: Path) -> None:
        """When one of several rows cannot be written, the journal stays as it was, and stays usable."""
        with started(tmp_path) as journal:
            with pytest.raises(ValueError, match="not JSON compliant"):
                journal.append(RoundEnded(1), Cost(wall_s=math.nan, device_s=0, joules=None, meter=""))
            journal.append(RoundEnded(2))
            assert journal.rows(RoundEnded) == [RoundEnded(2)]
            assert journal.rows(Cost) == []

    def test_are_read_from_another_process_while_the_journal_is_open(self, tmp_path: Path) -> None:
        """A reader sees each row as soon as its append has returned."""
        with started(tmp_path) as journal:
            journal.append(RoundEnded(1))
            child = run_child("print(read_rows(folder, RoundEnded))", tmp_path)
            assert child.communicate(timeout=60) == ("[RoundEnded(round=1)]\n", "")


class TestFolders:
    def test_have_one_run(self, tmp_path: Path) -> None:
        """A new run is refused in the folder of a run, of this recipe or another, and the error says what to do."""
        started(tmp_path).close()
        with pytest.raises(
            JournalError, match=rf"already holds this recipe's run\. Go on with it by --resume {tmp_path}"
        ):
            started(tmp_path)
        with pytest.raises(JournalError, match="already holds a run of another recipe"):
            Journal.start(tmp_path, "trials = 6\n", clock=time.time)
        (tmp_path / RECIPE).unlink()
        with pytest.raises(JournalError, match="already holds a run of another recipe"):
            started(tmp_path)

    @pytest.mark.skipif(sys.platform == "win32", reason="needs permission bits")
    def test_cannot_be_written_by_strangers(self, tmp_path: Path) -> None:
        """Not even if the user's mask would allow it: they could put links in the places of files."""
        before = os.umask(0)
        try:
            started(tmp_path / "run").close()
        finally:
            os.umask(before)
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o775

    def test_on_a_full_disk_leave_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A new folder is removed, one that was there is left as it was, and the message says what to do."""
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "notes").touch()
        monkeypatch.setattr("os.fsync", full)
        for name in ("new", "there"):
            with pytest.raises(JournalError, match=r"must be one that can be written, .* No space left .* Free some"):
                started(tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == ["there"]
        assert {path.name for path in (tmp_path / "there").iterdir()} <= {"notes", ".writer"}
        monkeypatch.undo()
        started(tmp_path / "there").close()

    def test_lose_what_a_killed_writer_had_begun(self, tmp_path: Path) -> None:
        """Files that were not renamed to their places are removed on resuming; others that begin with a dot stay."""
        started(tmp_path).close()
        (tmp_path / "winners" / "a").mkdir(parents=True)
        begun = [tmp_path / ".report.html.77", tmp_path / "winners" / "a" / ".model.onnx.5"]
        for path in (*begun, tmp_path / ".notes.txt"):
            path.touch()
        Journal.resume(tmp_path, clock=time.time).close()
        assert not any(path.exists() for path in begun)
        assert (tmp_path / ".notes.txt").exists()
        assert (tmp_path / ".writer").exists()

    def test_of_another_writer_are_not_removed(self, tmp_path: Path) -> None:
        """A second start in the same folder at the same moment does no harm to the first."""
        with started(tmp_path / "run") as journal:
            with pytest.raises(JournalError, match="a run has one writer"):
                started(tmp_path / "run")
            journal.append(RoundEnded(1))
        assert rounds_of(tmp_path / "run") == [1]

    def test_without_a_run_cannot_be_resumed_or_read(self, tmp_path: Path) -> None:
        """The error names the missing file, and no file is made."""
        with pytest.raises(JournalError, match=r"must be the folder of a run, but has no recipe\.toml"):
            Journal.resume(tmp_path, clock=time.time)
        with pytest.raises(JournalError, match=r"must be the folder of a run, but has no journal\.db"):
            read_rows(tmp_path, RoundEnded)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 50, b"short"])
    def test_with_another_file_in_the_journals_place_are_refused(self, tmp_path: Path, content: bytes) -> None:
        """The file is left as it is, and the folder is free for the next try."""
        (tmp_path / RECIPE).write_text(RECIPE_TEXT)
        (tmp_path / JOURNAL).write_bytes(content)
        for _ in range(2):
            with pytest.raises(
                JournalError, match=r"journal\.db must be a journal of this program, but SQLite says: file is not"
            ):
                Journal.resume(tmp_path, clock=time.time)
        with pytest.raises(
            JournalError, match=r"journal\.db must be a journal of this program, but SQLite says: file is"
        ):
            read_rows(tmp_path, RoundEnded)
        assert (tmp_path / JOURNAL).read_bytes() == content

    def test_with_a_folder_in_the_journals_place_are_refused(self, tmp_path: Path) -> None:
        """The error says what is there instead."""
        (tmp_path / RECIPE).write_text(RECIPE_TEXT)
        (tmp_path / JOURNAL).mkdir()
        with pytest.raises(JournalError, match=r"goes on from its journal, but .*journal\.db is a folder\."):
            Journal.resume(tmp_path, clock=time.time)

    def test_have_one_writer(self, tmp_path: Path) -> None:
        """Another process is refused while this one writes, and accepted after this one has closed."""
        code = """
try:
    Journal.resume(folder, clock=time.time).close()
except JournalError as error:
    print(error)
"""
        with started(tmp_path):
            told, complaints = run_child(code, tmp_path).communicate(timeout=60)
            assert (
                told == f"a run has one writer, but another process is writing to {tmp_path}. Wait for it, or end it.\n"
            )
            assert complaints == ""
        assert run_child(code, tmp_path).communicate(timeout=60) == ("", "")

    def test_have_one_writer_in_one_process_too(self, tmp_path: Path) -> None:
        """The lock belongs to the open journal, not to the process."""
        with started(tmp_path), pytest.raises(JournalError, match="a run has one writer"):
            Journal.resume(tmp_path, clock=time.time)


class TestDisasters:
    def test_each_append_waits_for_the_disk(self, tmp_path: Path) -> None:
        """SQLite flushes at each commit; a real power cut cannot be tried here."""
        with started(tmp_path) as journal:
            (flushing,) = journal._connection.execute("PRAGMA synchronous").fetchone()
            (mode,) = journal._connection.execute("PRAGMA journal_mode").fetchone()
        assert (flushing, mode) == (2, "wal")  # 2 is FULL

    def test_an_interrupted_append_is_taken_back(self, tmp_path: Path) -> None:
        """The row of an append that Ctrl-C interrupts is gone, and the next append works."""

        class Interrupted:
            def __init__(self, connection: sqlite3.Connection) -> None:
                self._connection = connection

            def __getattr__(self, name: str) -> object:
                return getattr(self._connection, name)

            def executemany(self, *arguments: object) -> None:
                raise KeyboardInterrupt

        with started(tmp_path) as journal:
            connection = journal._connection
            journal._connection = Interrupted(connection)  # type: ignore[assignment]
            with pytest.raises(KeyboardInterrupt):
                journal.append(RoundEnded(1))
            journal._connection = connection
            journal.append(RoundEnded(2))
            assert journal.rows(RoundEnded) == [RoundEnded(2)]

    def test_a_killed_writer_loses_nothing_that_was_acknowledged(self, tmp_path: Path) -> None:
        """SIGKILL between and within appends leaves whole appends, among them all that had returned."""
        code = """
with Journal.start(folder, "", clock=time.time) as journal:
    for n in range(10**6):
        journal.append(RoundEnded(2 * n), RecipeText("x" * 3000), RoundEnded(2 * n + 1))
        print(n, flush=True)
"""
        for attempt in range(3):
            folder = tmp_path / str(attempt)
            child = run_child(code, folder)
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(10 + attempt)]
            child.kill()
            told += child.stdout.readlines()  # communicate would skip the lines that readline has buffered
            child.communicate(timeout=60)
            acknowledged = int(told[-1])
            assert child.returncode == -signal.SIGKILL
            numbers = rounds_of(folder)
            assert len(read_rows(folder, RecipeText)) == len(numbers) // 2
            assert numbers == list(range(len(numbers)))
            assert len(numbers) % 2 == 0
            assert len(numbers) // 2 in (acknowledged + 1, acknowledged + 2)
            with Journal.resume(folder, clock=time.time) as journal:
                journal.append(RoundEnded(-1))
                assert len(journal.rows(RoundEnded)) == len(numbers) + 1

    @pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
    def test_a_full_disk_is_reported_and_spares_the_earlier_rows(self, tmp_path: Path) -> None:
        """The error says what to do, no part of the row is kept, and the run can go on once there is space again."""
        code = """
import resource
journal = Journal.start(folder, "", clock=time.time)
journal.append(RoundEnded(1))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
try:
    journal.append(RecipeText("x" * 200_000))
except JournalError as error:
    print(error)
print(journal.rows(RoundEnded), journal.rows(RecipeText))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
journal.append(RoundEnded(2))
print(journal.rows(RoundEnded), journal.rows(RecipeText))
"""
        told, complaints = run_child(code, tmp_path).communicate(timeout=60)
        assert complaints == ""
        message, then, last = told.splitlines()
        assert message.startswith("rows must reach the disk before the run goes on, but SQLite says: ")
        assert message.endswith(". Free some space or mend the folder, then resume the run.")
        assert (then, last) == ("[RoundEnded(round=1)] []", "[RoundEnded(round=1), RoundEnded(round=2)] []")
        assert rounds_of(tmp_path) == [1, 2]


def test_a_program_that_holds_the_file_is_waited_for_and_then_told(tmp_path: Path) -> None:
    """There is room, and nothing to mend; the run goes on once that program has ended."""
    with started(tmp_path) as journal:
        journal.append(RoundEnded(1))
        journal._connection.execute("PRAGMA busy_timeout = 10")
        with closing(sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match=r"Another program is using that file: wait until it has ended"):
                journal.append(RoundEnded(2))
        journal.append(RoundEnded(2))
        assert [row.round for row in journal.rows(RoundEnded)] == [1, 2]


def full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestWriteAside:
    def test_replaces_a_file_whole(self, tmp_path: Path) -> None:
        """No other file is left in its folder."""
        path = tmp_path / "report.html"
        write_aside(path, b"old and long")
        write_aside(path, b"new")
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]

    def test_leaves_the_old_file_when_the_disk_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The old content stays, and no other file is left in its folder."""
        path = tmp_path / "report.html"
        path.write_bytes(b"old")
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_aside(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.skipif(sys.platform == "win32", reason="needs links")
    def test_follows_no_link_that_somebody_put_there(self, tmp_path: Path) -> None:
        """The file beside its place has a name that can be guessed."""
        (tmp_path / "victim").write_text("mine")
        (tmp_path / f".report.html.{os.getpid()}").symlink_to(tmp_path / "victim")
        write_aside(tmp_path / "report.html", b"new")
        assert (tmp_path / "victim").read_text() == "mine"
        assert (tmp_path / "report.html").read_bytes() == b"new"
        assert not (tmp_path / "report.html").is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_run_that_has_no_room_to_start_leaves_no_folder(tmp_path: Path) -> None:
    """However little room there is, a start either gives a journal that can be read or leaves nothing behind."""
    code = """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for size in (0, 10, 50, 1000, 5000, 9000, 13000, 40000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with Journal.start(folder / str(size), "trials = 5\\n" * 10, clock=time.time) as journal:
            print(size, journal.rows(RoundEnded))
    except JournalError as error:
        print(size, "Free some space" in str(error), (folder / str(size)).exists())
"""
    told, complaints = run_child(code, tmp_path).communicate(timeout=60)
    assert complaints == ""
    lines = told.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "10", "50", "1000", "5000", "9000", "13000", "40000"]
    assert all(line.endswith((" []", " True False")) for line in lines)
    assert lines[0].endswith("True False")
    assert lines[-1].endswith("[]")
