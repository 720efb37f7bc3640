"""Learning curves: how the held-out error of a predictor falls with the number of samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nas.prediction.predictor import MIN_SAMPLES, Predictor, PredictorMethod
from nas.prediction.samples import Samples, fit_to
from nas.space.description import Describer
from nas.values.held_out import HeldOutError

CURVE_SIZES = 5
SMALLEST_SHARE = 0.15
"""Share of the samples at which the learning curve begins."""


def learning_curve(
    predictor: Predictor,
    samples: Samples,
    space: Describer,
    method: PredictorMethod,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> tuple[HeldOutError, ...]:
    """Return held-out errors of predictors fitted to nested random parts of the samples, the smallest part first.

    There are up to ``CURVE_SIZES`` sizes, each larger than the one before by the same factor. The last error is that of
    ``predictor`` itself. ``advance`` is called once for each size.
    """
    total = len(samples.values)
    smallest = max(MIN_SAMPLES, round(SMALLEST_SHARE * total))
    sizes = sorted({round(size) for size in np.geomspace(min(smallest, total), total, CURVE_SIZES)})
    order = np.random.default_rng((seed, 1)).permutation(total)
    curve = []
    for size in sizes[:-1]:
        curve.append(fit_to(samples.take(np.sort(order[:size])), space, method, seed).held_out)
        advance()
    advance()
    return (*curve, predictor.held_out)
