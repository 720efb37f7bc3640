"""The measuring process, which runs models: it reads one JSON request a line and answers with one JSON line.

It is a process of its own for three reasons. A runtime may crash, hang or keep memory. Torch's threads must not disturb
it. Some runtimes live in an environment of their own. Only ``nas.hardware.measuring_process`` starts it.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import platform
import queue
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError, TargetError
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.metering import Meter, energy_mj, measure_idle_w, measure_window
from nas.hardware.machine import allowed_cores, clock_mhz, faster_cores_denied, fastest_cores, governor, processor_name
from nas.hardware.runtimes.heat import DENIED, Thermometer, between as heat_between
from nas.hardware.runtimes.neighbours import between, moment
from nas.hardware.runtimes.runtime import ExportedModel, ProfilingRuntime, Runtime, Session, load_runtime
from nas.hardware.runtimes.stopwatch import (
    WARM_MS,
    Presence,
    Sample,
    Stopwatch,
    undisturbed,
    why_wall_clock,
)
from nas.hardware.runtimes.sustaining import sustain
from nas.values.measurement import WALL
from nas.values.target import Target

SETTLED = 0.02
"""Warm-up ends when the median of a block differs from that of the block before by less than this share."""
WARM_UP_BLOCK = 5
MAX_WARM_UP_S = 1.0
BLOCKS = 4
"""Number of blocks of a model's samples. The reference model runs before, between and after them."""
MAX_BLOCK_SAMPLES = 64
REFERENCE_BLOCK_S = 0.004
REWARM_S = WARM_MS / 1000
"""A model runs untimed for so long after another one, which has taken the caches."""
QUICK_OPENING_S = 0.05
LAST_S = 5.0
"""How long the last request may take after the driver has ended."""
DISK_ERRORS, FULL = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)), "No space left on device"
"""Errors of a disk, which no model can help; some runtimes only say so."""
CHECK_S = 1e-3
"""How long inferences run that show which threads compute."""
LEAST_OF_REFERENCE = 3
"""With fewer inferences, a reference model was not read."""
MIN_SAMPLE_S = 20e-6
"""Shorter inferences are timed several at once, because reading the clock takes some hundredths of a microsecond."""


@final
class Timing:
    """An opened, warm session whose inferences are timed in blocks."""

    def __init__(self, session: Session, threads: int) -> None:
        self.session = session
        self.why_wall = why_wall_clock(session, threads, CHECK_S)
        self._now_s = time.perf_counter if self.why_wall else time.thread_time
        self.warm_up_inferences, typical_s = _warm_up(session, self._now_s)
        self.typical_ms = 1000 * typical_s
        self.inferences_per_sample = max(1, int(np.ceil(MIN_SAMPLE_S / max(typical_s, 1e-9))))
        self._rewarming = max(1, int(np.ceil(REWARM_S / max(typical_s, 1e-9))))
        self._stopwatch = Stopwatch(session, self.inferences_per_sample, self.why_wall)

    def block(self, seconds: float, min_samples: int, presence: Presence) -> list[Sample]:
        """Return inferences that fill ``seconds``, at most ``MAX_BLOCK_SAMPLES`` that began with warm caches.

        Seconds are of processor time, so that a busy machine does not take samples away. Untimed inferences first bring
        the caches back to this model: one, or enough to fill ``REWARM_S``.
        """
        for _ in range(self._rewarming):
            self.session.run()
        samples: list[Sample] = []
        warm, end = 0, self._now_s() + seconds
        while len(samples) < min_samples or (self._now_s() < end and warm < MAX_BLOCK_SAMPLES):
            samples.append(self._stopwatch.sample(presence))
            warm += samples[-1].warm_ms >= WARM_MS
        return samples

    def run_for(self, seconds: float, presence: Presence) -> list[Sample]:
        """Return all inferences of some seconds of time, one at least, without a pause between them."""
        samples, end_s = [self._stopwatch.sample(presence)], time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            samples.append(self._stopwatch.sample(presence))
        return samples


def time_model(
    timing: Timing,
    reference: Timing | None,
    seconds: float,
    min_samples: int,
    larger: Timing | None = None,
    cores: Collection[int] = (),
    warm: bool | None = None,
) -> dict[str, Any]:
    """Return latencies in milliseconds, those of the reference models between them, and what else happened.

    ``samples`` are the inferences that count, by the clock that ``clock`` names. ``walls`` are all of them by the wall
    clock, where that is another one. References are read by the same rule. ``larger`` is a larger
    reference model; a slow one is read at every second place. Both are None where they were not read.
    ``warm`` says if references are read with warm caches; by default they are read as the model was.
    """
    samples: list[Sample] = []
    of_reference: list[Sample] = []
    of_larger: list[Sample] = []
    presence, before = Presence(), moment()

    def read_reference(place: int) -> None:
        if reference is not None:
            of_reference.extend(reference.block(REFERENCE_BLOCK_S, 3, presence))
            if larger is not None and (place % 2 == 0 or larger.typical_ms < 1000 * REFERENCE_BLOCK_S / 4):
                of_larger.extend(larger.block(REFERENCE_BLOCK_S, 3, presence))

    gc.disable()
    try:
        read_reference(0)
        for place in range(1, BLOCKS + 1):
            samples += timing.block(seconds / BLOCKS, max(1, -(-min_samples // BLOCKS)), presence)
            read_reference(place)
    finally:
        gc.enable()
    found = undisturbed(samples)
    warm = found.is_warm if warm is None else warm
    return {
        **between(before, moment(), cores),
        "samples": found.times_ms,
        "walls": [] if found.clock == WALL else [sample.wall_ms for sample in samples],
        "clock": found.clock,
        "is_warm": found.is_warm,
        "waited": found.waited,
        "why_wall": timing.why_wall,
        "reference_ms": _read(of_reference, warm=warm),
        "reference_cold_ms": _read(of_reference, warm=False),
        "larger_reference_ms": _read(of_larger, warm=warm),
        "larger_cold_ms": _read(of_larger, warm=False),
    }


def _read(samples: Sequence[Sample], *, warm: bool) -> float | None:
    """Return the median of a reference model's inferences, or None if there are too few with warm caches."""
    found = undisturbed(samples, warm=warm).times_ms if samples else ()
    return float(np.median(found)) if len(found) >= LEAST_OF_REFERENCE else None


def described(timing: Timing) -> dict[str, Any]:
    """Return what really ran, and how it was timed."""
    return {
        **({"why_wall_clock": timing.why_wall} if timing.why_wall else {}),
        **timing.session.conditions(),
        "warm_up_inferences": timing.warm_up_inferences,
        "inferences_per_sample": timing.inferences_per_sample,
    }


def peak_memory(runtime: Runtime, model: Path, target: Target) -> dict[str, Any]:
    """Return the rise of this process's peak memory, in MiB, when a model is opened and run.

    The process must have run nothing else before. The runtime's own libraries are loaded first and do not count.
    """
    runtime.version()
    before = _high_water_mib()
    session = runtime.open(model, target)
    for _ in range(3):
        session.run()
    return {"samples": [max(_high_water_mib() - before, 1 / 1024)], "conditions": dict(session.conditions())}


def conditions(runtime: Runtime, target: Target, *, pins: bool) -> dict[str, Any]:
    """Return the conditions that a process's measurements share. With ``pins``, pin it to the fastest cores first."""
    pinned, denied = None, faster_cores_denied(target.threads)
    if pins and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, fastest_cores(target.threads))
        pinned = sorted(os.sched_getaffinity(0))
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "runtime": runtime.version(),
        "threads": target.threads,
        "batch": target.batch,
        "pinned_to_cores": pinned,
        **({DENIED: denied} if denied else {}),
        "governor": governor(pinned[0]) if pinned else None,
        "clock_mhz": clock_mhz(pinned[0]) if pinned else None,
    }


@final
class Server:
    """Answers requests about one runtime on one target."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None
        self._references: dict[str, Timing] = {}  # those that take long to open
        self._meter: tuple[Meter, float] | None = None
        self._thermometer: Thermometer | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply to one request.

        Its ``op`` is conditions, convert, heat, time, sustain, memory, energy, outputs or layers.
        """
        target = Target.parse(request["target"])
        runtime = self._load(request["implementation"], target)
        match request["op"]:
            case "conditions":
                return conditions(runtime, target, pins=request.get("pinned", True))
            case "convert":
                items = request["calibration"]
                calibration = None if items is None else partial(_arrays_in, items)
                model = ExportedModel(
                    Path(request["model"]), calibration, request["narrow"], lambda: request["classifies"]
                )
                made = runtime.convert(model, target, Path(request["folder"]))
                told = {"path": str(made.path), "weight_bytes": made.weight_bytes, "details": dict(made.details)}
                return {**told, "beside": [str(path) for path in made.beside]}
            case "heat":
                return {"heat": self._warmth.read().to_json()}
            case "time":
                before = self._warmth.read()
                timing = Timing(runtime.open(Path(request["model"]), target), target.threads)
                reference = self._open_reference(request.get("reference"), target)
                names = request.get("larger", {})
                name = next((name for name, (_, most_ms) in names.items() if timing.typical_ms < most_ms), None)
                larger = None if name is None else self._open_reference(names[name][0], target)
                cores = allowed_cores()
                effort = request["seconds"], request["min_samples"]
                reply = time_model(timing, reference, *effort, larger, cores, request.get("warm"))
                reply["larger_reference"] = name
                reply["heat"] = heat_between(before, self._warmth.read())
                return {**reply, "conditions": described(timing) if request.get("describe", True) else {}}
            case "sustain":
                timing = Timing(runtime.open(Path(request["model"]), target), target.threads)
                found = sustain(
                    timing.run_for, request["stated_s"], self._warmth.read, timing.why_wall, allowed_cores()
                )
                return {**found, "conditions": described(timing)}
            case "memory":
                return peak_memory(runtime, Path(request["model"]), target)
            case "energy":
                return self._energy(runtime, request, target)
            case "outputs":
                return _outputs(runtime, request, target)
            case "layers":
                assert isinstance(runtime, ProfilingRuntime), "a bench asks no other runtime"
                return {"layers": [each.to_json() for each in runtime.layer_times(Path(request["model"]), target)]}
        raise AssertionError(request)

    def _energy(self, runtime: Runtime, request: Mapping[str, Any], target: Target) -> dict[str, Any]:
        """Return the millijoules of one item over a window of inferences, less idle power, which is metered once."""
        if self._meter is None:
            meter = meter_from(request["meter"])
            self._meter = meter, measure_idle_w(meter)
        meter, idle_w = self._meter
        timing = Timing(runtime.open(Path(request["model"]), target), target.threads)
        window = measure_window(meter, timing.session.run)
        found = {
            **timing.session.conditions(),
            "meter": meter.name,
            "meter_update_s": meter.update_period_s,
            "idle_w": idle_w,
            "window_s": window.seconds,
            "window_inferences": window.inferences,
        }
        return {"energy_mj": energy_mj(window, idle_w) / target.batch, "conditions": found}

    @property
    def _warmth(self) -> Thermometer:
        """The thermometer of the cores that this process is pinned to by now."""
        self._thermometer = self._thermometer or Thermometer()
        return self._thermometer

    def _load(self, implementation: str, target: Target) -> Runtime:
        if self._runtime is None:
            self._runtime = load_runtime(implementation, target.options)
        return self._runtime

    def _open_reference(self, path: str | None, target: Target) -> Timing | None:
        """Return a reference model, opened again if that is quick, since two sessions of it differ by 0.5 %."""
        if path is None:
            return None
        if path in self._references:
            return self._references[path]
        assert self._runtime is not None
        began = time.perf_counter()
        # always one image: the reference measures the machine's speed, whatever the target's batch size
        session = self._runtime.open(Path(path), replace(target, batch=1))
        is_quick = time.perf_counter() - began < QUICK_OPENING_S
        timing = Timing(session, target.threads)
        if not is_quick:
            self._references[path] = timing
        return timing


def _outputs(runtime: Runtime, request: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Run a model on an array for each of its inputs, and write its outputs. The first axis is that of the items."""
    inputs = _arrays_in(request["inputs"])
    session = runtime.open(Path(request["model"]), target)
    count, batch = len(inputs[0]), target.batch
    padded = [np.concatenate([each, np.zeros((-count % batch, *each.shape[1:]), each.dtype)]) for each in inputs]
    parts = [
        np.array(session.outputs([each[i : i + batch] for each in padded])) for i in range(0, len(padded[0]), batch)
    ]
    np.save(request["outputs"], np.concatenate(parts)[:count].astype(np.float32), allow_pickle=False)
    return {"conditions": dict(session.conditions())}


def _arrays_in(path: str) -> list[npt.NDArray[Any]]:
    """Return the arrays that were saved together, in their order."""
    with np.load(path, allow_pickle=False) as saved:
        return [saved[name] for name in saved.files]


def _warm_up(session: Session, now_s: Callable[[], float]) -> tuple[int, float]:
    """Run inferences until their times by the clock ``now_s`` settle. Return their number, and the seconds of one."""
    began = now_s()
    previous, runs = float("nan"), 0  # NaN: the first block never counts as settled
    while True:
        block = []
        for _ in range(WARM_UP_BLOCK):
            start = now_s()
            session.run()
            block.append(now_s() - start)
        runs += WARM_UP_BLOCK
        median = float(np.median(block))
        if abs(median - previous) <= SETTLED * previous or now_s() - began > MAX_WARM_UP_S:
            return runs, median
        previous = median


def _high_water_mib() -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        raise OSError("peak memory is measured on Linux and macOS only; leave peak_memory_mib out of the recipe.")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def main() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a runtime's own output must not come between the replies
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_take_requests, args=(requests,), daemon=True).start()
    server = Server()
    while line := requests.get():
        request = json.loads(line)
        try:
            reply = {"ok": True, **server.answer(request)}
        except TargetError as error:  # an instrument cannot be used
            reply = {"ok": False, "kind": "target", "reason": str(error)}
        except CandidateError as error:
            reply = {"ok": False, "kind": error.kind, "reason": error.reason}
        except Exception as error:  # any exception of a runtime is this model's failure, unless its disk is full
            said = str(error) or ("out of memory" if isinstance(error, MemoryError) else "no message")
            is_disk = getattr(error, "errno", None) in DISK_ERRORS or FULL in said
            reply = {"ok": False, "kind": "target" if is_disk else None, "reason": f"{type(error).__name__}: {said}"}
        replies.write(json.dumps(reply) + "\n")


def _take_requests(requests: queue.SimpleQueue[str]) -> None:
    """Pass requests on. When they end, the driver has ended or been killed, and this process has ``LAST_S`` left."""
    for line in sys.stdin:
        requests.put(line)
    requests.put("")
    time.sleep(LAST_S)
    os._exit(0)


if __name__ == "__main__":
    main()
