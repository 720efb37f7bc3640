"""A device without Python: something on this side runs each model there, and tells milliseconds and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

from nas.errors import CandidateError, TargetError
from nas.hardware.devices.device import DeviceFacts
from nas.hardware.devices.registry import DeviceRecord, folder
from nas.hardware.measuring_process import LocalChannel, MeasuringProcess
from nas.hardware.runtimes.heat import Heat, between
from nas.hardware.runtimes.runtime import load_runtime
from nas.storage.file_lock import waiting_for
from nas.values.measurement import WALL
from nas.values.target import Target

WHY_WALL = "a program tells the times, by a clock of its own"
MOST_SAMPLES = 10_000
EXECUTED = "executed_precision"
SHOWN = 80
REFERENCE_TRIES = 3
"""The reference model runs everywhere, so a failure of it is the device's, and may not last."""


@dataclass(frozen=True)
class Told:
    """The times of some inferences of a model, in milliseconds, and what was told of how it ran.

    Raises:
        ValueError: there is no time, there are too many, or one is not a finite, positive number; or a condition is
            none of a text, a finite number, a truth value and nothing.
    """

    samples_ms: tuple[float, ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < len(self.samples_ms) <= MOST_SAMPLES:
            raise ValueError(f"there must be 1 to {MOST_SAMPLES} times, but there are {len(self.samples_ms)}")
        strange = [each for each in self.samples_ms if not 0 < each < math.inf]
        if strange:
            raise ValueError(f"a time must be a finite number above 0 ms, but one is {strange[0]:g}")
        for name, value in self.conditions.items():
            if not isinstance(value, str | int | float | None) or (
                isinstance(value, float) and not math.isfinite(value)
            ):
                raise ValueError(f"conditions must be texts and finite numbers, but {name} is {str(value)[:SHOWN]}")


@runtime_checkable
class Runner(Protocol):
    """A way to a device that runs models by itself. Its class is called with the record of the device."""

    @property
    def identity(self) -> str:
        """What runs the models, with a hash of it: measurements with another one do not compare.

        Raises:
            TargetError: it is not there any more.
        """

    def look(self) -> dict[str, Any]:
        """Return what is there, as plain data. Raises TargetError if nothing can run models."""

    def clear(self) -> None:
        """Remove what was put there. Raises TargetError."""

    def heat(self) -> Heat:
        """Return how warm it is, as far as that is known. Raises TargetError."""

    def run(self, model: Path, target: Target, least: int, timeout_s: float) -> Told:
        """Run a model at least ``least`` times if that is possible, and return its times.

        Raises:
            CandidateError: the model failed there.
            TargetError: the device cannot be used any more.
        """


def _kept(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was told, as conditions that cannot take the place of those of this side."""
    rest = {name: value for name, value in conditions.items() if name != EXECUTED}
    executed = {EXECUTED: str(conditions[EXECUTED])} if EXECUTED in conditions else {}
    return {**executed, **({"told": rest} if rest else {})}


@final
class ProgramDevice:
    """A device whose ``runner`` runs models. The reference model runs there too, so drift is corrected as elsewhere.

    Neither memory nor energy nor profiles are known of it. Outputs are computed on this machine, by the same runtime.
    """

    def __init__(self, record: DeviceRecord, runner: Runner) -> None:
        self.record = record
        self.name = record.name
        self.runner = runner

    @property
    def introduction(self) -> list[str] | None:
        """Nothing: nobody is asked."""
        return None

    def look(self) -> dict[str, Any]:
        """Return what is there. Raises TargetError if nothing can run models."""
        return self.runner.look()

    def clear(self) -> None:
        """Remove what was put there. Raises TargetError."""
        self.runner.clear()

    @property
    def facts(self) -> DeviceFacts:
        """What is known of it: nearly nothing."""
        return DeviceFacts("unknown", "unknown", "unknown", 1, None, {}, None, times_alone=True)

    def why_unavailable(self, target: Target) -> str | None:
        """Return why a target cannot be measured there, or None if it can. Raises RecipeError as ``Device`` does."""
        runtime = load_runtime(target.runtime, target.options)
        if target.precision not in runtime.precisions:
            return runtime.why_unavailable(target)
        try:
            self.look()
        except TargetError as error:
            return str(error)
        return None

    def why_no_meter(self, meter: Mapping[str, Any]) -> str | None:
        """Return that there is no meter."""
        return f"{self.name} tells times and nothing else"

    @contextmanager
    def leased(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the device for this process. Programs of this user wait for each other."""
        path = folder() / f"{self.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        tell = f"waiting for another measurement on {self.name}; one runs at a time"
        with waiting_for(path, tell=lambda: say(tell)):
            yield

    def process(self, target: Target, timeout_s: float, *, pinned: bool = True) -> MeasuringProcess:
        """Return what takes the part of a measuring process there."""
        return MeasuringProcess(target, timeout_s, pinned=pinned, channel=ProgramChannel(self, target))


@final
class ProgramChannel:
    """Answers the requests of a measuring process by runs of a model on a device."""

    def __init__(self, device: ProgramDevice, target: Target) -> None:
        self._device, self._target = device, target
        self._here: LocalChannel | None = None

    def start(self, pinned: bool) -> dict[str, Any]:
        """Return the conditions of all measurements there."""
        return {
            "processor": "unknown",
            "runtime": self._device.runner.identity,
            "threads": self._target.threads,
            "batch": self._target.batch,
            "pinned_to_cores": None,
        }

    def exchange(
        self, target: Target, request: Mapping[str, Any], results: Mapping[str, Path], timeout_s: float
    ) -> dict[str, Any]:
        """Return the reply to a request."""
        match request["op"]:
            case "time":
                return {"ok": True, **self._timed(target, request, timeout_s)}
            case "heat":
                return {"ok": True, "heat": self._device.runner.heat().to_json()}
            case "outputs":
                return self._outputs(target, request, results, timeout_s)
        raise TargetError(f"{self._device.name} tells times and nothing else: leave out what needs {request['op']}.")

    def _timed(self, target: Target, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Return what ``time_model`` returns: the reference model runs first, and then the model."""
        began_s = time.perf_counter()
        run, least = self._device.runner.run, request["min_samples"]
        before = self._device.runner.heat()
        reference = request.get("reference")
        read = self._reference_times(reference, replace(target, batch=1), least, timeout_s) if reference else ()
        told = run(request["model"], target, least, timeout_s)
        middle_ms = sorted(read)[len(read) // 2] if read else None
        unknown = ("pressure", "stolen", "throttled", "others_busy", "sibling_busy", "asleep_s", "larger_reference")
        return {
            **dict.fromkeys((*unknown, "larger_reference_ms", "larger_cold_ms")),
            "samples": told.samples_ms,
            "walls": [],
            "clock": WALL,
            "is_warm": True,
            "waited": 0.0,
            "why_wall": WHY_WALL,
            "reference_ms": middle_ms,
            "reference_cold_ms": middle_ms,
            "elapsed_s": time.perf_counter() - began_s,
            "heat": between(before, self._device.runner.heat()),
            "conditions": {"why_wall_clock": WHY_WALL, **_kept(told.conditions)},
        }

    def _reference_times(self, model: Path, target: Target, least: int, timeout_s: float) -> tuple[float, ...]:
        """Return the times of the reference model. Raises TargetError if it fails each time."""
        for _ in range(REFERENCE_TRIES):
            try:
                return self._device.runner.run(model, target, least, timeout_s).samples_ms
            except CandidateError as error:
                failure = error
        raise TargetError(
            f"{self._device.name} must run its reference model, but: {failure.reason.rstrip('.')}. "
            f"It was tried {REFERENCE_TRIES} times."
        ) from failure

    def _outputs(
        self, target: Target, request: Mapping[str, Any], results: Mapping[str, Path], timeout_s: float
    ) -> dict[str, Any]:
        """Compute outputs on this machine, where the same runtime is. Raises TargetError if it cannot run here."""
        here = replace(target, device="")
        if self._here is None:
            reason = load_runtime(here.runtime, here.options).why_unavailable(here)
            if reason is not None:
                raise TargetError(f"outputs for {self._device.name} are computed on this machine, but: {reason}")
            self._here = LocalChannel(here)
            self._here.start(pinned=False)
        try:
            return self._here.exchange(here, request, results, timeout_s)
        except CandidateError:
            self._here = None
            raise

    def end(self) -> None:
        """End the process of this machine, if there is one."""
        if self._here is not None:
            self._here.end()
        self._here = None
