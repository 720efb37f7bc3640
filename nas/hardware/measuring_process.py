"""The driver's side of the measuring process: starts it, sends requests, and ends it when it hangs."""

from __future__ import annotations

import contextlib
import json
import platform
import queue
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.formats.onnx_session import Arrays
from nas.hardware.runtimes.environments import interpreter_of, worker_command, worker_environment
from nas.hardware.runtimes.neighbours import waiting_s
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array, load_runtime
from nas.line_process import LineProcess
from nas.space.plug_ins import plug_in_path
from nas.storage.scratch import temporary_folder
from nas.values.layer_times import LayerTime
from nas.values.target import Target

LONGEST_WAIT = 20.0
"""A process may wait for a core for so many times its limit."""
DEPLOY_TIMEOUT_S = 900.0
OUTPUTS_TOGETHER = 1000
"""The largest number of items in one request for outputs, because each request has a time limit."""
START_LIMIT_S = 120.0
"""The time limit for a measuring process to load its runtime."""
NO_RESULTS: Mapping[str, Path] = MappingProxyType({})


class Channel(Protocol):
    """The way to a process that runs models: on this machine, or on another one."""

    def start(self, pinned: bool) -> dict[str, Any]:
        """Start the process, or start it again, and return the conditions of its measurements.

        Raises:
            TargetError: the target cannot be measured there.
        """

    def exchange(
        self, target: Target, request: Mapping[str, Any], results: Mapping[str, Path], timeout_s: float
    ) -> dict[str, Any]:
        """Send a request and return the reply. Each path in it names a file, or a folder of files, to read there.

        ``results`` name files that the process writes, and the places here where they are wanted.

        Raises:
            CandidateError: the process died, or took longer than ``timeout_s``. The next request needs a new start.
        """

    def end(self) -> None:
        """End the process."""


@final
class MeasuringProcess:
    """A process that measures on one target. After it had to be ended, the next request starts it again.

    ``conditions`` are shared by all of its measurements. One that only converts or answers, and times nothing, is not
    ``pinned`` to the fastest cores: several of them may run at once, each beside a training. Without a ``channel`` it
    is a process of this machine.

    Raises:
        TargetError: the target cannot be measured there; on making it or on entering the context.
    """

    def __init__(
        self, target: Target, timeout_s: float, *, pinned: bool = True, channel: Channel | None = None
    ) -> None:
        self._channel = channel or LocalChannel(target)
        self._target = target
        self._timeout_s = timeout_s
        self._pinned = pinned
        self._is_there = False
        self._held = contextlib.ExitStack()
        self._items: dict[Callable[[], Arrays], Path] = {}
        self.conditions: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._items.clear()
        self._held.close()

    def ask(
        self, op: str, *, timeout_s: float | None = None, results: Mapping[str, Path] = NO_RESULTS, **request: Any
    ) -> dict[str, Any]:
        """Send one request and return its reply. ``timeout_s`` replaces the process's own time limit.

        Each path in it names a file that the process opens, and ``results`` name those that it writes.

        Raises:
            CandidateError: the runtime refused the model, its process died, or it took too long.
            TargetError: an instrument cannot be used, or the process could not be started again.
        """
        if not self._is_there:
            self._start()
        try:
            reply = self._channel.exchange(self._target, {"op": op, **request}, results, timeout_s or self._timeout_s)
        except CandidateError:
            self._is_there = False
            raise
        if reply.pop("ok"):
            return reply
        match reply["kind"]:
            case None:
                raise CandidateError("measure", f"{self._target.runtime} refused the model: {reply['reason']}")
            case "target":
                raise TargetError(reply["reason"])
        raise CandidateError(reply["kind"], reply["reason"])

    def turn_to(self, target: Target) -> None:
        """Answer for another precision from now on. The runtime, its options and its threads must be the same."""
        self._target = target

    def convert(self, model: ExportedModel, folder: Path, timeout_s: float = DEPLOY_TIMEOUT_S) -> Deployed:
        """Bring an exported model into the runtime's form in the empty ``folder``. Raises as ``ask`` does.

        Only a process of this machine can, where the toolkits are.
        """
        asked: dict[str, Any] = {"model": model.path, "narrow": model.narrow, "calibration": self._items_of(model)}
        asked["classifies"] = asked["calibration"] is not None and model.classifies is not None and model.classifies()
        reply = self.ask("convert", timeout_s=timeout_s, folder=folder, **asked)
        beside = tuple(Path(path) for path in reply["beside"])
        return Deployed(Path(reply["path"]), reply["weight_bytes"], reply["details"], beside)

    def _items_of(self, model: ExportedModel) -> Path | None:
        """Return the file of a model's items to calibrate on, which models may share; None if it needs none."""
        items = model.calibration
        if items is None or self._target.precision != "int8":
            return None
        if items not in self._items:
            path = self._held.enter_context(temporary_folder("calibration")) / "items.npz"
            np.savez(path, *items(), allow_pickle=False)
            self._items[items] = path
        return self._items[items]

    def outputs(
        self, model: Path, inputs: Arrays, timeout_s: float = DEPLOY_TIMEOUT_S, most: int | None = None
    ) -> Float32Array:
        """Return the outputs for an array for each input. Their first axis is that of the items.

        A request has about ``most`` items, by default ``OUTPUTS_TOGETHER``. Raises as ``ask`` does.
        """
        together = max(1, (most or OUTPUTS_TOGETHER) // self._target.batch) * self._target.batch
        parts: list[Float32Array] = []
        for start in range(0, len(inputs[0]), together):
            with temporary_folder("outputs") as folder:
                given, found = folder / "inputs.npz", folder / "outputs.npy"
                np.savez(given, *(each[start : start + together] for each in inputs), allow_pickle=False)
                self.ask("outputs", timeout_s=timeout_s, model=model, inputs=given, results={"outputs": found})
                parts.append(np.load(found, allow_pickle=False))
        return np.concatenate(parts)

    def layer_times(self, model: Path) -> list[LayerTime]:
        """Return the operators of an inference with their times, in their order. Raises as ``ask`` does."""
        return [LayerTime.from_json(each) for each in self.ask("layers", model=model)["layers"]]

    def _start(self) -> None:
        self.conditions = self._channel.start(self._pinned)
        self._is_there = True

    def _end(self) -> None:
        self._channel.end()
        self._is_there = False


@final
class LocalChannel:
    """The way to a process of this machine, which reads and writes files where they are.

    By default its Python is that of the runtime's environment.
    """

    def __init__(self, target: Target, interpreter: Path | None = None, implementation: str | None = None) -> None:
        if interpreter is None:
            runtime = load_runtime(target.runtime, target.options)
            interpreter = interpreter_of(runtime.environment)
            if interpreter is None:  # where a job runs, though not where it comes from, on a cluster
                raise TargetError(f"{target} cannot run on {platform.node()}: {runtime.why_unavailable(target)}")
        self._command = worker_command(interpreter)
        self._target = target
        self._implementation = implementation or plug_in_path("nas.runtimes", target.runtime, "runtime")
        self._process: LineProcess | None = None

    def start(self, pinned: bool) -> dict[str, Any]:
        """Start the process, and return its conditions."""
        self._process = LineProcess(self._command, worker_environment(), stderr=subprocess.DEVNULL)
        request = {"op": "conditions", "pinned": pinned}
        try:
            reply = self.exchange(self._target, request, NO_RESULTS, START_LIMIT_S)
        except CandidateError as error:
            raise TargetError(f"{self._target} cannot be measured here: {error}") from error
        if not reply.pop("ok"):
            self.end()
            raise TargetError(f"{self._target} cannot be measured here: {reply['reason']}")
        return reply

    def exchange(
        self, target: Target, request: Mapping[str, Any], results: Mapping[str, Path], timeout_s: float
    ) -> dict[str, Any]:
        """Send a request and return the reply."""
        assert self._process is not None
        whole = {**_plain({**request, **results}), "target": str(target), "implementation": self._implementation}
        try:
            self._process.send(whole)
            line = self._line(self._process, timeout_s)
        except queue.Empty:
            self.end()
            raise CandidateError(
                "timeout",
                f"the measuring process must answer within {timeout_s:g} s, but did not; it was ended.",
            ) from None
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            self.end()
            raise CandidateError("measure", f"the measuring process ended with {_ending(code)} before it answered.")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _line(self, process: LineProcess, timeout_s: float) -> str:
        """Return the process's next line. The time for which it waits for a core does not count against the limit.

        Raises:
            queue.Empty: the limit is over.
        """
        began, waited_before_s = time.monotonic(), waiting_s(process.pid)
        left_s = timeout_s
        while left_s > 0:
            with contextlib.suppress(queue.Empty):
                return process.line(left_s)
            waited_s = min(waiting_s(process.pid) - waited_before_s, LONGEST_WAIT * timeout_s)
            left_s = timeout_s + waited_s - (time.monotonic() - began)
        raise queue.Empty

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
        self._process = None


def converting(target: Target) -> MeasuringProcess:
    """Return a process of this machine, where the toolkits are, that converts models for a target.

    Raises:
        TargetError: as ``MeasuringProcess`` does.
    """
    return MeasuringProcess(target, DEPLOY_TIMEOUT_S, pinned=False)


def _ending(code: int) -> str:
    """Describe how a process ended. The system sends signal 9 to a process that takes too much memory."""
    if code == -9:
        return "exit code -9 (killed, probably for lack of memory)"
    return f"exit code {code}"


def _plain(value: Any) -> Any:
    """Return a request as JSON takes it, with paths as texts."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
