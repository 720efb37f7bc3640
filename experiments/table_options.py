"""The options with which both comparisons name a table, the space of its rows, and devices to transfer from.

A device is named as the columns of the table do after the metric: with a column ``latency_ms_pixel3`` the device is
``pixel3``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from experiments.command_line import image_shape, names, names_or_none, positive
from nas.errors import RecipeError, did_you_mean
from nas.prediction.predictor import MIN_SAMPLES
from nas.recipe.toml_text import apply_overrides
from nas.space.description import Describer
from nas.space.search_space import SearchSpace, load_space
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.tables.row_space import RowSpace
from nas.tables.table import Table, read_table
from nas.values.other_target import Source

TABLE = "table"
"""The name of the space whose architectures are the rows of a table."""
SOURCE_ROWS = 900
"""Only so many of the first rows show values of the sources, unless the rows are the space."""


class TableSettings(Protocol):
    """The settings that both comparisons have."""

    @property
    def table(self) -> Path: ...

    @property
    def space(self) -> str: ...

    @property
    def choices(self) -> tuple[str, ...]: ...

    @property
    def features(self) -> tuple[str, ...]: ...

    @property
    def source_rows(self) -> int | None: ...

    @property
    def input_shape(self) -> tuple[int, int, int]: ...

    @property
    def classes(self) -> int: ...

    @property
    def option(self) -> tuple[str, ...]: ...


def add_table_options(parser: argparse.ArgumentParser, *, prior: str) -> None:
    """Add the options to a parser; ``prior`` says what columns that are known beforehand are used for."""
    columns = "COLUMN[,COLUMN]"
    parser.add_argument("--table", type=Path, required=True, help="CSV file, plain or gzip")
    parser.add_argument("--space", required=True, help="a registered space, module:Name, or table for the rows")
    parser.add_argument(
        "--choices", type=names, default=(), metavar=columns, help="columns that tell rows apart, with --space table"
    )
    parser.add_argument(
        "--features", type=names_or_none, default=(), metavar=columns, help="numbers known of all rows, likewise"
    )
    parser.add_argument("--prior", type=names_or_none, default=(), metavar=columns, help=prior)
    parser.add_argument(
        "--sources", type=names_or_none, default=(), metavar="DEVICE[,DEVICE]", help="devices to transfer from"
    )
    parser.add_argument(
        "--source-rows",
        type=positive,
        help=f"first rows that show values of sources; default: {SOURCE_ROWS}, or all with --space table",
    )
    parser.add_argument("--input-shape", type=image_shape, default=(3, 32, 32), metavar="CxHxW", help="of the images")
    parser.add_argument("--classes", type=positive, default=10, help="number of classes")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the space; may be repeated"
    )


def check_table_options(options: argparse.Namespace) -> None:
    """Check options that belong together. Raises RecipeError if some contradict each other."""
    for option in options.option:
        if "=" not in option:
            raise RecipeError(f"--option takes KEY=VALUE, such as channels=8, but got {option!r}.")
    if options.space == TABLE and not options.choices:
        raise RecipeError("--space table needs --choices: the columns that tell rows apart, such as family,resolution.")
    if options.space == TABLE and options.option:
        raise RecipeError(
            f"--space table takes --choices and --features, and no --option, but got {options.option[0]!r}."
        )
    given = [name for name in ("choices", "features") if getattr(options, name)]
    if options.space != TABLE and given:
        raise RecipeError(f"--{given[0]} names columns of --space table, but the space is {options.space!r}.")


def space_of(settings: TableSettings) -> SearchSpace:
    """Return the space of a table.

    Raises:
        RecipeError: an unknown space or option, or columns that cannot be choices or features.
        SpaceError: the space breaks its own rules.
    """
    if settings.space == TABLE:
        return RowSpace(settings.table, settings.choices, settings.features)
    options = apply_overrides({}, settings.option)
    return load_space(settings.space, options, input_shape=settings.input_shape, classes=settings.classes)


def table_of(settings: TableSettings, space: SearchSpace) -> Table:
    """Read the table. Raises RecipeError as ``read_table`` does."""
    return read_table(settings.table, space)


def notes_of(space: SearchSpace) -> list[str]:
    """Return sentences about what was left out of a space of rows."""
    return space.notes if isinstance(space, RowSpace) else []


def describer_for(settings: TableSettings, space: SearchSpace) -> Describer:
    """Return the describer of a space."""
    return describer_of(space, image_signature(settings.input_shape, settings.classes))


def column_on(table: Table, column: str, device: str) -> str | None:
    """Return the column of the metric of ``column`` on another device; None if the table has none.

    The metric is the longest beginning of ``column`` with which the table has that device.
    """
    parts = column.split("_")
    others = ("_".join((*parts[:end], device)) for end in range(len(parts) - 1, 0, -1))
    return next((other for other in others if table.has_column(other)), None)


def as_devices(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return what devices are called, given names of whole columns that measure what ``columns`` do."""
    found = []
    for name in names:
        shared = max((_shared(name, column) for column in columns), default=0)
        found.append("_".join(name.split("_")[shared:]))
    return found


def _shared(first: str, second: str) -> int:
    """Return how many words two names begin with together; each has a further one."""
    pairs = list(zip(first.split("_")[:-1], second.split("_")[:-1], strict=False))
    return next((place for place, (one, other) in enumerate(pairs) if one != other), len(pairs))


def source_of(table: Table, column: str, device: str, rows: int | None, usable: npt.NDArray[np.bool_]) -> Source:
    """Return the values of a column in its first ``rows`` usable rows, or in all, as those of another device.

    Raises:
        RecipeError: it has too few values.
    """
    values = table.column(column, positive=True)
    found = np.flatnonzero((np.isfinite(values) & usable)[:rows])
    if len(found) < MIN_SAMPLES:
        where = f"in the first {rows} rows" if rows is not None else "in the table"
        raise RecipeError(
            f"a source must have at least {MIN_SAMPLES} usable values {where}, but {device!r} has {len(found)}. Raise "
            "--source-rows or choose another source."
        )
    return Source(device, [table.architectures[row] for row in found], values[found])


def rows_of_sources(settings: TableSettings) -> int | None:
    """Return the number of first rows that show values of sources, or None for all."""
    if settings.source_rows is not None:
        return settings.source_rows
    return None if settings.space == TABLE else SOURCE_ROWS


def check_sources(table: Table, devices: Sequence[str], columns: Sequence[str]) -> None:
    """Check that each device has a column like one of ``columns``. Raises RecipeError, which tells what to write."""
    for device in devices:
        if any(column_on(table, column, device) for column in columns):
            continue
        if table.has_column(device):
            (short,) = as_devices([device], columns)
            raise RecipeError(
                f"--sources names devices, as --targets of compare_predictors does, and not columns: write {short} "
                f"instead of {device}."
            )
        known = sorted({each for column in columns for each in _devices_like(table, column)})
        raise RecipeError(
            f"--sources must be devices of {table.path.name} with a column like {columns[0]!r}, but got {device!r}. "
            f"{did_you_mean(device, known)}"
        )


def _devices_like(table: Table, column: str) -> list[str]:
    others = [name for name in table.names if _shared(name, column) and name != column]
    most = max((_shared(name, column) for name in others), default=0)
    return as_devices([name for name in others if _shared(name, column) == most], [column])
