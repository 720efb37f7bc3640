"""Retraining winners of a run that has ended, from the request to the new front."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.errors import JournalError, RecipeError
from nas.jobs.choosing import executor_of
from nas.progress import Progress, command_text
from nas.recipe.recipe import Recipe, read_recorded_recipe
from nas.recipe.ways import by_way
from nas.reports.progress_display import ProgressChoice, chosen_progress
from nas.reports.report import write_report
from nas.results.front import REPORT_NAME, Front
from nas.results.run_folder import given_objects, load_run, resume_text, run_folder_of
from nas.searching.cluster import joined_cluster
from nas.searching.evaluating.parents import prepare_parent
from nas.searching.fitting import Fitting
from nas.searching.instruments import Instruments
from nas.searching.later_retraining.further_data import MoreData, further_task
from nas.searching.later_retraining.request import Asked, architectures_of, session_of
from nas.searching.resolving import resolve
from nas.searching.run import advised, record_end, told_how_to_go_on
from nas.searching.state import RunState, cost_of
from nas.searching.user_inputs.circumstances import check_recipe, check_same, circumstances, recipe_then
from nas.searching.user_inputs.objects import GivenData, GivenSpace, GivenTraining, task_of
from nas.searching.user_inputs.teachers import BEST
from nas.searching.winners.retraining import Retraining
from nas.searching.winners.retraining_plan import RetrainingPlan, Start, run_plan
from nas.searching.winners.teaching import best_of, retrained_teacher
from nas.signals import stopping
from nas.storage.journal import RECIPE, Journal, read_rows
from nas.storage.journal_rows import Began, RecipeText, RetrainingBegan, RetrainingEnded, RoundEnded, WayChosen
from nas.tasks.data_source import DataSource
from nas.tasks.further_items import Further, enlarged
from nas.tasks.task import Task


@stopping()
def retrain(
    folder: Path | str,
    *,
    top: int | None = None,
    ids: Iterable[str] = (),
    epochs: int | None = None,
    seeds: int | None = None,
    training: Mapping[str, Any] | None = None,
    teacher: str | None = None,
    start: Start | None = None,
    more_data: MoreData | None = None,
    space: GivenSpace | None = None,
    data: GivenData | None = None,
    train: GivenTraining | None = None,
    overrides: Iterable[str] = (),
    progress: ProgressChoice = "auto",
    instruments: Instruments | None = None,
) -> Front:
    """Retrain winners of a run that has ended, and return its front with the new models in their places.

    The new models are exported, measured and tested like the first ones, and get bundles of their own beside the old
    ones, in ``retrained/<number>`` of the run's folder. The same call goes on with a retraining that was interrupted.

    Args:
        folder: the folder of a run that has ended.
        top: retrain so many, from the first winner of the front on, and then the best candidates; all winners if None.
        ids: retrain the architectures with these ids, or beginnings of ids, instead.
        epochs: the epochs of each training; by default the recipe's ``retraining.epochs``.
        seeds: the trainings of each network; with several the accuracy has an interval over seeds.
        training: keys of ``[training]`` for these trainings, such as ``{"ema": 0.99}``.
        teacher: a model to learn from: ``best``, the best winner; a bundle's folder; or ``module:function``.
        start: ``scratch``, or ``winner`` to begin with the weights of the last model of each network; by default the
            recipe's ``retraining.start``.
        more_data: further data to train on, by name or as a task. The test split stays the run's own.
        space: the space, if ``search`` was given one.
        data: the data, if ``search`` was given some.
        train: the training function, if ``search`` was given one.
        overrides: keys of ``[execution]`` with values, such as ``execution.workers=1``.
        progress: as in ``search``.
        instruments: as in ``search``.

    Raises:
        NasError: as in ``search``; JournalError if the run has not ended.

    Example::

        front = nas.retrain("runs/digits-mobilenet", top=2, epochs=60, seeds=3)
        print(front.best.seeds)
    """
    folder = run_folder_of(folder)
    recipe = read_recorded_recipe(folder / RECIPE, overrides)
    if recipe.evaluate == "table":
        raise RecipeError(f"winners of a table have no models to retrain, but {folder} looked its values up.")
    more = more_data if more_data is None or isinstance(more_data, str) else task_of(more_data, recipe.data)
    named = more.fingerprint if isinstance(more, Task) else more
    asked = Asked(top, tuple(ids), epochs, seeds, dict(training or {}), teacher, start, named)
    given = _Given(space, task_of(data, recipe.data), train, more)
    return _retrained(folder, recipe, asked, given, chosen_progress(progress), instruments or Instruments())


@dataclass(frozen=True)
class _Given:
    """What a user passes as objects; further data may also be a name."""

    space: GivenSpace | None
    task: Task | None
    train: GivenTraining | None
    more_data: Task | str | None


def _retrained(
    folder: Path, recipe: Recipe, asked: Asked, given: _Given, progress: Progress, instruments: Instruments
) -> Front:
    """Return the front of a run with the new models."""
    ways = read_rows(folder, WayChosen)
    changed = asked.recipe(by_way(recipe, asked.way(ways[-1].evaluate)) if ways else recipe)
    advice = _advice(folder, recipe, asked, is_named=not isinstance(given.more_data, Task))
    with (
        advised(folder, advice, (KeyboardInterrupt,)),
        Journal.resume(folder, clock=instruments.clock) as journal,
    ):
        _check_ended(journal, recipe, folder)
        resolved = resolve(changed, given.space, given.task, instruments, progress, given.train)
        with contextlib.closing(resolved.look):
            now = circumstances(recipe, resolved.space, resolved.device, resolved.backend.circumstances)
            check_same(journal.rows(Began)[0], now, folder)
            cost = cost_of(recipe, resolved, instruments.stopwatch)
            state = RunState(resolved.recipe, resolved, journal, progress, instruments.stopwatch, cost)
            with told_how_to_go_on(folder, advice), cost:
                session, plan = _prepared(state, folder, asked, given.more_data)
                try:
                    _work(state, folder, session, plan)
                    write_report(folder / REPORT_NAME, load_run(folder))
                except BaseException as error:
                    record_end(state, folder, error)
                    raise
            front = load_run(folder).front
    progress.close()
    winners = (replace(each, space=resolved.space) for each in front)
    return replace(front, winners=tuple(winners)) if given.space is not None else front


def _check_ended(journal: Journal, recipe: Recipe, folder: Path) -> None:
    """Check that the run is one of this recipe that has ended. Raises JournalError if not."""
    texts, began = journal.rows(RecipeText), journal.rows(Began)
    if texts:
        check_recipe(recipe_then(texts[-1], folder), recipe, folder)
    ended = {row.round for row in journal.rows(RoundEnded)}
    if not texts or not began or recipe.rounds + 1 not in ended:
        raise JournalError(
            f"winners are retrained once their run has ended, but {folder} is not finished. Finish it first: "
            f"{resume_text(folder, recipe)}"
        )


def _prepared(
    state: RunState, folder: Path, asked: Asked, more_data: MoreData | None
) -> tuple[RetrainingBegan, RetrainingPlan]:
    """Return what is retrained, or what was begun before by the same request, and how. Nothing is written yet."""
    journal = state.journal
    further = None if more_data is None else _further(state, more_data)
    began = journal.rows(RetrainingBegan)
    session = session_of(asked, began, journal.rows(RetrainingEnded))
    if session is None:
        number = max((row.number for row in began), default=0) + 1
        count = state.recipe.retraining.winners
        chosen = architectures_of(asked, load_run(folder).front, state.beliefs, count)
        session = RetrainingBegan(number, asked.to_json(), chosen, {} if further is None else _facts(further))
    else:
        state.progress.say(f"going on with retraining {session.number}, which was interrupted")
    return session, _plan(state, folder, asked, session, further)


def _work(state: RunState, folder: Path, session: RetrainingBegan, plan: RetrainingPlan) -> None:
    """Train, export, measure and test the models, and record the beginning and the end."""
    state.turn_to_winners()
    if session not in state.journal.rows(RetrainingBegan):
        state.journal.append(session)
    task = state.resolved.task if plan.source is None else plan.source.load()
    cluster = joined_cluster(state, folder)
    with cluster or executor_of(state.recipe, task.memory_bytes, folder=folder) as executor:
        prepare_parent(state, folder)
        Retraining(state, Fitting(state), folder, plan).make(session.architectures, executor)
    state.journal.append(RetrainingEnded(session.number))
    state.note_cost()


def _further(state: RunState, more_data: MoreData) -> Further:
    task = state.resolved.task
    found = enlarged(task, further_task(more_data, state.recipe, task, state.progress))
    state.progress.say(f"further data: {found.in_words}")
    return found


def _facts(further: Further) -> dict[str, Any]:
    return {
        "name": further.name,
        "fingerprint": further.task.fingerprint,
        "added": further.added,
        "tested": further.tested,
        "repeated": further.repeated,
    }


def _plan(
    state: RunState, folder: Path, asked: Asked, session: RetrainingBegan, further: Further | None
) -> RetrainingPlan:
    """Return how the architectures of a retraining are trained.

    Raises:
        JournalError: an interrupted retraining was on other further data.
        RecipeError: there is no teacher of that name.
    """
    if further is not None and session.data.get("fingerprint") != further.task.fingerprint:
        raise JournalError(
            f"retraining {session.number} goes on with the data that it began with, but {further.name} has changed "
            "since. Bring the data back, or ask for other epochs or seeds, which is a new retraining."
        )
    task: Task = state.resolved.task if further is None else further.task
    plan = replace(
        run_plan(state),
        number=session.number,
        start=asked.start or state.recipe.retraining.start,
        source=None if further is None else DataSource(given=task),
        items=len(task.to_fit(1.0, with_validation=True)),
    )
    if plan.teacher != BEST:
        return plan
    winners = [a for a, row in state.beliefs.winners.items() if not row.failed]
    best = best_of(state.beliefs, [*session.architectures, *winners])
    if best in session.architectures:
        return plan
    named = retrained_teacher(state.resolved, state.beliefs, folder, best)
    return replace(plan, teacher=named.name, named=named)


def _advice(folder: Path, recipe: Recipe, asked: Asked, *, is_named: bool) -> str:
    """Return the advice on how to go on with an interrupted retraining: the same request once more."""
    if given_objects(recipe) or not is_named:
        return "To go on, call nas.retrain with the same arguments again."
    words = ["nas", "retrain", str(folder), *asked.words()]
    return f"Go on with: {command_text(words)}"
