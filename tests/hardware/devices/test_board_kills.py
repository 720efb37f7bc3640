"""Kills of agents, driver, ssh server and link at random moments: nothing is lost, counted twice, or left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import network_link
import own_runtime
import pytest
from boards_here import boards_here, profile_boards
from killed_driver import LEAST, NO_BOARD, TARGET
from network_link import Link

from experiments import real_sshd
from nas.hardware.devices.pool import Pool
from nas.hardware.devices.registry import DeviceRecord, known
from nas.storage.file_lock import HeldElsewhereError, take
from nas.storage.journal import read_rows
from nas.values.evaluation import Evaluation

KILLS = int(os.environ.get("NAS_KILLS", "6"))
"""The number of kills. What is to be reached is stated for 50."""
READY_WITHIN_S, FINISHED_WITHIN_S = 150.0, 240.0
NAMES, ROUNDS, LEFT_FOR_S, LONGEST_CUT_S = ("pi1", "pi2", "pi3"), 3, 15.0, 20.0 if KILLS >= 50 else 4.0
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")]


@contextlib.contextmanager
def way_to_boards(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Link | None]]:
    """Give the address of the boards: through an ssh server behind a link, or where there is none, on this machine."""
    if not (network_link.IS_THERE and real_sshd.IS_THERE):
        yield "local:", None
        return
    with network_link.separate_network() as link, real_sshd.serving(folder, link.host, link.inside) as (url, path):
        patch.setenv("PATH", path)
        yield url, link


def processes_of(records: list[DeviceRecord]) -> dict[int, bytes]:
    """Return the processes on the boards by number, with their command lines: agents, and those that run models."""
    marks = [f"NAS_DEVICE_LOCK={record.folder}/lock".encode() for record in records]
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if any(mark in (folder / "environ").read_bytes() for mark in marks):
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
    return {number: line for number, line in found.items() if line}


def connections(url: str) -> list[int]:
    """Return the processes here that hold a connection to the boards."""
    place = url.removeprefix("ssh://").rpartition(":")[0].encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if place in words and b"BatchMode=yes" in words:
                found.append(int(folder.name))
    return found


def is_free(record: DeviceRecord) -> bool:
    try:
        take(Path(record.folder) / "lock", for_all=True).close()
    except HeldElsewhereError:
        return False
    return True


class Kills:
    """Kills something, and starts what a user would start again."""

    def __init__(self, folder: Path, records: list[DeviceRecord], link: Link | None) -> None:
        self._folder, self._records, self._link = folder, records, link
        self._rng = random.Random(0)
        kinds = ["agent", "driver"] if link is None else ["agent", "driver", "sshd", "link"]
        self._kinds = [kinds[number % len(kinds)] for number in range(KILLS)]
        self._rng.shuffle(self._kinds)
        self.done: list[str] = []
        self.driver = self._started()

    def run(self) -> None:
        """Kill at random moments while the driver measures."""
        for kind in self._kinds:
            time.sleep(self._rng.uniform(0.1, 4.0))
            self.go_on()
            work = {"agent": self.agent, "driver": self.restart, "sshd": self.sshd, "link": self.cut}[kind]
            until_s = time.monotonic() + READY_WITHIN_S
            while not work():
                assert time.monotonic() < until_s, f"there must be an {kind} to kill"
                self.go_on()
                time.sleep(0.1)
            self.done.append(kind)

    def go_on(self) -> None:
        """Start a driver again that found no board."""
        assert self.driver.poll() in (None, NO_BOARD), (self._folder / "said.txt").read_text()[-2000:]
        if self.driver.poll() == NO_BOARD:
            self.driver = self._started()

    def finish(self) -> None:
        """Let the driver measure what is left, and wait for its end."""
        (self._folder / "enough").touch()
        until_s = time.monotonic() + FINISHED_WITHIN_S
        while self.driver.poll() != 0:
            assert time.monotonic() < until_s, (self._folder / "said.txt").read_text()[-2000:]
            self.go_on()
            time.sleep(0.1)

    def agent(self) -> bool:
        agents = [number for number, line in processes_of(self._records).items() if b"first_steps" in line]
        if agents:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._rng.choice(agents), signal.SIGKILL)
        return bool(agents)

    def sshd(self) -> bool:
        """Kill all of them: that which listens, and those of the connections."""
        assert self._link is not None
        servers = self._link.processes("sshd")
        for number in servers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return bool(servers)

    def cut(self) -> bool:
        assert self._link is not None
        self._link.cut()
        time.sleep(self._rng.uniform(0.2, LONGEST_CUT_S))
        self._link.mend()
        return True

    def restart(self) -> bool:
        self.driver.kill()
        self.driver.wait()
        self.driver = self._started()
        return True

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._folder / "said.txt").open("ab") as said:
            command = [sys.executable, "-m", "killed_driver", str(self._folder), str(ROUNDS)]
            return subprocess.Popen(command, stdout=said, stderr=said)


def test_kills_lose_nothing(acting: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model has one row with all of its sessions. Afterwards no process and no lock is left on either side."""
    monkeypatch.setattr("nas.formats.export.export_model", own_runtime.write_unread)
    with way_to_boards(tmp_path, monkeypatch) as (url, link):
        records = boards_here(tmp_path, NAMES, url)
        pool = Pool(known("pis"))
        profile_boards(TARGET, pool)
        for board in pool.boards:
            board.close()
        kills = Kills(tmp_path, records, link)
        try:
            kills.run()
            kills.finish()
            if link is not None and KILLS >= 50:
                (tmp_path / "enough").unlink()
                kills.driver = kills._started()
                time.sleep(5)
                link.cut()  # the agents never hear of the end of their driver
                kills.driver.kill()
        finally:
            kills.driver.kill()
            kills.driver.wait()
        ended_s = time.monotonic()
        while processes_of(records) or connections(url):
            assert time.monotonic() < ended_s + LEFT_FOR_S, (processes_of(records), connections(url))
            time.sleep(0.1)
        assert all(map(is_free, records))
        rows = read_rows(tmp_path / "run", Evaluation)
        print(f"{len(kills.done)} kills, {len(rows)} models, nothing left after {time.monotonic() - ended_s:.1f} s")
    assert len(kills.done) == KILLS
    assert len(rows) >= LEAST
    assert [row.architecture["number"] for row in rows] == list(range(len(rows)))
    for number, row in enumerate(rows):
        assert row.failure is None
        latency = row.measurements["latency_ms"]
        assert len(latency.rounds) == ROUNDS
        assert {sample for samples in latency.rounds for sample in samples} == {1.0 + number}
