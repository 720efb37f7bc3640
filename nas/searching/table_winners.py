"""Winners of a search in a table: chosen as ever, but their rows are looked up. Nothing is retrained nor exported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from nas.errors import CandidateError
from nas.searching.fitting import Fitting
from nas.searching.run_state import RunState
from nas.searching.search import Search
from nas.searching.winner_choice import WinnerChoice
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation, Failure, PredictedValue


@final
class TableWinners:
    """The last stage of such a run. Like all of it, it looks first at what the rows say is done already."""

    def __init__(self, state: RunState, search: Search, fitting: Fitting) -> None:
        assert state.task.table is not None
        self._state = state
        self._fitting = fitting
        self._table = state.task.table
        self._choice = WinnerChoice(state, search)

    def run(self) -> None:
        """Look up winners, until there are as many as asked for or as the front has."""
        state = self._state
        while True:  # each pass adds a row for at least one architecture of the front
            chosen = self._choice.choose(state.recipe.retraining.winners)
            missing = [architecture for architecture in chosen if architecture not in state.knowledge.winners]
            if not missing:
                return
            state.progress.stage("looking up winners", len(missing))
            for architecture in missing:
                state.add(self._winner(architecture))
                state.progress.advance()
                state.knowledge.check_failures()
            state.progress.close()

    def _winner(self, architecture: Architecture) -> Evaluation:
        """The row of a winner: its error by the column that scores winners, with all metrics that the table tells."""
        try:
            error = self._table.test_error(architecture)
            measurements = self._table.measurements(architecture, self._state.screen.measured_metrics)
        except CandidateError as failed:
            return Evaluation("winner", architecture, failure=Failure(failed.kind, failed.reason))
        for metric in self._table.metrics:
            try:
                measurements |= self._table.measurements(architecture, [metric])
            except CandidateError:  # an empty field of a metric that nobody asked for
                continue
        return Evaluation(
            "winner",
            architecture,
            values=self._state.screen.counted(architecture),
            predicted=self._predicted_before(architecture) or self._fitting.predict_unseen(architecture),
            measurements=measurements,
            details={"test_error": error, "test_interval": [error, error]},
        )

    def _predicted_before(self, architecture: Architecture) -> Mapping[str, PredictedValue]:
        """What was predicted before it was first looked up, which spares fitting predictors to all the others."""
        rows = (row for row in self._state.knowledge.rows if row.stage == "measure" and not row.failed)
        return next((row.predicted for row in rows if row.architecture == architecture), {})
