"""Errors in other precisions of candidates that share weights: of those alone that may join the front with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from nas.errors import CandidateError
from nas.jobs.execution import Executor, Job, Report
from nas.searching.beliefs import Beliefs
from nas.searching.evaluating.evaluators import Evaluator
from nas.searching.evaluating.siblings import row_in_precision
from nas.searching.selection import front_candidates, meets_as_known, non_dominated_rows
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.candidate import PLAIN, Candidate, by_training
from nas.training.deployed_errors import BY_PRECISION
from nas.training.settings import training_seed
from nas.values.evaluation import Evaluation

PASSES, MOST_AT_ONCE = 4, 16
"""The most passes after the scoring of a round, and the most networks of each. What one pass finds tells the next one
what a precision usually costs."""

FEWEST_FAILED = 5
"""After so many failures without a success, a precision is given up."""


def deploy_hopeful(state: RunState, evaluator: Evaluator, executor: Executor, number: int, ends_s: float) -> None:
    """Deploy the networks that may join the front in another precision, and add a row for each.

    Deploying takes seconds, and scoring a fraction of one. So a network is deployed only if it would be on the front
    with its error in fp32, and with what the precision usually costs. None begins after ``ends_s`` of the run's clock.
    """
    for _ in range(PASSES):
        chosen = by_training(state.beliefs.candidate(row.architecture) for row in hopeful(state.beliefs))
        if not chosen or state.spent_s >= ends_s:
            break
        waiting, given_up = list(chosen.values())[:MOST_AT_ONCE], hopeless(state.beliefs)
        state.progress.stage(f"round {number}/{state.recipe.rounds}: evaluating in other precisions", len(waiting))
        executor.run(evaluator.work, _Deploying(state, number, waiting, ends_s), time_limit_s=evaluator.time_limit_s)
        state.progress.close()
        state.note_cost()
        for precision in hopeless(state.beliefs) - given_up:
            state.progress.say(f"no network could be evaluated in {precision}, so no more are tried")


def hopeful(beliefs: Beliefs) -> list[Evaluation]:
    """Return rows as they are hoped for: candidates in a precision without a row that would then be on the front.

    Their error is that in fp32, and what this precision has added in the middle one of those that were deployed.
    """
    quality = beliefs.quality.name
    without = hopeless(beliefs)
    in_fp32 = {row.architecture: row for row in beliefs.candidates if _precision(beliefs, row) == PLAIN}
    added = _usually_added(beliefs, in_fp32)
    hoped = []
    beliefs.predict_all(each for architecture in in_fp32 for each in beliefs.candidate(architecture).siblings)
    for row in in_fp32.values():
        for sibling in beliefs.candidate(row.architecture).siblings:
            is_known = sibling in beliefs.trainings or sibling in beliefs.unfit or sibling.precision in without
            if is_known or not meets_as_known(beliefs, sibling):
                continue
            error = row.values[quality] + added.get(str(sibling.precision), 0.0)
            values = {**row.values, **beliefs.counted(sibling), quality: error}
            hoped.append(replace(row, architecture=sibling, values=values))
    accurate = [row for row in hoped if beliefs.accuracy_excess(row.values) == 0]
    known = front_candidates(beliefs, surely=False)
    front = non_dominated_rows(beliefs, [*known, *(accurate or hoped)])
    return [row for row in front if row.architecture not in beliefs.trainings]


def hopeless(beliefs: Beliefs) -> set[str]:
    """Return the precisions in which several networks failed and none could be evaluated."""
    failed, worked = Counter[str](), set[str]()
    for row in beliefs.trainings.values():
        if row.is_shared:
            precision = str(_precision(beliefs, row))
            failed[precision] += row.failed
            worked |= set() if row.failed else {precision}
    return {precision for precision, count in failed.items() if count >= FEWEST_FAILED} - worked


def _precision(beliefs: Beliefs, row: Evaluation) -> str | None:
    return beliefs.candidate(row.architecture).precision


def _usually_added(beliefs: Beliefs, in_fp32: Mapping[Architecture, Evaluation]) -> dict[str, float]:
    """Return by precision the median of what it adds to the error in fp32; empty before any was deployed."""
    quality, found = beliefs.quality.name, dict[str, list[float]]()
    for row in beliefs.candidates:
        plain = beliefs.candidate(row.architecture).in_fp32
        if plain is not None and plain in in_fp32:
            difference = row.values[quality] - in_fp32[plain].values[quality]
            found.setdefault(str(_precision(beliefs, row)), []).append(difference)
    return {precision: float(np.median(differences)) for precision, differences in found.items()}


@final
class _Deploying:
    """The jobs of one pass, one for each network. Its rows in all precisions come to disk together."""

    def __init__(self, state: RunState, number: int, waiting: Sequence[Sequence[Candidate]], ends_s: float) -> None:
        self._state = state
        self._number = number
        self._waiting = list(waiting)
        self._ends_s = ends_s
        self._going: dict[str, Sequence[Candidate]] = {}

    def next_job(self) -> Job | None:
        if not self._waiting or self._state.spent_s >= self._ends_s:
            return None
        candidates = self._waiting.pop(0)
        trained = candidates[0].trained
        self._going[trained.id] = candidates
        precisions = [each.precision for each in candidates]
        seed = training_seed(self._state.recipe, trained)
        return {"id": trained.id, "architecture": dict(trained), "seed": seed, "precisions": precisions}

    def on_report(self, job: Job, report: Report) -> bool:
        return True

    def on_restart(self, job: Job) -> None:
        """Do nothing: its only report is the last one."""

    def on_end(self, job: Job, report: Report) -> None:
        found: Mapping[str, Mapping[str, object]] = report[BY_PRECISION]
        self._add(job, {precision: dict(each) for precision, each in found.items()})

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        told = {"failure": [failure.kind, failure.reason]}
        self._add(job, {str(each.precision): told for each in self._going[job["id"]]})

    def _add(self, job: Job, found: Mapping[str, Mapping[str, object]]) -> None:
        state, candidates = self._state, self._going.pop(job["id"])
        rows = []
        for each in candidates:
            plain = each.in_fp32
            assert plain is not None, "only other precisions are deployed"
            shares = replace(state.beliefs.trainings[plain], round=self._number)
            rows.append(row_in_precision(state.beliefs, shares, each, found[str(each.precision)]))
        state.add(*rows)
        state.progress.advance()
