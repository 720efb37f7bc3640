"""From the columns of a DataFrame to raw arrays, and what is learned of each column from the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.tasks.batches import IntArray
from nas.tasks.deployed.cells import PARTS, PLAIN, CellForm, digits_number, moment_in, number_and_unit, part_of
from nas.tasks.deployed.inputs import Arrays
from nas.tasks.deployed.tabular import (
    CategoryColumn,
    Float64Array,
    NumberColumn,
    TabularPreparation,
    category_of,
    number_among,
)
from nas.tasks.tabular.reading import Frame
from nas.tasks.tabular.recognising import Wished

Scaling = Literal["standard", "quantile"]
SCALINGS: tuple[Scaling, ...] = ("standard", "quantile")
MOST_VALUES = 1000
"""The most categories of a column that get a number of their own: the most frequent ones."""
FEWEST_ROWS = 2
"""A category in fewer training rows counts as unknown, so that unknown ones have something to learn from."""
MOST_QUANTILES = 100
LOOKED_AT = 1000
"""So many different texts of a column tell if it was probably meant as numbers or dates."""
NUMBERS_IN_TEXT = 0.5
"""A column of text in which at least this share of values are numbers was probably meant as numbers."""
LARGEST = 1e150
"""The largest number: the squares of larger ones are infinite."""
FARTHEST = 5.2
"""Where the smallest and the largest training value lie on the normal distribution, as in scikit-learn."""


@dataclass
class RawColumns:
    """The columns of a table that models can learn from.

    Attributes:
        numbers: floats with NaN for missing values.
        categories: the text of categories with None for missing ones.
        forms: of some numbers, how their cells are written.
        sources: of numbers that are taken from a column of dates, its name.
        notes: what is left out, and why.
    """

    numbers: dict[str, Float64Array] = field(default_factory=dict)
    categories: dict[str, npt.NDArray[np.object_]] = field(default_factory=dict)
    forms: dict[str, CellForm] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def rows(self, places: IntArray) -> RawColumns:
        """Return the same of some rows."""
        numbers = {name: values[places] for name, values in self.numbers.items()}
        categories = {name: values[places] for name, values in self.categories.items()}
        return RawColumns(numbers, categories, self.forms, self.sources)

    def without(self, names: Collection[str]) -> RawColumns:
        """Return the same without what comes from some columns."""
        numbers = {name: values for name, values in self.numbers.items() if self.sources.get(name, name) not in names}
        categories = {name: values for name, values in self.categories.items() if name not in names}
        return replace(self, numbers=numbers, categories=categories)

    def add_dates(self, name: str, series: Any, order: str) -> None:
        """Add what models get of a column of dates."""
        import pandas

        plain = series.dt.tz_localize(None) if getattr(series.dt, "tz", None) is not None else series
        codes, moments = pandas.factorize(plain)
        known = [moment_in(each.to_pydatetime(warn=False), order) for each in pandas.DatetimeIndex(moments)]
        for part in PARTS:
            made = f"{name} ({part})"
            of_moments = np.array([*(part_of(each, part) for each in known), np.nan])
            self.numbers[made] = of_moments[codes]
            self.forms[made], self.sources[made] = CellForm(order=order, part=part), name


def raw_columns(
    frame: Frame, as_categories: Sequence[str], title: str, forms: Mapping[str, CellForm] | None = None
) -> RawColumns:
    """Return the columns of a DataFrame that models can learn from; notes say which are left out.

    ``forms`` says how the cells of some were written in a file.

    Raises:
        DataError: a number is infinite or too large, or a column holds what is neither a number nor a category.
    """
    from pandas.api import types

    found, known = RawColumns(), forms or {}
    for name in frame.columns:
        series = with_dates(frame[name])
        is_bool = types.is_bool_dtype(series.dtype)
        if types.is_timedelta64_dtype(series.dtype):
            found.notes.append(f"column {name} holds durations and is left out. Make numbers of it, such as hours.")
        elif types.is_datetime64_any_dtype(series.dtype):
            found.add_dates(name, series, known.get(name, CellForm()).order or "ymd")
        elif types.is_complex_dtype(series.dtype):
            raise DataError(f"columns must hold numbers or categories, but {name} of {title} holds complex numbers.")
        elif types.is_numeric_dtype(series.dtype) and not is_bool and name not in as_categories:
            found.numbers[name] = _finite(series.to_numpy(dtype=np.float64, na_value=np.nan), name, title)
            if name in known:
                found.forms[name] = known[name]
        else:
            found.categories[name] = _texts(series, name, title)
            if name not in as_categories:
                found.notes += _number_notes(found.categories[name], name)
    return found


def with_dates(series: Any) -> Any:
    """Return a column of Python's dates, as Parquet files have them, as pandas' own; any other as it is."""
    from pandas.api import types

    if not types.is_object_dtype(series.dtype) or types.infer_dtype(series, skipna=True) != "date":
        return series
    return series.astype("datetime64[s]")


def _finite(values: Float64Array, name: str, title: str) -> Float64Array:
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(
            f"numbers must be finite, but {title} has {values[infinite[0]]} in {place_of(int(infinite[0]), name)}. "
            "Leave the cell empty if the value is missing."
        )
    large = np.flatnonzero(np.abs(values) > LARGEST)
    if len(large):
        raise DataError(
            f"numbers must lie between -{LARGEST:g} and {LARGEST:g}, but {title} has {values[large[0]]:g} in "
            f"{place_of(int(large[0]), name)}. Mend it, or leave the cell empty if the value is missing."
        )
    return values


def place_of(row: int, column: str) -> str:
    """Return where a cell lies, for people: rows count from 1, without the line that names the columns."""
    return f"row {row + 1}, column {column}"


def _texts(series: Any, name: str, title: str) -> npt.NDArray[np.object_]:
    """Return the text of each category, None for a missing one."""
    import pandas

    try:
        codes, values = pandas.factorize(series)
    except TypeError as error:
        raise DataError(
            f"cells must be numbers or text, but column {name} of {title} holds others: {error}."
        ) from error
    for value in values:
        if not isinstance(value, (str, bool, int, float, np.generic)):
            raise DataError(
                f"cells must be numbers or text, but column {name} of {title} holds {type(value).__name__} objects. "
                "Convert or drop the column."
            )
    texts: npt.NDArray[np.object_] = np.array([*(category_of(value) for value in values), None], dtype=object)
    found: npt.NDArray[np.object_] = texts[codes]
    return found


def _number_notes(values: npt.NDArray[np.object_], name: str) -> list[str]:
    """Return a sentence about text that looks like numbers or dates, if a column holds such."""
    distinct = [value for value in dict.fromkeys(values.tolist()) if value is not None]
    for kind, others_in in (("numbers", _no_numbers), ("dates", _no_dates)):
        first = distinct[:LOOKED_AT]
        if not first or len(others_in(first)) > (1 - NUMBERS_IN_TEXT) * len(first):
            continue
        others = others_in(distinct)
        advice = f"Mend or drop it, or set data.missing=[{others[0]!r}]." if others else "Convert or drop it."
        signs = all(any(sign in value for value in distinct) for sign in ".,")
        shown = f"{others[0]!r}" if others else "its two decimal signs" if signs else "its type"
        return [f"column {name} is read as categories because of {shown}, but most of it are {kind}. {advice}"]
    return []


def _no_numbers(texts: Sequence[str]) -> list[str]:
    """Return the texts that are no numbers, or have another unit than most."""
    units = {text: _unit_of(text) for text in texts}
    usual = Counter(unit for unit in units.values() if unit).most_common(1)
    fitting = ("", *(unit for unit, _ in usual))
    return [text for text in texts if units[text] not in fitting]


def _no_dates(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if not _is_date(text)]


def _unit_of(text: str) -> str | None:
    """Return the unit of a number, empty if it has none; None for other text."""
    try:
        _, digits, unit = number_and_unit(text)
        digits_number(digits, "," if digits.rfind(",") > digits.rfind(".") else ".")
    except ValueError:
        return None
    return unit


def _is_date(text: str) -> bool:
    try:
        moment_in(text, "dmy")
    except ValueError:
        return False
    return True


def learned_preparation(
    columns: RawColumns, scaling: Scaling, unused: Sequence[str], wished: Wished
) -> tuple[TabularPreparation, list[str]]:
    """Return the preparation that suits training rows, and notes on columns without anything to learn from.

    Raises:
        DataError: no column is left.
    """
    notes: list[str] = []
    numbers, categories = [], []
    constant: list[str] = []
    strewn: list[str] = []
    flagged: set[str] = set()
    deviates = _deviates(len(next(iter(columns.numbers.values()), ()))) if scaling == "quantile" else ()
    for name, values in columns.numbers.items():
        there = values[~np.isnan(values)]
        has_missing = len(there) < len(values)
        source = columns.sources.get(name, "")
        if not len(there) or (there.min() == there.max() and (not has_missing or source)):
            constant.append(name)
            continue
        has_missing &= source not in flagged  # one flag tells that a date is missing
        flagged |= {source} - {""} if has_missing else set()
        quantiles = tuple(np.quantile(there, np.linspace(0, 1, len(deviates))).tolist()) if deviates else ()
        std = float(there.std()) or 1.0
        middle, mean, form = float(np.median(there)), float(there.mean()), columns.forms.get(name, PLAIN)
        numbers.append(NumberColumn(name, middle, mean, std, has_missing, quantiles, form, source))
    for name, texts in columns.categories.items():
        kept = _kept_values(texts)
        if len(set(texts.tolist())) < 2:
            constant.append(name)
        elif len(set(_codes(texts, kept).tolist())) < 2:
            strewn.append(name)
        else:
            categories.append(CategoryColumn(name, kept))
    varying = {number.source for number in numbers}
    constant = list(dict.fromkeys(columns.sources.get(name, name) for name in constant))
    constant = [name for name in constant if name not in varying]
    if constant:
        notes.append(f"constant columns are left out: {', '.join(constant)}.")
    if strewn:
        notes.append(f"columns whose categories do not repeat, such as names, are left out: {', '.join(strewn)}.")
    if not numbers and not categories:
        raise DataError(
            "a table must have a column to learn from beside the target, but each other one is constant, or has no "
            f"category twice: {', '.join((*constant, *strewn)) or 'there is none'}."
        )
    dropped = tuple(dict.fromkeys((*unused, *constant, *strewn)))
    return TabularPreparation(
        tuple(numbers), tuple(categories), deviates, dropped, wished.missing, wished.csv_form
    ), notes


def _deviates(rows: int) -> tuple[float, ...]:
    """Return as many points of the normal distribution as there are quantiles."""
    from scipy.stats import norm

    count = max(2, min(MOST_QUANTILES, rows))
    points = norm.ppf(np.linspace(0, 1, count))
    return tuple(np.clip(points, -FARTHEST, FARTHEST).tolist())


def _kept_values(texts: npt.NDArray[np.object_]) -> tuple[str, ...]:
    """Return the categories that are frequent enough, in order."""
    import pandas

    counts = pandas.Series(texts).value_counts()
    frequent = counts[counts >= FEWEST_ROWS].index[:MOST_VALUES]
    return tuple(sorted(map(str, frequent)))


def _codes(texts: npt.NDArray[np.object_], values: Sequence[str]) -> IntArray:
    numbers: dict[str | None, int] = {value: place + 2 for place, value in enumerate(values)}
    others = {text: number_among(text, ()) for text in set(texts.tolist()) - set(values)}
    return np.array([numbers.get(text, others.get(text)) for text in texts.tolist()], dtype=np.int64)


def raw_arrays(columns: RawColumns, preparation: TabularPreparation) -> Arrays:
    """Return the raw arrays of all rows, as the preparation reads them from files."""
    found: list[npt.NDArray[Any]] = []
    if preparation.numbers:
        found.append(np.stack([columns.numbers[each.name] for each in preparation.numbers], axis=1))
    if preparation.categories:
        codes = [_codes(columns.categories[each.name], each.values) for each in preparation.categories]
        found.append(np.stack(codes, axis=1))
    return tuple(found)
