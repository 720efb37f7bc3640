"""A new target from about ten measurements: what other targets say, corrected where this one differs.

The Gaussian process of ``predictors.gp`` with the predictions of ``predictors.source_models`` as further features; what
is given of every architecture, such as its latency when energy is predicted, counts as one more source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.source import Source
from predictors.bounded import BoundedPredictor, bound
from predictors.features import check_samples
from predictors.gp import Fit, fit_gp, fit_values
from predictors.kernel import Inputs
from predictors.source_models import SourceModels, given_alone, source_models


@final
@dataclass(frozen=True)
class TransferModel:
    """A process over the features of a space and of the sources, for values of one target."""

    fit: Fit
    sources: SourceModels

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        return self.fit.logs(Inputs.of(*self.sources.describe(batch), np.float32))


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
    """A predictor that leans on other targets; without sources and anything given it is that of ``fit_gp``.

    A source may lack the samples, or measure at another precision or batch size. Raises ValueError as
    ``PredictorMethod`` says, and for a source with too few values or some that are not positive.
    """
    if not sources and not given:
        return fit_gp(space, architectures, values, target=target, seed=seed)
    values = check_samples(architectures, values)
    batch = batch_of(space, architectures, given)
    models = source_models(space, tuple(sources), tuple(given)) if sources else given_alone(space, batch)
    fit = fit_values(Inputs.of(*models.describe(batch)), values, seed)
    return bound(space, architectures, values, TransferModel(fit, models), fit, target=target, given=given)
