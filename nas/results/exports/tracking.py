"""Trackers, which follow a run in another tool: while it goes on, or afterwards from its rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, final

from nas.errors import RecipeError, did_you_mean
from nas.results.exports.tracked import RunFacts
from nas.signals import check
from nas.values.evaluation import Evaluation

TRACKERS = ("mlflow", "tensorboard")
MLFLOW_FILE, EVENTS_FOLDER = "mlflow.db", "tensorboard"
"""Where trackers write in a run's folder unless another place is named."""
URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""The environment variable of MLflow itself that names a tracking server or store."""


class Tracker(Protocol):
    """Follows one run in another tool."""

    def begin(self, facts: RunFacts) -> None:
        """Begin a run, or go on with the one that has the same facts."""

    def add(self, rows: Sequence[Evaluation]) -> None:
        """Add rows, oldest first. Rows that an earlier process added are recognised."""

    def end(self, status: str) -> None:
        """End the run: ``FINISHED``, ``KILLED`` or ``FAILED``."""


@dataclass(frozen=True)
class TrackerPlace:
    """A tracker by its name, and its place: a folder for TensorBoard, a URI or a file for MLflow; None for its own."""

    name: str
    place: str | None = None

    @classmethod
    def parse(cls, text: str) -> TrackerPlace:
        """Return the tracker in a text such as ``tensorboard``, ``tensorboard:logs`` or ``mlflow:http://host:5000``.

        Raises:
            RecipeError: no such tracker, or an empty place.
        """
        name, colon, place = text.strip().partition(":")
        if name not in TRACKERS:
            raise RecipeError(f"a tracker is {' or '.join(TRACKERS)}, but got {name!r}. {did_you_mean(name, TRACKERS)}")
        if colon and not place.strip():
            raise RecipeError(f"a tracker's place follows the colon, as in tensorboard:logs, but got {text!r}.")
        return cls(name, place.strip() or None)

    def open(self, run_folder: Path) -> Tracker:
        """Return the tracker of the run in ``run_folder``.

        Raises:
            RecipeError: the package that it needs is not installed; the message names the extra.
        """
        if self.name == "mlflow":
            from nas.results.exports.mlflow_runs import MlflowTracker

            return MlflowTracker(uri_of(self.place, run_folder))
        from nas.results.exports.tensorboard_events import TensorBoardTracker

        return TensorBoardTracker(Path(self.place) if self.place else run_folder / EVENTS_FOLDER)

    def check(self) -> None:
        """Check that the package is installed. Raises RecipeError, which names the extra to install."""
        from nas.results.exports.extras import extra

        extra("mlflow" if self.name == "mlflow" else "tensorboardX")


def uri_of(place: str | None, run_folder: Path) -> str:
    """Return MLflow's URI of a place: itself, or that of a SQLite file; by default MLflow's own variable decides."""
    if place is None:
        place = os.environ.get(URI_VARIABLE) or str(run_folder / MLFLOW_FILE)
    if "://" in place or place.startswith("databricks"):
        return place
    return f"sqlite:///{Path(place).absolute().as_posix()}"


def check_trackers(places: Sequence[str]) -> None:
    """Check before a run that all trackers are known and installed. Raises RecipeError."""
    for place in map(TrackerPlace.parse, places):
        place.check()


@final
class Trackers:
    """Several trackers of one running search. One that fails is dropped with a message, and the search goes on."""

    def __init__(self, places: Sequence[str], facts: RunFacts, say: Callable[[str], None]) -> None:
        self._say = say
        self._facts = facts
        self._open: dict[TrackerPlace, Tracker] = {}
        for place in map(TrackerPlace.parse, places):
            self._try(place, partial(self._begin, place))

    def add(self, rows: Sequence[Evaluation]) -> None:
        """Tell rows that are in the journal to all trackers."""
        for place, tracker in list(self._open.items()):
            self._try(place, partial(tracker.add, rows))

    def end(self, status: str) -> None:
        """End the run in all trackers."""
        for place, tracker in list(self._open.items()):
            self._try(place, partial(tracker.end, status))

    def _begin(self, place: TrackerPlace) -> None:
        tracker = place.open(self._facts.folder)
        tracker.begin(self._facts)
        self._open[place] = tracker

    def _try(self, place: TrackerPlace, work: Callable[[], None]) -> None:
        """Do a tracker's work. A server that is down must not end a search of hours: everything is in the journal."""
        try:
            work()
        except Exception as error:
            check()  # a library may have turned a signal into an error
            self._open.pop(place, None)
            why = " ".join(str(error).split())[:200] or type(error).__name__
            again = f"nas export {self._facts.folder} --format {place.name}"
            self._say(f"{place.name} no longer follows this run: {why}. Later, add all of it with: {again}")
