"""Kept measurements of a space as columns of a table: of this machine, of boards, and of a new target itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nas.errors import RecipeError
from nas.space.architecture import Architecture
from nas.storage.measurement_store import LEAST_OF_A_SOURCE, MeasurementStore
from nas.tables.measured_table import device_name
from nas.tables.table import Table
from nas.values.pareto import FloatArray

Values = Mapping[Architecture, float]
"""Values of a metric by architecture."""


def kept_elsewhere(store: MeasurementStore, space: str, metric: str, device: str) -> dict[str, Values]:
    """Return the kept values of a metric on each other target than ``device``, by its name in a table.

    ``space`` is its ``space_identity``. A target that was measured with several versions has the values of one of them,
    the one with most values.

    Raises:
        TargetError: the file is no store of this program.
    """
    found: dict[str, Values] = {}
    for source in store.sources(space, metric, without=()):
        name = device_name(source.target)
        if name != device and len(source.values) >= len(found.get(name, ())):
            found[name] = dict(zip(source.architectures, source.values.tolist(), strict=True))
    return found


def kept_there(store: MeasurementStore, fingerprint: str | None, space: str, metric: str) -> Values:
    """Return the kept values of a metric on the target with a fingerprint; none if that must not be kept."""
    known = {} if fingerprint is None else store.kept(fingerprint, space, metric)
    return {architecture: found.median for architecture, found in known.items() if found.median > 0}


def with_kept(table: Table, metric: str, kept: Mapping[str, Values], *, fill: bool = False) -> Table:
    """Return a table with a column of ``metric`` for each target that it lacks; with ``fill`` also in empty cells."""
    columns = dict(table.columns)
    for device, values in kept.items():
        name = f"{metric}_{device}"
        if table.has_column(name) and not fill:
            continue
        found = _column(table.architectures, values)
        columns[name] = np.where(np.isfinite(columns[name]), columns[name], found) if name in columns else found
    return replace(table, columns=columns)


def table_of_kept(store: MeasurementStore, metric: str, kept: Mapping[str, Values]) -> Table:
    """Return a table of all architectures with kept values, whose path is that of the store.

    Raises:
        RecipeError: there are none.
    """
    if not kept:
        raise RecipeError(
            f"onboarding learns from a table, or from kept measurements of {metric} in the space on another target, of "
            f"at least {LEAST_OF_A_SOURCE} networks, but {store.path} has none. Search or measure the space there, or "
            "name a table with --table."
        )
    architectures = tuple(dict.fromkeys(each for values in kept.values() for each in values))
    return with_kept(Table(store.path, architectures, {}, {}), metric, kept)


def _column(architectures: Sequence[Architecture], values: Values) -> FloatArray:
    return np.array([values.get(each, np.nan) for each in architectures])
