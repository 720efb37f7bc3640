"""What is told of a device: what was found there, what it can run, and what would be in the way."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import Any

from nas.errors import NasError
from nas.hardware.devices.board import Board
from nas.hardware.devices.named import added_device
from nas.hardware.devices.registry import POOL, DeviceRecord, pool_members
from nas.hardware.devices.requirements import why_unfit
from nas.values.target import Target

MUCH_ASIDE_S = 60.0
"""A clock that is wrong by so much is told of."""
LITTLE_ROOM = 500 * 2**20
"""With less room, models and packages may not fit."""


def description_of(record: DeviceRecord) -> list[tuple[str, str]]:
    """Return what is known of a device, as titles and texts, without asking it."""
    found = record.found
    if record.scheme == POOL:
        return [("devices", ", ".join(pool_members(record)))]
    if "identity" in found:
        return [("address", record.url), ("program", f"{found['program']}, {found['identity']}")]
    told = [("address", record.url), ("python", record.python)]
    if found:
        libc = " ".join(part for part in found["libc"] if part) or "unknown"
        told += [
            ("python there", f"{'.'.join(map(str, found['python']))}, {found['bits']} bits"),
            ("system", f"{found['system']} on {found['machine']}, {libc}"),
            ("folder there", found["folder"] or record.folder or "~/.nas-device"),
        ]
    packages = ", ".join(sorted(record.packages)) or f"none. Run: nas device install {record.name}"
    return [*told, ("runtimes", packages)]


def findings(record: DeviceRecord) -> list[tuple[str, str, bool]]:
    """Look at a device, and return titles, texts, and whether each is as it should be.

    Raises:
        TargetError: it cannot be reached.
    """
    board = added_device(record)
    began_s = time.time()
    found = board.look()
    if not isinstance(board, Board):
        return [("program", f"{found['program']}, {found['identity']}", True)]
    reached_s = time.time() - began_s
    told = [("reached", f"in {reached_s:.1f} s by {record.url}", True)]
    problem = why_unfit(found)
    told.append(("python", problem or f"{'.'.join(map(str, found['python']))}, {found['executable']}", not problem))
    if problem:
        return told
    free = found["free_bytes"]
    room = f"{free / 2**30:.1f} GiB free in {found['folder']}"
    told.append(("room", room if free >= LITTLE_ROOM else f"only {room}: make some", free >= LITTLE_ROOM))
    aside_s = found["time"] - (began_s + reached_s / 2)
    if abs(aside_s) > MUCH_ASIDE_S:
        there = datetime.datetime.fromtimestamp(found["time"]).astimezone().isoformat(timespec="seconds")
        told.append(("clock", f"it says {there}. Durations do not depend on it, and rows have the time of here", True))
    for runtime in sorted(record.packages):
        reason = board.why_unavailable(Target(runtime, device=record.name))
        told.append((runtime, reason or "runs", reason is None))
    if not record.packages:
        told.append(("runtimes", f"none yet. Run: nas device install {record.name}", False))
        return told
    return [*told, *_machine(board)]


def _machine(board: Board) -> list[tuple[str, str, bool]]:
    try:
        facts = board.facts
    except NasError as error:
        return [("agent", str(error), False)]
    memory = "unknown" if facts.memory_bytes is None else f"{facts.memory_bytes / 2**30:.1f} GiB"
    reason = board.why_no_meter({"kind": "auto"})
    return [
        ("processor", f"{facts.processor}, {facts.cores} core{'s' * (facts.cores != 1)}", True),
        ("memory", memory, True),
        ("energy", "a meter is there" if reason is None else f"no meter: {reason}", True),
    ]


def as_json(record: DeviceRecord) -> Mapping[str, Any]:
    """Return a device as plain JSON data."""
    return {
        "name": record.name,
        "url": record.url,
        "python": record.python,
        "folder": record.folder,
        "found": dict(record.found),
        "runtimes": sorted(record.packages),
    }
