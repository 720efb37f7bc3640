"""A predictor that learns from a target's own samples alone: a Gaussian process over the graph and the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.other_target import Source
from predictors.bounded import BoundedPredictor, bound
from predictors.features import FeatureMap, feature_map
from predictors.outliers import without_outliers
from predictors.processes.kernel import Inputs
from predictors.processes.process import FittedValues, are_products, fit_values


@final
@dataclass(frozen=True)
class GpModel:
    """A process over the features of a space, for values of one target."""

    fit: FittedValues
    features: FeatureMap

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        """Return log-predictions and their spreads, each of shape (N,)."""
        return self.fit.logs(self._inputs(batch))

    def log_means(self, batch: Batch) -> FloatArray:
        """Return log-predictions alone, shape (N,)."""
        return self.fit.log_means(self._inputs(batch))

    def _inputs(self, batch: Batch) -> Inputs:
        return Inputs.of(self.features.of(batch), dtype=np.float32)


def gp_model(space: Describer, batch: Batch, values: FloatArray, seed: int) -> GpModel:
    """Return the process that learns from N samples with positive values, shape (N,), alone."""
    features = feature_map(space)
    return GpModel(fit_values(Inputs.of(features.of(batch)), values, seed, are_logs=are_products(space)), features)


@without_outliers(by_sources=False)
def fit_gp(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> BoundedPredictor:
    """Return a predictor that learns from this target's samples alone; ``sources`` and ``given`` are ignored.

    Raises ValueError as described in ``nas.prediction.predictor.PredictorMethod``.
    """
    model = gp_model(space, batch_of(space, architectures), values, seed)
    return bound(space, architectures, values, model, model.fit, target=target, given=())
