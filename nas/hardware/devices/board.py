"""A device that is reached through a transport: an agent there measures, and this side sends it models and requests."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, final

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.devices.board_connection import START, BoardConnection, ConnectionLostError
from nas.hardware.devices.board_faults import python_advice, why_another_machine, with_advice
from nas.hardware.devices.device import DeviceFacts
from nas.hardware.devices.program_device import Runner
from nas.hardware.devices.registry import DeviceRecord
from nas.hardware.devices.requirements import why_unfit
from nas.hardware.devices.sent_files import content_of, program, with_keys
from nas.hardware.devices.transports import Transport, way_of
from nas.hardware.measuring_process import LONGEST_WAIT, START_LIMIT_S, MeasuringProcess
from nas.hardware.runtimes.runtime import load_runtime
from nas.space.plug_ins import plug_in_path
from nas.values.target import Target

Answer = TypeVar("Answer")
PAUSES_S = (0.0, 5.0, 15.0, 30.0, 60.0)
"""A lost connection is opened again after each of these pauses. A small board starts in less than their sum."""
PAUSES_BESIDE_OTHERS_S = (0.0, 5.0)
"""The same for a board of a pool, whose models other boards can measure meanwhile."""
POLL_S = 0.25
KNOWN_FOR_S = 20.0
"""A file that was there so lately still is: an agent keeps what was used within ``agent.IN_USE_S``."""
MOST_LOST = 3
"""A request during which the connection is lost so often is not asked again: what it runs may end the board."""


@final
class Board:
    """A device elsewhere. It is connected to when it is first needed, and again where the connection was lost.

    ``has_others`` is True for one of a pool. It is not waited for as long, and its name tells it from the others:
    copies of one SD card have the same identifier.

    Raises:
        RecipeError: the address has an unknown scheme, or one of a device without Python.
    """

    def __init__(self, record: DeviceRecord, *, has_others: bool = False) -> None:
        self.record = record
        self.name = record.name
        way = way_of(record)
        if isinstance(way, Runner):
            raise RecipeError(f"{record.name} ({record.url}) has no Python, so nothing can be installed there.")
        self.has_others = has_others
        self.is_interrupted = False
        self._transport: Transport = way
        self._connection: BoardConnection | None = None
        self._holds, self._has_lock = 0, False
        self._say: Callable[[str], None] = lambda text: None

    @property
    def introduction(self) -> list[str] | None:
        """The command that lets the user meet the device for the first time."""
        return self._transport.introduction

    @property
    def is_connected(self) -> bool:
        """True while there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.is_closed

    def look(self, packages: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return what is there, without starting anything. Raises TargetError if it cannot be reached."""
        with self._first_steps(packages) as connection:
            return connection.board

    def unpack(self, archives: Iterable[tuple[str, bytes]]) -> None:
        """Unpack archives there, each as a folder of a name, over one connection. Raises TargetError."""
        with self._first_steps() as connection:
            for name, content in archives:
                connection.ask("unpack", name=name, content=content)

    def clear(self) -> None:
        """Remove all that was put there. Raises TargetError."""
        with self._first_steps() as connection:
            connection.ask("remove")

    @contextlib.contextmanager
    def _first_steps(self, packages: tuple[str, ...] = ()) -> Iterator[BoardConnection]:
        try:
            connection = self._opened(packages)
            try:
                with self._naming_it():
                    yield connection
            finally:
                connection.close()
        except ConnectionLostError as error:
            raise self._unreachable(error) from error

    @contextlib.contextmanager
    def _naming_it(self) -> Iterator[None]:
        """Say of a failure there where it was, and what to do."""
        try:
            yield
        except TargetError as error:
            raise TargetError(f"{self.name} failed: {with_advice(str(error))}") from error

    @cached_property
    def facts(self) -> DeviceFacts:
        """What it is. Raises TargetError if it cannot be reached."""
        found = DeviceFacts(**self.ask("info")[0]["facts"])
        return replace(found, machine_id=f"{self.name} {found.machine_id}") if self.has_others else found

    def why_unavailable(self, target: Target) -> str | None:
        """Return why a target cannot be measured there, or None if it can. Raises RecipeError as ``Device`` does."""
        runtime = load_runtime(target.runtime, target.options)
        if target.precision not in runtime.precisions:
            return runtime.why_unavailable(target)
        if not runtime.device_packages:
            return f"{target.runtime} runs on this machine only, but {target} names {self.name}: {runtime.here_alone}"
        try:
            if target.threads > self.facts.cores:
                return f"threads must be at most the {self.facts.cores} cores of {self.name}, but {target} has more."
            with self.process(target, START_LIMIT_S, pinned=False):
                return None
        except TargetError as error:
            return str(error)

    def why_no_meter(self, meter: Mapping[str, Any]) -> str | None:
        """Return why there is no energy meter there, or None if there is one."""
        reason: str | None = self.ask("meter", meter=dict(meter))[0]["reason"]
        return reason

    @contextlib.contextmanager
    def leased(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock of the board. It is the same that a search on the board itself would hold."""
        self._say = say
        self._holds += 1
        try:
            if self._holds == 1:
                self.again(self._wait_for_lock)
                self._has_lock = True
            yield
        finally:
            self._holds -= 1
            self._has_lock = bool(self._holds)
            if not self._holds and self._connection is not None and self.is_connected:
                with contextlib.suppress(ConnectionLostError):  # then the agent has released it
                    self._connection.ask("unlock")

    def close(self) -> None:
        """End the connection, if there is one, and with it what runs there."""
        if self._connection is not None:
            self._connection.close()

    @contextlib.contextmanager
    def interrupted(self) -> Iterator[None]:
        """Make whoever measures there stop at once, and not connect again until the end of the block."""
        self.is_interrupted = True
        try:
            self.close()
            yield
        finally:
            self.is_interrupted = False

    def process(self, target: Target, timeout_s: float, *, pinned: bool = True) -> MeasuringProcess:
        """Return a process there. Files that its requests name are sent there once."""
        return MeasuringProcess(target, timeout_s, pinned=pinned, channel=BoardChannel(self, target))

    def ask(self, op: str, **request: Any) -> tuple[dict[str, Any], bytes]:
        """Ask the agent something that may be asked twice: if the connection is lost, it is opened again.

        Raises:
            CandidateError: as ``BoardConnection.ask`` does.
            TargetError: the device cannot be reached any more.
        """
        return self.again(lambda connection: connection.ask(op, **request))

    def again(
        self,
        work: Callable[[BoardConnection], Answer],
        blame: Callable[[ConnectionLostError], CandidateError] | None = None,
    ) -> Answer:
        """Return what ``work`` makes of a connection. If that is lost, it works again with another one.

        ``blame`` returns what is raised if the connection is lost ``MOST_LOST`` times during the work itself.

        Raises:
            TargetError: the device cannot be reached any more.
        """
        pauses_s = PAUSES_BESIDE_OTHERS_S if self.has_others else PAUSES_S
        lost, pauses = 0, iter(pauses_s)
        while True:
            is_there = False
            try:
                connection = self._connected()
                is_there, pauses = True, iter(pauses_s)
                with self._naming_it():
                    return work(connection)
            except ConnectionLostError as error:
                lost += is_there
                if lost == MOST_LOST:
                    raise blame(error) if blame else self._unreachable(error) from error
                pause_s = next(pauses, None)
                if pause_s is None or self._connection is None or self.is_interrupted:  # or it was never reached
                    raise self._unreachable(error) from error
                self._say(f"the connection to {self.name} was lost and is opened again: {error}")
                time.sleep(pause_s)

    def _connected(self) -> BoardConnection:
        """Return a connection to the agent, which holds the lock if this side wants it to."""
        if self.is_interrupted:
            raise ConnectionLostError("it was interrupted")
        if self._connection is None or not self.is_connected:
            if self._has_lock:  # it ended between two requests of a measurement
                self._say(f"the connection to {self.name} was lost and is opened again")
            self._connection = self._with_agent()
            atexit.register(self._connection.close)
            if self._holds:
                self._wait_for_lock(self._connection)
        return self._connection

    def _with_agent(self) -> BoardConnection:
        connection = self._opened(())
        try:
            problem = why_unfit(connection.board)
            if problem:
                raise TargetError(f"{self.name} cannot measure: {problem}.")
            name, content = program()
            if name not in connection.board["have"]:
                with self._naming_it():
                    connection.ask("unpack", name=name, content=content)
            paths = [name, *dict.fromkeys(" ".join(self.record.packages.values()).split())]
            try:
                connection.start_agent(paths)
            except TargetError as error:
                raise TargetError(
                    f"{self.name} has no packages to measure with ({error}). Run: nas device install {self.name}."
                ) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened(self, packages: tuple[str, ...]) -> BoardConnection:
        connection = BoardConnection(self._transport.command(START), self.record.folder, packages)
        other = why_another_machine(self.record.found, connection.board)
        if other:
            connection.close()
            raise TargetError(
                f"{self.name} must be the machine that was added, but another one answers at {self.record.url}: "
                f"{other}. If it was set up anew, run: nas device remove {self.name} --keep-files, and add it again."
            )
        return connection

    def _wait_for_lock(self, connection: BoardConnection) -> None:
        told = False
        while True:
            reply, _ = connection.ask("lock")
            if reply["held"]:
                return
            if not told:
                whose = "" if reply.get("holder") is None else f", of process {reply['holder']} there"
                self._say(f"waiting for another measurement on {self.name}{whose}; one runs at a time")
                told = True
            time.sleep(POLL_S)

    def _unreachable(self, error: ConnectionLostError) -> TargetError:
        advice = self._transport.advice(str(error)) or python_advice(str(error))
        return TargetError(f"{self.name} ({self.record.url}) cannot be reached: {advice or error}.")


@final
class BoardChannel:
    """The way to a measuring process on a board. A lost connection is opened again, and the request repeated."""

    _numbers = itertools.count(1)

    def __init__(self, board: Board, target: Target) -> None:
        self._board, self._target = board, target
        self._implementation = plug_in_path("nas.runtimes", target.runtime, "runtime")
        self._number = f"{next(BoardChannel._numbers)}"
        self._began: BoardConnection | None = None
        self._pinned = True

    def start(self, pinned: bool) -> dict[str, Any]:
        """Start the process there, and return its conditions."""
        self._pinned = pinned
        return self._board.again(self._started)

    def _started(self, connection: BoardConnection) -> dict[str, Any]:
        reply, _ = connection.ask(
            "start",
            process=self._number,
            target=str(self._target),
            implementation=self._implementation,
            pinned=self._pinned,
            limit_s=2 * START_LIMIT_S,
        )
        self._began = connection
        conditions: dict[str, Any] = reply["conditions"]
        return conditions

    def exchange(
        self, target: Target, request: Mapping[str, Any], results: Mapping[str, Path], timeout_s: float
    ) -> dict[str, Any]:
        """Send what is missing there, then the request, and write its results here."""
        paths: dict[Path, dict[str, str]] = {}
        asked = {name: with_keys(value, paths) for name, value in request.items()}
        return self._board.again(
            lambda connection: self._exchanged(connection, target, asked, paths, results, timeout_s), self._blamed
        )

    def _blamed(self, error: ConnectionLostError) -> CandidateError:
        name = self._board.name
        return CandidateError(
            "measure",
            f"the connection to {name} was lost {MOST_LOST} times while this model ran there, as if it took all memory "
            f"or made {name} start again: {error}",
        )

    def _exchanged(
        self,
        connection: BoardConnection,
        target: Target,
        asked: Mapping[str, Any],
        paths: Mapping[Path, Mapping[str, str]],
        results: Mapping[str, Path],
        timeout_s: float,
    ) -> dict[str, Any]:
        if connection is not self._began:
            self._started(connection)
        self._send(connection, paths)
        reply, content = connection.ask(
            "exchange",
            process=self._number,
            target=str(target),
            request=asked,
            results={name: path.name for name, path in results.items()},
            timeout_s=timeout_s,
            limit_s=(1 + LONGEST_WAIT) * timeout_s,
        )
        start = 0
        for name, size in reply["results"]:
            results[name].write_bytes(content[start : start + size])
            start += size
        found: dict[str, Any] = reply["reply"]
        return found

    def _send(self, connection: BoardConnection, paths: Mapping[Path, Mapping[str, str]]) -> None:
        now_s = time.monotonic()
        keys = {named["key"]: path for path, named in paths.items()}
        unsure = [key for key in keys if now_s - connection.kept.get(key, -KNOWN_FOR_S) >= KNOWN_FOR_S]
        for key in connection.ask("lacking", keys=unsure)[0]["lacking"] if unsure else ():
            files, content = content_of(keys[key])
            connection.ask("put", key=key, files=files, content=content)
        connection.kept |= dict.fromkeys(unsure, now_s)

    def end(self) -> None:
        """End the process there, if the connection still is."""
        if self._began is not None and self._began.owes_a_reply:
            self._began.close()  # it answers one request after another, and this one may take minutes
        if self._began is not None and not self._began.is_closed:
            with contextlib.suppress(ConnectionLostError, CandidateError):
                self._began.ask("end", process=self._number)


_OPENED: dict[str, Board] = {}


def board_named(record: DeviceRecord) -> Board:
    """Return the board of a record. In this process there is one for each, with one connection."""
    if record.name not in _OPENED or _OPENED[record.name].record != record:
        _OPENED[record.name] = Board(record)
    return _OPENED[record.name]
