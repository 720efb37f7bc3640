"""The default: costs that add up and trees, mixed by how each does on samples that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from nas.predictor import FloatArray, HeldOutError, Prediction, Subject
from predictors import additive, trees
from predictors.conformal import Calibration, assess, calibrate
from predictors.features import check_samples

# As many samples' worth of evidence, at an average disagreement, for mixing half and half.
_PRIOR_SAMPLES = 2.0


@final
@dataclass(frozen=True)
class StackedPredictor:
    """A geometric mean of both methods; ``additive_weight`` is the share of the additive one, 0 to 1."""

    held_out: HeldOutError
    additive_weight: float
    _additive: additive.AdditiveModel = field(repr=False)
    _trees: trees.TreesModel = field(repr=False)
    _calibration: Calibration = field(repr=False)
    _encoding_length: int = field(repr=False)

    def predict(self, subjects: Sequence[Subject]) -> Prediction:
        first = self._additive.log_means(additive.cost_terms(subjects))
        second = self._trees.log_means(trees.describe(subjects, self._encoding_length))
        return self._calibration.bound(self.additive_weight * first + (1 - self.additive_weight) * second)


def fit_stacked(subjects: Sequence[Subject], values: FloatArray, *, seed: int) -> StackedPredictor:
    """A predictor that leans on whichever method cross-validates better.

    Raises ValueError as ``nas.predictor.PredictorMethod`` says.
    """
    values = check_samples(subjects, values)
    logs = np.log(values)
    terms = additive.cost_terms(subjects)
    description = trees.describe(subjects)
    first = additive.cross_validate(terms, values, seed)
    second = trees.cross_validate(description, values, seed)
    weights = _weights_without_each(logs, first, second)
    held_out = weights * first + (1 - weights) * second
    return StackedPredictor(
        held_out=assess(values, held_out),
        additive_weight=_weight(logs, first, second),
        _additive=additive.fit_model(terms, values),
        _trees=trees.fit_model(description, values, seed),
        _calibration=calibrate(logs - held_out),
        _encoding_length=len(subjects[0].encoding),
    )


def _weight(logs: FloatArray, first: FloatArray, second: FloatArray) -> float:
    """The weight of ``first``, 0 to 1, with the least squared error of the mix, drawn a little to one half."""
    gap = first - second
    power, fit = float((gap**2).sum()), float((gap * (logs - second)).sum())
    prior = _PRIOR_SAMPLES * power / len(logs)
    return float(np.clip((fit + 0.5 * prior) / (power + prior), 0.0, 1.0)) if power > 0 else 0.5


def _weights_without_each(logs: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """For each sample the weight that the others alone would give, so that its held-out error stays honest."""
    return np.array([_weight(np.delete(logs, i), np.delete(first, i), np.delete(second, i)) for i in range(len(logs))])
