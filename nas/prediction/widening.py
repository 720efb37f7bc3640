"""Widening the bounds of a predictor where values that were measured later lay above them too often.

Bounds are calibrated on held-out samples. What a search proposes differs from these: it looks for the fastest among
what is accurate, and so for what was predicted too low. What is measured after its prediction tells if bounds hold.
This is the idea of adaptive conformal inference (Gibbs and Candès 2021, arXiv:2106.00170), by a test instead of a step,
because a search measures few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from nas.prediction.predictor import Batch, FloatArray, HeldOut, Prediction, Predictor, grounds_of
from nas.space.architecture import Architecture
from nas.values.held_out import HeldOutError

ALLOWED = 0.05
"""The share of values that may lie above a one-sided 95 % bound."""
LEVEL = 0.04
"""Bounds are widened if chance alone gives as many values above them at most this often."""
MOST = 5.0
"""The largest factor; a predictor that needs a larger one is warned of by its error."""


@final
@dataclass(frozen=True)
class Later:
    """A value that was measured after its prediction, whose bounds were ``widened`` by a factor."""

    measured: float
    mean: float
    limit: float
    widened: float

    @property
    def reach(self) -> float:
        """The factor by which the predictor's own bound must be widened to hold this value; negative below the mean."""
        own = math.log(self.limit / self.mean) / self.widened
        return math.log(self.measured / self.mean) / max(own, 1e-9)


@final
@dataclass(frozen=True)
class Widening:
    """The factor by which bounds are widened, in logarithms, because ``above`` of ``count`` values lay above them."""

    factor: float = 1.0
    above: int = 0
    count: int = 0

    @property
    def told(self) -> str | None:
        """A sentence about it; None without widening."""
        if self.factor == 1:
            return None
        return (
            f"Of {self.count} architectures that were measured after their prediction, {self.above} lay above the "
            f"predictor's 95 % bound, so that its bounds are made {self.factor:.1f} times as wide."
        )


def widening_after(later: Sequence[Later]) -> Widening:
    """Return how far the predictor's own bounds must be widened to hold what was measured later.

    The factor is 1 unless more values would lie above the own bounds than chance explains. Then it is the smallest
    with which 95 % of the values hold, or all of them where these are fewer than 19.
    """
    reaches = np.sort([each.reach for each in later])
    count, above = len(reaches), int((reaches > 1).sum())
    if not above or _chance(above, count) > LEVEL:
        return Widening()
    rank = min(count, math.ceil((1 - ALLOWED) * (count + 1)))
    factor = min(MOST, max(1.0, float(reaches[rank - 1])))
    return Widening(factor, above, count)


def _chance(above: int, count: int) -> float:
    """Return the probability that at least ``above`` of ``count`` values lie above bounds that hold."""
    fewer = (math.comb(count, k) * ALLOWED**k * (1 - ALLOWED) ** (count - k) for k in range(above))
    return 1.0 - sum(fewer)


@final
@dataclass(frozen=True, eq=False)
class WidenedPredictor:
    """A predictor whose bounds are ``factor`` times as far from the mean, in logarithms."""

    inner: Predictor
    factor: float

    @property
    def held_out(self) -> HeldOutError:
        """Errors on held-out samples, with the predictor's own bounds."""
        return self.inner.held_out

    @property
    def held_out_predictions(self) -> HeldOut:
        """The held-out predictions behind these errors."""
        return self.inner.held_out_predictions

    @property
    def grounds(self) -> tuple[str, ...]:
        """What its predictions rest on, in sentences."""
        return grounds_of(self.inner)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Predict N architectures."""
        return self._widened(self.inner.predict(architectures))

    def predict_described(self, batch: Batch) -> Prediction:
        """Predict a batch that ``batch_of`` made."""
        return self._widened(self.inner.predict_described(batch))

    def _widened(self, found: Prediction) -> Prediction:
        def away(bound: FloatArray) -> FloatArray:
            with np.errstate(over="ignore"):  # a bound may be infinite
                moved: FloatArray = found.mean * (bound / found.mean) ** self.factor
            return moved

        return Prediction(found.mean, away(found.lower), away(found.upper), away(found.limit), found.known)
