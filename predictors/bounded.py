"""The predictor around any fitted model: bounds from held-out residuals, wider for what is unlike the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, final

import numpy as np

from nas.prediction.predictor import Batch, FloatArray, Given, HeldOut, HeldOutError, Prediction, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from predictors.conformal import Calibration, calibrate, hold_out, split_folds
from predictors.features import check_samples
from predictors.novelty import Novelty
from predictors.quality import held_out_error


class Model(Protocol):
    """What was fitted: log-predictions, shape (N,)."""

    def log_means(self, batch: Batch) -> FloatArray: ...


class ModelMethod(Protocol):
    """Fits a model to N samples; the same seed gives the same model. ``fit_in_fold`` may take a quicker one."""

    def fit(self, batch: Batch, values: FloatArray, seed: int) -> Model: ...

    def fit_in_fold(self, batch: Batch, values: FloatArray, seed: int) -> Model: ...


class SpreadModel(Protocol):
    """The same, with how unsure each is, shape (N,), in any unit."""

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]: ...


@final
@dataclass(frozen=True)
class BoundedPredictor:
    """A fitted model with its bounds. ``weights`` says for a mixture how much each method counts."""

    held_out: HeldOutError
    held_out_predictions: HeldOut = field(repr=False)
    target: str
    model: SpreadModel = field(repr=False)
    _space: Describer = field(repr=False)
    _given: tuple[Given, ...] = field(repr=False)
    _calibration: Calibration = field(repr=False)
    _novelty: Novelty = field(repr=False)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Means and bounds. Raises ValueError for architectures of another space."""
        return self.predict_described(batch_of(self._space, architectures, self._given))

    def predict_described(self, batch: Batch) -> Prediction:
        """The same for a batch that ``nas.prediction.predictor.batch_of`` made."""
        if not len(batch):
            empty = np.empty(0)
            return Prediction(empty, empty, empty, empty, np.empty(0, dtype=np.bool_))
        batch = batch.fresh()
        log_means, spreads = self.model.logs(batch)
        novelty = self._novelty.of(batch)
        return self._calibration.bound(log_means, spreads * np.maximum(novelty, 1.0), novelty <= 1.0)


class HeldOutLogs(Protocol):
    """What was said of N samples without having seen them: log-predictions and their spreads, each of shape (N,)."""

    @property
    def held_out_logs(self) -> FloatArray: ...

    @property
    def held_out_spreads(self) -> FloatArray: ...


def bound(
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    model: SpreadModel,
    logs: HeldOutLogs,
    *,
    target: str,
    given: Sequence[Given],
) -> BoundedPredictor:
    """The predictor of ``model``, with bounds calibrated by what was said of held-out samples."""
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
    """The predictor of the model that ``method`` fits, cross-validated in ten folds.

    Raises ValueError as ``nas.prediction.predictor.PredictorMethod`` says.
    """
    values = check_samples(architectures, values)
    batch = batch_of(space, architectures, given)
    held_out = Unseen(cross_validate(batch, values, method, seed), np.ones(len(values)))
    model = EvenSpread(method.fit(batch, values, seed))
    return bound(space, architectures, values, model, held_out, target=target, given=given)


def cross_validate(batch: Batch, values: FloatArray, method: ModelMethod, seed: int) -> FloatArray:
    """Log-prediction for each sample, shape (N,), from a model fitted without its fold."""
    log_means = np.empty(len(values))
    for fold in split_folds(len(values), seed):
        seen = np.setdiff1d(np.arange(len(values)), fold)
        log_means[fold] = method.fit_in_fold(batch.take(seen), values[seen], seed).log_means(batch.take(fold))
    return log_means


@final
@dataclass(frozen=True)
class Unseen:
    """What was said of N samples without having seen them, as ``HeldOutLogs`` says."""

    held_out_logs: FloatArray
    held_out_spreads: FloatArray


@final
@dataclass(frozen=True)
class EvenSpread:
    """A model that is as sure of one architecture as of another."""

    inner: Model

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        return self.inner.log_means(batch), np.ones(len(batch))
