"""Columns of a table that rank accuracies before anything is evaluated, such as accuracies on other data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError
from nas.space.architecture import Architecture
from nas.tables.table import Table


@final
class TablePrior:
    """What some columns of a table tell of accuracies beforehand: a row with a higher value is probably better.

    Raises:
        RecipeError: a column is missing, constant or empty, or holds a text.
    """

    higher_is_better = True
    """True: a sampler may begin with architectures whose values are high."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self.names = tuple(names)
        columns = [table.column(name) for name in names]
        for name, values in zip(names, columns, strict=True):
            known = values[np.isfinite(values)]
            if not len(known) or known.min() == known.max():
                what = "is empty" if not len(known) else f"is {known[0]:g} in every row"
                raise RecipeError(f"a prior must tell rows apart, but column {name!r} of {table.path} {what}.")
        self._values = np.column_stack(columns)
        self._rows = table.first_rows
        self._path = table.path

    def __call__(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Return the values of N architectures, shape (N, names); NaN where the table has none."""
        rows = np.array([self._rows.get(architecture, -1) for architecture in architectures], dtype=np.int64)
        found = self._values[rows]
        found[rows < 0] = np.nan
        return found

    @property
    def doubts(self) -> list[str]:
        """Sentences about rows of which nothing is known beforehand."""
        empty = np.isnan(self._values[list(self._rows.values())]).sum(axis=0)
        return [
            f"{count} of {len(self._rows):,} rows of {self._path} have no {name}, so nothing is expected of them."
            for name, count in zip(self.names, empty.tolist(), strict=True)
            if count
        ]
