"""Where a run is solved: its space again, and the device or the table's column that values come from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

from nas.errors import JournalError, RecipeError
from nas.hardware.bench import Bench, target_part
from nas.hardware.devices.device import Device
from nas.hardware.measuring import Measurer, Surroundings
from nas.prediction.measured_run import check_trusted, code_in, signature_of_run
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.results.bundle import GIVEN
from nas.results.run import Run
from nas.searching.precisions.benches import benches_of
from nas.searching.precisions.choosing import with_precision_choice
from nas.searching.precisions.measuring import InOwnPrecision, fingerprint_of_all
from nas.searching.resolving import Instruments, source_of
from nas.searching.solving.request import Asked
from nas.searching.user_inputs.objects import GivenSpace
from nas.searching.user_inputs.training_choices import with_training_choices
from nas.space.description import Describer
from nas.space.first_look import FirstLook, LookHere, load_space_apart
from nas.space.parts.device_parts import DeviceParts
from nas.space.rules import check_space
from nas.space.search_space import SearchSpace, choices_hash, make_space
from nas.space.signature import Signature
from nas.storage.home import home
from nas.storage.journal import read_rows
from nas.storage.journal_rows import BenchUsed
from nas.storage.measurement_store import MeasurementStore
from nas.tables.row_space import with_table
from nas.tables.table_evaluation import SearchedTable
from nas.tasks.task import Task


@final
@dataclass(frozen=True)
class SpaceAgain:
    """The space of a finished run, made again. ``describer`` describes the parts that devices see.

    ``plain`` is the space without the choice of a precision, which measuring knows nothing of; ``look`` looks at it.
    """

    space: SearchSpace
    plain: SearchSpace
    look: FirstLook
    signature: Signature
    describer: Describer


@contextlib.contextmanager
def space_again(asked: Asked, given: GivenSpace | str | None, trust: bool, progress: Progress) -> Iterator[SpaceAgain]:
    """Yield the run's space. ``given`` takes the place of the name in its recipe; ``trust`` lets that name's code run.

    A name that is given is trusted.

    Raises:
        RecipeError: the run was given a space object and none is given now, or code of its own is not trusted; or the
            space has other choices than the run's.
        SpaceError: the space breaks the rules.
    """
    recipe, folder = asked.recipe, asked.run.run_folder
    if given is None and recipe.space.name == GIVEN:
        raise RecipeError(
            f"the run {folder} was started with a space object, and measuring needs it again: pass space=… in Python, "
            "or name its class with --space my_module:MySpace."
        )
    check_trusted(folder, [*(code_in(recipe) if given is None else []), recipe.predictor.name], trust)
    signature = signature_of_run(folder, recipe)
    with contextlib.ExitStack() as held:
        if given is None or isinstance(given, str):
            limit_s, builds = recipe.execution.first_look_limit_s, not asked.is_of_table
            name, options = given or recipe.space.name, {} if recipe.space.name == GIVEN else recipe.space.options
            options = with_table(name, options, recipe.table.path)
            made, look = load_space_apart(name, options, signature, say=progress.say, limit_s=limit_s, builds=builds)
            held.callback(look.close)
        else:
            made = _made(given, signature)
            look = LookHere(made, signature)
        plain, look = with_training_choices(recipe, made, look, progress.say)
        space, wide_look = with_precision_choice(recipe, plain, look)
        _check_same_choices(asked.run, space)
        parts = DeviceParts(space)
        describer = Describer(parts.space, lambda part: wide_look.layers(parts.completed(part)))
        yield SpaceAgain(space, plain, look, signature, describer)


def _made(given: GivenSpace, signature: Signature) -> SearchSpace:
    if isinstance(given, type):
        return make_space(given, given.__qualname__, {}, signature)
    check_space(given)
    return given


def _check_same_choices(run: Run, space: SearchSpace) -> None:
    recorded = run.notes.get("space", {}).get("choices")
    if recorded is not None and choices_hash(space) != recorded:
        raise RecipeError(
            f"the space must have the choices that the run {run.run_folder} searched, but it has others. Bring back "
            "the code of that time, or start a new run."
        )


def solving_benches(asked: Asked, task: Task | None, instruments: Instruments, progress: Progress) -> dict[str, Bench]:
    """Return the bench of each precision of the target that is asked for: one, unless the run chose the precision.

    Raises:
        RecipeError: an unknown runtime, or an int8 target whose training items are not there.
        TargetError: the target cannot measure here what is asked for.
    """
    recipe = asked.recipe
    precisions = recipe.precisions or (recipe.parsed_target.precision,)
    if "int8" in precisions and recipe.data.name == GIVEN and task is None:
        raise RecipeError(
            "an int8 model finds its ranges on training items, and the run was given its data as an object: pass "
            "data=… again."
        )
    alone = {precisions[0]: instruments.bench} if instruments.bench is not None else {}
    return benches_of(recipe, alone or instruments.benches, progress, instruments.device)


def fingerprint_of(benches: Mapping[str, Bench]) -> str | None:
    """Return the fingerprint of a target, or one of all precisions of it; None if it must not be kept."""
    found = [bench.fingerprint for bench in benches.values()]
    return found[0] if len(found) == 1 else fingerprint_of_all(found)


def is_same_device(run: Run, recipe: Recipe, fingerprint: str | None, device: Device) -> bool:
    """Return True if a fingerprint is of the target, hardware and versions that a run was measured on."""
    if recipe.target != run.recipe.target:
        return False
    used = [target_part(row.fingerprint) for row in read_rows(run.run_folder, BenchUsed)]
    if fingerprint is None or not used:
        return bool(run.notes.get("machine", {}).get("processor") == device.facts.processor)
    return target_part(fingerprint) in used


def check_same_device(run: Run, recipe: Recipe, fingerprint: str | None, device: Device) -> None:
    """Check that further measurements compare with those of the run. Raises JournalError if they do not."""
    if not is_same_device(run, recipe, fingerprint, device):
        raise JournalError(
            f"measurements that are added to the run's own must be of the same device and versions, but those of "
            f"{recipe.target} have changed since {run.run_folder} was measured. To solve the run for the device as it "
            f"is now, name it: --target {recipe.target}."
        )


def measurer_of(
    asked: Asked, again: SpaceAgain, benches: Mapping[str, Bench], task: Task | None, *, fresh: bool
) -> Measurer:
    """Return what measures architectures of the run's space: the benches, or the table where there are none.

    Raises:
        RecipeError: the table has no such device, or lacks a metric.
    """
    recipe = asked.recipe
    if asked.is_of_table:
        table = SearchedTable(recipe.table, again.space)
        table.check(asked.metrics)
        return table
    store = MeasurementStore(home(), fresh=fresh or not recipe.measuring.reuse)
    batch, source = recipe.parsed_target.batch, source_of(recipe, task)
    measurers = {
        name: Surroundings(again.plain, bench, again.signature, batch, store, again.look, source)
        for name, bench in benches.items()
    }
    return InOwnPrecision(measurers) if recipe.precisions else next(iter(measurers.values()))


def check_table_is_the_same(asked: Asked, measurer: Measurer) -> None:
    """Check that the table holds what the run read from it. Raises JournalError if it has changed since."""
    recorded = asked.run.notes.get("table", {}).get("fingerprint")
    if isinstance(measurer, SearchedTable) and recorded not in (None, measurer.facts["fingerprint"]):
        raise JournalError(
            f"values are looked up in the table that the run used, but {measurer.name} has changed since. Bring it "
            "back, or start a new run."
        )
