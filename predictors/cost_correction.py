"""What was seen of costs that were known beforehand, where the two differ: how far off others probably are.

Predictions from few measurements are off by some per cent, and by alike for networks that look alike: they are drawn
towards the middle, so that the cheapest seem dearer than they are. A search that evaluates them sees that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nas.predictor import FloatArray
from predictors.error_surrogate import BELIEF, Belief
from predictors.gp import Process, learn
from predictors.kernel import Inputs

OPT = 0.0
LINEAR = True
NEGLIGIBLE = 1e-6
"""Smaller relative differences, on average, are none."""


@final
@dataclass(frozen=True, eq=False)
class Correction:
    """A process for what is seen relative to what is known: as logarithms where all of it is positive.

    It expects no difference where it knows nothing.
    """

    process: Process
    is_log: bool
    middle: float
    spread: float
    scale: float
    settled_at: int

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        known: FloatArray,
        seen: FloatArray,
        before: Correction | None = None,
        growth: float = 1.15,
    ) -> Correction | None:
        is_log = bool((known > 0).all() and (seen > 0).all())
        if is_log:
            known, seen = np.log(known), np.log(seen)
        differences = seen - known
        size = 1.0 if is_log else float(np.abs(known).mean())
        scale = float(np.sqrt(np.mean(differences**2)))
        if scale <= NEGLIGIBLE * size:
            return None
        if before is not None and before.is_log != is_log:
            before = None
        if before is None or len(known) >= growth * before.settled_at:
            settle, settled_at, middle, spread = True, len(known), float(known.mean()), max(float(known.std()), 1e-9)
        else:
            settle, settled_at, middle, spread = False, before.settled_at, before.middle, before.spread
        if LINEAR:
            inputs = inputs.with_score((known - middle) / spread)
        process = learn(
            inputs,
            differences / scale,
            BELIEF,
            np.ones(len(known)),
            logs=None if before is None else before.process.beliefs[0].logs,
            settle=settle,
        )
        return cls(process, is_log, middle, spread, scale, settled_at)

    def belief(self, inputs: Inputs, known: FloatArray) -> Belief:
        """What is to be expected of N architectures of which ``known``, shape (N,), is known beforehand."""
        if self.is_log:
            known = np.log(known)
        if LINEAR:
            inputs = inputs.with_score((known - self.middle) / self.spread)
        means, deviations = self.process.predict(inputs.as_type(np.float32), noisy=False)
        return Belief(known + self.scale * means, OPT * self.scale * deviations, self.is_log)
