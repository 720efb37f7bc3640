"""The record of each architecture of a run: everything that its rows tell, from the first measurement to the test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.comparison import Standing
from nas.values.evaluation import FOR_ANY, STAGES, Evaluation, Failure, PredictedValue, Stage
from nas.values.measurement import Measurement
from nas.values.metric import TRAINED
from nas.values.objective import Limit

if TYPE_CHECKING:
    from nas.results.run import Run

SEARCHED: tuple[Stage, ...] = ("train", "check")
"""The stages that evaluate an architecture during the search."""


@final
@dataclass(frozen=True)
class ArchitectureRecord:
    """Everything that a run knows of one architecture.

    Attributes:
        architecture: the architecture.
        number: its place in the order in which the run met architectures, from 1.
        round: the round in which the search evaluated it, or met it first.
        stage: the last stage that it reached.
        values: its trained values on the validation split, and counted and modelled ones.
        predicted: what was predicted of it when it was evaluated.
        measurements: its measurements; those of the winner where it is one.
        details: what the training of the search noted, such as its epochs.
        failure: the reason of its last failure, unless a later row about it has a result.
        winner: the winner that it became; None for others.
        standing: the place of the winner among all winners.
        was_evaluated: True if the search found an error of it, or failed to.
        at: the place of its evaluation among the rows of the run; of its first row where it was not evaluated.
    """

    architecture: Architecture
    number: int
    round: int
    stage: Stage
    values: Mapping[str, float] = field(default_factory=dict)
    predicted: Mapping[str, PredictedValue] = field(default_factory=dict)
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    winner: Winner | None = None
    standing: Standing | None = None
    was_evaluated: bool = False
    at: int = 0

    @property
    def was_stopped(self) -> bool:
        """True if its training was stopped early, so that its values are not those of a whole training."""
        return bool(self.details.get("stopped_early", False))

    def value(self, name: str) -> float | None:
        """Return the best known value as the search saw it: measured, else predicted, else trained or counted."""
        if name in self.measurements:
            return self.measurements[name].median
        if name in self.predicted:
            return self.predicted[name].mean
        found = self.values.get(name)
        return None if found is None or not math.isfinite(found) else found

    def source(self, name: str) -> str | None:
        """Return where ``value`` comes from: ``measured``, ``predicted`` or ``known``; None where there is none."""
        if name in self.measurements:
            return "measured" if self.measurements[name].table is None else "looked up"
        if name in self.predicted:
            return "predicted"
        return "known" if self.value(name) is not None else None

    def judged(self, limit: Limit) -> float | None:
        """Return the value that a limit is checked against, as in the search; None where nothing is known.

        It is the upper bound of a measurement, the one-sided bound of a prediction, a winner's score on the test, or
        else a trained, counted or modelled value.
        """
        name = limit.metric.name
        if name in self.measurements:
            return self.measurements[name].interval.upper
        if name in self.predicted:
            return self.predicted[name].limit
        if self.winner is not None and self.winner.has(name):
            return self.winner.value(name)
        return self.values.get(name)

    def meets(self, limits: Iterable[Limit]) -> bool | None:
        """Return True if every limit holds by ``judged``, False if one does not, and None where that is unknown."""
        judged = [(limit, self.judged(limit)) for limit in limits]
        if any(value is not None and not limit.holds(value) for limit, value in judged):
            return False
        return None if any(value is None for _, value in judged) else True


def records_of(run: Run) -> list[ArchitectureRecord]:
    """Return a record of each architecture of a run, in the order in which the run met them.

    Architectures that differ only in choices of training share their measurements.
    """
    front = run.front
    placed = dict(zip((winner.architecture for winner in front), front.standings, strict=True))
    winners = {winner.architecture: winner for winner in front}
    shared = _shared(run.rows)
    measured = _measured(run.rows, shared)
    by_architecture: dict[Architecture, list[int]] = {}
    for at, row in enumerate(run.rows):
        by_architecture.setdefault(row.architecture, []).append(at)
    records = []
    for number, (architecture, places) in enumerate(by_architecture.items(), start=1):
        found = measured.get(architecture.without(shared), {})
        winner = winners.get(architecture)
        if winner is not None:
            found = {**found, **winner.measurements}
        records.append(_record(run.rows, number, places, found, winner, placed.get(architecture)))
    return records


def _record(
    rows: Sequence[Evaluation],
    number: int,
    places: Sequence[int],
    measurements: Mapping[str, Measurement],
    winner: Winner | None,
    standing: Standing | None,
) -> ArchitectureRecord:
    evaluated = [at for at in places if rows[at].stage in SEARCHED]
    trained = [at for at in evaluated if rows[at].stage == "train"] or evaluated
    at = trained[-1] if trained else places[0]
    values = {name: v for place in places for name, v in rows[place].values.items() if name not in TRAINED}
    if trained:
        values |= rows[at].values
    predicted = next((rows[place].predicted for place in (at, *places) if rows[place].predicted), {})
    last = rows[places[-1]]
    return ArchitectureRecord(
        architecture=last.architecture,
        number=number,
        round=rows[at].round,
        stage=max((rows[place].stage for place in places), key=STAGES.index),
        values=values,
        predicted=predicted,
        measurements=measurements,
        details=rows[at].details if trained else {},
        failure=last.failure,
        winner=winner,
        standing=standing,
        was_evaluated=bool(trained),
        at=at,
    )


def _shared(rows: Iterable[Evaluation]) -> frozenset[str]:
    """Return the names of the choices on which measurements do not depend."""
    return frozenset(name for row in rows for name in row.details.get(FOR_ANY, ()))


def _measured(rows: Sequence[Evaluation], shared: frozenset[str]) -> dict[Architecture, dict[str, Measurement]]:
    """Return the measurements of the search by what a device sees of an architecture."""
    found: dict[Architecture, dict[str, Measurement]] = {}
    for row in rows:
        if row.stage in ("measure", "train") and not row.failed and row.measurements:
            found.setdefault(row.architecture.without(shared), {}).update(row.measurements)
    return found
