"""One device of a table, with its measured values, as the trust report of a predictor takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nas.errors import RecipeError, did_you_mean
from nas.prediction.next_measurements import POOL_FROM_TABLE, pool_of
from nas.prediction.samples import MeasuredDevice
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.tables.measured_table import device_name
from nas.tables.onboarding import sources_from
from nas.tables.table import Table, read_table
from nas.values.metric import MEASURED_METRICS
from nas.values.other_target import Source
from nas.values.target import Target


def device_in_file(
    path: Path,
    space: Describer,
    name: str | None,
    metrics: Sequence[str],
    sources: Sequence[str] | None,
    seed: int,
    say: Callable[[str], None],
) -> MeasuredDevice:
    """Return the measured values of one device in the table at ``path``; see ``device_named`` and ``device_of_table``.

    ``say`` is told where the table has several values of one architecture.

    Raises:
        RecipeError: no table of this space, an unknown device, or no such values of a metric or of a source.
    """
    table = read_table(path, space.space)
    device = device_named(table, name)
    for doubt in table.doubts_about(f"{metric}_{device}" for metric in MEASURED_METRICS):
        say(doubt)
    return device_of_table(table, space, device, metrics, sources, seed)


def device_of_table(
    table: Table, space: Describer, device: str, metrics: Sequence[str], sources: Sequence[str] | None, seed: int
) -> MeasuredDevice:
    """Return the measured values of one device in a table.

    ``device`` is named as the table's columns name it. Without ``metrics``, all metrics of the device are taken.
    ``sources`` are devices to transfer from; None means no transfer, and an empty sequence all other devices.

    Raises:
        RecipeError: the table has no such values of a metric or of a source.
    """
    metrics = list(metrics) or [name for name in MEASURED_METRICS if device in table.targets(name)]
    values: dict[str, dict[Architecture, float]] = {}
    found_sources: dict[str, Sequence[Source]] = {}
    pool: dict[str, list[Architecture]] = {}
    for name in metrics:
        values[name] = table.values(f"{name}_{device}")
        if sources is not None:
            found_sources[name] = sources_from(table, name, device, sources)
        unseen = list(dict.fromkeys(a for a in table.architectures if a not in values[name]))
        if unseen:
            drawn = np.random.default_rng((seed, 2)).permutation(len(unseen))[:POOL_FROM_TABLE]
            pool[name] = [unseen[index] for index in drawn.tolist()]
        else:
            pool[name] = pool_of(space, values[name], seed)
    return MeasuredDevice(space, device, values, (), found_sources, pool, latencies_of(table, device))


def latencies_of(table: Table, device: str) -> dict[Architecture, float]:
    """Return the known latencies of a device, in milliseconds; none if the table has no such column."""
    if device not in table.targets("latency_ms"):
        return {}
    return table.values(f"latency_ms_{device}")


def device_named(table: Table, name: str | None) -> str:
    """Return a device as the table's columns name it; ``name`` may also be a target such as ``onnxruntime-cpu:int8``.

    Without a name, the only device of the table is returned.

    Raises:
        RecipeError: an unknown device, no device at all, or several devices and no name.
    """
    known = list(dict.fromkeys(device for metric in MEASURED_METRICS for device in table.targets(metric)))
    if not known:
        raise RecipeError(f"a table must have a column such as latency_ms_<device>, but {table.path} has none.")
    if name is None:
        if len(known) > 1:
            raise RecipeError(
                f"{table.path} has {len(known)} devices: name one with --target. {did_you_mean('', known)}"
            )
        return known[0]
    if name in known:
        return name
    try:
        as_column = device_name(Target.parse(name))
    except RecipeError:
        as_column = name
    if as_column not in known:
        raise RecipeError(f"--target must be a device of {table.path}, but got {name!r}. {did_you_mean(name, known)}")
    return as_column
