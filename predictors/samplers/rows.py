"""An array that grows by rows, so that appending does not copy all of them."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.values.pareto import IntArray


@final
class Rows:
    """An array that grows by rows; its capacity doubles, so that appending is cheap."""

    def __init__(self) -> None:
        self.count = 0
        self._held: NDArray[Any] = np.empty((0, 0))

    @property
    def rows(self) -> NDArray[Any]:
        """All rows so far."""
        return self._held[: self.count]

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, of the same width as those before."""
        needed = self.count + len(rows)
        if needed > len(self._held):
            grown = np.empty((max(needed, 2 * len(self._held)), rows.shape[1]), dtype=rows.dtype)
            if self.count:
                grown[: self.count] = self.rows
            self._held = grown
        self._held[self.count : needed] = rows
        self.count = needed

    def keep(self, places: IntArray) -> None:
        """Forget all rows but those at N places, shape (N,), which follow each other from now on."""
        self._held = self.rows[places]
        self.count = len(places)
