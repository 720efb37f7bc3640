"""Exporting a run: the forms, where each is written, and what opens it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from nas.errors import RecipeError, did_you_mean
from nas.results.exports.extras import extra
from nas.results.exports.files import check_folder, check_place, csv_bytes, json_bytes, parquet_bytes, write_out
from nas.results.exports.tracked import RunFacts
from nas.results.exports.tracking import EVENTS_FOLDER, MLFLOW_FILE, TrackerPlace, uri_of

if TYPE_CHECKING:
    from nas.results.run import Run

CONTENTS = {"csv": csv_bytes, "parquet": parquet_bytes, "json": json_bytes}
FORMATS = ("csv", "parquet", "json", "optuna", "mlflow", "tensorboard")
DEFAULT_NAMES = {
    "csv": "architectures.csv",
    "parquet": "architectures.parquet",
    "json": "architectures.json",
    "optuna": "optuna.db",
    "mlflow": MLFLOW_FILE,
    "tensorboard": EVENTS_FOLDER,
}
"""The names of exports in the run's folder, where no other place is given."""


@final
@dataclass(frozen=True)
class Exported:
    """What was written: its form, its place, sentences about it, and a command line that opens it, if there is one."""

    form: str
    place: str
    notes: tuple[str, ...] = ()
    opened_by: str | None = None


def check_form(form: str) -> str:
    """Return ``form`` if it is one of ``FORMATS``. Raises RecipeError."""
    if form not in FORMATS:
        raise RecipeError(f"a form is one of {', '.join(FORMATS)}, but got {form!r}. {did_you_mean(form, FORMATS)}")
    return form


def content_of(run: Run, form: str) -> bytes:
    """Return a run as CSV, Parquet or JSON. Raises RecipeError for a form that is no single file of that kind."""
    if check_form(form) not in CONTENTS:
        raise RecipeError(f"only csv, parquet and json can go to standard output, but got {form}. Name a place.")
    return CONTENTS[form](run)


def export(run: Run, form: str, out: Path | str | None = None) -> Exported:
    """Write a run in the form of another tool.

    ``out`` is the file to write; for ``tensorboard`` a folder; for ``mlflow`` a SQLite file or the URI of a server.
    By default it lies in the run's folder.

    Raises:
        RecipeError: an unknown form, a place that cannot be written, or a package that is not installed.
    """
    check_form(form)
    notes = list(run.damages_in_short)
    notes += [] if run.is_over else ["The run is not finished: this is what it has so far."]
    notes += [] if run.rows else ["Nothing has been recorded yet, so there are no architectures."]
    if form in ("mlflow", "tensorboard"):
        return _track(run, form, out, notes)
    path = Path(out) if out is not None else run.run_folder / DEFAULT_NAMES[form]
    check_place(run, path)
    if form == "optuna":
        return _optuna(run, path, notes)
    write_out(path, CONTENTS[form](run))
    return Exported(form, str(path), tuple(notes))


def _optuna(run: Run, path: Path, notes: list[str]) -> Exported:
    from nas.results.exports.optuna_study import SQLITE, storage_bytes

    content, studies = storage_bytes(run, path.suffix)
    write_out(path, content)
    if left := studies[0].left_out:
        what = "architecture lacks" if left == 1 else "architectures lack"
        notes.append(f"{left} {what} the value of an objective, mostly because only their costs were measured.")
    storage = f"sqlite:///{path.as_posix()}" if path.suffix.lower() in SQLITE else str(path)
    return Exported("optuna", str(path), tuple(notes), f"optuna-dashboard {storage}")


def _track(run: Run, form: str, out: Path | str | None, notes: list[str]) -> Exported:
    """Write a run as a tracker would have followed it."""
    facts = RunFacts.of(run)
    status = "FINISHED" if run.is_over else "FAILED" if run.ended_by else "KILLED"
    try:
        if form == "tensorboard":
            place = Path(out) if out is not None else run.run_folder / EVENTS_FOLDER
            check_folder(run, place)
            _write_events(run, facts, place, status)
            return Exported(form, str(place), tuple(notes), f"tensorboard --logdir {place}")
        uri = uri_of(None if out is None else str(out), run.run_folder)
        if uri.startswith("sqlite:///"):
            check_place(run, Path(uri.removeprefix("sqlite:///")))
        _into_mlflow(run, facts, uri, status)
    except OSError as error:
        raise RecipeError(
            f"an export needs a place that can be written, but the system says: {error.strerror or error}. "
            "Free some space, or choose another place."
        ) from error
    command = f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else None
    return Exported(form, uri, tuple(notes), command)


def _follow(run: Run, facts: RunFacts, place: TrackerPlace, folder: Path, status: str) -> None:
    tracker = place.open(folder)
    tracker.begin(facts)
    tracker.add(run.rows)
    tracker.end(status)


def _into_mlflow(run: Run, facts: RunFacts, uri: str, status: str) -> None:
    """Add a run to MLflow. Raises RecipeError where the store or the server refuses it."""
    from sqlalchemy.exc import SQLAlchemyError

    refusals: tuple[type[Exception], ...] = (extra("mlflow.exceptions").MlflowException, SQLAlchemyError)
    try:
        _follow(run, facts, TrackerPlace("mlflow", uri), run.run_folder, status)
    except refusals as error:
        why = " ".join(str(error).split())[:300]
        raise RecipeError(f"MLflow must take the run at {uri}, but it says: {why}") from error


def _write_events(run: Run, facts: RunFacts, place: Path, status: str) -> None:
    """Write events aside, and put them in place of earlier ones once they are whole."""
    from nas.results.exports.tensorboard_events import clear

    if place.exists() and not place.is_dir():
        raise RecipeError(f"events go into a folder, but {place} is a file.")
    TrackerPlace("tensorboard").check()
    aside = place / f".{facts.name}.{os.getpid()}"
    try:
        _follow(run, facts, TrackerPlace("tensorboard", str(aside)), run.run_folder, status)
        clear(place / facts.name)
        os.replace(aside / facts.name, place / facts.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
