"""A predictor around any fitted model, with bounds from held-out residuals that widen for unfamiliar architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

import numpy as np

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import Batch, FloatArray, Given, HeldOut, Prediction, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.held_out import HeldOutError
from predictors.conformal import Calibration, calibrate, hold_out, split_folds
from predictors.features import check_samples
from predictors.novelty import Novelty
from predictors.quality import held_out_error


class Model(Protocol):
    """A fitted model."""

    def log_means(self, batch: Batch) -> FloatArray:
        """Return log-predictions, shape (N,)."""
        ...


class ModelMethod(Protocol):
    """Fits a model to N samples; the same seed gives the same model."""

    def fit(self, batch: Batch, values: FloatArray, seed: int) -> Model:
        """Fit the model to all samples."""
        ...

    def fit_in_fold(self, batch: Batch, values: FloatArray, seed: int) -> Model:
        """Fit a model for cross-validation, which may be a quicker one."""
        ...


class SpreadModel(Protocol):
    """A fitted model that also says how unsure it is."""

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        """Return log-predictions and their spreads in any unit, each of shape (N,)."""
        ...


@final
@dataclass(frozen=True)
class BoundedPredictor:
    """A fitted model with its bounds, as ``nas.prediction.predictor.Predictor`` describes."""

    held_out: HeldOutError
    held_out_predictions: HeldOut = field(repr=False)
    target: str
    model: SpreadModel = field(repr=False)
    _space: Describer = field(repr=False)
    _given: tuple[Given, ...] = field(repr=False)
    _calibration: Calibration = field(repr=False)
    _novelty: Novelty = field(repr=False)
    grounds: tuple[str, ...] = field(default=(), repr=False)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return means and bounds. Raises ValueError for architectures of another space."""
        return self.predict_described(batch_of(self._space, architectures, self._given))

    @one_thread()
    def predict_described(self, batch: Batch) -> Prediction:
        """Return means and bounds for a batch that ``nas.prediction.predictor.batch_of`` made."""
        if not len(batch):
            empty = np.empty(0)
            return Prediction(empty, empty, empty, empty, np.empty(0, dtype=np.bool_))
        batch = batch.fresh()
        log_means, spreads = self.model.logs(batch)
        novelty = self._novelty.of(batch)
        return self._calibration.bound(log_means, spreads * np.maximum(novelty, 1.0), novelty <= 1.0)


class HeldOutLogs(Protocol):
    """Held-out predictions of N samples."""

    @property
    def held_out_logs(self) -> FloatArray:
        """Log-predictions, shape (N,)."""
        ...

    @property
    def held_out_spreads(self) -> FloatArray:
        """Spreads of the log-predictions, shape (N,)."""
        ...


def bound(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    model: SpreadModel,
    logs: HeldOutLogs,
    *,
    target: str,
    given: Sequence[Given],
    grounds: Sequence[str] = (),
) -> BoundedPredictor:
    """Return a predictor around ``model``, with bounds calibrated on the held-out predictions ``logs``.

    ``grounds`` says in sentences what its predictions rest on.
    """
    held_out = hold_out(values, logs.held_out_logs, logs.held_out_spreads)
    return BoundedPredictor(
        held_out=held_out_error(held_out),
        held_out_predictions=held_out,
        target=target,
        model=model,
        _space=space,
        _given=tuple(given),
        _calibration=calibrate((np.log(values) - logs.held_out_logs) / logs.held_out_spreads),
        _novelty=Novelty.of_samples(space, architectures),
        grounds=tuple(grounds),
    )


def fit_bounded(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    given: Sequence[Given],
    seed: int,
    method: ModelMethod,
) -> BoundedPredictor:
    """Return a predictor around the model that ``method`` fits, cross-validated in ten folds.

    Raises ValueError as described in ``nas.prediction.predictor.PredictorMethod``.
    """
    values = check_samples(architectures, values)
    batch = batch_of(space, architectures, given)
    held_out = Unseen(cross_validate(batch, values, method, seed), np.ones(len(values)))
    model = EvenSpread(method.fit(batch, values, seed))
    return bound(space, architectures, values, model, held_out, target=target, given=given)


def cross_validate(batch: Batch, values: FloatArray, method: ModelMethod, seed: int) -> FloatArray:
    """Return a log-prediction for each sample, shape (N,), by a model fitted without the sample's fold."""
    log_means = np.empty(len(values))
    for fold in split_folds(len(values), seed):
        seen = np.setdiff1d(np.arange(len(values)), fold)
        log_means[fold] = method.fit_in_fold(batch.take(seen), values[seen], seed).log_means(batch.take(fold))
    return log_means


@final
@dataclass(frozen=True)
class Unseen:
    """Held-out predictions of N samples, as ``HeldOutLogs`` describes."""

    held_out_logs: FloatArray
    held_out_spreads: FloatArray


@final
@dataclass(frozen=True)
class EvenSpread:
    """A model that is equally sure of every architecture."""

    inner: Model

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        """Return log-predictions and equal spreads, each of shape (N,)."""
        return self.inner.log_means(batch), np.ones(len(batch))
