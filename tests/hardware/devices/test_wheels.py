"""Wheels for a device: which ones pip is asked for, what is told where there is none, and how they lie there."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from made_wheels import PI, wheel

from nas.errors import TargetError
from nas.hardware.devices import wheels
from nas.hardware.devices.wheels import archive_of, find, platforms_of, site_of, unpacked_bytes


class FakePip:
    """A pip whose index has one wheel, for a Python and a platform."""

    def __init__(self, python: str, platform: str) -> None:
        self.python, self.platform = python, platform
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        asked = dict(itertools.pairwise(command))
        if asked["--python-version"] != self.python or self.platform not in command:
            said = f"ERROR: Could not find a version\nERROR: No matching distribution found for {command[-1]}"
            return subprocess.CompletedProcess(command, 1, "", said)
        name = f"made-1.0-cp{self.python}-cp{self.python}-{self.platform}.whl"
        if "--dest" in asked:
            Path(asked["--dest"], name).touch()
        report = {"install": [{"download_info": {"url": f"https://host/{name}"}}]}
        return subprocess.CompletedProcess(command, 0, json.dumps(report), "")


@pytest.fixture
def pip(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    made = FakePip(*getattr(request, "param", ("313", "manylinux_2_28_aarch64")))
    monkeypatch.setattr(wheels.subprocess, "run", made)
    return made


def test_pip_is_asked_for_the_board(pip: FakePip, tmp_path: Path) -> None:
    """For its Python, processor and C library, whatever this machine has."""
    (found,) = find(["made==1.0"], PI, tmp_path)
    assert found.name == "made-1.0-cp313-cp313-manylinux_2_28_aarch64.whl"
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[command.index("--python-version") + 1] == "313"
    assert {"manylinux_2_41_aarch64", "manylinux_2_17_aarch64", "cp313", "abi3", "none"} <= set(command)


@pytest.mark.parametrize(
    ("pip", "board", "said"),
    [
        (
            ("313", "manylinux_2_35_aarch64"),
            {"libc": ["glibc", "2.31"]},
            "Python 3.13 on aarch64 with glibc 2.31. It needs glibc from 2.35 on, but the device has glibc 2.31",
        ),
        (
            ("313", "manylinux_2_28_aarch64"),
            {"libc": ["", ""]},
            "aarch64 with musl. It needs glibc from 2.28 on, but the device has musl: install another system there",
        ),
        (
            ("312", "manylinux_2_28_aarch64"),
            {"python": [3, 16, 0]},
            "There is one for Python 3.12: install that there too, and name it with --python",
        ),
        (
            ("313", "manylinux_2_28_x86_64"),
            {"machine": "riscv64"},
            "There is one for x86_64, but the device is riscv64: choose another runtime for it",
        ),
        (
            ("313", "win_amd64"),
            {},
            "reaches its package index. Pip says:\nERROR: Could not find",
        ),
    ],
    indirect=["pip"],
)
def test_what_the_board_lacks_is_told(pip: FakePip, board: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError) as told:
        find(["made==1.0"], {**PI, **board}, tmp_path)
    assert said in str(told.value)
    assert not list(tmp_path.iterdir())


def test_a_python_without_pip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", "python: No module named pip")
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(TargetError, match="-m ensurepip"):
        find(["made"], PI, tmp_path)


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


def test_files_lie_as_when_installed(tmp_path: Path) -> None:
    """A wheel is sent as it is, unless it has files that are installed elsewhere."""
    plain = wheel(tmp_path, "numpy-2", numpy__init="1")
    assert archive_of(plain) == plain.read_bytes()
    beside = {"made-1.data__purelib__more": "2", "made-1.data__scripts__x": ""}
    other = wheel(tmp_path, "made-1", made__init="1", **beside)
    with zipfile.ZipFile(io.BytesIO(archive_of(other))) as archive:
        assert set(archive.namelist()) == {"made/init", "more", "made-1.data/scripts/x"}


def test_a_wheel_has_one_folder_and_takes_whole_blocks(tmp_path: Path) -> None:
    first = wheel(tmp_path, "numpy-2", a="1" * 5000, b="2")
    assert unpacked_bytes(first) == 3 * 4096
    assert site_of(first) == site_of(Path("elsewhere", first.name)) != site_of(Path("numpy-3.whl"))
