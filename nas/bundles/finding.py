"""Finding the bundle of a winner: by its path, or by its id in a run or among all runs of a folder."""

from __future__ import annotations

import re
from pathlib import Path

from nas.errors import JournalError, RecipeError
from nas.paths import RUNS
from nas.results.bundle import ABOUT, Bundle
from nas.results.run_folder import run_folder_of, run_folders
from nas.values.target import Target

LEAST_DIGITS = 4
"""An id may be shortened to so many digits, as long as only one winner has them."""
KINDS = {"id": str, "target": str, "deployed": str, "batch": int, "space": dict, "choices": dict}
"""What every version writes into a description, and its type."""


def find_bundle(what: Path | str, run: Path | str | None = None, runs: Path = RUNS) -> Bundle:
    """Return the bundle at a path, or that of the winner with this id, or the beginning of one.

    The id is looked for in ``run``, or else in all runs in the folder ``runs``.

    Raises:
        JournalError: there is no such bundle.
        RecipeError: several winners have such an id.
    """
    path = Path(what)
    if run is None and (path / ABOUT).is_file():
        return read_bundle(path)
    if run is None and (path.exists() or len(path.parts) > 1):
        why = "does not exist" if not path.exists() else f"has no {ABOUT}" if path.is_dir() else "is no folder"
        raise JournalError(
            f"a bundle is the folder of a winner, such as runs/my-run/winners/0123456789ab, but {path} {why}."
        )
    places = [run_folder_of(run, runs)] if run is not None else run_folders(runs)
    found = [each for place in places for each in bundles_in(place) if each.name.startswith(str(what))]
    exact = [each for each in found if each.name == str(what)]
    found = exact or (found if len(str(what)) >= LEAST_DIGITS else [])
    if len(found) == 1:
        return read_bundle(found[0])
    if found:
        listed = ", ".join(map(str, found[:5]))
        raise RecipeError(
            f"the id of a winner must name one bundle, but {what} names {len(found)}: {listed}. "
            "Name the path of the one that you mean."
        )
    where = f"the run {run} has" if run is not None else f"the runs in {runs} have"
    known = [each.name for place in places for each in bundles_in(place)]
    hint = f"Known: {', '.join(known[:8])}." if known else "nas show lists all runs and their winners."
    raise JournalError(f"a bundle is named by its path or by a winner's id, but {where} no winner {what}. {hint}")


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle in a folder, after checking that its description has what every version writes.

    Raises:
        JournalError: it cannot be read, or lacks something.
    """
    bundle = Bundle.read(folder)
    wrong = _wrong_in(bundle.about)
    if wrong:
        raise JournalError(
            f"{folder / ABOUT} must describe a winner, but in it {' and '.join(wrong)} must be present and sound."
        )
    try:
        _ = bundle.signature, bundle.answers["kind"], Target.parse(bundle.about["target"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JournalError(
            f"{folder / ABOUT} must describe a winner, but: {type(error).__name__}: {str(error).rstrip('.')}."
        ) from error
    return bundle


def _wrong_in(about: object) -> list[str]:
    """Return the keys of a description that are missing, of another type, or no name of a file where they are one."""
    if not isinstance(about, dict):
        return list(KINDS)
    wrong = [key for key, kind in KINDS.items() if not isinstance(about.get(key), kind)]
    if wrong:
        return wrong
    holds = {
        "id": re.fullmatch(r"[A-Za-z0-9][\w.-]*", about["id"]) is not None,
        "batch": about["batch"] >= 1,
        "deployed": "\0" not in about["deployed"],
        "space": isinstance(about["space"].get("name"), str),
    }
    return [key for key, is_sound in holds.items() if not is_sound]


def bundles_in(run: Path) -> list[Path]:
    """Return the bundle of each winner of a run: the last one, where it was retrained later.

    Forms that were exported beside winners are left out.
    """
    retrained = sorted(run.glob(f"retrained/*/[!.]*/{ABOUT}"), key=lambda path: _number(path.parent.parent.name))
    found = [*run.glob(f"winners/[!.]*/{ABOUT}"), *retrained]
    last = {path.parent.name: path.parent for path in found if "-" not in path.parent.name and path.is_file()}
    return sorted(last.values())


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else 0
