"""A fast predictor: linear costs of the options, in logarithms, with bounds from the residuals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.prediction.predictor import Batch, Given, HeldOut, Prediction, Predictor, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.held_out import HeldOutError
from nas.values.other_target import Source

FloatArray = npt.NDArray[np.float64]


class QuickPredictor:
    """A ridge regression with a column for each seen option; an unseen option makes an architecture unknown."""

    def __init__(self, space: Describer, architectures: Sequence[Architecture], values: FloatArray) -> None:
        self._space = space
        options = space.describe(architectures).live_options
        self._pairs = sorted({(c, int(o)) for row in options for c, o in enumerate(row)})
        features = self._features(options)
        gram = features.T @ features + 0.1 * np.eye(features.shape[1])
        hat = features @ np.linalg.solve(gram, features.T)
        logs = np.log(values) - np.log(values).mean()
        self._level = float(np.log(values).mean())
        self._weights = np.linalg.solve(gram, features.T @ logs)
        residuals = (hat @ logs - logs) / (1 - np.diag(hat))  # left one out
        self._half = float(np.quantile(np.abs(residuals), 0.9))
        self.held_out_predictions = self._held_out(values, np.exp(np.log(values) + residuals))
        self.held_out = self._figures()

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        return self.predict_described(batch_of(self._space, architectures))

    def predict_described(self, batch: Batch) -> Prediction:
        options = batch.descriptions.live_options
        # Each row by itself: a product of matrices may differ in the last digit with what else is predicted.
        mean = np.exp(self._level + (self._features(options) * self._weights).sum(axis=1))
        seen = set(self._pairs)
        known = np.array([all((c, int(o)) in seen for c, o in enumerate(row)) for row in options], dtype=bool)
        half = np.where(known, self._half, 2 * self._half)
        return Prediction(mean, mean * np.exp(-half), mean * np.exp(half), mean * np.exp(half), known)

    def _features(self, options: npt.NDArray[np.int16]) -> FloatArray:
        return np.array([[float(row[c] == o) for c, o in self._pairs] for row in options]).reshape(len(options), -1)

    def _held_out(self, values: FloatArray, mean: FloatArray) -> HeldOut:
        return HeldOut(values, mean, mean * np.exp(-self._half), mean * np.exp(self._half))

    def _figures(self) -> HeldOutError:
        from scipy.stats import kendalltau, spearmanr

        held_out = self.held_out_predictions
        errors = np.abs(held_out.mean / held_out.values - 1)
        varies = len(set(held_out.values.tolist())) > 1
        inside = (held_out.lower <= held_out.values) & (held_out.values <= held_out.upper)
        return HeldOutError(
            len(held_out.values),
            float(errors.mean()),
            float(spearmanr(held_out.values, held_out.mean).statistic) if varies else float("nan"),
            float(kendalltau(held_out.values, held_out.mean).statistic) if varies else float("nan"),
            float((errors <= 0.05).mean()),
            float((errors <= 0.1).mean()),
            float(inside.mean()),
            float(np.median((held_out.upper - held_out.lower) / held_out.mean)),
        )


def fit_quick(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> Predictor:
    """Fit the predictor; ``sources`` and ``given`` are ignored."""
    return QuickPredictor(space, architectures, np.asarray(values, dtype=np.float64))
