"""The command ``nas`` in a process of its own, and the rows in its run folder."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas.storage.journal import JOURNAL, read_rows
from nas.storage.journal_file import checksum_of
from nas.storage.writer_lock import WRITER
from nas.values.evaluation import Evaluation

TESTS = Path(__file__).parent
MARK = "NAS_TEST_PROCESS"
"""An environment variable that all processes of one command share."""

SHORT = (
    *("--data", "digits", "--set", "rounds=1", "--set", "training.epochs=1", "--set", "training.subset=0.1"),
    *("--set", "measuring.initial=5", "--set", "measuring.rounds=2", "--set", "measuring.max_rounds=2"),
    *("--set", "measuring.seconds_per_round=0.02"),
    *("--set", "retraining.epochs=1", "--set", "retraining.winners=1"),
)
"""Arguments of the shortest run on digits."""
UNMEASURED = ("--objective", "error", "--objective", "macs")
"""Objectives that need no measurement before the winners."""


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment, with one thread and without settings of a terminal's colours."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "", **changes}


def path_with_the_tests() -> str:
    """Return a value of ``PYTHONPATH`` with which a process finds the tests' modules too."""
    return os.pathsep.join([str(TESTS), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])


def run_nas(*arguments: str | Path, cwd: Path = TESTS, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, and return its output and exit status."""
    return subprocess.run(
        [sys.executable, "-m", "nas", *map(str, arguments)],
        cwd=cwd,
        env=environment(**changes),
        text=True,
        capture_output=True,
        timeout=280,
        check=False,
    )


class RunningCommand:
    """``nas`` in a process group of its own. Its output goes to a file."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self._mark = uuid.uuid4().hex
        self._seen: dict[int, str] = {}
        self._output = folder / f"output-{self._mark}"
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nas", *map(str, arguments)],
                cwd=TESTS,
                env=environment(**{MARK: self._mark}),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A job that a shell starts in the background ignores Ctrl-C, and its children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    @property
    def output(self) -> str:
        """The output until now."""
        return self._output.read_text()

    def wait_until(self, happened: Callable[[], bool], seconds: float = 60) -> bool:
        """Wait for an event or the end of the command. Return True if the event came first."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if happened():
                return True
            if self.process.poll() is not None:
                return happened()
            time.sleep(0.02)
        raise AssertionError(f"the event did not come within {seconds} s:\n{self.output}")

    def kill(self) -> None:
        """Kill the driver alone."""
        self.others()
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Send the signal of Ctrl-C to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def others(self) -> dict[int, str]:
        """Return the command lines of the command's other living processes, by process id.

        Ancestors and the environment's variable identify them. A process that sets its own title may lose the variable,
        and one whose parent dies loses its ancestor. So a process that was seen once stays known.
        """
        parents, started = {}, {}
        for folder in Path("/proc").iterdir():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split() if folder.name.isdigit() else ["Z"]
                if fields[0] != "Z":
                    parents[int(folder.name)], started[int(folder.name)] = int(fields[1]), fields[19]
                    if f"{MARK}={self._mark}".encode() in (folder / "environ").read_bytes():
                        self._seen[int(folder.name)] = fields[19]
            except OSError:  # it has ended, or belongs to another user
                continue
        known = {self.process.pid, *(pid for pid, start in self._seen.items() if started.get(pid) == start)}
        while children := {pid for pid, parent in parents.items() if parent in known and pid in started} - known:
            known |= children
        known -= {self.process.pid}
        self._seen |= {pid: started[pid] for pid in known if pid in started}
        return {pid: _command_line(pid) for pid in known if pid in started}

    def wait_for_the_others(self, seconds: float = 30) -> None:
        """Fail if other processes outlive the driver by this time, and kill them."""
        until = time.monotonic() + seconds
        while others := self.others():
            if time.monotonic() > until:
                for process_id in others:
                    os.kill(process_id, signal.SIGKILL)
                raise AssertionError(f"these processes outlived their driver by {seconds} s: {others}")
            time.sleep(0.1)


def _command_line(process_id: int) -> str:
    try:
        return Path(f"/proc/{process_id}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def rows_of(run: Path) -> list[tuple[Any, ...]]:
    """Return all columns of all rows on disk, oldest first; none before there is a journal."""
    if not (run / JOURNAL).exists():
        return []
    connection = sqlite3.connect(f"{(run / JOURNAL).as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT number, at, kind, body FROM rows ORDER BY number").fetchall()
    except sqlite3.OperationalError:  # the table does not exist yet
        return []
    finally:
        connection.close()


def delete_rows(run: Path, where: str, *values: object) -> None:
    """Delete rows of a run as if they had never been written: the others are numbered anew, and nothing counts them."""
    connection = sqlite3.connect(run / JOURNAL)
    with connection:
        connection.execute(f"DELETE FROM rows WHERE {where}", values)
        kept = connection.execute("SELECT at, kind, body FROM rows ORDER BY number").fetchall()
        connection.execute("DELETE FROM rows")
        for number, (at, kind, body) in enumerate(kept, start=1):
            checksum = checksum_of(number, at, kind.encode(), body.encode())
            connection.execute("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", (number, at, kind, body, checksum))
    connection.close()
    (run / WRITER).unlink(missing_ok=True)


def evaluations_of(run: Path, stage: str) -> list[Evaluation]:
    """Return the evaluations of one stage, oldest first."""
    return [row for row in read_rows(run, Evaluation) if row.stage == stage]


def assert_nothing_twice(run: Path) -> None:
    """Check that no architecture has two rows in one stage."""
    for stage in ("measure", "train", "retrain", "winner"):
        identities = [row.architecture.id for row in evaluations_of(run, stage)]
        assert len(set(identities)) == len(identities), stage
