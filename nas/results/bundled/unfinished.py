"""Where a bundle lies while it is made, so that a folder with a bundle's name always holds a whole one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nas.errors import JournalError
from nas.results.bundle import WEIGHTS

UNFINISHED = ".unfinished"
"""The folder beside bundles in which they are made."""
REPLACED = ".replaced"
"""What follows the name of an older bundle there, while a new one takes its place."""


def unfinished(bundle: Path) -> Path:
    """Return the folder in which a bundle is made before it is moved to its place."""
    return bundle.parent / UNFINISHED / bundle.name


def weights_of(bundle: Path) -> Path:
    """Return the file of a retrained model's weights, which may wait for the rest of their bundle."""
    waiting = unfinished(bundle) / WEIGHTS
    return waiting if waiting.is_file() else bundle / WEIGHTS


def begin(bundle: Path) -> Path:
    """Return the folder in which ``bundle`` is made, with nothing in it but its weights, if there are some already."""
    bring_back(bundle)
    aside = unfinished(bundle)
    aside.mkdir(parents=True, exist_ok=True)
    for path in aside.iterdir():  # of a writer that was killed
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != WEIGHTS:
            path.unlink()
    if not (aside / WEIGHTS).exists() and (bundle / WEIGHTS).is_file():
        beside = aside / f".{WEIGHTS}.{os.getpid()}"
        shutil.copyfile(bundle / WEIGHTS, beside)
        os.replace(beside, aside / WEIGHTS)
    return aside


def bring_back(bundle: Path) -> None:
    """Bring back an older bundle that was half replaced when its writer was killed."""
    replaced = unfinished(bundle).with_name(f"{bundle.name}{REPLACED}")
    if replaced.is_dir() and not bundle.exists():
        os.rename(replaced, bundle)


def settle(bundle: Path) -> None:
    """Move a bundle that is whole from where it was made to its place. An older one there goes."""
    aside = unfinished(bundle)
    replaced = aside.with_name(f"{aside.name}{REPLACED}")
    shutil.rmtree(replaced, ignore_errors=True)
    if bundle.exists():
        os.rename(bundle, replaced)
    os.rename(aside, bundle)
    shutil.rmtree(replaced, ignore_errors=True)
    _tidy(aside.parent)


@contextlib.contextmanager
def made_aside(bundle: Path, what: str = "a bundle") -> Iterator[Path]:
    """Give an empty folder in which to make ``bundle``, which is moved to its place at the end of the block.

    If the block raises, nothing is left of it, and an older bundle stays. ``what`` names it for people.

    Raises:
        JournalError: the disk refuses, because it is full or the folder may not be written.
    """
    aside = unfinished(bundle)
    try:
        try:
            shutil.rmtree(aside, ignore_errors=True)
            bring_back(bundle)
            aside.mkdir(parents=True)
            yield aside
            settle(bundle)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            _tidy(aside.parent)
    except OSError as error:
        raise JournalError(
            f"{what} must be written to {bundle}, but the system says: {error.strerror or error}. "
            "Free some space, or name another folder. Nothing was left there."
        ) from error


def _tidy(folder: Path) -> None:
    """Remove the folder of unfinished bundles if it is empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()
