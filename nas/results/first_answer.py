"""The answer of a search without trainings: models measured on the device, with what is known of them beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from nas.results.notes.prior_ranks import PRIOR
from nas.results.text_tables import (
    MOST_CHOICES,
    TEXT_WIDTH,
    aligned,
    choices_column,
    html_table,
    total_width,
    within_bounds,
    wrapped,
)
from nas.space.architecture import Architecture
from nas.values.evaluation import Evaluation
from nas.values.indexed_rows import IndexedRows, choices_of_training
from nas.values.measurement import Measurement
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit, Objective, limit_text, measured_metrics
from nas.values.pareto import BoolArray, FloatArray, non_dominated

MARKED, UNMARKED = "●", "○"
MOST_ANSWERED = 12
"""The most models that the answer names."""
LEAST_CHOICES = 40


@final
@dataclass(frozen=True)
class Untrained:
    """A model that was measured and not trained.

    Attributes:
        architecture: its choices, without those of training.
        measurements: by metric.
        known: what is known of its accuracy beforehand, such as a published accuracy on other data; by name.
        meets: True if its measurements meet the limits by their upper bounds.
        on_front: True if it meets them, and no other one that does is known to be better and costs as little.
    """

    architecture: Architecture
    measurements: dict[str, Measurement]
    known: dict[str, float]
    meets: bool
    on_front: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data for programs."""
        return {
            "id": self.architecture.id,
            "choices": dict(self.architecture),
            "measurements": {name: each.to_json() for name, each in self.measurements.items()},
            "known": self.known,
            "meets_limits": self.meets,
            "on_front": self.on_front,
        }


@final
@dataclass(frozen=True)
class FirstAnswer:
    """What a search without trainings found: models that were measured, those on the front first.

    The front is that of the costs and of the first value that is known beforehand, if there is one: see ``unbeaten``.
    """

    models: tuple[Untrained, ...]
    metrics: tuple[Metric, ...]
    limits: tuple[Limit, ...]

    @classmethod
    def of(cls, rows: Sequence[Evaluation], objectives: Sequence[Objective], limits: Sequence[Limit]) -> FirstAnswer:
        """Return the answer that the rows of a run give."""
        index, of_training = IndexedRows(rows), choices_of_training(rows)
        limits = [limit for limit in limits if limit.metric.source != "trained"]  # these are not known yet
        names = measured_metrics(objectives, limits)
        found: dict[Architecture, Untrained] = {}
        for architecture, row in index.counting["measure"].items():
            if row.failed:
                continue
            shown = architecture.without(of_training) if of_training else architecture
            measured = index.measured[architecture]
            bounds = {**row.values, **{name: each.interval.upper for name, each in measured.items()}}
            meets = all(limit.holds(bounds.get(limit.metric.name, math.inf)) for limit in limits)
            found[shown] = Untrained(shown, dict(measured), dict(row.details.get(PRIOR, {})), meets)
        models = _with_front(list(found.values()), names)
        models.sort(key=lambda each: (not each.on_front, not each.meets, *_costs(each, names)))
        return cls(tuple(models), tuple(METRICS[name] for name in names), tuple(limits))

    @property
    def known_name(self) -> str | None:
        """The name of what is known beforehand; None where nothing is."""
        return next((name for each in self.models for name in each.known), None)

    @property
    def title(self) -> str:
        """What this is, in a sentence or two."""
        count, known = len(self.models), self.known_name
        limits = " and ".join(map(limit_text, self.limits))
        within = f", {sum(each.meets for each in self.models)} of them within {limits}" if limits else ""
        told = (
            f"{known} is what others published; accuracy on your data is not known before training"
            if known
            else "Nothing is known of their accuracy before training"
        )
        return f"First answer: {count} model{'s' * (count != 1)} measured, none trained{within}. {told}."

    def text(self) -> str:
        """Return the answer as a table with a line for each model, at most ``MOST_ANSWERED``."""
        lines = aligned(self._columns(TEXT_WIDTH))
        return "\n".join([*wrapped(self.title), *lines, *self._left_out, *wrapped(self.hint)])

    def html(self) -> str:
        """Return the answer as an HTML table for a notebook; everything in it is escaped."""
        return html_table(self.title, self._columns(TEXT_WIDTH + MOST_CHOICES), [*self._left_out, self.hint])

    def _columns(self, width: int) -> list[list[str]]:
        """Return the columns of the models that are shown, with as many of their choices as the width has room for."""
        shown, known = self.models[:MOST_ANSWERED], self.known_name
        ids = (f"{MARKED if each.on_front else UNMARKED} {each.architecture.id}" for each in shown)
        columns: list[list[str]] = [["Model", *ids]]
        for metric in self.metrics:
            columns.append([metric.title, *(_told(each.measurements.get(metric.name), metric) for each in shown)])
        if known:
            columns.append([known, *(f"{each.known[known]:g}" if known in each.known else "–" for each in shown)])
        if self.limits:
            columns.append(["Limits", *("met" if each.meets else "not met" for each in shown)])
        if shown:
            room = max(LEAST_CHOICES, width - total_width(columns))
            columns.append(choices_column([each.architecture for each in shown], shown[0].architecture, room))
        return columns

    @property
    def _left_out(self) -> list[str]:
        more = len(self.models) - MOST_ANSWERED
        return [f"… and {more} more: see the report."] if more > 0 else []

    @property
    def hint(self) -> str:
        """What the mark means, and what to do next."""
        known = self.known_name
        best = (
            f"for which no model with a higher {known} is as cheap" if known else "that no other one beats in all costs"
        )
        return f"{MARKED} marks models {best}. Leave --trials 0 out to train and test models on your data."

    def to_json(self) -> list[dict[str, Any]]:
        """Plain data for programs: a dictionary for each model."""
        return [each.to_json() for each in self.models]


def unbeaten(costs_NM: FloatArray, known_N: FloatArray) -> BoolArray:
    """Mask, shape (N,), of the models for which no other one is known to be better and costs as little.

    Models of which the same is known, such as one at several resolutions, do not beat each other.
    """
    beaten = [
        bool(((costs_NM <= costs).all(axis=1) & (known_N > known)).any())
        for costs, known in zip(costs_NM, known_N, strict=True)
    ]
    return ~np.array(beaten, dtype=np.bool_)


def _with_front(models: Sequence[Untrained], names: Sequence[str]) -> list[Untrained]:
    """Return the models with marks on those that no other one beats, among those that meet the limits."""
    known = next((name for each in models for name in each.known), None)
    eligible = [
        e for e in models if e.meets and all(map(math.isfinite, _costs(e, names))) and (not known or known in e.known)
    ]
    if not eligible:
        return list(models)
    costs = np.array([_costs(each, names) for each in eligible])
    mask = unbeaten(costs, np.array([e.known[known] for e in eligible])) if known else non_dominated(costs)
    front = {each.architecture for each, is_best in zip(eligible, mask, strict=True) if is_best}
    return [replace(each, on_front=each.architecture in front) for each in models]


def _costs(model: Untrained, names: Sequence[str]) -> tuple[float, ...]:
    """Return the medians of the measured metrics; infinity for one that was not measured."""
    found = (model.measurements.get(name) for name in names)
    return tuple(math.inf if each is None else each.median for each in found)


def metric_cell(metric: Metric, measurement: Measurement) -> tuple[str, str]:
    """Return a measured value and its interval as people read them."""
    return metric.format(measurement.median), measurement.range_text


def _told(measurement: Measurement | None, metric: Metric) -> str:
    return "–" if measurement is None else within_bounds(metric_cell(metric, measurement))
