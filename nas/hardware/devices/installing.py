"""Packages for a device: found here for its Python, processor and C library, and unpacked there without pip."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nas.errors import TargetError
from nas.hardware.devices.board import Board, why_unfit
from nas.hardware.devices.registry import DeviceRecord, save
from nas.hardware.runtimes.runtime import load_runtime
from nas.storage.scratch import temporary_folder
from nas.values.target import Target

OLDEST_GLIBC, OLDEST_MUSL = 17, 1
"""The oldest C libraries for which there are wheels: glibc 2.17 and musl 1.1."""
ROOM = 4
"""Unpacked packages take so many times the bytes of their wheels, at most."""
PIP_S = 1800.0


def install(record: DeviceRecord, runtimes: Sequence[str], say: Callable[[str], None]) -> DeviceRecord:
    """Put on a device what it needs to measure with some runtimes, and return its record, which is kept.

    What the device's own Python has already is not installed again.

    Raises:
        RecipeError: an unknown runtime.
        TargetError: the device cannot be reached or cannot measure; pip finds no packages; there is no room.
    """
    board = Board(record)
    wanted = {name: load_runtime(name).device_packages for name in runtimes}
    for name, packages in wanted.items():
        if not packages:
            raise TargetError(f"{name} runs on this machine only. Other devices can have {', '.join(installable())}.")
    found = board.look(tuple(dict.fromkeys(each for packages in wanted.values() for each in packages)))
    problem = why_unfit(found)
    if problem:
        raise TargetError(f"{record.name} cannot measure: {problem}.")
    record = replace(record, found=found)
    for name, packages in wanted.items():
        if all(each in found["packages"] for each in packages):
            say(f"{name}: the Python of {record.name} has its packages already")
            record = replace(record, packages={**record.packages, name: ""})
            continue
        site, content = _wheels(packages, found, say)
        needed = len(content) * ROOM
        if needed > found["free_bytes"]:
            raise TargetError(
                f"{record.name} needs about {needed / 2**20:.0f} MiB of room in {found['folder']}, but has "
                f"{found['free_bytes'] / 2**20:.0f} MiB. Make room, or name another folder with --folder."
            )
        if site not in found["have"]:
            say(f"{name}: sending {len(content) / 2**20:.0f} MiB")
            board.unpack(site, content)
        record = replace(record, packages={**record.packages, name: site})
    for name in wanted:
        reason = Board(record).why_unavailable(Target(name, device=record.name))
        if reason is not None:
            raise TargetError(f"{name} was put on {record.name}, but does not run there: {reason}")
        say(f"{name} is ready on {record.name}")
    save(record)
    return record


def installable() -> list[str]:
    """Return the names of the runtimes that another device can have."""
    from nas.space.plug_ins import plug_in_names

    return [name for name in plug_in_names("nas.runtimes") if load_runtime(name).device_packages]


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
            return [f"musllinux_1_{each}_{board['machine']}" for each in (2, 1)]
    raise TargetError(
        f"packages for a device are those of Linux with glibc from 2.{OLDEST_GLIBC} on, or musl, but it has "
        f"{board['system']} with {name or 'an unknown C library'} {text}."
    )


def _wheels(packages: Sequence[str], board: Mapping[str, Any], say: Callable[[str], None]) -> tuple[str, bytes]:
    """Return the name and the archive of a folder with packages, as pip finds their wheels for a board.

    The runtime has the version that it has here; the others may be of another one.
    """
    first, *others = packages
    short = f"{board['python'][0]}{board['python'][1]}"
    there = f"Python {board['python'][0]}.{board['python'][1]} on {board['machine']}"
    say(f"finding packages for {there}: {', '.join(packages)}")
    with temporary_folder("wheels") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", str(folder)]
        command += ["--implementation", "cp", "--python-version", short]
        command += [part for abi in (f"cp{short}", "abi3", "none") for part in ("--abi", abi)]
        command += [part for each in platforms_of(board) for part in ("--platform", each)]
        _download([*command, "--", _as_here(first), *others], f"{there} with {' '.join(board['libc'])}")
        wheels = sorted(folder.glob("*.whl"))
        names = "\n".join(wheel.name for wheel in wheels)
        return f"sites/{hashlib.sha256(names.encode()).hexdigest()[:16]}", _together(wheels)


def _download(command: Sequence[str], there: str) -> None:
    """Let pip find wheels. Raises TargetError, which says for what."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_S, check=False)  # noqa: S603 pip
    except subprocess.TimeoutExpired:
        raise TargetError(f"pip must find packages within {PIP_S / 60:.0f} minutes, but did not.") from None
    if "No module named pip" in done.stderr:
        raise TargetError(
            f"packages for a device are found by pip, but {sys.executable} has none: install it, such as by "
            f"{sys.executable} -m ensurepip."
        )
    if done.returncode != 0:
        told = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise TargetError(f"pip finds no packages for {there}:\n{told}")


def _as_here(package: str) -> str:
    try:
        return f"{package}=={version(package).partition('+')[0]}"
    except PackageNotFoundError:  # it is in an environment of its own here
        return package


def _together(wheels: Sequence[Path]) -> bytes:
    """Return one archive with the files of all wheels, as they lie when installed."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as found:
                for info in found.infolist():
                    if not info.is_dir():
                        parts = info.filename.split("/")
                        is_data = parts[0].endswith(".data") and len(parts) > 2 and parts[1] in ("purelib", "platlib")
                        archive.writestr("/".join(parts[2:] if is_data else parts), found.read(info))
    return written.getvalue()
