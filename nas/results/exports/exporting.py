"""Exporting a run in one of the forms that are installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import RecipeError
from nas.results.exports.export import Exported, FileExport, load_export

if TYPE_CHECKING:
    from nas.results.run import Run


def content_of(run: Run, form: str) -> bytes:
    """Return a run as the content of one file. Raises RecipeError for a form that is something else."""
    chosen = load_export(form)
    if not isinstance(chosen, FileExport):
        raise RecipeError(f"only a table such as csv or json can go to standard output, but got {form}. Name a place.")
    chosen.check()
    return chosen.content(run)


def export(run: Run, form: str, out: Path | str | None = None) -> Exported:
    """Write a run in the form of another tool.

    ``form`` is the name of an export, which ``nas list`` shows, or ``module:Name``. ``out`` is its place: a file, a
    folder or a URI. By default it lies in the run's folder.

    Raises:
        RecipeError: an unknown form, a place that cannot be written, or a package that is not installed.
    """
    chosen = load_export(form)
    notes = list(run.damages_in_short)
    notes += [] if run.is_over else ["The run is not finished: this is what it has so far."]
    notes += [] if run.rows else ["Nothing has been recorded yet, so there are no architectures."]
    chosen.check()
    try:
        written = chosen.write(run, None if out is None else str(out))
    except OSError as error:
        raise RecipeError(
            f"an export needs a place that can be written, but the system says: {error.strerror or error}. "
            "Free some space, or choose another place."
        ) from error
    return replace(written, notes=(*notes, *written.notes))
