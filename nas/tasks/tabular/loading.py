"""Tables by name: a CSV or Parquet file, or a set that comes with scikit-learn."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.errors import DataError, RecipeError, did_you_mean, first_few
from nas.tasks.criteria import KINDS
from nas.tasks.deployed.csv_file import CsvForm
from nas.tasks.loading import FILE, Loading, check_among, check_texts, loads_task, names_of, path_of
from nas.tasks.tabular.columns import SCALINGS
from nas.tasks.tabular.pairing import names_of_categories, text_in
from nas.tasks.tabular.reading import CSV_ENDINGS, PARQUET_ENDINGS, Frame, TableFile, checked_frame, read_file
from nas.tasks.tabular.recognising import DATE, DATES, DECIMALS, Recognised, Wished, recognised
from nas.tasks.tabular.tabular import Tabular

NAMED = ("breast-cancer", "diabetes", "wine")
"""Tables that come with scikit-learn."""


@loads_task
def load_tables(
    data: str | Frame,
    loading: Loading,
    *,
    target: str = "",
    test: str = "",
    drop: list[str] | None = None,
    group: str = "",
    order: str = "",
    kind: str = "auto",
    categories: list[str] | None = None,
    scaling: str = "standard",
    decimal: str = "auto",
    dates: str = "auto",
    delimiter: str = "",
    encoding: str = "",
    missing: list[str] | None = None,
) -> Tabular:
    """Return a table, with the options of ``Tabular.from_frame``.

    ``data`` is the name of a file, one of NAMED, or a DataFrame of pandas or of a library that converts to it. Of a CSV
    file, ``delimiter``, ``encoding``, the ``decimal`` sign and the order of ``dates`` are found by looking, unless they
    are given. ``missing`` are further texts that stand for a missing value.

    Raises:
        DataError: the table is missing, broken, or cannot be learned from.
        RecipeError: an option has no such value.
    """
    check_texts(target=target, test=test, group=group, order=order)
    check_among("kind", kind, KINDS)
    check_among("scaling", scaling, SCALINGS)
    dropped, as_categories = names_of("drop", drop), names_of("categories", categories)
    wished = _wished(decimal, dates, delimiter, encoding, missing)
    name = (data or "breast-cancer") if isinstance(data, str) else "given"
    if name in NAMED:
        _check_named(name, test, wished)
        frame, found = _named(name)
        target, tested, read = target or found, None, None
    else:
        tables = _Files(loading.folder, target, [*as_categories, *dropped], wished)
        (frame, *more), read = tables.read([data, test] if test else [data])
        tested = more[0] if more else None
    return Tabular.from_frame(
        frame,
        target=target,
        test=tested,
        group=group or None,
        order=order or None,
        kind=kind,  # type: ignore[arg-type]
        scaling=scaling,  # type: ignore[arg-type]
        validation_share=loading.validation_share,
        seed=loading.seed,
        name=name,
        drop=dropped,
        categories=as_categories,
        recognised=read,
    )


@dataclass(frozen=True)
class _Files:
    """How tables in files are read: seen from ``folder``, with the columns ``as_text`` as they are."""

    folder: Path
    target: str
    as_text: Collection[str]
    wished: Wished

    def read(self, given: Sequence[str | Frame]) -> tuple[list[Frame], Recognised]:
        """Return tables, which are files or DataFrames, and how their text was recognised together."""
        files = [self._file(each) for each in given]
        _check_csv_options(files, self.wished)
        return _recognised(files, self.as_text, self.target, self.wished)

    def _file(self, given: str | Frame) -> TableFile:
        if not isinstance(given, str):
            return TableFile(Path("given"), checked_frame(_frame_of(given, self.target), "the table given"), None)
        path = _path(given, self.folder)
        if not self.target:
            raise RecipeError(
                f"a table needs a target, the column to predict, but got none for {path.name}: set data.target=COLUMN."
            )
        return read_file(path, self.wished.csv_form)


def _check_named(name: str, test: str, wished: Wished) -> None:
    """Check that no option is set that a table of scikit-learn has no use for. Raises RecipeError."""
    if test:
        raise RecipeError(f"{name} has no other table for its test, but got data.test={test!r}. Leave data.test out.")
    _check_csv_options([TableFile(Path(name), None, None)], wished)


def _check_csv_options(files: Sequence[TableFile], wished: Wished) -> None:
    """Check that options about the text of CSV files are for such files. Raises RecipeError."""
    form, are_csv = wished.csv_form, [each.form is not None for each in files]
    given = {"delimiter": form.delimiter, "encoding": form.encoding}
    given |= {name: value for name, value in (("decimal", wished.decimal), ("dates", wished.dates)) if value != "auto"}
    unused = [f"data.{name}={value}" for name, value in given.items() if value]
    if unused and not any(are_csv):
        raise RecipeError(
            f"only CSV files can be read with {unused[0]}, but the table has columns with types. Convert them there, "
            "or name a CSV file."
        )
    if wished.missing and not all(are_csv):
        raise RecipeError(
            f"only CSV files can have texts for missing values, but got data.missing={list(wished.missing)} for a "
            "table with types. Leave the option out, and empty these cells in the table and in that of the test."
        )


def _frame_of(data: Frame, target: str) -> Frame:
    """Return a DataFrame of pandas. Raises RecipeError if the name of its target is missing."""
    frame = data.to_pandas() if hasattr(data, "to_pandas") else data
    if not target:
        columns = first_few([str(column) for column in frame.columns])
        raise RecipeError(
            "a table needs a target, the column to predict, but got none for a DataFrame with the columns "
            f'{columns}: name it in the recipe, as in {{"data": {{"target": "COLUMN"}}}}.'
        )
    return frame


def _wished(decimal: str, dates: str, delimiter: str, encoding: str, missing: object) -> Wished:
    """Return what the user says of how files are written. Raises RecipeError if an option has no such value."""
    check_texts(decimal=decimal, dates=dates, delimiter=delimiter, encoding=encoding)
    check_among("decimal", decimal, DECIMALS)
    check_among("dates", dates, DATES)
    sign = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(sign) > 1 or sign in ('"', "\r", "\n"):
        raise RecipeError(f"data.delimiter must be one character, such as ; or tab, but got {delimiter!r}.")
    try:
        is_text = not encoding or codecs.lookup(encoding)._is_text_encoding
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        raise RecipeError(f"data.encoding must be the name of an encoding, such as cp1250, but got {encoding!r}.")
    return Wished(CsvForm(sign, encoding), decimal, dates, tuple(names_of("missing", missing, "texts")))


def _recognised(
    files: Sequence[TableFile], as_text: Collection[str], target: str, wished: Wished
) -> tuple[list[Frame], Recognised]:
    """Return tables with the text of CSV files recognised, and how.

    What is text in a first table with types stays text in a CSV file beside it. If the first table is a CSV file, the
    text of one with types is recognised together with it.
    """
    texts = [(each, each.form) for each in files if each.form is not None]
    if not texts:
        return [each.frame for each in files], Recognised(wished)
    first = files[0]
    plain = as_text if first.form is not None else names_of_categories(first.frame)
    parts = [each.frame if each.form is not None else text_in(each.frame, plain) for each in files]
    found, read = recognised(parts, plain, target, wished, texts[0][1].delimiter)
    frames = [
        part if each.form is not None else each.frame.assign(**part) for each, part in zip(files, found, strict=True)
    ]
    told = [sentence for file, form in texts for sentence in _told_of(file.path, form)]
    cells = read.cells
    if len(texts) < len(files):  # then only times need their text, which tells their zone
        times = [name for name, each in read.forms.items() if each.part == DATE and first.form is not None]
        cells = {name: cells[name] for name in times}
    return frames, replace(read, told=(*told, *read.told), cells=cells)


def _told_of(path: Path, form: CsvForm) -> list[str]:
    """Return a sentence on how a CSV file is written, unless it is UTF-8 with commas."""
    found = []
    if form.delimiter != ",":
        between = {" ": "spaces", "\t": "tabs"}.get(form.delimiter, form.delimiter)
        found.append(f"{path.name} has {between} between cells (data.delimiter).")
    if form.example:
        found.append(
            f"{path.name} is no UTF-8 and is read as Windows-1252, for example {form.example!r}. If letters are "
            "wrong, name its encoding, such as data.encoding=cp1250."
        )
    return found


def _named(name: str) -> tuple[Frame, str]:
    """Return a table that comes with scikit-learn, and the name of its target."""
    from sklearn import datasets

    made = {
        "breast-cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
        "wine": datasets.load_wine,
    }[name](as_frame=True)
    frame = made.frame
    if name != "diabetes":
        frame = frame.assign(target=[str(made.target_names[number]) for number in frame["target"]])
    return frame, "target"


def _path(text: str, here: Path) -> Path:
    """Return the path of a file, seen from the folder ``here``. Raises DataError if the name is of no file."""
    path, endings = path_of(text, here), (*CSV_ENDINGS, *PARQUET_ENDINGS)
    if not text.startswith(FILE) and not path.name.lower().endswith(endings) and not path.exists():
        raise DataError(
            f"unknown table {text!r}: name a file that ends in one of {', '.join(endings)}, or a known set. "
            f"{did_you_mean(text, NAMED)}"
        )
    return path
