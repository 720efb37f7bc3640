"""A handful of architectures that are trained alone, to check another way of evaluating against training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from nas.errors import CandidateError
from nas.jobs.execution import Executor, Job, Report, Work
from nas.searching.drawing import draw, pool_size, representatives
from nas.searching.evaluating.of_models import Checked, reported
from nas.searching.evaluating.siblings import precisions_to_evaluate
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.storage.journal_rows import Agreement
from nas.tasks.criteria import OF_CLASSES
from nas.training.deployed_errors import BY_PRECISION
from nas.training.own.work import OwnTraining
from nas.training.training import CandidateTraining
from nas.values.evaluation import Evaluation, Failure
from nas.values.metric import trained_values
from nas.values.rank_correlation import FEWEST, rank_correlation

SeedOf = Callable[[Architecture], int]


@final
class Handful:
    """Representative architectures, and their errors by the training that the recipe describes.

    Each training is a row of the stage ``check``, so that a resumed run repeats none. ``work`` is the ``training``; it
    also finds the errors in all precisions to choose from where these may become candidates.
    """

    def __init__(self, state: RunState, training: CandidateTraining | OwnTraining, work: Work, seed_of: SeedOf) -> None:
        self._state = state
        self.training = training
        self._work = work
        self.seed_of = seed_of

    def errors(self, executor: Executor, count: int, first: Sequence[Architecture] = ()) -> dict[Architecture, float]:
        """Train those of ``count`` that are not trained yet, and return the error of each that could be trained.

        Those named ``first`` come before drawn ones. The error is the metric that the search minimises, on the
        validation items.
        """
        rows = {row.architecture: row for row in self._state.beliefs.rows if row.stage == "check"}
        missing = [architecture for architecture in self._chosen(count, first) if architecture not in rows]
        missing = missing[: max(0, count - len(rows))]
        if missing:
            self._state.progress.stage("training a few architectures alone, as a check", len(missing))
            source = _HandfulJobs(self._state, self.seed_of, missing, self.training.settings.subset)
            work = Checked(self._work, reported(self._state.recipe))
            executor.run(work, source, time_limit_s=self.training.settings.time_limit_s)
            self._state.progress.close()
            self._state.note_cost()
        rows = {row.architecture: row for row in self._state.beliefs.rows if row.stage == "check"}
        name = self._state.beliefs.quality.name
        return {architecture: row.values[name] for architecture, row in rows.items() if not row.failed}

    def _chosen(self, count: int, first: Sequence[Architecture]) -> list[Architecture]:
        """Return the first, and drawn ones that probably meet the limits, or any if there are too few of these."""
        if len(first) >= count:
            return list(first[:count])
        within = self._representatives(count, self._state.beliefs.may_meet)
        drawn = within if len(within) >= count else self._representatives(count, lambda architecture: True)
        return list(dict.fromkeys([*first, *drawn]))[:count]

    def _representatives(self, count: int, is_wanted: Callable[[Architecture], bool]) -> list[Architecture]:
        beliefs = self._state.beliefs
        rng = np.random.default_rng((self._state.recipe.seed, 3))
        drawn = draw(beliefs.space, max(pool_size(beliefs.space), 2 * count), rng)
        drawn = list(dict.fromkeys(beliefs.candidate(each).in_fp32 or each for each in drawn))
        if self._state.inheritance is not None:  # the parent is as it is
            drawn = [each for each in drawn if not self._state.inheritance.is_parent(each)]
        fit = [a for a in drawn if a not in beliefs.unfit and beliefs.describer.can_be_built(a)]
        return representatives(beliefs, [architecture for architecture in fit if is_wanted(architecture)], count, rng)


@final
class _HandfulJobs:
    """The jobs of the handful. The end of each is a row."""

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
        return {
            "id": architecture.id,
            "architecture": dict(architecture),
            "seed": self._seed_of(architecture),
            "precisions": precisions_to_evaluate(self._state.beliefs, architecture),
        }

    def on_report(self, job: Job, report: Report) -> bool:
        self._curves[job["id"]].append(report[self._state.beliefs.quality.name])
        return True

    def on_restart(self, job: Job) -> None:
        self._curves[job["id"]] = []

    def on_end(self, job: Job, report: Report) -> None:
        architecture = Architecture(job["architecture"])
        details = {
            "epochs": report["epoch"],
            "subset": self._subset,
            "curve": [*self._curves[job["id"]], report[self._state.beliefs.quality.name]],
            "seconds": report["seconds"],
            **_by_precision(report),
        }
        values = {**trained_values(report), **self._state.beliefs.counted(architecture)}
        self._end(Evaluation("check", architecture, values=values, details=details))

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        reason = Failure(failure.kind, failure.reason)
        self._end(Evaluation("check", Architecture(job["architecture"]), failure=reason))

    def _end(self, row: Evaluation) -> None:
        self._state.add(row)
        self._state.progress.advance()


def _by_precision(report: Report) -> dict[str, Any]:
    """Return the detail that holds what a report says of other precisions; none where precision is no choice."""
    if BY_PRECISION not in report:
        return {}
    found: Mapping[str, Mapping[str, Any]] = report[BY_PRECISION]
    kept = {name: each if "failure" in each else trained_values(each) for name, each in found.items()}
    return {BY_PRECISION: kept}


@final
class Quick:
    """Jobs of a few seconds that leave no row. Only their last reports are kept."""

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
        """Do nothing: only the last report is kept."""

    def on_end(self, job: Job, report: Report) -> None:
        self.reports[Architecture(job["architecture"])] = report
        self._advance()

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """Leave the architecture out. If it becomes a candidate, it will be a failed row."""
        self._advance()


def is_checked(state: RunState) -> bool:
    """Return True if the journal has how far candidates' errors agree with training."""
    return bool(state.journal.rows(Agreement))


def record_agreement(
    state: RunState,
    way: str,
    estimated: Mapping[Architecture, float],
    trained: Mapping[Architecture, float],
    least_correlation: float,
    remedy: str,
) -> None:
    """Report once in a run how alike errors ``way``, such as "by shared weights", and trainings rank architectures.

    The correlation of multiply-accumulates alone stands beside it: a way that ranks no better is not worth its time.
    Where too few validation items tell the trained ones apart, nothing is judged.
    """
    if is_checked(state):
        return
    common = [architecture for architecture in trained if architecture in estimated]
    errors = [trained[a] for a in common]
    found = rank_correlation([estimated[a] for a in common], errors)
    alone = rank_correlation([-state.beliefs.counted(a)["macs"] for a in common], errors)
    blind = _why_blind(state, errors)
    if blind:
        note = Agreement(way, 0, text := f"errors {way} could not be checked: {blind}")
    elif found is None or alone is None:
        text = (
            f"errors {way} could not be checked: fewer than {FEWEST} of the handful could be trained and evaluated. "
            "So it is unknown whether they rank candidates as training would."
        )
        note = Agreement(way, 0, text)
    else:
        is_poor = found.spearman < least_correlation
        text = (
            f"errors {way} and separate trainings rank {found.count} architectures with Spearman {found.spearman:.2f}, "
            f"Kendall {found.kendall:.2f}; multiply-accumulates alone reach {alone.spearman:.2f}"
        )
        if is_poor:
            text += (
                f". That is below {least_correlation:g}, so the search will miss good candidates and may prefer bad "
                f"ones. Winners are trained all the same, and their test errors hold. {remedy}"
            )
        verdict = f"poor: below {least_correlation:g}" if is_poor else f"at least {least_correlation:g}"
        note = Agreement(way, found.count, verdict, found.spearman, found.kendall, alone.spearman)
    state.progress.say(text)
    state.journal.append(note)


def record_unchecked(state: RunState, way: str) -> None:
    """Report that the search time leaves no room to check errors ``way`` against separate trainings."""
    text = f"errors {way} are not checked, because the search time has no room for separate trainings"
    state.progress.say(text)
    state.journal.append(Agreement(way, 0, text))


def _why_blind(state: RunState, errors: Sequence[float]) -> str:
    """Return why the validation items cannot rank architectures with these errors; empty if they can or nobody knows.

    Shares of items that are classified wrongly must differ by more than the standard error of such a difference.
    """
    task = state.resolved.task
    is_share = state.beliefs.quality.name == "error" and task.criterion.kind in OF_CLASSES
    if len(errors) < FEWEST or not is_share:
        return ""
    items = len(task.validation)
    lowest, highest, mean = min(errors), max(errors), min(1.0, float(np.mean(errors)))
    if highest - lowest > np.sqrt(2 * mean * (1 - mean) / items):
        return ""
    return (
        f"{items} validation items cannot rank {len(errors)} architectures whose errors after separate trainings are "
        f"{100 * lowest:.1f} to {100 * highest:.1f} %, because chance makes such differences too. Bring more items, or "
        "raise data.validation_share."
    )
