"""A plot of a front, which shows itself in a notebook and can be saved as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

import numpy as np

from nas.errors import RecipeError, did_you_mean
from nas.results.plots.pictures import PictureSettings, check_picture, picture_of
from nas.results.plots.scene import Axis, Bounds, LimitLine, Mark, Role, Scene, Series, axis_of, scaled
from nas.values.metric import METRICS, Metric
from nas.values.objective import Limit, limit_text
from nas.values.pareto import non_dominated

if TYPE_CHECKING:
    from nas.results.front import Front
    from nas.results.solved import Solved
    from nas.results.winner import Winner


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
        from nas.storage.output_files import write_out

        path = Path(path)
        check_picture(path)
        if self.scene.is_empty:
            raise RecipeError(f"there is nothing to plot: {self.scene.title} has no points.")
        write_out(path, picture_of(self.scene, path.suffix, settings))
        return path


@dataclass(frozen=True)
class Point:
    """A value on both axes with the ends of its bars, in the units of the metrics."""

    role: Role
    name: str
    x: float
    y: float
    x_bounds: Bounds | None = None
    y_bounds: Bounds | None = None

    @classmethod
    def of_winner(cls, role: Role, name: str, winner: Winner, x: Metric, y: Metric) -> Point:
        """Return the point of a winner that has both metrics, with their intervals."""
        found = [winner.estimate(metric.name) for metric in (x, y)]
        bounds = [(each.interval.lower, each.interval.upper) for each in found]
        return cls(role, name, found[0].value, found[1].value, *bounds)

    def mark(self, x: Axis, y: Axis) -> Mark:
        """Return the mark in the units of the axes."""
        bounds = scaled(self.x_bounds, x), scaled(self.y_bounds, y)
        return Mark(self.x * x.factor, self.y * y.factor, *bounds, self.name)


def cost_of(front: Front | Solved, metric: str | None) -> Metric:
    """Return the metric that is asked for, or else the first cost. Raises ValueError if there is no such metric."""
    if metric is None:
        return front.costs[0] if front.costs else METRICS["latency_ms"]
    known = [name for name in METRICS if name != "error"]
    if metric not in METRICS or metric == "error":
        raise ValueError(f"metric must name a cost, but got {metric!r}. {did_you_mean(metric, known)}")
    return METRICS[metric]


def plot_of(
    front: Front | Solved,
    cost: Metric,
    points: Sequence[Point],
    names: Mapping[Role, str],
    title: str,
    left_out: Sequence[str] = (),
) -> Plot:
    """Return the plot of points, of which each role has a name. ``title`` is that of the quality."""
    x = axis_of(cost, front.words, [point.x for point in points])
    y = replace(axis_of(front.quality, front.words, [point.y for point in points]), title=title)
    series, limits = series_of(points, names, x, y, shows_bars=True), limit_lines(front.limits, cost, x, "x")
    whole = f"{y.title} and {x.title.lower()} of {front.run_folder}"
    return Plot(Scene(whole, x, y, series, limits=limits, left_out=tuple(left_out)).drawable())


def series_of(
    points: Sequence[Point],
    names: Mapping[Role, str],
    x: Axis,
    y: Axis,
    *,
    shows_bars: bool = False,
    has_line: bool = True,
) -> tuple[Series, ...]:
    """Return the front of winners, and the points by their roles, in the order of the ``names`` of these."""
    marks = {role: tuple(point.mark(x, y) for point in points if point.role == role) for role in names}
    found = [
        Series(f"{name} ({len(marks[role])})", role, marks[role], shows_bars=shows_bars)
        for role, name in names.items()
        if marks[role]
    ]
    return (*(front_line(found) if has_line else ()), *found)


def chance_notes(winners: Sequence[Winner]) -> list[str]:
    """Return a sentence about the winners that are not drawn because they learned nothing, if there are any."""
    if not winners:
        return []
    who = ", ".join(f"{each.architecture.id} at {each.words.text(each.test_error)}" for each in winners)
    return [f"Not drawn, for {'it' if len(winners) == 1 else 'they'} learned nothing: {who}."]


def limit_lines(limits: Sequence[Limit], metric: Metric, axis: Axis, which: Literal["x", "y"]) -> tuple[LimitLine, ...]:
    """Return the lines of the limits on a metric, across the plot at their places on its axis."""
    return tuple((which, each.value * axis.factor, limit_text(each)) for each in limits if each.metric == metric)


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
