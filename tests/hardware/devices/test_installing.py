"""Packages for a device: which wheels run there, how they lie there, and what is told before they are sent."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nas.errors import TargetError
from nas.hardware.devices import installing
from nas.hardware.devices.board import Board
from nas.hardware.devices.installing import install, installable, platforms_of
from nas.hardware.devices.registry import DeviceRecord

PI: dict[str, Any] = {
    "python": [3, 13, 5],
    "implementation": "CPython",
    "bits": 64,
    "machine": "aarch64",
    "system": "Linux",
    "libc": ["glibc", "2.41"],
    "packages": {},
    "folder": "/home/pi/.nas-device",
    "have": [],
    "problem": "",
    "free_bytes": 2**33,
    "noexec": False,
}


def wheel(folder: Path, name: str, **files: str) -> None:
    with zipfile.ZipFile(folder / f"{name}.whl", "w") as made:
        for path, content in files.items():
            made.writestr(path.replace("__", "/"), content)


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of pip, which "finds" two wheels."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        wheel(folder, "onnxruntime-1", onnxruntime__init="1", **{"onnxruntime-1.data__purelib__more": "2"})
        wheel(folder, "numpy-2", numpy__init="3")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(installing.subprocess, "run", run)
    return commands


@pytest.fixture(name="sent")
def _sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """What is sent to the board, which then runs everything."""
    sent: dict[str, bytes] = {}
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.setattr(Board, "look", lambda self, packages=(): PI)
    monkeypatch.setattr(Board, "unpack", lambda self, name, content: sent.update({name: content}))
    monkeypatch.setattr(Board, "why_unavailable", lambda self, target: None)
    return sent


def test_wheels_are_those_of_the_board(asked: list[list[str]], sent: dict[str, bytes]) -> None:
    """Of its Python, processor and C library, whatever this machine has. They lie there as if installed."""
    record = install(DeviceRecord("pi", "ssh://pi@board"), ["onnxruntime-cpu"], lambda text: None)
    (command,) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[command.index("--python-version") + 1] == "313"
    assert "manylinux_2_41_aarch64" in command
    assert "manylinux_2_17_aarch64" in command
    assert [part for part in command if part.startswith("onnxruntime==")]
    ((name, content),) = sent.items()
    assert record.packages == {"onnxruntime-cpu": name}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert set(archive.namelist()) == {"onnxruntime/init", "more", "numpy/init"}


def test_what_the_board_has_is_not_sent(
    asked: list[list[str]], sent: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("onnxruntime", "onnx", "numpy", "protobuf", "ml_dtypes", "typing_extensions")
    monkeypatch.setattr(Board, "look", lambda self, packages=(): {**PI, "packages": dict.fromkeys(names, "1")})
    record = install(DeviceRecord("pi", "ssh://pi@board"), ["onnxruntime-cpu"], lambda text: None)
    assert record.packages == {"onnxruntime-cpu": ""}
    assert not asked
    assert not sent


def test_too_little_room_is_told_before_anything_is_sent(
    asked: list[list[str]], sent: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Board, "look", lambda self, packages=(): {**PI, "free_bytes": 100})
    with pytest.raises(TargetError, match=r"needs about 0 MiB of room in /home/pi/\.nas-device, but has 0 MiB"):
        install(DeviceRecord("pi", "ssh://pi@board"), ["onnxruntime-cpu"], lambda text: None)
    assert not sent


@pytest.mark.parametrize(
    ("status", "stderr", "said"),
    [
        (1, "ERROR: no matching distribution", r"for Python 3\.13 on aarch64 with glibc 2\.41:\nERROR: no matching"),
        (1, "python: No module named pip", "-m ensurepip"),
    ],
)
def test_failures_of_pip_are_told(
    status: int, stderr: str, said: str, sent: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], status, "", stderr)
    monkeypatch.setattr(installing.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(TargetError, match=said):
        install(DeviceRecord("pi", "ssh://pi@board"), ["onnxruntime-cpu"], lambda text: None)
    assert not sent


@pytest.mark.parametrize(
    ("changes", "first", "last"),
    [
        ({}, "manylinux_2_41_aarch64", "manylinux_2_17_aarch64"),
        ({"libc": ["glibc", "2.17"]}, "manylinux_2_17_aarch64", "manylinux_2_17_aarch64"),
        ({"libc": ["", ""], "machine": "x86_64"}, "musllinux_1_2_x86_64", "musllinux_1_1_x86_64"),
    ],
)
def test_platforms(changes: dict[str, Any], first: str, last: str) -> None:
    found = platforms_of({**PI, **changes})
    assert (found[0], found[-1]) == (first, last)


@pytest.mark.parametrize("changes", [{"libc": ["glibc", "2.12"]}, {"system": "FreeBSD"}, {"system": "Windows"}])
def test_systems_without_wheels_are_told(changes: dict[str, Any]) -> None:
    with pytest.raises(TargetError, match=r"of Linux with glibc from 2\.17 on, or musl, but it has"):
        platforms_of({**PI, **changes})


def test_what_can_be_installed() -> None:
    assert "onnxruntime-cpu" in installable()
    assert "torch-cuda" not in installable()
