"""Predictors that a recipe names: a mistake in one is a sentence with its place, and never a wrong number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

import numpy as np

from nas.errors import NasError, RecipeError, raised_text
from nas.prediction.predictor import (
    Batch,
    FloatArray,
    Given,
    HeldOut,
    Prediction,
    Predictor,
    PredictorMethod,
    grounds_of,
)
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.own_code import own_code
from nas.values.held_out import HeldOutError
from nas.values.other_target import Source

R = TypeVar("R")


def fit_guarded(
    method: PredictorMethod,
    name: str,
    space: Describer,
    architectures: Sequence[Architecture],
    values: FloatArray,
    *,
    target: str,
    sources: Sequence[Source],
    given: Sequence[Given],
    seed: int,
    **options: Any,
) -> Predictor:
    """Return what ``method``, called ``name`` in a recipe, fits to the values, with every answer checked.

    Raises:
        RecipeError: it raises anything but an error of this project, or returns something else than a predictor.
    """
    told = {"target": target, "sources": sources, "given": given, "seed": seed, **options}
    fitted: object = _answer(name, "fitted", lambda: method(space, architectures, values, **told))
    found = _answer(name, "asked for its held-out errors", lambda: getattr(fitted, "held_out", None))
    held_out = _answer(name, "asked for its held-out errors", lambda: getattr(fitted, "held_out_predictions", None))
    callables = [callable(getattr(fitted, each, None)) for each in ("predict", "predict_described")]
    if not (isinstance(found, HeldOutError) and isinstance(held_out, HeldOut) and all(callables)):
        raise RecipeError(
            f"a predictor must have predict, predict_described, held_out and held_out_predictions, but {name!r} "
            f"returned a {type(fitted).__name__} without them. See nas.Predictor."
        )
    if not _answer(name, "asked for its held-out errors", lambda: _are_of(values, held_out)):
        raise RecipeError(
            f"held_out_predictions must hold a prediction of each of the {len(values)} samples, in their order, but "
            f"those of {name!r} are of other samples, or in another order. See nas.HeldOut."
        )
    return GuardedPredictor(name, fitted, found, held_out)  # type: ignore[arg-type]


def _are_of(values: FloatArray, held_out: HeldOut) -> bool:
    """Return True if held-out predictions are of the samples with these values, in their order."""
    parts = held_out.values, held_out.mean, held_out.lower, held_out.upper
    return all(np.shape(part) == np.shape(values) for part in parts) and np.allclose(held_out.values, values)


@final
@dataclass(frozen=True, eq=False)
class GuardedPredictor:
    """A predictor whose predictions are checked before anything is decided by them."""

    name: str
    inner: Predictor
    held_out: HeldOutError
    held_out_predictions: HeldOut

    @property
    def grounds(self) -> tuple[str, ...]:
        """What its predictions rest on, in sentences."""
        return tuple(map(str, _answer(self.name, "asked for its grounds", lambda: grounds_of(self.inner))))

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Predict N architectures. Raises RecipeError for a prediction that is none."""
        return self._checked(len(architectures), lambda: self.inner.predict(architectures))

    def predict_described(self, batch: Batch) -> Prediction:
        """Predict a batch that ``batch_of`` made. Raises RecipeError for a prediction that is none."""
        return self._checked(len(batch), lambda: self.inner.predict_described(batch))

    def _checked(self, count: int, ask: Callable[[], Prediction]) -> Prediction:
        found: object = _answer(self.name, "asked to predict", ask)
        if not isinstance(found, Prediction):
            raise RecipeError(f"predict must return a nas.Prediction, but {self.name!r} gave a {type(found).__name__}.")
        for part in ("mean", "lower", "upper", "limit", "known"):
            shape = np.shape(getattr(found, part))
            if shape != (count,):
                raise RecipeError(
                    f"a prediction of {count} architectures must have arrays of shape ({count},), but {self.name!r} "
                    f"gave {part} of shape {shape}."
                )
        sound = np.isfinite(found.mean) & (found.mean > 0) & (found.lower <= found.mean) & (found.mean <= found.upper)
        sound &= ~np.isnan(found.limit)
        if not sound.all():
            index = int(np.flatnonzero(~sound)[0])
            lower, mean, upper = (float(each[index]) for each in (found.lower, found.mean, found.upper))
            raise RecipeError(
                f"a predicted value must be positive and finite, and within its bounds, but {self.name!r} predicted "
                f"{mean:g} within {lower:g} and {upper:g}."
            )
        return found


def _answer(name: str, doing: str, ask: Callable[[], R]) -> R:
    """Return what a predictor answers. Raises RecipeError if it raises anything but an error of this project."""
    try:
        with own_code():
            return ask()
    except NasError:
        raise
    except Exception as error:
        raise RecipeError(f"the predictor {name!r} failed when it was {doing}: {raised_text(error)}") from error
