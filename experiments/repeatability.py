"""How well latencies repeat: thirty models, five sessions in fresh processes, some with a load on another core.

    python -m experiments.repeatability [--out experiments/results/repeatability] [--target onnxruntime-cpu]

Prints the table that the README quotes. In ``--out`` stand the raw data: for each session what was measured of each
model, with all samples. Each session measures all models twice: interleaved in rounds and corrected for drift, as a
search does, and one after another, each in one session of its own with as many samples, as is customary.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import allowed_cores, fastest_cores, processor_name
from nas.hardware.runtimes.runtime import Deployed, load_runtime
from nas.hardware.runtimes.worker import Timing
from nas.values.measurement import Measurement
from nas.values.target import Target

MODELS, SESSIONS, TOGETHER = 30, 5, 40
DIFFERENT = 0.03
"""Models whose latencies differ by this share or more must come out in the right order."""

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
    """Medians, intervals and seconds of one session, by model."""

    loaded: bool
    interleaved: dict[str, Measurement]
    one_by_one_ms: dict[str, float]
    seconds: dict[str, float]


def main() -> None:
    """Export, run the sessions, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/repeatability"))
    parser.add_argument("--target", default="onnxruntime-cpu")
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--session", type=Path, help=argparse.SUPPRESS)  # the models' folder: this is one session
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    target = Target.parse(arguments.target)
    if arguments.session is not None:
        run_session(arguments.session, target, arguments.number, arguments.out)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nas-repeatability-") as folder:
        export_models(Path(folder), load_runtime(target.runtime).model_format, target.batch)
        for number in range(arguments.sessions):
            with load_beside(number) if is_loaded(number) else no_load():
                command = [sys.executable, "-m", "experiments.repeatability", "--target", arguments.target]
                command += ["--session", folder, "--number", str(number), "--out", str(arguments.out)]
                subprocess.run(command, check=True)  # noqa: S603 this very file
    print(table(read_sessions(arguments.out), target))


def is_loaded(number: int) -> bool:
    """Every other session has a load beside it, where there is a core for it."""
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
        export_model(module.eval(), shape, batch, folder / f"{name}.model", model_format)  # type: ignore[arg-type]

    torch.manual_seed(0)
    for name, size in TIMM:
        write(name, timm.create_model(name, pretrained=False, num_classes=10), (3, size, size))
    rng = np.random.default_rng(0)
    for name, shape, count in SPACES:
        space = load_space(name, {}, input_shape=shape, classes=10)
        for number in range(count):
            module = build_checked(space, sample(space, rng), shape, 10)
            write(f"{name}-{shape[1]}-{number}", module, shape)


def run_session(folder: Path, target: Target, number: int, out: Path) -> None:
    """Measure all models both ways in this process, and write what was found."""
    loaded = is_loaded(number)  # asked before this process pins itself to a core
    models = sorted(folder.glob("*.model"))
    assert len(models) == MODELS, len(models)
    bench = DeviceBench(target, BenchSettings(), say=lambda text: print(text, file=sys.stderr))
    _ = bench.profile  # found before any clock runs
    rng = np.random.default_rng(number)
    with tempfile.TemporaryDirectory(prefix="nas-session-") as scratch:
        deployed = [
            d for d in bench.deploy(models, [Path(scratch) / m.stem for m in models]) if isinstance(d, Deployed)
        ]
        began = time.monotonic()
        outcomes = bench.measure(deployed, ["latency_ms"], rng)
        interleaved_s = time.monotonic() - began
        found = {m.stem: o["latency_ms"] for m, o in zip(models, outcomes, strict=True) if isinstance(o, dict)}
        began = time.monotonic()
        one_by_one = {
            m.stem: one_after_another_ms(d, target, found[m.stem]) for m, d in zip(models, deployed, strict=True)
        }
        one_by_one_s = time.monotonic() - began
        began = time.monotonic()
        bench.measure((deployed * 2)[:TOGETHER], ["latency_ms"], rng)
        together_s = time.monotonic() - began
        millisecond = min(found, key=lambda name: abs(np.log(found[name].median)))
        began = time.monotonic()
        (single,) = bench.measure([deployed[list(found).index(millisecond)]], ["latency_ms"], rng)
        single_s = time.monotonic() - began
        assert isinstance(single, dict), single
        sampling_s = single["latency_ms"].conditions["sampling_s"]
    session = {
        "processor": processor_name(),
        "target": str(target),
        "loaded": loaded,
        "interleaved": {name: measurement.to_json() for name, measurement in found.items()},
        "one_by_one_ms": one_by_one,
        "seconds": {
            "interleaved": interleaved_s,
            "one by one": one_by_one_s,
            f"{TOGETHER} models": together_s,
            f"one model of {found[millisecond].median:.2f} ms": single_s,
            "the same, without starting processes, opening and warming up": sampling_s,
        },
    }
    path = out / f"session-{number}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(session).encode(), mtime=0))


def one_after_another_ms(model: Deployed, target: Target, interleaved: Measurement) -> float:
    """The customary way: one session, a warm-up, and as many samples in a row as the rounds had; their median."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, fastest_cores(target.threads))
    timing = Timing(load_runtime(target.runtime).open(model.path, target))
    samples: list[float] = []
    wanted = sum(len(samples) for samples in interleaved.rounds)
    while len(samples) < wanted:
        samples += timing.block_ms(0.1, 1)
    return float(np.median(samples[:wanted]))


class no_load:  # noqa: N801 used as a context, beside load_beside
    """Nothing runs beside a session."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class load_beside(no_load):  # noqa: N801
    """``experiments.loads`` runs on a core that nothing is measured on."""

    def __init__(self, seed: int) -> None:
        (core, *_) = [core for core in allowed_cores() if core not in fastest_cores(1)]
        self._command = [sys.executable, "-m", "experiments.loads", str(core), str(seed)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command)  # noqa: S603 a file of this folder

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()


def read_sessions(folder: Path) -> list[Session]:
    """The sessions whose raw data lie in a folder."""
    sessions = []
    for path in sorted(folder.glob("session-*.json.gz")):
        data: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        interleaved = {name: Measurement.from_json(m) for name, m in data["interleaved"].items()}
        sessions.append(Session(data["loaded"], interleaved, data["one_by_one_ms"], data["seconds"]))
    return sessions


def table(sessions: Sequence[Session], target: Target) -> str:
    """The figures that the README quotes, as a Markdown table."""
    names = sorted(set.intersection(*(set(session.interleaved) for session in sessions)))
    ours = np.array([[session.interleaved[name].median for name in names] for session in sessions])
    raw = np.array([[session.interleaved[name].raw_median for name in names] for session in sessions])
    theirs = np.array([[session.one_by_one_ms[name] for name in names] for session in sessions])
    cv, raw_cv, their_cv = (values.std(axis=0, ddof=1) / values.mean(axis=0) for values in (ours, raw, theirs))
    means = ours.mean(axis=0)
    intervals = [[session.interleaved[name].interval for name in names] for session in sessions]
    held = [i.lower <= mean <= i.upper for row in intervals for i, mean in zip(row, means, strict=True)]
    half_widths = [session.interleaved[name].half_width for session in sessions for name in names]
    flagged = sum(bool(session.interleaved[name].flags) for session in sessions for name in names)
    loaded = sum(session.loaded for session in sessions)
    lines = [
        f"{len(names)} models of {means.min():.3g} to {means.max():.3g} ms, {len(sessions)} sessions, "
        f"{loaded} with a load on another core; {target} on {processor_name()}",
        "",
        "| what | figure |",
        "|---|---|",
        f"| variation between sessions, median model | {100 * np.median(cv):.2f} % |",
        f"| variation between sessions, 95th percentile of models | {100 * np.quantile(cv, 0.95):.2f} % |",
        f"| both without correcting drift | {100 * np.median(raw_cv):.2f} %, {100 * np.quantile(raw_cv, 0.95):.2f} % |",
        f"| both one after another | {100 * np.median(their_cv):.2f} %, {100 * np.quantile(their_cv, 0.95):.2f} % |",
        f"| variance against one after another, mean of models | {np.mean(cv**2) / np.mean(their_cv**2):.2f} |",
        f"| variance against one after another, median model | {np.median(cv**2) / np.median(their_cv**2):.2f} |",
        f"| 95 % intervals that hold the mean of all sessions | {100 * np.mean(held):.1f} % of {len(held)} |",
        f"| half width of an interval, median | {100 * np.median(half_widths):.2f} % |",
        f"| order right where they differ by {DIFFERENT:.0%} | {np.mean(list(orders(ours, means))):.2%} |",
        f"| measurements with a doubt | {flagged} of {len(half_widths)} |",
    ]
    for name in sessions[0].seconds:
        key = name.split(" of ")[0]
        seconds = [value for session in sessions for n, value in session.seconds.items() if n.split(" of ")[0] == key]
        lines.append(f"| seconds: {name} | {np.median(seconds):.1f} (most {max(seconds):.1f}) |")
    return "\n".join(lines)


def orders(medians_SN: np.ndarray, means_N: np.ndarray) -> Iterator[bool]:
    """For each session and pair of models that differ by ``DIFFERENT``, whether the session has their order right."""
    for one, other in combinations(range(len(means_N)), 2):
        slow, fast = (one, other) if means_N[one] > means_N[other] else (other, one)
        if means_N[slow] / means_N[fast] - 1 >= DIFFERENT:
            yield from (medians_SN[:, slow] > medians_SN[:, fast]).tolist()


if __name__ == "__main__":
    main()
