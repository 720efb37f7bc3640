"""What may show that rows of a table depend on each other: repeated rows, and columns that name what rows are of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.batches import IntArray
from nas.tasks.dependence import FloatArray, Signs, copies_of, dependence
from nas.tasks.tabular.columns import RawColumns
from nas.tasks.tabular.reading import Frame
from nas.tasks.tabular.targets import Target

_IDENTIFIES = re.compile(
    r"(?<![a-z])(id|ids|uid|uuid|patient|subject|person|participant|user|customer|client|author|household|family|animal"
    r"|session|device|sensor|group)(nr|no|num|number|name)?(?![a-z])",
    re.IGNORECASE,
)
FEWEST_OF_EACH = 1.2
"""A column names what rows are of only if each value is in so many rows on average."""
MOST_BY_CHANCE = 0.01
"""Equal rows are copies only if fewer would be equal by chance."""
MOST_EQUAL = 10
"""A number that more rows have is a frequent one, such as 0, however many digits others have."""
DENSEST = 3
"""Numbers are at most so many times as dense anywhere as on average."""
FEW_TEXTS = 20
"""Categories with at most so many values tell whether rows are alike."""


def identifying_columns(frame: Frame, target: str) -> list[str]:
    """Return the columns whose names say that equal values are of one thing, such as a patient, in several rows."""
    found = []
    for name in frame.columns:
        values = frame[name]
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))
        if name != target and _IDENTIFIES.search(words) and values.notna().all():
            count = values.nunique()
            if count > 1 and len(values) >= FEWEST_OF_EACH * count:
                found.append(str(name))
    return found


def groups_of_rows(
    frame: Frame, columns: RawColumns, target: Target, unused: tuple[str, ...], told: list[str]
) -> dict[str, Any]:
    """Return what changes of a table once rows that depend on each other are in groups, which are told.

    Nothing does if none do. Models do not see a column that names the groups.
    """
    identifying = identifying_columns(frame.drop(columns=list(unused)), target.name)
    found = dependence(signs_of_rows(frame, columns, target, identifying))
    if found is None:
        return {}
    told.append(found.told("rows"))
    hidden = found.columns
    changes = {"groups": found.groups, "columns": columns.without(hidden), "unused": (*unused, *hidden)}
    return {**changes, "group": hidden[0] if hidden else None, "split_by": "groups that were found"}


def signs_of_rows(frame: Frame, columns: RawColumns, target: Target, identifying: Sequence[str]) -> Signs:
    """Return what may show that rows depend on each other."""
    import pandas

    numbers = {name: values for name, values in columns.numbers.items() if name not in identifying}
    texts = {name: pandas.factorize(each)[0] for name, each in columns.categories.items() if name not in identifying}
    known = target.values if target.is_classes else np.zeros(len(target.values), dtype=np.int64)
    contents = _contents(numbers, texts, target) if identifying else np.zeros((len(known), 1))
    by = {name: pandas.factorize(frame[name])[0] for name in identifying}
    values = [*numbers.values(), *(texts.values()), target.values]
    copies = _copies(np.stack([np.asarray(each, np.float64) for each in values], axis=1), len(numbers))
    return Signs(known, contents, copies=copies, columns=by, said=lambda row: f"row {row + 1}")


def _contents(
    numbers: Mapping[str, npt.NDArray[Any]], texts: Mapping[str, npt.NDArray[Any]], target: Target
) -> FloatArray:
    """Return what rows hold, shape (N, values): numbers of one scale, and a mark for each category of few."""
    parts = [_scaled(values) for values in numbers.values()]
    parts += [
        (codes == code).astype(np.float64)
        for codes in texts.values()
        if codes.max() < FEW_TEXTS
        for code in range(codes.max() + 1)
    ]
    parts += [] if target.is_classes else [_scaled(target.values.astype(np.float64))]
    return np.stack(parts, axis=1) if parts else np.zeros((len(target.values), 1))


def _scaled(values: npt.NDArray[Any]) -> FloatArray:
    """Return values with mean 0 and deviation 1; missing ones are 0."""
    there = np.isfinite(values)
    mean, std = (float(each) for each in (values[there].mean(), values[there].std())) if there.any() else (0.0, 0.0)
    scaled: FloatArray = np.where(there, (values - mean) / (std or 1.0), 0.0)
    return scaled


def _copies(cells: FloatArray, numbers: int) -> IntArray:
    """Return pairs of equal rows, unless so many are equal by chance, as where all columns have few values.

    The first columns are so many ``numbers``. The chance is that of the most telling column, times the root of those of
    all others, because these may follow from it.
    """
    cells = np.nan_to_num(cells, nan=-np.inf) + 0.0
    chances = np.zeros(cells.shape)
    for place, column in enumerate(cells.T):
        values, number, count = np.unique(column, return_inverse=True, return_counts=True)
        chances[:, place] = count[number.reshape(-1)] / len(cells)
        there = values[np.isfinite(values)]
        if place < numbers and len(there) > 2:  # numbers with many digits are hardly ever equal
            fine = DENSEST * float(np.quantile(np.diff(there), 0.05)) / float(np.ptp(there))
            is_seldom = np.isfinite(column) & (count[number.reshape(-1)] <= MOST_EQUAL)
            chances[is_seldom, place] = np.minimum(chances[is_seldom, place], fine)
    logs = np.sort(np.log(chances), axis=1)
    by_chance = len(cells) * np.exp(logs[:, 0] + logs[:, 1:].sum(axis=1) / 2)
    rare = np.flatnonzero(by_chance <= MOST_BY_CHANCE)
    return rare[copies_of([row.tobytes() for row in cells[rare]])]
