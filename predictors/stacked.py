"""The default predictor: a stack of Gaussian processes, additive costs, trees, and costs by profiles of networks.

The weights minimise the squared error on held-out samples (stacking, after Wolpert 1992 and Breiman 1996). They are
shrunk towards those that are best with few samples. A process suits targets with jumps, and additive costs suit targets
that run layer by layer. Both learn from other targets, where there are any, and the additive costs believe them only
as far as the samples do not contradict. Targets that are noise are ignored before the first sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy import optimize

from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.other_target import Source
from predictors.additive import AdditiveMethod, AdditiveModel
from predictors.bounded import BoundedPredictor, Model, SpreadModel, Unseen, bound, cross_validate
from predictors.features import FeatureMap, feature_map
from predictors.grounds import ignored_sources, ranks_of_sources, shares_of_methods
from predictors.outliers import without_outliers
from predictors.processes.kernel import GRAPH, Inputs
from predictors.processes.process import FittedValues, are_products, fit_values
from predictors.source_models import SourceModels, sift, source_models
from predictors.transfer import transfer_model
from predictors.trees import TreesMethod

Expected = tuple[Mapping[str, float], float]
"""Weights that are expected of methods by name, relative to each other, and the number of samples that they count as.

Such a sample has the average disagreement between the methods.
"""


def _expecting(process: float, additive: float, profiled: float) -> Mapping[str, float]:
    """Return weights of the methods that there are from the beginning, whether they know of other targets or not."""
    pair = {"process": process, "informed": process, "additive": additive, "informed_additive": additive}
    return {**pair, "profiled": profiled}


_USUAL: Expected = (_expecting(0.35, 0.35, 0.3), 10.0)
"""Without profiles, the first two count alike. With a prior for the process alone, 20 samples predict 75 % of other
mobile networks within ±10 %, instead of 80 %; on GPUs with NAS-Bench-201, both priors work equally well.
"""
_FEW: Expected = (_expecting(0.18, 0.42, 0.4), 30.0)
"""The same with fewer than 30 samples, whose held-out errors tell little."""
_WITHOUT_LAYERS: Expected = (_expecting(1.0, 0.0, 0.0), 30.0)
"""The same for tables whose rows have no layers, where a power law takes the place of additive costs."""
_FEWEST_FOR_TREES = 30
"""From this number of samples on there are trees, and additive costs that a process corrects."""
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
        return self.additive.log_means(batch) + self.correction.log_means(inputs)


@final
@dataclass(frozen=True)
class ProfiledModel:
    """What networks cost by profiles, the given feature number ``column``, multiplied by one factor, ``e ** off``."""

    column: int
    off: float

    def log_means(self, batch: Batch) -> FloatArray:
        """Return log-predictions, shape (N,)."""
        means: FloatArray = batch.given[:, self.column] + self.off
        return means


@final
@dataclass(frozen=True)
class StackedModel:
    """A weighted geometric mean of methods; ``weights`` by method are non-negative and add up to 1.

    Spreads are those of ``process``, wider where the methods disagree.
    """

    process: SpreadModel
    others: tuple[tuple[float, Model], ...] = field(repr=False)
    weights: dict[str, float]

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        """Return log-predictions and their spreads, each of shape (N,)."""
        logs, spreads = self.process.logs(batch)
        first = next(iter(self.weights.values()))  # the process is the first method
        predicted = np.column_stack([logs, *(model.log_means(batch) for _, model in self.others)])
        weights = np.array([first, *(weight for weight, _ in self.others)])
        return predicted @ weights, _with_disagreement(spreads, predicted, weights)


@without_outliers(by_sources=True)
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
    sifted = sift(space, tuple(sources))
    batch, logs = batch_of(space, architectures, given), np.log(values)
    fitted = transfer_model(space, batch, values, sifted.believable, tuple(given), seed)
    if values.min() == values.max():  # counted bytes, say; layers cannot tell why they do not vary
        return bound(space, architectures, values, fitted, fitted.fit, target=target, given=given)
    models = source_models(space, sifted.believable, tuple(given)) if sifted.believable else None
    methods: dict[str, Method] = {
        "process" if models is None else "informed": (fitted.fit.held_out_logs, lambda: fitted)
    }
    methods |= _others(space, batch, values, models, seed)
    prior = _Prior.of(_expected(space, len(values)), methods)
    predicted = np.column_stack([held_out for held_out, _ in methods.values()])
    weights = dict(zip(methods, _weights(logs, predicted, prior).tolist(), strict=True))
    others = list(methods)[1:]
    model = StackedModel(
        fitted,
        tuple((weights[name], methods[name][1]()) for name in others if weights[name] > 0),
        weights,
    )
    spreads = _with_disagreement(fitted.fit.held_out_spreads, predicted, np.array(list(weights.values())))
    held_out = Unseen(_unseen_mix(logs, predicted, prior, seed), spreads)
    grounds = [ignored_sources(sifted.ignored)] if sifted.ignored else []
    if models is not None:
        grounds.append(ranks_of_sources(models, batch, logs))
    if models is not None or batch.are_costs.any():
        told = {name: held_out_logs for name, (held_out_logs, _) in methods.items()}
        sums = methods["additive" if models is None else "informed_additive"][1]()
        assert isinstance(sums, AdditiveModel)
        grounds.append(shares_of_methods(told, weights, logs, sums.share_elsewhere(batch)))
    return bound(space, architectures, values, model, held_out, target=target, given=given, grounds=grounds)


Method = tuple[FloatArray, Callable[[], Model]]
"""Held-out log-predictions of the samples, shape (N,), and what fits the model to all of them."""


def _others(
    space: Describer, batch: Batch, values: FloatArray, models: SourceModels | None, seed: int
) -> dict[str, Method]:
    """Return the methods beside the process, by name; with few samples there are no corrected costs and no trees."""
    additive = AdditiveMethod(models)
    added = cross_validate(batch, values, additive, seed)
    costs = additive.fit(batch, values, seed)
    found: dict[str, Method] = {"additive" if models is None else "informed_additive": (added, lambda: costs)}
    if len(values) >= _FEWEST_FOR_TREES:
        features = feature_map(space)
        inputs, are_logs = Inputs.of(features.of(batch)), are_products(space)
        off = fit_values(inputs, np.exp(np.log(values) - added), seed, (GRAPH,), are_logs=are_logs)
        found["corrected"] = (added + off.held_out_logs, lambda: CorrectedModel(costs, off, features))
        trees = TreesMethod(features)
        found["trees"] = (cross_validate(batch, values, trees, seed), lambda: trees.fit(batch, values, seed))
    return found | _profiled(batch, np.log(values))


def _profiled(batch: Batch, logs: FloatArray) -> dict[str, Method]:
    """Return the method that scales the best given costs; none if they predict no better than the samples' mean."""
    best, least = None, float(logs.var())
    for column in np.flatnonzero(batch.are_costs).tolist():
        off = logs - batch.given[:, column]
        held_out = batch.given[:, column] + [float(np.median(np.delete(off, index))) for index in range(len(off))]
        error = float(((held_out - logs) ** 2).mean())
        if error < least:
            best, least = (held_out, ProfiledModel(column, float(np.median(off)))), error
    return {} if best is None else {"profiled": (best[0], lambda: best[1])}


@final
@dataclass(frozen=True)
class _Prior:
    """Weights that are expected of the methods, shape (methods,), and the number of samples that they count as."""

    weights: FloatArray
    samples: float

    @classmethod
    def of(cls, expected: Expected, methods: Iterable[str]) -> _Prior:
        """Return the prior of methods in this order; one without an expected weight gets 0, and the sum is 1."""
        weights, samples = expected
        found = np.array([weights.get(name, 0.0) for name in methods])
        return cls(found / found.sum(), samples)


def _expected(space: Describer, samples: int) -> Expected:
    """Return what is expected of the methods."""
    if samples >= _FEWEST_FOR_TREES:
        return _USUAL
    return _WITHOUT_LAYERS if are_products(space) else _FEW


def _with_disagreement(spreads: FloatArray, predicted: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the spreads of a mixture, shape (N,): the variance of a method, and that between methods.

    On NAS-Bench-201 with 10 samples and phones as sources, the limit that a tenth of all cells meet is broken by 13 %
    of those let through, instead of 17 %, and bounds are 6 % narrower.
    """
    apart = (weights * (predicted - (predicted @ weights)[:, None]) ** 2).sum(axis=1)
    mixed: FloatArray = np.sqrt(spreads**2 + apart)
    return mixed


def _unseen_mix(logs: FloatArray, predicted: FloatArray, prior: _Prior, seed: int) -> FloatArray:
    """Return the mix of held-out predictions, shape (N,), each with weights fitted without the sample's fold."""
    mixed = np.empty(len(logs))
    for fold in np.array_split(np.random.default_rng(seed).permutation(len(logs)), _FOLDS_FOR_WEIGHTS):
        others = np.setdiff1d(np.arange(len(logs)), fold)
        mixed[fold] = predicted[fold] @ _weights(logs[others], predicted[others], prior)
    return mixed


def _weights(logs: FloatArray, predicted: FloatArray, prior: _Prior) -> FloatArray:
    """Return the weights, shape (methods,), with the least squared error; small weights are set to 0.

    Samples on which all methods have large errors count less, so that a few of them do not dominate.
    """
    errors = np.abs(np.median(predicted, axis=1) - logs)
    usual = _HUBER * _DEVIATIONS * float(np.median(errors))
    counts = np.sqrt(np.minimum(1.0, usual / np.maximum(errors, 1e-12))) if usual > 0 else np.ones(len(logs))
    disagreement = float((((predicted - predicted.mean(axis=1, keepdims=True)) * counts[:, None]) ** 2).mean())
    pull = np.sqrt(prior.samples * disagreement)
    sure = 1e3 * max(float(np.abs(logs - logs.mean()).max()), 1e-6)
    ones = np.ones(predicted.shape[1])
    centre = logs.mean()
    rows = np.vstack([(predicted - centre) * counts[:, None], pull * np.eye(len(ones)), sure * ones])
    goals = np.concatenate([(logs - centre) * counts, pull * prior.weights, [sure]])
    weights, _ = optimize.nnls(rows, goals)
    weights[weights < _LEAST_WEIGHT] = 0.0
    total = float(weights.sum())
    return weights / total if total > 0 else prior.weights
