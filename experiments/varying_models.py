"""``python -m experiments.varying_models`` finds which models' latencies vary from time to time, and why.

    python -m experiments.varying_models [--repeats 5] [--target onnxruntime-cpu] [--json OUT.json]

The thirty models of ``experiments.repeatability`` are measured, and stacks of linear layers with 0.25 to 64 MB of
weights. Each repeat measures all of them in three fresh processes in random order: with the other cores idle, with
arithmetic on another core that stays in its cache, and with another core that reads and writes memory. Each process
reads every model twice. All readings are corrected for drift, as in a search. So four causes come apart:

- the spread of two readings in one process: sampling, and the sessions' own memory;
- the spread between processes: where code and memory lie, and what changes within minutes;
- arithmetic elsewhere: the clock that cores share;
- memory traffic elsewhere: the cache and the memory that cores share.

It takes five minutes on two cores, and needs Linux and a core for the load.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from experiments.command_line import heading, line, parser_of, positive
from experiments.repeatability import export_models
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import allowed_cores, cache_bytes, fastest_cores, processor_name
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, load_runtime
from nas.space.signature import image_inputs
from nas.storage.journal import write_aside
from nas.values.metric import METRICS
from nas.values.target import Target

LOADS = ("none", "arithmetic", "memory")
STREAMS_MB = (0.25, 1, 2, 4, 8, 16, 32, 64)
READINGS = 2
SECONDS = 0.06


@dataclass(frozen=True)
class Reading:
    """One reading of one model, corrected for drift. ``pressure`` is the share of waiting for a processor."""

    model: str
    load: str
    repeat: int
    reading: int
    latency_ms: float
    drift: float
    pressure: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the models, read them under each load, and print the table."""
    parser = parser_of("varying_models", __doc__)
    parser.add_argument("--repeats", type=positive, default=5, help="number of times that all loads take turns")
    parser.add_argument("--target", default="onnxruntime-cpu", help="where the models run")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file for all readings")
    options = parser.parse_args(arguments)
    target = Target.parse(options.target)
    if len(allowed_cores()) <= target.threads:
        raise SystemExit("a load needs a core beside those that measure, but this process may use no other.")
    bench = DeviceBench(target, BenchSettings(), say=lambda text: print(text, file=sys.stderr))
    with tempfile.TemporaryDirectory(prefix="nas-varying-") as folder:
        models = deployed_models(bench, Path(folder), target)
        readings = list(read(bench, models, target, options.repeats))
    sizes = {name: model.weight_bytes for name, model in models.items()}
    print("\n".join(summary(readings, sizes)))
    if options.json is not None:
        found = {"processor": processor_name(), "caches": cache_bytes(), "weight_bytes": sizes}
        write_aside(options.json, json.dumps({**found, "readings": [asdict(each) for each in readings]}).encode())
    return 0


def deployed_models(bench: DeviceBench, folder: Path, target: Target) -> dict[str, Deployed]:
    """Return all models in the runtime's form, by name."""
    model_format = load_runtime(target.runtime).model_format
    export_models(folder, model_format, target.batch)
    export_streams(folder, model_format, target.batch)
    paths = sorted(folder.glob("*.model"))
    deployed = bench.deploy(list(map(ExportedModel, paths)), [folder / "deployed" / path.stem for path in paths])
    return {path.stem: each for path, each in zip(paths, deployed, strict=True) if isinstance(each, Deployed)}


def export_streams(folder: Path, model_format: str, batch: int) -> None:
    """Write stacks of linear layers, which read each weight once: their time is that of fetching the weights."""
    import torch

    from nas.formats.export import export_model

    torch.manual_seed(0)
    for size in STREAMS_MB:
        width = 256 if size < 4 else 1024
        layers = [torch.nn.Linear(width, width, bias=False) for _ in range(round(size * 1e6 / 4 / width**2) or 1)]
        module = torch.nn.Sequential(torch.nn.Flatten(), *layers).eval()
        export_model(
            module,
            image_inputs((1, 16, width // 16)),
            batch,
            folder / f"linear layers, {size:g} MB.model",
            model_format,  # type: ignore[arg-type]
        )


def read(bench: DeviceBench, models: Mapping[str, Deployed], target: Target, repeats: int) -> Iterator[Reading]:
    """Yield the readings of all models: ``repeats`` times each load in random order, in a fresh process each time."""
    profile, rng, names = bench.profile, np.random.default_rng(0), list(models)
    for repeat in range(repeats):
        for load in rng.permutation(LOADS).tolist():
            with loaded(load, repeat), MeasuringProcess(target, 60.0) as process:
                for number in range(READINGS):
                    for index in rng.permutation(len(names)).tolist():
                        reply = process.ask(
                            "time",
                            model=str(models[names[index]].path),
                            reference=str(profile.reference),
                            seconds=SECONDS,
                            min_samples=8,
                            describe=False,
                        )
                        drift = float(np.median(reply["reference_ms"])) / profile.reference_ms
                        latency_ms = float(np.median(reply["samples"])) / drift
                        yield Reading(names[index], load, repeat, number, latency_ms, drift, reply["pressure"])


@contextmanager
def loaded(load: str, seed: int) -> Iterator[None]:
    """Keep a core that does not measure busy with ``load``."""
    if load == "none":
        yield
        return
    core = next(core for core in allowed_cores() if core not in fastest_cores(1))
    process = subprocess.Popen([sys.executable, "-m", "experiments.loads", str(core), str(seed), load])  # noqa: S603
    try:
        yield
    finally:
        process.kill()
        process.wait()


def summary(readings: Sequence[Reading], weight_bytes: Mapping[str, int]) -> list[str]:
    """Return a Markdown table with a line for each model, the most varying one between idle processes first."""
    lines = []
    for name in dict.fromkeys(each.model for each in readings):
        logs = {load: _logs(readings, name, load) for load in LOADS}
        idle_RN = logs["none"]
        within = np.sqrt(((idle_RN[:, 0] - idle_RN[:, 1]) ** 2).mean() / 2)
        between = idle_RN.mean(axis=1).std(ddof=1) if len(idle_RN) > 1 else 0.0
        slower = [np.exp(np.median(logs[load].mean(axis=1) - idle_RN.mean(axis=1))) - 1 for load in LOADS[1:]]
        latency = METRICS["latency_ms"].format(float(np.exp(np.median(idle_RN))))
        figures = [f"{100 * share:.1f} %" for share in (within, between, *slower)]
        lines.append((-between, line([name, size_text(weight_bytes[name]), latency, *figures])))
    caches = ", ".join(f"{level} {size_text(size)}" for level, size in cache_bytes().items())
    drifts = {load: np.median([each.drift for each in readings if each.load == load]) for load in LOADS}
    titles = ["model", "weights", "latency", "within a process", "between processes"]
    return [
        f"{processor_name()}; caches {caches or 'unknown'}; reference slower by "
        + ", ".join(f"{100 * (drift - 1):.1f} % ({load})" for load, drift in drifts.items()),
        "",
        *heading([*titles, "arithmetic beside", "memory traffic beside"]),
        *(text for _, text in sorted(lines)),
    ]


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    return METRICS["weight_bytes"].format(size)


def _logs(readings: Sequence[Reading], model: str, load: str) -> np.ndarray:
    """Return the logarithms of the latencies under a load, shape (repeats, readings)."""
    chosen = [each for each in readings if each.model == model and each.load == load]
    by_place = {(each.repeat, each.reading): each.latency_ms for each in chosen}
    repeats = sorted({repeat for repeat, _ in by_place})
    return np.log([[by_place[repeat, number] for number in range(READINGS)] for repeat in repeats])


if __name__ == "__main__":
    sys.exit(main())
