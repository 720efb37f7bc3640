"""Winners of a search in a table. They are looked up: nothing is retrained, exported or measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from nas.errors import CandidateError
from nas.searching.fitting import Fitting
from nas.searching.selection import choose_winners, front_candidates, only_misses
from nas.searching.state import RunState
from nas.searching.winners.misses import say_only_misses
from nas.space.architecture import Architecture
from nas.tables.table_evaluation import SearchedTable
from nas.values.evaluation import Evaluation, Failure, PredictedValue


@final
class TableWinners:
    """The last stage of a run in a table. It looks first at what the journal has."""

    def __init__(self, state: RunState, table: SearchedTable, fitting: Fitting) -> None:
        self._state = state
        self._fitting = fitting
        self._table = table

    def run(self) -> None:
        """Look up winners, until there are as many as asked for, or as the front has."""
        state = self._state
        is_said = False
        while True:  # each pass adds a row for at least one architecture of the front
            if not is_said and only_misses(state.beliefs):
                say_only_misses(state)
                is_said = True
            chosen = choose_winners(state.beliefs, state.recipe.retraining.winners, self._at_chance)
            missing = [architecture for architecture in chosen if architecture not in state.beliefs.winners]
            if not missing:
                return
            state.progress.stage("looking up winners", len(missing))
            for architecture in missing:
                state.add(self._winner(architecture))
                state.progress.advance()
            state.progress.close()

    @property
    def _at_chance(self) -> frozenset[Architecture]:
        """Candidates that learned nothing, which are no winners where another candidate meets the limits.

        The cheapest of them would be one end of the front, from which all others hardly differ in error.
        """
        beliefs, chance = self._state.beliefs, self._table.chance_error(self._table.settings.accuracy)
        if chance is None:
            return frozenset()
        found = frozenset(row.architecture for row in beliefs.candidates if row.values["error"] >= chance)
        return found if front_candidates(beliefs, surely=True, without=found) else frozenset()

    def _winner(self, architecture: Architecture) -> Evaluation:
        """Return the row of a winner: its error by the column that scores winners, and all metrics of the table."""
        try:
            error = self._table.test_error(architecture)
            measurements = self._table.measurements(architecture, self._state.beliefs.measured_metrics)
        except CandidateError as failed:
            return Evaluation("winner", architecture, failure=Failure(failed.kind, failed.reason))
        for metric in self._table.metrics:
            try:
                measurements |= self._table.measurements(architecture, [metric])
            except CandidateError:  # a metric that the search does not need may have an empty field
                continue
        return Evaluation(
            "winner",
            architecture,
            values=self._state.beliefs.counted(architecture),
            predicted=self._predicted_before(architecture) or self._fitting.predict_unseen(architecture),
            measurements=measurements,
            details={
                "test_error": error,
                "test_interval": [error, error],
                "chance_error": self._table.chance_error(self._table.test_column),
            },
        )

    def _predicted_before(self, architecture: Architecture) -> Mapping[str, PredictedValue]:
        """Return the prediction from before it was first looked up, which spares another fit."""
        rows = (row for row in self._state.beliefs.rows if row.stage == "measure" and not row.failed)
        return next((row.predicted for row in rows if row.architecture == architecture), {})
