"""``python -m experiments.repeatability`` measures how well latencies repeat between sessions.

    python -m experiments.repeatability [--out experiments/results/repeatability] [--target onnxruntime-cpu]

Thirty models are measured in five sessions. Each session is a fresh process, and every other one runs beside a load on
another core. A session measures all models in two ways: interleaved in rounds with drift correction, as a search does;
and one after another with the same number of samples, as is customary. The script prints a table of the figures.
``--out`` receives the raw data of each session with all samples. With ``--quick`` the second way is left out, and the
command takes seven minutes instead of ten.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from experiments.command_line import parser_of
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import allowed_cores, fastest_cores, processor_name
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, load_runtime
from nas.hardware.runtimes.stopwatch import Presence
from nas.hardware.runtimes.worker import Timing
from nas.space.signature import image_inputs, image_signature
from nas.values.measurement import Measurement
from nas.values.target import Target

MODELS, SESSIONS, TOGETHER = 30, 5, 40
SHOWN = 5
"""Models that are named, those first that vary most."""
DIFFERENT = 0.03
"""Models whose latencies differ by at least this share must come out in the right order."""

CACHE_CONDITIONS = (("shared_cache_drift", 1.0), ("response_to_it", 0.0))
"""What a measurement tells of the larger reference model, and what it is where that did not run."""

TIMM = (
    ("mobilenetv3_small_050", 224),
    ("mobilenetv3_small_100", 160),
    ("mobilenetv2_050", 96),
    ("efficientnet_b0", 128),
    ("resnet18", 128),
    ("resnet50", 96),
    ("regnetx_002", 160),
    ("convnext_atto", 96),
    ("ghostnet_050", 96),
    ("edgenext_xx_small", 128),
    ("vit_tiny_patch16_224", 224),
    ("mnasnet_050", 128),
)
SPACES = (
    ("mobilenet", (1, 8, 8), 4),
    ("mobilenet", (1, 28, 28), 4),
    ("mobilenet", (3, 32, 32), 5),
    ("nasbench201", (3, 32, 32), 5),
)


@dataclass(frozen=True)
class Session:
    """One session: measurements and medians by model, and its seconds by step."""

    loaded: bool
    interleaved: dict[str, Measurement]
    one_by_one_ms: dict[str, float]
    seconds: dict[str, float]


def main() -> None:
    """Export the models, run the sessions, and print the table."""
    parser = parser_of("repeatability", __doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("experiments/results/repeatability"), help="folder for the raw data"
    )
    parser.add_argument("--target", default="onnxruntime-cpu", help="where the models run")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="number of sessions")
    parser.add_argument("--quick", action="store_true", help="measure interleaved alone, as a search does")
    parser.add_argument("--session", type=Path, help=argparse.SUPPRESS)  # the folder of models, in a session's process
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    target = Target.parse(arguments.target)
    if arguments.session is not None:
        run_session(arguments.session, target, arguments.number, arguments.out, is_quick=arguments.quick)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nas-repeatability-") as folder:
        export_models(Path(folder), load_runtime(target.runtime).model_format, target.batch)
        for number in range(arguments.sessions):
            with load_beside(number) if is_loaded(number) else no_load():
                command = [sys.executable, "-m", "experiments.repeatability", "--target", arguments.target]
                command += ["--session", folder, "--number", str(number), "--out", str(arguments.out)]
                command += ["--quick"] if arguments.quick else []
                subprocess.run(command, check=True)  # noqa: S603 it starts this script
    print(table(read_sessions(arguments.out), target))


def is_loaded(number: int) -> bool:
    """Return True for every other session if the machine has a core for the load."""
    return number % 2 == 1 and len(allowed_cores()) > 1


def export_models(folder: Path, model_format: str, batch: int) -> None:
    """Write thirty models with random weights, from timm and from the search spaces."""
    import timm
    import torch

    from nas.formats.export import export_model
    from nas.hardware.measuring import vary_constant_weights
    from nas.space.search_space import load_space, sample
    from nas.space.tracing import build_checked

    def write(name: str, module: torch.nn.Module, shape: tuple[int, int, int]) -> None:
        vary_constant_weights(module)
        export_model(module.eval(), image_inputs(shape), batch, folder / f"{name}.model", model_format)  # type: ignore[arg-type]

    torch.manual_seed(0)
    for name, size in TIMM:
        write(name, timm.create_model(name, pretrained=False, num_classes=10), (3, size, size))
    rng = np.random.default_rng(0)
    for name, shape, count in SPACES:
        space = load_space(name, {}, input_shape=shape, classes=10)
        for number in range(count):
            module = build_checked(space, sample(space, rng), image_signature(shape, 10))
            write(f"{name}-{shape[1]}-{number}", module, shape)


def run_session(folder: Path, target: Target, number: int, out: Path, *, is_quick: bool) -> None:
    """Measure all models both ways in this process, or interleaved alone, and write the results."""
    loaded = is_loaded(number)  # read before this process pins itself to a core
    models = sorted(folder.glob("*.model"))
    assert len(models) == MODELS, len(models)
    bench = DeviceBench(target, BenchSettings(), say=lambda text: print(text, file=sys.stderr))
    _ = bench.profile  # found here, so that no timing below includes it
    rng = np.random.default_rng(number)
    with tempfile.TemporaryDirectory(prefix="nas-session-") as scratch:
        deployed = [
            each
            for each in bench.deploy(list(map(ExportedModel, models)), [Path(scratch) / m.stem for m in models])
            if isinstance(each, Deployed)
        ]
        began = time.monotonic()
        outcomes = bench.measure(deployed, ["latency_ms"], rng)
        interleaved_s = time.monotonic() - began
        found = {m.stem: o["latency_ms"] for m, o in zip(models, outcomes, strict=True) if isinstance(o, dict)}
        one_by_one, others_s = ({}, {}) if is_quick else one_after_another(bench, models, deployed, found, target, rng)
    session = {
        "processor": processor_name(),
        "target": str(target),
        "loaded": loaded,
        "interleaved": {name: measurement.to_json() for name, measurement in found.items()},
        "one_by_one_ms": one_by_one,
        "seconds": {"interleaved": interleaved_s, **others_s},
    }
    path = out / f"session-{number}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(session).encode(), mtime=0))


def one_after_another(
    bench: DeviceBench,
    models: Sequence[Path],
    deployed: Sequence[Deployed],
    found: Mapping[str, Measurement],
    target: Target,
    rng: np.random.Generator,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the models' medians when measured one after another, and the seconds of this and of other ways."""
    began = time.monotonic()
    one_by_one = {m.stem: one_after_another_ms(d, target, found[m.stem]) for m, d in zip(models, deployed, strict=True)}
    one_by_one_s = time.monotonic() - began
    began = time.monotonic()
    bench.measure((list(deployed) * 2)[:TOGETHER], ["latency_ms"], rng)
    together_s = time.monotonic() - began
    millisecond = min(found, key=lambda name: abs(np.log(found[name].median)))
    began = time.monotonic()
    (single,) = bench.measure([deployed[list(found).index(millisecond)]], ["latency_ms"], rng)
    single_s = time.monotonic() - began
    assert isinstance(single, dict), single
    return one_by_one, {
        "one by one": one_by_one_s,
        f"{TOGETHER} models": together_s,
        f"one model of {found[millisecond].median:.2f} ms": single_s,
        "the same, without starting processes, opening and warming up": single["latency_ms"].conditions["sampling_s"],
    }


def one_after_another_ms(model: Deployed, target: Target, interleaved: Measurement) -> float:
    """Return the median of one session's samples in a row, after a warm-up: as many samples as the rounds had."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, fastest_cores(target.threads))
    timing, presence = Timing(load_runtime(target.runtime).open(model.path, target), target.threads), Presence()
    samples: list[float] = []
    wanted = sum(len(samples) for samples in interleaved.rounds)
    while len(samples) < wanted:
        samples += [sample.wall_ms for sample in timing.block(0.1, 1, presence)]
    return float(np.median(samples[:wanted]))


class no_load:  # noqa: N801 used like a function, in a with statement
    """A context in which nothing runs beside a session."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class load_beside(no_load):  # noqa: N801
    """A context in which ``experiments.loads`` runs on a core without measurements."""

    def __init__(self, seed: int) -> None:
        (core, *_) = [core for core in allowed_cores() if core not in fastest_cores(1)]
        self._command = [sys.executable, "-m", "experiments.loads", str(core), str(seed)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command)  # noqa: S603 it starts a script of this folder

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()


def read_sessions(folder: Path) -> list[Session]:
    """Read the sessions from their raw data in a folder."""
    sessions = []
    for path in sorted(folder.glob("session-*.json.gz")):
        data: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        interleaved = {name: Measurement.from_json(m) for name, m in data["interleaved"].items()}
        sessions.append(Session(data["loaded"], interleaved, data["one_by_one_ms"], data["seconds"]))
    return sessions


def table(sessions: Sequence[Session], target: Target) -> str:
    """Return the figures of the sessions as a Markdown table."""
    names = sorted(set.intersection(*(set(session.interleaved) for session in sessions)))
    ours = np.array([[session.interleaved[name].median for name in names] for session in sessions])
    raw = np.array([[session.interleaved[name].raw_median for name in names] for session in sessions])
    shared = np.array([[without_cache_ms(session.interleaved[name]) for name in names] for session in sessions])
    cv, shared_cv, raw_cv = (values.std(axis=0, ddof=1) / values.mean(axis=0) for values in (ours, shared, raw))
    means = ours.mean(axis=0)
    intervals = [[session.interleaved[name].interval for name in names] for session in sessions]
    held = [i.lower <= mean <= i.upper for row in intervals for i, mean in zip(row, means, strict=True)]
    half_widths = [session.interleaved[name].half_width for session in sessions for name in names]
    doubts = Counter(name for session in sessions for name in names if session.interleaved[name].flags)
    varying = sorted(zip(cv.tolist(), names, strict=True), reverse=True)[:SHOWN]
    loaded = sum(session.loaded for session in sessions)
    lines = [
        f"{len(names)} models of {means.min():.3g} to {means.max():.3g} ms, {len(sessions)} sessions, "
        f"{loaded} with a load on another core; {target} on {processor_name()}",
        "",
        "| what | figure |",
        "|---|---|",
        f"| variation between sessions, median model | {100 * np.median(cv):.2f} % |",
        f"| variation between sessions, 95th percentile of models | {100 * np.quantile(cv, 0.95):.2f} % |",
        f"| both without the larger reference model | {pair(shared_cv)} |",
        f"| both without correcting drift | {pair(raw_cv)} |",
        *compared(sessions, names, cv),
        f"| 95 % intervals that hold the mean of all sessions | {100 * np.mean(held):.1f} % of {len(held)} |",
        f"| half width of an interval, median | {100 * np.median(half_widths):.2f} % |",
        f"| order right where they differ by {DIFFERENT:.0%} | {np.mean(list(orders(ours, means))):.2%} |",
        f"| measurements with a doubt | {doubts.total()} of {len(half_widths)} |",
        f"| doubts by model | {', '.join(f'{name} {count}' for name, count in doubts.most_common(SHOWN)) or 'none'} |",
        f"| models that vary most | {', '.join(f'{name} {100 * share:.1f} %' for share, name in varying)} |",
    ]
    for name in sessions[0].seconds:
        key = name.split(" of ")[0]
        seconds = [value for session in sessions for n, value in session.seconds.items() if n.split(" of ")[0] == key]
        lines.append(f"| seconds: {name} | {np.median(seconds):.1f} (most {max(seconds):.1f}) |")
    return "\n".join(lines)


def pair(cv_N: np.ndarray) -> str:
    """Return the median of the models' variations and their 95th percentile."""
    return f"{100 * np.median(cv_N):.2f} %, {100 * np.quantile(cv_N, 0.95):.2f} %"


def compared(sessions: Sequence[Session], names: Sequence[str], cv_N: np.ndarray) -> list[str]:
    """Return lines that compare variations with those of measuring one after another, if that was done."""
    if not all(session.one_by_one_ms for session in sessions):
        return []
    theirs = np.array([[session.one_by_one_ms[name] for name in names] for session in sessions])
    their_cv_N = theirs.std(axis=0, ddof=1) / theirs.mean(axis=0)
    return [
        f"| both one after another | {pair(their_cv_N)} |",
        f"| variance against one after another, mean of models | {np.mean(cv_N**2) / np.mean(their_cv_N**2):.2f} |",
        f"| variance against one after another, median model | {np.median(cv_N**2) / np.median(their_cv_N**2):.2f} |",
    ]


def without_cache_ms(found: Measurement) -> float:
    """Return the median as it would be if only the small reference model corrected it."""
    drift, response = (float(found.conditions.get(name, usual)) for name, usual in CACHE_CONDITIONS)
    return found.median * math.pow(drift, response)


def orders(medians_SN: np.ndarray, means_N: np.ndarray) -> Iterator[bool]:
    """Yield for each session and pair of models that differ by ``DIFFERENT`` if the session has their order right."""
    for one, other in combinations(range(len(means_N)), 2):
        slow, fast = (one, other) if means_N[one] > means_N[other] else (other, one)
        if means_N[slow] / means_N[fast] - 1 >= DIFFERENT:
            yield from (medians_SN[:, slow] > medians_SN[:, fast]).tolist()


if __name__ == "__main__":
    main()
