"""What a board's Python imports before the agent runs, and requests that are given up."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from nas.hardware.devices.board_connection import START, BoardConnection


def connection(folder: Path) -> BoardConnection:
    return BoardConnection([sys.executable, "-u", "-c", START], str(folder / "there"), ())


def test_scripts_in_the_home_of_its_user_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginners keep them there, and call them like Python's own modules."""
    for name in ("random", "queue", "socket", "tempfile"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\nraise ImportError('a script of the user')\n")
    monkeypatch.chdir(tmp_path)
    opened = connection(tmp_path)
    assert opened.board["python"] == list(sys.version_info[:3])
    opened.close()
    assert not (tmp_path / "ran").exists()


def test_a_request_that_is_given_up_is_owed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C must not wait for it: the connection is closed instead."""
    opened = connection(tmp_path)
    opened.ask("remove")
    assert not opened.owes_a_reply

    def interrupted(timeout_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(opened, "_next", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened.ask("remove")
    assert opened.owes_a_reply
    began_s = time.monotonic()
    opened.close()
    assert opened.is_closed
    assert time.monotonic() - began_s < 10
