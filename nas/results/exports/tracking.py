"""Trackers, which follow a run in another tool: while it goes on, or afterwards from its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

from nas.errors import RecipeError
from nas.results.exports.export import GROUP, TrackedExport, Tracker, load_export
from nas.results.exports.tracked import RunFacts
from nas.signals import check
from nas.space.plug_ins import plug_in_names
from nas.values.evaluation import Evaluation


@dataclass(frozen=True)
class TrackerPlace:
    """An export that follows a run, by its name, and its place, such as a folder or a URI; None for its own."""

    name: str
    place: str | None = None

    @classmethod
    def parse(cls, text: str) -> TrackerPlace:
        """Return the tracker in a text such as ``tensorboard``, ``mlflow:http://host:5000`` or ``module:Name:place``.

        Raises:
            RecipeError: no such export, one that cannot follow a run, or an empty place.
        """
        name, colon, place = text.strip().partition(":")
        known = plug_in_names(GROUP)
        if colon and name not in known and not place.startswith(("/", " ")):
            attribute, colon, place = place.partition(":")
            name = f"{name}:{attribute}"
        if colon and not place.strip():
            raise RecipeError(f"a tracker's place follows the colon, as in tensorboard:logs, but got {text!r}.")
        _tracked(name)
        return cls(name, place.strip() or None)

    def open(self, run_folder: Path) -> Tracker:
        """Return the tracker of the run in ``run_folder``.

        Raises:
            RecipeError: the package that it needs is not installed; the message names the extra.
        """
        return _tracked(self.name).follow(run_folder, self.place)


def _tracked(name: str) -> TrackedExport:
    found = load_export(name)
    if not isinstance(found, TrackedExport):
        raise RecipeError(
            f"a tracker is an export that can follow a run, such as tensorboard, but got {name!r}, which is written "
            f"from a whole run. Leave it out, and use nas export --format {name} later."
        )
    return found


def check_trackers(places: Sequence[str]) -> None:
    """Check before a run that all trackers are known and installed. Raises RecipeError."""
    for place in map(TrackerPlace.parse, places):
        _tracked(place.name).check()


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
