"""What is known of a run's candidates on one target: trained, counted, measured, else predicted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import final

from nas.results.run import Run
from nas.results.solved import SolvedPoint
from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.indexed_rows import last_rows
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, TRAINED

MODELLED = frozenset(name for name, metric in METRICS.items() if metric.source == "modelled")
"""The metrics that depend on the precision of the target."""


@final
class Knowledge:
    """The candidates of a run, and what is known of them on one target.

    Candidates are trainings that ran to their end. Those that differ only in choices of training are one ``part`` for a
    device, and share measurements and predictions. ``add``, ``predict`` and ``recount`` take knowledge in; all other
    methods only answer.

    With ``on_its_target``, what the run measured and predicted itself is known from the start. Otherwise nothing is
    known of the target, and modelled values are those that ``recount`` takes in.

    Attributes:
        candidates: the row of each candidate's training.
        measured: by part, the last measurement of each metric; those of winners are the final ones.
        failed: by part, why it could not be measured.
        stopped: how many trainings were stopped early, and so are no candidates.
        kept: the parts that were measured for the run after its end, or that failed then.
        newly_measured: how many of them were measured this time, and are not from another run.
        told: sentences about predictors.
        fingerprint: that of the bench that measured this time, if one did.
        failed_rows: the rows of failed measurements.
        searched: the measured metrics of which the search knew something on this target.
        is_on_its_target: True if the run's own values are among those known.
    """

    def __init__(self, run: Run, *, on_its_target: bool) -> None:
        self._of_training = _choices_of_training(run)
        self._winners = {winner.architecture: winner for winner in run.front}
        self._words = run.words
        self.measured: dict[Architecture, dict[str, Measurement]] = {}
        self.failed: dict[Architecture, str] = {}
        self._predicted: dict[Architecture, dict[str, PredictedValue]] = {}
        self._counted: dict[Architecture, Mapping[str, float]] = {}
        self.kept: set[Architecture] = set()
        self.newly_measured = 0
        self.told: list[str] = []
        self.fingerprint: str | None = None
        self.failed_rows: list[Evaluation] = []
        self.is_on_its_target = on_its_target
        self._keeps_modelled = on_its_target or run.table is not None
        self.searched: frozenset[str] = frozenset()
        trained = last_rows(run.rows, "train").values()
        self.stopped = sum(not row.failed and not row.reached_full_fidelity for row in trained)
        ended = [row for row in trained if row.reached_full_fidelity and math.isfinite(row.values["error"])]
        if on_its_target:
            self._take_own(run.rows, ended)
        self.candidates = tuple(row for row in ended if self.part(row.architecture) not in self.failed)

    def _take_own(self, rows: Iterable[Evaluation], ended: Sequence[Evaluation]) -> None:
        """Take in what the run itself knows of its target. The final measurements of winners are its last ones."""
        taken = [row for row in rows if row.stage == "measure"]
        self.add(taken)
        self.searched = frozenset(name for row in (*taken, *ended) for name in (*row.measurements, *row.predicted))
        for winner in self._winners.values():
            self.measured.setdefault(self.part(winner.architecture), {}).update(winner.measurements)
        for row in ended:
            self._predicted[self.part(row.architecture)] = dict(row.predicted)

    # Commands

    def add(self, rows: Iterable[Evaluation]) -> None:
        """Take in measurements of the target, and failures to measure."""
        for row in rows:
            part = self.part(row.architecture)
            if row.failure is not None:
                self.failed[part] = row.failure.reason
                self.failed_rows.append(row)
            else:
                self.measured.setdefault(part, {}).update(row.measurements)
                self.failed.pop(part, None)

    def add_kept(self, rows: Iterable[Evaluation]) -> None:
        """Take in rows that were measured after the run had ended."""
        rows = list(rows)
        self.add(rows)
        self.kept |= {self.part(row.architecture) for row in rows}

    def predict(self, found: Mapping[Architecture, Mapping[str, PredictedValue]]) -> None:
        """Take in predictions of parts, in the place of earlier ones of the same metrics."""
        for part, values in found.items():
            self._predicted[part] = {**self._predicted.get(part, {}), **values}

    def recount(self, found: Mapping[Architecture, Mapping[str, float]]) -> None:
        """Take in counted and modelled values of parts, in the place of those that the run recorded."""
        self._counted |= found

    # Questions

    def part(self, architecture: Architecture) -> Architecture:
        """Return the part of an architecture that devices see."""
        return architecture.without(self._of_training) if self._of_training else architecture

    @property
    def parts(self) -> list[Architecture]:
        """The parts of all candidates that did not fail, each once."""
        found = dict.fromkeys(self.part(row.architecture) for row in self.candidates)
        return [part for part in found if part not in self.failed]

    @property
    def wholes(self) -> dict[Architecture, Architecture]:
        """By part, the first candidate that has it."""
        found: dict[Architecture, Architecture] = {}
        for row in self.candidates:
            found.setdefault(self.part(row.architecture), row.architecture)
        return found

    def has_measured(self, part: Architecture, metrics: Iterable[str]) -> bool:
        """Return True if each of ``metrics`` was measured."""
        return all(name in self.measured.get(part, {}) for name in metrics)

    def points(self) -> list[SolvedPoint]:
        """Return what is known of each candidate that did not fail on the target."""
        return [self._point(row) for row in self.candidates if self.part(row.architecture) not in self.failed]

    def _point(self, row: Evaluation) -> SolvedPoint:
        part, winner = self.part(row.architecture), self._winner_of(row.architecture)
        measured = self.measured.get(part, {})
        if winner is not None and self.is_on_its_target:  # another winner may share the part, and come after it
            measured = {**measured, **winner.measurements}
        counted = {name: value for name, value in row.values.items() if name not in TRAINED}
        if not self._keeps_modelled:
            counted = {name: value for name, value in counted.items() if name not in MODELLED}
        predicted = self._predicted.get(part, {})
        return SolvedPoint(
            architecture=row.architecture,
            trained={name: value for name, value in row.values.items() if name in TRAINED},
            counted=counted | dict(self._counted.get(part, {})),
            measurements=measured,
            predicted={name: guess for name, guess in predicted.items() if name not in measured},
            winner=winner,
            words=self._words,
        )

    def _winner_of(self, architecture: Architecture) -> Winner | None:
        winner = self._winners.get(architecture)
        return None if winner is None else replace(winner, words=self._words)


def _choices_of_training(run: Run) -> frozenset[str]:
    """Return the names of the choices that no device sees, as the run recorded them."""
    space = run.notes.get("space", {})
    return frozenset(space.get("choices of training", ())) if isinstance(space, Mapping) else frozenset()
