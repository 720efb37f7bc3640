"""The best that is known of each architecture: measured, else predicted, else counted; and whether it meets limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import final

import numpy as np

from nas.hardware.energy_model import COUNTS, DEFAULT_HIERARCHY, MemoryHierarchy, counts_of
from nas.prediction.predictor import Predictor
from nas.searching.failures import RepeatedFailures, Unfit
from nas.space.architecture import Architecture, Option
from nas.space.description import Describer
from nas.space.first_look import FirstLook, LookHere
from nas.space.layer import TOTALS
from nas.space.parts.candidate import ByPart, Candidate, SpaceParts
from nas.space.parts.device_parts import device_space
from nas.space.parts.parents import parents_space
from nas.space.search_space import SearchSpace, whole_space
from nas.space.signature import Signature
from nas.training.whole_curves import WholeCurves
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.indexed_rows import IndexedRows
from nas.values.metric import METRICS, TRAINED
from nas.values.objective import Limit, Objective, measured_metrics, quality_of
from nas.values.pareto import FloatArray
from nas.values.target import Target


@final
class Beliefs:
    """An index over evaluation rows, with the predictors that were fitted to them and the limits of the run.

    ``add`` takes in rows, and ``rely_on`` takes new predictors. All other methods only answer: they may cache results,
    but never change an answer. A question about an architecture that cannot be built raises CandidateError.

    The questions about limits differ in the values that they use:

    - ``broken_limit``, ``probably_meets`` and ``excess_of_means``: measured medians, else predicted means, else counts.
    - ``doubtful_limits``: limits that a predicted mean meets but its bound does not; never for a measured metric.
    - ``surely_meets`` and ``excess_of_bounds``: upper bounds of measurements; ``surely_meets`` needs a measurement.

    Attributes:
        rows: all evaluations, oldest first.
        parts: makes candidates of architectures. What is measured, predicted or counted, all candidates share of which
            devices see the same part; they differ only in choices of training.
        measurements: by architecture, the last measurement of each metric; it goes over the parts.
        trainings: by architecture, the row of its training; likewise ``retrainings`` and ``winners``.
        unfit: the architectures that failed before they were retrained.
        settled: the winners of a run before it was extended; they leave their places to those that are chosen now.
        device_describer: describes parts, for predictors.
        look: finds layers, and whether an architecture can be built.
        describer: counts layers of the space's architectures.
        quality: the metric by which trainings are stopped early: the first trained objective, or else the error.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        signature: Signature,
        target: Target,
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        rows: Iterable[Evaluation] = (),
        look: FirstLook | None = None,
        hierarchy: MemoryHierarchy = DEFAULT_HIERARCHY,
    ) -> None:
        """``hierarchy`` are the memories of the device, for what is modelled of architectures."""
        self.space = space
        self.objectives = tuple(objectives)
        self.limits = tuple(limits)
        self.quality = quality_of(self.objectives)
        self.look = look or LookHere(space, signature)
        self.parts = SpaceParts(space)
        self.device_describer = Describer(device_space(space), lambda part: self.look.layers(self.candidate(part)))
        self.describer = self.device_describer
        if self.parts.training:
            self.describer = Describer(space, lambda whole: self.device_describer.layers(self.parts.on_device(whole)))
        self._indexed = IndexedRows(part=self.parts.on_device)
        self.rows, self.measurements = self._indexed.rows, self._indexed.measured
        self.trainings, self.retrainings, self.winners = (
            self._indexed.counting[stage] for stage in ("train", "retrain", "winner")
        )
        self.unfit = Unfit(self.parts)
        self.settled: set[Architecture] = set()
        self._candidates: dict[Architecture, Evaluation] = {}
        self._shared: set[Architecture] = set()
        self._lowest: float | None = None
        self._curves: dict[Option | None, WholeCurves] = {}
        self._failures = RepeatedFailures()
        self._precision = target.precision
        self._hierarchy = hierarchy
        self._counted: ByPart[dict[str, float]] = ByPart(self.parts.on_device)
        self._predictors: Mapping[str, Predictor] = {}
        self._predicted: ByPart[dict[str, PredictedValue]] = ByPart(self.parts.on_device)
        self.recall(*rows)

    # Commands

    def add(self, *rows: Evaluation) -> None:
        """Take in the next rows.

        Raises:
            RepeatedFailureError: the last ten evaluations, or the last ten winners, failed.
        """
        self.recall(*rows)
        self._failures.check()

    def recall(self, *rows: Evaluation) -> None:
        """Take in rows that the journal held before; repeated failures among them end nothing."""
        for row in rows:
            self._index(row)

    def recall_counts(self, rows: Iterable[Evaluation]) -> None:
        """Take what is counted of architectures from their trainings on this device: finding layers takes longer."""
        for row in rows:
            if row.stage == "train" and not row.failed and all(name in row.values for name in COUNTS):
                self._counted[row.architecture] = {name: row.values[name] for name in COUNTS}

    def note_buildable(self) -> None:
        """Record that an architecture could be built. Earlier build failures then no longer count as consecutive."""
        self._failures.forget_unbuildable()

    def rely_on(self, predictors: Mapping[str, Predictor]) -> None:
        """Predict by these from now on: one predictor for each measured metric, by its name."""
        self._predictors = dict(predictors)
        self._predicted = ByPart(self.parts.on_device)

    def _index(self, row: Evaluation) -> None:
        """Index a row. Rows of the stage ``check`` are no candidates: they test another way of evaluating."""
        self._indexed.add(row)
        if not row.is_shared:  # the network itself was evaluated before
            self._failures.add(row)
        architecture = row.architecture
        if row.stage == "train":
            (self._shared.add if row.is_shared else self._shared.discard)(architecture)
            self._index_candidate(row)
        if row.failed and row.stage in ("measure", "train"):
            shares = self.candidate(architecture).siblings if row.stage == "train" and not row.is_shared else []
            for failed in (architecture, *shares):
                self.unfit.add(failed, however_trained=row.stage == "measure")
            for candidate in [each for each in self._candidates if each in self.unfit]:
                self._drop_candidate(candidate)

    def _index_candidate(self, row: Evaluation) -> None:
        self._drop_candidate(row.architecture)
        if row.reached_full_fidelity and row.architecture not in self.unfit:
            self._candidates[row.architecture] = row
            self._add_curve(row)
            found = row.values.get(self.quality.name)
            if found is not None:
                self._lowest = found if self._lowest is None else min(self._lowest, found)

    def _drop_candidate(self, architecture: Architecture) -> None:
        if self._candidates.pop(architecture, None) is not None:
            name = self.quality.name
            found = (row.values[name] for row in self._candidates.values() if name in row.values)
            self._lowest = min(found, default=None)
            self._curves.clear()
            for row in self._candidates.values():
                self._add_curve(row)

    def _add_curve(self, row: Evaluation) -> None:
        if row.is_in_epochs:
            self.whole_curves(row.architecture).add(row.details.get("curve", ()))

    # What the rows say

    @property
    def trials(self) -> int:
        """The number of trainings that have ended, failed ones included: the budget counts these.

        Candidates that share a training count once.
        """
        return len(self.trainings) - len(self._shared)

    @property
    def candidates(self) -> list[Evaluation]:
        """Trainings that ran to their end, of architectures that never failed."""
        return list(self._candidates.values())

    def whole_curves(self, architecture: Architecture) -> WholeCurves:
        """Return the curves of all candidates with as many epochs as this one: others fall at another pace."""
        return self._curves.setdefault(self.epochs_choice(architecture), WholeCurves())

    def epochs_choice(self, architecture: Architecture) -> Option | None:
        """Return the epochs of an architecture where these are a choice; it may be missing if it depends on another."""
        return architecture.get("epochs") if "epochs" in self.parts.training else None

    @property
    def lowest_quality(self) -> float | None:
        """The lowest value of ``quality`` among the candidates; None without any."""
        return self._lowest

    @cached_property
    def whole(self) -> frozenset[Architecture] | None:
        """Every architecture of a small space; None for any other space."""
        return whole_space(self.space)

    @property
    def is_all_measured(self) -> bool:
        """True if every architecture of the space was measured or has failed: then nothing is left to predict."""
        if self.whole is None or not self.measured_metrics:
            return False
        return all(self.is_measured(each) or each in self.unfit for each in self.whole)

    @property
    def knows_costs(self) -> bool:
        """True once each measured metric is predicted, or was measured in the whole space."""
        return set(self.measured_metrics) <= self._predictors.keys() or self.is_all_measured

    @property
    def untrained(self) -> int | None:
        """The number of architectures of a small space that can still be trained; None for any other space."""
        if self.whole is None:
            return None
        left = (self.candidate(each) for each in self.whole if each not in self.unfit)
        return len({each.trained for each in left} - {self.candidate(each).trained for each in self.trainings})

    # What is known of an architecture

    def candidate(self, part: Mapping[str, Option]) -> Candidate:
        """Return the candidate that has these choices; see ``SpaceParts.candidate`` for those that are missing."""
        return self.parts.candidate(part)

    @cached_property
    def parent(self) -> Candidate | None:
        """The parent of a space whose architectures are parts of one; it is evaluated as it is."""
        space = parents_space(self.space)
        return None if space is None else self.candidate(space.parent)

    @property
    def measured_metrics(self) -> tuple[str, ...]:
        """The names of the measured metrics among objectives and limits. Each of them needs a predictor."""
        return measured_metrics(self.objectives, self.limits)

    def counted(self, architecture: Architecture) -> dict[str, float]:
        """Return ``params`` and ``macs``, and the modelled ``modelled_energy_mj`` and ``dram_traffic_bytes``.

        What has no layers, such as a row of a table, has none of them.
        """
        if architecture not in self._counted:
            layers = self.device_describer.layers(self.parts.on_device(architecture))
            precision = self.candidate(architecture).precision or self._precision
            self._counted[architecture] = counts_of(layers, precision, self._hierarchy) if layers else {}
        return dict(self._counted[architecture])

    def _count(self, architecture: Architecture, name: str) -> float:
        """Return one metric of ``counted``. Samplers ask for one of thousands, and modelling takes longest."""
        layers = self.device_describer.layers(self.parts.on_device(architecture))
        if architecture in self._counted or name not in TOTALS or not layers:
            return self.counted(architecture)[name]
        return float(TOTALS[name](layers))

    def is_measured(self, architecture: Architecture) -> bool:
        """Return True if each of the measured metrics was measured."""
        return set(self.measured_metrics) <= self.measurements.get(architecture, {}).keys()

    def predicted(self, architecture: Architecture) -> dict[str, PredictedValue]:
        """Return the predictions of the measured metrics, by name; empty before the first fit."""
        if architecture not in self._predicted:
            self._predict([self.parts.on_device(architecture)])
        return self._predicted[architecture]

    def predict_all(self, architectures: Iterable[Architecture]) -> None:
        """Predict many together, so that later questions about them cost no time. Skips what cannot be built."""
        parts = dict.fromkeys(map(self.parts.on_device, architectures))
        unknown = [part for part in parts if part not in self._predicted]
        new = [part for part in unknown if part in self._counted or self.device_describer.can_be_built(part)]
        if new:
            self._predict(new)

    def _predict(self, parts: Sequence[Architecture]) -> None:
        # What is counted was built. Describing raises for what cannot be built, with or without predictors.
        if described := parts if self._predictors else [part for part in parts if part not in self._counted]:
            self.device_describer.describe(described)
        predictions = {name: predictor.predict(parts) for name, predictor in self._predictors.items()}
        for index, part in enumerate(parts):
            self._predicted[part] = {name: found[index] for name, found in predictions.items()}

    def values(self, architecture: Architecture) -> dict[str, float]:
        """Return the best known value of each metric: measured before predicted, and trained ones after a training.

        A measured metric of an architecture that failed is infinite if nothing predicts it.
        """
        known = dict.fromkeys(self.measured_metrics, math.inf) if architecture in self.unfit else {}
        known |= {name: prediction.mean for name, prediction in self.predicted(architecture).items()}
        known |= self.counted(architecture)
        known |= {name: m.median for name, m in self.measurements.get(architecture, {}).items()}
        training = self.trainings.get(architecture)
        if training is not None:
            known |= {name: value for name, value in training.values.items() if name in TRAINED}
        return known

    def costs(self, architectures: Sequence[Architecture], name: str) -> FloatArray:
        """Return the best known values, shape (N,), of a metric that needs no training."""
        if METRICS[name].source != "measured":
            return np.array([self._count(architecture, name) for architecture in architectures])
        self.predict_all(architectures)
        found = [self.measurements.get(architecture, {}) for architecture in architectures]
        return np.array(
            [
                measured[name].median if name in measured else self._predicted_mean(architecture, name)
                for architecture, measured in zip(architectures, found, strict=True)
            ]
        )

    def _predicted_mean(self, architecture: Architecture, name: str) -> float:
        """Return the predicted mean; infinity for an architecture that failed where nothing is predicted."""
        found = self.predicted(architecture).get(name)
        return math.inf if found is None else found.mean

    def losses(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """Return the values of the objectives, in their order."""
        return tuple(values[objective.metric.name] for objective in self.objectives)

    # Limits

    @property
    def cost_limits(self) -> tuple[Limit, ...]:
        """The limits that can be checked without training."""
        return tuple(limit for limit in self.limits if limit.metric.source != "trained")

    def excesses(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return by how much each limit is exceeded, relative to the limit; at most 0 where it holds."""
        return {limit.metric.name: limit.excess(values[limit.metric.name]) for limit in self.limits}

    def accuracy_excess(self, values: Mapping[str, float]) -> float:
        """Return by how much limits on trained metrics are exceeded in a short training. Winners train longer."""
        limits = [limit for limit in self.limits if limit.metric.source == "trained"]
        return sum(max(0.0, limit.excess(values[limit.metric.name])) for limit in limits)

    def broken_limit(self, architecture: Architecture) -> Limit | None:
        """Return the first limit that the best known values break, among those that need no training."""
        values = self.values(architecture)
        return next((limit for limit in self.cost_limits if not limit.holds(values[limit.metric.name])), None)

    def probably_meets(self, architecture: Architecture) -> bool:
        """Return True if the best known values meet every limit that needs no training."""
        return self.broken_limit(architecture) is None

    def may_meet(self, architecture: Architecture) -> bool:
        """Return True if the best known values meet these limits in the architecture's precision, or in another."""
        siblings = [each for each in self.candidate(architecture).siblings if each not in self.unfit]
        return any(map(self.probably_meets, siblings))

    def doubtful_limits(self, architecture: Architecture) -> list[Limit]:
        """Return the limits that a predicted mean meets, but not its one-sided bound. Measured values are sure."""
        measured = self.measurements.get(architecture, {})
        unsure = {name: guess for name, guess in self.predicted(architecture).items() if name not in measured}
        return [
            limit
            for limit in self.cost_limits
            if (guess := unsure.get(limit.metric.name)) and limit.holds(guess.mean) and not limit.holds(guess.limit)
        ]

    def surely_meets(self, architecture: Architecture) -> bool:
        """Return True if every limit that needs no training holds by the upper bound of a measurement."""
        measured = self.measurements.get(architecture, {})
        is_known = all(limit.metric.source != "measured" or limit.metric.name in measured for limit in self.cost_limits)
        return is_known and self.excess_of_bounds(architecture) == 0

    def excess_of_bounds(self, architecture: Architecture) -> float:
        """Return the sum of the relative excesses over limits that need no training, by upper bounds.

        The bounds are those of measurements, else of predictions.
        """
        values = self.values(architecture)
        values |= {name: prediction.limit for name, prediction in self.predicted(architecture).items()}
        values |= {name: m.interval.upper for name, m in self.measurements.get(architecture, {}).items()}
        return sum(max(0.0, limit.excess(values[limit.metric.name])) for limit in self.cost_limits)

    def excess_of_means(self, architecture: Architecture) -> float:
        """Return the sum of the relative excesses over all limits, by medians, predicted means and counts."""
        return sum(max(0.0, excess) for excess in self.hoped_excesses(architecture).values())

    def hoped_excesses(self, architecture: Architecture) -> dict[str, float]:
        """Return the excesses over all limits, as if training would meet those that need it."""
        return self.excesses({**dict.fromkeys(TRAINED, 0.0), **self.values(architecture)})
