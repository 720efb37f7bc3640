"""Making the task that a recipe names: one of the installed ones, or a class of the user's own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from nas.errors import DataError, NasError, RecipeError, raised_text
from nas.progress import NullProgress, Progress
from nas.space.own_code import own_code
from nas.space.plug_ins import check_options, load_plug_in, parameters_of
from nas.tasks.checking import check_task
from nas.tasks.task import Task

if TYPE_CHECKING:
    from nas.tasks.images.images import Images

GROUP = "nas.tasks"
IMAGES = "images"
"""The name of the task that a recipe has by default."""
TABLES = "tables"
"""The task that a DataFrame is."""
FOLDER, FILE = "folder:", "file:"
"""What may stand before the path of data; a name of images that is a folder's path needs the first."""
_MARK = "__loads_nas_task__"
Made = TypeVar("Made", bound=Callable[..., Task])


@dataclass(frozen=True)
class Loading:
    """What every task is loaded with.

    Attributes:
        validation_share: the share of the training items that validate; None for the task's own default.
        folder: relative paths are taken from it.
        seed: picks the validation items.
        progress: shows reading and downloading.
    """

    validation_share: float | None = None
    folder: Path = field(default_factory=Path.cwd)
    seed: int = 0
    progress: Progress = field(default_factory=NullProgress)


def loads_task(function: Made) -> Made:
    """Mark a function that takes the name of data and a ``Loading``, and further options, and returns a task."""
    setattr(function, _MARK, True)
    return function


def check_texts(**options: object) -> None:
    """Check that options, by their names, are text: TOML reads a bare 3 as a number. Raises RecipeError."""
    for name, value in options.items():
        if not isinstance(value, str):
            quoted = f"--set 'data.{name}=\"{value}\"'"
            raise RecipeError(f"data.{name} must be text, but got {value!r}. Write it in quotes: {quoted}.")


def check_among(name: str, value: object, known: Sequence[str]) -> None:
    """Check that an option has one of its values. Raises RecipeError."""
    if value not in known:
        raise RecipeError(f"data.{name} must be one of {', '.join(known)}, but got {value!r}.")


def names_of(name: str, given: object, what: str = "names of columns") -> list[str]:
    """Return the names that an option gives: none, one, or a list. Raises RecipeError for anything else."""
    found = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(found, list | tuple) or not all(isinstance(each, str) for each in found):
        raise RecipeError(f"data.{name} must be a list of {what}, but got {given!r}.")
    return list(found)


def path_of(text: str, here: Path) -> Path:
    """Return the path that a user writes, seen from the folder ``here``, without "folder:" or "file:" before it.

    Raises:
        DataError: it cannot be a path.
    """
    given = next((text.removeprefix(each) for each in (FOLDER, FILE) if text.startswith(each)), text)
    if not given:
        raise DataError(f"data need a path, but got none. For the current folder, write {FOLDER}. with a dot.")
    if "\0" in given or any("\ud800" <= letter <= "\udfff" for letter in given):
        raise DataError(f"data need a path in UTF-8 without zero bytes, but got {given!r}. Rename it.")
    try:
        return here / Path(given).expanduser()
    except RuntimeError as error:
        raise DataError(f"data need a path, but {given!r} begins with a user that does not exist here.") from error


def data_root(given: object, here: Path) -> Path:
    """Return the folder of data that are downloaded or made: ``given``, else NAS_DATA, else ``~/.cache/nas/data``.

    Raises:
        DataError: ``given`` is no path.
    """
    root = given or os.environ.get("NAS_DATA") or Path.home() / ".cache" / "nas" / "data"
    if not isinstance(root, str | Path):
        raise DataError(f"data.root must be the path of a folder, but got {root!r}.")
    return path_of(str(root), here)


def is_frame(data: object) -> bool:
    """Return True for a DataFrame of pandas, or for a table of another library that converts to one."""
    return hasattr(data, "to_pandas") or (hasattr(data, "columns") and hasattr(data, "iloc"))


@overload
def load_data(
    data: object = "",
    *,
    task: Literal["images"] = "images",
    validation_share: float | None = None,
    seed: int = 0,
    working_folder: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Images: ...


@overload
def load_data(
    data: object = "",
    *,
    task: str,
    validation_share: float | None = None,
    seed: int = 0,
    working_folder: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Task: ...


def load_data(
    data: object = "",
    *,
    task: str = IMAGES,
    validation_share: float | None = None,
    seed: int = 0,
    working_folder: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Task:
    """Load data as a search would, and return their task, in three splits.

    Args:
        data: their name, as in a recipe: a data set such as ``digits``, ``folder:PATH`` for images of your own, or
            the path of a table, of recordings or of a text. Tables may also be a DataFrame.
        task: the kind of task: ``images``, ``signals``, ``tables`` or ``text``, or ``my_module:MyTask``.
        validation_share: the share of the training items that validate; by default the task's own.
        seed: picks the validation items. The test items are always the same.
        working_folder: relative paths are taken from it, by default the current folder.
        progress: shows reading and downloading; nothing by default.
        options: those of the task, such as ``image_size=64``, ``rate=16000`` or ``target="price"``.

    Raises:
        RecipeError: an unknown task, or an option that it does not take.
        DataError: the data cannot be used.

    Example::

        photos = nas.load_data("folder:photos", image_size=64)
        patients = nas.load_data("patients.csv", task="tables", target="diagnosis")
        print(patients, patients.warnings)
    """
    data = str(data) if isinstance(data, Path) else data
    if not isinstance(data, str) and not (is_frame(data) and task == TABLES):
        raise RecipeError(
            'data are given by their name, such as "folder:photos", or as a DataFrame for task="tables", but got '
            f"an object of the class {type(data).__qualname__} for task={task!r}."
        )
    loading = Loading(validation_share, working_folder or Path.cwd(), seed, progress or NullProgress())
    return load_task(task, data, loading, options)


def load_task(kind: str, data: object, loading: Loading, options: Mapping[str, Any]) -> Task:
    """Return the task of the installed ``kind`` or of the class ``module:Name``, with the data called ``data``.

    A class is given ``data`` and ``loading`` if its constructor takes them, and the ``options``.

    Raises:
        RecipeError: unknown kind, no class of a task, or an option that it does not take.
        DataError: the data cannot be used.
    """
    maker = load_plug_in(GROUP, kind, "task")
    given = {"data": data, "loading": loading}
    if inspect.isfunction(maker) and getattr(maker, _MARK, False):
        check_options(maker, options, kind, "task", reserved=given)
        made: object = maker(data, loading, **options)
        assert isinstance(made, Task)
        return made
    if not isinstance(maker, type) or not issubclass(maker, Task):
        raise RecipeError(f"a task must be a class derived from nas.Task, but {kind!r} is {maker!r:.80}.")
    parameters = parameters_of(maker) or {}
    if inspect.isabstract(maker):
        missing = ", ".join(sorted(maker.__abstractmethods__))
        raise RecipeError(f"the task {kind!r} must give {missing}, but does not.")
    check_options(maker, options, kind, "task", reserved=given)
    try:
        with own_code():
            task = maker(**{key: value for key, value in given.items() if key in parameters}, **options)
    except NasError:
        raise
    except Exception as error:
        raise DataError(f"the task {kind!r} cannot be made: {raised_text(error)}.") from error
    check_task(task)
    return task
