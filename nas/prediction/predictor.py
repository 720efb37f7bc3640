"""The protocol of predictors: fitted to measured values, never pickled, with bounds on every prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nas.space.architecture import Architecture
from nas.space.description import Describer, Descriptions
from nas.space.plug_ins import check_takes, load_plug_in
from nas.values.evaluation import PredictedValue
from nas.values.held_out import HeldOutError
from nas.values.other_target import Source

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, repr=False)
class Prediction:
    """Predictions for N architectures, each array of shape (N,), in the unit of the fitted values.

    ``lower`` and ``upper`` are a 90 % interval. ``limit`` is a one-sided 95 % upper bound, to be compared with a limit.
    ``known`` is False for an architecture that is farther from its nearest sample than any sample is from its own
    nearest one. Its bounds are wider.
    """

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    limit: FloatArray
    known: BoolArray

    def __len__(self) -> int:
        return len(self.mean)

    def __repr__(self) -> str:
        reach = f", means from {self.mean.min():.4g} to {self.mean.max():.4g}" if len(self) else ""
        return f"Prediction of {len(self)} values{reach}"

    def __getitem__(self, index: int) -> PredictedValue:
        return PredictedValue(
            float(self.mean[index]),
            float(self.lower[index]),
            float(self.upper[index]),
            float(self.limit[index]),
            bool(self.known[index]),
        )


@dataclass(frozen=True, eq=False)
class Given:
    """A feature that is known of every architecture before measuring, such as a score or a predicted latency.

    ``values`` maps N architectures to an array of shape (N,). Give logarithms if the values span orders of magnitude.
    With ``is_cost``, they are natural logarithms of what a network costs by another estimate, in any unit. A sum of
    costs may then follow it, as it may follow other targets.
    """

    name: str
    values: Callable[[Sequence[Architecture]], FloatArray]
    is_cost: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class HeldOut:
    """The cross-validated predictions behind a ``HeldOutError``, in the order of the samples, each of shape (N,)."""

    values: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray

    def __repr__(self) -> str:
        return f"HeldOut predictions of {len(self.values)} samples"


class Predictor(Protocol):
    """A fitted predictor of one positive metric on one target."""

    @property
    def held_out(self) -> HeldOutError:
        """Errors on held-out samples."""
        ...

    @property
    def held_out_predictions(self) -> HeldOut:
        """The held-out predictions behind these errors."""
        ...

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Predict N architectures."""
        ...

    def predict_described(self, batch: Batch) -> Prediction:
        """Predict a batch that ``batch_of`` made; making it takes most of the time of ``predict``."""
        ...


@runtime_checkable
class HasGrounds(Protocol):
    """A predictor that tells what its predictions rest on, such as how far it believes other targets."""

    @property
    def grounds(self) -> Sequence[str]:
        """One sentence for each; none where there is nothing to decide."""
        ...


def grounds_of(predictor: Predictor) -> tuple[str, ...]:
    """Return in sentences what the predictions of a predictor rest on, if it tells that."""
    return tuple(predictor.grounds) if isinstance(predictor, HasGrounds) else ()


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """N architectures with their descriptions, and the values of each ``Given``, shape (N, G).

    ``are_costs``, shape (G,), tells which of these are costs. ``memo`` caches features that several parts of one
    prediction need.
    """

    descriptions: Descriptions
    given: FloatArray
    are_costs: BoolArray
    memo: dict[object, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.descriptions)

    def __repr__(self) -> str:
        return f"Batch of {len(self)} architectures"

    def fresh(self) -> Batch:
        """Return the same batch with an empty cache."""
        return Batch(self.descriptions, self.given, self.are_costs)

    def take(self, index: npt.NDArray[np.int64] | BoolArray | slice) -> Batch:
        """Return the architectures at ``index``, an array of numbers or a mask."""
        return Batch(self.descriptions.take(index), self.given[index], self.are_costs)


def given_by(name: str, predictor: Predictor, samples: Sequence[Architecture]) -> Given:
    """Return the logarithm of the predictions of ``predictor`` as a feature; for its ``samples``, the held-out ones.

    Measured values of the samples would mislead, because other architectures have only predictions. On an edge GPU with
    NAS-Bench-201, 90 % bounds of energy then hold 30 to 35 % of 500 others, instead of 87 to 96 %.
    """
    held_out = dict(zip(samples, predictor.held_out_predictions.mean.tolist(), strict=True))

    def logs(architectures: Sequence[Architecture]) -> FloatArray:
        others = [architecture for architecture in architectures if architecture not in held_out]
        found = held_out | dict(zip(others, predictor.predict(others).mean.tolist(), strict=True))
        values: FloatArray = np.log([found[architecture] for architecture in architectures])
        return values

    return Given(name, logs)


def batch_of(space: Describer, architectures: Sequence[Architecture], given: Sequence[Given] = ()) -> Batch:
    """Return the architectures as a batch for predictors. Raises ValueError for architectures of another space."""
    values = np.empty((len(architectures), len(given)))
    for index, each in enumerate(given):
        values[:, index] = each.values(architectures)
    return Batch(space.describe(architectures), values, np.array([each.is_cost for each in given], dtype=np.bool_))


class PredictorMethod(Protocol):
    """Fits a predictor to measured values, shape (N,); the same inputs and seed give the same predictor.

    ``sources`` are values of other targets, and ``given`` are features known beforehand. A method may ignore both.

    Raises:
        ValueError: fewer than ``MIN_SAMPLES`` values, a value that is not positive and finite, or an architecture of
            another space.
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
    ) -> Predictor:
        """Return the fitted predictor."""
        ...


MIN_SAMPLES = 5
PREDICTOR_ARGUMENTS = ("space", "architectures", "values", "target", "sources", "given", "seed")
"""The arguments that a search gives to a predictor method. Further ones are options that a recipe can set."""


def load_predictor(name: str) -> PredictorMethod:
    """Return the method registered as ``name`` or found at ``module:name``.

    Raises:
        RecipeError: it is unknown, or no function with a predictor's arguments.
    """
    method: PredictorMethod = load_plug_in("nas.predictors", name, "predictor")  # type: ignore[assignment]
    check_takes(method, name, "predictor", PREDICTOR_ARGUMENTS[:3], PREDICTOR_ARGUMENTS[3:])
    return method
