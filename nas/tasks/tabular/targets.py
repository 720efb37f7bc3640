"""The column that is predicted: classes, or numbers in the units of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.tasks.criteria import Kind
from nas.tasks.deployed.tabular import category_of
from nas.tasks.tabular.columns import place_of
from nas.tasks.target_kind import are_classes, told_kind

MOST_CLASSES = 1000
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Target:
    """The targets of all rows: numbers of classes with their names, or values. ``values`` has the shape (N,).

    ``told`` says what whole numbers were taken for.
    """

    name: str
    values: npt.NDArray[Any]
    classes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def is_classes(self) -> bool:
        return bool(self.classes)


def target_of(series: Any, kind: Kind, title: str, classes: tuple[str, ...] = ()) -> Target:
    """Return the target in a column of the table called ``title``. ``classes`` are known where it is a test table.

    Raises:
        DataError: a target is missing or infinite, has only one value, or is not what ``kind`` asks for.
    """
    from pandas.api import types

    name = str(series.name)
    missing = np.flatnonzero(series.isna().to_numpy())
    if len(missing):
        raise DataError(
            f"each row must have a target, but {title} has none in {place_of(int(missing[0]), name)}, and in "
            f"{len(missing)} of {len(series)} rows. Remove these rows, or fill them in. If a text such as None or NA "
            "is a class there, write it in another way, such as no disorder."
        )
    is_number = types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)
    if classes:
        return _classes(series, name, title, classes)
    if not is_number and kind == "regression":
        raise DataError(f"regression needs numbers as targets, but {name} of {title} holds {series.iloc[0]!r:.40}.")
    if not is_number:
        return _classes(series, name, title)
    values = series.to_numpy(dtype=np.float64)
    infinite = np.flatnonzero(~np.isfinite(values))
    if len(infinite):
        raise DataError(
            f"targets must be finite, but {title} has {values[infinite[0]]} in {place_of(int(infinite[0]), name)}."
        )
    told = told_kind(name, values, are_classes(values)) if kind == "auto" else ()
    if are_classes(values, kind):
        return replace(_classes(series, name, title), told=told)
    if np.abs(values).max() > LARGEST:
        raise DataError(
            f"targets must be numbers of single precision, at most {LARGEST:.3g}, but {title} has "
            f"{values[np.abs(values).argmax()]:g} in {place_of(int(np.abs(values).argmax()), name)}. Scale them down."
        )
    if values.min() == values.max():
        raise DataError(f"targets must differ, but all of {name} in {title} are {values[0]:g}.")
    return Target(name, values, told=told)


def _classes(series: Any, name: str, title: str, known: tuple[str, ...] = ()) -> Target:
    import pandas

    codes, distinct = pandas.factorize(series)
    texts = [category_of(value) for value in distinct]
    if None in texts:
        row = int(np.flatnonzero(codes == texts.index(None))[0])
        raise DataError(f"each row must have a target, but {title} has an empty one in {place_of(row, name)}.")
    names = known or tuple(sorted({str(text) for text in texts}, key=_in_order))
    if len(names) < 2:
        raise DataError(f"a table must have at least 2 classes, but all rows of {title} have {names[0]!r} as {name}.")
    if len(names) > max(2, min(MOST_CLASSES, len(series) // 2)):
        raise DataError(
            f"classes must have several rows each, but {name} of {title} has {len(names)} different values in "
            f"{len(series)} rows. Name another target, or set kind=regression if it is a number."
        )
    strange = [text for text in texts if text not in names]
    if strange:
        raise DataError(f"{title} must have only classes of the training rows, but {name} has {strange[0]!r}.")
    numbers = np.array([names.index(str(text)) for text in texts], dtype=np.int64)
    return Target(name, numbers[codes], names)


def _in_order(text: str) -> tuple[int, float, str]:
    """Return what sorts numbers by their value, before text."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
