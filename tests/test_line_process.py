"""A process that answers line by line can be ended at any time, whatever it has started itself."""

from __future__ import annotations

import errno
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.line_process import LineProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and looks at processes by their numbers")

ECHO = "import sys\nfor line in sys.stdin:\n    sys.stdout.write(line)\n    sys.stdout.flush()\n"
FORK = """
import os, sys, time
child = os.fork()  # it keeps the output open
if child == 0:
    time.sleep(60)
print(child, flush=True)
"""
Start = Callable[[str], LineProcess]


@pytest.fixture(name="start")
def starting() -> Iterator[Start]:
    """Start a process of this code, which is ended after the test."""
    started: list[LineProcess] = []

    def start(code: str) -> LineProcess:
        started.append(LineProcess([sys.executable, "-c", code], os.environ))
        return started[-1]

    yield start
    for each in started:
        each.end()


def is_gone(process: int) -> bool:
    """Wait until a process has ended. Return whether it has."""
    stat = Path(f"/proc/{process}/stat")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_each_request_has_its_line(start: Start) -> None:
    """What JSON lacks goes as its text."""
    process = start(ECHO)
    process.send({"path": Path("a")})
    assert process.line(20) == '{"path": "a"}\n'
    with pytest.raises(queue.Empty):
        process.line(0.05)


def test_its_end_is_an_empty_line(start: Start) -> None:
    """Requests after it fail, and its exit code is known."""
    process = start("import sys; print('last'); sys.exit(3)")
    assert [process.line(20), process.line(20)] == ["last\n", ""]
    assert process.wait() == 3
    with pytest.raises(BrokenPipeError):
        process.send({})


def test_a_process_that_hangs_with_a_fork_is_ended(start: Start) -> None:
    """The fork holds the output open, which must not keep the driver waiting, and it ends too."""
    process = start(f"{FORK}time.sleep(60)")
    child = int(process.line(20))
    began = time.monotonic()
    process.end()
    assert time.monotonic() - began < 10
    assert is_gone(child)


def test_the_end_of_a_process_with_a_fork_is_noticed(start: Start) -> None:
    """Its output never ends, and yet nobody waits for the time limit."""
    process = start(f"{FORK}os._exit(0)")
    child = int(process.line(20))
    assert process.line(20) == ""
    assert is_gone(child)


@pytest.mark.slow
def test_a_process_that_closes_its_output_is_late(start: Start) -> None:
    """It lives on, so it has not ended, and can be ended."""
    process = start("import os, time\nos.close(1)\ntime.sleep(60)")
    with pytest.raises(queue.Empty):
        process.line(1.0)
    process.end()


def test_a_broken_pipe_of_windows_is_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, writing to a process that has ended is an invalid argument."""
    process = start(ECHO)

    def refuse(text: str) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    with monkeypatch.context() as patched:
        patched.setattr(process._process, "stdin", type("Pipe", (), {"write": staticmethod(refuse)}))
        with pytest.raises(BrokenPipeError):
            process.send({})
