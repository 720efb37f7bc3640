"""A whole run, from recipe to report: measure a few, search in rounds, retrain the winners."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.errors import JournalError, LimitError, RepeatedFailureError, TargetError
from nas.jobs.choosing import executor_of
from nas.jobs.execution import InlineExecutor
from nas.progress import Progress
from nas.recipe.recipe import Recipe, read_recipe, read_recorded_recipe
from nas.recipe.small_searches import check_rounds
from nas.recipe.toml_text import UTF_8
from nas.reports.progress_display import ProgressChoice, chosen_progress
from nas.reports.report import write_report
from nas.results.bundle import GIVEN
from nas.results.exports.tracked import RunFacts
from nas.results.exports.tracking import Trackers, check_trackers
from nas.results.front import REPORT_NAME, Front
from nas.results.run_folder import further_text, given_objects, load_run, resume_text, run_folder_of
from nas.searching.cluster import joined_cluster
from nas.searching.evaluating.evaluators import prepared_evaluator
from nas.searching.evaluating.parents import prepare_parent
from nas.searching.evaluating.ways import choose_way
from nas.searching.extending import extended, keys_of, recipe_to_go_on, record_extension
from nas.searching.first_answer import give_first_answer
from nas.searching.first_measurements import FirstMeasurements
from nas.searching.fitting import Fitting
from nas.searching.instruments import Clock, Instruments
from nas.searching.measuring_beside import MeasuringBeside
from nas.searching.plan import has_time_for_round, is_brief, tell_plan, tell_what_is_left
from nas.searching.resolving import Resolved, data_warnings, described, resolve
from nas.searching.round import measure_front, measure_rest, measure_round, train_round
from nas.searching.state import RunState, cost_of
from nas.searching.user_inputs.circumstances import check_recipe, check_same_again, circumstances, recipe_then
from nas.searching.user_inputs.objects import GivenData, GivenSpace, GivenTraining, task_of, with_given_names
from nas.searching.user_inputs.parent_preparation import check_preparation
from nas.searching.user_inputs.places_to_train import with_asked_executor
from nas.searching.user_inputs.space_paths import with_whole_paths
from nas.searching.user_inputs.training_defaults import with_training_defaults
from nas.signals import advising, check, heed, stopping
from nas.space.search_space import SearchSpace
from nas.storage.journal import RECIPE, Journal
from nas.storage.journal_rows import Ended, RecipeText
from nas.tasks.task import Task
from nas.values.evaluation import Evaluation


@stopping()
def search(
    recipe: Recipe | Mapping[str, Any] | Path | str,
    *,
    space: GivenSpace | None = None,
    data: GivenData | None = None,
    train: GivenTraining | None = None,
    runs: Path | str = "runs",
    progress: ProgressChoice = "auto",
    instruments: Instruments | None = None,
) -> Front:
    """Search, and return the measured front of retrained, exported models.

    Args:
        recipe: a Recipe, a mapping of its keys, or the path of a TOML file.
        space: a space object or class that takes the place of the recipe's space.
        data: a task, torch data sets to train, validate and test, or a DataFrame, in the place of the recipe's data.
            Options of a DataFrame, such as its ``target``, are keys of the recipe's data.
        train: a training function of your own, in the place of the recipe's.
        runs: the folder in which the run's folder is made. A recipe without a name gets a new folder each time.
        progress: where progress is shown; by default in the terminal or notebook, and on standard error where the
            output is a file. None shows nothing.
        instruments: a bench and clocks, for tests.

    Raises:
        NasError: a failure of the tree in ``nas.errors``. Everything found before is in the run's folder, from which
            ``nas.resume`` goes on.

    Example::

        front = nas.search({"data": "digits", "limits": ["latency_ms <= 50us"], "trials": 12})
        print(front)
    """
    if isinstance(recipe, str | Path):
        recipe = read_recipe(Path(recipe))
    elif not isinstance(recipe, Recipe):
        recipe = Recipe.from_mapping(recipe)
    task = task_of(data, recipe.data)
    recipe = with_given_names(recipe, space, data, train)
    instruments = instruments or Instruments()
    shown, began_s = chosen_progress(progress), instruments.stopwatch()
    resolved = _resolve_new(recipe, space, task, instruments, shown, train)
    kept = with_asked_executor(resolved.recipe, recipe)
    with contextlib.closing(resolved.look):
        folder = _new_folder(kept, Path(runs))
        with (
            advised(folder, _resuming(folder, kept), (KeyboardInterrupt,)),
            Journal.start(folder, kept.to_toml(), clock=instruments.clock) as journal,
        ):
            return _run(resolved.recipe, resolved, journal, folder, shown, instruments.stopwatch, began_s)


def look(recipe: Recipe, runs: Path | str = "runs", progress: ProgressChoice = "auto") -> tuple[Recipe, list[str]]:
    """Return the complete recipe, and sentences about what a search would work with.

    Nothing is trained, measured or written.

    Raises:
        NasError: what ``search`` would refuse before it begins.
    """
    resolved = _resolve_new(recipe, None, None, Instruments(), chosen_progress(progress))
    resolved.look.close()
    recipe = resolved.recipe
    folder = _new_folder(recipe, Path(runs))
    if (folder / RECIPE).exists():
        raise JournalError(
            f"a new run needs a folder of its own, but {folder} already holds a run. Choose another name."
        )
    return recipe, [*described(recipe, resolved), f"run folder: {folder}"]


def _resolve_new(
    recipe: Recipe,
    space: GivenSpace | None,
    task: Task | None,
    instruments: Instruments,
    progress: Progress,
    train: GivenTraining | None = None,
) -> Resolved:
    """Return what the names of a new run's recipe stand for, with a meter that works."""
    check_rounds(recipe.rounds, recipe.trials)
    check_trackers(recipe.execution.track)
    resolved = resolve(with_whole_paths(recipe), space, task, instruments, progress, train)
    try:
        for bench in resolved.backend.benches.values():
            bench.check_meter()
        task = resolved.backend.task
        if task is not None:
            check_preparation(resolved.space, task, progress)
        return replace(resolved, recipe=with_training_defaults(resolved.recipe, recipe, task, resolved.space))
    except BaseException:
        resolved.look.close()
        raise


@stopping()
def resume(
    folder: Path | str,
    *,
    space: GivenSpace | None = None,
    data: GivenData | None = None,
    train: GivenTraining | None = None,
    overrides: Iterable[str] = (),
    progress: ProgressChoice = "auto",
    instruments: Instruments | None = None,
) -> Front:
    """Go on with the run in ``folder`` from its rows, and return its front. Nothing that has ended is done again.

    Args:
        folder: the folder of a run.
        space: the space, if ``search`` was given one.
        data: the data, if ``search`` was given some.
        train: the training function, if ``search`` was given one.
        overrides: keys with values. Those of ``[execution]``, such as ``execution.workers=1``, hold this time and
            change no result. ``trials=+50``, ``search_time_s=+10min``, ``limits=[…]`` and ``retraining.winners=6``
            extend a run, also a finished one: it goes on from all that it found.
        progress: as in ``search``.
        instruments: as in ``search``.

    Raises:
        NasError: as in ``search``; JournalError if there is no run, or another process is writing to it.

    Example::

        front = nas.resume("runs/digits-mobilenet")
        front = nas.resume("runs/digits-mobilenet", overrides=["trials=+20"])
    """
    folder = run_folder_of(folder)
    of_execution, extending = keys_of(overrides)
    recipe = read_recorded_recipe(folder / RECIPE, of_execution)
    check_trackers(recipe.execution.track)
    instruments = instruments or Instruments()
    began_s = instruments.stopwatch()
    shown = chosen_progress(progress)
    with (
        advised(folder, _resuming(folder, recipe), (KeyboardInterrupt,)),
        Journal.resume(folder, clock=instruments.clock) as journal,
    ):
        recipe = recipe_to_go_on(journal, folder, of_execution)
        recipe = extended(recipe, journal, extending) if extending else recipe
        resolved = resolve(recipe, space, task_of(data, recipe.data), instruments, shown, train)
        if not journal.rows(RecipeText):
            shown.say(f"nothing was recorded in {folder} before, so this run begins from the start.")
        with contextlib.closing(resolved.look):
            if extending:
                now = circumstances(recipe, resolved.space, resolved.device, resolved.backend.circumstances)
                check_same_again(journal, now, folder)
                record_extension(recipe, journal, folder)
            return _run(resolved.recipe, resolved, journal, folder, shown, instruments.stopwatch, began_s)


def _new_folder(recipe: Recipe, runs: Path) -> Path:
    """Return the named run's folder, which must be new, or for a recipe without a name the first free one."""
    if recipe.name:
        return runs / recipe.name
    number = 1
    while (folder := runs / (recipe.run_name if number == 1 else f"{recipe.run_name}-{number}")).exists():
        number += 1
    return folder


def _run(
    recipe: Recipe,
    resolved: Resolved,
    journal: Journal,
    folder: Path,
    progress: Progress,
    stopwatch: Clock,
    began_s: float,
) -> Front:
    """Do what is left of a run, and write its report, whatever ends it. Its time counts from ``began_s``."""
    progress.say(f"run folder: {folder}")
    for warning in data_warnings(resolved):
        progress.say(warning)
    _begin(recipe, resolved, journal, folder)
    cost = cost_of(recipe, resolved, stopwatch, stopwatch() - began_s)
    state = RunState(recipe, resolved, journal, progress, stopwatch, cost, is_search=True)
    try:
        with told_how_to_go_on(folder, _resuming(folder, recipe)), cost, _followed(state, folder):
            _work(state, folder)
            run = load_run(folder)
            write_report(folder / REPORT_NAME, run)
    except BaseException as error:
        record_end(state, folder, error)
        raise
    progress.close()
    return _with_space(run.front, resolved.space) if recipe.space.name == GIVEN else run.front


def record_end(state: RunState, folder: Path, error: BaseException) -> None:
    """Record what a run cost until an error ended it, and the reason, and write the report of what was found."""
    heed()
    with contextlib.suppress(BrokenPipeError):
        state.progress.close()
    if not isinstance(error, JournalError):
        state.note_cost()
    if isinstance(error, LimitError | RepeatedFailureError) and not state.is_over:
        state.journal.append(Ended(str(error)))
    if state.beliefs.rows:
        try:
            write_report(folder / REPORT_NAME, load_run(folder))
        except Exception as another:  # the error that ended the run matters more
            error.add_note(f"The report could not be written: {another}")


@contextlib.contextmanager
def _followed(state: RunState, folder: Path) -> Iterator[None]:
    """Let the trackers of the recipe follow the run: they get the rows that are there, and each new one."""
    recipe = state.recipe
    trackers = Trackers(
        recipe.execution.track,
        RunFacts(
            name=folder.resolve().name,
            folder=folder,
            target=recipe.measured_on_all,
            objectives=tuple(map(str, recipe.parsed_objectives)),
            limits=tuple(map(str, recipe.parsed_limits)),
            recipe_text=(folder / RECIPE).read_text(encoding=UTF_8),
        ),
        state.progress.say,
    )
    trackers.add(state.journal.rows(Evaluation))
    state.follow = trackers.add
    try:
        yield
    except BaseException:
        trackers.end("KILLED")
        raise
    trackers.end("FINISHED")


def _work(state: RunState, folder: Path) -> None:
    """Go the whole way: measure a few, then rounds of training and measuring, then the winners."""
    if state.is_over:
        state.progress.say(f"this run is over. To go on with it: {further_text(folder, state.recipe)}")
        return
    cluster = joined_cluster(state, folder)
    fitting = Fitting(state)
    choose_way(state, folder)
    tell_plan(state, folder)
    FirstMeasurements(state, fitting).take()
    if state.recipe.trials == 0:
        give_first_answer(state, fitting)
        state.end_round(state.last_round)
        return
    task = state.resolved.backend.task
    data_bytes = 0 if task is None else task.memory_bytes
    with cluster or executor_of(state.recipe, data_bytes, is_brief=is_brief(state), folder=folder) as executor:
        state.durations.begin(needs_again=not isinstance(executor, InlineExecutor))
        prepare_parent(state, folder)
        evaluator = prepared_evaluator(state, folder, executor)
        prior = evaluator.prior()
        with MeasuringBeside(state, fitting, executor, trains=evaluator.scoring is None) as beside:
            for number in range(state.begins.round + 1, state.recipe.rounds + 1):
                if not has_time_for_round(state, number):
                    break
                tell_what_is_left(state, number)
                train_round(state, evaluator, executor, beside, number, prior)
                measure_round(state, fitting, beside, number)
        measure_front(state, fitting)
        measure_rest(state)
        state.turn_to_winners()
        evaluator.make_winners(fitting, executor)
    state.end_round(state.last_round)


def _with_space(front: Front, space: SearchSpace) -> Front:
    """Return the front with winners that know the space object, which no file can name."""
    return replace(front, winners=tuple(replace(winner, space=space) for winner in front.winners))


@contextlib.contextmanager
def told_how_to_go_on(folder: Path, advice: str) -> Iterator[None]:
    """Add the ``advice`` on how to go on to every exception after which that is possible."""
    kinds = (KeyboardInterrupt, BrokenPipeError, JournalError, TargetError)
    with advised(folder, advice, kinds):
        try:
            yield
        except BrokenPipeError:  # nobody reads the output any more
            raise
        except OSError as error:
            check()
            raise JournalError(
                f"everything that a run finds must reach the disk, but the system says: {error}. "
                "Free some space or mend the folder, then resume the run."
            ) from error
        except Exception:
            check()  # a library may have turned a signal into an error
            raise


@contextlib.contextmanager
def advised(folder: Path, advice: str, kinds: tuple[type[BaseException], ...]) -> Iterator[None]:
    """Add the ``advice`` to exceptions of these kinds, if there is a run to go on with."""
    try:
        with advising(advice):
            yield
    except kinds as error:
        if (folder / RECIPE).is_file() and advice not in getattr(error, "__notes__", ()):
            error.add_note(advice)
        raise


def _resuming(folder: Path, recipe: Recipe) -> str:
    """Return the advice on how to resume a run."""
    objects = given_objects(recipe)
    told = f", with the {' and '.join(objects)} that it began with" if objects else ""
    return f"Go on with: {resume_text(folder, recipe)}{told}"


def _begin(recipe: Recipe, resolved: Resolved, journal: Journal, folder: Path) -> None:
    """Record the recipe and the circumstances, or check that a resumed run goes on with the same ones.

    Raises:
        JournalError: rows found now would not compare with those of the run.
    """
    if begun := journal.rows(RecipeText):
        check_recipe(recipe_then(begun[-1], folder), recipe, folder)
    else:
        journal.append(RecipeText(recipe.to_toml()))
    now = circumstances(recipe, resolved.space, resolved.device, resolved.backend.circumstances)
    if not check_same_again(journal, now, folder):
        journal.append(now)
    if journal.rows(Ended):  # it goes on after all
        journal.append(Ended(None))
