"""A whole run, from recipe to report: measure, fit, search in rounds, retrain the winners."""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nas.errors import JournalError, LimitError, RecipeError, RepeatedFailureError, TargetError
from nas.hardware.bench import Bench
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import default_workers, processor_name
from nas.hardware.measuring import Surroundings
from nas.jobs.execution import Executor, InlineExecutor
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources, local_gpus
from nas.prediction.predictor import load_predictor
from nas.progress import NullProgress, Progress
from nas.recipe.recipe import Recipe, read_recipe
from nas.reports.report import write_report
from nas.results.front import REPORT_NAME, Front
from nas.results.record import ENDED, read_record, resume_command
from nas.results.search_cost import SearchCost, search_counter
from nas.searching.evaluators import evaluator_of
from nas.searching.fitting import Fitting
from nas.searching.retraining import Retraining
from nas.searching.run_state import Models, RunState, Task
from nas.searching.screening import measured_metrics
from nas.searching.search import Search
from nas.searching.table_winners import TableWinners
from nas.space.search_space import HasSupernet, SearchSpace, check_space, choices_hash, count, load_space
from nas.storage.home import home
from nas.storage.journal import RECIPE, Journal
from nas.storage.measurement_store import MeasurementStore
from nas.tables.table_evaluation import SearchedTable
from nas.tasks.data_source import DataSource
from nas.tasks.dataset import DataSet
from nas.training.supernet import check_supernet
from nas.training.training import normalised_images

Clock = Callable[[], float]

CALIBRATION_IMAGES = 256
"""Training images on which an int8 model finds its ranges."""


@dataclass(frozen=True)
class Instruments:
    """What a run reads off the world, in tests replaced by what they control. Without a bench it is this machine's.

    ``clock`` dates the rows; ``stopwatch`` takes durations, so that a clock that is set does not end trainings.
    """

    bench: Bench | None = None
    clock: Clock = field(default=time.time)
    stopwatch: Clock = field(default=time.monotonic)


def search(
    recipe: Recipe | Mapping[str, Any] | Path | str,
    *,
    space: SearchSpace | None = None,
    data: DataSet | None = None,
    runs: Path | str = "runs",
    progress: Progress | None = None,
    instruments: Instruments | None = None,
) -> Front:
    """Search and return the measured front of retrained, exported models.

    ``recipe`` is a Recipe, its values, or the path of a TOML file. ``space`` and ``data`` take the place of the
    ones that the recipe names. The run's folder is made in ``runs``; a recipe without a name gets a new one each time.

    Raises:
        NasError: the tree in ``errors``; whatever was found before is in the run folder, and can be resumed.
    """
    if isinstance(recipe, str | Path):
        recipe = read_recipe(Path(recipe))
    elif not isinstance(recipe, Recipe):
        recipe = Recipe.from_mapping(recipe)
    recipe = _naming_what_is_given(recipe, space, data)
    instruments = instruments or Instruments()
    progress = progress or NullProgress()
    task = _task(recipe, space, data, instruments, progress)
    if task.models is not None and isinstance(task.bench, DeviceBench):
        task.bench.check_meter()
    folder = _new_folder(recipe, Path(runs))
    with Journal.start(folder, recipe.to_toml(), clock=instruments.clock) as journal:
        return _run(recipe, task, journal, folder, progress, instruments.stopwatch)


def resume(
    folder: Path | str,
    *,
    space: SearchSpace | None = None,
    data: DataSet | None = None,
    overrides: Iterable[str] = (),
    progress: Progress | None = None,
    instruments: Instruments | None = None,
) -> Front:
    """Go on with the run in ``folder`` from its rows: nothing that has ended is done again.

    ``space`` and ``data`` must be given when they were given to ``search``. ``overrides``, such as
    ``execution.workers=1``, hold for this time; they can only be about where trainings run.

    Raises:
        NasError: as ``search``; JournalError when there is no run or another process is at it.
    """
    folder = Path(folder)
    if not (folder / RECIPE).is_file():
        raise JournalError(f"--resume takes the folder of a run, but {folder} has no {RECIPE}.")
    recipe = read_recipe(folder / RECIPE, overrides)
    instruments = instruments or Instruments()
    progress = progress or NullProgress()
    task = _task(recipe, space, data, instruments, progress)
    with Journal.resume(folder, clock=instruments.clock) as journal:
        return _run(recipe, task, journal, folder, progress, instruments.stopwatch)


GIVEN = "given"
"""The name of a space or a data set that was passed as an object."""


def _naming_what_is_given(recipe: Recipe, space: SearchSpace | None, data: DataSet | None) -> Recipe:
    changes: dict[str, Any] = {}
    if space is not None:
        changes["space"] = {"name": GIVEN, "class": type(space).__qualname__}
    if data is not None:
        changes["data"] = {"name": GIVEN}
    return Recipe.from_mapping({**recipe.model_dump(), **changes}) if changes else recipe


def _new_folder(recipe: Recipe, runs: Path) -> Path:
    """The named run's folder, which must be new, or for a recipe without a name the first free one."""
    if recipe.name:
        return runs / recipe.name
    number = 1
    while (folder := runs / (recipe.run_name if number == 1 else f"{recipe.run_name}-{number}")).exists():
        number += 1
    return folder


def _task(
    recipe: Recipe, space: SearchSpace | None, data: DataSet | None, instruments: Instruments, progress: Progress
) -> Task:
    """What a recipe's names stand for. Making it finds every mistake that can be found before work begins."""
    for given, named, what in ((space, recipe.space.name, "space"), (data, recipe.data.name, "data")):
        if given is None and named == GIVEN:
            raise RecipeError(f"this recipe was made with a {what} object; pass it again as {what}=…")
    load_predictor(recipe.predictor)
    if recipe.evaluate == "table":
        return _table_task(recipe, space, data)
    _check_gpus(recipe)
    source = DataSource(
        given=data,
        name=recipe.data.name,
        root=recipe.data.root,
        image_size=recipe.data.image_size,
        validation_share=recipe.data.validation_share,
    )
    bench = instruments.bench or DeviceBench(
        recipe.parsed_target,
        BenchSettings(**recipe.measuring.bench_settings),
        calibration=lambda: normalised_images(source.load().train.sample(CALIBRATION_IMAGES).images, source.load()),
        meter=recipe.energy.meter_settings,
        say=progress.say,
    )
    if isinstance(bench, DeviceBench):
        bench.check(measured_metrics(recipe.parsed_objectives, recipe.parsed_limits))
    loaded = source.load()
    if space is None:
        space = load_space(
            recipe.space.name, recipe.space.options, input_shape=loaded.input_shape, classes=loaded.class_count
        )
    check_space(space)
    if recipe.evaluate == "supernet":
        _check_shares_weights(space, recipe, loaded)
    shape, classes = loaded.input_shape, loaded.class_count
    store = MeasurementStore(home(), fresh=not recipe.measuring.reuse)
    surroundings = Surroundings(space, bench, shape, classes, recipe.parsed_target.batch, store)
    return Task(space, shape, classes, surroundings, models=Models(loaded, source, bench), store=store)


def _check_gpus(recipe: Recipe) -> None:
    """See that this machine has the GPUs that trainings on it take; what a cluster has is seen when it is joined.

    Raises:
        RecipeError: it has fewer.
    """
    if recipe.execution.ray_address is not None:
        return
    has = local_gpus()
    wants = recipe.execution.gpus_per_worker if recipe.execution.executor == "ray" else None
    if wants is not None and wants > has:
        raise RecipeError(
            f"execution.gpus_per_worker must be at most what this machine has, {has}, but got {wants:g}. Lower it, or "
            "join a Ray cluster with --ray-address."
        )
    if recipe.training.device == "cuda" and not has:
        raise RecipeError(
            'training.device "cuda" needs a GPU that torch can use, but this machine has none: set '
            "training.device=auto, or join a Ray cluster with --ray-address."
        )


def _table_task(recipe: Recipe, space: SearchSpace | None, data: DataSet | None) -> Task:
    """The same where all is looked up: no data set is loaded, and nothing is measured."""
    if data is not None:
        raise RecipeError("where evaluate = 'table' nothing is trained, so there is no use for data=…: leave it out.")
    shape, classes = recipe.table.input_shape, recipe.table.classes
    if space is None:
        space = load_space(recipe.space.name, recipe.space.options, input_shape=shape, classes=classes)
    check_space(space)
    table = SearchedTable(recipe.table, space)
    table.check(measured_metrics(recipe.parsed_objectives, recipe.parsed_limits))
    return Task(space, shape, classes, table, table=table)


def _check_shares_weights(space: SearchSpace, recipe: Recipe, data: DataSet) -> None:
    """See that a space has shared weights that fit what it builds.

    Raises:
        RecipeError: it has none.
        SpaceError: they are not those of the modules.
    """
    if not isinstance(space, HasSupernet):
        raise RecipeError(
            f'evaluate = "supernet" takes a space whose architectures share weights, but {recipe.space.name!r} has no '
            'method supernet(). Write one, choose another space, or evaluate by "train" or "zero-cost".'
        )
    check_supernet(space, data.input_shape, data.class_count)


def _run(recipe: Recipe, task: Task, journal: Journal, folder: Path, progress: Progress, stopwatch: Clock) -> Front:
    progress.say(f"run folder: {folder}")
    if begun := journal.bodies("recipe"):
        _check_recipe(Recipe.from_toml(begun[0]["text"]), recipe, folder)
    else:
        journal.append("recipe", {"text": recipe.to_toml()})
    circumstances = _circumstances(recipe, task)
    notes = journal.bodies("note")
    if not notes:
        journal.append("note", circumstances)
    else:
        _check_same(notes[0], circumstances, folder)
    if any(ENDED in body for body in notes):  # it goes on after all
        journal.append("note", {ENDED: None})
    counter, why_none = search_counter(recipe.energy.meter_settings)
    cost = SearchCost(counter, why_none, stopwatch, lambda: task.measurer.device_s)
    state = RunState(recipe, task, journal, progress, stopwatch, cost)
    try:
        with _told_how_to_go_on(folder, recipe), cost:
            _work(state, folder)
            record = read_record(folder)
            write_report(folder / REPORT_NAME, record)
    except BaseException as error:
        with contextlib.suppress(BrokenPipeError):
            progress.close()
        if not isinstance(error, JournalError):
            state.note_cost()
        if isinstance(error, LimitError | RepeatedFailureError):
            journal.append("note", {ENDED: str(error)})
        if state.knowledge.rows:
            try:
                write_report(folder / REPORT_NAME, read_record(folder))
            except Exception as another:  # what ended the run may be in the way of its report too, and matters more
                error.add_note(f"The report could not be written: {another}")
        raise
    progress.close()
    return record.front


def _work(state: RunState, folder: Path) -> None:
    fitting = Fitting(state)
    search = Search(state, fitting)
    if search.is_over:
        return
    search.before_training()
    with _executor(state.recipe) as executor:
        evaluator = evaluator_of(state, folder)
        evaluator.prepare(executor)
        for number in range(1, state.recipe.rounds + 1):
            search.train_round(number, evaluator, executor)
            search.measure_round(number)
        search.measure_front()
        state.turn_to_winners()
        if state.task.table is None:
            Retraining(state, search, fitting, folder).run(executor)
        else:
            TableWinners(state, search, fitting).run()
    search.end()


@contextlib.contextmanager
def _told_how_to_go_on(folder: Path, recipe: Recipe) -> Iterator[None]:
    """Add to what stops a run, but does not forbid to go on, how to do that."""
    try:
        try:
            yield
        except BrokenPipeError:  # nobody reads what is said any more
            raise
        except OSError as error:
            raise JournalError(
                f"what a run finds must reach the disk, but the system says: {error}. "
                "Free some space or mend the folder, then resume the run."
            ) from error
    except (KeyboardInterrupt, BrokenPipeError, JournalError, TargetError) as error:
        given = [what for what, name in (("space", recipe.space.name), ("data", recipe.data.name)) if name == GIVEN]
        call = ", ".join([repr(str(folder)), *(f"{what}=…" for what in given)])
        with_objects = f"nas.resume({call}), with the {' and '.join(given)} that it began with"
        error.add_note(f"Go on with: {with_objects if given else resume_command(folder)}")
        raise


def _circumstances(recipe: Recipe, task: Task) -> dict[str, Any]:
    """What a reader of the report may ask about, beside the recipe."""
    libraries = ("nas", "torch", "optuna", "ray", "onnxruntime", "timm", "scikit-learn")
    return {
        **({"data set": _data_facts(task.data)} if task.table is None else {"table": task.table.facts}),
        "space": {"name": recipe.space.name, "assignments": count(task.space), "choices": choices_hash(task.space)},
        "machine": {"processor": processor_name(), "system": platform.platform()},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in libraries}},
    }


def _data_facts(data: DataSet) -> dict[str, Any]:
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "classes": data.class_count,
        "image shape": list(data.input_shape),
        "training images": len(data.train),
        "validation images": len(data.validation),
        "test images": len(data.test),
    }


def _version(library: str) -> str:
    """The version of an installed library; the in-process executor does without Ray."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _check_recipe(then: Recipe, now: Recipe, folder: Path) -> None:
    """See that a resumed run goes on with its recipe, but for where trainings run, which changes no result.

    Raises:
        JournalError: another value of another key; rows of two recipes cannot be compared.
    """
    changed = {key: pair for key, pair in now.differences(then).items() if not key.startswith("execution.")}
    if changed:
        listed = ", ".join(f"{key} was {before} and is {value} now" for key, (value, before) in changed.items())
        raise JournalError(
            f"a run goes on with the recipe that it began with, but for the keys of [execution]: {listed}. "
            f"Bring that back in {folder / RECIPE}, or start a new run beside it."
        )


def _check_same(then: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """See that a resumed run goes on with what it began with.

    Raises:
        JournalError: other images, another table, other choices or another processor; rows of two of them cannot be
            compared.
    """
    pairs = (("data set", "fingerprint"), ("table", "fingerprint"), ("space", "choices"), ("machine", "processor"))
    for part, key in pairs:
        if part in then and then[part][key] != now[part][key]:
            raise JournalError(
                f"a run goes on with the {part} that it began with, but the {key} was {then[part][key]} "
                f"and is {now[part][key]} now. Bring that back, or start a new run beside {folder}."
            )


def _executor(recipe: Recipe) -> Executor:
    execution = recipe.execution
    if execution.executor == "inline":
        return InlineExecutor()
    gpus = 0 if recipe.training.device == "cpu" or execution.ray_address else local_gpus()
    workers = execution.workers or gpus or default_workers(execution.threads_per_worker)
    share = gpu_share(gpus, workers) if execution.gpus_per_worker is None else execution.gpus_per_worker
    most = workers if execution.ray_address is None else execution.workers or None
    return RayExecutor(most, Resources(execution.threads_per_worker, share), address=execution.ray_address)


def gpu_share(gpus: int, workers: int) -> float:
    """GPUs for each worker: one, or the fraction of one that lets all workers run. Ray takes no one and a half."""
    if gpus == 0:
        return 0.0
    return 1.0 if workers <= gpus else 1 / math.ceil(workers / gpus)
