"""A handful of architectures that are trained alone, to tell how far another way of evaluating can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nas.errors import CandidateError
from nas.jobs.execution import Executor, Job, Report
from nas.searching.run_state import RunState
from nas.space.architecture import Architecture
from nas.training.training import CandidateTraining
from nas.values.evaluation import Evaluation, Failure

AGREEMENT = "agreement with training"
"""The note that tells of it."""
FEWEST = 3
"""Fewer than these have no rank correlation worth the name."""

SeedOf = Callable[[Architecture], int]


@final
class Handful:
    """The architectures, spread over the space, and their errors by the training that the recipe describes.

    Each training is a row of stage ``check``, so that none is repeated when a run is resumed.
    """

    def __init__(self, state: RunState, training: CandidateTraining, seed_of: SeedOf, count: int) -> None:
        self._state = state
        self._training = training
        self.seed_of = seed_of
        self._count = count

    def errors(self, executor: Executor) -> dict[Architecture, float]:
        """The validation error of each that could be trained."""
        rows = {row.architecture: row for row in self._state.knowledge.rows if row.stage == "check"}
        missing = [architecture for architecture in self._chosen() if architecture not in rows]
        missing = missing[: max(0, self._count - len(rows))]
        if missing:
            self._state.progress.stage("training a handful to check by", len(missing))
            source = _Trainings(self._state, self.seed_of, missing, self._training.settings.subset)
            executor.run(self._training, source, time_limit_s=self._training.settings.time_limit_s)
            self._state.progress.close()
            self._state.note_cost()
        rows = {row.architecture: row for row in self._state.knowledge.rows if row.stage == "check"}
        return {architecture: row.values["error"] for architecture, row in rows.items() if not row.failed}

    def _chosen(self) -> list[Architecture]:
        """Those that probably meet the limits, or any where these are too few."""
        screen, knowledge = self._state.screen, self._state.knowledge

        def drawn(wanted: Callable[[Architecture], bool]) -> list[Architecture]:
            rng = np.random.default_rng((self._state.recipe.seed, 3))
            return screen.spread(
                self._count, rng, lambda a: a not in knowledge.unfit and screen.describer.can_be_built(a) and wanted(a)
            )

        within = drawn(lambda architecture: screen.probably_meets(architecture, knowledge))
        return within if len(within) >= self._count else drawn(lambda architecture: True)


@final
class _Trainings:
    """The source of the handful's jobs: each end is a row."""

    def __init__(self, state: RunState, seed_of: SeedOf, waiting: list[Architecture], subset: float) -> None:
        self._state = state
        self._seed_of = seed_of
        self._waiting = waiting
        self._subset = subset
        self._curves: dict[str, list[float]] = {}

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        architecture = self._waiting.pop(0)
        self._curves[architecture.id] = []
        return {"id": architecture.id, "architecture": dict(architecture), "seed": self._seed_of(architecture)}

    def on_report(self, job: Job, report: Report) -> bool:
        self._curves[job["id"]].append(report["error"])
        return True

    def on_restart(self, job: Job) -> None:
        self._curves[job["id"]] = []

    def on_end(self, job: Job, report: Report) -> None:
        architecture = Architecture(job["architecture"])
        details = {
            "epochs": report["epoch"],
            "subset": self._subset,
            "curve": [*self._curves[job["id"]], report["error"]],
            "seconds": report["seconds"],
        }
        values = {"error": report["error"], **self._state.screen.counted(architecture)}
        self._end(Evaluation("check", architecture, values=values, details=details))

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        reason = Failure(failure.kind, failure.reason)
        self._end(Evaluation("check", Architecture(job["architecture"]), failure=reason))

    def _end(self, row: Evaluation) -> None:
        self._state.add(row)
        self._state.progress.advance()
        self._state.knowledge.check_failures()


@final
class Quick:
    """The source of jobs whose last reports are wanted and nothing else: evaluations of seconds, which leave no row."""

    def __init__(self, architectures: Sequence[Architecture], seed_of: SeedOf, advance: Callable[[], None]) -> None:
        self._waiting = list(architectures)
        self._seed_of = seed_of
        self._advance = advance
        self.reports: dict[Architecture, Report] = {}

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        architecture = self._waiting.pop(0)
        return {"id": architecture.id, "architecture": dict(architecture), "seed": self._seed_of(architecture)}

    def on_report(self, job: Job, report: Report) -> bool:
        return True

    def on_restart(self, job: Job) -> None:
        """Nothing is kept of an evaluation before its end."""

    def on_end(self, job: Job, report: Report) -> None:
        self.reports[Architecture(job["architecture"])] = report
        self._advance()

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """It is left out: what cannot be evaluated will be a failed row when it is a candidate."""
        self._advance()


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of ``count`` architectures' errors by two ways of evaluating; 0 where one does not vary."""

    spearman: float
    kendall: float
    count: int


def agreement_of(estimated: Mapping[Architecture, float], trained: Mapping[Architecture, float]) -> Agreement | None:
    """How alike both rank the architectures that both know; None where these are fewer than three."""
    from scipy.stats import kendalltau, spearmanr  # here, because scipy is slow to import

    common = [architecture for architecture in trained if architecture in estimated]
    if len(common) < FEWEST:
        return None
    first, second = ([errors[a] for a in common] for errors in (estimated, trained))
    if len(set(first)) == 1 or len(set(second)) == 1:
        return Agreement(0.0, 0.0, len(common))
    return Agreement(float(spearmanr(first, second).statistic), float(kendalltau(first, second).statistic), len(common))


def is_told(state: RunState) -> bool:
    """Whether it was said in this run how far candidates' errors agree with training."""
    return any(AGREEMENT in body for body in state.journal.bodies("note"))


def tell_agreement(
    state: RunState,
    way: str,
    estimated: Mapping[Architecture, float],
    trained: Mapping[Architecture, float],
    least_correlation: float,
    remedy: str,
) -> None:
    """Say once in a run how far candidates' errors ``way``, such as "by shared weights", rank as trainings would.

    How far multiply-accumulates alone do is said beside it: whatever ranks no better is not worth its while.
    """
    if is_told(state):
        return
    agreement = agreement_of(estimated, trained)
    alone = agreement_of({a: -state.screen.counted(a)["macs"] for a in estimated}, trained)
    body: dict[str, Any]
    if agreement is None or alone is None:
        text = (
            f"errors {way} could not be checked: fewer than {FEWEST} of the handful could be trained and evaluated. "
            "So nobody knows whether they rank candidates as training would."
        )
        body = {"architectures": 0, "verdict": text}
    else:
        poor = agreement.spearman < least_correlation
        text = (
            f"errors {way} rank {agreement.count} architectures as training each alone does, "
            f"Spearman {agreement.spearman:.2f}, Kendall {agreement.kendall:.2f}; multiply-accumulates alone do with "
            f"{alone.spearman:.2f}"
        )
        if poor:
            text += (
                f". That is below {least_correlation:g}, so the search will miss good candidates and may prefer bad "
                f"ones; winners are trained all the same, and their test errors hold. {remedy}"
            )
        body = {
            "architectures": agreement.count,
            "Spearman": agreement.spearman,
            "Kendall": agreement.kendall,
            "Spearman of multiply-accumulates alone": alone.spearman,
            "verdict": f"poor: below {least_correlation:g}" if poor else f"at least {least_correlation:g}",
        }
    state.progress.say(text)
    state.journal.append("note", {AGREEMENT: {"evaluated": way, **body}})
