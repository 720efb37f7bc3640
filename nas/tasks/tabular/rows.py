"""Some rows of a table, as models learn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nas.tasks.batches import IntArray, Items, Places, Tensors
from nas.tasks.deployed.inputs import Arrays


@dataclass(frozen=True, eq=False, repr=False)
class TableRows:
    """Some rows of a table: raw arrays of numbers and of categories, as far as there are any, and their targets.

    ``groups`` number the group of each row; None if each row is a group of its own.
    """

    raw: Arrays
    targets: npt.NDArray[Any]
    groups: IntArray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"TableRows, {len(self)} of {sum(each.shape[1] for each in self.raw)} columns"

    def __getitem__(self, index: int) -> tuple[Tensors, torch.Tensor]:
        raw = tuple(torch.from_numpy(each[index].copy()) for each in self.raw)
        return raw, torch.from_numpy(np.array(self.targets[index]))

    def items_at(self, places: Places) -> Items:
        """Return the rows at ``places`` with their targets."""
        raw = tuple(torch.from_numpy(np.ascontiguousarray(each[places])) for each in self.raw)
        return Items(raw, torch.from_numpy(np.ascontiguousarray(self.targets[places])))
