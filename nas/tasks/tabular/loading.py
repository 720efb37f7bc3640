"""Tables by name: a CSV or Parquet file, or a set that comes with scikit-learn."""

from __future__ import annotations

from pathlib import Path

from nas.errors import DataError, RecipeError, did_you_mean, first_few
from nas.tasks.criteria import KINDS
from nas.tasks.loading import FILE, Loading, check_among, check_texts, loads_task, names_of, path_of
from nas.tasks.tabular.columns import SCALINGS
from nas.tasks.tabular.reading import CSV_ENDINGS, PARQUET_ENDINGS, Frame, read_table
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
) -> Tabular:
    """Return a table, with the options of ``Tabular.from_frame``.

    ``data`` is the name of a file, one of NAMED, or a DataFrame of pandas or of a library that converts to it.

    Raises:
        DataError: the table is missing, broken, or cannot be learned from.
        RecipeError: an option has no such value.
    """
    check_texts(target=target, test=test, group=group, order=order)
    check_among("kind", kind, KINDS)
    check_among("scaling", scaling, SCALINGS)
    dropped, as_categories = names_of("drop", drop), names_of("categories", categories)
    name = (data or "breast-cancer") if isinstance(data, str) else "given"
    tested: Frame | None = None
    if not isinstance(data, str):
        frame = data.to_pandas() if hasattr(data, "to_pandas") else data
        if not target:
            columns = first_few([str(column) for column in frame.columns])
            raise RecipeError(
                "a table needs a target, the column to predict, but got none for a DataFrame with the columns "
                f'{columns}: name it in the recipe, as in {{"data": {{"target": "COLUMN"}}}}.'
            )
        tested = read_table(_path(test, loading.folder), as_text=as_categories) if test else None
    elif name in NAMED:
        frame, found = _named(name)
        target = target or found
    else:
        path = _path(name, loading.folder)
        if not target:
            raise RecipeError(
                f"a table needs a target, the column to predict, but got none for {path.name}: set data.target=COLUMN."
            )
        frame = read_table(path, as_text=as_categories)
        tested = read_table(_path(test, loading.folder), as_text=as_categories) if test else None
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
    )


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
