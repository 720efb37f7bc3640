"""What a finished run offers under other limits or on another target: its front, and what would improve on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from nas.errors import JournalError, LimitError
from nas.results.found_by_id import found_by_id
from nas.results.front import cost_metrics
from nas.results.records import Record
from nas.results.solved_views import solved_html, solved_plot, solved_rows, solved_text
from nas.results.winner import Winner
from nas.space.architecture import REPR_WIDTH, Architecture, choices_within
from nas.space.search_space import SearchSpace
from nas.values.error_words import OF_IMAGES, ErrorWords
from nas.values.evaluation import PredictedValue
from nas.values.measurement import Interval, Measurement
from nas.values.metric import METRICS, TRAINED, Metric
from nas.values.objective import GivenLimits, Limit, Objective, limits_of, quality_of
from nas.values.pareto import non_dominated

if TYPE_CHECKING:
    import pandas
    import torch

    from nas.results.plots.plot import Plot


@dataclass(frozen=True, repr=False)
class SolvedPoint:
    """A candidate that a run trained, with what is known of it on the target that was asked for.

    Attributes:
        record: everything that is known of it.
        words: the words for the error.

    Example::

        point = nas.solve("runs/digits-mobilenet", ["latency_ms <= 1ms"]).best
        print(point.value("latency_ms"), point.source("latency_ms"))
    """

    record: Record
    words: ErrorWords = OF_IMAGES

    @property
    def architecture(self) -> Architecture:
        """Its choices."""
        return self.record.architecture

    @cached_property
    def trained(self) -> Mapping[str, float]:
        """By metric, what the run found in training, such as the ``error`` on the validation split."""
        return {name: value for name, value in self.record.values.items() if name in TRAINED}

    @cached_property
    def counted(self) -> Mapping[str, float]:
        """Counted and modelled values, such as ``params`` and ``macs``."""
        return {name: value for name, value in self.record.values.items() if name not in TRAINED}

    @property
    def measurements(self) -> Mapping[str, Measurement]:
        """By metric, the measurement on the target."""
        return self.record.measurements

    @cached_property
    def predicted(self) -> Mapping[str, PredictedValue]:
        """By metric, the prediction for the target where nothing was measured."""
        return {name: guess for name, guess in self.record.predicted.items() if name not in self.measurements}

    @property
    def winner(self) -> Winner | None:
        """The same architecture as a winner of the run, which has a model, a test error and a bundle; or None."""
        return self.record.winner

    def __repr__(self) -> str:
        found = [f"{self.words.text(self.trained['error'])} validation {self.words.title}"]
        found += [
            f"{METRICS[name].title.lower()} {METRICS[name].format(self.value(name))} {self.source(name)}"
            for name in dict.fromkeys((*self.measurements, *self.predicted))
            if name in METRICS
        ]
        return (
            f"SolvedPoint {self.architecture.id}: {', '.join(found)}; {choices_within(self.architecture, REPR_WIDTH)}"
        )

    def has(self, name: str) -> bool:
        """Return True if a value of the metric is known, if only as a prediction."""
        return self.record.value(name) is not None

    def value(self, name: str) -> float:
        """Return the measured median, else the predicted mean, else the trained or counted value of a metric.

        Raises:
            ValueError: nothing is known of the metric.
        """
        value = self.record.value(name)
        if value is None:
            raise ValueError(f"a value of {name} must be known, but of {self.architecture.id} it is not.")
        return value

    def source(self, name: str) -> str:
        """Return where a value comes from: ``measured``, ``predicted``, ``looked up``, ``trained`` or ``counted``.

        Raises:
            ValueError: no such metric.
        """
        found = self.record.source(name)
        return METRICS[name].source if found in (None, "known") else str(found)

    def interval(self, name: str) -> Interval:
        """Return the 95 % interval of a measurement, the 90 % interval of a prediction, or else a point."""
        if name in self.measurements:
            return self.measurements[name].interval
        if name in self.predicted:
            return Interval(self.predicted[name].lower, self.predicted[name].upper)
        return Interval(self.value(name), self.value(name))

    def is_measured(self, names: Iterable[str]) -> bool:
        """Return True if each of these metrics was measured or looked up."""
        return all(name in self.measurements for name in names)

    def judged(self, limit: Limit, *, surely: bool = False) -> float | None:
        """Return the value that is compared with a limit, or None if none is known.

        It is the upper end of a measured interval; the mean of a prediction, or with ``surely`` its one-sided bound.
        Of trained metrics it is the test score where the run retrained the model, for winners train longer.
        """
        return self.record.judged(limit, "limit" if surely else "mean")

    def broken(self, limits: GivenLimits, *, surely: bool = False) -> list[Limit]:
        """Return the limits that do not hold by ``judged``. A limit on an unknown metric is among them."""
        judged = ((limit, self.judged(limit, surely=surely)) for limit in limits_of(limits))
        return [limit for limit, value in judged if value is None or not limit.holds(value)]

    def meets(self, limits: GivenLimits, *, surely: bool = True) -> bool:
        """Return True if every limit holds; with ``surely=False`` predicted means count, and not their bounds."""
        return not self.broken(limits, surely=surely)

    def excess(self, limits: GivenLimits) -> float:
        """Return the sum of the relative excesses over limits; infinity where a value is unknown."""
        found = [(limit, self.judged(limit)) for limit in limits_of(limits)]
        return sum(max(0.0, limit.excess(value)) if value is not None else np.inf for limit, value in found)

    @property
    def folder(self) -> str:
        """The bundle with the model, relative to the run's folder; empty if the run did not retrain it."""
        return "" if self.winner is None else self.winner.folder

    @property
    def doubts(self) -> tuple[str, ...]:
        """The doubts about its measurements, such as a machine that stayed busy, each once."""
        return tuple(self.record.doubts)

    def load(self, space: SearchSpace | type[SearchSpace] | None = None) -> torch.nn.Module:
        """Return the torch module with the weights that the run retrained, in eval mode.

        Raises:
            JournalError: the run did not retrain this candidate.
        """
        if self.winner is None:
            raise JournalError(
                f"a model is loaded from a winner's bundle, but {self.architecture.id} was trained for the search "
                'alone and has none. Solve with as_run="FOLDER", and resume that run, to make models of the front.'
            )
        return self.winner.load(space)

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with measured, predicted, trained and counted values apart."""
        tested = self.winner
        return {
            "id": self.architecture.id,
            "architecture": dict(self.architecture),
            "trained": dict(self.trained),
            "counted": dict(self.counted),
            "measured": {name: each.summary() for name, each in self.measurements.items()},
            "predicted": {name: each.to_json() for name, each in self.predicted.items()},
            "bundle": self.folder or None,
            "test_error": None if tested is None else tested.test_error,
        }


@dataclass(frozen=True, repr=False)
class Solved:
    """The front of a run's candidates under the limits that were asked for. Nothing was trained for it.

    It prints in a few lines, and has a length. ``solved[0]`` is its first point, ``solved[:2]`` one of two, and
    ``for point in solved`` goes over all.

    Attributes:
        objectives: what was minimised.
        limits: what has to hold.
        target: where measured values are from: a target, or the device of a table.
        points: the front, the lowest error first: candidates that meet the limits, and that none dominates.
        candidates: all candidates that were compared, those of the front among them.
        run_folder: the folder of the run.
        measured: how many architectures were measured on the target for this run by ``nas.solve``, earlier times
            included.
        newly_measured: how many of them were measured this time.
        unmet: sentences that say which limits no candidate meets, and which candidate is nearest; else empty.
        nearest: the candidate that exceeds the limits least, where none meets them.
        improvements: sentences about what it would take to improve on the front.
        notes: sentences that qualify the result, such as a run that is not finished.
        table: the file that all values were read from; None where models were trained and measured.
        words: the words for the error.

    Example::

        solved = nas.solve("runs/digits-mobilenet", ["latency_ms <= 1ms"])
        print(solved)
        solved.to_dataframe().to_csv("front.csv")
    """

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    target: str
    points: tuple[SolvedPoint, ...]
    candidates: tuple[SolvedPoint, ...] = field(repr=False)
    run_folder: Path
    measured: int = 0
    newly_measured: int = 0
    unmet: tuple[str, ...] = ()
    nearest: SolvedPoint | None = None
    improvements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    table: str | None = None
    words: ErrorWords = OF_IMAGES

    def __iter__(self) -> Iterator[SolvedPoint]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    @overload
    def __getitem__(self, index: int | str) -> SolvedPoint: ...

    @overload
    def __getitem__(self, index: slice) -> Solved: ...

    def __getitem__(self, index: int | str | slice) -> SolvedPoint | Solved:
        """Return the point at a place or with an id, or the same front with a slice of the points.

        Raises:
            LookupError: no point, or several, have an id that begins so; or there is no such place.
        """
        if isinstance(index, str):
            return found_by_id(index, {point.architecture.id: point for point in self.points}, "point")
        return replace(self, points=self.points[index]) if isinstance(index, slice) else self.points[index]

    def __repr__(self) -> str:
        return solved_text(self)

    def _repr_html_(self) -> str:
        return solved_html(self)

    @property
    def best(self) -> SolvedPoint:
        """The point with the lowest ``quality``; one that surely meets the limits, if there is any.

        Raises:
            LimitError: no candidate meets the limits; the message says which is nearest.
        """
        found = self.best_or_none
        if found is None:
            raise LimitError(f"the best point meets the limits, but none does. {' '.join(self.unmet)}")
        return found

    @property
    def best_or_none(self) -> SolvedPoint | None:
        """The same as ``best``, or None if no candidate meets the limits."""
        sure = [point for point in self.points if point.meets(self.limits)]
        return min(sure or self.points, key=lambda point: point.value(self.quality.name), default=None)

    @property
    def quality(self) -> Metric:
        """The first trained objective, or else the error."""
        return quality_of(self.objectives)

    @property
    def costs(self) -> tuple[Metric, ...]:
        """The metrics other than ``quality`` that were minimised or limited, in that order."""
        return cost_metrics(self.objectives, self.limits)

    @property
    def shown_costs(self) -> tuple[Metric, ...]:
        """The metrics to show beside the error: ``quality`` if it is another one, and the costs."""
        return (*([self.quality] if self.quality.name != "error" else []), *self.costs)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a data frame with a row a point: choices, error, and each cost with its source and bounds."""
        import pandas  # here, because it is slow to import

        return pandas.DataFrame(solved_rows(self))

    def plot(self, metric: str | None = None) -> Plot:
        """Return a plot of the error against ``metric``, by default the first cost; a notebook shows it.

        Raises:
            ValueError: no such metric, or no point has a value of it.
        """
        return solved_plot(self, metric)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for programs."""
        best = self.best_or_none
        return {
            "run_folder": str(self.run_folder),
            "target": self.target,
            "table": self.table,
            "objectives": [str(objective) for objective in self.objectives],
            "limits": [str(limit) for limit in self.limits],
            "candidates": len(self.candidates),
            "measured": self.measured,
            "newly_measured": self.newly_measured,
            "best": None if best is None else best.architecture.id,
            "points": [
                {
                    **point.to_json(),
                    "meets_limits": point.meets(self.limits),
                    "probably_meets_limits": point.meets(self.limits, surely=False),
                }
                for point in self.points
            ],
            "unmet": list(self.unmet),
            "nearest": None if self.nearest is None else self.nearest.to_json(),
            "improvements": list(self.improvements),
            "notes": list(self.notes),
        }


def front_points(
    candidates: Iterable[SolvedPoint], objectives: Sequence[Objective], limits: Sequence[Limit]
) -> tuple[SolvedPoint, ...]:
    """Return the candidates that probably meet the limits and that no other such one dominates, the best first."""
    names = [objective.metric.name for objective in objectives]
    found = [
        point for point in candidates if point.meets(limits, surely=False) and all(point.has(name) for name in names)
    ]
    if not found:
        return ()
    losses = np.array([[point.value(name) for name in names] for point in found])
    kept = [point for point, is_kept in zip(found, non_dominated(losses).tolist(), strict=True) if is_kept]
    first = quality_of(objectives).name
    order = [first, *(name for name in names if name != first)]
    return tuple(sorted(kept, key=lambda point: (*(point.value(name) for name in order), point.architecture.id)))
