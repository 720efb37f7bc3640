"""The values of each architecture for analyses, and its trainings in the order in which they ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nas.results.records import Record
from nas.space.architecture import Architecture
from nas.values.evaluation import TRAINED_AS, Evaluation
from nas.values.metric import METRICS, TRAINED
from nas.values.objective import Limit
from nas.values.pareto import IntArray


@dataclass(frozen=True)
class Known:
    """The values of one architecture: by metric, and which of them are only predicted.

    A trained value is there only if a training ran to its end. ``input_size`` is the number of numbers in one input,
    None where no measurement tells it.
    """

    architecture: Architecture
    values: Mapping[str, float]
    predicted: frozenset[str] = frozenset()
    input_size: int | None = None

    @cached_property
    def sure(self) -> frozenset[str]:
        """The metrics whose values are not only predicted."""
        return frozenset(self.values.keys() - self.predicted)


def known_of(records: Sequence[Record]) -> dict[Architecture, Known]:
    """Return the values of each architecture that was measured, trained or tested without failing."""
    return {record.architecture: _known(record) for record in records if record.has_result}


def _known(record: Record) -> Known:
    whole = record.training is not None and record.training.reached_full_fidelity
    values = {name: value for name, value in record.values.items() if whole or name not in TRAINED}
    values |= {name: found.median for name, found in record.measurements.items()}
    guessed = {name: guess.mean for name, guess in record.predicted.items() if name not in values}
    known = {name: value for name, value in {**values, **guessed}.items() if name in METRICS and math.isfinite(value)}
    sizes = [input_size_of(found.conditions) for found in record.measurements.values()]
    return Known(record.architecture, known, frozenset(guessed), next((size for size in sizes if size), None))


def drawn_places(count: int, most: int) -> IntArray:
    """Return the places of ``count`` things, of more than ``most`` so many drawn at random, always the same ones."""
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False)) if count > most else np.arange(count)


def input_size_of(conditions: Mapping[str, object]) -> int | None:
    """Return the number of numbers in one input that a measurement's conditions tell; None where they do not."""
    shape, batch = conditions.get("input_shape"), conditions.get("batch")
    if not isinstance(shape, Sequence) or isinstance(shape, str) or not shape:
        return None
    shapes = shape if isinstance(shape[0], Sequence) else [shape]
    try:
        size = sum(math.prod(int(length) for length in each) for each in shapes)
    except (TypeError, ValueError):
        return None
    return size // batch if isinstance(batch, int) and batch > 0 else size


@dataclass(frozen=True)
class Training:
    """One training of a run, and the architectures that share it: those that differ in their precision alone.

    ``end`` is whole, stopped or failed. ``place`` is that of its row among all rows of the run.
    """

    row: Evaluation
    architectures: tuple[Architecture, ...]
    place: int

    @cached_property
    def end(self) -> str:
        """How it ended."""
        if self.row.failed:
            return "failed"
        return "whole" if self.row.reached_full_fidelity else "stopped"


def trainings_of(rows: Sequence[Evaluation]) -> list[Training]:
    """Return all trainings of candidates in the order in which they ended."""
    trainings: list[Training] = []
    by_id: dict[str, int] = {}
    for place, row in enumerate(rows):
        if row.stage != "train":
            continue
        of = str(row.details.get(TRAINED_AS, ""))
        if of in by_id:
            first = trainings[by_id[of]]
            members = dict.fromkeys((*first.architectures, row.architecture))
            trainings[by_id[of]] = Training(first.row, tuple(members), first.place)
        else:
            by_id[row.architecture.id] = len(trainings)
            trainings.append(Training(row, (row.architecture,), place))
    return trainings


def meets(known: Known, limits: Sequence[Limit]) -> bool:
    """Return True if no known value breaks a limit; a metric without a value breaks none."""
    return all(limit.holds(known.values[limit.metric.name]) for limit in limits if limit.metric.name in known.values)
