"""Preparing rows of tables for a model: reading CSV and JSON, filling in, scaling, and numbering categories."""

# The search prepares rows by this code too, so a deployed model gets the same numbers as the tested one.

from __future__ import annotations

import difflib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nas.tasks.deployed.cells import MARKS, MISSING, NUMBER_MARKS, PLAIN, CellForm, is_missing
from nas.tasks.deployed.csv_file import UNKNOWN as UNKNOWN_FORM, CsvForm, lines_of
from nas.tasks.deployed.inputs import Arrays, InputError, Named, ReadsFiles, paths_of

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Row = Mapping[str, Any]

ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".json", ".jsonl")
"""Files with these endings are the tables of a folder."""
NO_VALUE, UNKNOWN = 0, 1
"""The numbers of a missing category, and of one that training hardly had or never had. Others follow."""


# Cells


def number_of(value: object, form: CellForm = PLAIN) -> float:
    """Return a cell as a number, NaN for a missing one. Raises ValueError, which says what it must be."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        if is_missing(value.strip(), NUMBER_MARKS):
            return math.nan
    elif (
        not isinstance(value, (int, float, np.number)) and str(value) in MISSING
    ):  # pandas has missing values of its own
        return math.nan
    return form.number(value)


def category_of(value: object) -> str | None:
    """Return a cell as the text of its category, None for a missing one. 1 and 1.0 are one, as are True and true."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        if math.isnan(value):
            return None
        value = int(value) if float(value).is_integer() else float(value)
    text = str(value).strip()
    if text in MISSING:
        return None
    if text.endswith(".0") and text[:-2].removeprefix("-").isdigit():
        return text[:-2]
    return text.lower() if text.lower() in ("true", "false") else text


# Files


def named_rows(path: Path, form: CsvForm) -> Iterator[tuple[str, Row]]:
    """Yield the name and the cells by column of each row in a CSV or JSON file. Raises InputError."""
    lowered = path.name.lower()
    if lowered.endswith((".json", ".jsonl")):
        yield from ((f"{path}[{number}]", row) for number, row in enumerate(_json_rows(path)))
        return
    names: list[str] | None = None
    for line, cells in lines_of(path, form):
        if names is None:
            names = [cell.strip() for cell in cells]
        else:  # a column without a name holds the numbers of rows, or nothing
            yield f"{path}:{line}", {name: cell for name, cell in zip(names, cells, strict=True) if name}


def _json_rows(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".jsonl":
            found: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            found = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.") from error
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} must hold an object with a value for each column, or a list of such objects.")
    return rows


# Preparation


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers.

    Attributes:
        name: its name.
        middle: the median of the training rows, which stands for missing values.
        mean: the mean of the training rows.
        std: their standard deviation.
        has_missing: training rows lacked values, so an input of its own tells which are missing.
        quantiles: values that a share of training rows lies below, which are mapped to a normal distribution; empty
            where numbers are standardised.
        form: how its cells are written, or what is taken of its dates.
        source: the column of the table, where several numbers are taken from one; empty if it has the same name.
    """

    name: str
    middle: float
    mean: float
    std: float
    has_missing: bool = False
    quantiles: tuple[float, ...] = ()
    form: CellForm = PLAIN
    source: str = ""

    @property
    def column(self) -> str:
        """The column of the table."""
        return self.source or self.name

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> NumberColumn:
        """Return the column that a bundle records; before 0.9 all cells were plain numbers."""
        form = CellForm(**stored.get("form", {}))
        return cls(**{**stored, "quantiles": tuple(stored["quantiles"]), "form": form})

    def to_json(self) -> dict[str, Any]:
        """Return the column as plain data."""
        form = {name: value for name, value in vars(self.form).items() if value}
        more = {name: value for name, value in (("form", form), ("source", self.source)) if value}
        plain = {name: value for name, value in vars(self).items() if name not in ("form", "source")}
        return {**plain, "quantiles": list(self.quantiles), **more}


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories: its name, and the values that have a number of their own, from 2 on."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class TabularPreparation(ReadsFiles):
    """The way from a row of a table to a model's inputs: the numbers, then the categories, if there are any of each.

    Attributes:
        numbers: the columns of numbers.
        categories: the columns of categories.
        deviates: where quantiles are mapped to: one value for each, shared by all columns.
        unused: columns that a table may have, but that models do not see, such as the target.
        missing: further texts that stand for a missing value.
        csv_form: what is known of CSV files beforehand.
    """

    endings = ENDINGS
    noun = "tables"
    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...]
    deviates: tuple[float, ...] = ()
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    csv_form: CsvForm = UNKNOWN_FORM

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> TabularPreparation:
        """Return the preparation that an ``architecture.json`` records."""
        stored = about["preparation"]
        numbers = tuple(NumberColumn.of(each) for each in stored["numbers"])
        categories = tuple(CategoryColumn(each["name"], tuple(each["values"])) for each in stored["categories"])
        missing, csv_form = tuple(stored.get("missing", ())), CsvForm(**stored.get("csv_form", {}))
        return cls(numbers, categories, tuple(stored["deviates"]), tuple(stored["unused"]), missing, csv_form)

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data, for programs and in words."""
        csv_form = {name: value for name, value in vars(self.csv_form).items() if value}
        return {
            "numbers": [each.to_json() for each in self.numbers],
            "categories": [{"name": each.name, "values": list(each.values)} for each in self.categories],
            "deviates": list(self.deviates),
            "unused": list(self.unused),
            "in_words": self.in_words,
            **{name: value for name, value in (("missing", list(self.missing)), ("csv_form", csv_form)) if value},
        }

    @property
    def in_words(self) -> list[str]:
        """The steps, in order."""
        steps = []
        if self.numbers:
            flagged = [each.name for each in self.numbers if each.has_missing]
            scaled = "map it to a normal distribution by its quantiles" if self.deviates else "standardise it"
            steps.append(f"Take the columns {', '.join(each.name for each in self.numbers)} as numbers.")
            steps += [
                f"Each cell of {name} is {form.in_words}."
                for name, form in {each.column: each.form for each in self.numbers if each.form != PLAIN}.items()
            ]
            steps.append(f"Of each, put its median in the place of missing values, and {scaled}. Use 32-bit floats.")
            if flagged:
                steps.append(f"Append 1 for a missing value and 0 for others, of each of {', '.join(flagged)}.")
        if self.categories:
            steps.append(f"Take the columns {', '.join(each.name for each in self.categories)} as categories.")
            steps.append(f"Number them from 2 in the order of values; {NO_VALUE} is missing, {UNKNOWN} is any other.")
        return steps

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the raw values of a row: of numbers, then of categories."""
        return (*(each.name for each in self.numbers), *(each.name for each in self.categories))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that a table must have."""
        return tuple(dict.fromkeys([each.column for each in self.numbers] + [each.name for each in self.categories]))

    @property
    def number_inputs(self) -> int:
        """The number of values in the input of numbers."""
        return len(self.numbers) + sum(each.has_missing for each in self.numbers)

    def read(self, inputs: Any) -> Arrays:
        """Return raw rows from files, from a mapping or several with a value for each column, or from a DataFrame.

        Raises:
            InputError: a file cannot be read, a column is missing, or a cell has a wrong type.
        """
        if hasattr(inputs, "to_pandas"):
            inputs = inputs.to_pandas()
        if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):  # names as in training
            inputs = [{str(name).strip(): cell for name, cell in row.items()} for row in inputs.to_dict("records")]
        if not isinstance(inputs, Mapping) and (paths := paths_of(inputs)):
            return self.read_files(paths)
        rows = [inputs] if isinstance(inputs, Mapping) else inputs
        if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
            raise InputError(
                "rows must be the path of a CSV or JSON file, a mapping with a value for each column or several such, "
                f"or a DataFrame, but got {type(inputs).__name__}."
            )
        found = [self.row(row, f"row {number}") for number, row in enumerate(rows)]
        return tuple(np.stack(each) for each in zip(*found, strict=True)) if found else self.nothing

    def file_items(self, path: Path) -> Named:
        """Yield the name and the raw arrays of each row of a file, or the reason why it cannot be used."""
        for name, row in named_rows(path, self.csv_form):
            try:
                yield name, self.row(row, name)
            except InputError as error:
                yield name, error

    def row(self, row: Row, name: str) -> Arrays:
        """Return the raw arrays of one row, called ``name`` in errors. Raises InputError."""
        self._check_columns(row, name)
        found: list[npt.NDArray[Any]] = []
        if self.numbers:
            values = []
            for column in self.numbers:
                try:
                    values.append(number_of(self._cell(row, column.column), column.form))
                except ValueError as error:
                    raise InputError(f"{name}: column {column.column} {error}.") from error
            found.append(np.array(values, dtype=np.float64))
        if self.categories:
            codes = [
                number_among(category_of(self._cell(row, column.name)), column.values) for column in self.categories
            ]
            found.append(np.array(codes, dtype=np.int64))
        return tuple(found)

    def _cell(self, row: Row, column: str) -> Any:
        """Return a cell, None for a text that the user named as missing."""
        cell = row[column]
        return None if self.missing and isinstance(cell, str) and cell.strip() in self.missing else cell

    def _check_columns(self, row: Row, name: str) -> None:
        missing = [column for column in self.columns if column not in row]
        known = {*self.columns, *self.unused}
        strange = sorted(str(column) for column in row if column not in known)
        if missing:
            near = difflib.get_close_matches(missing[0], strange, n=1, cutoff=0.6)
            hint = f" Is it called {near[0]} there?" if near else ""
            raise InputError(f"{name} must have the columns of training, but lacks {', '.join(missing)}.{hint}")
        if strange:
            warnings.warn(f"columns that training did not have are left out: {', '.join(strange)}.", stacklevel=4)

    @property
    def nothing(self) -> Arrays:
        """The raw arrays of no rows."""
        empty = [np.zeros((0, len(self.numbers)))] if self.numbers else []
        return (*empty, *([np.zeros((0, len(self.categories)), np.int64)] if self.categories else []))

    def prepared(self, raw: Arrays) -> Arrays:
        """Return raw rows as inputs: scaled numbers, then flags for missing ones; and the numbers of categories."""
        if not self.numbers:
            return raw
        numbers: Float64Array = raw[0]
        missing = np.isnan(numbers)
        filled = np.where(missing, np.array([each.middle for each in self.numbers]), numbers)
        if self.deviates:
            to = np.array(self.deviates)
            scaled = np.stack([_by_quantiles(filled[:, n], each, to) for n, each in enumerate(self.numbers)], axis=1)
        else:
            mean, std = (np.array([getattr(each, name) for each in self.numbers]) for name in ("mean", "std"))
            scaled = (filled - mean) / std
        flags = missing[:, [each.has_missing for each in self.numbers]]
        return (np.concatenate([scaled, flags], axis=1).astype(np.float32), *raw[1:])


def _by_quantiles(values: Float64Array, column: NumberColumn, to: Float64Array) -> Float64Array:
    """Return values mapped by quantiles; of equal quantiles the middle counts, as in scikit-learn."""
    steps = np.array(column.quantiles)
    up = np.interp(values, steps, to)
    down = -np.interp(-values, -steps[::-1], -to[::-1])
    middle: Float64Array = 0.5 * (up + down)
    return middle


def number_among(value: str | None, values: Sequence[str]) -> int:
    """Return the number of a category."""
    if value in values:
        return values.index(cast(str, value)) + 2
    return NO_VALUE if value is None or value.lower() in MARKS else UNKNOWN


def preparation_of(about: Mapping[str, Any]) -> TabularPreparation:
    """Return the preparation that an ``architecture.json`` records."""
    return TabularPreparation.of(about)
