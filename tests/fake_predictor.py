"""A predictor with bounds of a known width: least squares on sums over layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nas.prediction.predictor import Batch, Given, HeldOut, Prediction, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer, Descriptions
from nas.values.held_out import HeldOutError
from nas.values.other_target import Source

FloatArray = npt.NDArray[np.float64]
NAME = "fake_predictor:fit_fake"


@dataclass
class Settings:
    """Settings of ``fit_fake``, and a record of its calls.

    ``half_width`` gives half the width of the bounds, relative to the mean, for a number of samples. ``is_known`` marks
    known architectures, and ``factor`` multiplies all predictions.

    ``fits`` records the samples, values, sources and given features of each fit, and ``predictors`` the results.
    ``predicted`` records the sizes of predicted batches, and ``given`` their given features.
    """

    half_width: Callable[[int], float] = lambda samples: 0.05
    is_known: Callable[[Architecture], bool] = lambda architecture: True
    factor: float = 1.0
    fits: list[tuple[list[Architecture], FloatArray, Sequence[Source], FloatArray]] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    given: list[FloatArray] = field(default_factory=list)
    predictors: list[FakePredictor] = field(default_factory=list)


_settings = Settings()


@contextmanager
def fake_settings(settings: Settings) -> Iterator[Settings]:
    """Apply ``settings`` to all fits within the context."""
    global _settings
    before, _settings = _settings, settings
    try:
        yield settings
    finally:
        _settings = before


def fit_fake(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source] = (),
    given: Sequence[Given] = (),
    seed: int,
) -> FakePredictor:
    """Fit the predictor as the current settings say, and record the call in them."""
    batch = batch_of(space, architectures, given)
    _settings.fits.append((list(architectures), values, sources, batch.given))
    _settings.predictors.append(FakePredictor(space, batch, values, given, _settings))
    return _settings.predictors[-1]


class FakePredictor:
    """A predictor whose bounds reach ``half_width`` to each side; its one-sided bound reaches nine tenths of that."""

    def __init__(
        self, space: Describer, batch: Batch, values: FloatArray, given: Sequence[Given], settings: Settings
    ) -> None:
        self._space = space
        self._given = given
        self._settings = settings
        self._half_width = settings.half_width(len(values))
        features = _features(batch.descriptions)
        penalty = 1e-3 * np.eye(features.shape[1])
        self._weights = np.linalg.solve(features.T @ features + penalty, features.T @ np.log(values))
        mean = np.exp(features @ self._weights)
        unseen = 1.01 * mean
        self.held_out_predictions = HeldOut(values, unseen, *self._bounds(unseen))
        error = float(np.abs(mean / values - 1).mean())
        self.held_out = HeldOutError(len(values), error, 0.95, 0.9, 0.6, 0.9, 0.9, 2 * self._half_width)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        prediction = self.predict_described(batch_of(self._space, architectures, self._given))
        known = np.array([self._settings.is_known(architecture) for architecture in architectures], dtype=bool)
        return Prediction(prediction.mean, prediction.lower, prediction.upper, prediction.limit, known)

    def predict_described(self, batch: Batch) -> Prediction:
        self._settings.predicted.append(len(batch))
        self._settings.given.append(batch.given)
        mean = self._settings.factor * np.exp(_features(batch.descriptions) @ self._weights)
        lower, upper = self._bounds(mean)
        return Prediction(mean, lower, upper, mean * (1 + 0.9 * self._half_width), np.ones(len(mean), dtype=bool))

    def _bounds(self, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
        return mean * max(0.0, 1 - self._half_width), mean * (1 + self._half_width)


def _features(descriptions: Descriptions) -> FloatArray:
    """Return a constant and the logarithms of sums over layers, shape (N, 5)."""
    totals = np.log1p(descriptions.layer_sums.sum(axis=1))
    return np.hstack([np.full((len(totals), 1), math.e), totals])
