"""A winner: a model that was retrained, exported, measured and tested once; and its values as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import JournalError, did_you_mean
from nas.hardware.energy.metering import grams_co2e
from nas.hardware.roofline import Throughput, throughput_of
from nas.results.bundle import Bundle
from nas.results.chance_marks import WORSE, chance_mark
from nas.results.named_metrics import name_measured, name_scored
from nas.results.seeds import Earlier, OverSeeds
from nas.space.architecture import REPR_WIDTH, Architecture, choices_within
from nas.space.parts.candidate import precision_of
from nas.space.search_space import SearchSpace
from nas.values.error_words import OF_IMAGES, ErrorWords
from nas.values.evaluation import PredictedValue
from nas.values.layer_times import LayerTimes
from nas.values.measurement import Estimate, Interval, Measurement
from nas.values.metric import METRICS, Metric, target_in
from nas.values.objective import GivenLimits, Limit, limits_of

if TYPE_CHECKING:
    import torch

BYTES_PER_INPUT = 4
"""Models take fp32 numbers, whatever they run in; the few whole numbers of a table count as half."""


@dataclass(frozen=True, repr=False)
class Winner:
    """A model that was retrained, exported, measured, and scored once on the test split; or a row of a table.

    Attributes:
        architecture: its choices.
        test_error: the error of the deployed model on the test split, such as the share of wrong classes.
        test_interval: the 95 % interval of the test error; a point where a table gives none.
        predicted: by metric, the prediction of predictors that were fitted without this winner's measurements.
        measurements: by metric, the measurement on the target.
        values: counted and modelled values, such as ``params`` and ``macs``.
        folder: the bundle, relative to the run folder; empty for a winner from a table.
        parity: the largest difference between the outputs of the torch module and of the exported model.
        exported_test_error: the test error of the exported fp32 model, before the runtime deployed it.
        chance_error: the test error of the best constant answer, such as the most frequent class; None for winners
            from tables and from runs before version 0.7.
        scores: by name, the task's other metrics on the test split with 95 % intervals, such as ``balanced_error``.
        fp32: by metric, the measurement of the same weights in fp32, where another precision was chosen.
        exported: ``exported_test_error`` with its 95 % interval, where another precision was chosen.
        noise: by corruption, the test error under it, if the recipe asked for that.
        seeds: the test errors of several trainings by different seeds; None where there was one alone.
        retraining: the number of the retraining after the run had ended that made it; 0 for the run's own winners.
        earlier: the models that the same network had before, oldest first.
        words: the words for the error.
        is_parent: True for the model that the others are made from, where a trained one is made smaller.
        is_fitted: True for a simple model, which was fitted in one pass over the items.
        searched: by metric, the values of its training in the search, on the validation items; none for old runs, and
            if it was retrained for much longer.
        by_folds: of a simple model the ``error`` on items that are left out, by folds over all that the search knew,
            its ``standard_error``, and the ``log_loss`` there; none for others, and where validation items are many.
        tested_per_validated: the number of test items for each validation item.
        tried: how many candidates of the search validation items alone had judged; 1 for old runs.
        confusion: the ``names`` of the classes, and the ``counts`` of test items by true and given class; None where
            there are many classes, none, or the run is older than version 0.9.
        layer_times: the milliseconds of each operator in an inference, or the reason why they are not known; None for
            winners from tables, from benches that cannot profile, and from runs before version 0.9.
        bundle: the bundle's path; None for a winner from a table.
        space: the space, where the search was given one as an object.

    Example::

        winner = nas.load_run("runs/digits").front[0]
        probabilities = winner.predict("photo.jpg")
        module = winner.load()
    """

    architecture: Architecture
    test_error: float
    test_interval: Interval
    predicted: Mapping[str, PredictedValue]
    measurements: Mapping[str, Measurement]
    values: Mapping[str, float]
    folder: str
    parity: float | None = None
    exported_test_error: float | None = None
    chance_error: float | None = None
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    noise: Mapping[str, Estimate] = field(default_factory=dict)
    fp32: Mapping[str, Measurement] = field(default_factory=dict)
    exported: Estimate | None = None
    seeds: OverSeeds | None = None
    retraining: int = 0
    earlier: tuple[Earlier, ...] = ()
    words: ErrorWords = OF_IMAGES
    is_parent: bool = False
    is_fitted: bool = False
    searched: Mapping[str, float] = field(default_factory=dict)
    by_folds: Mapping[str, float] = field(default_factory=dict)
    tested_per_validated: float = 1.0
    tried: int = 1
    confusion: Mapping[str, Any] | None = None
    layer_times: LayerTimes | None = None
    bundle: Path | None = None
    space: SearchSpace | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        found = [f"{self.words.text(self.test_error)} {self.scored} {self.words.title}"]
        found += [self.seeds.text(self.words)] if self.seeds is not None else []
        found += [
            f"{METRICS[name].title.lower()} {METRICS[name].format(each.median)}"
            for name, each in self.measurements.items()
            if name in METRICS
        ]
        found += [self.chance_mark] if self.chance_mark else []
        return f"Winner {self.architecture.id}: {', '.join(found)}; {choices_within(self.architecture, REPR_WIDTH)}"

    def load(self, space: SearchSpace | type[SearchSpace] | None = None) -> torch.nn.Module:
        """Return the torch module with the winner's weights, in eval mode.

        It takes inputs as the model saw them in training, such as scaled images. ``space`` is needed only for
        a run that was given a space as an object and is read from its folder.

        Raises:
            JournalError: there is no bundle, as for a winner from a table.
            RecipeError: the space cannot be found.
        """
        return self._bundle.module(self.space if space is None else space)

    def predict(self, inputs: Any) -> npt.NDArray[np.float32]:
        """Run the deployed model, as it was measured, on pictures. They are prepared as the tested ones were.

        ``inputs`` is the path of a picture or of a folder of pictures, several such paths, or pixels: uint8 of shape
        (N, channels, height, width). Returns the probabilities of the classes, shape (N, classes).

        Raises:
            JournalError: there is no bundle, as for a winner from a table.
            TargetError: the target's runtime is not available here.
            ValueError: a picture cannot be read, or the pixels have another type or shape.
        """
        return self._bundle.predict(inputs)

    @property
    def _bundle(self) -> Bundle:
        if self.bundle is None:
            raise JournalError(
                f"a model is loaded from a winner's bundle, but {self.architecture.id} has none: its values come from "
                'a table. Search with evaluate = "train" to get models.'
            )
        return Bundle.read(self.bundle)

    @property
    def scored(self) -> str:
        """The word before its error: that of a test, or what a table says."""
        return "test" if self.folder else "final"

    @property
    def is_near_chance(self) -> bool:
        """True if the test cannot tell the winner from a model that always gives the best constant answer.

        This is so if the 95 % interval of the test error reaches the error of that answer.
        """
        return self.chance_error is not None and self.test_interval.upper >= self.chance_error

    @property
    def is_worse_than_constant(self) -> bool:
        """True if always giving the best constant answer, such as the most frequent class, has a lower test error."""
        return self.chance_mark == WORSE

    @property
    def chance_mark(self) -> str:
        """The mark ``near chance`` or ``worse than a constant answer``; empty for a model that learned something."""
        return chance_mark(self.test_error, self.test_interval, self.chance_error)

    @property
    def doubts(self) -> tuple[str, ...]:
        """The doubts about its measurements, such as a machine that stayed busy, each once.

        One about a further target begins with its name.
        """
        flags = [(target_in(name), flag) for name, found in self.measurements.items() for flag in found.flags]
        return tuple(dict.fromkeys(f"on {on}: {flag}" if on else flag for on, flag in flags))

    @property
    def throughput(self) -> Throughput | None:
        """The throughput and the shares of the machine's peaks; None if the latency was not measured."""
        latency, weights = self.measurements.get("latency_ms"), self.measurements.get("weight_bytes")
        if latency is None or latency.table is not None:  # a table does not tell the batch size
            return None
        shape = latency.conditions.get("input_shape")
        shapes = shape if shape and isinstance(shape[0], list) else [shape]  # of several inputs, or of the only one
        moved = BYTES_PER_INPUT * sum(map(math.prod, shapes)) if shape else None
        least_bytes = weights.median + moved if weights is not None and moved is not None else None
        return throughput_of(latency, self.values.get("macs"), least_bytes)

    @property
    def precision(self) -> str | None:
        """The precision in which it runs, if the search chose it; None where the target alone says it."""
        return precision_of(self.architecture)

    @property
    def executed_precision(self) -> str | None:
        """The precision that really ran when the latency was measured."""
        latency = self.measurements.get("latency_ms")
        return None if latency is None else latency.conditions.get("executed_precision")

    def gco2e(self, grams_per_kwh: float) -> float | None:
        """Return the grams of CO2 equivalent of one inference; None if its energy was not measured."""
        energy = self.measurements.get("energy_mj")
        return None if energy is None else grams_co2e(energy.median / 1000, grams_per_kwh)

    @property
    def short(self) -> str:
        """The choices in one short line."""
        return self.architecture.short

    def has(self, metric_name: str) -> bool:
        """Return True if there is a value of the metric. A prediction is not a value.

        Raises:
            ValueError: no such metric.
        """
        return self._found(metric_name) is not None

    def value(self, metric_name: str) -> float:
        """Return the test error or another score, the median of a measurement, or a counted or modelled value.

        Raises:
            ValueError: no such metric, or the winner has no value of it.
        """
        return self.estimate(metric_name).value

    def score(self, metric: Metric) -> float:
        """Return the value of a metric on the test split; infinity if the winner has none."""
        return self.value(metric.name) if self.has(metric.name) else math.inf

    def estimate(self, metric_name: str) -> Estimate:
        """Return the value of a metric with its 95 % interval; a counted or modelled value is exact.

        Raises:
            ValueError: no such metric, or the winner has no value of it.
        """
        found = self._found(metric_name)
        if found is None:
            raise ValueError(f"a winner needs a value of the metric, but {self.architecture.id} has no {metric_name}.")
        return found

    def _found(self, metric_name: str) -> Estimate | None:
        if metric_name not in METRICS:
            raise ValueError(f"unknown metric {metric_name!r}. {did_you_mean(metric_name, METRICS)}")
        if METRICS[metric_name].source == "measured":
            measured = self.measurements.get(name_measured(metric_name, self.measurements))
            return None if measured is None else measured.estimate
        score_name = name_scored(metric_name, self.measurements)
        if score_name == "error":
            return Estimate(self.test_error, self.test_interval)
        if score_name in self.scores:
            return self.scores[score_name]
        return Estimate.exact(self.values[metric_name]) if metric_name in self.values else None

    def told(self, metric: Metric) -> tuple[str, str]:
        """Return the value of a metric for people, and its bounds; a dash where there is none, no bounds of a point."""
        found = self._found(metric.name)
        if found is None:
            return "–", ""
        measured = self.measurements.get(name_measured(metric.name, self.measurements))
        bounds = self.words.bounds_text(metric, found.interval) if measured is None else measured.range_text
        return self.words.value_text(metric, found.value), bounds

    def foretold(self, metric: Metric) -> tuple[str, str]:
        """Return the prediction of a metric for people, and its 90 % bounds; a dash where nothing was predicted."""
        guess = self.predicted.get(metric.name)
        return (
            ("–", "") if guess is None else (metric.format(guess.mean), metric.format_range(guess.lower, guess.upper))
        )

    def upper(self, metric_name: str) -> float:
        """Return the value that limits are checked against: for a measurement, the upper bound of its interval."""
        found = self.estimate(metric_name)
        return found.interval.upper if METRICS[metric_name].source == "measured" else found.value

    def broken(self, limits: GivenLimits) -> list[Limit]:
        """Return the limits that are not shown to hold. A limit on an unknown metric is among them.

        ``limits`` is one or several, each as an object or as text: ``winner.broken("latency_ms <= 1ms")``.

        Raises:
            RecipeError: a text is no limit.
        """
        return [
            limit
            for limit in limits_of(limits)
            if not (self.has(limit.metric.name) and limit.holds(self.upper(limit.metric.name)))
        ]

    def meets(self, limits: GivenLimits) -> bool:
        """Return True if every limit holds, by measured upper bounds, counted values and test scores.

        ``limits`` is one or several, each as an object or as text: ``winner.meets("latency_ms <= 1ms")``.

        Raises:
            RecipeError: a text is no limit.
        """
        return not self.broken(limits)

    def excess(self, limits: GivenLimits) -> float:
        """Return the sum of the relative excesses over limits: 0 if all hold, infinity where a value is unknown.

        Raises:
            RecipeError: a text is no limit.
        """
        return sum(
            max(0.0, limit.excess(self.upper(limit.metric.name))) if self.has(limit.metric.name) else math.inf
            for limit in limits_of(limits)
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with measured, predicted, counted and modelled values apart."""
        sources = {name: METRICS[name].source if name in METRICS else "" for name in self.values}
        return {
            "id": self.architecture.id,
            "architecture": dict(self.architecture),
            "test_error": self.test_error,
            "test_error_interval_95": None if self.test_interval.is_point else self.test_interval.to_json(),
            "predicted": {name: each.to_json() for name, each in self.predicted.items()},
            "measured": {name: each.summary() for name, each in self.measurements.items()},
            "precision": self.precision,
            "measured_in_fp32": {name: each.summary() for name, each in self.fp32.items()},
            "scores": {name: each.to_json() for name, each in self.scores.items()},
            "noise": {name: each.to_json() for name, each in self.noise.items()},
            "counted": {name: value for name, value in self.values.items() if sources[name] == "counted"},
            "modelled": {name: value for name, value in self.values.items() if sources[name] == "modelled"},
            **self._throughput_json(),
            "executed_precision": self.executed_precision,
            "exported_test_error": self.exported_test_error,
            "chance_error": self.chance_error,
            "near_chance": None if self.chance_error is None else self.is_near_chance,
            "worse_than_constant": None if self.chance_error is None else self.is_worse_than_constant,
            "seeds": None if self.seeds is None else self.seeds.to_json(),
            "is_parent": self.is_parent,
            "in_search": dict(self.searched),
            "by_folds": dict(self.by_folds),
            "retraining": self.retraining,
            "earlier": [each.to_json() for each in self.earlier],
            "parity": self.parity,
            "layer_times": None if self.layer_times is None else self.layer_times.to_json(),
            "bundle": self.folder,
        }

    def _throughput_json(self) -> dict[str, Any]:
        found = self.throughput
        return {
            "throughput_per_s": None if found is None else found.items_per_s,
            "share_of_peak": None if found is None else found.share_of_peak,
            "share_of_roofline": None if found is None else found.share_of_roofline,
            "beyond_bound": None if found is None else found.beyond_bound,
        }


def broken_text(winner: Winner, limit: Limit) -> str:
    """Return how a limit is broken, for people: ``latency 2.31 ms > 2 ms``."""
    metric = limit.metric
    if not winner.has(metric.name):
        return f"{metric.title.lower()} unknown, limit {metric.format(limit.value)}"
    value = winner.value(metric.name)
    if metric.name == "error":
        return winner.words.broken_text(value, limit.value)
    if limit.holds(value):
        upper, most = metric.format_apart(winner.upper(metric.name), limit.value)
        return f"{metric.title.lower()} {metric.format(value)}, but up to {upper} > {most}"
    shown, most = metric.format_apart(value, limit.value)
    return f"{metric.title.lower()} {shown} > {most}"
