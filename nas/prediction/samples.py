"""Measured values of one target, and the samples of them that a predictor is fitted to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError
from nas.prediction.layers.profiled_costs import profiled_costs
from nas.prediction.predictor import MIN_SAMPLES, FloatArray, Given, Predictor, PredictorMethod
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.values.metric import Metric
from nas.values.objective import Limit
from nas.values.other_target import Source
from nas.values.profiled_network import ProfiledNetwork

MOST_SAMPLES = 300
"""Measurements that are used by default: a fit and its learning curve then take minutes."""


@dataclass(frozen=True, eq=False)
class MeasuredDevice:
    """All measurements of one target.

    ``values`` maps each metric to its measured values by architecture. ``sources`` maps it to values of the same metric
    on other targets, and ``pool`` to architectures that could be measured next. ``latencies`` are all known latencies,
    which serve as a feature when energy is predicted. ``profiled`` are networks that tell what layers cost.
    """

    space: Describer
    target: str
    values: Mapping[str, Mapping[Architecture, float]]
    limits: Sequence[Limit] = ()
    sources: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    pool: Mapping[str, Sequence[Architecture]] = field(default_factory=dict)
    latencies: Mapping[Architecture, float] = field(default_factory=dict)
    profiled: Sequence[ProfiledNetwork] = ()


@dataclass(frozen=True, eq=False)
class Samples:
    """Measured values of one metric on one target, shape (N,), with everything else that a predictor may learn from.

    ``measured`` counts all measurements. If it exceeds N, the samples are a random part of them. ``profiled`` are
    networks of this run and earlier ones that tell what layers cost.
    """

    metric: Metric
    target: str
    architectures: Sequence[Architecture]
    values: FloatArray
    measured: int
    sources: Sequence[Source] = ()
    given: Sequence[Given] = ()
    profiled: Sequence[ProfiledNetwork] = ()

    def take(self, index: npt.NDArray[np.int64]) -> Samples:
        """Return the samples at ``index``."""
        chosen = [self.architectures[i] for i in index.tolist()]
        return replace(self, architectures=chosen, values=self.values[index])


def samples_of(
    metric: Metric,
    target: str,
    values: Mapping[Architecture, float],
    *,
    most: int,
    seed: int,
    sources: Sequence[Source] = (),
) -> Samples:
    """Return the measured ``values`` as samples; if there are more than ``most``, draw that many at random.

    Raises:
        RecipeError: fewer values than a predictor needs, or a value that is not positive.
    """
    what = f"{metric.name} on {target}"
    if len(values) < MIN_SAMPLES:
        raise RecipeError(f"a predictor needs {MIN_SAMPLES} measured architectures, but {what} has {len(values)}.")
    strange = [value for value in values.values() if not 0 < value < math.inf]
    if strange:
        raise RecipeError(f"a predictor is fitted to positive values, but {what} has {strange[0]:g}.")
    samples = Samples(metric, target, list(values), np.array(list(values.values())), len(values), tuple(sources))
    if len(values) <= most:
        return samples
    drawn = np.random.default_rng((seed, 0)).choice(len(values), most, replace=False)
    return samples.take(np.sort(drawn))


def fit_to(samples: Samples, space: Describer, method: PredictorMethod, seed: int) -> Predictor:
    """Return the predictor that ``method`` fits to these samples."""
    return method(
        space,
        samples.architectures,
        samples.values,
        target=samples.target,
        sources=samples.sources,
        given=[*samples.given, *profiled_costs(space, samples.architectures, samples.profiled)],
        seed=seed,
    )
