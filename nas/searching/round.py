"""One round of the search, top to bottom: propose, screen, train, tell; then measure what would change the front."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

from nas.errors import RepeatedFailureError
from nas.jobs.execution import Executor, InlineExecutor
from nas.progress import duration_text
from nas.results.notes.prior_ranks import prior_sentences
from nas.searching.evaluating.evaluators import DOING, Evaluator
from nas.searching.evaluating.of_models import Checked, reported
from nas.searching.fitting import Fitting
from nas.searching.measuring_beside import MeasuringBeside
from nas.searching.proposer import Prior
from nas.searching.scoring import score_round
from nas.searching.selection import front_candidates, judged, worth_measuring
from nas.searching.state import RunState
from nas.searching.trainings import Trainings
from nas.storage.journal_rows import Fit, TrainingsEnded, TurnedAway
from nas.values.objective import reason_text

FINAL_MEASURINGS = 4
"""The most times the front is measured at the end. Each time, unmeasured points may join the front."""


def train_round(
    state: RunState, evaluator: Evaluator, executor: Executor, beside: MeasuringBeside, number: int, prior: Prior | None
) -> None:
    """Train this round's share of the budget, skipping what the journal already holds.

    ``prior`` tells the sampler what to expect of errors before any is known, and ``beside`` may measure meanwhile.
    """
    if number in state.rounds_done:
        return
    recipe, screening = state.recipe, state.screening
    if evaluator.scoring is not None or not isinstance(executor, InlineExecutor):
        state.recall_recorded()  # trainings that ran beside each other ended in an order that no seed gives
    if not state.recorded:
        screening.take_up(row for row in state.journal.rows(TurnedAway) if row.round == number)
    until = _trials_until(state, number)
    has_ended = any(row.round == number for row in state.journal.rows(TrainingsEnded))
    deploys = evaluator.scoring is not None and bool(recipe.precisions)
    if has_ended or (state.beliefs.trials >= until and not deploys):
        return
    already = state.beliefs.trials
    total = None if recipe.has_time_alone else until - already
    ends_s = state.schedule.end_of_round_s(number)
    most_s = ends_s - state.spent_s if math.isfinite(ends_s) else None
    if most_s is not None and most_s <= 0:
        parent = state.beliefs.parent
        has_parent = parent is None or parent in state.beliefs.trainings or parent in state.beliefs.unfit
        if already and has_parent:
            state.progress.say(f"round {number} does not begin, because no search time is left for it")
            return
        what = "training; one candidate is trained" if evaluator.scoring is None else "scoring; a few are scored"
        state.progress.say(f"no search time is left for {what} all the same, so that there is a result")
        total, most_s = 1 if evaluator.scoring is None else None, None
    state.progress.stage(f"round {number}/{recipe.rounds}: {DOING[recipe.evaluate]}", total, most_s)
    if evaluator.scoring is not None:
        dried_up = score_round(state, evaluator, executor, number, until, ends_s)
    else:
        work = Checked(evaluator.work, reported(recipe))
        for trainings in _attempts(state, evaluator, number, until, ends_s, prior):
            jobs = beside.joined(trainings, number, ends_s)
            executor.run(work, jobs, time_limit_s=evaluator.time_limit_s)
        dried_up = trainings.dried_up
        if dried_up:
            beside.wait()
    state.recall_recorded()
    state.journal.append(*screening.unrecorded(number), TrainingsEnded(number))
    screening.mark_recorded()
    state.progress.close()
    _report_round(state, number, state.beliefs.trials - already, total, dried_up)


def measure_round(state: RunState, fitting: Fitting, beside: MeasuringBeside, number: int) -> None:
    """Measure what would most change the front, what is near a limit and what is unknown; and fit again.

    Workers do not wait for that where candidates are measured ``beside`` trainings.
    """
    if number in state.rounds_done:
        return
    if state.beliefs.measured_metrics:
        is_between = not beside.is_on
        if is_between:
            beside.wait()
        is_new = beside.take_up()
        beside.check()
        if is_between:
            _measure_after(state, number)
        if is_new or is_between:
            fitting.fit(number)
            if fitting.doubts:
                state.progress.say(fitting.doubts_text)
    state.end_round(number)


def _measure_after(state: RunState, number: int) -> None:
    """Measure after a round, unless an interrupted process has done so: its measurements come to disk together."""
    beliefs = state.beliefs
    last = beliefs.rows[-1] if len(beliefs.rows) == state.rows_at_start and beliefs.rows else None
    if last is None or (last.stage, last.round) != ("measure", number):
        near_limits, count = state.screening.near_limits, state.schedule.count_between()
        state.measure(worth_measuring(beliefs, judged(beliefs), near_limits, count), number)


def measure_front(state: RunState, fitting: Fitting) -> None:
    """Measure the points of the front that are only predicted, until every point is measured and meets the limits."""
    number = state.last_round
    if not state.beliefs.measured_metrics:
        return
    # Each of these measurings ends with a fit, so fits tell how many there were before an interruption.
    already: dict[str, set[int]] = {}
    for fit in state.journal.rows(Fit):
        if fit.round == number:
            already.setdefault(fit.metric, set()).add(fit.samples)
    for _ in range(FINAL_MEASURINGS - max(map(len, already.values()), default=0)):
        front = front_candidates(state.beliefs, surely=False)
        front_now = state.beliefs.parts.one_each(row.architecture for row in front)
        unmeasured = [architecture for architecture in front_now if architecture not in state.beliefs.measurements]
        if not unmeasured:
            return
        if not state.schedule.has_time_to_measure(len(unmeasured)) and any(
            row.architecture in state.beliefs.measurements for row in front
        ):
            state.progress.say(f"no time is left to measure {len(unmeasured)} more of the front")
            return
        state.measure(unmeasured, number)
        fitting.fit(number)


def measure_rest(state: RunState) -> None:
    """Look up what is still predicted of candidates, where that takes no time; so winners are chosen by known values.

    The search before sees a cost only once it asked for it, as where a measurement takes minutes.
    """
    beliefs = state.beliefs
    if state.resolved.backend.takes_time:
        return
    rest = [row.architecture for row in beliefs.candidates if not beliefs.is_measured(row.architecture)]
    with contextlib.suppress(RepeatedFailureError):  # the table lacks some: their rows say so, and the others count
        state.measure(rest, state.last_round)


def _trials_until(state: RunState, number: int) -> int:
    """Return the number of trials at which a round ends: its share of the budget, or of a small space.

    Once everything is measured there is nothing to learn between rounds, so the first one takes all that is left.
    """
    recipe, beliefs, first = state.recipe, state.beliefs, state.begins.round
    before = sum(row.round <= first and not row.is_shared for row in beliefs.trainings.values()) if first else 0
    share = round((recipe.trials - before) * (number - first) / (recipe.rounds - first))
    until = recipe.trials if beliefs.is_all_measured else before + share
    return until if beliefs.untrained is None else min(until, beliefs.trials + beliefs.untrained)


def _attempts(
    state: RunState, evaluator: Evaluator, number: int, until: int, ends_s: float, prior: Prior | None
) -> Iterator[Trainings]:
    """Yield the round's trainings. If no proposals are left, yield a second batch that relies on predicted means.

    A search must not end early because few samples give no tight confidence bound. A fit within the batch brings the
    caution back, and then there is another one.
    """
    trainings = Trainings(state, evaluator, number, until, ends_s, prior)
    yield trainings
    while trainings.dried_up and state.screening.may_drop_caution:
        state.screening.drop_caution()
        state.progress.say(
            f"round {number}: no further new architecture meets the limits by the predictors' confidence bounds, so "
            "those that meet them by the predicted mean are trained too."
        )
        trainings = Trainings(state, evaluator, number, until, ends_s, prior)
        yield trainings


def _report_round(state: RunState, number: int, trained: int, total: int | None, dried_up: bool) -> None:
    """Say how well priors rank, what was turned away, and why the round ended with fewer trainings than planned."""
    for sentence in prior_sentences(state.beliefs.rows):
        state.progress.say(sentence)
    if counts := state.screening.counts:
        listed = ", ".join(
            f"{count} by {reason_text(reason, state.beliefs.limits)}" for reason, count in counts.most_common()
        )
        state.progress.say(f"round {number}: turned away before training, {listed}")
    done = trained if total is None else f"{trained} of {total}"
    if dried_up:
        state.progress.say(
            f"round {number} ends after {done} candidates: no further new architecture was found that probably meets "
            "the limits."
        )
    elif state.beliefs.untrained == 0 and trained and state.beliefs.trials < state.recipe.trials:
        state.progress.say(f"every architecture of the space is trained: {state.beliefs.trials} in all")
    elif total is not None and trained < total:
        time = duration_text(state.recipe.search_time_s or 0)
        state.progress.say(
            f"round {number} ends after {done} trainings: its share of the search time ({time} in all) is used up."
        )
