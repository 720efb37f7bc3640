"""A watchdog ends Ray's processes and removes its files, however a search ends. Others stand in for Ray's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.jobs.watchdog import ENDED_EARLY
from nas.storage.scratch import PARENTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at open files in /proc")

SEARCH = """
import os, signal, subprocess, sys, time
from nas.jobs.ray_cleanup import RayCleanup
from nas.signals import advising, stopping
from nas.storage.scratch import temporary_folder

with stopping(ends_process=True), temporary_folder("tune"), advising("Go on with: nas go"):
    cleanup = RayCleanup()
    log = cleanup.folder / "worker.out"
    worker = subprocess.Popen(["sleep", "100"], stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True)
    reader = subprocess.Popen(["tail", "-f", log], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(cleanup.folder, worker.pid, reader.pid, cleanup._process.pid, flush=True)
    {then}
"""


@pytest.fixture(name="place")
def short_place() -> Iterator[Path]:
    """A temporary folder with a short path, as sockets need."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as name:
        yield Path(name)


class Search:
    """A search in a process of its own, with one process that writes into Ray's folder, and one that reads there."""

    def __init__(self, place: Path, then: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name != PARENTS}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SEARCH.format(then=then)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, "TMPDIR": str(place)},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        folder, *numbers = self.process.stdout.readline().split()
        self.folder = Path(folder)
        self.worker, self.reader, self.watchdog = map(int, numbers)

    def is_there(self, process: int) -> bool:
        """Return whether a process runs."""
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False


Start = Callable[..., Search]


@pytest.fixture(name="search")
def searching(place: Path) -> Iterator[Start]:
    """Start a search that goes on by this code, with the temporary folder or another one."""
    started: list[Search] = []

    def start(then: str, temporary: Path = place) -> Search:
        started.append(Search(temporary, then))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()
        for process in (each.worker, each.reader):
            if each.is_there(process):
                os.kill(process, signal.SIGKILL)


def until(happened: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for an event. Return whether it came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happened():
            return True
        time.sleep(0.05)
    return False


def ignores(process: int, number: signal.Signals) -> bool:
    """Return whether a process ignores a signal."""
    (mask,) = re.findall(r"SigIgn:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_killed_search_leaves_nothing(search: Start, place: Path) -> None:
    """After kill -9, processes, folders and locks are gone in seconds. A message says that nothing is lost."""
    killed = search("time.sleep(100)")
    killed.process.kill()
    _, error = killed.process.communicate(timeout=20)
    assert error == f"{ENDED_EARLY}\nGo on with: nas go\n"
    assert until(lambda: not killed.is_there(killed.worker))
    assert until(lambda: [path.name for path in killed.folder.parent.parent.iterdir()] == ["lock"])
    assert until(lambda: not killed.is_there(killed.watchdog))
    assert killed.is_there(killed.reader), "somebody who only reads a log is not Ray"


def test_a_temporary_folder_may_be_a_link(search: Start, place: Path) -> None:
    """Ray's processes are found all the same."""
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    killed = search("time.sleep(100)", place / "link")
    killed.process.kill()
    killed.process.communicate(timeout=20)
    assert until(lambda: not killed.is_there(killed.worker))


@pytest.mark.slow
def test_a_folder_s_name_that_is_not_utf_8_is_told(search: Start) -> None:
    """The sentence that says how to go on names it, in any form that can be written."""
    killed = search("cleanup._tell('Resume \\udcff'); time.sleep(100)")
    time.sleep(0.5)
    killed.process.kill()
    _, error = killed.process.communicate(timeout=20)
    assert error == f"{ENDED_EARLY}\nGo on with: nas go\nResume ?\n"
    assert until(lambda: not killed.is_there(killed.worker))


def test_signals_to_the_whole_group_do_not_end_the_watchdog(search: Start) -> None:
    """A closed terminal and a process manager signal all processes of a search."""
    killed = search("time.sleep(100)")
    assert until(lambda: ignores(killed.watchdog, signal.SIGTERM)), "it has not begun"
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        os.kill(killed.watchdog, number)
    os.killpg(killed.process.pid, signal.SIGKILL)
    assert until(lambda: not killed.is_there(killed.worker))
    assert until(lambda: not killed.folder.exists())


@pytest.mark.slow
def test_a_search_that_ends_well_waits_for_a_clean_end(search: Start, place: Path) -> None:
    """``end`` returns when Ray's folder is gone, and leaves the search's other files. Nothing is printed."""
    left = "worker.poll(), cleanup.folder.exists(), len(os.listdir(cleanup.folder.parent))"
    ended = search(f"cleanup.end(); print({left})")
    output, error = ended.process.communicate(timeout=30)
    assert output == "-9 False 1\n"
    assert error == ""


@pytest.mark.slow
def test_a_second_signal_is_told_once(search: Start) -> None:
    """The search that ends at once says how to go on, so the watchdog says nothing, and leaves nothing."""
    hold = "from nas.signals import deferred; hold = deferred(); hold.__enter__(); print('held', flush=True)"
    ended = search(f"{hold}; time.sleep(100)")
    assert ended.process.stdout is not None
    assert ended.process.stdout.readline() == "held\n"
    ended.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    ended.process.send_signal(signal.SIGINT)
    _, error = ended.process.communicate(timeout=20)
    assert error == "Stopped at once. All finished work is kept.\nGo on with: nas go\n"
    assert until(lambda: not ended.is_there(ended.worker))
    assert until(lambda: not ended.folder.exists())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_does_not_hide_the_end_of_the_search(search: Start) -> None:
    """A process that the search has forked does not keep the watchdog waiting."""
    killed = search("os.fork(); time.sleep(100)")
    time.sleep(0.3)
    killed.process.kill()
    assert until(lambda: not killed.is_there(killed.worker))
    os.killpg(killed.process.pid, signal.SIGKILL)
