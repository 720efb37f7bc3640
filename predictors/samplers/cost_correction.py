"""What was seen of costs that were known beforehand, where the two differ: how far off others probably are.

Predictions from few measurements are off by some per cent, and by alike for networks that look alike: they are drawn
towards the middle, so that the cheapest seem dearer than they are, by a fifth and more. Evaluations show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nas.prediction.predictor import FloatArray
from predictors.gp import Process, learn
from predictors.kernel import Inputs
from predictors.samplers.error_surrogate import BELIEF, GROWTH, Belief

DOUBT = 0.5
"""The share of its deviations that counts: with all of them too much goes to what is merely uncertain, with none what
is cheaper than it seems is found later (12 runs on six devices of NAS-Bench-201: 16 % and 7 % fewer evaluations to 99 %
of the hypervolume with a half and with none than without corrections)."""
NEGLIGIBLE = 1e-6
"""Smaller differences relative to the costs are none."""


@final
@dataclass(frozen=True, eq=False)
class Correction:
    """A process for what is seen relative to what is known: as logarithms where all of it is positive.

    It expects no difference where it knows nothing.
    """

    process: Process
    is_log: bool
    scale: float
    settled_at: int

    @classmethod
    def fit(
        cls, inputs: Inputs, known: FloatArray, seen: FloatArray, before: Correction | None = None
    ) -> Correction | None:
        """What N evaluations with costs ``known`` and ``seen``, each of shape (N,), tell; None where they are the same.

        ``before`` was fitted to fewer of them.
        """
        is_log = bool((known > 0).all() and (seen > 0).all())
        differences = np.log(seen / known) if is_log else seen - known
        scale = float(np.sqrt(np.mean(differences**2)))
        if scale <= NEGLIGIBLE * (1.0 if is_log else float(np.abs(known).max())):
            return None
        if before is not None and before.is_log != is_log:
            before = None
        settle = before is None or len(known) >= GROWTH * before.settled_at
        logs = None if before is None else before.process.beliefs[0].logs
        process = learn(inputs, differences / scale, BELIEF, np.ones(len(known)), logs=logs, settle=settle)
        return cls(process, is_log, scale, len(known) if settle or before is None else before.settled_at)

    def belief(self, inputs: Inputs, known: FloatArray) -> Belief:
        """What is to be expected of N architectures of which ``known``, shape (N,), is known beforehand."""
        if self.is_log and not (known > 0).all():
            return Belief(known, np.zeros(len(known)), is_log=False)  # what was seen tells nothing of these
        means, deviations = self.process.predict(inputs.as_type(np.float32), noisy=False)
        expected = (np.log(known) if self.is_log else known) + self.scale * means
        return Belief(expected, DOUBT * self.scale * deviations, self.is_log)
