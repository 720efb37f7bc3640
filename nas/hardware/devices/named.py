"""The device that a target names."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from nas.hardware.devices.board import Board, board_named
from nas.hardware.devices.device import Device
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.devices.pool import Pool, pool_named
from nas.hardware.devices.program_device import ProgramDevice, Runner
from nas.hardware.devices.registry import POOL, DeviceRecord, known
from nas.hardware.devices.transports import way_of
from nas.hardware.machine import machine_id
from nas.values.target import Target


def device_of(target: Target) -> Device:
    """Return the device that a target names; this machine if it names none.

    Raises:
        RecipeError: no device of this name was added, or one of a pool was removed.
    """
    if not target.device:
        return LocalDevice()
    record = known(target.device)
    if record.scheme == POOL:
        return pool_named(record)
    return board_named(record) if has_python(record) else added_device(record)


def added_device(record: DeviceRecord) -> Board | ProgramDevice:
    """Return a device as it was added, with a connection of its own. Raises RecipeError for an address that is none."""
    way = way_of(record)
    return ProgramDevice(record, way) if isinstance(way, Runner) else Board(record)


def is_apart_from(device: Device, machines: Collection[str | None]) -> bool:
    """Return True for a device that is surely none of ``machines``, told by identifiers.

    Of a pool, those that are connected count. A machine without an identifier may be any, and so may be one that joins
    where there are none yet.

    Raises:
        TargetError: it cannot be reached.
    """
    if not machines:
        return False
    if isinstance(device, Pool):
        boards = [board for board in device.awake() if board.is_connected]
        return bool(boards) and all(is_apart_from(board, machines) for board in boards)
    there = _identifier(device)
    return None not in machines and there is not None and there not in machines


def is_here(device: Device) -> bool:
    """Return True if a device may be this machine, also under a name of its own. Raises TargetError as above."""
    if isinstance(device, Pool):
        return any(is_here(board) for board in device.awake() if board.is_connected)
    return machine_id() in (None, _identifier(device))


def _identifier(device: Device) -> str | None:
    """Return the identifier of a machine, if it has one. One of a pool has its name before it."""
    identifier = str(device.facts.machine_id).split()[-1]
    return None if identifier == str(None) else identifier


@contextlib.contextmanager
def interrupted(device: Device) -> Iterator[None]:
    """Make whoever measures there stop at once, where that is another machine, until the end of the block."""
    with contextlib.ExitStack() as ending:
        boards = device.boards if isinstance(device, Pool) else (device,)
        for board in boards:
            if isinstance(board, Board):
                ending.enter_context(board.interrupted())
        yield


def has_python(record: DeviceRecord) -> bool:
    """Return True if an agent can run on a device. Raises RecipeError as ``added_device`` does."""
    return not isinstance(way_of(record), Runner)
