"""Boards that let nobody in, whose clock is wrong, that another driver uses, or that have an older agent."""

from __future__ import annotations

import datetime
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import fake_board
import pytest

from experiments import real_sshd
from nas.errors import TargetError
from nas.hardware.devices import board as boards
from nas.hardware.devices.board import Board
from nas.hardware.devices.describing import findings
from nas.hardware.devices.registry import DeviceRecord
from nas.hardware.devices.sent_files import program
from nas.values.target import Target

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a device here is a program of Linux")


def record_of(place: Path, url: str = "local:", python: str = sys.executable) -> DeviceRecord:
    return DeviceRecord("pi", url, python, str(place / "there"), packages={"acting": ""})


def forgets_the_host(folder: Path, url: str) -> str:
    (folder / "known_hosts").write_text("")
    return url


def knows_another_key(folder: Path, url: str) -> str:
    own, port = (folder / "user.pub").read_text().split()[:2], url.rpartition(":")[2]
    (folder / "known_hosts").write_text(f"[{real_sshd.HOST}]:{port} {' '.join(own)}\n")
    return url


def has_another_key(folder: Path, url: str) -> str:
    shutil.copy(folder / "host", folder / "user")
    return url


def is_another_user(folder: Path, url: str) -> str:
    return f"ssh://nobody-of-this-name@{url.rpartition('@')[2]}"


def has_no_key(folder: Path, url: str) -> str:
    (folder / "user").unlink()
    return url


@pytest.mark.skipif(not real_sshd.IS_THERE, reason="this machine has no sshd")
@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (forgets_the_host, "its host key is not known yet: log in once with ssh -p"),
        (knows_another_key, "its host key is not the one of before: another machine may answer in its place"),
        (has_another_key, "it must let you in without a password: ssh-copy-id -p"),
        (is_another_user, "it must let you in without a password: ssh-copy-id -p .* nobody-of-this-name@"),
        (has_no_key, "it must let you in without a password: ssh-copy-id -p"),
    ],
)
def test_a_server_that_lets_nobody_in_is_told(
    change: Callable[[Path, str], str], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real one, which also takes passwords: nobody is asked for one, and nothing is put there."""
    with real_sshd.serving(tmp_path, passwords=True) as (url, path):
        monkeypatch.setenv("PATH", path)
        assert Board(record_of(tmp_path, url)).look()["bits"] == 64
        shutil.rmtree(tmp_path / "there")
        changed = change(tmp_path, url)
        with pytest.raises(TargetError, match=rf"^pi \({changed}\) cannot be reached: .*{advice}"):
            Board(record_of(tmp_path, changed)).look()
        assert not (tmp_path / "there").exists()


@pytest.mark.slow
@LINUX
def test_a_clock_that_is_wrong_by_a_year_is_told_and_harms_nothing(tmp_path: Path, acting: Target) -> None:
    """The doctor tells it, and the device is ready all the same."""
    packages = {acting.runtime: ""}
    right = findings(replace(record_of(tmp_path), packages=packages))
    assert "clock" not in {title for title, *_ in right}
    lagging = replace(record_of(tmp_path, python=fake_board.python_that("lags", tmp_path)), packages=packages)
    found = findings(lagging)
    assert {title: is_fine for title, _, is_fine in found} == {"clock": True, **{each[0]: each[2] for each in right}}
    (text,) = (text for title, text, _ in found if title == "clock")
    assert text.startswith(f"it says {datetime.datetime.now().year - 1}")
    assert text.endswith(". Durations do not depend on it, and rows have the time of here")
    wrong = Board(lagging)
    try:
        with wrong.leased(pytest.fail), wrong.process(acting, 30.0) as process:
            (tmp_path / "a.txt").write_text("clock 1")
            reply = process.ask("time", model=tmp_path / "a.txt", reference=None, seconds=0.001, min_samples=1)
            assert set(reply["samples"]) == {1.0}
    finally:
        wrong.close()


@pytest.fixture(name="two")
def two_drivers(tmp_path: Path, acting: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Board, Board]]:
    monkeypatch.setattr(boards, "POLL_S", 0.05)
    opened = Board(record_of(tmp_path)), Board(record_of(tmp_path))
    yield opened
    for each in opened:
        each.close()


def test_the_second_of_two_drivers_waits_and_says_so(two: tuple[Board, Board]) -> None:
    """It begins once the first one has ended its lease."""
    first, second = two
    said: list[str] = []
    told, began = threading.Event(), threading.Event()

    def say(text: str) -> None:
        said.append(text)
        told.set()

    def measure() -> None:
        with second.leased(say):
            began.set()

    with first.leased(pytest.fail):
        other = threading.Thread(target=measure)
        other.start()
        assert told.wait(20)
        assert not began.is_set()
    other.join(20)
    assert began.is_set()
    assert len(said) == 1
    assert said[0].startswith("waiting for another measurement on pi")
    assert said[0].endswith("; one runs at a time")


def test_an_agent_of_another_version_is_not_started(tmp_path: Path, acting: Target) -> None:
    """It stays there, for a driver of that version may come back; this one brings its own."""
    older = tmp_path / "there" / "nas-device" / "code" / "0123456789abcdef"
    (older / "nas" / "hardware" / "devices").mkdir(parents=True)
    for folder in (older / "nas", older / "nas" / "hardware", older / "nas" / "hardware" / "devices"):
        (folder / "__init__.py").write_text("")
    (older / "nas" / "hardware" / "devices" / "agent.py").write_text("raise SystemExit('an older agent')")
    board = Board(record_of(tmp_path))
    try:
        assert board.facts.cores > 0
    finally:
        board.close()
    kept = {f"code/{path.name}" for path in older.parent.iterdir()}
    assert kept == {"code/0123456789abcdef", program()[0]}
