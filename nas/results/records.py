"""The record of each architecture of a run: what its rows say of it, from the first measurement to the test.

This is the one place where rows become knowledge; pages, tables, exports, analyses and re-solved fronts are views of
it. A later row counts before an earlier one, by these rules:

- A measurement belongs to what a device sees. Architectures that differ in choices of training alone share it. A winner
  has its own final measurements; others have the final ones of a winner that they share, else the last of the search.
- Trained values are those of the last training, so a failed one leaves none. Those of the handful that is trained to
  check another way of evaluating count only where there is no other training.
- Counted and modelled values, and predictions, are the last ones.
- A retraining after the run had ended that failed leaves the winner as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, final

from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.comparison import Standing
from nas.values.evaluation import STAGES, Evaluation, Failure, PredictedValue, Stage
from nas.values.indexed_rows import IndexedRows
from nas.values.measurement import Measurement
from nas.values.metric import TRAINED, bare_name
from nas.values.objective import Limit

if TYPE_CHECKING:
    from nas.results.front import Front

OUTCOMES = ("winner", "trained", "estimated", "stopped early", "no error", "failed")
"""The outcomes of architectures, best first."""


@final
@dataclass(frozen=True)
class Record:
    """Everything that a run knows of one architecture.

    Attributes:
        architecture: the architecture.
        number: its place in the order in which the run met architectures, from 1.
        places: the places of its rows among all rows of the run, oldest first.
        last: the last row of its furthest stage.
        newest: its last row.
        evaluation: the row with the error that the search found of it, or failed to; None if it was not evaluated.
        at: the place of that row among the rows of the run; of its first row where it was not evaluated.
        round: the round in which the search evaluated it, or met it first.
        values: its trained values on the validation split, and counted and modelled ones.
        predicted: by metric, the last prediction.
        foreseen: by metric, what was predicted when it was evaluated; or at first, where it was not.
        measurements: by metric.
        winner: the winner that it became; None for others.
        standing: the place of the winner among all winners.
    """

    architecture: Architecture
    number: int
    places: tuple[int, ...]
    last: Evaluation
    newest: Evaluation
    evaluation: Evaluation | None
    at: int
    round: int
    values: Mapping[str, float]
    predicted: Mapping[str, PredictedValue]
    foreseen: Mapping[str, PredictedValue]
    measurements: Mapping[str, Measurement]
    winner: Winner | None = None
    standing: Standing | None = None

    @property
    def stage(self) -> Stage:
        """The furthest stage that it reached."""
        return self.last.stage

    @property
    def failure(self) -> Failure | None:
        """The reason of its last failure, unless a later row about it has a result."""
        return self.newest.failure

    @property
    def details(self) -> Mapping[str, Any]:
        """What the training of the search noted, such as its epochs."""
        return {} if self.evaluation is None else self.evaluation.details

    @cached_property
    def training(self) -> Evaluation | None:
        """Its last training, or another source of its error, if that has a finite error; otherwise None."""
        row = self.evaluation
        is_sound = row is not None and row.stage == "train" and math.isfinite(row.values.get("error", math.nan))
        return row if is_sound and row is not None and not row.failed else None

    @property
    def has_result(self) -> bool:
        """True if any of its measurements, trainings or tests did not fail."""
        return bool(self.measurements) or self.training is not None or self.winner is not None

    @property
    def was_stopped(self) -> bool:
        """True if its training was stopped early, so that its values are not those of a whole training."""
        return bool(self.details.get("stopped_early", False))

    @property
    def outcome(self) -> str:
        """One of ``OUTCOMES``."""
        if self.winner is not None:
            return "winner"
        if self.last.failed:
            return "failed"
        if self.training is None:
            return "no error"
        if not self.training.reached_full_fidelity:
            return "stopped early"
        return "trained" if self.training.by in ("train", "table") else "estimated"

    @property
    def epochs(self) -> int | None:
        """The epochs of its last training; looking an error up, or estimating it, takes none."""
        if self.training is None or self.training.by != "train":
            return None
        epochs = self.training.details.get("epochs")
        return epochs if isinstance(epochs, int) else None

    @property
    def doubts(self) -> list[str]:
        """The doubts about its measurements, each once."""
        return list(dict.fromkeys(flag for found in self.measurements.values() for flag in found.flags))

    def value(self, name: str) -> float | None:
        """Return the best known value: measured, else predicted, else trained on the validation split, or counted."""
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

    def judged(self, limit: Limit, by: Literal["limit", "mean"] = "limit") -> float | None:
        """Return the value that a limit is checked against; None where nothing is known.

        It is the upper bound of a measurement, the one-sided bound of a prediction, a winner's score on the test, or
        else a trained, counted or modelled value. With ``by="mean"`` it is the mean of a prediction.
        """
        name = limit.metric.name
        if name in self.measurements:
            return self.measurements[name].interval.upper
        if name in self.predicted:
            return float(getattr(self.predicted[name], by))
        if bare_name(name) in TRAINED and self.winner is not None and self.winner.has(name):
            return self.winner.value(name)
        return self.values.get(name)

    def meets(self, limits: Iterable[Limit]) -> bool | None:
        """Return True if every limit holds by ``judged``, False if one does not, and None where that is unknown."""
        judged = [(limit, self.judged(limit)) for limit in limits]
        if any(value is not None and not limit.holds(value) for limit, value in judged):
            return False
        return None if any(value is None for _, value in judged) else True


def records_of(rows: Sequence[Evaluation] | IndexedRows, front: Front | None = None) -> list[Record]:
    """Return the record of each architecture, in the order in which the run met them. ``front`` has its winners."""
    winners = {} if front is None else {winner.architecture: winner for winner in front}
    standings = {} if front is None else dict(zip(winners, front.standings, strict=True))
    indexed = IndexedRows.of(rows)
    return [
        _record(indexed, number, places, winners.get(architecture), standings.get(architecture))
        for number, (architecture, places) in enumerate(indexed.places().items(), start=1)
    ]


def _record(
    indexed: IndexedRows,
    number: int,
    places: Sequence[int],
    winner: Winner | None,
    standing: Standing | None,
) -> Record:
    rows = indexed.rows
    trained = [at for at in places if rows[at].stage == "train"] or [at for at in places if rows[at].stage == "check"]
    at = trained[-1] if trained else places[0]
    evaluation = rows[at] if trained else None
    values = {name: value for place in places for name, value in rows[place].values.items() if name not in TRAINED}
    return Record(
        architecture=rows[at].architecture,
        number=number,
        places=tuple(places),
        last=rows[max(places, key=lambda place: (STAGES.index(rows[place].stage), place))],
        newest=rows[places[-1]],
        evaluation=evaluation,
        at=at,
        round=rows[at].round,
        values=values if evaluation is None else {**values, **evaluation.values},
        predicted={name: guess for place in places for name, guess in rows[place].predicted.items()},
        foreseen=next((rows[place].predicted for place in (at, *places) if rows[place].predicted), {}),
        measurements=indexed.measurements_of(rows[at].architecture),
        winner=winner,
        standing=standing,
    )
