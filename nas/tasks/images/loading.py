"""Images by name: a folder, or a well-known data set."""

from __future__ import annotations

import os
from pathlib import Path

from nas.errors import DataError, did_you_mean
from nas.progress import NullProgress, Progress
from nas.tasks.images.image_folder import load_folder
from nas.tasks.images.images import Images
from nas.tasks.images.known import DATA_SETS
from nas.tasks.images.labelled import Reading
from nas.tasks.images.named_data import load_named
from nas.tasks.images.splits import check_share
from nas.tasks.loading import Loading, loads_task

FOLDER = "folder:"
"""The beginning of a name that gives the path of a folder with images."""


@loads_task
def load_images(data: str, loading: Loading, *, root: str | None = None, image_size: int | None = None) -> Images:
    """Return images with one label each: a folder of classes, or a well-known set.

    ``load_data`` says which.
    """
    return load_data(
        data or "digits",
        root=None if root is None else Path(root),
        image_size=image_size,
        validation_share=loading.validation_share,
        seed=loading.seed,
        working_folder=loading.folder,
        progress=loading.progress,
    )


def load_data(
    name: str,
    *,
    root: Path | None = None,
    image_size: int | None = None,
    validation_share: float | None = None,
    seed: int = 0,
    working_folder: Path | None = None,
    progress: Progress | None = None,
) -> Images:
    """Load the data set called ``name``: one of DATA_SETS, or ``folder:PATH`` for a folder of images.

    A named set is searched in ``root`` and then in ``./data``, torchvision's customary root. The default root is the
    environment variable NAS_DATA, else ``~/.cache/nas/data``. A missing set is downloaded to the root. Relative paths
    are taken from ``working_folder``, by default the current folder.

    The test split is always the same. ``validation_share`` is the share of the other images of each class that
    validate; ``seed`` picks them. The default is 0.1, and 0.25 for digits, which gives 60, 20 and 20 %.

    A folder has the layout PATH/class/image.png, or the folders PATH/train, PATH/val (or validation, or valid) and
    PATH/test, each with a folder for each class. A missing split is taken from the training images. ``image_size``
    cuts images to their central square and scales it; images of different sizes need it. ``flip`` is off, because
    mirrored images may not keep their label. Reading and downloading are shown by ``progress``.

    Raises:
        DataError: the name is unknown, or files are missing, unreadable or unfit.
        ValueError: the image size is below 1, or the share is outside (0, 1).
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1, but got {image_size}.")
    share = validation_share if validation_share is not None else 0.25 if name == "digits" else 0.1
    check_share(share, "validation_share")
    here = working_folder or Path.cwd()
    if name.startswith(FOLDER):
        path = _path(name.removeprefix(FOLDER), here)
        return load_folder(name, path, Reading(image_size, share, seed, progress or NullProgress()))
    if name not in DATA_SETS:
        raise DataError(f"unknown data set {name!r}. {_meant(name, here)}")
    first = root or Path(os.environ.get("NAS_DATA") or Path.home() / ".cache" / "nas" / "data")
    roots = tuple(dict.fromkeys((_path(str(first), here), here / "data")))  # without duplicates, in this order
    return load_named(name, roots, image_size, share, seed, progress or NullProgress())


def _path(text: str, here: Path) -> Path:
    """Return the path that a user writes, seen from the folder ``here``. Raises DataError if it is none."""
    rule = "data need the path of a folder"
    if not text:
        raise DataError(f"{rule}, but got none. For the current folder, write {FOLDER}. with a dot.")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(f"{rule} in UTF-8 without zero bytes, but got {text!r}. Rename the folder.")
    try:
        return here / Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"{rule}, but {text!r} begins with a user that does not exist here: {error}") from error


def _meant(name: str, here: Path) -> str:
    """Return what a user may have meant by a name that is none: a folder, or the nearest name."""
    path = os.path.join(here, os.path.expanduser(name))
    if os.path.isdir(path):
        return f"To use the folder {name}, write {FOLDER}{name}."
    if os.path.exists(path):
        return f"{name} is a file: put images into a folder for each class, and write {FOLDER}PATH."
    if "/" in name or os.sep in name:
        return f"There is no folder {path} either. Images of your own are named by {FOLDER}PATH."
    return did_you_mean(name, (*DATA_SETS, f"{FOLDER}PATH"))
