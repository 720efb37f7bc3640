"""The measurements of a run, as the trust report of a predictor takes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from nas.errors import JournalError, RecipeError, did_you_mean
from nas.prediction.layers.earlier_profiles import apart_from, earlier_profiles
from nas.prediction.next_measurements import pool_of
from nas.prediction.operator_fusion import as_executed
from nas.prediction.samples import MeasuredDevice
from nas.recipe.recipe import Recipe
from nas.recipe.recorded import recorded_recipe
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.first_look import FirstLook
from nas.space.parts.candidate import PRECISION, SpaceParts
from nas.space.parts.device_parts import device_space, with_precisions, with_training
from nas.space.plug_ins import code_named
from nas.space.rules import GROUP
from nas.space.search_space import SearchSpace, choices_hash
from nas.space.signature import Signature, image_signature
from nas.storage.home import home
from nas.storage.journal import JOURNAL, RECIPE, JournalReader, began_at
from nas.storage.journal_rows import Began, BenchUsed
from nas.storage.measurement_store import MeasurementStore, space_identity
from nas.values.evaluation import Evaluation
from nas.values.indexed_rows import IndexedRows
from nas.values.measurement import Measurement
from nas.values.metric import MEASURED_METRICS, bare_name, target_in
from nas.values.other_target import Source
from nas.values.profiled_network import LATENCY, profiled_among
from nas.values.target import name_among


def recipe_of_run(folder: Path, say: Callable[[str], None]) -> Recipe:
    """Return the recipe of the run in ``folder``, and say what is wrong with its file. Raises JournalError if none."""
    if not any((folder / name).is_file() for name in (RECIPE, JOURNAL)):
        raise JournalError(f"nas predictor report takes the folder of a run or a table, but {folder} has no {RECIPE}.")
    with JournalReader(folder) as journal:
        recorded = recorded_recipe(folder, journal)
    for damage in recorded.damages:
        say(damage)
    return recorded.recipe


def check_trusted(folder: Path, names: Iterable[str], trust: bool) -> None:
    """Check that a report runs no code which somebody's run folder names. Names of installed plug-ins are no such code.

    Raises:
        RecipeError: one of ``names`` is a ``module:Name``, and nobody said that the run can be trusted.
    """
    code = [name for name in names if ":" in name]
    if code and not trust:
        raise RecipeError(
            f"the run {folder} names code of its own, {' and '.join(code)}, which this command must run. If the run "
            "is your own, or you trust who made it, say so with --trust."
        )


def code_in(recipe: Recipe) -> list[str]:
    """Return the names of code that a recipe's space must run: its own name, and what its options name, as a parent."""
    return code_named(GROUP, recipe.space.name, recipe.space.options, "search space")


def device_of_run(
    folder: Path,
    recipe: Recipe,
    space: SearchSpace,
    look: FirstLook,
    signature: Signature,
    metrics: Sequence[str],
    seed: int,
) -> MeasuredDevice:
    """Return the measurements that a run took before it chose winners.

    ``space`` is the run's search space, whose models have ``signature``, and ``look`` finds their layers. Without
    ``metrics``, all measured metrics of the first target are taken; those that are named must be of one target.
    Measurements of the same space on other targets of this machine are sources, as they were in the search.

    Raises:
        RecipeError: a space with other choices, or a metric that the run did not measure.
        JournalError: the run recorded nothing, or its journal is damaged.
    """
    with JournalReader(folder) as journal:
        began, evaluations, benches = journal.rows(Began), journal.rows(Evaluation), journal.rows(BenchUsed)
        before = began_at(journal)
        journal.check()
    if not began:
        raise JournalError(f"{folder} must hold the journal of a run, but nothing was recorded yet.")
    loaded = with_precisions(with_training(space, recipe.training.search), recipe.precisions)
    if choices_hash(loaded) != began[0].space.get("choices"):
        raise RecipeError(f"the space must have the choices that the run {folder} searched, but it has others.")
    parts, whole = SpaceParts(loaded), SpaceParts(space).candidate
    deployed = [PRECISION] if parts.precisions else []
    found = IndexedRows((row for row in evaluations if row.stage == "measure"), parts.on_device).measured
    identity = space_identity(loaded, signature)
    store = MeasurementStore(home(), fresh=not recipe.measuring.reuse)
    on, metrics = _target_of(metrics, recipe)
    measurements = {a: {bare_name(n): m for n, m in each.items() if target_in(n) == on} for a, each in found.items()}
    values = _medians(folder, measurements, metrics)
    describer = as_executed(
        Describer(device_space(loaded), lambda part: look.layers(whole(part.without(deployed)))), measurements
    )
    fingerprint = benches[-1].targets.get(on, benches[-1].fingerprint) if benches else None
    earlier = earlier_profiles(store, fingerprint, identity, describer, before=before)
    kept = {metric: each for metric, each in values.items() if not metrics or metric in metrics}
    target = str(recipe.named_targets[on]) if on else recipe.measured_on
    return MeasuredDevice(
        describer,
        target,
        kept,
        tuple(limit.on_target("") for limit in recipe.parsed_limits if limit.metric.on == on),
        _sources(target, store, identity, kept, measurements),
        {metric: pool_of(describer, each, seed) for metric, each in kept.items()},
        values.get(LATENCY, {}),
        [*profiled_among(measurements), *apart_from(earlier, describer, measurements)],
    )


def _target_of(metrics: Sequence[str], recipe: Recipe) -> tuple[str, list[str]]:
    """Return the name of the target that metrics are of, empty for the first one, and the metrics without it.

    Raises:
        RecipeError: they are of several targets, or of none that the run has.
    """
    named = {name_among(target_in(name), recipe.named_targets) if target_in(name) else "" for name in metrics}
    if len(named) > 1:
        raise RecipeError(f"a report is on one target, but got {' and '.join(metrics)}. Ask for one report each.")
    return (named or {""}).pop(), [bare_name(name) for name in metrics]


def signature_of_run(folder: Path, recipe: Recipe) -> Signature:
    """Return the signature of the models of a run. Raises JournalError if it recorded nothing, or is damaged."""
    with JournalReader(folder) as journal:
        began = journal.rows(Began)
        journal.check()
    if not began:
        raise JournalError(f"{folder} must hold the journal of a run, but nothing was recorded yet.")
    return _signature_of(recipe, began[0])


def _signature_of(recipe: Recipe, began: Began) -> Signature:
    """The signature of the models that learn the data, or else that of the table."""
    if began.data_set is None:
        return image_signature(recipe.table.input_shape, recipe.table.classes)
    match began.data_set:
        case {"signature": dict(stored)}:
            return Signature.from_json(stored)
        case {"image shape": [int(channels), int(height), int(width)], "classes": int(classes)}:  # before 0.8
            return image_signature((channels, height, width), classes)
    raise JournalError(f"the run must have recorded the signature of its models, but has {sorted(began.data_set)}.")


def _medians(
    folder: Path, measurements: Mapping[Architecture, Mapping[str, Measurement]], metrics: Sequence[str]
) -> dict[str, dict[Architecture, float]]:
    found = {
        metric: {a: each[metric].median for a, each in measurements.items() if metric in each}
        for metric in MEASURED_METRICS
    }
    values = {metric: each for metric, each in found.items() if each}
    for metric in metrics:
        if metric not in values:
            raise RecipeError(f"the run {folder} did not measure {metric!r}. {did_you_mean(metric, values)}")
    if not values:
        raise RecipeError(f"a predictor needs measured architectures, but the run {folder} has none.")
    return values


def _sources(
    target: str, store: MeasurementStore, identity: str, metrics: Iterable[str], measured: Collection[Architecture]
) -> dict[str, Sequence[Source]]:
    """Return what was measured on other targets, but of no architecture that the run measured, as in the search."""
    return {
        metric: [
            each for each in store.sources(identity, metric, without=(), apart_from=measured) if each.target != target
        ]
        for metric in metrics
    }
