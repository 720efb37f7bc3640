"""What a predictor is: fitted from measured values, never pickled, with bounds on every prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nas.architecture import Architecture
from nas.discovery import load_plug_in
from nas.evaluation import PredictedValue
from nas.layer import Layer

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """What a predictor sees of an architecture: its layers, and its encoded choices, shape (D,)."""

    architecture: Architecture
    layers: tuple[Layer, ...]
    encoding: FloatArray


@dataclass(frozen=True)
class Prediction:
    """Means and 90 % bounds for N architectures, each of shape (N,), in the unit that was fitted.

    ``upper`` alone is a one-sided 95 % bound.
    """

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: int) -> PredictedValue:
        return PredictedValue(float(self.mean[index]), float(self.lower[index]), float(self.upper[index]))


@dataclass(frozen=True)
class HeldOutError:
    """How a predictor did on measured architectures that it had not seen, by cross-validation.

    ``mape`` and ``coverage`` are shares: 0.05 is 5 %. ``spearman`` is NaN where the values do not vary.
    """

    samples: int
    mape: float
    spearman: float
    within_10_percent: float
    coverage: float


class Predictor(Protocol):
    """A fitted predictor of one positive metric on one target."""

    @property
    def held_out(self) -> HeldOutError: ...

    def predict(self, subjects: Sequence[Subject]) -> Prediction: ...


class PredictorMethod(Protocol):
    """Fits a predictor to measured values, shape (N,); the same inputs and seed give the same predictor.

    Raises ValueError for non-positive or non-finite values and for fewer than ``MIN_SAMPLES``.
    """

    def __call__(self, subjects: Sequence[Subject], values: FloatArray, *, seed: int) -> Predictor: ...


MIN_SAMPLES = 5


def load_predictor(name: str) -> PredictorMethod:
    """The method registered as ``name`` or found at ``module:name``. Raises RecipeError when unknown."""
    method: PredictorMethod = load_plug_in("nas.predictors", name, "predictor")  # type: ignore[assignment]
    return method
