"""Faults of a board and of the way to it: each is a sentence that names the device, or the failure of one model."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_board
import pytest

from nas.errors import CandidateError, TargetError
from nas.hardware.devices import board as boards, board_connection
from nas.hardware.devices.agent import Models, digest_of
from nas.hardware.devices.board import Board
from nas.hardware.devices.board_connection import BoardConnection, ConnectionLostError
from nas.hardware.devices.board_faults import why_another_machine
from nas.hardware.devices.registry import DeviceRecord
from nas.hardware.measuring_process import MeasuringProcess
from nas.values.target import Target

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a device here is stopped by signals")


def record(place: Path, python: str = sys.executable, **found: Any) -> DeviceRecord:
    return DeviceRecord("pi", "local:", python, str(place / "there"), found=found, packages={"acting": ""})


@pytest.fixture
def board(tmp_path: Path, acting: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    monkeypatch.setattr(boards, "PAUSES_S", (0.0,))
    opened = Board(record(tmp_path))
    yield opened
    opened.close()


class TestMachines:
    def test_another_one_that_answers_is_told(self, tmp_path: Path) -> None:
        """Before anything is put there, removed there, or measured there."""
        lies = Board(record(tmp_path, machine_id="0123456789abcdef"))
        found = Board(record(tmp_path)).look()
        if not found["machine_id"]:
            lies = Board(record(tmp_path, machine="pdp11"))
        for work in (lies.look, lies.clear, lambda: lies.facts):
            with pytest.raises(TargetError, match=r"pi must be the machine that was added.*--keep-files"):
                work()
        same = DeviceRecord("pi", "local:", sys.executable, str(tmp_path / "there"), found=found)
        assert Board(same).look()["python"] == found["python"]

    @pytest.mark.parametrize(
        ("added", "found", "said"),
        [
            ({"serial": "1"}, {"serial": "2"}, "its serial number is 2, not 1"),
            ({"machine": "aarch64"}, {"machine": "x86_64"}, "its kind of processor is x86_64, not aarch64"),
            ({}, {"serial": "2"}, ""),
            ({"serial": "1", "python": [3, 11, 2]}, {"serial": "1", "python": [3, 13, 0]}, ""),
        ],
    )
    def test_what_differs_is_told(self, added: dict[str, Any], found: dict[str, Any], said: str) -> None:
        assert why_another_machine(added, found) == said


class TestPythons:
    @pytest.mark.parametrize(
        ("said", "advice"),
        [
            ("says SyntaxError: invalid syntax", "its Python is older than 3.11: install a newer one"),
            ("says AttributeError: file object has no attribute buffer", "its Python is older than 3.11"),
            ("says Illegal instruction", "Illegal instruction"),
        ],
    )
    def test_one_that_cannot_answer_is_told(self, said: str, advice: str, tmp_path: Path) -> None:
        python = fake_board.python_that(said, tmp_path)
        with pytest.raises(TargetError, match=rf"pi \(local:\) cannot be reached: .*{advice}"):
            Board(record(tmp_path, python)).look()


@LINUX
class TestLinks:
    def test_replies_that_come_twice_or_late_are_dropped(self, tmp_path: Path, acting: Target) -> None:
        board = Board(record(tmp_path, fake_board.python_that("repeats", tmp_path)))
        try:
            assert board.facts.cores > 0
            assert board.ask("lacking", keys=["a" * 64])[0]["lacking"] == ["a" * 64]
            assert board.ask("lacking", keys=[])[0]["lacking"] == []
        finally:
            board.close()

    def test_one_that_takes_nothing_any_more_is_lost(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody waits for ever to send a model over it, or to close it."""
        monkeypatch.setattr(board_connection, "SILENT_S", 0.2)
        monkeypatch.setattr(board_connection, "HEARTBEAT_S", 0.1)
        command = [fake_board.python_that("is stuck", tmp_path)]
        connection, began_s = BoardConnection(command, str(tmp_path), ()), time.monotonic()
        with pytest.raises(ConnectionLostError, match="nothing could be sent for 0 s"):
            connection.ask("unpack", content=bytes(2**22))
        connection.close()
        assert time.monotonic() - began_s < 5

    @pytest.mark.slow
    def test_one_that_is_silent_is_lost(self, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next one asks the same again."""
        first = board.ask("info")[0]["agent"]
        monkeypatch.setattr(board_connection, "SILENT_S", 0.5)
        os.kill(first, signal.SIGSTOP)
        assert board.ask("info")[0]["agent"] != first


@pytest.mark.slow
@LINUX
def test_a_model_that_ends_the_board_is_told_and_others_go_on(board: Board, acting: Target, tmp_path: Path) -> None:
    """As one that takes all memory there, after which the system ends the agent, or starts again."""
    with board.process(acting, 30.0) as process:
        with pytest.raises(CandidateError, match="the connection to pi was lost 3 times while this model ran there"):
            ask_time(process, tmp_path, "fell", "bad")
        assert ask_time(process, tmp_path, "clock 1", "good")["samples"]


def ask_time(process: MeasuringProcess, folder: Path, deed: str, name: str) -> dict[str, Any]:
    (folder / name).mkdir()
    path = folder / name / "a.txt"
    path.write_text(deed)
    return process.ask("time", model=path, reference=None, seconds=0.001, min_samples=1)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", r"pi failed: OSError: .* on device\. Make room there"),
        ("OSError: [Errno 30] Read-only file system", r"pi failed: .*\. Its disk takes nothing any more"),
    ],
)
def test_disks_come_with_advice(said: str, advice: str, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def ask(self, op: str) -> None:
            raise TargetError(said)

    monkeypatch.setattr(board, "_connected", Full)
    with pytest.raises(TargetError, match=advice):
        board.ask("info")


class TestRoom:
    """Of models on a board."""

    def put(self, models: Models, content: bytes) -> str:
        files = [("model", len(content))]
        key = digest_of(files, content)
        models.put(key, files, content)
        return key

    def test_a_full_disk_loses_models_that_were_not_used_lately(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models = Models(tmp_path)
        old, used = self.put(models, b"old"), self.put(models, b"used")
        for key in (old, used):
            os.utime(tmp_path / key, (1, 1))
        assert models.lacking([used]) == []
        write = os.fsync

        def fsync(number: int) -> None:
            if (tmp_path / old).exists():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            write(number)

        monkeypatch.setattr(os, "fsync", fsync)
        new = self.put(models, b"new")
        assert models.lacking([old, used, new]) == [old]

    def test_a_clock_that_was_set_back_does_not_keep_the_oldest(self, tmp_path: Path) -> None:
        models = Models(tmp_path, most_bytes=100)
        keys = [self.put(models, bytes([number]) * 40) for number in range(2)]
        os.utime(tmp_path / keys[0], (time.time() + 1e7,) * 2)
        self.put(models, b"c" * 40)
        assert models.lacking(keys) == [keys[0]]

    def test_room_is_kept_for_what_a_runtime_writes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or else a model would fail, though nothing is wrong with it, because the disk has no room for its copy."""
        models = Models(tmp_path)
        old = self.put(models, b"a" * 40)
        os.utime(tmp_path / old, (1, 1))
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=200))
        self.put(models, b"b" * 40)
        assert models.lacking([old]) == []
        os.utime(tmp_path / old, (1, 1))
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
        new = self.put(models, b"c" * 40)
        assert models.lacking([old, new]) == [old]

    def test_a_folder_that_another_agent_renames_meanwhile_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models, listed = Models(tmp_path), Path.iterdir
        monkeypatch.setattr(Path, "iterdir", lambda self: iter([*listed(self), self / ".new-gone"]))
        assert models.lacking([self.put(models, b"a")]) == []
