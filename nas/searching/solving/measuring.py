"""Measuring a few candidates of a run on a target, so that all can be predicted and the front is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from nas.errors import RecipeError, RepeatedFailureError, TargetError
from nas.hardware.bench import Bench
from nas.hardware.devices.device import Device
from nas.prediction.predictor import MIN_SAMPLES
from nas.progress import Progress
from nas.results.run import Run
from nas.results.solved import SolvedPoint
from nas.searching.fitting import Fitting, held_out_text
from nas.searching.instruments import Instruments
from nas.searching.selection import worth_measuring
from nas.searching.solving.choosing import first_choice
from nas.searching.solving.later_measurements import later_folder, later_journal, later_rows, own_fingerprint
from nas.searching.solving.request import Asked
from nas.searching.solving.seeded import Seeded, seeded
from nas.searching.solving.space_and_bench import (
    check_same_device,
    fingerprint_of,
    is_further_device,
    is_same_device,
    resolved_again,
    space_again,
)
from nas.searching.state import RunState, beliefs_of, cost_of
from nas.searching.user_inputs.objects import GivenData, GivenSpace, task_of
from nas.space.architecture import Architecture
from nas.space.parts.encoding import encode
from nas.storage.measurement_store import space_identity
from nas.tables.interruption import noting_how_to_continue
from nas.values.evaluation import KEPT
from nas.values.other_target import Source

BATCHES = 3
"""Measurements that follow the first ones come in this many batches, each after a new fit."""
ATTEMPTS = 3
"""The number of times that others are chosen to replace first measurements that failed."""


def measured_and_predicted(
    asked: Asked,
    space: GivenSpace | str | None,
    data: GivenData | None,
    progress: Progress,
    instruments: Instruments | None = None,
    *,
    trust: bool = False,
    fresh: bool = False,
) -> Seeded:
    """Measure a few candidates on the target that is asked for, and return what is then known of all.

    Raises:
        RecipeError: too few may be measured; the space or code of its own is missing; the table lacks a column.
        TargetError: the target cannot be measured here, or too few candidates could be.
        JournalError: the device, the versions or the table have changed since the run; or a row cannot be kept.
    """
    instruments = instruments or Instruments()
    run, recipe = asked.run, asked.recipe
    device = instruments.device_of(recipe.parsed_target)
    task = task_of(data, run.recipe.data)
    benches: dict[str, Bench] = {}
    if asked.target is not None:
        benches = asked.place.benches(asked, task, instruments, progress)
    is_new = _is_new(asked, benches, device)
    fingerprint = fingerprint_of(benches) if benches else None
    is_own = not is_new and not asked.on
    folder = later_folder(run.run_folder, recipe.measured_on, own_fingerprint(run) if is_own else fingerprint)
    known = replace(seeded(run, is_new=is_new, on=asked.on, later=later_rows(folder)), fingerprint=fingerprint)
    recounts = not is_own and asked.place.counts_by_target and (asked.measures(known) or asked.models)
    if not asked.measures(known) and not recounts:
        return known
    _check_budget(asked, known)
    with space_again(asked, space, trust, progress) as again:
        if not benches:
            benches = asked.place.benches(asked, task, instruments, progress)
        if benches and is_own:
            known = replace(known, fingerprint=fingerprint_of(benches))
            check_same_device(run, recipe, known.fingerprint, device)
        resolved = resolved_again(asked, again, benches, task, device, fresh=fresh)
        if not asked.measures(known):
            return known.believed(beliefs_of(recipe, resolved, known.seed_rows), is_counted=recounts)
        cost = cost_of(recipe, resolved, instruments.stopwatch)
        with noting_how_to_continue(fresh), later_journal(folder, recipe.to_toml(), instruments.clock) as journal, cost:
            state = RunState(recipe, resolved, journal, progress, instruments.stopwatch, cost, known.search_rows)
            return _Measuring(asked, known, state, is_counted=recounts).run()


def _is_new(asked: Asked, benches: Mapping[str, Bench], device: Device) -> bool:
    """Return True if values of the run's own targets are of no use but to learn from."""
    if asked.on:
        return not is_further_device(asked.run, asked.on, fingerprint_of(benches))
    if asked.recipe.measured_on != asked.run.recipe.measured_on:
        return True
    return bool(benches) and not is_same_device(asked.run, asked.recipe, fingerprint_of(benches), device)


def _check_budget(asked: Asked, known: Seeded) -> None:
    lacking = asked.lacking(known)
    fewest, budget = min(MIN_SAMPLES, known.parts(known.points)), asked.budget(known)
    if lacking and max(budget, len(known.measured_later)) < fewest:
        raise RecipeError(
            f"--measure must be at least {fewest}, but got {budget}: {' and '.join(lacking)} is unknown on "
            f"{asked.recipe.measured_on}, and a predictor learns it from that many measurements."
        )


@final
class _Measuring:
    """Measures candidates up to the budget, in batches, and predicts the others after each of them.

    ``known`` is what the ``state`` was seeded with. With ``is_counted``, counted values are those of the target.
    """

    def __init__(self, asked: Asked, known: Seeded, state: RunState, *, is_counted: bool) -> None:
        self._asked = asked
        self._known = known
        self._state = state
        self._is_counted = is_counted
        self._budget = asked.budget(known)
        self._before = len(state.beliefs.rows)
        sources = _own_sources(asked.run, asked.metrics) if known.is_new else {}
        self._fitting = Fitting(state, sources=sources, before=math.inf, say=lambda sentence: None)

    def run(self) -> Seeded:
        """Measure a few that represent the front, predict all, and measure what would most change the front.

        What was measured on this target before is taken at first. What is free to look up is looked up all together.
        """
        metrics = self._asked.metrics
        self._measure(self._measured_before())
        known = self._now()
        rest = self._unmeasured(known)
        if self._asked.place.is_free and known.parts(rest) <= self._left(known):
            self._measure([point.architecture for point in rest])
        for _ in range(ATTEMPTS):
            known = self._now()
            missing = MIN_SAMPLES - known.parts(point for point in known.points if point.is_measured(metrics))
            count = min(self._left(known), max(missing, -(-self._budget // 2) - len(known.measured_later)))
            if missing <= 0 or count <= 0 or not self._measure(self._first(known, count)):
                break
        known = self._predicted()
        batch = max(1, -(-self._left(known) // BATCHES))
        while left := self._left(known):
            chosen = self._next(known, min(batch, left))
            if not chosen or not self._measure(chosen):
                break
            known = self._predicted()
        told = (f"{name} predictor, {held_out_text(found)}." for name, found in self._fitting.held_out.items())
        new = sum(KEPT not in row.details for row in self._state.beliefs.rows[self._before :])
        return replace(known, told=tuple(told), newly_measured=new)

    def _now(self) -> Seeded:
        """Return what is known, with everything measured so far."""
        later = self._state.beliefs.rows[len(self._known.search_rows) :]
        return replace(self._known, later=tuple(later)).believed(self._state.beliefs, is_counted=self._is_counted)

    def _measured_before(self) -> list[Architecture]:
        """Return the candidates whose measurements on this target are kept, and not in the run's folder yet."""
        resolved = self._state.resolved
        fingerprint = resolved.measurer.fingerprint
        rest = [point.architecture for point in self._unmeasured(self._now())]
        if fingerprint is None or resolved.store is None or not rest:
            return []
        identity = space_identity(resolved.space, resolved.signature)
        kept = [resolved.store.kept(fingerprint, identity, name) for name in self._asked.metrics]
        return [each for each in rest if all(self._known.part(each) in found for found in kept)]

    def _unmeasured(self, known: Seeded) -> list[SolvedPoint]:
        return [point for point in known.points if not point.is_measured(self._asked.metrics)]

    def _left(self, known: Seeded) -> int:
        """Return how many architectures may still be measured. What was measured before the call costs nothing."""
        measured = {known.part(point.architecture) for point in known.points if point.is_measured(self._asked.metrics)}
        anew = known.measured_later - known.kept_later
        return max(0, self._budget - len(anew & {*measured, *known.failed}))

    def _first(self, known: Seeded, count: int) -> list[Architecture]:
        """Return candidates to measure before anything can be predicted."""
        asked, space = self._asked, self._state.resolved.space
        own = seeded(asked.run, is_new=False).points
        likely = {point.architecture: _likely_cost(point, asked.metrics) for point in own}
        chosen = first_choice(
            [point for point in known.points if point.architecture in likely and not point.is_measured(asked.metrics)],
            asked.objectives,
            asked.limits,
            likely,
            lambda architectures: encode(space, architectures),
            count,
            np.random.default_rng((asked.recipe.seed, 11, len(known.measured_later))),
        )
        return [point.architecture for point in chosen]

    def _next(self, known: Seeded, count: int) -> Sequence[Architecture]:
        """Return candidates whose measurement would most change the front; if none can meet the limits, the nearest."""
        beliefs, limits = self._state.beliefs, self._asked.limits
        trained = [limit for limit in limits if limit.metric.source == "trained"]
        fitting = {point.architecture for point in known.points if not point.broken(trained)}
        built = (row for row in beliefs.candidates if beliefs.describer.can_be_built(row.architecture))
        chosen = worth_measuring(beliefs, [row for row in built if row.architecture in fitting], (), count)
        if chosen or any(point.meets(limits, surely=False) for point in known.points):
            return chosen
        unmeasured = self._unmeasured(known)
        return [point.architecture for point in sorted(unmeasured, key=lambda each: each.excess(limits))[:count]]

    def _measure(self, architectures: Sequence[Architecture]) -> bool:
        """Measure candidates together. Return False if one after the other fails, so that no more should be tried."""
        try:
            self._state.measure(architectures, 0)
        except RepeatedFailureError:  # what could be measured is still of use; failures are told with it
            return False
        return True

    def _predicted(self) -> Seeded:
        """Fit the predictors again, if anything is left to predict, and return what is known then.

        Raises:
            TargetError: a metric can neither be predicted, nor was it measured of all.
        """
        known = self._now()
        parts = known.parts(known.points)
        for name in self._asked.metrics:
            samples = known.parts(point for point in known.points if name in point.measurements)
            if samples < min(MIN_SAMPLES, parts) or not parts:
                reasons = list(known.failed.values())
                last = f" The last one: {reasons[-1]}" if reasons else ""
                raise TargetError(
                    f"a predictor of {name} needs {MIN_SAMPLES} measured architectures, but {samples} could be "
                    f"measured on {self._asked.recipe.measured_on} and {len(reasons)} failed.{last}"
                )
        if all(point.is_measured(self._asked.metrics) for point in known.points):
            return known
        self._fitting.fit(0)
        return self._now()


def _own_sources(run: Run, metrics: Sequence[str]) -> dict[str, Source]:
    """Return by metric what a run measured on its own target, to learn from for another one."""
    own, sources = seeded(run, is_new=False), {}
    for name in metrics:
        measured = {own.part(each.architecture): each.measurements.get(name) for each in own.records}
        # Predictors learn logarithms.
        values = {part: found.median for part, found in measured.items() if found is not None and found.median > 0}
        if len(values) >= MIN_SAMPLES:
            sources[name] = Source(run.recipe.measured_on, list(values), np.array(list(values.values())))
    return sources


def _likely_cost(point: SolvedPoint, metrics: Sequence[str]) -> float:
    """Return a cost that orders candidates before anything is measured: on the run's own target, else by counts."""
    for name in (*metrics, "latency_ms", "macs", "params"):
        if point.has(name):
            return point.value(name)
    return 0.0
