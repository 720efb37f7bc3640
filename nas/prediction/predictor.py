"""What a predictor is: fitted from measured values, never pickled, with bounds on every prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nas.space.architecture import Architecture
from nas.space.description import Describer, Descriptions
from nas.space.plug_ins import load_plug_in
from nas.values.evaluation import PredictedValue
from nas.values.source import Source

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Prediction:
    """What is said of N architectures, each array of shape (N,), in the unit that was fitted.

    ``lower`` and ``upper`` hold 90 % of the truths between them; ``limit`` alone is a one-sided 95 % bound, the one
    to hold against a limit. ``known`` is False where an architecture is less like the measured ones than each of these
    is like the others; the bounds are wider there.
    """

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    limit: FloatArray
    known: BoolArray

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: int) -> PredictedValue:
        return PredictedValue(
            float(self.mean[index]),
            float(self.lower[index]),
            float(self.upper[index]),
            float(self.limit[index]),
            bool(self.known[index]),
        )


@dataclass(frozen=True)
class HeldOutError:
    """How a predictor did on measured architectures that it had not seen, by cross-validation.

    ``mape``, ``within_…``, ``coverage`` (of the 90 % bounds) and ``width`` (median of upper − lower, relative to the
    mean) are shares: 0.05 is 5 %. ``spearman`` and ``kendall`` are NaN where the values do not vary.
    """

    samples: int
    mape: float
    spearman: float
    kendall: float
    within_5_percent: float
    within_10_percent: float
    coverage: float
    width: float

    def to_json(self) -> dict[str, Any]:
        """Plain data; what does not exist, as a correlation may not, or is infinite is null."""
        return {name: finite_or_none(value) for name, value in vars(self).items()}


def finite_or_none(value: float) -> float | None:
    """The value, or None, which JSON can hold, where it is infinite or not a number."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class Given:
    """Something known of every architecture beforehand, as a feature: a latency when energy is predicted, a score.

    ``values`` maps N architectures to an array of shape (N,); take logarithms of what spans magnitudes.
    """

    name: str
    values: Callable[[Sequence[Architecture]], FloatArray]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The cross-validated predictions behind a ``HeldOutError``, in the order of the samples, each of shape (N,)."""

    values: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray


class Predictor(Protocol):
    """A fitted predictor of one positive metric on one target."""

    @property
    def held_out(self) -> HeldOutError: ...

    @property
    def held_out_predictions(self) -> HeldOut: ...

    def predict(self, architectures: Sequence[Architecture]) -> Prediction: ...

    def predict_described(self, batch: Batch) -> Prediction:
        """The same for a batch that ``batch_of`` made, which is where the time of ``predict`` goes."""
        ...


@dataclass(frozen=True, eq=False)
class Batch:
    """N architectures with their descriptions, and the values of each ``Given``, shape (N, G).

    ``memo`` is for features that several parts of one prediction need; ``fresh`` starts without any.
    """

    descriptions: Descriptions
    given: FloatArray
    memo: dict[object, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.descriptions)

    def fresh(self) -> Batch:
        """The same without what was remembered of it."""
        return Batch(self.descriptions, self.given)

    def take(self, index: npt.NDArray[np.int64] | BoolArray | slice) -> Batch:
        """Those at ``index``, an array of numbers or a mask."""
        return Batch(self.descriptions.take(index), self.given[index])


def given_by(name: str, predictor: Predictor, samples: Sequence[Architecture]) -> Given:
    """The logarithm of what ``predictor`` says, of its own ``samples`` what it said while it had not seen them.

    What was measured of the samples would be no fair feature, for of others there is only the prediction: on an edge
    GPU with NAS-Bench-201, 90 % bounds of energy then hold 30 to 35 % of 500 others, else 87 to 96 %.
    """
    held_out = dict(zip(samples, predictor.held_out_predictions.mean.tolist(), strict=True))

    def logs(architectures: Sequence[Architecture]) -> FloatArray:
        others = [architecture for architecture in architectures if architecture not in held_out]
        found = held_out | dict(zip(others, predictor.predict(others).mean.tolist(), strict=True))
        values: FloatArray = np.log([found[architecture] for architecture in architectures])
        return values

    return Given(name, logs)


def batch_of(space: Describer, architectures: Sequence[Architecture], given: Sequence[Given] = ()) -> Batch:
    """What predictors of this space take. Raises ValueError for architectures that are not of it."""
    values = np.empty((len(architectures), len(given)))
    for index, each in enumerate(given):
        values[:, index] = each.values(architectures)
    return Batch(space.describe(architectures), values)


class PredictorMethod(Protocol):
    """Fits a predictor to measured values, shape (N,); the same inputs and seed give the same predictor.

    ``sources`` are other targets' values, ``given`` what is known beforehand; a method that uses neither ignores them.
    Raises ValueError for non-positive or non-finite values, for fewer than ``MIN_SAMPLES`` of them, and for
    architectures of another space.
    """

    def __call__(
        self,
        space: Describer,
        architectures: Sequence[Architecture],
        values: FloatArray,
        *,
        target: str,
        sources: Sequence[Source] = (),
        given: Sequence[Given] = (),
        seed: int,
    ) -> Predictor: ...


MIN_SAMPLES = 5


def load_predictor(name: str) -> PredictorMethod:
    """The method registered as ``name`` or found at ``module:name``. Raises RecipeError when unknown."""
    method: PredictorMethod = load_plug_in("nas.predictors", name, "predictor")  # type: ignore[assignment]
    return method
