"""The best that a run's rows tell of each architecture, and its trainings in the order in which they ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nas.reports.candidates import choices_of_training
from nas.space.architecture import Architecture
from nas.values.evaluation import TRAINED_AS, Evaluation
from nas.values.metric import METRICS, TRAINED
from nas.values.objective import Limit


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


@dataclass
class _Found:
    """Values of one architecture while rows are read."""

    exact: dict[str, float] = field(default_factory=dict)
    trained: dict[str, float] = field(default_factory=dict)
    guessed: dict[str, float] = field(default_factory=dict)


def known_of(rows: Sequence[Evaluation]) -> dict[Architecture, Known]:
    """Return the best that is known of each architecture: measured and counted, else predicted values.

    The last row counts. Measurements do not depend on choices of training, so architectures that differ in nothing
    else share them.
    """
    shared = choices_of_training(rows)
    found: dict[Architecture, _Found] = {}
    measured: dict[Architecture, dict[str, float]] = {}
    sizes: dict[Architecture, int] = {}
    for row in rows:
        if row.failed or row.stage not in ("measure", "train", "winner"):
            continue
        of_device = row.architecture.without(shared) if shared else row.architecture
        known = found.setdefault(row.architecture, _Found())
        places = measured.setdefault(of_device, {})
        for name, measurement in row.measurements.items():
            if row.stage != "winner" or name not in places:
                places[name] = measurement.median
            size = input_size_of(measurement.conditions)
            if size is not None:
                sizes[of_device] = size
        if row.stage == "train":
            known.trained = {n: v for n, v in row.values.items() if n in TRAINED} if row.reached_full_fidelity else {}
            known.guessed = {name: guess.mean for name, guess in row.predicted.items()}
        known.exact |= {n: v for n, v in row.values.items() if n not in TRAINED}
    return {
        architecture: _known(architecture, each, measured[of_device], sizes.get(of_device))
        for architecture, each in found.items()
        for of_device in [architecture.without(shared) if shared else architecture]
    }


def _known(architecture: Architecture, found: _Found, measured: Mapping[str, float], size: int | None) -> Known:
    sure = {**found.exact, **found.trained, **measured}
    guessed = {name: value for name, value in found.guessed.items() if name not in sure}
    values = {name: value for name, value in {**guessed, **sure}.items() if name in METRICS and math.isfinite(value)}
    return Known(architecture, values, frozenset(guessed), size)


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

    @property
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
