"""Files of an export: where one may lie, and writing it whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import RecipeError
from nas.storage.journal import JOURNAL, RECIPE, write_aside
from nas.storage.run_files import PARENT_WEIGHTS, SUPERNET_WEIGHTS

if TYPE_CHECKING:
    from nas.results.run import Run

OF_THE_RUN = (RECIPE, JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", ".writer", SUPERNET_WEIGHTS, PARENT_WEIGHTS)
"""Files of a run folder that nothing may take the place of."""
FOLDERS_OF_THE_RUN = ("winners", "retrained", "seeds", "checkpoints", "solved")
"""Folders of a run folder into which nothing else may be written."""


def check_place(run: Run, path: Path) -> None:
    """Check that a file may be written at ``path``: it is no folder, and no file that the run itself needs.

    Raises:
        RecipeError: it is one.
    """
    if path.is_dir() or not path.name:
        raise RecipeError(f"--out takes the name of a file, but {path} is a folder.")
    check_folder(run, path)
    if path.name in OF_THE_RUN and path.resolve().parent == run.run_folder.resolve():
        raise RecipeError(f"--out must not take the place of a file of the run itself, but got {path}.")


def check_folder(run: Run, path: Path) -> None:
    """Check that ``path`` lies in no folder that the run itself writes. Raises RecipeError."""
    if any(path.resolve().is_relative_to((run.run_folder / name).resolve()) for name in FOLDERS_OF_THE_RUN):
        raise RecipeError(f"--out must not take the place of a file of the run itself, but got {path}.")


def write_out(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        RecipeError: the folder cannot be made or written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content)
    except OSError as error:
        raise RecipeError(
            f"{path} must be a file that can be written, but the system says: {error.strerror or error}. "
            "Free some space, or choose another place."
        ) from error
