"""``python -m experiments.board_agreement`` compares latencies of a device with those measured here.

    python -m experiments.board_agreement [--python python3.13] [--device NAME]

The device is this very machine, reached in another way: by a real sshd on the loopback, or as a device that was added.
The thirty models of ``experiments.repeatability`` are measured here and through the device, in turns, as often as
``--repeats``. The script prints how many latencies agree within their joint 95 % intervals, how many of two local
measurements do, and the seconds of a round of all models either way. It names the models that do not agree.

With another ``--python``, each inference passes through another Python, which takes longer or shorter by half a
microsecond and more. That is 1 to 3 % of a model of 20 to 50 microseconds, and no fault of the way.
"""

from __future__ import annotations

import contextlib
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from experiments.board_here import NAME, board_here
from experiments.command_line import heading, line, parser_of, positive
from experiments.repeatability import export_models
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.values.measurement import Measurement
from nas.values.target import Target

LATENCY = "latency_ms"


@dataclass(frozen=True)
class Measured:
    """The latencies of one pass over all models, by name, and the seconds of a round of all of them."""

    latencies: dict[str, Measurement]
    round_s: float


def measured(bench: DeviceBench, models: Sequence[Path], folder: Path, seed: int) -> Measured:
    """Measure all models on one target."""
    _ = bench.profile  # found here, so that no round includes it
    deployed = bench.deploy(list(map(ExportedModel, models)), [folder / each.stem for each in models])
    sound = {path.stem: each for path, each in zip(models, deployed, strict=True) if isinstance(each, Deployed)}
    began = time.monotonic()
    outcomes = bench.measure(list(sound.values()), [LATENCY], np.random.default_rng(seed))
    elapsed_s = time.monotonic() - began
    found = {name: each[LATENCY] for name, each in zip(sound, outcomes, strict=True) if isinstance(each, dict)}
    return Measured(found, elapsed_s / max(len(each.rounds) for each in found.values()))


def agreeing(one: Measured, other: Measured) -> tuple[int, int]:
    """Return how many models agree within their joint intervals, and of how many."""
    names = sorted(one.latencies.keys() & other.latencies.keys())
    apart = [is_apart(one.latencies[name], other.latencies[name]) for name in names]
    return len(names) - sum(apart), len(names)


def is_apart(one: Measurement, other: Measurement) -> bool:
    """Return True if two latencies differ by more than the halves of their intervals that face each other together."""
    low, high = sorted((one, other), key=lambda each: each.median)
    joint = math.hypot(low.interval.upper - low.median, high.median - high.interval.lower)
    return high.median - low.median > joint


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure here, there and here again, and print the table."""
    parser = parser_of("board_agreement", __doc__)
    parser.add_argument("--device", help="a device that is this machine, reached in another way; by default by ssh")
    parser.add_argument("--python", default=sys.executable, help="the Python of the device, by default this one")
    parser.add_argument("--target", default="onnxruntime-cpu", help="where the models run, without a device")
    parser.add_argument("--repeats", type=positive, default=2, help="how often all are measured in each way")
    options = parser.parse_args(arguments)
    target = Target.parse(options.target)
    ways = {"here": target, "there": replace(target, device=options.device or NAME)}
    passes: dict[str, list[Measured]] = {name: [] for name in ways}
    way = contextlib.nullcontext() if options.device else board_here(options.python, target.runtime)
    with way, tempfile.TemporaryDirectory(prefix="nas-agreement-") as folder:
        export_models(Path(folder), "onnx", target.batch)
        models = sorted(Path(folder).glob("*.model"))
        for repeat in range(options.repeats):
            for name, each in ways.items():
                bench = DeviceBench(each, BenchSettings(), say=lambda text: print(text, file=sys.stderr))
                passes[name].append(measured(bench, models, Path(folder) / f"{name}-{repeat}", repeat))
    print("\n".join(summary(passes["here"], passes["there"])))


def summary(here: Sequence[Measured], there: Sequence[Measured]) -> list[str]:
    """Return the lines of the table."""
    across = [agreeing(one, other) for one, other in zip(here, there, strict=True)]
    within = [agreeing(one, other) for one, other in pairwise(here)]
    told = [
        ("here and there, agreeing", ", ".join(f"{count} of {total}" for count, total in across)),
        ("here twice, agreeing", ", ".join(f"{count} of {total}" for count, total in within) or "measured once"),
        ("a round here", f"{np.mean([each.round_s for each in here]):.1f} s"),
        ("a round there", f"{np.mean([each.round_s for each in there]):.1f} s"),
    ]
    return [*heading(["what", "found"]), *(line(each) for each in told), *differing(here, there)]


def differing(here: Sequence[Measured], there: Sequence[Measured]) -> list[str]:
    """Return a line for each model that does not agree in every pass, with its ratios, and one with the usual ratio.

    If the usual ratio is far from 1, the recorded reference speeds differ. If only quick models differ, the time that
    an inference takes outside the runtime does.
    """
    ratios: dict[str, list[float]] = {}
    apart: dict[str, int] = {}
    for one, other in zip(here, there, strict=True):
        for name in one.latencies.keys() & other.latencies.keys():
            before, after = one.latencies[name], other.latencies[name]
            ratios.setdefault(name, []).append(after.median / before.median)
            apart[name] = apart.get(name, 0) + is_apart(before, after)
    usual = float(np.median([ratio for each in ratios.values() for ratio in each]))
    lines = ["", f"There a model usually takes {usual:.3f} times as long as here.", ""]
    shown = sorted((name for name, times in apart.items() if times), key=lambda name: here[0].latencies[name].median)
    if shown:
        lines += heading(["does not agree", "latency here", "there, times as long", "half of its 95 % interval"])
    for name in shown:
        found = here[0].latencies[name]
        half = (found.interval.upper - found.interval.lower) / 2 / found.median
        times = ", ".join(f"{each:.3f}" for each in ratios[name])
        lines.append(line([name, f"{found.median:.4g} ms", times, f"{100 * half:.1f} %"]))
    return lines


if __name__ == "__main__":
    main()
