"""The choices of architectures as a table of numbers, one column a choice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.space.architecture import Architecture, Option, printable
from nas.values.pareto import BoolArray, FloatArray, IntArray

INACTIVE = -1
"""The code of a choice that an architecture does not have, because the option of another choice rules it out."""


@dataclass(frozen=True)
class Column:
    """One choice: its options in their order, and the option of each architecture.

    Attributes:
        name: the name of the choice.
        options: the options that occur, numbers by size and others by name.
        codes: shape (N,), the place of each architecture's option among ``options``, or ``INACTIVE``.
    """

    name: str
    options: tuple[Option, ...]
    codes: IntArray

    @property
    def has_numbers(self) -> bool:
        """True if all options are numbers, or all yes or no."""
        return all(isinstance(option, int | float) for option in self.options)

    @property
    def is_numeric(self) -> bool:
        """True if the order of the options has a meaning."""
        return self.has_numbers and not any(isinstance(option, bool) for option in self.options)

    @property
    def active(self) -> BoolArray:
        """The architectures that have the choice, shape (N,)."""
        mask: BoolArray = self.codes != INACTIVE
        return mask

    @property
    def texts(self) -> list[str]:
        """The options for people."""
        return [option_text(option) for option in self.options]

    @property
    def counts(self) -> IntArray:
        """How many architectures have each option, shape (options,)."""
        found: IntArray = np.bincount(self.codes[self.active], minlength=len(self.options))
        return found


def choice_table(architectures: Sequence[Architecture]) -> list[Column]:
    """Return a column for each choice that is not settled alike in all ``architectures``."""
    return [each for each in whole_table(architectures) if len(each.options) > 1 or not each.active.all()]


def whole_table(architectures: Sequence[Architecture]) -> list[Column]:
    """Return a column for each choice that any of ``architectures`` has."""
    found = []
    for name, values in _by_choice(architectures).items():
        keys: Sequence[Any] = values
        if bool in set(map(type, values)):  # which equal 0 and 1
            keys = [_order(value) if isinstance(value, bool) else value for value in values]
        by_key = dict(zip(keys, values, strict=True))
        by_key.pop(None, None)
        ordered = sorted(by_key.items(), key=lambda each: _order(each[1]))
        places = {None: INACTIVE, **{key: place for place, (key, _) in enumerate(ordered)}}
        codes = np.fromiter(map(places.__getitem__, keys), dtype=np.int64, count=len(keys))
        found.append(Column(name, tuple(value for _, value in ordered), codes))
    return found


def _by_choice(architectures: Sequence[Architecture]) -> dict[str, Sequence[Option | None]]:
    """Return the option of each architecture by choice, None where it has not that choice."""
    assignments = [each.values_by_choice for each in architectures]
    orders = set(map(tuple, assignments))
    if len(orders) == 1:  # all have the same choices: several times as fast as looking each option up
        return dict(zip(*orders, zip(*(each.values() for each in assignments), strict=True), strict=True))
    names = dict.fromkeys(itertools.chain.from_iterable(assignments))
    return {name: [each.get(name) for each in assignments] for name in names}


def features_of(columns: Sequence[Column]) -> FloatArray:
    """Return the table as numbers for trees, shape (N, C). Options keep their order.

    A choice that an architecture does not have counts as the middle option of the others. With a number of its own,
    the choice would tell what rules it out, such as the depth of a stage, and get the importance of that.
    """
    found = np.stack([column.codes.astype(np.float64) for column in columns], axis=1)
    for place, column in enumerate(columns):
        if not column.active.all():
            found[~column.active, place] = np.median(column.codes[column.active])
    return found


def option_text(option: Option) -> str:
    """Return an option for people."""
    if isinstance(option, bool):
        return "yes" if option else "no"
    return printable(str(option))


def _order(option: Option) -> tuple[int, float, str]:
    """Return what sorts options: bools, then numbers by size, then texts."""
    if isinstance(option, bool):
        return 0, float(option), ""
    if isinstance(option, int | float):
        return 1, float(option), ""
    return 2, 0.0, option
