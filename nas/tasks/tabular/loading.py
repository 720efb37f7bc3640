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
from nas.tasks.tabular.reading import CSV_ENDINGS, PARQUET_ENDINGS, Frame, TableFile, read_file
from nas.tasks.tabular.recognising import DATES, DECIMALS, Recognised, Wished, recognised
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
    tables = _Files(loading.folder, target, [*as_categories, *dropped], wished)
    tested, read = None, None
    if not isinstance(data, str):
        frame = _frame_of(data, target)
        tested = tables.read([test])[0][0] if test else None
    elif name in NAMED:
        frame, found = _named(name)
        target = target or found
    else:
        (frame, *more), read = tables.read([each for each in (data, test) if each])
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

    def read(self, names: Sequence[str]) -> tuple[list[Frame], Recognised]:
        """Return the tables in files, and how they were recognised together."""
        paths = [_path(each, self.folder) for each in names]
        if not self.target:
            raise RecipeError(
                f"a table needs a target, the column to predict, but got none for {paths[0].name}: "
                "set data.target=COLUMN."
            )
        files = [read_file(path, self.wished.csv_form) for path in paths]
        return _recognised(files, self.as_text, self.target, self.wished)


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
    """Return the tables in files, of which those in CSV are recognised together, and how."""
    texts = [each for each in files if each.form is not None]
    delimiter = texts[0].form.delimiter if texts and texts[0].form is not None else ""
    found, read = recognised([each.frame for each in texts], as_text, target, wished, delimiter)
    typed = iter(found)
    told = [each for file in texts for each in _told_of(file)]
    frames = [each.frame if each.form is None else next(typed) for each in files]
    cells = read.cells if len(texts) == len(files) else {}
    return frames, replace(read, told=(*told, *read.told), cells=cells)


def _told_of(file: TableFile) -> list[str]:
    """Return a sentence on how a CSV file is written, unless it is UTF-8 with commas."""
    form = file.form
    assert form is not None
    found = []
    if form.delimiter != ",":
        between = {" ": "spaces", "\t": "tabs"}.get(form.delimiter, form.delimiter)
        found.append(f"{file.path.name} has {between} between cells (data.delimiter).")
    if form.example:
        found.append(
            f"{file.path.name} is no UTF-8 and is read as Windows-1252, for example {form.example!r}. If letters are "
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
