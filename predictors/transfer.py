"""Transfer from other targets: about ten measurements suffice for a new target.

This is the process of ``predictors.gp`` with the predictions of ``predictors.source_models`` as further features. A
feature that is given for every architecture, such as latency when energy is predicted, is one more source.
"""

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
from predictors.gp import GpModel, gp_model
from predictors.outliers import without_outliers
from predictors.processes.kernel import Inputs
from predictors.processes.process import FittedValues, are_products, fit_values
from predictors.source_models import SourceModels, models_of, sift


@final
@dataclass(frozen=True)
class TransferModel:
    """A process over the features of a space and of the sources, for values of one target."""

    fit: FittedValues
    sources: SourceModels

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        """Return log-predictions and their spreads, each of shape (N,)."""
        return self.fit.logs(self._inputs(batch))

    def log_means(self, batch: Batch) -> FloatArray:
        """Return log-predictions alone, shape (N,)."""
        return self.fit.log_means(self._inputs(batch))

    def _inputs(self, batch: Batch) -> Inputs:
        return Inputs.of(*self.sources.describe(batch), np.float32)


def transfer_model(
    space: Describer,
    batch: Batch,
    values: FloatArray,
    sources: tuple[Source, ...],
    given: tuple[Given, ...],
    seed: int,
) -> GpModel | TransferModel:
    """Return the process that learns from N samples with positive values, shape (N,), and from believable sources.

    Without ``sources`` and ``given`` it is that of ``predictors.gp``.
    """
    models = models_of(space, batch, sources, given)
    if models is None:
        return gp_model(space, batch, values, seed)
    fit = fit_values(Inputs.of(*models.describe(batch)), values, seed, are_logs=are_products(space))
    return TransferModel(fit, models)


@without_outliers(by_sources=True)
def fit_transfer(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> BoundedPredictor:
    """Return a predictor that also learns from other targets.

    Without ``sources`` and ``given`` it is that of ``fit_gp``. A source need not contain the samples, and may have
    another precision or batch size. Raises ValueError as described in ``nas.prediction.predictor.PredictorMethod``, and
    for a source with too few values or a value that is not positive.
    """
    believable = sift(space, tuple(sources)).believable
    batch = batch_of(space, architectures, given)
    model = transfer_model(space, batch, values, believable, tuple(given), seed)
    return bound(space, architectures, values, model, model.fit, target=target, given=given)
