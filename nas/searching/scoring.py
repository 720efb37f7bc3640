"""Scoring many candidates at once with shared weights: which they are, and what their reports become."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import final

import numpy as np

from nas.errors import CandidateError
from nas.jobs.execution import Executor, Job, Report
from nas.searching.deploying import deploy_hopeful
from nas.searching.evaluating.evaluators import Evaluator
from nas.searching.evaluating.of_models import check_report, reported
from nas.searching.selection import front_candidates
from nas.searching.state import RunState
from nas.space.architecture import Architecture, Choice, Option
from nas.space.parts.candidate import Candidate
from nas.space.parts.parents import first_of
from nas.space.search_space import mutate, sample, settle
from nas.training.settings import training_seed
from nas.training.shared_scoring import APART, FAILURE
from nas.training.training import epochs_done
from nas.values.evaluation import Evaluation, Failure
from nas.values.metric import trained_values

MOST_AT_ONCE, BATCH_S = 128, 5.0
"""The most candidates of a job, and the seconds that it should take."""
FIRST_AT_ONCE = 16
LEAST_LIMIT_S = 600.0
"""The least time limit of a job: it has many candidates, each in a part of a training's time."""
DEPLOYING_SHARE = 0.3
"""The share of a round's time for evaluating candidates in other precisions, where they choose one."""
WORTH_GOING_ON = 0.1
"""If more than this share of the time is left after that, more are scored."""
FAMILY = 16
"""The number of candidates that are alike at the beginning of the network, and so share what comes first.

Each differs from another one of them from some place on, which halves what is computed anew: forms of an
EfficientNet-Lite0 take 0.21 s each instead of 0.33 s where all differ from the same place on.
"""
FROM_FRONT = 0.7
"""The share of families that begin as a candidate on the front does, once there is one."""
KEPT_SHARE = 0.5
"""The chance that a member of such a family keeps an option of that candidate further on."""
DRAWS = 40
"""The number of families to draw without a new candidate before the search gives up finding one."""
SLOWER = "some forms are evaluated one by one, which is slower, because their layers cannot be run by units"


def score_round(
    state: RunState, evaluator: Evaluator, executor: Executor, number: int, until: int, ends_s: float
) -> bool:
    """Score candidates of a round, and evaluate those in other precisions that may then join the front.

    The arguments are those of ``Scoring``. Return True if no further new architecture was found.
    """
    work, deploys = evaluator.scoring, bool(state.recipe.precisions)
    assert work is not None, "the evaluator scores many at once"
    limit_s = max(LEAST_LIMIT_S, evaluator.time_limit_s)
    while True:
        left_s, before = ends_s - state.spent_s, state.beliefs.trials
        kept_s = DEPLOYING_SHARE * max(0.0, left_s) if deploys and math.isfinite(left_s) else 0.0
        jobs = Scoring(state, number, until, ends_s - kept_s)
        executor.run(work, jobs, time_limit_s=limit_s)
        while jobs.is_interrupted:  # a process was lost with candidates that nobody asked for again
            executor.run(work, jobs, time_limit_s=limit_s)
        if not deploys:
            return jobs.dried_up
        state.progress.close()
        deploy_hopeful(state, evaluator, executor, number, ends_s)
        # Often little is hopeful, and then there is time for more.
        has_time = math.isfinite(ends_s) and ends_s - state.spent_s > WORTH_GOING_ON * left_s
        if jobs.dried_up or not has_time or not before < state.beliefs.trials < until:
            return jobs.dried_up


@final
class Scoring:
    """The jobs of one round, up to ``until`` candidates in the whole run; none begins after ``ends_s``.

    A job holds many ``architectures``. Each becomes a row as soon as its report is there.
    """

    def __init__(self, state: RunState, number: int, until: int, ends_s: float = math.inf) -> None:
        self._state = state
        self._number = number
        self._wanted = reported(state.recipe)
        self._left = until - state.beliefs.trials
        self._ends_s = ends_s
        self._rng = np.random.default_rng((state.recipe.seed, 11, state.beliefs.trials))
        self._taken = {each.id for each in (*state.beliefs.trainings, *state.beliefs.unfit)}
        self._waiting: list[Architecture] = []
        self._going: dict[str, list[Architecture]] = {}
        self._each_s: list[float] = []
        self._jobs = 0
        self._has_told = False
        self.dried_up = False
        self.is_interrupted = False
        """True if candidates of a job that was lost wait for another."""

    # Propose

    def next_job(self) -> Job | None:
        self.is_interrupted = False
        is_first = not (self._jobs or self._state.beliefs.trials)  # however short the time, a run scores something
        count = min(self._left, self._at_once)
        if count <= 0 or (self._state.spent_s >= self._ends_s and not is_first):
            return None
        while len(self._waiting) < count:
            found = self._family()
            if not found:
                break
            self._waiting += found
        self.dried_up = not self._waiting
        chosen, self._waiting = self._waiting[:count], self._waiting[count:]
        if not chosen:
            return None
        self._left -= len(chosen)
        self._jobs += 1
        name = f"scoring-{self._number}-{self._jobs}"
        self._going[name] = self._in_order(chosen)
        seed = training_seed(self._state.recipe, chosen[0])
        return {"id": name, "architectures": [dict(each) for each in self._going[name]], "seed": seed}

    @property
    def _at_once(self) -> int:
        """The candidates of a job."""
        if not self._each_s:
            return FIRST_AT_ONCE
        room_s = min(BATCH_S, max(0.0, self._ends_s - self._state.spent_s))
        return max(1, min(MOST_AT_ONCE, int(room_s / float(np.median(self._each_s[-64:])))))

    def _family(self) -> Sequence[Architecture]:
        """Return new candidates that probably meet the limits, and begin alike; none after many attempts."""
        beliefs = self._state.beliefs
        wanted = [self._network(each) for each in first_of(beliefs.space)]
        first = [each for number, each in enumerate(wanted) if not number or beliefs.may_meet(each)]
        for attempt in range(DRAWS):
            drawn = first if not attempt else map(self._network, self._drawn_family())
            new = [each for each in dict.fromkeys(drawn) if each.id not in self._taken]
            beliefs.predict_all(sibling for each in new for sibling in each.siblings)
            found = [each for each in new if each in first or beliefs.may_meet(each)]
            self._taken |= {each.id for each in new}
            if found:
                return found
        return []

    def _network(self, architecture: Architecture) -> Candidate:
        """Return the candidate in fp32, in which shared weights are scored."""
        candidate = self._state.beliefs.candidate(architecture)
        return candidate.in_fp32 or candidate

    def _drawn_family(self) -> list[Architecture]:
        space, rng = self._state.beliefs.space, self._rng
        front = front_candidates(self._state.beliefs, surely=False)
        is_near = bool(front) and rng.random() < FROM_FRONT
        base = sample(space, rng)
        if is_near:
            base = mutate(space, front[int(rng.integers(len(front)))].architecture, rng)
        names = [choice.name for choice in space.choices if not choice.is_of_deployment]
        first, members = int(rng.integers(len(names))), [base]
        while len(members) < FAMILY:
            like = members[int(rng.integers(len(members)))]
            members.append(self._unlike_from(like, set(names[int(rng.integers(first, len(names))) :]), is_near=is_near))
        return members

    def _unlike_from(self, like: Architecture, further: Collection[str], *, is_near: bool) -> Architecture:
        """Return an architecture whose options are drawn anew for the choices in ``further``.

        One that is ``is_near`` to the front keeps some of them.
        """
        rng = self._rng

        def option(choice: Choice) -> Option:
            stays = choice.name not in further or (is_near and rng.random() < KEPT_SHARE)
            if stays and choice.name in like:
                return like[choice.name]
            return choice.options[int(rng.integers(len(choice.options)))]

        return settle(self._state.beliefs.space, option)

    def _in_order(self, architectures: Sequence[Architecture]) -> list[Architecture]:
        """Return architectures in the order of their options, from input to output."""
        choices = self._state.beliefs.space.choices
        places = [{option: place for place, option in enumerate(choice.options)} for choice in choices]

        def key(each: Architecture) -> tuple[int, ...]:
            pairs = zip(choices, places, strict=True)
            return tuple(of[each[choice.name]] if choice.name in each else -1 for choice, of in pairs)

        return sorted(architectures, key=key)

    # Score

    def on_report(self, job: Job, report: Report) -> bool:
        self._take_in(job, report)
        return True

    def on_restart(self, job: Job) -> None:
        """Do nothing: reports that come again are left out."""

    def on_end(self, job: Job, report: Report) -> None:
        self._take_in(job, report)
        self._going.pop(job["id"], None)

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """Let the candidate that was next fail; the others wait for another job."""
        first, *others = self._going.pop(job["id"])
        self._add(self._failed(first, failure.kind, failure.reason))
        self._waiting = [*others, *self._waiting]
        self._left += len(others)
        self.is_interrupted = bool(others)

    def _take_in(self, job: Job, report: Report) -> None:
        architecture = Architecture(report["architecture"])
        if architecture not in self._going[job["id"]]:
            return
        self._going[job["id"]].remove(architecture)
        self._each_s.append(report["seconds"])
        if FAILURE in report:
            self._add(self._failed(architecture, *report[FAILURE]))
            return
        try:
            check_report(report, self._wanted)
        except CandidateError as error:
            self._add(self._failed(architecture, error.kind, error.reason))
            return
        if report.get(APART) and not self._has_told:
            self._has_told = True
            self._state.progress.say(SLOWER)
        beliefs = self._state.beliefs
        self._add(
            Evaluation(
                "train",
                architecture,
                self._number,
                values={**trained_values(report), **beliefs.counted(architecture)},
                predicted=beliefs.predicted(architecture),
                details={
                    "epochs": epochs_done(report),
                    "subset": self._state.recipe.training.subset,
                    "curve": [report[beliefs.quality.name]],
                    "seconds": report["seconds"],
                    **{key: report[key] for key in ("by", "metrics") if key in report},
                },
            )
        )

    def _failed(self, architecture: Architecture, kind: str, reason: str) -> Evaluation:
        predicted = self._state.beliefs.predicted(architecture)
        return Evaluation("train", architecture, self._number, predicted=predicted, failure=Failure(kind, reason))

    def _add(self, row: Evaluation) -> None:
        state = self._state
        state.add(row)
        quality, best = state.beliefs.quality, state.beliefs.lowest_quality
        state.progress.advance(best=None if best is None else f"{quality.title.lower()} {quality.format(best)}")
