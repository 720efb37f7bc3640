"""One process at a time holds a lock, and the lock is free however that process ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nas.storage.file_lock import HeldElsewhereError, take, waiting_for

HOLDER = """
import sys
from pathlib import Path
from nas.storage.file_lock import take
held = take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused(tmp_path: Path) -> None:
    """The message names the file, and the lock can be taken once it is given back."""
    path = tmp_path / "device.lock"
    with holder(path) as process:
        with pytest.raises(HeldElsewhereError, match=r"device\.lock is held by another process"):
            take(path)
        process.communicate()
    take(path).close()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    """The system frees its locks, though the file stays."""
    path = tmp_path / "device.lock"
    with holder(path) as process:
        process.kill()
        process.wait()
        take(path).close()
    assert path.is_file()


def test_waits_for_a_holder_that_is_killed(tmp_path: Path) -> None:
    """The waiting process takes the lock soon after the kill."""
    path = tmp_path / "device.lock"
    with holder(path) as process:
        began = time.monotonic()
        threading.Timer(0.3, process.kill).start()
        with waiting_for(path):
            assert time.monotonic() - began >= 0.3
            with pytest.raises(HeldElsewhereError):
                take(path)
        process.wait()
    take(path).close()


def test_threads_take_turns(tmp_path: Path) -> None:
    """Two threads of one process never hold the lock together."""
    path = tmp_path / "device.lock"
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with waiting_for(path):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_an_error_inside_gives_it_back(tmp_path: Path) -> None:
    """Any exception frees the lock."""
    path = tmp_path / "device.lock"
    with pytest.raises(KeyboardInterrupt), waiting_for(path):
        raise KeyboardInterrupt
    take(path).close()


def test_the_content_of_the_file_stays(tmp_path: Path) -> None:
    """Taking a lock does not empty the file, and a missing folder is an error of its own."""
    path = tmp_path / "device.lock"
    path.write_text("whose it is")
    take(path).close()
    assert path.read_text() == "whose it is"
    with pytest.raises(FileNotFoundError):
        take(tmp_path / "none" / "device.lock")


def test_a_folder_that_refuses_is_no_holder(tmp_path: Path) -> None:
    """The error is passed on, because waiting would never end."""
    with pytest.raises(IsADirectoryError):
        take(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="locks another way")
def test_a_file_system_without_locks_is_no_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is passed on, because waiting would be of no use."""

    def refuse(stream: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="No locks available"), waiting_for(tmp_path / "device.lock"):
        pytest.fail("nothing was locked")


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and pipes")
class TestFilesThatAreNone:
    """Who may write to a folder could lead the lock elsewhere."""

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        """Neither what it names nor a new file there is touched."""
        (tmp_path / "other").write_text("mine")
        for target in ("other", "new"):
            path = tmp_path / f"{target}.lock"
            path.symlink_to(tmp_path / target)
            with pytest.raises(OSError, match=r"\.lock must be a file of its own, but it is a link"):
                take(path)
        assert (tmp_path / "other").read_text() == "mine"
        assert not (tmp_path / "new").exists()

    def test_a_pipe_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.lock")
        with pytest.raises(OSError, match="must be a regular file, but it is none"):
            take(tmp_path / "pipe.lock")

    def test_strangers_cannot_open_it(self, tmp_path: Path) -> None:
        """Who can open a lock can hold it for ever."""
        before = os.umask(0)
        try:
            take(tmp_path / "device.lock").close()
        finally:
            os.umask(before)
        assert (tmp_path / "device.lock").stat().st_mode & 0o777 == 0o660
