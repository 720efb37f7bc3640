"""The methods that a practitioner would use without this project: two searches and a hand-made family, by Ray Tune.

Each candidate is trained to its end. The trial itself times the latency while the other workers train, as the examples
of Ray Tune and Optuna do. Trials that are running when the time is over are finished.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nas.formats.export import export_onnx
from nas.formats.onnx_session import load_onnxruntime
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from nas.recipe.recipe import Recipe
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import SearchSpace, settle
from nas.space.tracing import build_checked
from nas.tasks.data_source import DataSource
from nas.training.settings import training_seed, training_settings
from nas.training.training import CandidateTraining

TIMED_RUNS, WARM_UP_RUNS = 100, 20
POPULATION = 20
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Levels of width and depth in the hand-made family, from the smallest options, 0, to the largest, 1."""


@dataclass(frozen=True)
class TrainedCandidate:
    """A trained candidate: its validation error, and its latency as the trial timed it."""

    architecture: Architecture
    error: float
    latency_ms: float


def search_by_nsga2(
    recipe: Recipe, space: SearchSpace, source: DataSource, workers: int, time_s: float
) -> list[TrainedCandidate]:
    """Search by Ray Tune with Optuna's NSGA-II on the trained error and the timed latency."""
    sampler = optuna.samplers.NSGAIISampler(seed=recipe.seed, population_size=POPULATION)
    return _search(recipe, space, source, workers, _optuna(space, sampler, time_s))


def search_at_random(
    recipe: Recipe, space: SearchSpace, source: DataSource, workers: int, time_s: float
) -> list[TrainedCandidate]:
    """Search by Ray Tune with random candidates."""
    return _search(recipe, space, source, workers, _optuna(space, optuna.samplers.RandomSampler(recipe.seed), time_s))


def scale_by_hand(
    recipe: Recipe, space: SearchSpace, source: DataSource, workers: int, time_s: float
) -> list[TrainedCandidate]:
    """Train each member of ``scaled_family`` once, as far as the time allows."""
    return _search(recipe, space, source, workers, _listed(scaled_family(space), time_s))


RIVALS: dict[str, Callable[[Recipe, SearchSpace, DataSource, int, float], list[TrainedCandidate]]] = {
    "nsga2": search_by_nsga2,
    "random": search_at_random,
    "scaled": scale_by_hand,
}


def scaled_family(space: SearchSpace) -> list[Architecture]:
    """Return members of the ``mobilenet`` space, scaled by one width and one depth multiplier.

    Multipliers are rounded to the nearest options. Everything else is as in MobileNetV2 (Sandler et al., 2018):
    depthwise 3 × 3 convolutions, one expansion, no squeeze-and-excite. The order is random but fixed, so that a short
    time still covers the whole family.
    """

    def member(width: float, depth: float) -> Architecture:
        def option(choice: Choice) -> Option:
            options, kind = choice.options, choice.name.rpartition(".")[2]
            level = {"width": width, "depth": depth, "stride": 0.0, "kernel": 0.0, "expansion": 0.5}.get(kind)
            if level is not None:
                return options[round(level * (len(options) - 1))]
            fixed: dict[str, Option] = {"block": "mbconv", "squeeze_excite": False}
            return fixed[kind]

        return settle(space, option)

    family = list(dict.fromkeys(member(width, depth) for width in LEVELS for depth in LEVELS))
    order = np.random.default_rng(0).permutation(len(family))
    return [family[index] for index in order]


def _search(
    recipe: Recipe, space: SearchSpace, source: DataSource, workers: int, searcher: Any
) -> list[TrainedCandidate]:
    from ray import tune  # imported here, after the executor has set Ray's environment variables

    threads = recipe.execution.threads_per_worker
    with RayExecutor(workers, Resources(cpus=threads)), tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_evaluate, recipe=recipe, space=space, source=source), {"cpu": threads}
            ),
            tune_config=tune.TuneConfig(
                search_alg=searcher, num_samples=-1, max_concurrent_trials=workers, reuse_actors=True
            ),
            run_config=tune.RunConfig(name="rival", storage_path=storage, verbose=0),
        )
        results = tuner.fit()
    found: dict[Architecture, TrainedCandidate] = {}
    for result in (results[number] for number in range(len(results))):
        if result.metrics and "latency_ms" in result.metrics:
            architecture = _architecture(space, result.metrics["config"])
            found[architecture] = TrainedCandidate(architecture, result.metrics["error"], result.metrics["latency_ms"])
    return list(found.values())


def _evaluate(config: dict[str, Any], *, recipe: Recipe, space: SearchSpace, source: DataSource) -> None:
    """Run one trial: train to the end, export, and time the model."""
    from ray import tune

    architecture = _architecture(space, config)
    training = recipe.training
    settings = training_settings(recipe, training.epochs, training.subset, training.time_limit_s)
    job = {"architecture": dict(architecture), "seed": training_seed(recipe, architecture)}
    *_, last = CandidateTraining(space, source, settings)(job)
    tune.report({"error": last["error"], "latency_ms": _timed_ms(recipe, space, source, architecture)})


def _architecture(space: SearchSpace, config: dict[str, Any]) -> Architecture:
    return settle(space, lambda choice: config[choice.name])


def _timed_ms(recipe: Recipe, space: SearchSpace, source: DataSource, architecture: Architecture) -> float:
    """Return the median of ``TIMED_RUNS`` runs in ONNX Runtime, by the clock of the trial, in milliseconds."""
    data = source.load()
    module = build_checked(space, architecture, data.signature)
    batch = recipe.parsed_target.batch
    runtime = load_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(module, data.signature.inputs, batch, path)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = recipe.parsed_target.threads
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    images = {session.get_inputs()[0].name: np.zeros((batch, *data.signature.input_shape), dtype=np.float32)}
    times_s = []
    for _ in range(WARM_UP_RUNS + TIMED_RUNS):
        began_s = time.perf_counter()
        session.run(None, images)
        times_s.append(time.perf_counter() - began_s)
    return 1000 * float(np.median(times_s[WARM_UP_RUNS:]))


def _optuna(space: SearchSpace, sampler: optuna.samplers.BaseSampler, time_s: float) -> Any:
    from experiments.end_to_end.rival_searchers import TimedOptuna

    return TimedOptuna(space, sampler, time_s)


def _listed(architectures: Sequence[Architecture], time_s: float) -> Any:
    from experiments.end_to_end.rival_searchers import Listed

    return Listed(architectures, time_s)
