"""The names of metrics on further targets, as people write them and as a run has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nas.errors import RecipeError
from nas.values.measurement import Measurement
from nas.values.metric import bare_name, on_target, target_in
from nas.values.target import Target

LATENCY = "latency_ms"
"""It is measured of every winner on every target."""
WAYS: tuple[Callable[[Target], str], ...] = (lambda target: target.short, lambda target: target.device)
"""The ways to name a target, the surest first."""


def name_measured(name: str, measurements: Mapping[str, Measurement]) -> str:
    """Return the name under which a metric was measured on the target that stands before ``name``.

    The run may know that target by its device alone, or as its first one. A name that was not measured stays.
    """
    if name in measurements or not target_in(name):
        return name
    targets = {known: _target_of(found) for known, found in measurements.items() if bare_name(known) == bare_name(name)}
    for way in WAYS:
        meant = [known for known, target in targets.items() if target and way(target) == target_in(name)]
        if len(meant) == 1:
            return meant[0]
    return name


def name_scored(name: str, measurements: Mapping[str, Measurement]) -> str:
    """Return the name of a test score on the target that stands before ``name``, found as ``name_measured`` does."""
    on = target_in(name)
    latency = name_measured(on_target(on, LATENCY), measurements)
    return on_target(target_in(latency), bare_name(name)) if on else name


def _target_of(found: Measurement) -> Target | None:
    """Return the target of a measurement; None for a table's device."""
    try:
        return Target.parse(found.target)
    except RecipeError:
        return None
