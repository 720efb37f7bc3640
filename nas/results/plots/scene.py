"""A scene: the marks, lines, bands, limits and axes of one plot, before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

from nas.values.error_words import ErrorWords
from nas.values.metric import METRICS, Metric

Bounds = tuple[float, float]
LimitLine = tuple[Literal["x", "y"], float, str]
"""A line across a plot: the axis, the place on it, and its words."""
Role = Literal["front", "winner", "measured", "predicted", "stopped", "line", "random", "identity", "bar"]
"""What marks stand for; it decides their colour and their symbol."""
MUCH_LARGER = 50.0
"""With values that differ by more than this ratio, a logarithmic axis shows more."""
SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "ms": ((1e6, "ns"), (1e3, "µs"), (1.0, "ms"), (1e-3, "s")),
    "B": ((1.0, "B"), (1e-3, "kB"), (1e-6, "MB"), (1e-9, "GB")),
    "mJ": ((1e6, "nJ"), (1e3, "µJ"), (1.0, "mJ"), (1e-3, "J")),
    "": ((1.0, ""), (1e-3, "thousand"), (1e-6, "million"), (1e-9, "billion")),
}
"""The factors and names of the units in which an axis may show a unit of metrics, the smallest first."""


@final
@dataclass(frozen=True)
class Axis:
    """An axis: its title, the unit that it shows, and the factor from values to what it shows."""

    title: str
    unit: str = ""
    factor: float = 1.0
    is_log: bool = False

    @property
    def label(self) -> str:
        """The title with the unit: ``Latency, µs``."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


@final
@dataclass(frozen=True)
class Mark:
    """One mark at a place in the units of the axes, with the ends of its error bars where it has any."""

    x: float
    y: float
    x_bounds: Bounds | None = None
    y_bounds: Bounds | None = None
    name: str = ""

    def is_drawable(self, x: Axis, y: Axis) -> bool:
        """Return True if both values are finite, and positive on a logarithmic axis."""
        pairs = ((self.x, x.is_log), (self.y, y.is_log))
        return all(math.isfinite(value) and (value > 0 or not is_log) for value, is_log in pairs)


@final
@dataclass(frozen=True)
class Series:
    """Marks of one kind, or a line through them: straight from mark to mark, or in steps.

    Winners show the bars of their marks; others only if ``shows_bars`` says so, because there are many.
    """

    name: str
    role: Role
    marks: tuple[Mark, ...]
    line: Literal["none", "straight", "steps"] = "none"
    shows_bars: bool = False


@final
@dataclass(frozen=True)
class Band:
    """An area between two lines over the same places."""

    name: str
    role: Role
    x: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@final
@dataclass(frozen=True)
class Scene:
    """A plot. ``bars`` is True for a plot of horizontal bars, whose marks have names instead of heights.

    ``notes`` say what is not drawn. ``left_out`` does so too, of what a reader would look for: pictures show it.
    """

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    bands: tuple[Band, ...] = ()
    limits: tuple[LimitLine, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    bars: bool = False

    @property
    def marks(self) -> Iterator[Mark]:
        """All marks."""
        return (mark for each in self.series for mark in each.marks)

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to draw."""
        return not any(each.marks for each in self.series)

    def drawable(self) -> Scene:
        """Return the scene with the marks that its axes can show, and a note of the others."""
        kept = tuple(
            replace(each, marks=tuple(mark for mark in each.marks if mark.is_drawable(self.x, self.y)))
            for each in self.series
        )
        lost = sum(len(each.marks) for each in self.series) - sum(len(each.marks) for each in kept)
        more = (
            (f"{lost} points cannot be drawn on these axes: a value is not finite, or not positive.",) if lost else ()
        )
        return replace(self, series=tuple(each for each in kept if each.marks), notes=(*self.notes, *more))


def axis_of(metric: Metric, words: ErrorWords, values: Iterable[float], is_log: bool | None = None) -> Axis:
    """Return the axis of a metric, in the unit that suits the largest of its values.

    ``is_log`` None chooses a logarithmic axis where values differ much.
    """
    found = [value for value in values if math.isfinite(value)]
    title = words.title_of(metric)
    if is_log is None:
        is_log = bool(found) and min(found) > 0 and max(found) > MUCH_LARGER * min(found)
    if words.is_share_of(metric):
        return Axis(title, "%", 100.0, is_log)
    largest = max(map(abs, found), default=1.0)
    scales = SCALES.get(metric.unit, ((1.0, metric.unit),)) if metric.source != "trained" else ((1.0, metric.unit),)
    factor, unit = next(((f, u) for f, u in scales if largest * f < 1000), scales[-1])
    return Axis(title, unit, factor, is_log)


def scaled(bounds: Bounds | None, axis: Axis) -> Bounds | None:
    """Return bounds in the unit of an axis; None where one is not finite or shows nothing."""
    if bounds is None or not all(map(math.isfinite, bounds)) or bounds[0] == bounds[1]:
        return None
    return bounds[0] * axis.factor, bounds[1] * axis.factor


def ticks_of(low: float, high: float, axis: Axis, most: int) -> list[float]:
    """Return at most ``most`` round numbers between two values of an axis, in increasing order."""
    if axis.is_log and low > 0:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            found = [step * 10.0**power for power in powers for step in steps]
            found = [tick for tick in found if low <= tick <= high]
            if 2 <= len(found) <= most:
                return found
        return found[:: max(1, math.ceil(len(found) / most))] if found else [low, high]
    span = high - low
    if not span > 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / most))
    step = next(s * step for s in (1, 2, 2.5, 5, 10, 20) if span / (s * step) <= most)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def spread_of(values: Sequence[float], axis: Axis) -> Bounds:
    """Return the ends of an axis with a margin around values. One that begins near zero begins at zero."""
    low, high = min(values), max(values)
    if axis.is_log:
        margin = (high / low) ** 0.06 if high > low else 1.5
        return low / margin, high * margin
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (0.0 if 0 <= low < 2 * room else low - room), high + room


def metric_text(name: str) -> str:
    """Return a metric's title within a sentence."""
    return METRICS[name].title.lower()
