"""From a recipe's names to the objects that they stand for, with every check that is possible before work begins."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cloudpickle
import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError, raised_text
from nas.hardware.bench import Bench
from nas.hardware.devices.device import Device
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.measuring import Measurer, Surroundings
from nas.prediction.predictor import PREDICTOR_ARGUMENTS, load_predictor
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.recipe.sections import AUTO
from nas.recipe.ways import OPEN
from nas.results.data_of_run import source_of
from nas.searching.backend import Backend, TrainedModels
from nas.searching.instruments import Clock, Instruments
from nas.searching.precisions.benches import benches_of
from nas.searching.precisions.choosing import with_precision_choice
from nas.searching.precisions.measuring import OnEachTarget, fingerprint_of_all
from nas.searching.proposer import SAMPLER_ARGUMENTS, Beforehand, load_sampler, make_sampler
from nas.searching.user_inputs.default_space import JOINED, check_suits, with_default_space
from nas.searching.user_inputs.ignored_inputs import tell_ignored
from nas.searching.user_inputs.metrics import check_error_alone, check_has_layers, check_metrics
from nas.searching.user_inputs.objects import GivenSpace, GivenTraining, check_given, function_of
from nas.searching.user_inputs.parents import check_parent, check_parent_exports
from nas.searching.user_inputs.places_to_train import check_execution, check_gpus, with_executor
from nas.searching.user_inputs.preparations import check_inputs
from nas.searching.user_inputs.teachers import Teacher, teacher_of
from nas.searching.user_inputs.training_choices import check_training, with_training_choices
from nas.searching.user_inputs.training_defaults import with_training_defaults
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.first_look import FirstLook, LookApart, LookHere
from nas.space.look_worker import StrandedSpaceError
from nas.space.own_code import own_code
from nas.space.parts.candidate import precision_of
from nas.space.parts.device_parts import device_space, notes_of
from nas.space.parts.parents import first_of, parents_space
from nas.space.parts.start_weights import check_start
from nas.space.plug_ins import check_options, code_named, is_own, plug_in_path
from nas.space.rules import check_space, check_space_class
from nas.space.search_space import HasSupernet, SearchSpace, count, load_space, make_space
from nas.space.signature import Signature, image_signature
from nas.storage.home import home
from nas.storage.measurement_store import MeasurementStore
from nas.tables.row_space import RowSpace, with_table
from nas.tables.table_evaluation import SearchedTable
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.training.own.function import TrainingFunction
from nas.training.settings import retraining_settings, training_settings
from nas.training.supernet import check_supernet
from nas.values.metric import on_target, target_in
from nas.values.objective import measured_metrics
from nas.values.target import Target

STRANDED = (
    "the space cannot be sent to a process of its own, so its code runs in this one, where nothing ends a build that "
    "hangs: "
)


@dataclass(frozen=True)
class Resolved:
    """What the names of a recipe stand for: the space, what measures its architectures, and earlier measurements.

    ``backend`` evaluates architectures. ``look`` finds the layers of architectures; it must be closed. ``recipe`` names
    the space, also where the recipe before left that to the data. ``function`` is the user's own that trains, if there
    is one. ``device`` measures.
    """

    recipe: Recipe
    space: SearchSpace
    look: FirstLook
    signature: Signature
    measurer: Measurer
    backend: Backend
    store: MeasurementStore | None = None
    function: TrainingFunction | None = None
    device: Device = field(default_factory=LocalDevice)

    @property
    def models(self) -> TrainedModels:
        """The models, for what trains and measures some."""
        assert isinstance(self.backend, TrainedModels), "nothing else trains or measures models"
        return self.backend

    @property
    def task(self) -> Task:
        """What models learn."""
        return self.models.task

    @property
    def source(self) -> DataSource:
        """Where each process gets the task."""
        return self.models.source

    @property
    def teacher(self) -> Teacher | None:
        """The model from which candidates also learn, if there is one."""
        return self.models.teacher

    @property
    def bench(self) -> Bench:
        """The bench of the first target: of models whose precision is no choice, else that of fp32."""
        return next(iter(self.models.benches.values()))

    def bench_of(self, architecture: Architecture, on: str = "") -> Bench:
        """Return the bench that measures an architecture, on the target of a name in the precision of its own."""
        return self.models.benches[self._key(architecture, on)]

    def target_of(self, architecture: Architecture, on: str = "") -> Target:
        """Return the target of a name on which an architecture is measured; that of the first one is empty."""
        return self.recipe.measured_targets[self._key(architecture, on)]

    def _key(self, architecture: Architecture, on: str) -> str:
        own = precision_of(architecture) if self.recipe.precisions else None
        return on_target(on, own or self.recipe.named_targets[on].precision)

    def fingerprint_on(self, target: str) -> str | None:
        """Return the fingerprint of the target of a name, with all its precisions; None if it must not be kept."""
        if not isinstance(self.measurer, OnEachTarget):
            return self.measurer.fingerprint
        own = [each for key, each in self.measurer.measurers.items() if target_in(key) == target]
        return fingerprint_of_all([each.fingerprint for each in own])


def resolve(
    recipe: Recipe,
    space: GivenSpace | None,
    task: Task | None,
    instruments: Instruments,
    progress: Progress,
    train: GivenTraining | None = None,
) -> Resolved:
    """Return what the recipe's names stand for.

    Raises:
        RecipeError: a name is unknown, an object is missing, or this machine lacks the GPUs that were asked for.
        SpaceError: the space breaks the rules of spaces, or its shared weights do not fit its modules.
        DataError: the data set cannot be used.
        TargetError: the target cannot measure what was asked for, or no Ray answers at the address.
    """
    check_given(recipe, space, task, train)
    function = function_of(recipe, train)
    with contextlib.ExitStack() as undo:
        by_task = recipe.space.name == AUTO
        apart = None if by_task or not instruments.looks_apart else look_apart_of(recipe, space, progress, undo)
        _check_plug_ins(recipe)
        check_execution(recipe)
        if recipe.evaluate == "table":
            recipe = with_default_space(recipe, None) if by_task else recipe
            resolved = _resolve_table(recipe, space, task, progress, apart)
        else:
            resolved = _resolve_models(recipe, space, task, instruments, progress, apart, undo)
        _try_sampler(recipe, resolved)
        first_of(resolved.space)  # it may hold no architectures of the space
        undo.pop_all()
    recipe = with_executor(resolved.recipe, resolved.space, function, progress.say)
    return replace(resolved, recipe=recipe, function=function, device=instruments.device_of(recipe.parsed_target))


def look_apart_of(
    recipe: Recipe, given: GivenSpace | None, progress: Progress, undo: contextlib.ExitStack
) -> LookApart | None:
    """Start the process in which a user's own space runs first; None for a space that comes with the project.

    ``undo`` closes it.
    """
    name, limit_s = recipe.space.name, recipe.execution.first_look_limit_s
    if given is None:
        plug_in_path("nas.search_spaces", name, "search space")  # an impossible name needs no process
        options = recipe.space.options
        named = code_named("nas.search_spaces", name, options, "search space") if name == JOINED else [name]
        if not any(is_own("nas.search_spaces", each) for each in named):
            return None
        look = LookApart(name, limit_s, progress.say)
        undo.callback(look.close)
        return look
    name = (given if isinstance(given, type) else type(given)).__qualname__
    if isinstance(given, type):
        check_space_class(given, name)
    try:
        with own_code():
            pickled = cloudpickle.dumps(given)
    except Exception as error:
        progress.say(STRANDED + raised_text(error))
        return None
    look = LookApart(name, limit_s, progress.say, pickled)
    undo.callback(look.close)
    return look


def _resolve_models(
    recipe: Recipe,
    space: GivenSpace | None,
    task: Task | None,
    instruments: Instruments,
    progress: Progress,
    apart: LookApart | None,
    undo: contextlib.ExitStack,
) -> Resolved:
    check_gpus(recipe)
    written = recipe
    source = source_of(recipe, task)
    benches = benches_of(recipe, instruments.given_benches(recipe), progress, instruments.device_of)
    loaded = source.load(progress)
    signature = loaded.signature
    if recipe.space.name == AUTO:
        recipe = with_default_space(recipe, loaded)
        apart = look_apart_of(recipe, None, progress, undo) if instruments.looks_apart else None
    made, look = made_space(recipe, space, signature, apart, progress, instruments.stopwatch)
    if isinstance(made, RowSpace):
        raise RecipeError('rows of a table are looked up, so a nas.RowSpace needs evaluate = "table" in the recipe.')
    if space is None and apart is None:
        check_suits(made, recipe.space.name, signature)
    if recipe.trials and recipe.evaluate in ("train", OPEN):
        check_start(made)
    if recipe.evaluate == "supernet":
        _check_shares_weights(made, recipe, loaded)
    made, look = with_training_choices(recipe, made, look, progress.say)
    complete = with_training_defaults(recipe, written, loaded, made)
    for settings in (training_settings(complete), retraining_settings(complete)):
        check_training(made, settings, loaded)
    check_inputs(made, loaded)
    tell_ignored(made, look, signature, progress)
    check_parent(recipe, made)
    formats = {bench.model_format for bench in benches.values()}
    check_parent_exports(made, signature, recipe.parsed_target.batch, formats)
    check_metrics(recipe, loaded)
    store = MeasurementStore(home(), fresh=not recipe.measuring.reuse)
    measurer = measurer_of(recipe, made, look, signature, benches, store, source)
    made, look = with_precision_choice(recipe, made, look)
    models = TrainedModels(loaded, source.pinned(), benches, teacher_of(recipe, signature, made))
    return Resolved(recipe, made, look, signature, measurer, models, store=store)


def measurer_of(
    recipe: Recipe,
    space: SearchSpace,
    look: FirstLook,
    signature: Signature,
    benches: Mapping[str, Bench],
    store: MeasurementStore,
    source: DataSource,
) -> Measurer:
    """Return what measures architectures on the benches of all targets, each in its own precision if that is a choice.

    ``space`` is without that choice, and ``look`` looks at it. ``source`` has the items on which int8 is calibrated.
    """
    batch = recipe.parsed_target.batch
    measurers = {
        name: Surroundings(space, bench, signature, batch, store, look, source) for name, bench in benches.items()
    }
    several = recipe.precisions or recipe.further_targets
    return OnEachTarget(measurers, bool(recipe.precisions)) if several else next(iter(measurers.values()))


def described(recipe: Recipe, resolved: Resolved) -> list[str]:
    """Return sentences about the data, the space and what measures: everything that a recipe's names stand for."""
    precisions = len(recipe.precisions) or 1
    networks, all_of_them = count(device_space(resolved.space)) // precisions, count(resolved.space) // precisions
    ways = f", {all_of_them:,} with their ways of training" if all_of_them > networks else ""
    return [
        *resolved.backend.data_lines,
        *data_warnings(resolved),
        f"space: {recipe.space.name}, {networks:,} architectures{ways}",
        *([] if resolved.function is None else [f"training: {resolved.function.in_words}"]),
        *resolved.backend.target_lines(resolved.recipe),
    ]


def data_warnings(resolved: Resolved) -> list[str]:
    """Return a line for each reason to doubt results that lies in the data or a training function.

    Notes follow: how data were read where that was guessed, and on the space, such as what it leaves out.
    """
    own = () if resolved.function is None else resolved.function.warnings
    task = resolved.backend.task
    notes = [*own, *(() if task is None else task.readings), *notes_of(resolved.space)]
    return [*(f"warning: {warning}" for warning in resolved.backend.warnings), *(f"note: {note}" for note in notes)]


def _check_plug_ins(recipe: Recipe) -> None:
    """Check that the sampler and the predictor exist and take their options, and that a prior has a use."""
    predictor, sampler = load_predictor(recipe.predictor.name), load_sampler(recipe.sampler.name)
    check_options(predictor, recipe.predictor.options, recipe.predictor.name, "predictor", PREDICTOR_ARGUMENTS)
    check_options(sampler, recipe.sampler.options, recipe.sampler.name, "sampler", SAMPLER_ARGUMENTS)
    prior = recipe.prior if recipe.prior != "none" else ", ".join(recipe.table.prior)
    if prior and not getattr(sampler, "takes_prior", False):
        raise RecipeError(
            f'a prior needs a sampler that learns from it, but got prior "{prior}" with sampler '
            f'"{recipe.sampler.name}". Set sampler=gp, or leave the prior out.'
        )


def _try_sampler(recipe: Recipe, resolved: Resolved) -> None:
    """Make the sampler once, because it may refuse the value of an option. Raises RecipeError if it does."""
    describer = Describer(resolved.space, resolved.look.layers)
    make_sampler(recipe.sampler.name, recipe.sampler.options, Beforehand(describer), _accept_all, seed=0)


def _accept_all(architectures: Sequence[Architecture]) -> npt.NDArray[np.bool_]:
    return np.ones(len(architectures), dtype=np.bool_)


def made_space(
    recipe: Recipe,
    given: GivenSpace | None,
    signature: Signature,
    apart: LookApart | None,
    progress: Progress,
    stopwatch: Clock = time.monotonic,
) -> tuple[SearchSpace, FirstLook]:
    """Return the space, and what looks at its architectures. It is made here after it was made ``apart``."""
    name = recipe.space.name
    options = {} if given is not None else with_table(name, recipe.space.options, recipe.table.path)
    if apart is not None:
        is_class, builds = given is None or isinstance(given, type), recipe.evaluate != "table"
        try:
            apart.make(options, signature, is_class=is_class, builds=builds)
        except StrandedSpaceError as error:
            apart.close()
            apart = None
            progress.say(f"{STRANDED}{error}")
    if given is None:
        made = load_space(name, options, signature)
    elif isinstance(given, type):
        made = make_space(given, given.__qualname__, options, signature)
    else:
        check_space(given)
        made = given
    if apart is not None:
        apart.check_same(made)
    return made, apart or LookHere(made, signature, stopwatch)


def _resolve_table(
    recipe: Recipe, space: GivenSpace | None, task: Task | None, progress: Progress, apart: LookApart | None
) -> Resolved:
    """Return the same for a run that looks everything up: it loads no data set and measures nothing."""
    check_error_alone(recipe, "a table has errors alone")
    if task is not None:
        raise RecipeError("with evaluate = 'table' nothing is trained, so data=… has no use: leave it out.")
    signature = image_signature(recipe.table.input_shape, recipe.table.classes)
    made, look = with_training_choices(recipe, *made_space(recipe, space, signature, apart, progress), progress.say)
    check_parent(recipe, made)
    table = SearchedTable(recipe.table, made)
    metrics = measured_metrics(recipe.parsed_objectives, recipe.parsed_limits)
    check_has_layers(made, recipe)
    table.check(metrics)
    for doubt in table.doubts(metrics):
        progress.say(doubt)
    return Resolved(recipe, made, look, signature, table, table)


def _check_shares_weights(space: SearchSpace, recipe: Recipe, task: Task) -> None:
    """Check that a space has shared weights that fit the modules which it builds.

    Raises:
        RecipeError: it has none.
        SpaceError: they do not fit.
    """
    if not isinstance(space, HasSupernet):
        raise RecipeError(
            f'evaluate = "supernet" takes a space whose architectures share weights, but {recipe.space.name!r} has no '
            'method supernet(). Write one, choose another space, or evaluate by "train" or "zero-cost".'
        )
    if recipe.search_time_s is not None and parents_space(space) is None:
        raise RecipeError(
            'search_time_s cannot be kept with evaluate "supernet" where no parent is tuned, because weights that '
            f"begin at random are trained for all of their epochs. Leave the time out, and set supernet.epochs "
            f"({recipe.supernet.epochs}) and trials instead."
        )
    check_supernet(space, task.signature)
