"""The search itself: measure a few, fit, then rounds of training and of measuring what would change the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from nas.architecture import Architecture
from nas.benchmarking import Bench
from nas.dataset import DataSet, DataSource
from nas.early_stopping import Rungs, rung_epochs
from nas.errors import CandidateError, LimitError, TargetError
from nas.evaluation import Evaluation, Failure, PredictedValue
from nas.execution import Executor, Job, Report
from nas.journal import Journal
from nas.knowledge import Knowledge
from nas.measuring import measure_architectures
from nas.metric import METRICS
from nas.objective import Limit
from nas.pareto import hypervolume_contributions, non_dominated
from nas.predictor import MIN_SAMPLES, HeldOutError, load_predictor
from nas.progress import Progress
from nas.proposer import Proposer, Told
from nas.recipe import Recipe
from nas.screening import Screen
from nas.search_space import SearchSpace
from nas.training import CandidateTraining, TrainingSettings

FINAL_MEASURINGS = 4
"""How often the front may be measured at the end: each time its unmeasured points are, others may take their place."""


@dataclass(frozen=True)
class Task:
    """What a recipe's names stand for: data, space and the bench on the target."""

    data: DataSet
    source: DataSource
    space: SearchSpace
    bench: Bench


@final
class Search:
    """Carries a run from its rows to its front. Each step looks first at what the rows say is done already."""

    def __init__(
        self, recipe: Recipe, task: Task, journal: Journal, progress: Progress, clock: Callable[[], float]
    ) -> None:
        self.recipe = recipe
        self.task = task
        self.journal = journal
        self.progress = progress
        self.clock = clock
        self.knowledge = Knowledge(journal.evaluations())
        self.screen = Screen(
            task.space,
            input_shape=task.data.input_shape,
            classes=task.data.class_count,
            target=recipe.parsed_target,
            objectives=recipe.parsed_objectives,
            limits=recipe.parsed_limits,
        )
        self._rounds_done = {body["round"] for body in journal.bodies("round")}

    def add(self, *rows: Evaluation) -> None:
        """Put rows in the journal and, once they are on disk, take them in."""
        if not rows:
            return
        self.journal.append_evaluations(rows)
        for row in rows:
            self.knowledge.add(row)

    # Before training

    def before_training(self) -> None:
        """Measure architectures spread over the space, fit the predictors, and see whether the limits can be met.

        Raises:
            LimitError: nothing that was found meets a limit.
            RepeatedFailureError: the space's architectures fail one after the other.
            TargetError: too few could be measured for a predictor.
        """
        rng = np.random.default_rng((self.recipe.seed, 0))
        pool = self.screen.spread(self.recipe.measuring.initial, rng, self._can_be_built)
        if 0 not in self._rounds_done:
            known = [a for a in pool if a not in self.knowledge.measurements and a not in self.knowledge.unfit]
            self._measure(known, 0)
        self._fit(0)
        self._check_limits(pool)
        self._end_round(0)

    def _can_be_built(self, architecture: Architecture) -> bool:
        """Whether an architecture builds; when not, it becomes a failed row, once."""
        if architecture in self.knowledge.unfit:
            return False
        try:
            self.screen.subject(architecture)
        except CandidateError as error:
            self.add(Evaluation("measure", architecture, failure=Failure(error.kind, error.reason)))
            self.knowledge.check_failures()
            return False
        return True

    def _measure(self, architectures: Sequence[Architecture], round_number: int) -> None:
        metrics = self.screen.measured_metrics
        if not architectures or not metrics:
            return
        rows = measure_architectures(
            self.task.space,
            architectures,
            metrics,
            self.task.bench,
            input_shape=self.task.data.input_shape,
            classes=self.task.data.class_count,
            batch=self.recipe.parsed_target.batch,
            round_number=round_number,
            rng=np.random.default_rng((self.recipe.seed, 1, round_number, len(self.knowledge.rows))),
            progress=self.progress,
        )
        # Kept beside what was measured: no check of a predictor is harder than what it said before.
        self.add(*(replace(row, predicted=self.screen.predicted(row.architecture)) for row in rows if not row.failed))
        self.add(*(row for row in rows if row.failed))
        self.knowledge.check_failures()

    def _fit(self, round_number: int) -> None:
        """Refit the predictors to all measurements, and tell their held-out error before they are relied on."""
        method = load_predictor(self.recipe.predictor)
        fitted = {}
        told = {(body["round"], body["metric"]) for body in self.journal.bodies("fit")}
        for name in self.screen.measured_metrics:
            measured = [(a, m[name].median) for a, m in self.knowledge.measurements.items() if name in m]
            if len(measured) < MIN_SAMPLES:
                failed = [row.failure.reason for row in self.knowledge.rows if row.stage == "measure" and row.failure]
                why = f" The last failure was: {failed[-1]}" if failed else " The space may be too small."
                raise TargetError(
                    f"a predictor of {name} needs at least {MIN_SAMPLES} measured architectures, "
                    f"but there are {len(measured)}.{why}"
                )
            subjects = [self.screen.subject(architecture) for architecture, _ in measured]
            values = np.array([value for _, value in measured])
            fitted[name] = method(subjects, values, seed=self.recipe.seed)
            held_out = fitted[name].held_out
            if (round_number, name) not in told:
                self.journal.append("fit", fit_body(round_number, name, held_out))
            self.progress.say(f"{name} predictor, {held_out_text(held_out)}")
        self.screen.predictors = fitted

    def _check_limits(self, pool: Sequence[Architecture]) -> None:
        """Look for an architecture within each limit, and then within all, and measure the lowest when in doubt."""
        known = [*pool, *self.knowledge.measurements]
        for limit in self.screen.limits:
            if limit.metric.source == "trained" or self._lowest_value(limit)[0] <= limit.value:
                continue
            lowest = self.screen.lowest(lambda a, limit=limit: self._known_value(a, limit), known)  # type: ignore[misc]
            if limit.metric.source == "measured" and lowest not in self.knowledge.measurements:
                self._measure([lowest], 0)
            elif self._known_value(lowest, limit) <= limit.value:
                continue
            value, architecture = min(self._lowest_value(limit), (self._known_value(lowest, limit), lowest))
            if not limit.holds(value):
                found = "measured" if limit.metric.source == "measured" else limit.metric.source
                raise LimitError(
                    f"nothing in the space meets {limit}: the lowest {found} value is {limit.metric.format(value)}, of "
                    f"{architecture.id} ({architecture.short}). Raise the limit, or give the space smaller options."
                )
        if any(self.screen.probably_meets(a, self.knowledge) for a in known):
            return
        nearest = self.screen.lowest(self._total_excess, known)
        if self._total_excess(nearest) > 0:
            excesses = self.screen.excesses({"error": 0.0, **self.screen.values(nearest, self.knowledge)})
            over = ", ".join(f"{name} by {100 * excess:.0f} %" for name, excess in excesses.items() if excess > 0)
            raise LimitError(
                f"nothing that was found meets all of {', '.join(map(str, self.screen.limits))} together: the nearest "
                f"is {nearest.id} ({nearest.short}), which exceeds {over}. Raise a limit, or widen the space."
            )

    def _lowest_value(self, limit: Limit) -> tuple[float, Architecture]:
        """The lowest value among the measured architectures, of any source of values but prediction."""
        measured = [(self._known_value(a, limit), a) for a in self.knowledge.measurements]
        return min(measured, key=lambda pair: pair[0], default=(math.inf, Architecture({})))

    def _known_value(self, architecture: Architecture, limit: Limit) -> float:
        try:
            return self.screen.values(architecture, self.knowledge)[limit.metric.name]
        except CandidateError:
            return math.inf

    def _total_excess(self, architecture: Architecture) -> float:
        try:
            values = {"error": 0.0, **self.screen.values(architecture, self.knowledge)}
        except CandidateError:
            return math.inf
        return sum(max(0.0, excess) for excess in self.screen.excesses(values).values())

    # Rounds

    def train_round(self, number: int, executor: Executor) -> None:
        """Train this round's share of the budget, as far as the rows do not hold it yet."""
        until = round(self.recipe.trials * number / self.recipe.rounds)
        if self.knowledge.trials >= until:
            return
        source = _RoundOfTrainings(self, number, until)
        already = self.knowledge.trials
        self.progress.stage(f"round {number}/{self.recipe.rounds}: training", until - already)
        training = self.recipe.training
        task = CandidateTraining(
            self.task.space,
            self.task.source,
            training_settings(self.recipe, training.epochs, training.subset, training.time_limit_s),
            self.clock,
        )
        executor.run(task, source, time_limit_s=training.time_limit_s)
        self.progress.close()
        if source.dried_up:
            self.progress.say(
                f"round {number} ends after {self.knowledge.trials - already} of {until - already} trainings: "
                f"no further architecture was found that is new and probably meets the limits. {self._refusals()}"
            )

    def _refusals(self) -> str:
        turned_away = self.screen.turned_away
        return (
            "Turned away: " + ", ".join(f"{count} by {limit}" for limit, count in turned_away.items())
            if turned_away
            else ""
        )

    def measure_round(self, number: int) -> None:
        """Measure the trained candidates whose measurement would most change the front, and refit."""
        if number in self._rounds_done:
            return
        if self.screen.measured_metrics:
            already = sum(row.stage == "measure" and row.round == number for row in self.knowledge.rows)
            self._measure(self._worth_measuring(self.recipe.measuring.per_round - already), number)
            self._fit(number)
        self._end_round(number)

    def _worth_measuring(self, count: int) -> list[Architecture]:
        """Unmeasured candidates that could be on the front if the predictor's lower bounds were true.

        Those that would add most hypervolume by their predicted means come first.
        """
        candidates = self.knowledge.candidates
        if not candidates or count <= 0:
            return []
        values = [self.screen.values(row.architecture, self.knowledge) for row in candidates]
        means = np.array([self.screen.losses(v) for v in values])
        reference = means.max(axis=0) * 1.1 + 1e-9
        gains = hypervolume_contributions(means, reference)
        chosen: list[tuple[float, int]] = []
        for index, row in enumerate(candidates):
            architecture = row.architecture
            if architecture in self.knowledge.measurements:
                continue
            lower = {name: p.lower for name, p in self.screen.predicted(architecture).items()}
            hopeful = {**values[index], **lower}
            if any(excess > 0 for excess in self.screen.excesses(hopeful).values()):
                continue
            others = means.copy()
            others[index] = self.screen.losses(hopeful)
            if non_dominated(others)[index]:
                chosen.append((-float(gains[index]), index))
        return [candidates[index].architecture for _, index in sorted(chosen)[:count]]

    def _end_round(self, number: int) -> None:
        if number not in self._rounds_done:
            self.journal.append("round", {"round": number, "turned_away": dict(self.screen.turned_away)})
            self._rounds_done.add(number)

    # The end

    def measure_front(self) -> None:
        """Measure what is on the front by prediction alone, until all of it is measured."""
        number = self.recipe.rounds + 1
        if not self.screen.measured_metrics:
            return
        for _ in range(FINAL_MEASURINGS):
            unmeasured = [
                row.architecture
                for row in self.front_candidates(surely=False)
                if row.architecture not in self.knowledge.measurements
            ]
            if not unmeasured:
                return
            self._measure(unmeasured, number)
            self._fit(number)

    def front_candidates(self, *, surely: bool) -> list[Evaluation]:
        """The non-dominated candidates among those that meet the limits, in the order of their first objective.

        ``surely`` asks for what was measured, by its upper bound; else the best known value decides.
        """
        meets = []
        for row in self.knowledge.candidates:
            excesses = self.screen.excesses(self.screen.values(row.architecture, self.knowledge))
            probably = all(excess <= 0 for excess in excesses.values())
            if self.screen.surely_meets(row.architecture, self.knowledge) if surely else probably:
                meets.append(row)
        return self.non_dominated_rows(meets)

    def non_dominated_rows(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        """Those rows that no other dominates by their best known values, sorted by the objectives."""
        if not rows:
            return []
        losses = np.array([self.screen.losses(self.screen.values(r.architecture, self.knowledge)) for r in rows])
        mask = non_dominated(losses)
        order = sorted(np.flatnonzero(mask).tolist(), key=lambda i: tuple(losses[i]))
        return [rows[index] for index in order]


@final
class _RoundOfTrainings:
    """The source of one round's jobs: proposes candidates, stops the hopeless, and records how each ended."""

    def __init__(self, search: Search, number: int, until: int) -> None:
        self._search = search
        self._number = number
        self._left = until - search.knowledge.trials
        self._predicted: dict[str, dict[str, PredictedValue]] = {}
        self._curves: dict[str, list[float]] = {}
        self.dried_up = False
        recipe = search.recipe
        self._rungs = Rungs(
            rung_epochs(recipe.training.epochs, recipe.early_stopping.reduction)
            if recipe.early_stopping.enabled
            else (),
            keep=recipe.early_stopping.keep,
            min_peers=recipe.early_stopping.min_peers,
        )
        for row in search.knowledge.trainings.values():
            for epoch, error in enumerate(row.details.get("curve", ()), start=1):
                self._rungs.record(row.architecture.id, epoch, self._losses(row.architecture, error))
        self._proposer = Proposer(
            search.task.space,
            len(recipe.objectives),
            recipe.sampler,
            seed=recipe.seed,
            history=[self._told(row) for row in search.knowledge.trainings.values()],
        )

    def next_job(self) -> Job | None:
        if self._left <= 0:
            return None
        unfit = {architecture.id for architecture in self._search.knowledge.unfit}
        architecture = self._proposer.propose(self._accept, unfit)
        if architecture is None:
            self.dried_up = True
            self._left = 0
            return None
        if self._left <= 0:  # what could not be built took the rest of this round's budget
            return None
        self._left -= 1
        self._predicted[architecture.id] = self._search.screen.predicted(architecture)
        self._curves[architecture.id] = []
        return {
            "id": architecture.id,
            "architecture": dict(architecture),
            "seed": training_seed(self._search.recipe, architecture),
        }

    def on_report(self, job: Job, report: Report) -> bool:
        self._note(job, report)
        return self._rungs.goes_on(job["id"], report["epoch"])

    def on_end(self, job: Job, report: Report) -> None:
        if report.get("done"):
            self._note(job, report)
        architecture = Architecture(job["architecture"])
        recipe = self._search.recipe
        row = Evaluation(
            "train",
            architecture,
            self._number,
            values={"error": report["error"], **self._search.screen.counted(architecture)},
            predicted=self._predicted[job["id"]],
            details={
                "epochs": report["epoch"],
                "stopped_early": not report.get("done", False),
                "subset": recipe.training.subset,
                "curve": self._curves[job["id"]],
                "seconds": report["seconds"],
            },
        )
        self._end(row)

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        self._end(
            Evaluation(
                "train",
                Architecture(job["architecture"]),
                self._number,
                predicted=self._predicted[job["id"]],
                details={"curve": self._curves[job["id"]], "epochs": len(self._curves[job["id"]])},
                failure=Failure(failure.kind, failure.reason),
            )
        )

    def _end(self, row: Evaluation) -> None:
        search = self._search
        search.add(row)
        self._proposer.tell(self._told(row))
        best = min((r.values["error"] for r in search.knowledge.candidates), default=None)
        search.progress.advance(best=None if best is None else f"error {METRICS['error'].format(best)}")
        search.knowledge.check_failures()

    def _accept(self, architecture: Architecture) -> bool:
        """Whether to train a proposal. What cannot be built takes its place in the budget as a failed row."""
        if self._left <= 0:
            return True  # the budget went to failures meanwhile; next_job drops this one
        try:
            return self._search.screen.probably_meets(architecture, self._search.knowledge)
        except CandidateError as error:
            self._left -= 1
            failure = Failure(error.kind, error.reason)
            self._end(Evaluation("train", architecture, self._number, failure=failure))
            return False

    def _note(self, job: Job, report: Report) -> None:
        self._curves[job["id"]].append(report["error"])
        losses = self._losses(Architecture(job["architecture"]), report["error"])
        self._rungs.record(job["id"], report["epoch"], losses)

    def _losses(self, architecture: Architecture, error: float) -> tuple[float, ...]:
        """The error, and the objectives that are known before training."""
        screen = self._search.screen
        values = screen.values(architecture, self._search.knowledge)
        costs = [o.metric.name for o in screen.objectives if o.metric.source != "trained"]
        return (error, *(values[name] for name in costs))

    def _told(self, row: Evaluation) -> Told:
        if not row.reached_full_fidelity:
            return Told(row.architecture, None, {})
        values = self._search.screen.values(row.architecture, self._search.knowledge)
        return Told(row.architecture, self._search.screen.losses(values), self._search.screen.excesses(values))


def training_settings(
    recipe: Recipe, epochs: int, subset: float, time_limit_s: float, **changes: Any
) -> TrainingSettings:
    """The recipe's way of training, for so many epochs on so large a share of the images."""
    training = recipe.training
    return TrainingSettings(
        epochs=epochs,
        subset=subset,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        label_smoothing=training.label_smoothing,
        augment=training.augment,
        device=training.device,
        time_limit_s=time_limit_s,
        threads=recipe.execution.threads_per_worker,
        **changes,
    )


def training_seed(recipe: Recipe, architecture: Architecture) -> int:
    """A seed that depends on the recipe's and the architecture alone, so that order and workers do not matter."""
    return (int(architecture.id[:7], 16) + 7919 * recipe.seed) % 2**31


def fit_body(round_number: int, metric: str, held_out: HeldOutError) -> dict[str, Any]:
    """The journal's row about a fit; a correlation that does not exist is null."""
    figures = {
        "samples": held_out.samples,
        "mape": held_out.mape,
        "spearman": None if math.isnan(held_out.spearman) else held_out.spearman,
        "within_10_percent": held_out.within_10_percent,
        "coverage": held_out.coverage,
    }
    return {"round": round_number, "metric": metric, **figures}


def held_out_text(held_out: HeldOutError) -> str:
    """A predictor's error on architectures that it had not seen, for people."""
    rank = "" if math.isnan(held_out.spearman) else f", Spearman {held_out.spearman:.3f}"
    return (
        f"{held_out.samples} measured, held-out error: mean {100 * held_out.mape:.1f} %{rank}, "
        f"within ±10 % for {100 * held_out.within_10_percent:.0f} %"
    )
