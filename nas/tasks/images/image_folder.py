"""A data set from a folder of images, with a subfolder for each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nas.tasks.class_folders import class_folders, shown
from nas.tasks.deployed.pictures import ENDINGS
from nas.tasks.images.decoded.picture_files import PictureFiles
from nas.tasks.images.images import Images
from nas.tasks.images.labelled import LabelledPictures, Reading

_NO_PICTURES = {"", ".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".ini", ".db", ".pdf", ".py"}
"""Endings of files that nobody expects to be pictures."""


def load_folder(name: str, path: Path, reading: Reading) -> Images:
    """Load the images below ``path`` as a data set called ``name``. Its notes name the broken ones that are left out.

    Raises:
        DataError: images are missing or unfit, or too many of them are broken.
    """
    found = class_folders(path, "an image", "images", ENDINGS)
    source = PictureFiles.of(found.root, [each.path for each in found.files])
    labels, splits = np.array([each.label for each in found.files]), np.array([each.split for each in found.files])
    notes = _skipped_notes(found.skipped)
    return LabelledPictures(name, source, labels, splits, found.classes, notes).task(reading)


def _skipped_notes(skipped: Mapping[str, int]) -> list[str]:
    """Return a sentence about files that may be pictures of a format that is not read."""
    strange = {ending: count for ending, count in skipped.items() if ending not in _NO_PICTURES}
    if not strange:
        return []
    listed = ", ".join(f"{count} {shown(Path(ending))}" for ending, count in sorted(strange.items()))
    return [f"files with unknown endings were left out ({listed}). Convert pictures among them to JPEG or PNG."]
