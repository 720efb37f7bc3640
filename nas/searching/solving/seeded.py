"""The rows of a finished run as a search on one target is seeded with them, and what they say of its candidates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, final

from nas.results.records import Record, records_of
from nas.results.run import Run
from nas.results.solved import SolvedPoint
from nas.space.architecture import Architecture
from nas.values.evaluation import KEPT, Evaluation
from nas.values.indexed_rows import IndexedRows, last_rows
from nas.values.metric import METRICS, bare_name, target_in

if TYPE_CHECKING:
    from nas.searching.beliefs import Beliefs


@final
@dataclass(frozen=True)
class Seeded:
    """The rows of a finished ``run`` that count on one target, and those that were measured there later.

    Candidates are trainings that ran to their end. Those that differ only in choices of training are one part for a
    device, and share measurements.

    Attributes:
        run: the finished run.
        is_new: True if values of the run's own target are of no use but to learn from.
        seed_rows: the rows of the run; on a new target its trainings alone, see ``seeded``.
        later: the rows that were measured there for the run after its end, oldest first.
        newly_measured: the number of architectures that were measured this time, and are not from another run.
        told: sentences about predictors.
        fingerprint: that of the bench that measured this time, if one did.
    """

    run: Run
    is_new: bool
    seed_rows: tuple[Evaluation, ...]
    later: tuple[Evaluation, ...] = ()
    newly_measured: int = 0
    told: tuple[str, ...] = ()
    fingerprint: str | None = None

    @property
    def rows(self) -> tuple[Evaluation, ...]:
        """All rows that count on the target, oldest first."""
        return (*self.seed_rows, *self.later)

    @property
    def search_rows(self) -> list[Evaluation]:
        """The rows that a search begins with: trainings, and measurements, of which those of winners are the last."""
        winners = (row for row in self.seed_rows if row.stage == "winner" and not row.failed)
        final = (Evaluation("measure", row.architecture, measurements=row.measurements) for row in winners)
        return [*(row for row in self.seed_rows if row.stage in ("measure", "check", "train")), *final]

    @cached_property
    def records(self) -> list[Record]:
        """What is known of each architecture on the target."""
        return records_of(self.rows, self.run.front)

    @cached_property
    def points(self) -> tuple[SolvedPoint, ...]:
        """What is known of each candidate that did not fail on the target."""
        ended = (each for each in self.records if each.training is not None and each.training.reached_full_fidelity)
        fit = (each for each in ended if self.part(each.architecture) not in self.failed)
        return tuple(SolvedPoint(each, self.run.words) for each in fit)

    @cached_property
    def failed(self) -> dict[Architecture, str]:
        """By part, why it could not be measured."""
        found: dict[Architecture, str] = {}
        for row in self.rows:
            if row.stage == "measure" and row.failure is not None:
                found[self.part(row.architecture)] = row.failure.reason
            elif row.stage == "measure":
                found.pop(self.part(row.architecture), None)
        return found

    @property
    def stopped(self) -> int:
        """The number of trainings that were stopped early, and so are no candidates."""
        trained = last_rows(self.seed_rows, "train").values()
        return sum(not row.failed and not row.reached_full_fidelity for row in trained)

    @property
    def searched(self) -> frozenset[str]:
        """The measured metrics of which the search knew something on this target."""
        rows = [row for row in self.seed_rows if row.stage in ("measure", "train")]
        return frozenset(name for row in rows for name in (*row.measurements, *row.predicted))

    @property
    def measured_later(self) -> set[Architecture]:
        """The parts that were measured for the run after its end, or that failed then."""
        return {self.part(row.architecture) for row in self.later}

    def part(self, architecture: Architecture) -> Architecture:
        """Return the part of an architecture that devices see."""
        return self._indexed.part(architecture)

    @property
    def kept_later(self) -> set[Architecture]:
        """The parts that were not measured then, because earlier measurements of them were kept."""
        anew = {self.part(row.architecture) for row in self.later if KEPT not in row.details}
        return self.measured_later - anew

    def parts(self, points: Iterable[SolvedPoint]) -> int:
        """Return the number of different parts of points."""
        return len({self.part(point.architecture) for point in points})

    @cached_property
    def _indexed(self) -> IndexedRows:
        return IndexedRows((*self.run.rows, *self.later))

    def believed(self, beliefs: Beliefs, *, is_counted: bool) -> Seeded:
        """Return the same with what is predicted of candidates now; with ``is_counted`` also what is counted."""
        beliefs.predict_all(row.architecture for row in self.seed_rows if row.stage == "train")
        return replace(self, seed_rows=tuple(_believed(row, beliefs, is_counted) for row in self.seed_rows))


def seeded(run: Run, *, is_new: bool, on: str = "", later: Iterable[Evaluation] = ()) -> Seeded:
    """Return the rows of a run that count on a target: all on its own one, and on a new one its trainings alone.

    Those are without predictions and modelled values, which are of the old target. A table's are of any device. With
    the name ``on`` of a further target, all rows count with what they say of that.
    """
    if not is_new and not on:
        return Seeded(run, is_new, run.rows, tuple(later))
    dropped = {name for name, metric in METRICS.items() if metric.source == "modelled" and run.table is None}
    rows = (
        replace(row, values={name: value for name, value in row.values.items() if name not in dropped})
        for row in run.rows
    )
    if is_new:
        trained = (replace(row, predicted={}) for row in rows if row.stage in ("train", "check"))
        return Seeded(run, is_new, tuple(trained), tuple(later))
    return Seeded(run, is_new, tuple(_seen_on(on, rows)), tuple(later))


def _seen_on(on: str, rows: Iterable[Evaluation]) -> Iterator[Evaluation]:
    """Yield rows as a run on one further target alone would have them. What failed on others says nothing of it."""
    start = f"on {on}: "
    for row in rows:
        failure = row.failure
        if failure is not None and row.stage == "measure":
            if not failure.reason.startswith(start):
                continue
            failure = replace(failure, reason=failure.reason.removeprefix(start))
        measured = {bare_name(name): each for name, each in row.measurements.items() if target_in(name) == on}
        predicted = {bare_name(name): each for name, each in row.predicted.items() if target_in(name) == on}
        yield replace(row, measurements=measured, predicted=predicted, failure=failure)


def _believed(row: Evaluation, beliefs: Beliefs, is_counted: bool) -> Evaluation:
    architecture = row.architecture
    if row.stage != "train" or row.failed or not beliefs.describer.can_be_built(architecture):
        return row
    predicted = {} if beliefs.is_measured(architecture) else beliefs.predicted(architecture)
    counted = beliefs.counted(architecture) if is_counted else {}
    return replace(row, predicted={**row.predicted, **predicted}, values={**row.values, **counted})
