"""Pools: devices of one kind under one name, which share the models to measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, final

from nas.errors import TargetError, first_few
from nas.hardware.devices.board import Board
from nas.hardware.devices.device import DeviceFacts
from nas.hardware.devices.registry import DeviceRecord, known, pool_members
from nas.hardware.measuring_process import MeasuringProcess
from nas.values.target import Target

Answer = TypeVar("Answer")
FIRST_REST_S, LONGEST_REST_S = 60.0, 600.0
"""A device that was set aside is tried again after the first time, then after twice as long, up to the longest."""


@dataclass(frozen=True)
class Rest:
    """The reason why a device was set aside, when it is tried again, and for how long it rests this time."""

    reason: str
    until_s: float
    length_s: float


@final
class Pool:
    """Devices that measure models beside each other. What is asked of one device, the first that answers tells.

    Their connections belong to the pool. A device that is also measured as a target of its own has another one.

    Raises:
        RecipeError: a device of the pool is not known any more.
    """

    def __init__(self, record: DeviceRecord, clock: Callable[[], float] = time.monotonic) -> None:
        self.record = record
        self.name = record.name
        self.boards: tuple[Board, ...] = tuple(Board(known(name), has_others=True) for name in pool_members(record))
        self._clock = clock
        self._rests: dict[str, Rest] = {}

    def awake(self) -> list[Board]:
        """Return the devices that were not set aside, or have rested long enough."""
        now_s = self._clock()
        return [each for each in self.boards if each.name not in self._rests or self._rests[each.name].until_s <= now_s]

    def set_aside(self, board: Board, reason: str, say: Callable[[str], None]) -> None:
        """Let a device rest for a while, and say why. It rests for longer each time until it measures well."""
        before = self._rests.get(board.name)
        length_s = FIRST_REST_S if before is None else min(2 * before.length_s, LONGEST_REST_S)
        self._rests[board.name] = Rest(reason, self._clock() + length_s, length_s)
        text = f"{reason.rstrip('.')}. It is tried again in {length_s / 60:.0f} min"
        say(f"{board.name} of {self.name} is set aside: {text}")

    def has_measured(self, board: Board, say: Callable[[str], None]) -> None:
        """Note that a device has measured well."""
        if self._rests.pop(board.name, None) is not None:
            say(f"{board.name} of {self.name} measures again")

    def wake(self) -> None:
        """Let all devices be tried at once."""
        self._rests = {name: Rest(rest.reason, self._clock(), rest.length_s) for name, rest in self._rests.items()}

    def none_left(self) -> TargetError:
        """Return the error that tells of all devices why they cannot measure."""
        reasons = [_named(name, rest.reason) for name, rest in self._rests.items()]
        return TargetError(f"no device of {self.name} can measure. {first_few(reasons, most=10, between='. ')}.")

    @property
    def facts(self) -> DeviceFacts:
        """The facts of one of them."""
        return self._first(lambda board: board.facts)

    def why_unavailable(self, target: Target) -> str | None:
        """Return why no device of the pool can measure a target, or None if one can."""
        asked = self.awake()
        if not asked:
            return str(self.none_left())
        with ThreadPoolExecutor(len(asked)) as at_once:  # those that are gone take a while to be known as such
            reasons = list(at_once.map(lambda board: board.why_unavailable(target), asked))
        if None in reasons:
            return None
        told = [_named(board.name, reason or "") for board, reason in zip(asked, reasons, strict=True)]
        return f"no device of {self.name} can measure {target}. {first_few(told, most=10, between='. ')}."

    def why_no_meter(self, meter: Mapping[str, Any]) -> str | None:
        """Return why one of them has no energy meter, or None if it has one."""
        return self._first(lambda board: board.why_no_meter(meter))

    def leased(self, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """Hold one of them."""
        return self._answering().leased(say)

    def process(self, target: Target, timeout_s: float, *, pinned: bool = True) -> MeasuringProcess:
        """Return a process on one of them."""
        return self._answering().process(target, timeout_s, pinned=pinned)

    def _answering(self) -> Board:
        return self._first(lambda board: (board.facts, board)[1])

    def _first(self, ask: Callable[[Board], Answer]) -> Answer:
        """Return the answer of the first device that gives one. Those with a connection are asked first."""
        for board in sorted(self.awake(), key=lambda board: not board.is_connected):
            try:
                return ask(board)
            except TargetError as error:
                self.set_aside(board, str(error), lambda text: None)
        raise self.none_left()


def _named(name: str, reason: str) -> str:
    return reason.rstrip(".") if reason.startswith(name) else f"{name}: {reason.rstrip('.')}"


_OPENED: dict[str, Pool] = {}


def pool_named(record: DeviceRecord) -> Pool:
    """Return the pool of a record. In this process there is one for each, as long as its devices stay the same."""
    records = [known(name) for name in pool_members(record)]
    if record.name not in _OPENED or [board.record for board in _OPENED[record.name].boards] != records:
        _OPENED[record.name] = Pool(record)
    return _OPENED[record.name]
