"""What the sampler is told: how evaluations ended, and the objectives that are known before training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nas.results.notes.prior_ranks import PRIOR
from nas.searching.beliefs import Beliefs
from nas.searching.proposer import Prior, Told
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation
from nas.values.metric import Metric

CostsOf = Callable[[Sequence[Architecture]], npt.NDArray[np.float64]]


def told(beliefs: Beliefs, row: Evaluation) -> Told:
    """Return what the sampler is told of a training that has ended, failed or was stopped."""
    if row.failed:
        return Told(row.architecture, None, {})
    values = beliefs.values(row.architecture)
    if math.inf in values.values():  # it could be trained, but not be measured
        return Told(row.architecture, None, {})
    if row.reached_full_fidelity:
        seconds = None if row.is_as_it_came else row.details.get("seconds")
        return Told(row.architecture, beliefs.losses(values), beliefs.excesses(values), seconds=seconds)
    quality = beliefs.whole_curves(row.architecture).expected(row.details.get("curve", ()))
    if quality is None:
        return Told(row.architecture, None, {}, stopped=True)
    values |= {beliefs.quality.name: quality}
    # Nothing tells what the other trained metrics would have been in the end, so they are not reported.
    is_known = {limit.metric.name: limit.metric in (*_untrained(beliefs), beliefs.quality) for limit in beliefs.limits}
    excesses = {name: excess for name, excess in beliefs.excesses(values).items() if is_known[name]}
    return Told(row.architecture, None, excesses, stopped=True, expected=beliefs.losses(values))


def _untrained(beliefs: Beliefs) -> list[Metric]:
    return [limit.metric for limit in beliefs.cost_limits]


def known_losses(beliefs: Beliefs, architecture: Architecture) -> tuple[float, ...]:
    """Return the objectives that are known before training."""
    values = beliefs.values(architecture)
    return tuple(values[o.metric.name] for o in beliefs.objectives if o.metric.source != "trained")


def known_before(prior: Prior | None, architecture: Architecture) -> dict[str, dict[str, float]]:
    """Return the detail of a candidate that holds what a prior tells of it; nothing for a prior without names."""
    names = getattr(prior, "names", ())
    if prior is None or not names:
        return {}
    values = np.atleast_1d(np.asarray(prior([architecture]))[0]).tolist()
    return {PRIOR: {name: value for name, value in zip(names, values, strict=True) if math.isfinite(value)}}


def known_costs(beliefs: Beliefs) -> dict[int, CostsOf]:
    """Map an objective's number to a function of its known costs; empty if every objective is known."""

    def costs_of(name: str) -> CostsOf:
        return lambda architectures: beliefs.costs(architectures, name)

    metrics = [objective.metric for objective in beliefs.objectives]
    known = {index: costs_of(metric.name) for index, metric in enumerate(metrics) if metric.source != "trained"}
    return known if len(known) < len(metrics) else {}
