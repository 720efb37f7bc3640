"""The simple models of a data set: fitted, chosen by validation, measured by the product, and kept in a folder."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import nas
from experiments.beside_winners import TESTED_TOGETHER, measured_in_turns
from experiments.desk.data_sets import DataSet
from nas.formats.onnx_session import outputs_of
from nas.hardware.latency_rounds import BenchSettings
from nas.tasks.batches import in_order
from nas.values.pareto import FloatArray

TIMED_RUNS = 30
OF_TEXT = "next-token"
SHARE_OF_LATENCY = 0.5
"""The limit of limited cells, relative to the latency of the best simple model."""
_KEPT = "simple.json"


@dataclass(frozen=True)
class Fitted:
    """A simple model: its validation error, its error on each test item (N,), and how it runs.

    ``model`` is an ONNX file that computes the same from the same inputs, if there is one. ``pipeline_ms`` is the time
    of one prediction of the pipeline in Python in one thread, if that is timed.
    """

    name: str
    validation: float
    errors: FloatArray
    model: Path | None = None
    pipeline_ms: float | None = None


@dataclass(frozen=True)
class Simple:
    """A fitted model with its latency in ms, on the product's target if it has an ONNX file."""

    name: str
    validation: float
    error: float
    latency_ms: float
    pipeline_ms: float | None
    model: Path | None
    errors: Path
    """The file of the error on each test item."""


@dataclass(frozen=True)
class SimpleModels:
    """All simple models of a data set, and the seconds that they took."""

    models: tuple[Simple, ...]
    seconds: float

    def best(self, limit_ms: float = math.inf) -> Simple | None:
        """Return the one with the lowest validation error within a limit, and the fastest of several."""
        within = [each for each in self.models if each.latency_ms <= limit_ms]
        return min(within, key=lambda each: (each.validation, each.latency_ms), default=None)

    @property
    def limit_ms(self) -> float:
        """The limit of limited cells."""
        best = self.best()
        assert best is not None
        return float(f"{SHARE_OF_LATENCY * best.latency_ms:.4g}")


Fit = Callable[[nas.Task, int, Path], list[Fitted]]
"""Fits the simple models of a task by a seed. Files may be written to the folder."""


def simple_models(data: DataSet, seed: int, fit: Fit, folder: Path) -> SimpleModels:
    """Return the simple models of a data set, which are fitted and measured unless they are kept in ``folder``."""
    if not (folder / _KEPT).exists():
        shutil.rmtree(folder, ignore_errors=True)  # the rest of a start that was killed
        folder.mkdir(parents=True)
        _make(data, seed, fit, folder)
    kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
    models = [
        Simple(**{**each, "model": each["model"] and folder / each["model"], "errors": folder / each["errors"]})
        for each in kept["models"]
    ]
    return SimpleModels(tuple(models), kept["seconds"])


def _make(data: DataSet, seed: int, fit: Fit, folder: Path) -> None:
    began = time.monotonic()
    fitted = fit(data.load(), seed, folder)
    models = [each.model for each in fitted if each.model is not None]
    recipe = nas.Recipe.from_mapping({"seed": seed})
    found = measured_in_turns(models, recipe, BenchSettings(), folder / "measured") if models else []
    latencies = dict(zip(models, (each.median for each in found), strict=True))
    rows = []
    for number, each in enumerate(fitted):
        latency_ms = each.pipeline_ms if each.model is None else latencies[each.model]
        assert latency_ms is not None
        errors = folder / f"{number}.npy"
        np.save(errors, each.errors)
        simple = Simple(
            each.name, each.validation, float(each.errors.mean()), latency_ms, each.pipeline_ms, each.model, errors
        )
        model = None if each.model is None else each.model.name
        rows.append({**asdict(simple), "model": model, "errors": errors.name})
    kept = {"models": rows, "seconds": time.monotonic() - began}
    nas.write_aside(folder / _KEPT, (json.dumps(kept, indent=1) + "\n").encode())


# Errors by test item


def errors_of(model: Path, task: nas.Task) -> FloatArray:
    """Return the error of an ONNX file on each test item, whose mean is its test error."""
    found = [
        item_errors(task, outputs_of(model, task.prepared(batch.raw)), batch.targets.numpy())
        for batch in in_order(task.test, TESTED_TOGETHER)
    ]
    errors = np.concatenate(found, axis=0)
    if task.criterion.kind == OF_TEXT:  # windows at the end of a text have fewer tokens
        errors = errors[:, 0] / errors[:, 1].mean()
    return errors


def item_errors(task: nas.Task, outputs: Any, targets: Any) -> FloatArray:
    """Return for each item if its class is wrong, its squared error, or the share of its bits and its tokens (N, 2)."""
    criterion: Any = task.criterion
    if isinstance(criterion, nas.Classification):
        wrong: FloatArray = (outputs.argmax(axis=1) != targets).astype(np.float64)
        return wrong
    if isinstance(criterion, nas.Regression):
        squares: FloatArray = np.square(outputs.astype(np.float64) - targets.reshape(outputs.shape)).mean(axis=1)
        return squares
    assert criterion.kind == OF_TEXT
    logits = outputs.astype(np.float64)
    logits -= logits.max(axis=2, keepdims=True)
    known = targets >= 0
    right = np.take_along_axis(logits, np.where(known, targets, 0)[:, :, None], axis=2)[:, :, 0]
    losses = np.log(np.exp(logits).sum(axis=2)) - right
    shares = np.where(known, losses, 0.0).sum(axis=1) / math.log(criterion.vocabulary)
    return np.stack([shares, known.sum(axis=1)], axis=1)


# What fits share


def prepared_items(task: nas.Task, *splits: Any) -> tuple[Any, Any]:
    """Return the only input and the targets of all items of some splits, as arrays."""
    inputs, targets = [], []
    for batch in (batch for split in splits for batch in in_order(split, TESTED_TOGETHER)):
        (given,) = task.prepared(batch.raw)
        inputs.append(given)
        targets.append(batch.targets.numpy())
    return np.concatenate(inputs), np.concatenate(targets)


def thread_ms(predict: Callable[[], object]) -> float:
    """Return the median of the milliseconds of processor time that a prediction takes in one thread."""
    found: list[float] = []
    with threadpool_limits(1):
        predict()
        for _ in range(TIMED_RUNS):
            began = time.thread_time()
            predict()
            found.append(1000 * (time.thread_time() - began))
    return float(np.median(found))


def linear_head(coefficients: Any, intercepts: Any) -> tuple[Any, Any]:
    """Return weights (outputs, features) and biases of logits; two classes have one row in scikit-learn."""
    weights, biases = np.atleast_2d(coefficients), np.atleast_1d(intercepts)
    if len(weights) == 1:
        return np.concatenate([-weights / 2, weights / 2]), np.concatenate([-biases / 2, biases / 2])
    return weights, biases
