"""Predicting a run's candidates on a target from a few measurements there and from those of the run's own target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import final

import numpy as np

from nas.errors import CandidateError
from nas.hardware.devices.device import Device
from nas.hardware.energy_model import MemoryHierarchy
from nas.hardware.measuring import Measurer
from nas.prediction.layers.earlier_profiles import apart_from, earlier_profiles
from nas.prediction.predictor import MIN_SAMPLES
from nas.recipe.recipe import Recipe
from nas.results.run import Run
from nas.searching.beliefs import counts_of
from nas.searching.fitting import fitted_predictors, held_out_text
from nas.searching.solving.knowledge import Knowledge
from nas.searching.solving.space_and_bench import SpaceAgain
from nas.space.architecture import Architecture
from nas.space.parts.training_parts import TrainingParts
from nas.storage.home import home
from nas.storage.measurement_store import MeasurementStore, space_identity
from nas.values.evaluation import PredictedValue
from nas.values.held_out import HeldOutError
from nas.values.other_target import Source
from nas.values.profiled_network import ProfiledNetwork


@final
class Predicting:
    """Fits predictors to what is known of a target, and predicts the parts of candidates.

    ``sources`` are values of other targets by metric, and ``profiled`` networks that other runs profiled on this one.
    ``held_out`` has the errors of the last fit by metric.
    """

    def __init__(
        self,
        recipe: Recipe,
        again: SpaceAgain,
        sources: Mapping[str, Sequence[Source]],
        profiled: Sequence[ProfiledNetwork],
    ) -> None:
        self._recipe = recipe
        self._again = again
        self._sources = sources
        self._profiled = profiled
        self.held_out: dict[str, HeldOutError] = {}

    def can_be_built(self, parts: Iterable[Architecture]) -> list[Architecture]:
        """Return the parts whose layers can be found."""
        return [part for part in parts if self._again.describer.can_be_built(part)]

    def predict(self, knowledge: Knowledge, metrics: Sequence[str]) -> None:
        """Predict every part that lacks a measurement of a metric, as far as there are enough samples of it."""
        missing = [part for part in knowledge.parts if not knowledge.has_measured(part, metrics)]
        missing = self.can_be_built(missing)
        if not missing:
            return
        measured = {part: found for part, found in knowledge.measured.items() if part not in knowledge.failed}
        predictors = fitted_predictors(
            self._recipe,
            self._again.describer,
            measured,
            metrics,
            lambda name: self._sources.get(name, ()),
            apart_from(self._profiled, self._again.describer, measured),
        )
        self.held_out = {name: predictor.held_out for name, predictor in predictors.items()}
        predicted: dict[Architecture, dict[str, PredictedValue]] = {part: {} for part in missing}
        for name, predictor in predictors.items():
            found = predictor.predict(missing)
            for index, part in enumerate(missing):
                predicted[part][name] = found[index]
        knowledge.predict(predicted)

    def tell(self) -> list[str]:
        """Return a sentence about the held-out error of each predictor."""
        return [f"{name} predictor, {held_out_text(found)}." for name, found in self.held_out.items()]


def sources_of(
    own: Knowledge | None, run: Run, metrics: Iterable[str], again: SpaceAgain, measurer: Measurer, *, reuse: bool
) -> dict[str, list[Source]]:
    """Return values of other targets by metric: those of the run's own target, and those kept from earlier runs.

    ``own`` is what the run knows of its own target, if that is another one than the target to predict. Kept
    measurements of both targets are left out.
    """
    own_target, known_own = run.recipe.measured_on, {} if own is None else own.measured
    found: dict[str, list[Source]] = {}
    for name in metrics:
        known = {part: each[name].median for part, each in known_own.items() if name in each}
        known = {part: value for part, value in known.items() if value > 0}
        if len(known) >= MIN_SAMPLES:
            found[name] = [Source(own_target, list(known), np.array(list(known.values())))]
        if reuse and measurer.fingerprint is not None:
            identity = space_identity(again.space, again.signature)
            stored = MeasurementStore(home()).sources(identity, name, without={measurer.fingerprint})
            found.setdefault(name, []).extend(each for each in stored if each.target != own_target)
    return found


def profiled_before(again: SpaceAgain, measurer: Measurer, *, reuse: bool) -> list[ProfiledNetwork]:
    """Return networks that were profiled on the target so far; none without ``reuse``."""
    if not reuse:
        return []
    identity = space_identity(again.space, again.signature)
    store = MeasurementStore(home())
    return earlier_profiles(store, measurer.fingerprint, identity, again.describer, before=math.inf)


def recounted(
    recipe: Recipe, again: SpaceAgain, parts: Iterable[Architecture], device: Device
) -> dict[Architecture, dict[str, float]]:
    """Return the counted and modelled values of parts for another target of a device; none for what cannot be built."""
    hierarchy = MemoryHierarchy.of_device(device.facts.cache_bytes)
    precision_of = TrainingParts(again.space).precision_of
    found = {}
    for part in parts:
        try:
            precision = precision_of(part) or recipe.parsed_target.precision
            found[part] = counts_of(again.describer.layers(part), precision, hierarchy)
        except CandidateError:
            continue
    return found
