"""Further seeds of winners: the same networks trained again, deployed and tested, to see how much chance decides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

from nas.errors import CandidateError
from nas.searching.fitting import Fitting
from nas.searching.state import RunState
from nas.searching.winners.bundles import WINNERS, BundleMaker
from nas.searching.winners.retraining_jobs import SeedOf, seed_weights, write_weights
from nas.searching.winners.retraining_plan import RetrainingPlan
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate, by_training
from nas.space.parts.own_inputs import wishes_of
from nas.storage.retraining_rows import SeedTested
from nas.storage.scratch import temporary_folder
from nas.tasks.testing import tested
from nas.training.fitted_heads import is_head_alone
from nas.values.evaluation import Failure


@final
class FurtherSeeds:
    """Knows which further seeds are missing, and tests those that are trained. The journal has a row for each."""

    def __init__(self, state: RunState, fitting: Fitting, folder: Path, plan: RetrainingPlan) -> None:
        self._state = state
        self._fitting = fitting
        self._folder = folder
        self._plan = plan

    def missing(self, candidates: Iterable[Candidate]) -> list[tuple[Candidate, int]]:
        """Return the candidates and numbers of seeds that have no row yet."""
        known = {(row.architecture, row.number) for row in self._rows()}
        varying = [each for each in candidates if not self._is_same_for_all_seeds(each)]
        wanted = [(each, number) for number in range(1, self._plan.seeds) for each in varying]
        return [pair for pair in wanted if pair not in known]

    def _is_same_for_all_seeds(self, architecture: Architecture) -> bool:
        """Return True for a head that was fitted alone: a regression gives the same weights whatever the seed."""
        row, state = self._state.beliefs.retrainings.get(architecture), self._state
        settings = self._plan.settings(state.recipe).of(state.resolved.space, architecture)
        return row is not None and row.is_fitted and is_head_alone(settings)

    def to_train(self, missing: Collection[tuple[Candidate, int]]) -> list[SeedOf]:
        """Return the trainings that these need, without those whose weights are on the disk already."""
        found = []
        for number in dict.fromkeys(number for _, number in missing):
            group = [candidate for candidate, each in missing if each == number]
            for sharing in by_training(group).values():
                if not self._weights(sharing[0], number).is_file():
                    found.append(SeedOf(tuple(sharing), number))
        return found

    def test(self, missing: Sequence[tuple[Candidate, int]]) -> None:
        """Deploy and test each of these whose training did not fail, and add its row."""
        state = self._state
        trained = [pair for pair in missing if self._weights(*pair).is_file()]
        state.progress.stage("testing further seeds", len(trained))
        for candidate, number in trained:
            try:
                error = self._error(candidate, self._weights(candidate, number).read_bytes())
                row = SeedTested(candidate, number, self._plan.number, error)
            except CandidateError as failed:
                failure = Failure(failed.kind, failed.reason)
                row = SeedTested(candidate, number, self._plan.number, failure=failure)
            state.journal.append(row)
            state.progress.advance()
        state.progress.close()

    def details(self, architecture: Architecture, test_error: float) -> dict[str, Any]:
        """Return what the row of a winner with this error says of its further seeds; nothing without any."""
        rows = [row for row in self._rows() if row.architecture == architecture]
        errors = [row.test_error for row in sorted(rows, key=lambda row: row.number) if row.test_error is not None]
        failed = sum(row.failure is not None for row in rows)
        return {"seed_errors": [test_error, *errors], **({"failed_seeds": failed} if failed else {})} if rows else {}

    def _rows(self) -> list[SeedTested]:
        return [row for row in self._state.journal.rows(SeedTested) if row.retraining == self._plan.number]

    def _weights(self, candidate: Candidate, number: int) -> Path:
        return seed_weights(self._folder, self._plan, f"{candidate.trained.id}-{number}")

    def _error(self, candidate: Candidate, weights: bytes) -> float:
        """Return the test error of the deployed model, as for a winner. Raises CandidateError if it cannot be run."""
        resolved = self._state.resolved
        task = resolved.task.prepared_for(wishes_of(resolved.space, candidate))
        with temporary_folder("seed") as scratch:
            bundles = BundleMaker(self._state, self._fitting, scratch)
            write_weights(scratch / WINNERS / candidate.id, weights)
            bundles.export(candidate)
            model = bundles.deploy(candidate)
            return tested(task, partial(resolved.bench_of(candidate).outputs, model))["error"].value
