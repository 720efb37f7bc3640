"""Packages for a device: wheels that were found for it are unpacked there, without pip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nas.errors import TargetError
from nas.hardware.devices.board import Board
from nas.hardware.devices.registry import DeviceRecord, save
from nas.hardware.devices.requirements import why_unfit
from nas.hardware.devices.wheels import archive_of, find, site_of, unpacked_bytes
from nas.hardware.runtimes.environments import requirement_in
from nas.hardware.runtimes.runtime import Runtime, load_runtime
from nas.space.plug_ins import plug_in_names
from nas.storage.scratch import temporary_folder
from nas.values.target import Target

Say = Callable[[str], None]


def install(record: DeviceRecord, runtimes: Sequence[str], say: Say) -> DeviceRecord:
    """Put on a device what it needs to measure with some runtimes, and return its record, which is kept.

    Without ``runtimes`` it gets all that it can have and for which this machine converts models. What the device's own
    Python has already is not installed again. Nothing is sent before everything was found and has room.

    Raises:
        RecipeError: an unknown runtime.
        TargetError: the device cannot be reached or cannot measure; pip finds no packages; there is no room.
    """
    chosen = {name: load_runtime(name) for name in runtimes or installable()}
    for name, runtime in chosen.items():
        if not runtime.device_packages:
            others = ", ".join(installable())
            raise TargetError(
                f"{name} runs on this machine only: {runtime.here_alone} Other devices can have {others}."
            )
    board = Board(record)
    found = board.look(tuple(dict.fromkeys(each for runtime in chosen.values() for each in runtime.device_packages)))
    problem = why_unfit(found)
    if problem:
        raise TargetError(f"{record.name} cannot measure: {problem}.")
    with temporary_folder("wheels") as folder:
        wanted = _all_wheels(record.name, chosen, found, folder, say, needs_all=bool(runtimes))
        _send(board, {site_of(each): each for wheels in wanted.values() for each in wheels}, found, say)
    sites = {name: " ".join(map(site_of, wheels)) for name, wheels in wanted.items()}
    kept = {name: each for name, each in _usable(record, found).items() if name not in wanted}
    record = replace(record, found=found, packages={**kept, **sites})
    ready = _ready(record, list(wanted), say, needs_all=bool(runtimes))
    record = replace(record, packages={**kept, **{name: sites[name] for name in ready}})
    save(record)
    return record


def _usable(record: DeviceRecord, found: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the packages of a record that its device can still load: none if its Python is another one by now."""
    alike = all(record.found.get(name) == found.get(name) for name in ("implementation", "machine", "bits", "libc"))
    is_same = alike and list(record.found.get("python", ()))[:2] == list(found["python"])[:2]
    return record.packages if is_same else {}


def installable() -> list[str]:
    """Return the names of the runtimes that another device can have."""
    return [name for name in plug_in_names("nas.runtimes") if load_runtime(name).device_packages]


def _all_wheels(
    device: str, chosen: Mapping[str, Runtime], board: Mapping[str, Any], folder: Path, say: Say, *, needs_all: bool
) -> dict[str, list[Path]]:
    """Return the wheels of each runtime. Unless all are needed, those that the device cannot have are left out."""
    wanted: dict[str, list[Path]] = {}
    for name, runtime in chosen.items():
        reason = runtime.why_not_converted(Target(name))
        try:
            if reason is not None and not needs_all:
                raise TargetError(f"models for it are converted here. {reason}")
            wanted[name] = _wheels(device, name, runtime, board, folder / name, say)
        except TargetError as error:
            if needs_all:
                raise TargetError(f"{device} cannot have {name}: {error}") from error
            say(f"{name} is left out: {error}")
        else:
            if reason is not None:
                say(f"{name} still needs something on this machine, which converts models for it. {reason}")
    if not wanted:
        raise TargetError(f"{device} can have none of the runtimes {', '.join(chosen)}, for the reasons above.")
    return wanted


def _wheels(device: str, name: str, runtime: Runtime, board: Mapping[str, Any], folder: Path, say: Say) -> list[Path]:
    """Return the wheels that a runtime needs on a board: none where its own Python has its packages."""
    first, *others = runtime.device_packages
    wanted, there = _as_here(first, runtime), board["packages"]
    if all(each in there for each in runtime.device_packages) and wanted in (first, f"{first}=={there[first]}"):
        say(f"{name}: the Python of {device} has its packages already")
        return []
    say(f"{name}: finding {', '.join(runtime.device_packages)}")
    folder.mkdir()
    return find([wanted, *others], board, folder)


def _as_here(package: str, runtime: Runtime) -> str:
    """Return a package in the version that this machine has, so that models run as they do here."""
    if runtime.environment is not None:
        return requirement_in(runtime.environment, package)
    try:
        return f"{package}=={version(package).partition('+')[0]}"
    except PackageNotFoundError:
        return package


def _send(board: Board, wheels: Mapping[str, Path], found: Mapping[str, Any], say: Say) -> None:
    """Send the wheels that a board lacks. Raises TargetError where they have no room."""
    lacking = {site: wheel for site, wheel in wheels.items() if site not in found["have"]}
    needed = sum(map(unpacked_bytes, lacking.values()))
    if needed > found["free_bytes"]:
        raise TargetError(
            f"{board.name} needs about {needed / 2**20:.0f} MiB of room in {found['folder']}, but has "
            f"{found['free_bytes'] / 2**20:.0f} MiB. Make room, or name another folder with --folder."
        )

    def archives() -> Iterator[tuple[str, bytes]]:
        for site, wheel in lacking.items():
            content = archive_of(wheel)
            package, number, *_ = wheel.stem.split("-")
            say(f"sending {package} {number}, {len(content) / 2**20:.1f} MiB")
            yield site, content

    if lacking:
        board.unpack(archives())


def _ready(record: DeviceRecord, runtimes: Iterable[str], say: Say, *, needs_all: bool) -> list[str]:
    """Return the runtimes that start on a device. Raises TargetError if none does, or one of them where all must."""
    board, ready, reasons = Board(record), list[str](), list[str]()
    try:
        for name in runtimes:
            reason = board.why_unavailable(Target(name, device=record.name))
            if reason is None:
                ready.append(name)
                say(f"{name} is ready on {record.name}")
                continue
            reasons.append(f"{name} was put on {record.name}, but does not run there: {reason}")
            if needs_all:
                raise TargetError(reasons[-1])
            say(f"{name} is left out: it does not run on {record.name}. {reason}")
    finally:
        board.close()
    if not ready:
        raise TargetError("; ".join(reason.rstrip(".") for reason in reasons) + ".")
    return ready
