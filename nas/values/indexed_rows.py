"""The rows of a run, indexed as they come: the row that counts of each architecture, and what was measured of it.

The search, fronts, records and trust reports of predictors all read rows through this one index. A run keeps one for
all that is told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

from nas.space.architecture import Architecture
from nas.space.parts.candidate import ByPart
from nas.values.evaluation import FOR_ANY, STAGES, Evaluation, Stage
from nas.values.measurement import Measurement

Measurements = dict[str, Measurement]
"""Measurements by metric."""


@final
class IndexedRows:
    """Rows, oldest first, by what counts of them.

    Attributes:
        rows: all rows.
        part: returns what a device sees of an architecture, by default it without the choices on which measurements do
            not depend, as the rows say. Architectures with the same part share measurements.
        counting: by stage, the row that counts of each architecture. That is the last one, but a later retraining that
            failed leaves a model that was there before as it is.
        measured: the last measurement of each metric in the search; it goes over the parts.
    """

    def __init__(
        self, rows: Iterable[Evaluation] = (), part: Callable[[Architecture], Architecture] | None = None
    ) -> None:
        rows = list(rows)
        of_training = choices_of_training(rows)
        self.rows: list[Evaluation] = []
        self.part = part or (lambda whole: whole.without(of_training) if of_training else whole)
        self.counting: dict[Stage, dict[Architecture, Evaluation]] = {stage: {} for stage in STAGES}
        self.measured: ByPart[Measurements] = ByPart(self.part)
        self._final: ByPart[Measurements] = ByPart(self.part)
        self._own: dict[Architecture, Measurements] = {}
        for row in rows:
            self.add(row)

    @classmethod
    def of(cls, rows: Iterable[Evaluation] | IndexedRows) -> IndexedRows:
        """Return the index of ``rows``: the rows themselves where they are indexed already."""
        return rows if isinstance(rows, IndexedRows) else cls(rows)

    def add(self, row: Evaluation) -> None:
        """Take in the next row."""
        self.rows.append(row)
        known = self.counting[row.stage]
        if row.failed:
            before = known.get(row.architecture) if row.stage in ("retrain", "winner") else None
            if before is None or before.failed:
                known[row.architecture] = row
            return
        known[row.architecture] = row
        if row.stage != "winner" and (row.measurements or row.stage == "measure"):
            self.measured.setdefault(row.architecture, {}).update(row.measurements)
        elif row.measurements:
            self._own[row.architecture] = self._final[row.architecture] = dict(row.measurements)

    def places(self) -> dict[Architecture, list[int]]:
        """Return by architecture the places of its rows among all, in the order in which the run met architectures."""
        found: dict[Architecture, list[int]] = {}
        for place, row in enumerate(self.rows):
            found.setdefault(row.architecture, []).append(place)
        return found

    def measurements_of(self, architecture: Architecture) -> Measurements:
        """Return the measurements of an architecture by metric; empty if nothing was measured.

        They are its own final ones as a winner, else those of a winner with the same part, else the last of the search.
        """
        searched, final = self.measured.get(architecture, {}), self._final.get(architecture, {})
        return {**searched, **final, **self._own.get(architecture, {})}


def choices_of_training(rows: Iterable[Evaluation]) -> frozenset[str]:
    """Return the names of the choices on which measurements do not depend."""
    return frozenset(name for row in rows for name in row.details.get(FOR_ANY, ()))


def last_rows(rows: Iterable[Evaluation] | IndexedRows, stage: Stage) -> dict[Architecture, Evaluation]:
    """Return the row of a stage that counts of each architecture."""
    return IndexedRows.of(rows).counting[stage]
