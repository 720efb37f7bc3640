"""Surrogates of expensive objectives: Gaussian processes over the options and layers of networks.

Errors are learned as logarithms, because halving an error of 8 % is as hard as halving one of 4 %. The largest errors
are clipped, because the error of a hopeless network says nothing about good ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from nas.prediction.predictor import FloatArray
from predictors.processes.kernel import PRIOR, Inputs
from predictors.processes.process import Process, learn

BELIEF = PRIOR._replace(
    **dict.fromkeys(("options", "options_near", "counts", "counts_near", "layers", "layers_near"), 0.2),
    options_rate=2.0,
    noise=0.03,
)
"""Prior hyperparameters: all kinds of features are equally informative, in linear and in Gaussian terms."""
_FARTHEST_SPREADS = 3.0
GROWTH = 1.15
"""Hyperparameters are optimised again when the number of samples has grown by this factor."""


@final
@dataclass(frozen=True, eq=False)
class Surrogate:
    """A process for the values of one objective; its hyperparameters were optimised with ``settled_at`` samples."""

    process: Process
    is_log: bool
    mean: float
    scale: float
    settled_at: int

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        values: FloatArray,
        noise: FloatArray,
        before: Surrogate | None = None,
        *,
        as_errors: bool = True,
    ) -> Surrogate:
        """Fit a surrogate to N samples with ``values``, shape (N,); ``before`` was fitted to fewer of them.

        ``noise``, shape (N,), is the variance of each sample's noise relative to the usual one. With ``as_errors`` the
        largest values are clipped, and positive values are learned as logarithms.
        """
        is_log = as_errors and bool((values > 0).all())
        targets = np.log(values) if is_log else np.asarray(values, dtype=np.float64)
        if as_errors:
            middle, upper = np.quantile(targets, (0.5, 0.75))
            targets = np.minimum(targets, upper + _FARTHEST_SPREADS * max(upper - middle, 1e-9))
        mean, scale = float(targets.mean()), max(float(targets.std()), 1e-9)
        settle = before is None or before.is_log != is_log or len(values) >= GROWTH * before.settled_at
        logs = before.process.beliefs[0].logs if before is not None else None
        process = learn(inputs, (targets - mean) / scale, BELIEF, noise, logs=logs, settle=settle)
        return cls(process, is_log, mean, scale, len(values) if settle or before is None else before.settled_at)

    def predict(self, inputs: Inputs) -> Belief:
        """Predict N further architectures."""
        means, deviations = self.process.predict(inputs.as_type(np.float32), noisy=False)
        return Belief(means * self.scale + self.mean, deviations * self.scale, self.is_log)


@final
@dataclass(frozen=True, eq=False)
class Belief:
    """Means and standard deviations, each of shape (N,), of values or of their logarithms."""

    means: FloatArray
    deviations: FloatArray
    is_log: bool

    def optimistic(self, deviations: float) -> FloatArray:
        """Return the values, shape (N,), that lie ``deviations`` standard deviations below the mean."""
        values = self.means - deviations * self.deviations
        return np.exp(values) if self.is_log else values
