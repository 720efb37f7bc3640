"""A plot of a front, which shows itself in a notebook and can be saved as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, final

import numpy as np

from nas.errors import RecipeError, did_you_mean
from nas.results.plots.pictures import PictureSettings, check_picture, picture_of
from nas.results.plots.scene import Bounds, Mark, Role, Scene, Series, axis_of, scaled
from nas.values.error_words import ErrorWords
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit, limit_text
from nas.values.pareto import non_dominated


@final
@dataclass(frozen=True, repr=False)
class Plot:
    """A plot. A notebook shows it; ``save`` writes it as SVG, PNG or PDF. Both need matplotlib: ``nas[plots]``.

    ``scene`` holds what is drawn: the marks with the ends of their bars, the axes and the limits.

    Example::

        nas.load_run("runs/digits-mobilenet").front.plot("params").save("front.svg")
    """

    scene: Scene

    def __repr__(self) -> str:
        count = sum(1 for _ in self.scene.marks)
        return f"Plot of {self.scene.title}: {count} points. A notebook shows it; .save('front.svg') writes it."

    def _repr_svg_(self) -> str | None:
        return None if self.scene.is_empty else picture_of(self.scene, ".svg").decode()

    def save(self, path: Path | str, settings: PictureSettings | None = None) -> Path:
        """Write the plot, and return its path. The ending says what it is: ``.svg``, ``.png`` or ``.pdf``.

        Raises:
            RecipeError: there is nothing to plot, another ending, a place that cannot be written, or matplotlib is not
                installed.
        """
        from nas.results.exports.files import write_out

        path = Path(path)
        check_picture(path)
        if self.scene.is_empty:
            raise RecipeError(f"there is nothing to plot: {self.scene.title} has no points.")
        write_out(path, picture_of(self.scene, path.suffix, settings))
        return path


class Shown(Protocol):
    """What a front has that can be plotted: ``nas.Front`` and ``nas.Solved``."""

    @property
    def limits(self) -> Sequence[Limit]: ...

    @property
    def costs(self) -> Sequence[Metric]: ...

    @property
    def quality(self) -> Metric: ...

    @property
    def words(self) -> ErrorWords: ...

    @property
    def run_folder(self) -> Path: ...


@dataclass(frozen=True)
class Point:
    """A value on both axes with the ends of its bars, in the units of the metrics."""

    role: Role
    name: str
    cost: float
    quality: float
    cost_bounds: Bounds | None = None
    quality_bounds: Bounds | None = None


def cost_of(front: Shown, metric: str | None) -> Metric:
    """Return the metric that is asked for, or else the first cost. Raises ValueError if there is no such metric."""
    if metric is None:
        return front.costs[0] if front.costs else METRICS["latency_ms"]
    known = [name for name in METRICS if name != "error"]
    if metric not in known:
        raise ValueError(f"metric must name a cost, but got {metric!r}. {did_you_mean(metric, known)}")
    return METRICS[metric]


def plot_of(front: Shown, cost: Metric, points: Sequence[Point], names: Mapping[Role, str], title: str) -> Plot:
    """Return the plot of points, of which each role has a name. ``title`` is that of the quality."""
    x = axis_of(cost, front.words, [point.cost for point in points])
    y = replace(axis_of(front.quality, front.words, [point.quality for point in points]), title=title)
    series = tuple(
        Series(f"{name} ({len(marks)})", role, tuple(marks), shows_bars=True)
        for role, name in names.items()
        if (
            marks := [
                Mark(
                    point.cost * x.factor,
                    point.quality * y.factor,
                    scaled(point.cost_bounds, x),
                    scaled(point.quality_bounds, y),
                    point.name,
                )
                for point in points
                if point.role == role
            ]
        )
    )
    which: Literal["x"] = "x"
    limits = tuple((which, each.value * x.factor, limit_text(each)) for each in front.limits if each.metric == cost)
    whole = f"{y.title} and {x.title.lower()} of {front.run_folder}"
    return Plot(Scene(whole, x, y, (*front_line(series), *series), limits=limits).drawable())


def front_line(series: Sequence[Series]) -> tuple[Series, ...]:
    """Return the front of winners in the two metrics, as steps; nothing for fewer than two."""
    marks = [mark for each in series if each.role in ("front", "winner") for mark in each.marks]
    if len(marks) < 2:
        return ()
    losses_N2 = np.array([[mark.x, mark.y] for mark in marks])
    if not np.isfinite(losses_N2).all():
        return ()
    kept = [mark for mark, is_kept in zip(marks, non_dominated(losses_N2).tolist(), strict=True) if is_kept]
    ordered = tuple(Mark(mark.x, mark.y) for mark in sorted(kept, key=lambda mark: (mark.x, mark.y)))
    return (Series("front of winners", "line", ordered, "steps"),)
