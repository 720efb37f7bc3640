"""Reasons to doubt results that lie in a table: columns that tell the target or the row, copies, rare classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.tasks.batches import IntArray
from nas.tasks.deployed.inputs import Array, Arrays
from nas.tasks.deployed.tabular import TabularPreparation
from nas.tasks.doubts import far_share_warnings, few_warnings, imbalance_warnings, missing_warnings
from nas.tasks.moments import is_in_order, is_name_of_time, moments_of, series_warnings
from nas.tasks.tabular.columns import RawColumns
from nas.tasks.tabular.reading import Frame
from nas.tasks.tabular.targets import Target

LEAKS_FROM = 0.99
"""A column that explains at least this share of the target on its own probably was made from it."""
EASY_FROM = 0.98
"""If the most frequent class alone has this share, no column is accused of knowing the target."""
LOOKED_AT = 10_000
"""At most so many training rows are looked at for a column that knows the target."""
FEWEST_LOOKED_AT = 40
DENSE = 10
"""Identifiers mostly count: their range has at most this many times as many numbers as there are."""
TITLES = ("train", "validation", "test")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def leak_warnings(raw: Arrays, target: Target, rows: IntArray, preparation: TabularPreparation) -> list[str]:
    """Return a sentence for each column that alone predicts the target of training rows almost perfectly.

    A small decision tree learns from half of the rows, and is judged on the other half.
    """
    places = np.random.default_rng(0).permutation(rows)[:LOOKED_AT]
    half = len(places) // 2
    values = target.values[places]
    if len(places) < FEWEST_LOOKED_AT or (target.is_classes and np.bincount(values).max() >= EASY_FROM * len(values)):
        return []
    found = []
    sources = {each.name: each.column for each in preparation.numbers}
    for name, column in zip(preparation.names, _columns(raw), strict=True):
        score = _alone(np.nan_to_num(column[places].astype(np.float64)), values, half, target.is_classes)
        if score >= LEAKS_FROM:
            how = f"predicts {target.name} on its own for {100 * score:.1f} % of the rows"
            how = how if target.is_classes else f"explains {100 * score:.1f} % of the variance of {target.name} alone"
            found.append(
                f"column {name} {how}. If it is not known when the model is used, drop it: "
                f"data.drop=['{sources.get(name, name)}']."
            )
    return found


def _columns(raw: Arrays) -> list[Array]:
    return [column for each in raw for column in each.T]


def _alone(column: npt.NDArray[np.float64], values: npt.NDArray[np.generic], half: int, is_classes: bool) -> float:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    tree = (DecisionTreeClassifier if is_classes else DecisionTreeRegressor)(random_state=0, min_samples_leaf=2)
    largest = float(np.finfo(np.float32).max)  # scikit-learn's trees refuse larger numbers
    clipped = np.clip(column, -largest, largest)
    tree.fit(clipped[:half, None], values[:half])
    return float(tree.score(clipped[half:, None], values[half:]))


def id_warnings(raw: Arrays, rows: IntArray, preparation: TabularPreparation) -> list[str]:
    """Return a sentence that names columns of whole numbers in which each row has another one, as identifiers have."""
    found = []
    for column, values in zip(preparation.numbers, raw[0].T if preparation.numbers else (), strict=True):
        there = values[~np.isnan(values)]
        if column.source:  # days that differ are dates
            continue
        is_whole = bool((there == np.rint(there)).all())
        if not is_whole or len(there) < FEWEST_LOOKED_AT or len(np.unique(there)) < len(there):
            continue
        if np.ptp(there) < DENSE * len(there) or column.name.lower().endswith("id"):
            found.append(column.name)
    if not found:
        return []
    which = f"column {found[0]} has" if len(found) == 1 else f"columns {', '.join(found)} have"
    return [f"{which} another whole number in each row, like an identifier. If so, drop it: data.drop={found}."]


def keys_of_rows(columns: RawColumns, splits: Sequence[IntArray]) -> dict[str, list[bytes]]:
    """Return a key of each row by the title of its split, the same for rows that are equal as they were read.

    Coding would give rare categories one number.
    """
    import pandas

    cells = [*columns.numbers.values(), *(pandas.factorize(texts)[0] for texts in columns.categories.values())]
    keys = [row.tobytes() for row in np.stack([each.astype(np.float64) for each in cells], axis=1) + 0.0]
    return dict(zip(TITLES, ([keys[place] for place in split.tolist()] for split in splits), strict=True))


def unknown_warnings(columns: RawColumns, preparation: TabularPreparation, test: IntArray) -> list[str]:
    """Return a sentence for each column of which training has none of the categories that test rows have."""
    found = []
    for each in preparation.categories:
        there = {text for text in columns.categories[each.name][test].tolist() if text is not None}
        if there and each.values and not there & set(each.values):
            found.append(
                f"training rows have none of the categories of column {each.name} in the test, such as "
                f"{min(there)!r:.40} beside {min(each.values)!r:.40}, so models know nothing of them. Write both "
                f"alike, or drop it: data.drop=['{each.name}']."
            )
    return found


def class_warnings(target: Target, splits: Sequence[IntArray]) -> list[str]:
    """Return sentences about classes that are rare, or missing in a split."""
    if not target.is_classes:
        return []
    counts = np.bincount(target.values[splits[0]], minlength=len(target.classes))
    present = {title: set(target.values[split].tolist()) for title, split in zip(TITLES[1:], splits[1:], strict=True)}
    return [
        *missing_warnings(present, target.classes, "row"),
        *few_warnings(counts, target.classes, "rows"),
        *imbalance_warnings(counts, target.classes, "rows"),
    ]


def share_warnings(
    groups: IntArray | None, moments: IntArray | None, splits: Sequence[IntArray], wanted: Mapping[str, float]
) -> list[str]:
    """Return a sentence for each split that is far from the share ``wanted`` of what it is from.

    Splits by ``groups`` are told if they are larger, and those by time, of which there are ``moments``, also if they
    are smaller.
    """
    if groups is not None:
        why = f"groups stay together and there are {len(np.unique(groups))}"
    elif moments is not None:
        why = f"equal times of data.order stay together and there are {len(np.unique(moments))} different ones"
    else:
        return []
    sizes = dict(zip(TITLES, map(len, splits), strict=True))
    return far_share_warnings(sizes, wanted, "rows", why, tell_small=groups is None)


def order_warnings(frame: Frame, target: Target, group: str | None, order: str | None) -> list[str]:
    """Return a sentence if rows look like a series, though nobody said how to split them."""
    if group is not None or order is not None:
        return []
    columns = [name for name in frame.columns if name != target.name and _is_sorted_time(frame[name], name)]
    column = columns[0] if columns else "rows"
    advice = f"To train on earlier rows and test on later ones, set data.order={column}."
    if not columns:
        advice += " If rows belong together, such as those of a patient, set data.group=COLUMN."
    values = target.values[: len(frame)]
    return series_warnings(values, "rows", advice, are_classes=target.is_classes, sorted_by=columns)


def _is_sorted_time(series: Any, name: str) -> bool:
    """Return True if a column holds dates, or numbers that are called times, and rows are sorted by it."""
    from pandas.api import types

    if len(series) < FEWEST_LOOKED_AT:
        return False
    is_date = types.is_datetime64_any_dtype(series.dtype) or _DATE.match(str(series.iloc[0]))
    if not is_date and not is_name_of_time(name):
        return False
    try:
        moments = moments_of(series, name, "the table")
    except DataError:
        return False
    return is_in_order(moments) and len(np.unique(moments)) > 2
