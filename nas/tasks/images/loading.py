"""Images by name: a folder, or a well-known data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import DataError, RecipeError, did_you_mean
from nas.progress import NullProgress, Progress
from nas.tasks.class_folders import class_folders, shown
from nas.tasks.dependence import NONE
from nas.tasks.deployed.pictures import ENDINGS
from nas.tasks.file_groups import parts_of_files
from nas.tasks.images.decoded.picture_files import PictureFiles
from nas.tasks.images.image_table import TABLES, Columns, load_table
from nas.tasks.images.images import Images
from nas.tasks.images.labelled import LabelledPictures, Reading
from nas.tasks.images.named_data import load_named
from nas.tasks.images.torchvision_data import load_torchvision
from nas.tasks.images.well_known import DATA_SETS
from nas.tasks.loading import FOLDER, Loading, check_texts, data_root, loads_task, path_of
from nas.tasks.splitting import check_share
from nas.tasks.usual_space import other_task

DEFAULT_COLUMNS = Columns()
TORCHVISION = "torchvision:"
"""The beginning of a name that ends in a class of ``torchvision.datasets``."""
_NO_PICTURES = {"", ".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".ini", ".db", ".pdf", ".py"}
"""Endings of files that nobody expects to be pictures."""


@loads_task
def load_images(
    data: str,
    loading: Loading,
    *,
    root: str | None = None,
    image_size: int | None = None,
    mirror: bool | None = None,
    random_parts: bool | None = None,
    path_column: str = Columns.path,
    label_column: str | list[str] = "label",
    split_column: str = Columns.split,
    multi_label: bool | None = None,
    group: str = "",
    arguments: dict[str, Any] | None = None,
) -> Images:
    """Return images with one label or several: a folder of classes, a table of paths, or a well-known set.

    ``load_data`` says which. The columns are those of a table of pictures; ``label_column`` may be a list of columns
    of 0 and 1. ``mirror`` says if pictures keep their label when mirrored, ``random_parts`` if most parts of a picture
    show what its label says. ``group`` is a column, or the pattern of a part of paths: pictures for which that is equal
    stay in one split. Without it, so do pictures that depend on each other as far as names and contents tell, and
    "none" keeps all apart. ``arguments`` are those of a set of torchvision.

    Raises:
        RecipeError: an option is unfit, or does not belong to such data.
        DataError: the data cannot be used.
    """
    check_texts(group=group)
    columns = Columns.of(path_column, label_column, split_column, multi_label)
    try:
        return load_data(
            data or "digits",
            root=root,
            image_size=image_size,
            mirror=mirror,
            random_parts=random_parts,
            columns=columns,
            group=group,
            arguments=arguments,
            validation_share=loading.validation_share,
            seed=loading.seed,
            working_folder=loading.folder,
            progress=loading.progress,
        )
    except DataError as error:
        name = data.removeprefix(FOLDER)
        other = "" if not name or "\0" in name else other_task(loading.folder / name, "images", name)
        if not other:
            raise
        raise DataError(f"{error} {other}") from error


def load_data(
    name: str,
    *,
    root: str | Path | None = None,
    image_size: int | None = None,
    mirror: bool | None = None,
    random_parts: bool | None = None,
    columns: Columns = DEFAULT_COLUMNS,
    group: str = "",
    arguments: Mapping[str, Any] | None = None,
    validation_share: float | None = None,
    seed: int = 0,
    working_folder: Path | None = None,
    progress: Progress | None = None,
) -> Images:
    """Load the data set called ``name``: one of DATA_SETS, ``folder:PATH``, a table's path, or ``torchvision:Class``.

    A named set is searched in ``root`` and then in ``./data``, torchvision's customary root. The default root is the
    environment variable NAS_DATA, else ``~/.cache/nas/data``. A missing set is downloaded to the root. Relative paths
    are taken from ``working_folder``, by default the current folder.

    The test split is always the same. ``validation_share`` is the share of the other images of each class that
    validate; ``seed`` picks them. By default they are a tenth, or up to a fifth, as far as a thousand need it, and
    a quarter for digits, which gives 60, 20 and 20 %.

    A folder has the layout PATH/class/image.png, or the folders PATH/train, PATH/val (or validation, or valid) and
    PATH/test, each with a folder for each class. A missing split is taken from the training images. ``image_size``
    cuts images to their central square and scales it; images of different sizes, and large ones, are scaled without it
    too. ``mirror`` lets training mirror them left to right; by default, pictures in colour are mirrored unless their
    classes are digits or letters, or tell left from right. ``random_parts`` lets training see random parts of pictures
    above 32 pixels; by default, of those in colour unless their classes are digits or letters. Reading and downloading
    are shown by ``progress``.

    A table is a CSV or Parquet file with a row for each picture; ``columns`` names its columns. A set of torchvision is
    made with ``arguments``, in the same roots. Pictures of one ``group`` are in one split: it names a column of a
    table, or is the pattern of ``parts_of_files`` for a folder.

    Raises:
        DataError: the name is unknown, or files are missing, unreadable or unfit.
        ValueError: the image size is below 1, or the share is outside (0, 1).
        RecipeError: ``mirror`` or ``random_parts`` is something else, or an option does not belong to such data.
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1, but got {image_size}.")
    for title, value in (("mirror", mirror), ("random_parts", random_parts)):
        if value is not None and not isinstance(value, bool):
            raise RecipeError(f"{title} must be true or false, but got {value!r}.")
    share = 0.25 if validation_share is None and name == "digits" else validation_share
    if share is not None:
        check_share(share, "validation_share")
    here = working_folder or Path.cwd()
    reading = Reading(image_size, share, seed, progress or NullProgress(), group)
    is_table = name.lower().endswith(TABLES) and not name.startswith(FOLDER)
    if columns != DEFAULT_COLUMNS and not is_table:
        raise RecipeError(f"columns belong to a table of pictures, which ends in {' or '.join(TABLES)}, not to {name}.")
    if arguments is not None and not name.startswith(TORCHVISION):
        raise RecipeError(f"arguments belong to a set of torchvision, such as {TORCHVISION}SVHN, not to {name}.")
    found = _loaded(name, root, here, columns, arguments, reading, is_table=is_table)
    flip = found.flip if mirror is None else mirror
    return replace(found, flip=flip, random_parts=found.random_parts if random_parts is None else random_parts)


def _loaded(
    name: str,
    root: str | Path | None,
    here: Path,
    columns: Columns,
    arguments: Mapping[str, Any] | None,
    reading: Reading,
    *,
    is_table: bool,
) -> Images:
    if is_table:
        return load_table(name, path_of(name, here), columns, reading)
    if name.startswith(FOLDER):
        return _load_folder(name, path_of(name, here), reading)
    reading.check_no_group(name)
    roots = tuple(dict.fromkeys((data_root(root, here), here / "data")))  # without duplicates, in this order
    if name.startswith(TORCHVISION):
        return load_torchvision(name, name.removeprefix(TORCHVISION), roots, arguments or {}, reading)
    if name not in DATA_SETS:
        raise DataError(f"unknown data set {name!r}. {_meant(name, here)}")
    return load_named(name, roots, reading)


def _meant(name: str, here: Path) -> str:
    """Return what a user may have meant by a name that is none: a folder, or the nearest name."""
    path = os.path.join(here, os.path.expanduser(name))
    if os.path.isdir(path):
        return f"To use the folder {name}, write {FOLDER}{name}."
    if os.path.exists(path):
        return (
            f"{name} is a file: put images into a folder for each class, and write {FOLDER}PATH; or list them with "
            f"their labels in a table, whose name ends in {' or '.join(TABLES)}."
        )
    if "/" in name or os.sep in name:
        return f"There is no folder {path} either. Images of your own are named by {FOLDER}PATH."
    return did_you_mean(name, (*DATA_SETS, f"{FOLDER}PATH", f"{TORCHVISION}NAME"))


def _load_folder(name: str, path: Path, reading: Reading) -> Images:
    """Return the images below ``path`` as a data set called ``name``."""
    found = class_folders(path, "an image", "images", ENDINGS)
    source = PictureFiles.of(found.root, [each.path for each in found.files])
    labels, splits = np.array([each.label for each in found.files]), np.array([each.split for each in found.files])
    notes = _skipped_notes(found.skipped)
    within = [each.within for each in found.files]
    is_named = reading.group not in ("", NONE)
    groups = parts_of_files(within, reading.group, "data.group") if is_named else None
    return LabelledPictures(name, source, labels, splits, found.classes, notes, groups, within).task(reading)


def _skipped_notes(skipped: Mapping[str, int]) -> list[str]:
    """Return a sentence about files that may be pictures of a format that is not read."""
    strange = {ending: count for ending, count in skipped.items() if ending not in _NO_PICTURES}
    if not strange:
        return []
    listed = ", ".join(f"{count} {shown(Path(ending))}" for ending, count in sorted(strange.items()))
    return [f"files with unknown endings were left out ({listed}). Convert pictures among them to JPEG or PNG."]
