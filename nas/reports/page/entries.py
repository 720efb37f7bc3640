"""Entries: what a run's rows say about one architecture, in one place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nas.reports.candidates import BY, choices_of_training
from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.evaluation import STAGES, Evaluation, PredictedValue
from nas.values.measurement import Measurement

OUTCOMES = ("winner", "trained", "estimated", "stopped early", "no error", "failed")
"""The outcomes of architectures, best first: the page sorts by their places."""


@dataclass
class Entry:
    """What is known of one architecture. The last row about a value counts.

    Attributes:
        architecture: its choices.
        rows: the places of its rows among the run's, oldest first.
        last: the last row of its furthest stage.
        trained: its last training that did not fail, or its error's other source; None without one.
        winner: the model that came of it; None for all but winners.
        values: counted and modelled values, and those of the last training.
        measurements: by metric; those of a winner are the final ones.
        predicted: by metric.
    """

    architecture: Architecture
    rows: list[int] = field(default_factory=list)
    last: Evaluation | None = None
    trained: Evaluation | None = None
    winner: Winner | None = None
    values: dict[str, float] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    predicted: dict[str, PredictedValue] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """One of ``OUTCOMES``."""
        if self.winner is not None:
            return "winner"
        if self.last is not None and self.last.failed:
            return "failed"
        if self.trained is None:
            return "no error"
        if not self.trained.reached_full_fidelity:
            return "stopped early"
        return "trained" if self.trained.by in ("train", "table") else "estimated"

    @property
    def way(self) -> str:
        """The origin of its error in the search, in words; empty for a training and for a table."""
        return "" if self.trained is None else BY.get(self.trained.by, "")

    @property
    def epochs(self) -> int | None:
        """The epochs of its last training; looking an error up, or estimating it, takes none."""
        if self.trained is None or self.trained.by != "train":
            return None
        epochs = self.trained.details.get("epochs")
        return epochs if isinstance(epochs, int) else None

    @property
    def flags(self) -> list[str]:
        """The doubts about its measurements, each once."""
        return list(dict.fromkeys(flag for found in self.measurements.values() for flag in found.flags))


def entries_of(rows: Sequence[Evaluation], front: Iterable[Winner]) -> list[Entry]:
    """Return an entry for each architecture, in the order of their first rows.

    Architectures that differ only in choices of training share their measurements. ``front`` has the winners.
    """
    shared = choices_of_training(rows)
    entries: dict[Architecture, Entry] = {}
    measured: dict[Architecture, dict[str, Measurement]] = {}
    for place, row in enumerate(rows):
        entry = entries.setdefault(row.architecture, Entry(row.architecture))
        _add(entry, place, row)
        if shared and row.stage == "measure" and not row.failed:
            measured.setdefault(row.architecture.without(shared), {}).update(row.measurements)
    for winner in front:
        entries[winner.architecture].winner = winner
        entries[winner.architecture].measurements |= winner.measurements
    if shared:
        for entry in entries.values():
            entry.measurements = {**measured.get(entry.architecture.without(shared), {}), **entry.measurements}
    return list(entries.values())


def _add(entry: Entry, place: int, row: Evaluation) -> None:
    entry.rows.append(place)
    if entry.last is None or STAGES.index(row.stage) >= STAGES.index(entry.last.stage):
        entry.last = row
    if row.stage == "train":
        is_sound = not row.failed and math.isfinite(row.values.get("error", math.nan))
        entry.trained = row if is_sound else None
    entry.predicted |= row.predicted
    if row.failed:
        return
    entry.measurements |= row.measurements
    if row.stage in ("measure", "train"):
        entry.values |= row.values
    else:
        entry.values |= {name: value for name, value in row.values.items() if name not in entry.values}


def finite(values: Mapping[str, float], name: str) -> float | None:
    """Return a value, or None where there is none that is finite."""
    found = values.get(name)
    return None if found is None or not math.isfinite(found) else float(found)
