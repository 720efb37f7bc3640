"""Retrains, exports, measures and tests the winners of all methods in the same way."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load

from experiments.end_to_end.searching import Chosen
from experiments.end_to_end.seed_folder import SeedFolder
from nas.errors import CandidateError
from nas.formats.export import export_onnx
from nas.formats.onnx_session import outputs_of
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.jobs.execution import Job, Report
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from nas.space.architecture import Architecture
from nas.space.search_space import architecture_from
from nas.space.tracing import build_checked
from nas.storage.journal import write_aside
from nas.tasks.batches import items_at
from nas.training.settings import training_seed, training_settings
from nas.training.training import CandidateTraining


@dataclass(frozen=True)
class MeasuredWinner:
    """A retrained winner: its test error, and its median latency with the interval."""

    method: str
    architecture: dict[str, Any]
    test_error: float
    latency_ms: float
    lower_ms: float
    upper_ms: float


def retrain(setting: SeedFolder, architectures: Sequence[Architecture]) -> None:
    """Retrain and export architectures without a model, as winners are retrained; keep the reason of a failure."""
    missing = [a for a in architectures if not setting.model(a).exists() and not setting.failure(a).exists()]
    if not missing:
        return
    retraining = setting.recipe.retraining
    settings = training_settings(
        setting.recipe, retraining.epochs, 1.0, retraining.time_limit_s, keep_weights=True, use_validation=True
    )
    task = CandidateTraining(setting.space, setting.source, settings)
    with RayExecutor(setting.workers, Resources(setting.recipe.execution.threads_per_worker)) as executor:
        executor.run(task, _Exporting(setting, missing), time_limit_s=retraining.time_limit_s)


class _Exporting:
    """The source of the retrainings; it exports each network when its retraining ends."""

    def __init__(self, setting: SeedFolder, waiting: list[Architecture]) -> None:
        self._setting = setting
        self._waiting = waiting

    def next_job(self) -> Job | None:
        """Return the job of the next architecture, or None after the last one."""
        if not self._waiting:
            return None
        architecture = self._waiting.pop(0)
        seed = training_seed(self._setting.recipe, architecture)
        return {"id": architecture.id, "architecture": dict(architecture), "seed": seed}

    def on_report(self, job: Job, report: Report) -> bool:
        """Let every retraining continue."""
        return True

    def on_restart(self, job: Job) -> None:
        """Do nothing, because nothing of a retraining is kept before its end."""

    def on_end(self, job: Job, report: Report) -> None:
        """Export the retrained network."""
        setting, architecture = self._setting, Architecture(job["architecture"])
        module = build_checked(setting.space, architecture, setting.data.signature)
        module.load_state_dict(load(report["weights"]))
        path = _made(setting.model(architecture))
        export_onnx(module, setting.data.signature.inputs, setting.recipe.parsed_target.batch, path)

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """Write the reason to a file, unless the worker itself failed.

        Raises:
            CandidateError: the worker process failed, which is no fault of the network.
        """
        if failure.kind == "worker":
            raise failure
        path = self._setting.failure(Architecture(job["architecture"]))
        write_aside(_made(path), failure.reason.encode())
        print(f"{job['id']} failed to retrain: {failure.reason}", file=sys.stderr)


def measure(setting: SeedFolder, choices: Sequence[Chosen]) -> list[MeasuredWinner]:
    """Retrain, measure together and test the winners of these methods, unless a file already holds the results.

    A winner that fails to retrain is left out.
    """
    path = setting.folder / f"measured-{'-'.join(choice.method for choice in choices)}.json"
    if path.exists():
        return [MeasuredWinner(**each) for each in json.loads(path.read_text())]
    of_method = {
        choice.method: [architecture_from(setting.space, values) for values in choice.winners] for choice in choices
    }
    architectures = list(dict.fromkeys(a for winners in of_method.values() for a in winners))
    retrain(setting, architectures)
    architectures = [a for a in architectures if setting.model(a).exists()]
    bench = DeviceBench(setting.recipe.parsed_target, BenchSettings(**setting.recipe.measuring.bench_settings))
    rng = np.random.default_rng(setting.recipe.seed)

    def items() -> Sequence[np.ndarray[Any, Any]]:
        return setting.data.prepared(setting.data.sample(256).raw)

    models = [ExportedModel(setting.model(architecture), items) for architecture in architectures]
    shutil.rmtree(setting.folder / "deployed", ignore_errors=True)  # from a start that was interrupted
    deployed = bench.deploy(models, [setting.folder / "deployed" / a.id for a in architectures])
    fit: list[Deployed] = []
    for each in deployed:
        if isinstance(each, CandidateError):
            raise each
        fit.append(each)
    outcomes = bench.measure(fit, ["latency_ms"], rng)
    test = items_at(setting.data.test, slice(None))
    inputs, labels = setting.data.prepared(test.raw), test.targets.numpy()
    found: dict[Architecture, dict[str, float]] = {}
    for architecture, outcome in zip(architectures, outcomes, strict=True):
        if isinstance(outcome, CandidateError):
            raise outcome
        latency = outcome["latency_ms"]
        wrong = outputs_of(setting.model(architecture), inputs).argmax(axis=1) != labels
        found[architecture] = {
            "test_error": float(wrong.mean()),
            "latency_ms": latency.median,
            "lower_ms": latency.interval.lower,
            "upper_ms": latency.interval.upper,
        }
    measured = [
        MeasuredWinner(method, dict(a), **found[a])
        for method, chosen in of_method.items()
        for a in chosen
        if a in found
    ]
    write_aside(path, json.dumps([asdict(each) for each in measured], indent=1).encode())
    return measured


def _made(path: Path) -> Path:
    """Create the folder of a path and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
