"""Where a run is solved: its space again, and the device or the table's column that values come from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from nas.errors import JournalError, RecipeError
from nas.hardware.bench import Bench, target_part
from nas.hardware.devices.device import Device
from nas.hardware.latency_rounds import BenchSettings
from nas.prediction.measured_run import check_trusted, code_in, signature_of_run
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.results.bundle import GIVEN
from nas.results.run import Run
from nas.searching.backend import NothingTrained
from nas.searching.instruments import Instruments
from nas.searching.precisions.benches import benches_of
from nas.searching.precisions.choosing import with_precision_choice
from nas.searching.precisions.measuring import fingerprint_of_all
from nas.searching.resolving import Resolved, look_apart_of, made_space
from nas.searching.user_inputs.objects import GivenSpace
from nas.searching.user_inputs.training_choices import with_training_choices
from nas.space.first_look import FirstLook
from nas.space.search_space import SearchSpace, choices_hash
from nas.space.signature import Signature
from nas.storage.home import home
from nas.storage.journal import read_rows
from nas.storage.journal_rows import BenchUsed
from nas.storage.measurement_store import MeasurementStore
from nas.tables.table_evaluation import SearchedTable
from nas.tasks.task import Task

if TYPE_CHECKING:
    from nas.searching.solving.request import Asked


@final
@dataclass(frozen=True)
class SpaceAgain:
    """The space of a finished run, made again, and what looks at its architectures.

    ``plain`` is the space without the choice of a precision, which measuring knows nothing of.
    """

    space: SearchSpace
    look: FirstLook
    plain: SearchSpace
    plain_look: FirstLook
    signature: Signature


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
        if isinstance(given, str):
            options = {} if recipe.space.name == GIVEN else recipe.space.options
            section = recipe.space.model_copy(update={"name": given, "options": options})
            recipe, given = recipe.model_copy(update={"space": section}), None
        apart = look_apart_of(recipe, None, progress, held) if given is None else None
        made, look = made_space(recipe, given, signature, apart, progress)
        plain, plain_look = with_training_choices(recipe, made, look, progress.say)
        space, look = with_precision_choice(recipe, plain, plain_look)
        _check_same_choices(asked.run, space)
        yield SpaceAgain(space, look, plain, plain_look, signature)


def _check_same_choices(run: Run, space: SearchSpace) -> None:
    recorded = run.notes.get("space", {}).get("choices")
    if recorded is not None and choices_hash(space) != recorded:
        raise RecipeError(
            f"the space must have the choices that the run {run.run_folder} searched, but it has others. Bring back "
            "the code of that time, or start a new run."
        )


def benches_again(
    asked: Asked,
    task: Task | None,
    instruments: Instruments,
    progress: Progress,
    *,
    metrics: Sequence[str] | None = None,
    settings: BenchSettings | None = None,
) -> dict[str, Bench]:
    """Return the bench of each of the targets and precisions that are asked for: one, unless the run has several.

    They measure ``metrics``, by default those that are asked for, with the run's ``settings`` unless others are given.

    Raises:
        RecipeError: an unknown runtime, or an int8 target whose training items are not there.
        TargetError: the target cannot measure here what is asked for.
    """
    recipe = asked.recipe
    precisions = {target.precision for target in recipe.measured_targets.values()}
    if "int8" in precisions and recipe.data.name == GIVEN and task is None:
        raise RecipeError(
            "an int8 model finds its ranges on training items, and the run was given its data as an object: pass "
            "data=… again."
        )
    given = instruments.given_benches(recipe)
    return benches_of(recipe, given, progress, instruments.device_of, metrics=metrics, settings=settings)


def fingerprint_of(benches: Mapping[str, Bench]) -> str | None:
    """Return the fingerprint of a target, or one of all precisions of it; None if it must not be kept."""
    return fingerprint_of_all([bench.fingerprint for bench in benches.values()])


def is_same_device(run: Run, recipe: Recipe, fingerprint: str | None, device: Device) -> bool:
    """Return True if a fingerprint is of the target, hardware and versions that a run was measured on."""
    if recipe.measured_targets != run.recipe.measured_targets:
        return False
    used = [target_part(row.fingerprint) for row in read_rows(run.run_folder, BenchUsed)]
    if fingerprint is None or not used:
        return bool(run.notes.get("machine", {}).get("processor") == device.facts.processor)
    return target_part(fingerprint) in used


def is_further_device(run: Run, on: str, fingerprint: str | None) -> bool:
    """Return True if a fingerprint is of the hardware and versions of a run's further target, by its name."""
    used = [row.targets[on] for row in read_rows(run.run_folder, BenchUsed) if on in row.targets]
    return fingerprint is not None and target_part(fingerprint) in set(map(target_part, used))


def check_same_device(run: Run, recipe: Recipe, fingerprint: str | None, device: Device) -> None:
    """Check that further measurements compare with those of the run. Raises JournalError if they do not."""
    if not is_same_device(run, recipe, fingerprint, device):
        raise JournalError(
            f"measurements that are added to the run's own must be of the same device and versions, but those of "
            f"{recipe.target} have changed since {run.run_folder} was measured. To solve the run for the device as it "
            f"is now, name it: --target {recipe.target}."
        )


def resolved_again(
    asked: Asked, again: SpaceAgain, benches: Mapping[str, Bench], task: Task | None, device: Device, *, fresh: bool
) -> Resolved:
    """Return a search of the run's space that trains nothing. It measures on the benches, or looks a table up.

    ``task`` is the data, if they were passed as an object. With ``fresh``, kept measurements are ignored. Raises as
    ``table_again`` does.
    """
    recipe = asked.recipe
    store = MeasurementStore(home(), fresh=fresh or not recipe.measuring.reuse)
    measurer = asked.place.measurer(asked, again, benches, store, task)
    backend = NothingTrained(benches=benches)
    return Resolved(recipe, again.space, again.look, again.signature, measurer, backend, store, device=device)


def table_again(asked: Asked, space: SearchSpace) -> SearchedTable:
    """Return the table from which values are looked up.

    Raises:
        RecipeError: it has no such device, or lacks a metric.
        JournalError: it has changed since the run read it.
    """
    table = SearchedTable(asked.recipe.table, space)
    table.check(asked.metrics)
    recorded = asked.run.notes.get("table", {}).get("fingerprint")
    if recorded not in (None, table.facts["fingerprint"]):
        raise JournalError(
            f"values are looked up in the table that the run used, but {table.name} has changed since. Bring it "
            "back, or start a new run."
        )
    return table
