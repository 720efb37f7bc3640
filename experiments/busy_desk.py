"""``python -m experiments.busy_desk`` measures how right latencies are while other programs use the machine.

    python -m experiments.busy_desk [--target onnxruntime-cpu] [--out experiments/results/busy_desk]

Twenty models of .02 to 20 ms are measured on the idle machine, then beside 1, 2, 4 and 8 busy processes of each kind:
arithmetic, memory traffic, and a training of this project. Each busy process has a session of its own, as programs of
other terminals and users have; Linux would give those of one session only a small share of the machine together. At
last the idle machine is measured again, which tells how well it repeats.

All values are compared with the first ones. The script prints a row for each kind and number of processes, and the
models that are furthest off. ``--out`` receives all measurements. It takes half an hour on two cores, and needs Linux.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from experiments.command_line import heading, line, names, parser_of
from experiments.repeatability import export_models
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import processor_name
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, load_runtime
from nas.values.measurement import Measurement
from nas.values.paired_comparison import paired
from nas.values.target import Target

KINDS, COUNTS = ("arithmetic", "memory", "training"), (1, 2, 4, 8)
LEFT_OUT = (
    *(f"mobilenet-8-{number}" for number in (1, 3)),
    *(f"mobilenet-28-{number}" for number in (1, 3)),
    *(f"mobilenet-32-{number}" for number in (0, 2, 4)),
    *(f"nasbench201-32-{number}" for number in (1, 4)),
    "edgenext_xx_small",
)
"""Of the thirty models of ``experiments.repeatability``, those that are left out, as they resemble others."""
PAIRED = BenchSettings(max_rounds=8, paired=True)
STARTING_S = 8.0
"""Busy processes load their libraries first."""
SHOWN = 3


@dataclass(frozen=True)
class Desk:
    """The measurements by model beside ``count`` busy processes of a ``kind``, and the seconds that they took."""

    kind: str
    count: int
    found: dict[str, Measurement]
    seconds: float

    @property
    def name(self) -> str:
        """The name of the load."""
        return f"{self.kind} × {self.count}" if self.count else self.kind


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the models, measure them under each load, and print the table."""
    parser = parser_of_desk("busy_desk", __doc__, COUNTS)
    parser.add_argument("--models", type=names, help="models; default: twenty")
    options = parser.parse_args(arguments)
    target = Target.parse(options.target)
    path = options.out / f"{target.runtime}.json.gz"
    if not options.read:
        options.out.mkdir(parents=True, exist_ok=True)
        desks = list(measured(target, options.kinds, [int(count) for count in options.counts], options.models))
        path.write_bytes(gzip.compress(json.dumps(to_json(desks)).encode(), mtime=0))
    print("\n".join(table(from_json(json.loads(gzip.decompress(path.read_bytes()))), target)))
    return 0


def parser_of_desk(name: str, text: str | None, counts: Sequence[int]) -> argparse.ArgumentParser:
    """Return a parser of the options that scripts about busy desks share."""
    parser = parser_of(name, text)
    parser.add_argument("--target", default="onnxruntime-cpu", help="where the models run")
    parser.add_argument("--out", type=Path, default=Path("experiments/results") / name, help="folder for raw data")
    parser.add_argument("--kinds", type=names, default=KINDS, help="kinds of load; default: all")
    parser.add_argument("--counts", type=names, default=tuple(map(str, counts)), help="numbers of busy processes")
    parser.add_argument("--read", action="store_true", help="measure nothing, and read --out")
    return parser


def measured(
    target: Target,
    kinds: Sequence[str],
    counts: Sequence[int],
    wanted: Sequence[str] | None,
    export: Callable[[Path, str, int], None] = export_models,
    *,
    is_paired: bool = False,
) -> Iterator[Desk]:
    """Measure the models that ``export`` writes under each load. Where they are paired, all have the same rounds."""
    with tempfile.TemporaryDirectory(prefix="nas-busy-") as folder:
        export(Path(folder), load_runtime(target.runtime).model_format, target.batch)
        paths = [path for path in sorted(Path(folder).glob("*.model")) if path.stem not in LEFT_OUT]
        paths = [path for path in paths if wanted is None or path.stem in wanted]
        bench = DeviceBench(
            target, PAIRED if is_paired else BenchSettings(), say=lambda text: print(text, file=sys.stderr)
        )
        _ = bench.profile
        answers = bench.deploy(
            [ExportedModel(path) for path in paths], [Path(folder) / "deployed" / path.stem for path in paths]
        )
        models = {path.stem: each for path, each in zip(paths, answers, strict=True) if isinstance(each, Deployed)}
        loads = [("idle", 0), *((kind, count) for kind in kinds for count in counts), ("idle again", 0)]
        for number, (kind, count) in enumerate(loads):
            with busy(kind, count):
                began = time.monotonic()
                outcomes = bench.measure(list(models.values()), ["latency_ms"], np.random.default_rng(number))
                seconds = time.monotonic() - began
            found = {
                name: each["latency_ms"] for name, each in zip(models, outcomes, strict=True) if isinstance(each, dict)
            }
            print(f"{kind} × {count}: {len(found)} models in {seconds:.0f} s", file=sys.stderr)
            yield Desk(kind, count, found, seconds)


@contextmanager
def busy(kind: str, count: int) -> Iterator[None]:
    """Run busy processes, each in a session of its own."""
    command = [sys.executable, "-m", "experiments.loads", "any"]
    started = [
        subprocess.Popen([*command, str(seed), kind], start_new_session=True)  # noqa: S603 a script of this folder
        for seed in range(count)
    ]
    try:
        time.sleep(STARTING_S if count else 0.0)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def to_json(desks: Sequence[Desk]) -> list[dict[str, object]]:
    """Return plain JSON data of all measurements."""
    return [
        {"kind": desk.kind, "count": desk.count, "seconds": desk.seconds, "processor": processor_name(),
         "found": {name: each.to_json() for name, each in desk.found.items()}}
        for desk in desks
    ]  # fmt: skip


def from_json(data: Sequence[Mapping[str, object]]) -> list[Desk]:
    """Return what ``to_json`` wrote."""
    found = []
    for each in data:
        models = each["found"]
        assert isinstance(models, dict)
        measurements = {name: Measurement.from_json(one) for name, one in models.items()}
        found.append(Desk(str(each["kind"]), int(str(each["count"])), measurements, float(str(each["seconds"]))))
    return found


def table(desks: Sequence[Desk], target: Target) -> list[str]:
    """Return the Markdown table of the figures for each load."""
    idle, *others = desks
    values = [each.median for each in idle.found.values()]
    titles = ["beside", "off: median, 95 %, most", "within 10 %", "ratios off: median, 95 %", "ratios within 3 %",
              "intervals that hold", "of ratios", "stopwatch off", "seconds", "furthest"]  # fmt: skip
    return [
        f"{len(idle.found)} models of {min(values):.2g} to {max(values):.3g} ms; {target}; idle: {idle.seconds:.0f} s",
        "",
        *heading(titles),
        *(line(row(idle, desk)) for desk in others),
    ]


def row(idle: Desk, desk: Desk) -> list[str]:
    """Return the cells of one load."""
    shared = [name for name in idle.found if name in desk.found]
    off = {name: math.log(desk.found[name].median / idle.found[name].median) for name in shared}
    raw = [math.log(desk.found[name].raw_median / idle.found[name].raw_median) for name in shared]
    held = [
        holds(desk.found[name].interval.lower, idle.found[name].median, desk.found[name].interval.upper)
        for name in shared
    ]
    pairs = [ratio_of(idle, desk, *pair) for pair in combinations(shared, 2)]
    furthest = sorted(shared, key=lambda name: -abs(off[name]))[:SHOWN]
    sizes = np.abs(list(off.values()))
    ratios = np.abs([ratio for ratio, _ in pairs])
    return [
        desk.name,
        f"{percent(np.median(sizes))}, {percent(np.quantile(sizes, 0.95))}, {percent(max(sizes))}",
        share(sizes <= math.log(1.1)),
        f"{percent(np.median(ratios))}, {percent(np.quantile(ratios, 0.95))}",
        share(ratios <= math.log(1.03)),
        share(np.array(held)),
        share(np.array([is_held for _, is_held in pairs])),
        f"{math.exp(float(np.median(raw))):.2f} ×, most {math.exp(max(raw)):.1f} ×",
        f"{desk.seconds:.0f}",
        ", ".join(f"{name} {100 * (math.exp(off[name]) - 1):+.1f} %" for name in furthest),
    ]


def ratio_of(idle: Desk, desk: Desk, one: str, other: str) -> tuple[float, bool]:
    """Return by how much a ratio of two models differs from the idle one, and if its interval holds that."""
    count = min(len(desk.found[one].rounds), len(desk.found[other].rounds))
    ratios = paired(first_rounds(desk.found[one], count), first_rounds(desk.found[other], count))
    truth = idle.found[other].median / idle.found[one].median
    return math.log(ratios.median / truth), holds(ratios.interval.lower, truth, ratios.interval.upper)


def first_rounds(found: Measurement, count: int) -> Measurement:
    """Return a measurement of the first rounds."""
    return Measurement(found.metric, found.target, found.rounds[:count], found.conditions, found.flags,
                       found.drifts[:count], found.walls[:count], found.unseen)  # fmt: skip


def holds(lower: float, value: float, upper: float) -> bool:
    """Return True if an interval holds a value."""
    return lower <= value <= upper


def percent(log: float) -> str:
    """Return a logarithm of a ratio as a difference in per cent."""
    return f"{100 * (math.exp(log) - 1):.1f} %"


def share(which: np.ndarray) -> str:
    """Return the share of True in per cent."""
    return f"{100 * float(np.mean(which)):.0f} %"


if __name__ == "__main__":
    raise SystemExit(main())
