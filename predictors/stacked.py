"""The default predictor: a stack of a Gaussian process, additive costs, corrected additive costs, and trees.

The weights minimise the squared error on held-out samples (stacking, after Wolpert 1992 and Breiman 1996). They are
shrunk towards half the process and half the additive costs, which are the best two with few samples. The process suits
targets with jumps, and additive costs suit targets that run layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy import optimize

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.other_target import Source
from predictors.additive import AdditiveMethod, AdditiveModel
from predictors.bounded import BoundedPredictor, Model, SpreadModel, Unseen, bound, cross_validate
from predictors.features import FeatureMap, check_samples, feature_map
from predictors.gp import FittedValues, GpModel, are_products, fit_gp, fit_values
from predictors.kernel import GRAPH, Inputs
from predictors.transfer import TransferModel, fit_transfer
from predictors.trees import TreesMethod

METHODS = ("process", "additive", "corrected", "trees")
_PRIOR_WEIGHTS = np.array([0.5, 0.5, 0.0, 0.0])
_PRIOR_SAMPLES = 10.0
"""Strength of the prior weights, as a number of samples with average disagreement between the methods.

With a prior for the process alone, 20 samples predict 75 % of other mobile networks within ±10 %, instead of 80 %. On
GPUs with NAS-Bench-201, both priors work equally well.
"""
_FEWEST_FOR_OTHERS, _FEWEST_WITH_SOURCES = 10, 30
"""With fewer samples the process is used alone. With sources it stays ahead longer, so the second number is larger."""
_FOLDS_FOR_WEIGHTS = 5
_LEAST_WEIGHT = 0.02
_HUBER, _DEVIATIONS = 2.0, 1.4826
"""Errors beyond two standard deviations count linearly, not squared; the deviation comes from the median error."""


@final
@dataclass(frozen=True)
class CorrectedModel:
    """Additive costs, multiplied by a correction that a process over the graph predicts."""

    additive: AdditiveModel
    correction: FittedValues
    features: FeatureMap

    def log_means(self, batch: Batch) -> FloatArray:
        """Return log-predictions, shape (N,)."""
        inputs = Inputs.of(self.features.of(batch), dtype=np.float32)
        return self.additive.log_means(batch) + self.correction.logs(inputs)[0]


@final
@dataclass(frozen=True)
class StackedModel:
    """A weighted geometric mean of methods; ``weights`` by method are non-negative and add up to 1."""

    process: SpreadModel
    others: tuple[tuple[float, Model], ...] = field(repr=False)
    weights: dict[str, float]

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        """Return log-predictions, and the spreads of the process, each of shape (N,)."""
        logs, spreads = self.process.logs(batch)
        mixed = self.weights["process"] * logs
        for weight, model in self.others:
            mixed = mixed + weight * model.log_means(batch)
        return mixed, spreads


@one_thread()
def fit_stacked(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> BoundedPredictor:
    """Return a predictor that weights each method by its held-out errors.

    Raises ValueError as described in ``nas.prediction.predictor.PredictorMethod``.
    """
    values = check_samples(architectures, values)
    fit = fit_transfer if sources or given else fit_gp
    process = fit(space, architectures, values, target=target, sources=sources, given=given, seed=seed)
    if len(values) < (_FEWEST_WITH_SOURCES if sources else _FEWEST_FOR_OTHERS):
        return process
    assert isinstance(process.model, GpModel | TransferModel)
    of_process = process.model.fit
    batch = batch_of(space, architectures, given)
    logs = np.log(values)
    features = feature_map(space)
    additive, trees = AdditiveMethod(), TreesMethod(features)
    added = cross_validate(batch, values, additive, seed)
    inputs, are_logs = Inputs.of(features.of(batch)), are_products(space)
    off = fit_values(inputs, np.exp(logs - added), seed, (GRAPH,), are_logs=are_logs)
    grown = cross_validate(batch, values, trees, seed)
    predicted = np.column_stack([of_process.held_out_logs, added, added + off.held_out_logs, grown])
    weights = _weights(logs, predicted)
    costs = additive.fit(batch, values, seed)
    models: list[tuple[float, Model]] = [(weights[1], costs), (weights[2], CorrectedModel(costs, off, features))]
    if weights[3] > 0:
        models.append((weights[3], trees.fit(batch, values, seed)))
    model = StackedModel(
        process.model,
        tuple((float(weight), each) for weight, each in models if weight > 0),
        dict(zip(METHODS, weights.tolist(), strict=True)),
    )
    held_out = Unseen(_unseen_mix(logs, predicted, seed), of_process.held_out_spreads)
    return bound(space, architectures, values, model, held_out, target=target, given=given)


def _unseen_mix(logs: FloatArray, predicted: FloatArray, seed: int) -> FloatArray:
    """Return the mix of held-out predictions, shape (N,), each with weights fitted without the sample's fold."""
    mixed = np.empty(len(logs))
    for fold in np.array_split(np.random.default_rng(seed).permutation(len(logs)), _FOLDS_FOR_WEIGHTS):
        others = np.setdiff1d(np.arange(len(logs)), fold)
        mixed[fold] = predicted[fold] @ _weights(logs[others], predicted[others])
    return mixed


def _weights(logs: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return the weights, shape (methods,), with the least squared error; small weights are set to 0.

    Samples on which all methods have large errors count less, so that a few of them do not dominate.
    """
    errors = np.abs(np.median(predicted, axis=1) - logs)
    usual = _HUBER * _DEVIATIONS * float(np.median(errors))
    counts = np.sqrt(np.minimum(1.0, usual / np.maximum(errors, 1e-12))) if usual > 0 else np.ones(len(logs))
    disagreement = float((((predicted - predicted.mean(axis=1, keepdims=True)) * counts[:, None]) ** 2).mean())
    pull = np.sqrt(_PRIOR_SAMPLES * disagreement)
    sure = 1e3 * max(float(np.abs(logs - logs.mean()).max()), 1e-6)
    ones = np.ones(predicted.shape[1])
    centre = logs.mean()
    rows = np.vstack([(predicted - centre) * counts[:, None], pull * np.eye(len(ones)), sure * ones])
    goals = np.concatenate([(logs - centre) * counts, pull * _PRIOR_WEIGHTS, [sure]])
    weights, _ = optimize.nnls(rows, goals)
    weights[weights < _LEAST_WEIGHT] = 0.0
    total = float(weights.sum())
    return weights / total if total > 0 else _PRIOR_WEIGHTS
