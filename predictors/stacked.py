"""The default: a Gaussian process, costs that add up, those corrected by a process, and trees, mixed.

The mix is the one with the least squared error on held-out samples, drawn towards half the process and half the costs
that add up: the best two where there are few samples, the former on targets with jumps, the latter on those that run
layer by layer (stacking, after Wolpert 1992 and Breiman 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy import optimize

from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.source import Source
from predictors.additive import AdditiveMethod, AdditiveModel
from predictors.bounded import BoundedPredictor, Model, SpreadModel, Unseen, bound, cross_validate
from predictors.features import FeatureMap, check_samples, feature_map
from predictors.gp import Fit, GpModel, fit_gp, fit_values
from predictors.kernel import GRAPH, Inputs
from predictors.transfer import TransferModel, fit_transfer
from predictors.trees import TreesMethod

METHODS = ("process", "additive", "corrected", "trees")
_PRIOR_WEIGHTS = np.array([0.5, 0.5, 0.0, 0.0])
_PRIOR_SAMPLES = 10.0
"""As many samples' worth of evidence, at an average disagreement, for these. With the process alone instead, 20 samples
leave 75 % of others within ±10 % on a measured mobile network, not 80 %; on GPUs with NAS-Bench-201 both do alike."""
_FEWEST_FOR_OTHERS, _FEWEST_WITH_SOURCES = 10, 30
"""Below, the held-out errors of the others say too little; a process that knows other targets is ahead for longer."""
_FOLDS_FOR_WEIGHTS = 5
_LEAST_WEIGHT = 0.02
_HUBER, _DEVIATIONS = 2.0, 1.4826
"""Errors beyond two standard deviations, estimated from the median absolute one, count in proportion, not squared."""


@final
@dataclass(frozen=True)
class CorrectedModel:
    """Costs that add up, times what a process over the graph says of how far they are off."""

    additive: AdditiveModel
    correction: Fit
    features: FeatureMap

    def log_means(self, batch: Batch) -> FloatArray:
        inputs = Inputs.of(self.features.of(batch), dtype=np.float32)
        return self.additive.log_means(batch) + self.correction.logs(inputs)[0]


@final
@dataclass(frozen=True)
class StackedModel:
    """A geometric mean of methods; ``weights`` by method, none negative, add up to 1."""

    process: SpreadModel
    others: tuple[tuple[float, Model], ...] = field(repr=False)
    weights: dict[str, float]

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        logs, spreads = self.process.logs(batch)
        mixed = self.weights["process"] * logs
        for weight, model in self.others:
            mixed = mixed + weight * model.log_means(batch)
        return mixed, spreads


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
    """A predictor that leans on whichever method cross-validates better.

    Raises ValueError as ``nas.prediction.predictor.PredictorMethod`` says.
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
    off = fit_values(Inputs.of(features.of(batch)), np.exp(logs - added), seed, (GRAPH,))
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
    """The mix of held-out predictions, shape (N,), with weights found without the sample that is predicted."""
    mixed = np.empty(len(logs))
    for fold in np.array_split(np.random.default_rng(seed).permutation(len(logs)), _FOLDS_FOR_WEIGHTS):
        others = np.setdiff1d(np.arange(len(logs)), fold)
        mixed[fold] = predicted[fold] @ _weights(logs[others], predicted[others])
    return mixed


def _weights(logs: FloatArray, predicted: FloatArray) -> FloatArray:
    """The weights, shape (methods,), of the mix with the least squared error; small ones are left out.

    Samples on which all err widely count less, or else a few of them would decide.
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
