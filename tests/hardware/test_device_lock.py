"""One measurement at a time on a machine, whoever runs it, and a wait is told."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from nas.hardware.devices import device_lock
from nas.hardware.devices.device_lock import LOCK, holding_the_device, lock_path
from nas.storage import file_lock
from nas.storage.file_lock import HeldElsewhereError, take
from nas.storage.home import home

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has one folder for all users' data")


@POSIX
def test_lies_where_all_users_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first folder in which everybody may make files; without one, the lock is this user's own."""
    monkeypatch.delenv("NAS_DEVICE_LOCK")
    own, shared = tmp_path / "own", tmp_path / "shared"
    for folder, mode in ((own, 0o755), (shared, 0o1777)):
        folder.mkdir()
        folder.chmod(mode)
    monkeypatch.setattr(device_lock, "SHARED", (str(tmp_path / "none"), str(own), str(shared)))
    assert lock_path() == shared / LOCK
    monkeypatch.setattr(device_lock, "SHARED", (str(own),))
    assert lock_path() == home() / LOCK


def test_can_be_named_for_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that several containers have makes them wait for each other."""
    monkeypatch.setenv("NAS_DEVICE_LOCK", str(tmp_path / "shared" / "lock"))
    with holding_the_device(pytest.fail), pytest.raises(HeldElsewhereError):
        take(tmp_path / "shared" / "lock", for_all=True)


@POSIX
def test_needs_no_permission_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user made the file, whose mask was strict; it can be read by all, and that is enough."""
    monkeypatch.setenv("NAS_DEVICE_LOCK", str(tmp_path / "lock"))
    mask = os.umask(0o077)
    try:
        with holding_the_device(pytest.fail):
            pass
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == file_lock.FOR_ALL
    (tmp_path / "lock").chmod(0o444)
    with holding_the_device(pytest.fail):
        pass


def test_waiting_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short wait is not worth a message."""
    monkeypatch.setenv("NAS_DEVICE_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(file_lock, "TOLD_AFTER_S", 0.1)
    held = take(tmp_path / "lock", for_all=True)
    threading.Timer(0.5, held.close).start()
    said: list[str] = []
    with holding_the_device(said.append):
        pass
    (text,) = said
    assert text.startswith("waiting for another measurement on this machine")
    if Path("/proc/locks").exists():
        assert f"process {os.getpid()}" in text


@POSIX
def test_that_is_no_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link could lead anywhere: this user's own lock is taken, and that is told."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("NAS_DEVICE_LOCK", str(tmp_path / "lock"))
    said: list[str] = []
    with holding_the_device(said.append):
        assert (home() / LOCK).is_file()
    assert "must be a file of its own, but it is a link" in said[0]
    assert not (tmp_path / "elsewhere").exists()
