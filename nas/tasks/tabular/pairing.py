"""A table and that of its test: their columns hold the same, though one may be a CSV file and the other has types."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from nas.errors import DataError
from nas.tasks.tabular.columns import with_dates
from nas.tasks.tabular.reading import Frame


def names_of_categories(frame: Frame) -> list[str]:
    """Return the columns of a table with types that hold neither numbers nor dates."""
    return [name for name in frame.columns if _kind_of(frame[name]) == "categories"]


def text_in(frame: Frame, without: Collection[str]) -> Frame:
    """Return the columns of a table with types that hold nothing but text, as a CSV file has it."""
    from pandas.api import types

    names = [name for name in names_of_categories(frame) if name not in without]
    objects = frame[names].astype(object)
    texts = [name for name in names if types.infer_dtype(objects[name], skipna=True) == "string"]
    chosen = objects[texts]
    return chosen.where(chosen.notna(), "").apply(lambda column: column.str.strip())


def with_test(frame: Frame, test: Frame, free: Collection[str], title: str) -> Frame:
    """Return the rows of a table and then those of its test table, called ``title``, with the columns that both have.

    Raises:
        DataError: a column of numbers or dates holds something else in the test table, unless it is ``free``.
    """
    import pandas

    shared = [name for name in frame.columns if name in test.columns]
    dates: list[str] = []
    for name in (each for each in shared if each not in free):
        known, found = _kind_of(frame[name]), _kind_of(test[name])
        is_empty = bool(test[name].isna().all() or frame[name].isna().all())
        if known in ("numbers", "dates") and found != known and not is_empty:
            raise DataError(
                f"column {name} of {title} must hold {known}, as in the other rows, but holds {found} such as "
                f"{str(test[name].dropna().iloc[0])!r:.40}. Mend it, or make both columns text."
            )
        dates += [name] if known == "dates" and not frame[name].isna().all() else []
    both = [table.assign(**{name: _as_dates(table[name]) for name in dates}) for table in (frame, test[shared])]
    return pandas.concat(both, ignore_index=True)


def _kind_of(series: Any) -> Literal["numbers", "dates", "categories"]:
    """Return what a column holds. Booleans are categories."""
    from pandas.api import types

    dtype = with_dates(series).dtype
    if types.is_datetime64_any_dtype(dtype):
        return "dates"
    return "numbers" if types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype) else "categories"


def _as_dates(series: Any) -> Any:
    """Return a column of dates, or an empty one, as pandas' dates without time zones."""
    dates = with_dates(series)
    if getattr(dates.dtype, "tz", None) is not None:
        return dates.dt.tz_localize(None)
    return dates if dates.dtype.kind == "M" else dates.astype("datetime64[us]")
