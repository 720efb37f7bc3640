"""The data set that a recipe names, loaded once in each process."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from nas.errors import DataError, did_you_mean
from nas.tasks.dataset import DataSet, check_share
from nas.tasks.image_folder import load_folder
from nas.tasks.named_data import DATA_SETS, load_named


@dataclass(frozen=True)
class DataSource:
    """Where a process gets its data set: the given one, or by name, loaded once in each process.

    Relative paths are taken from ``working_folder`` wherever it is loaded: Ray Tune moves each worker elsewhere.
    """

    given: DataSet | None = None
    name: str = "digits"
    root: str | None = None
    image_size: int | None = None
    validation_share: float | None = None
    working_folder: Path = field(default_factory=Path.cwd)

    def load(self) -> DataSet:
        """The data set. Raises DataError as ``load_data`` does."""
        if self.given is not None:
            return self.given
        return _load_once(self.name, self.root, self.image_size, self.validation_share, self.working_folder)


@lru_cache(maxsize=1)
def _load_once(
    name: str, root: str | None, image_size: int | None, validation_share: float | None, working_folder: Path
) -> DataSet:
    return load_data(
        name,
        root=None if root is None else Path(root),
        image_size=image_size,
        validation_share=validation_share,
        working_folder=working_folder,
    )


def load_data(
    name: str,
    *,
    root: Path | None = None,
    image_size: int | None = None,
    validation_share: float | None = None,
    seed: int = 0,
    working_folder: Path | None = None,
) -> DataSet:
    """The data set called ``name``, one of ``DATA_SETS``, or ``folder:PATH`` for a folder of images.

    It is looked for in ``root``, else the folder that the environment variable NAS_DATA names, else
    ``~/.cache/nas/data``, then in ``./data``, torchvision's customary root; downloads go to the first. Relative paths
    are taken from ``working_folder``, by default the current one. ``validation_share`` is the share of the images
    outside the test split that validate, of each class, picked by ``seed``: 0.1 where it is not given, 0.25 for
    digits, which makes 60, 20 and 20 %. The test split is always the same.

    A folder has the layout PATH/class/image.png, or PATH/train, PATH/val or validation or valid, and PATH/test,
    each with folders of classes; a missing split is taken from the training images. With ``image_size`` images
    are scaled and cropped to that square, which they need where they differ in size. Nothing says whether mirrored
    images keep their label, so ``flip`` is off.

    Raises:
        DataError: unknown name; files that are missing, unreadable or unfit.
        ValueError: an image size below 1 or a share outside (0, 1).
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1, but got {image_size}.")
    share = validation_share if validation_share is not None else 0.25 if name == "digits" else 0.1
    check_share(share, "validation_share")
    here = working_folder or Path.cwd()
    if name.startswith("folder:"):
        return load_folder(name, here / Path(name.removeprefix("folder:")).expanduser(), image_size, share, seed)
    if name not in DATA_SETS:
        raise DataError(f"unknown data set {name!r}. {did_you_mean(name, (*DATA_SETS, 'folder:PATH'))}")
    first = root or Path(os.environ.get("NAS_DATA") or Path.home() / ".cache" / "nas" / "data")
    roots = tuple(dict.fromkeys((here / first.expanduser(), here / "data")))  # each once, in this order
    return load_named(name, roots, image_size, share, seed)
