"""Wheels that run on a device: pip finds them here, for its Python, its processor and its C library."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.errors import TargetError

OLDEST_GLIBC, NEWEST_GLIBC = 17, 60
"""The minor versions of glibc 2 of which there are wheels, or will be for years."""
MUSL = (2, 1)
"""The minor versions of musl 1 of which there are wheels."""
PYTHONS = (13, 12, 14, 11)
"""The minor versions of Python 3 for which most packages have wheels, those first that nearly all have."""
MACHINES = ("aarch64", "x86_64")
PIP_S = 1800.0
BLOCK = 4096
"""A file takes whole blocks of so many bytes."""


def platforms_of(board: Mapping[str, Any]) -> list[str]:
    """Return pip's names of the platforms whose wheels run on a board, newest first.

    Raises:
        TargetError: there are no wheels for such a system.
    """
    name, text = board["libc"]
    if board["system"] == "Linux":
        major, minor = (int(part) for part in (*text.split("."), "0")[:2]) if text else (0, 0)
        if name == "glibc" and (major, minor) >= (2, OLDEST_GLIBC):
            return [f"manylinux_2_{each}_{board['machine']}" for each in range(minor, OLDEST_GLIBC - 1, -1)]
        if name in ("musl", ""):  # Python tells musl from 3.12 on, and else nothing
            return [f"musllinux_1_{each}_{board['machine']}" for each in MUSL]
    raise TargetError(
        f"packages for a device are those of Linux with glibc from 2.{OLDEST_GLIBC} on, or musl, but it has "
        f"{board['system']} with {name or 'an unknown C library'} {text}. Install a newer system there."
    )


def find(requirements: Sequence[str], board: Mapping[str, Any], folder: Path) -> list[Path]:
    """Put the wheels of some packages, without what they require, into an empty ``folder``, and return them.

    Raises:
        TargetError: pip is not there, or finds no wheel for the board; it says what the board lacks.
    """
    done = _pip(["download", "--dest", str(folder), *_options(board), "--", *requirements])
    if done.returncode == 0:
        return sorted(folder.glob("*.whl"))
    lines = done.stderr.strip().splitlines()
    said = "\n".join([line for line in lines if line.startswith("ERROR")][-2:] or lines[-5:])
    for_board = f"Python {_version(board)} on {board['machine']} with {' '.join(board['libc']).strip() or 'musl'}"
    lacking = re.search(r"No matching distribution found for (\S+)", done.stderr)
    reason = why_none(lacking[1], board) if lacking else ""
    if lacking and reason:
        raise TargetError(f"{lacking[1]} has no wheel for {for_board}. {reason}")
    raise TargetError(
        f"pip finds no wheels for {for_board}. Check that this machine reaches its package index. Pip says:\n{said}"
    )


def why_none(requirement: str, board: Mapping[str, Any]) -> str:
    """Return why a package has no wheel for a board, and what to do; empty if no other board would have one.

    One property of the board is changed at a time, and pip is asked again.
    """
    libc, text = board["libc"]
    newest = {"libc": ["glibc", f"2.{NEWEST_GLIBC}"]}
    if (wheel := _wheel_for(requirement, {**board, **newest})) is not None:
        least = min((int(each) for each in re.findall(r"manylinux_2_(\d+)_", wheel)), default=OLDEST_GLIBC)
        has = f"glibc {text}" if libc == "glibc" else "musl"
        return f"It needs glibc from 2.{least} on, but the device has {has}: install another system there."
    for minor in PYTHONS:
        if minor != board["python"][1] and _wheel_for(requirement, {**board, "python": [3, minor, 0]}) is not None:
            return f"There is one for Python 3.{minor}: install that there too, and name it with --python."
    for machine in MACHINES:
        if machine != board["machine"] and _wheel_for(requirement, {**board, "machine": machine}) is not None:
            return f"There is one for {machine}, but the device is {board['machine']}: choose another runtime for it."
    return ""


def site_of(wheel: Path) -> str:
    """Return the name of the folder of an unpacked wheel on a device. It is the same for each runtime that needs it."""
    return f"sites/{hashlib.sha256(wheel.name.encode()).hexdigest()[:16]}"


def unpacked_bytes(wheel: Path) -> int:
    """Return the room that the files of a wheel take."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(-(-info.file_size // BLOCK) * BLOCK for info in archive.infolist())


def archive_of(wheel: Path) -> bytes:
    """Return a wheel as an archive in which files lie as when installed. For nearly all it is the wheel itself."""
    with zipfile.ZipFile(wheel) as found:
        if not any(_is_data(info.filename) for info in found.infolist()):
            return wheel.read_bytes()
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
            for info in found.infolist():
                if not info.is_dir():
                    name = info.filename
                    archive.writestr(name.split("/", 2)[2] if _is_data(name) else name, found.read(info))
        return written.getvalue()


def _is_data(name: str) -> bool:
    """Return True for a file that is installed beside the packages, out of a folder of its own in the wheel."""
    return re.match(r"[^/]+\.data/(purelib|platlib)/", name) is not None


def _wheel_for(requirement: str, board: Mapping[str, Any]) -> str | None:
    """Return the address of the wheel that a board of some kind would get, without downloading it."""
    asked = ["install", "--dry-run", "--ignore-installed", "--target", "unused", "--report", "-", "--retries", "1"]
    done = _pip([*asked, *_options(board), "--", requirement])
    if done.returncode != 0:
        return None
    ((wheel,),) = (json.loads(done.stdout)["install"],)
    address: str = wheel["download_info"]["url"]
    return address


def _options(board: Mapping[str, Any]) -> list[str]:
    short = f"{board['python'][0]}{board['python'][1]}"
    given = ["--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--disable-pip-version-check"]
    given += ["--implementation", "cp", "--python-version", short]
    given += [part for abi in (f"cp{short}", "abi3", "none") for part in ("--abi", abi)]
    return [*given, *(part for each in platforms_of(board) for part in ("--platform", each))]


def _pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the pip of this Python. Raises TargetError if it has none, or takes too long."""
    command = [sys.executable, "-m", "pip", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_S, check=False)  # noqa: S603 pip
    except subprocess.TimeoutExpired:
        raise TargetError(f"pip must find packages within {PIP_S / 60:.0f} minutes, but did not.") from None
    if "No module named pip" in done.stderr:
        raise TargetError(
            f"packages for a device are found by pip, but {sys.executable} has none: install it, such as by "
            f"{sys.executable} -m ensurepip."
        )
    return done


def _version(board: Mapping[str, Any]) -> str:
    return f"{board['python'][0]}.{board['python'][1]}"
