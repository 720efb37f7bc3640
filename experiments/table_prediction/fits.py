"""Fits every predictor on every target, number of samples and seed."""

from __future__ import annotations

import functools
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from experiments.table_prediction.figures import BrokenLimit, Quality, judge, rows_to_score
from experiments.table_prediction.study import IntArray, PredictorSettings, PredictorStudy, TargetTask, study_of
from nas.prediction.predictor import Batch, Prediction, Predictor, batch_of

SPEED_S = 0.2
"""Predictions are repeated for at least this long to find their speed."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """One predictor: its figures and its predictions; ``sampled`` and ``queried`` are indexes of rows."""

    target: str
    samples: int
    seed: int
    method: str
    quality: Quality
    limits: tuple[BrokenLimit, ...]
    scored: int
    sampled: IntArray
    queried: IntArray
    prediction: Prediction

    def to_json(self) -> dict[str, Any]:
        """Return plain data without the predictions; an undefined figure is None."""
        figures = {name: None if math.isnan(value) else value for name, value in asdict(self.quality).items()}
        return {
            "target": self.target,
            "samples": self.samples,
            "seed": self.seed,
            "method": self.method,
            "queried": len(self.queried),
            "scored": self.scored,
            **figures,
            "limits": [asdict(limit) for limit in self.limits],
        }


def compare(settings: PredictorSettings, target: str) -> list[Outcome]:
    """Fit and judge all predictors of one target."""
    study = study_of(settings)
    task = study.task(target)
    return [
        outcome
        for count in settings.samples
        for seed in range(settings.seeds)
        for outcome in _fit_all(study, task, count, seed)
    ]


def _fit_all(study: PredictorStudy, task: TargetTask, count: int, seed: int) -> list[Outcome]:
    sampled = study.draw(task, count, seed)
    queried = task.rows_to_predict(sampled)
    architectures = study.table.architectures
    batch = batch_of(study.describer, [architectures[row] for row in queried], task.given)
    outcomes = []
    for name, fit in study.methods.items():
        began = time.perf_counter()
        predictor = fit(
            study.describer,
            [architectures[row] for row in sampled],
            study.measured(task, sampled, seed),
            target=task.target,
            sources=task.sources,
            given=task.given,
            seed=seed,
        )
        fit_s = time.perf_counter() - began
        prediction, per_s = _predict(predictor, batch)
        scored = rows_to_score(task.values[queried], study.settings.trim)
        quality, limits = judge(task.values[queried], prediction, scored, fit_s, per_s)
        outcomes.append(
            Outcome(task.target, count, seed, name, quality, limits, len(scored), sampled, queried, prediction)
        )
    texts = ", ".join(f"{outcome.method} {outcome.quality.spearman:.3f}" for outcome in outcomes)
    print(f"{task.target}, {count} samples, seed {seed}, Spearman: {texts}", file=sys.stderr, flush=True)
    return outcomes


def _predict(predictor: Predictor, batch: Batch) -> tuple[Prediction, float]:
    """Return the predictions and their number per second, repeated for at least ``SPEED_S``."""
    began = time.perf_counter()
    prediction = predictor.predict_described(batch)
    times = 1
    while time.perf_counter() - began < SPEED_S:
        predictor.predict_described(batch)
        times += 1
    return prediction, times * len(batch) / (time.perf_counter() - began)


def compare_all(settings: PredictorSettings, jobs: int) -> Iterator[list[Outcome]]:
    """Yield the outcomes of each target in the order of ``settings.targets``, from ``jobs`` processes."""
    if jobs == 1:
        yield from (compare(settings, target) for target in settings.targets)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(functools.partial(compare, settings), settings.targets)
