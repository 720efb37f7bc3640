"""The process that runs models: reads one JSON request a line, answers one JSON line.

A process of its own, because a runtime may crash, hang or keep memory, and because torch's threads must
not share it. ``nas.benchmarking`` starts it as ``python -m nas.runtimes.worker``; nobody else needs to.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas.machine import fastest_cores, governor, processor_name
from nas.runtimes import Runtime, Session, load_runtime
from nas.target import Target

SETTLED = 0.02
"""Warm-up ends when the medians of two consecutive blocks differ by less than this share."""
BLOCK = 5
MAX_WARM_UP_S = 1.0
MAX_SAMPLES = 100


def time_model(runtime: Runtime, model: Path, target: Target, seconds: float, min_samples: int) -> dict[str, Any]:
    """Latencies in milliseconds in a session made for them, after a warm-up.

    A sample is the mean of so many inferences in a row that about ``MAX_SAMPLES`` samples fill ``seconds``
    (the number and repeat of TVM's ``time_evaluator``): it keeps the clock's own cost out of short ones.
    """
    session = runtime.open(model, target)
    warm_up, typical_s = _warm_up(session)
    inferences = max(1, round(seconds / MAX_SAMPLES / typical_s))
    samples: list[float] = []
    stalled_before = _stalled_s()
    began = time.perf_counter()
    gc.disable()
    try:
        while len(samples) < min_samples or time.perf_counter() - began < seconds:
            start = time.perf_counter_ns()
            for _ in range(inferences):
                session.run()
            samples.append((time.perf_counter_ns() - start) / 1e6 / inferences)
    finally:
        gc.enable()
    elapsed = time.perf_counter() - began
    stalled_after = _stalled_s()
    pressure = None
    if stalled_before is not None and stalled_after is not None:
        pressure = (stalled_after - stalled_before) / elapsed
    found = {**session.conditions(), "warm_up_inferences": warm_up, "inferences_per_sample": inferences}
    return {"samples": samples, "pressure": pressure, "conditions": found}


def peak_memory(runtime: Runtime, model: Path, target: Target) -> dict[str, Any]:
    """How far opening and running a model raises this process's high-water mark, in MiB.

    Meant for a process that has run nothing else; the runtime's own libraries are loaded before.
    """
    runtime.version()
    before = _high_water_mib()
    session = runtime.open(model, target)
    for _ in range(3):
        session.run()
    return {"samples": [max(_high_water_mib() - before, 1 / 1024)], "conditions": dict(session.conditions())}


def conditions(runtime: Runtime, target: Target) -> dict[str, Any]:
    """What the measurements of this process have in common."""
    pinned = None
    if hasattr(os, "sched_setaffinity"):
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
        "governor": governor(pinned[0]) if pinned else None,
    }


def _warm_up(session: Session) -> tuple[int, float]:
    """How many inferences it took to settle, and the seconds of one."""
    began = time.perf_counter()
    previous, runs = float("inf"), 0
    while True:
        block = []
        for _ in range(BLOCK):
            start = time.perf_counter()
            session.run()
            block.append(time.perf_counter() - start)
        runs += BLOCK
        median = float(np.median(block))
        if abs(median - previous) <= SETTLED * previous or time.perf_counter() - began > MAX_WARM_UP_S:
            return runs, median
        previous = median


def _stalled_s() -> float | None:
    """Seconds for which some task here has waited for a processor so far; None where the system does not say."""
    try:
        first = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    return int(first.rpartition("total=")[2]) / 1e6


def _high_water_mib() -> float:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        raise OSError("peak memory is read on Linux and macOS only; leave peak_memory_mib out of the recipe.")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to one request; its ``op`` is conditions, time or memory."""
    target = Target.parse(request["target"])
    runtime = load_runtime(target.runtime)
    if request["op"] == "conditions":
        return conditions(runtime, target)
    model = Path(request["model"])
    if request["op"] == "time":
        return time_model(runtime, model, target, request["seconds"], request["min_samples"])
    assert request["op"] == "memory", request
    return peak_memory(runtime, model, target)


def main() -> None:
    """Serve until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a runtime prints must not come between the replies
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"ok": True, **answer(request)}
        except Exception as error:  # whatever a runtime raises is this model's failure, told to the caller
            reply = {"ok": False, "reason": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
