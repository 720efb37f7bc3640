"""Measuring a few candidates of a run on a target, so that all can be predicted and the front is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from nas.errors import RecipeError, TargetError
from nas.hardware.bench import Bench
from nas.hardware.devices.device import Device
from nas.hardware.measuring import KEPT, Measurer
from nas.prediction.predictor import MIN_SAMPLES
from nas.progress import Progress
from nas.results.solved import SolvedPoint
from nas.searching.resolving import Instruments
from nas.searching.solving.choosing import first_choice, next_choice
from nas.searching.solving.knowledge import Knowledge
from nas.searching.solving.later_measurements import KeptMeasurements, own_fingerprint
from nas.searching.solving.predicting import Predicting, profiled_before, recounted, sources_of
from nas.searching.solving.request import Asked
from nas.searching.solving.space_and_bench import (
    SpaceAgain,
    check_same_device,
    check_table_is_the_same,
    fingerprint_of,
    is_same_device,
    measurer_of,
    solving_benches,
    space_again,
)
from nas.searching.user_inputs.objects import GivenData, GivenSpace, task_of
from nas.space.parts.encoding import encode
from nas.tables.interruption import noting_how_to_continue

BATCHES = 3
"""Measurements that follow the first ones come in this many batches, each after a new fit."""
ATTEMPTS = 3
"""The number of times that others are chosen to replace first measurements that failed."""


def measured_and_predicted(
    asked: Asked,
    *,
    space: GivenSpace | str | None,
    data: GivenData | None,
    trust: bool,
    fresh: bool,
    progress: Progress,
    instruments: Instruments | None,
) -> Knowledge:
    """Measure a few candidates on the target that is asked for, and return what is then known of all.

    Raises:
        RecipeError: too few may be measured; the space or code of its own is missing; the table lacks a column.
        TargetError: the target cannot be measured here, or too few candidates could be.
        JournalError: the device, the versions or the table have changed since the run; or a row cannot be kept.
    """
    instruments = instruments or Instruments()
    task = task_of(data)
    benches: dict[str, Bench] = {}
    if asked.target is not None and not asked.is_of_table:
        benches = solving_benches(asked, task, instruments, progress)
    is_new = _is_new(asked, benches, instruments.device)
    run, recipe = asked.run, asked.recipe
    knowledge = Knowledge(run, on_its_target=not is_new)
    knowledge.fingerprint = fingerprint_of(benches) if benches else None
    fingerprint = knowledge.fingerprint if is_new else own_fingerprint(run)
    kept = KeptMeasurements(run.run_folder, recipe.measured_on, fingerprint, recipe.to_toml(), instruments.clock)
    knowledge.add_kept(kept.rows())
    recounts = is_new and not asked.is_of_table and (asked.measures(knowledge) or asked.models)
    if not asked.measures(knowledge) and not recounts:
        return knowledge
    _check_budget(asked, knowledge)
    with space_again(asked, space, trust, progress) as again:
        if recounts:
            knowledge.recount(recounted(recipe, again, knowledge.parts, instruments.device))
        if not asked.measures(knowledge):
            return knowledge
        if not benches and not asked.is_of_table:
            benches = solving_benches(asked, task, instruments, progress)
        if benches and not is_new:
            knowledge.fingerprint = fingerprint_of(benches)
            check_same_device(run, recipe, knowledge.fingerprint, instruments.device)
        measurer = measurer_of(asked, again, benches, task, fresh=fresh)
        check_table_is_the_same(asked, measurer)
        own = Knowledge(run, on_its_target=True)
        reuse = recipe.measuring.reuse and not fresh
        sources = sources_of(own if is_new else None, run, asked.metrics, again, measurer, reuse=reuse)
        predicting = Predicting(recipe, again, sources, profiled_before(again, measurer, reuse=reuse))
        with noting_how_to_continue(fresh):
            _Measuring(asked, knowledge, kept, again, measurer, predicting, own, progress).run()
    return knowledge


def _is_new(asked: Asked, benches: Mapping[str, Bench], device: Device) -> bool:
    """Return True if values of the run's own target are of no use but to learn from."""
    if asked.is_of_table:
        return asked.recipe.measured_on != asked.run.recipe.measured_on
    return bool(benches) and not is_same_device(asked.run, asked.recipe, fingerprint_of(benches), device)


def _check_budget(asked: Asked, knowledge: Knowledge) -> None:
    lacking = asked.lacking(knowledge)
    fewest, budget = min(MIN_SAMPLES, len(knowledge.parts)), asked.budget(knowledge)
    if lacking and max(budget, len(knowledge.kept)) < fewest:
        raise RecipeError(
            f"--measure must be at least {fewest}, but got {budget}: {' and '.join(lacking)} is unknown on "
            f"{asked.recipe.measured_on}, and a predictor learns it from that many measurements."
        )


@final
class _Measuring:
    """Measures candidates up to the budget, in batches, and predicts the others after each of them."""

    def __init__(
        self,
        asked: Asked,
        knowledge: Knowledge,
        kept: KeptMeasurements,
        again: SpaceAgain,
        measurer: Measurer,
        predicting: Predicting,
        own: Knowledge,
        progress: Progress,
    ) -> None:
        self._asked = asked
        self._knowledge = knowledge
        self._kept = kept
        self._again = again
        self._measurer = measurer
        self._predicting = predicting
        self._own = own
        self._progress = progress
        self._budget = asked.budget(knowledge)

    def run(self) -> None:
        """Measure a few that represent the front, predict all, and measure what would most change the front."""
        asked, knowledge, metrics = self._asked, self._knowledge, self._asked.metrics
        for _ in range(ATTEMPTS):
            missing = MIN_SAMPLES - sum(knowledge.has_measured(part, metrics) for part in knowledge.parts)
            count = min(self._left, max(missing, -(-self._budget // 2) - len(knowledge.kept)))
            if missing <= 0 or count <= 0:
                break
            self._measure(self._first(count))
        self._check_enough()
        self._predicting.predict(knowledge, metrics)
        batch = max(1, -(-self._left // BATCHES))
        while left := self._left:
            points = [point for point in knowledge.points() if all(point.has(name) for name in metrics)]
            chosen = next_choice(points, asked.objectives, asked.limits, metrics, min(batch, left))
            if not chosen:
                break
            self._measure(chosen)
            self._predicting.predict(knowledge, metrics)
        knowledge.told += self._predicting.tell()

    @property
    def _left(self) -> int:
        """How many architectures may still be measured."""
        knowledge, metrics = self._knowledge, self._asked.metrics
        done = sum(knowledge.has_measured(part, metrics) or part in knowledge.failed for part in knowledge.kept)
        return max(0, self._budget - done)

    def _first(self, count: int) -> list[SolvedPoint]:
        """Return candidates to measure before anything can be predicted."""
        asked, knowledge = self._asked, self._knowledge
        points = [point for point in knowledge.points() if not point.is_measured(asked.metrics)]
        likely = {point.architecture: _likely_cost(point, asked.metrics) for point in self._own.points()}
        return first_choice(
            [point for point in points if point.architecture in likely],
            asked.objectives,
            asked.limits,
            likely,
            lambda architectures: encode(self._again.space, architectures),
            count,
            np.random.default_rng((asked.recipe.seed, 11, len(knowledge.kept))),
        )

    def _measure(self, points: Sequence[SolvedPoint]) -> None:
        """Measure candidates together, keep the rows, and take them in. Predictions from before stay beside them."""
        knowledge = self._knowledge
        by_part = {knowledge.part(point.architecture): point for point in points}
        rows = self._measurer.rows(
            [point.architecture for point in by_part.values()],
            self._asked.metrics,
            round_number=0,
            rng=np.random.default_rng((self._asked.recipe.seed, 12, len(knowledge.kept))),
            progress=self._progress,
        )
        before = {point.architecture: point.predicted for point in by_part.values()}
        rows = [row if row.failed else replace(row, predicted=before[row.architecture]) for row in rows]
        self._kept.append(*rows)
        knowledge.add_kept(rows)
        knowledge.newly_measured += sum(KEPT not in row.details for row in rows)

    def _check_enough(self) -> None:
        """Check that every metric can be predicted, or was measured of all. Raises TargetError if not."""
        knowledge = self._knowledge
        for name in self._asked.metrics:
            samples = sum(name in knowledge.measured.get(part, {}) for part in knowledge.parts)
            if samples < min(MIN_SAMPLES, len(knowledge.parts)) or not knowledge.parts:
                reasons = list(knowledge.failed.values())
                last = f" The last one: {reasons[-1]}" if reasons else ""
                raise TargetError(
                    f"a predictor of {name} needs {MIN_SAMPLES} measured architectures, but {samples} could be "
                    f"measured on {self._asked.recipe.measured_on} and {len(reasons)} failed.{last}"
                )


def _likely_cost(point: SolvedPoint, metrics: Sequence[str]) -> float:
    """Return a cost that orders candidates before anything is measured: on the run's own target, else by counts."""
    for name in (*metrics, "latency_ms", "macs", "params"):
        if point.has(name):
            return point.value(name)
    return 0.0
