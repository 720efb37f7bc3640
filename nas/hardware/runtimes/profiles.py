"""What profilers of runtimes count, as the time of each operator in an inference."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nas.values.layer_times import LayerTime

WARM_UPS = 5
LEAST_RUNS, MOST_RUNS = 3, 30
PROFILED_S = 1.0
"""Profiling ends after so many seconds, once there are ``LEAST_RUNS`` runs."""
_KERNEL = "_kernel_time"


def run_to_profile(run: Callable[[], None]) -> int:
    """Run inferences that warm up, and then those that count. Return the number of the latter."""
    _repeat(run, 1, WARM_UPS)
    return _repeat(run, LEAST_RUNS, MOST_RUNS)


def _repeat(run: Callable[[], None], least: int, most: int) -> int:
    end, runs = time.perf_counter() + PROFILED_S, 0
    while runs < least or (runs < most and time.perf_counter() < end):
        run()
        runs += 1
    return runs


def typical(samples: Sequence[float]) -> float:
    """Return the mean of the middle half.

    Profilers count whole microseconds. A median would be a whole number too, which is coarse for small operators.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def onnxruntime_times(events: Sequence[Mapping[str, Any]], runs: int, batch: int) -> list[LayerTime]:
    """Return the operators in the order in which they first ran, from the events of ONNX Runtime's profiler.

    The last ``runs`` of each count. An operator within another one, as in a loop, belongs to the outer one. ``batch``
    items are inferred together.
    """
    kernels = [e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith(_KERNEL)]
    kernels.sort(key=lambda event: (event["ts"], -event["dur"]))
    found: dict[tuple[str, str, str], list[float]] = {}
    elements: dict[tuple[str, str, str], int] = {}
    end_us = 0
    for event in kernels:
        if event["ts"] < end_us:
            continue
        end_us = event["ts"] + event["dur"]
        facts = event.get("args", {})
        name, kind = event["name"].removesuffix(_KERNEL), str(facts.get("op_name", ""))
        key = str(facts.get("node_index", "")), name or kind, kind
        found.setdefault(key, []).append(event["dur"] / 1000)
        elements[key] = _first_output(facts.get("output_type_shape")) // batch
    return [LayerTime(key[1], key[2], typical(times[-runs:]), elements[key]) for key, times in found.items()]


def _first_output(outputs: object) -> int:
    """Return the elements of the first output in ONNX Runtime's list of ``{type: shape}``; 0 if it tells none."""
    first = outputs[0] if isinstance(outputs, list) and outputs else None
    shapes = list(first.values()) if isinstance(first, dict) else []
    if not shapes or not all(isinstance(size, int) and size >= 0 for size in shapes[0]):
        return 0
    return math.prod(shapes[0])
