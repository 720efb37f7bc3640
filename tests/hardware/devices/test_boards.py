"""Measuring on a board gives what measuring here gives, over each transport, and survives lost connections."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fake_ssh
import made_up_heat
import numpy as np
import pytest

from experiments import real_sshd
from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.devices import board as boards
from nas.hardware.devices.board import Board
from nas.hardware.devices.board_connection import BoardConnection, ConnectionLostError
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.devices.registry import DeviceRecord, devices, forget, known, save, ssh_parts
from nas.hardware.devices.requirements import why_unfit
from nas.hardware.devices.transports import Ssh
from nas.hardware.measuring_process import MeasuringProcess
from nas.storage.home import home
from nas.values.target import Target

TIMEOUT_S = 30.0
REAL = "a real sshd"
ADDRESSES = [
    "local:",
    "ssh://pi@board",
    pytest.param(REAL, marks=pytest.mark.skipif(not real_sshd.IS_THERE, reason="this machine has no sshd")),
]


def model(folder: Path, deed: str, name: str = "a") -> Path:
    path = folder / f"{name}.txt"
    path.write_text(deed)
    return path


def is_free(record: DeviceRecord) -> bool:
    """Return True if nobody holds the lock of the board."""
    other = Board(record)
    found = bool(other.ask("lock")[0]["held"])
    other.close()
    return found


def ask_time(process: MeasuringProcess, path: Path) -> dict[str, object]:
    return process.ask("time", model=path, reference=None, seconds=0.001, min_samples=1)


@pytest.fixture(params=ADDRESSES)
def record(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acting: Target
) -> Iterator[DeviceRecord]:
    """A device on this machine with a folder of its own, reached in each way."""
    here = sys.executable, str(tmp_path / "there")
    if request.param != REAL:
        monkeypatch.setenv("PATH", fake_ssh.put_on_path(tmp_path, os.environ["PATH"]))
        yield DeviceRecord("pi", request.param, *here, packages={"acting": ""})
        return
    with real_sshd.serving(tmp_path) as (url, path):
        monkeypatch.setenv("PATH", path)
        yield DeviceRecord("pi", url, *here, packages={"acting": ""})


@pytest.fixture
def board(record: DeviceRecord, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    monkeypatch.setattr(boards, "PAUSES_S", (0.0, 0.05, 0.1))
    opened = Board(record)
    yield opened
    opened.close()


class TestAnswers:
    def test_are_those_of_this_machine(self, board: Board, acting: Target, tmp_path: Path) -> None:
        """Conditions, times by the runtime's own clock, outputs and layers; a model is sent once."""
        path, inputs = model(tmp_path, "clock 2"), np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
        found = []
        for device in (LocalDevice(), board):
            with device.process(acting, TIMEOUT_S) as process:
                times = ask_time(process, path)
                outputs = process.outputs(path, [inputs])
                assert isinstance(times["samples"], list)
                found.append((process.conditions, set(times["samples"]), outputs.tolist()))
        here, there = found
        assert here[1:] == there[1:]
        assert {**here[0], "clock_mhz": 0} == {**there[0], "clock_mhz": 0}
        kept = tmp_path / "there" / "nas-device" / "models"
        assert len(list(kept.glob("*/a.txt"))) == 1

    def test_heat_is_read_there(self, board: Board, acting: Target, tmp_path: Path) -> None:
        """Throttling at any moment of a session comes with its times."""
        made_up_heat.pi(home() / "sys", 61.0, "4")
        try:
            with board.process(acting, TIMEOUT_S) as process:
                assert process.ask("heat")["heat"]["temperature_c"] == 61.0
                told = ask_time(process, model(tmp_path, "clock 2"))["heat"]
        finally:
            shutil.rmtree(home() / "sys")
        assert told == {"temperature_c": [61.0, 61.0], "held_down": ["the firmware throttled the processor"]}

    def test_facts_are_those_of_this_machine(self, board: Board) -> None:
        assert board.facts == LocalDevice().facts
        assert board.why_no_meter({"kind": "none"}) == LocalDevice().why_no_meter({"kind": "none"})

    def test_a_file_that_has_changed_is_sent_again(self, board: Board, acting: Target, tmp_path: Path) -> None:
        with board.process(acting, TIMEOUT_S) as process:
            for deed, expected in (("clock 2", 2.0), ("clock 3.5", 3.5)):
                samples = ask_time(process, model(tmp_path, deed))["samples"]
                assert isinstance(samples, list)
                assert set(samples) == {expected}

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("deed", "kind", "said"),
        [
            ("raise", "measure", "out of registers"),
            ("die", "measure", "exit code -9"),
            ("hang", "timeout", "must answer within 1 s"),
        ],
    )
    def test_a_model_that_fails_is_told_and_others_go_on(
        self, board: Board, acting: Target, tmp_path: Path, deed: str, kind: str, said: str
    ) -> None:
        with board.process(acting, TIMEOUT_S) as process:
            with pytest.raises(CandidateError, match=said) as failed:
                process.ask(
                    "time", model=model(tmp_path, deed), reference=None, seconds=0.001, min_samples=1, timeout_s=1.0
                )
            assert failed.value.kind == kind
            assert ask_time(process, model(tmp_path, "clock 1", "b"))["samples"]


class TestConnections:
    @pytest.mark.slow
    @pytest.mark.parametrize("seen", [False, True])
    def test_a_lost_one_is_opened_again_and_the_request_repeated(
        self, board: Board, acting: Target, tmp_path: Path, seen: bool
    ) -> None:
        """While the lock is held, which is then taken again; also where the loss is ``seen`` before the request."""
        said: list[str] = []
        with board.leased(said.append), board.process(acting, TIMEOUT_S) as process:
            assert ask_time(process, model(tmp_path, "clock 1"))["samples"]
            os.kill(agent := board.ask("info")[0]["agent"], signal.SIGKILL)
            if seen:
                _gone(agent)
                _lost(board)
            assert ask_time(process, model(tmp_path, "clock 1"))["samples"]
            assert not is_free(board.record)
        assert [text for text in said if "the connection to pi was lost and is opened again" in text]
        assert is_free(board.record)

    @pytest.mark.slow
    def test_an_agent_whose_driver_dies_leaves_nothing(
        self, record: DeviceRecord, acting: Target, tmp_path: Path
    ) -> None:
        """No process, and no lock."""
        with _holding(record, acting) as (driver, agent):
            driver.kill()
            _gone(agent)
        assert is_free(record)

    @pytest.mark.slow
    @pytest.mark.parametrize("record", ["local:"], indirect=True)
    def test_an_agent_whose_driver_is_silent_leaves_nothing(self, record: DeviceRecord, acting: Target) -> None:
        """As beyond a link that stalls without closing: after fifteen seconds it takes the driver for gone."""
        with _holding(record, acting) as (driver, agent):
            driver.send_signal(signal.SIGSTOP)
            try:
                _gone(agent, seconds=30)
            finally:
                driver.send_signal(signal.SIGCONT)
        assert is_free(record)

    @pytest.mark.slow
    def test_a_connection_that_was_lost_between_measurements_is_opened_again(
        self, board: Board, acting: Target, tmp_path: Path
    ) -> None:
        """As while a search trains for an hour: by the next lease, also while that waits for its turn."""
        for _ in range(2):
            with board.leased(pytest.fail), board.process(acting, TIMEOUT_S) as process:
                assert ask_time(process, model(tmp_path, "clock 1"))["samples"]
                agent = board.ask("info")[0]["agent"]
            os.kill(agent, signal.SIGKILL)
            _gone(agent)
            time.sleep(0.2)

    @pytest.mark.slow
    def test_a_board_that_starts_again_is_waited_for(
        self, board: Board, acting: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its ssh server answers some time after the connection was lost."""
        connect, tries = board._opened, []

        def opened(packages: tuple[str, ...]) -> BoardConnection:
            tries.append(len(tries))
            if len(tries) < 3:
                raise ConnectionLostError("Connection refused")
            return connect(packages)

        with board.process(acting, TIMEOUT_S):
            os.kill(board.ask("info")[0]["agent"], signal.SIGKILL)
            monkeypatch.setattr(board, "_opened", opened)
            assert board.ask("info")[0]["agent"]
        assert len(tries) == 3

    def test_a_board_that_stays_away_is_told(
        self, board: Board, acting: Target, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with board.process(acting, TIMEOUT_S):
            monkeypatch.setattr(board, "_with_agent", _unreachable)
            os.kill(board.ask("info")[0]["agent"], signal.SIGKILL)
            with pytest.raises(TargetError, match="it is gone"):
                board.ask("info")


def _lost(board: Board) -> None:
    """Wait until a board's connection is known to be lost."""
    until = time.monotonic() + 10
    while board.is_connected:
        assert time.monotonic() < until, "it must be seen"
        time.sleep(0.01)


def _unreachable() -> None:
    raise TargetError("it is gone")


HOLD = """
import sys, time
from nas.hardware.devices.board import Board
from nas.hardware.devices.registry import DeviceRecord
from nas.values.target import Target
board = Board(DeviceRecord("pi", *sys.argv[2:], packages={"acting": ""}))
with board.leased(print), board.process(Target(sys.argv[1]), 30.0):
    print(board.ask("info")[0]["agent"], flush=True)
    time.sleep(100)
"""


@contextlib.contextmanager
def _holding(record: DeviceRecord, target: Target) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Give a driver that holds the board's lock and has a process there, and the number of its agent."""
    command = [sys.executable, "-c", HOLD, target.runtime, record.url, record.python, record.folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        try:
            yield driver, int(driver.stdout.readline())
        finally:
            driver.kill()


def _gone(number: int, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{number}/cmdline").exists() and Path(f"/proc/{number}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Host key verification failed.", r"log in once with ssh -p 22 pi@board, and compare it"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "another machine may answer in its place"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", "ssh-keygen -R board, and then log in once"),
        ("pi@board: Permission denied (publickey,password).", "ssh-copy-id -p 22 pi@board"),
        ("ssh: Could not resolve hostname board", "no device of this name is known"),
        ("connect to host board port 22: Connection refused", "switch its ssh server on"),
        ("connect to host board port 22: Connection timed out", "check that it is on"),
        ("sh: 1: exec: python3: not found", "install python3 there"),
        ("bash: line 1: exec: python3: not found; exit code 127", "install python3 there"),
        ("-bash: welcome: command not found; no answer came within 15 s", "no answer came"),
    ],
)
def test_failures_of_ssh_come_with_advice(
    said: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_ssh.put_on_path(tmp_path, os.environ["PATH"]))
    monkeypatch.setenv(fake_ssh.SAYS, said)
    with pytest.raises(TargetError, match=advice):
        Board(DeviceRecord("pi", "ssh://pi@board:22")).look()


def test_a_changed_key_of_another_port_is_named_as_it_is_kept() -> None:
    device = Ssh(DeviceRecord("pi", "ssh://pi@board:2222"))
    assert "ssh-keygen -R '[board]:2222'," in device.advice("REMOTE HOST IDENTIFICATION HAS CHANGED")


@pytest.mark.parametrize(("told", "kept"), [("192.0.2.7", "192.0.2.7"), ("[192.0.2.7]:2222", "'[192.0.2.7]:2222'")])
def test_a_changed_key_of_an_alias_is_named_as_ssh_tells_it(told: str, kept: str) -> None:
    """The settings of ssh may give an alias another name and port."""
    said = f"@ REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key for {told} has changed and you have requested strict"
    assert f"ssh-keygen -R {kept}, and then" in Ssh(DeviceRecord("pi", "ssh://mypi")).advice(said)


@pytest.mark.parametrize("greeting", ["Welcome to pi\n", "1\n{}\n", "no end of line"])
def test_what_a_shell_prints_at_a_login_is_passed_over(
    greeting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_ssh.put_on_path(tmp_path, os.environ["PATH"]))
    monkeypatch.setenv(fake_ssh.GREETS, greeting)
    found = Board(DeviceRecord("pi", "ssh://pi@board", sys.executable, str(tmp_path))).look()
    assert found["executable"] == sys.executable


def test_the_home_of_a_device_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell there knows what ~ is. Everything else in the name of a program is quoted."""
    (tmp_path / "a b").symlink_to(sys.executable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", fake_ssh.put_on_path(tmp_path, os.environ["PATH"]))
    found = Board(DeviceRecord("pi", "ssh://pi@board", "~/a b", str(tmp_path))).look()
    assert found["python"] == list(sys.version_info[:3])


FIT = {
    "python": [3, 13, 1],
    "implementation": "CPython",
    "bits": 64,
    "noexec": False,
    "folder": "/home/pi/.nas-device",
    "problem": "",
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"python": [3, 9, 2]}, "Python must be at least 3.11, but it has 3.9.2: install a newer one beside"),
        ({"implementation": "PyPy"}, "Python must be CPython"),
        ({"bits": 32}, "install a 64-bit system"),
        ({"noexec": True}, "mounted noexec: name another with --folder"),
        ({"problem": "[Errno 30] Read-only file system"}, "Read-only file system"),
    ],
)
def test_what_is_in_the_way_is_told_before_anything_is_sent(changes: dict[str, object], said: str) -> None:
    assert said in why_unfit({**FIT, **changes})
    assert bool(said) == bool(why_unfit({**FIT, **changes}))


class TestRegistry:
    @pytest.fixture(autouse=True)
    def _own_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAS_HOME", str(tmp_path))

    def test_devices_are_kept_by_name(self) -> None:
        record = DeviceRecord("pi", "ssh://pi@192.0.2.7", found={"python": [3, 13, 0]})
        save(record)
        assert known("pi") == record
        assert devices() == [record]
        forget("pi")
        assert devices() == []

    def test_an_unknown_one_is_told(self) -> None:
        save(DeviceRecord("pi5", "ssh://pi@192.0.2.7"))
        with pytest.raises(RecipeError, match=r"Did you mean 'pi5'\?.*nas device add pi6 ssh://USER@HOST"):
            known("pi6")

    def test_a_damaged_file_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "devices").mkdir()
        (tmp_path / "devices" / "pi.json").write_text("{")
        with pytest.raises(RecipeError, match="must describe a device"):
            known("pi")
        assert devices() == []


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ssh://pi@192.0.2.7", ("pi@192.0.2.7", None)),
        ("ssh://board", ("board", None)),
        ("ssh://pi@board.local:2222/", ("pi@board.local", "2222")),
        ("ssh://pi@[2001:db8::7]:22", ("pi@2001:db8::7", "22")),
    ],
)
def test_addresses(url: str, parts: tuple[str, str | None]) -> None:
    assert ssh_parts(url) == parts


@pytest.mark.parametrize(
    "url", ["ssh://", "ssh://-oProxyCommand=x", "ssh://pi@host;ls", "ssh://-l@host", "ssh://h:99999", "ssh://a b"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(RecipeError, match="an address for ssh is"):
        ssh_parts(url)


def test_unknown_ways_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"begins with one of .*ssh:.*but got 'telnet://pi'"):
        Board(DeviceRecord("pi", "telnet://pi"))
