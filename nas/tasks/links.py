"""Links in the folder of a data set, which must not lead out of it."""

from __future__ import annotations

from pathlib import Path

from nas.errors import DataError


def check_no_link(folder: Path) -> None:
    """Check that a folder of a data set is no link, wherever it leads. Raises DataError otherwise."""
    if folder.is_symlink():
        raise DataError(f"folders of a data set must not be links, but {folder} links to {folder.resolve()}.")


def check_within(file: Path, root: Path) -> None:
    """Check that a file is no link out of ``root``, a path without links. Raises DataError otherwise.

    A link to nothing is left to who reads the file.
    """
    if file.is_symlink() and file.exists() and not file.resolve().is_relative_to(root):
        raise DataError(f"files of a data set must lie within {root}, but {file} links to {file.resolve()}.")
