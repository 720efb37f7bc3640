"""Measure random architectures of a space into a table: gzip CSV, one architecture a row, for predictors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.errors import RecipeError
from nas.hardware.bench import Bench
from nas.hardware.measuring import Surroundings, measure_architectures
from nas.progress import Progress
from nas.space.architecture import Architecture
from nas.space.first_look import FirstLook
from nas.space.layer import total_macs, total_params
from nas.space.search_space import SearchSpace, count as count_assignments, sample
from nas.space.signature import Signature
from nas.space.tracing import layers_of
from nas.storage.measurement_store import MeasurementStore
from nas.tables.table import CHOICE
from nas.tables.table_file import check_name, has_header, read_cells, write_cells
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement
from nas.values.target import Target

TOGETHER = 40
"""The number of architectures that are measured together. An interruption loses no more than these."""
DRAWS_PER_ROW = 50


def measure_table(
    space: SearchSpace,
    count: int,
    target: Target,
    bench: Bench,
    path: Path,
    *,
    signature: Signature,
    metrics: Sequence[str],
    store: MeasurementStore | None,
    seed: int,
    progress: Progress,
    look: FirstLook | None = None,
) -> list[Evaluation]:
    """Measure ``count`` different random architectures, and write them to ``path`` in the layout of ``table_cells``.

    ``look`` is taken at each architecture before it is built.

    The file is written after every ``TOGETHER`` architectures. The same seed draws the same architectures, so an
    interrupted run continues where the store ends. A table that is there already keeps its other rows.

    Raises:
        RecipeError: the space has fewer than ``count`` architectures; ``path`` does not end in .csv.gz; or it holds a
            table of another space, target or set of metrics.
        TargetError: the target cannot be measured here.
    """
    check_table(path, space, target, metrics)
    architectures = _draw(space, count, np.random.default_rng(seed))
    surroundings = Surroundings(space, bench, signature, target.batch, store, look)
    return measure_in_parts(surroundings, architectures, target, metrics, path, seed=seed, progress=progress)


def measure_in_parts(
    surroundings: Surroundings,
    architectures: Sequence[Architecture],
    target: Target,
    metrics: Sequence[str],
    path: Path | None,
    *,
    seed: int,
    progress: Progress,
) -> list[Evaluation]:
    """Measure ``architectures``, at most ``TOGETHER`` at once, and add each part to the table at ``path``, if given.

    A row that is there already stays until its architecture has been measured again.

    Raises:
        RecipeError: the table cannot be read.
        TargetError: the target cannot be measured here.
    """
    space, signature = surroundings.space, surroundings.signature
    there = read_cells(path)[1] if path is not None and path.exists() else []
    rows: list[Evaluation] = []
    for start in range(0, len(architectures), TOGETHER):
        rows += measure_architectures(
            surroundings,
            architectures[start : start + TOGETHER],
            metrics,
            round_number=0,
            rng=np.random.default_rng((seed, start)),
            progress=progress,
        )
        if path is not None:
            done = {row.architecture.id for row in rows}
            others = [line for line in there if line[1] not in done]
            write_cells(path, *table_cells(space, rows, target, signature, metrics, others))
    return rows


def check_compared(count: int) -> None:
    """Check that so many architectures share their sessions, so that they can be compared. Raises RecipeError."""
    if count > TOGETHER:
        raise RecipeError(
            f"at most {TOGETHER} architectures are measured in the same sessions and compared, but got {count}. "
            "Name fewer, or leave --compare out."
        )


def check_table(path: Path, space: SearchSpace, target: Target, metrics: Sequence[str]) -> None:
    """Check that rows may be written to ``path``: it is new, or holds a table with the same columns.

    Raises:
        RecipeError: a name that does not end in .csv.gz, or a file that is something else.
    """
    check_name(path)
    if path.exists() and not has_header(path, columns_of(space, target, metrics)):
        raise RecipeError(
            f"a table holds one space, target and set of metrics, but {path} exists and has other columns. "
            "Choose another file."
        )


def columns_of(space: SearchSpace, target: Target, metrics: Sequence[str]) -> list[str]:
    """Return the names of a table's columns; see ``table_cells``."""
    device = device_name(target)
    measured = [name for metric in metrics for name in measured_columns(metric, device)]
    others = ["idx", "id", "params", "mflops", *measured, f"flags_{device}", "failure"]
    names = [f"{CHOICE * (choice.name in others)}{choice.name}" for choice in space.choices]
    return [*others[:2], *names, *others[2:]]


def table_cells(
    space: SearchSpace,
    rows: Sequence[Evaluation],
    target: Target,
    signature: Signature,
    metrics: Sequence[str],
    others: Sequence[Sequence[str]] = (),
) -> tuple[list[str], list[list[object]]]:
    """Return the cells of a table: its header, and one architecture a row; first the ``others``, which it had before.

    Columns: ``idx``; the architecture's ``id``; for each choice the number of its option, from 0, or nothing if it is
    inactive, with ``choice.`` before the names of choices that another column has; ``params``; ``mflops``,
    multiply-accumulates in millions; for each metric its median as ``<metric>_<device>``, and its 95 % interval as
    ``lower_…`` and ``upper_…``; ``flags_<device>``; and ``failure``. ``device_name`` gives the device. A cell without a
    measurement is empty.
    """
    cells: list[list[object]] = [[index, *line[1:]] for index, line in enumerate(others)]
    cells += [
        [
            index,
            *_named(space, row.architecture),
            *_counts(space, row, signature),
            *_values(row, metrics),
            "; ".join(sorted({flag for m in row.measurements.values() for flag in m.flags})),
            "" if row.failure is None else row.failure.reason,
        ]
        for index, row in enumerate(rows, start=len(others))
    ]
    return columns_of(space, target, metrics), cells


def named_cells(space: SearchSpace, architectures: Sequence[Architecture]) -> tuple[list[str], list[list[str]]]:
    """Return the cells of a table of architectures without values: its header, and one architecture a row."""
    header = ["idx", "id", *(f"{CHOICE * (choice.name in ('idx', 'id'))}{choice.name}" for choice in space.choices)]
    return header, [[str(index), *map(str, _named(space, each))] for index, each in enumerate(architectures)]


def _named(space: SearchSpace, architecture: Architecture) -> list[str | int]:
    """Return the id of an architecture, and for each choice the number of its option, or nothing if it is inactive."""
    numbers = (
        choice.options.index(architecture[choice.name]) if choice.name in architecture else ""
        for choice in space.choices
    )
    return [architecture.id, *numbers]


def device_name(target: Target | str) -> str:
    """The target as part of a column's name: its text with ``_`` for ``:`` and without ``=``."""
    return str(target).replace(":", "_").replace("=", "")


def _counts(space: SearchSpace, row: Evaluation, signature: Signature) -> tuple[int | str, float | str]:
    if row.failed:
        return "", ""
    layers = layers_of(space, row.architecture, signature)
    return total_params(layers), total_macs(layers) / 1e6


def _values(row: Evaluation, metrics: Sequence[str]) -> list[str]:
    return [cell for metric in metrics for cell in measured_cells(row.measurements.get(metric))]


def measured_columns(metric: str, device: str) -> list[str]:
    """Return the names of the columns of a metric: of its median and of both bounds."""
    return [f"{part}{metric}_{device}" for part in ("", "lower_", "upper_")]


def measured_cells(found: Measurement | None) -> list[str]:
    """Return the cells of ``measured_columns``, which are empty without a measurement."""
    if found is None:
        return ["", "", ""]
    return [f"{value:.7g}" for value in (found.median, found.interval.lower, found.interval.upper)]


def _draw(space: SearchSpace, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Draw ``count`` different random architectures.

    Raises:
        RecipeError: the space has fewer, or ``DRAWS_PER_ROW`` draws a row do not find them.
    """
    rule = "--count must be at most the number of different architectures in the space, but"
    most = count_assignments(space)
    if count > most:
        raise RecipeError(f"{rule} it has {most} and {count} were asked for.")
    drawn: dict[str, Architecture] = {}
    for _ in range(DRAWS_PER_ROW * count):
        architecture = sample(space, rng)
        drawn.setdefault(architecture.id, architecture)
        if len(drawn) == count:
            return list(drawn.values())
    raise RecipeError(
        f"{rule} {DRAWS_PER_ROW * count} draws gave {len(drawn)} different ones and {count} were asked for."
    )
