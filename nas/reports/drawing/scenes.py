"""The scenes of a run: any two metrics against each other, the course of the search, and checks of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import final

from nas.errors import RecipeError, did_you_mean
from nas.reports.candidates import prediction_checks
from nas.reports.wording import wording_of
from nas.results.plots.plot import Point, chance_notes, limit_lines, series_of
from nas.results.plots.scene import Axis, Bounds, Mark, Role, Scene, Series, axis_of, metric_text, scaled
from nas.results.records import Record
from nas.results.run import Run
from nas.values.metric import HIGHER_IS_BETTER, METRICS, Metric


@final
@dataclass(frozen=True)
class PlotRequest:
    """What to plot: the kind of plot, the metrics of its axes, and which axes are logarithmic.

    ``log`` None lets the values decide. ``stopped`` draws candidates whose training was stopped early, too.
    """

    kind: str = "front"
    x: str | None = None
    y: str | None = None
    log: tuple[str, ...] | None = None
    stopped: bool = False

    def is_log(self, axis: str) -> bool | None:
        """Return whether an axis is logarithmic; None if the values decide."""
        return None if self.log is None else axis in self.log


def scene_of(run: Run, request: PlotRequest) -> Scene:
    """Return the scene that is asked for.

    Raises:
        RecipeError: an unknown kind, metric or axis, or nothing that could be drawn.
    """
    if request.kind not in KINDS:
        known = ", ".join(KINDS)
        raise RecipeError(f"--kind is one of {known}, but got {request.kind!r}. {did_you_mean(request.kind, KINDS)}")
    unknown = next((axis for axis in request.log or () if axis not in ("x", "y")), None)
    if unknown is not None:
        raise RecipeError(f"--log takes x or y, but got {unknown!r}.")
    scene = KINDS[request.kind](run, request).drawable()
    if scene.is_empty:
        raise RecipeError(f"there is nothing to plot: {' '.join(scene.notes) or 'the run has no values for it yet.'}")
    return scene


def chosen_metric(name: str, axis: str) -> Metric:
    """Return the metric that a user named; of accuracy and the like the one that is minimised in its place.

    Raises:
        RecipeError: no such metric.
    """
    name = HIGHER_IS_BETTER.get(name, name)
    if name not in METRICS:
        raise RecipeError(f"--{axis} is a metric, but got {name!r}. {did_you_mean(name, METRICS)}")
    return METRICS[name]


def front_scene(run: Run, request: PlotRequest) -> Scene:
    """Return two metrics against each other: winners with intervals and their front, and candidates.

    By default they are the first cost, and the first trained objective or the error. Where winners have errors of the
    test, and candidates those of the search, the winners stand alone: these errors do not compare. Winners that learned
    nothing are left out beside others, for they would stretch the axis.
    """
    x_metric, y_metric = _axes_of(run, request)
    records = [each for each in run.records if request.stopped or not each.was_stopped]
    is_mixed = any(_has_two(each, metric) for each in records for metric in (x_metric, y_metric))
    shown = [each for each in records if each.winner is not None] if is_mixed else records
    useless = _at_chance(shown, (x_metric, y_metric))
    shown = [each for each in shown if each not in useless]
    points = [_point(each, x_metric, y_metric) for each in shown]
    found = [point for point in points if point is not None]
    x = axis_of(x_metric, run.words, [point.x for point in found], request.is_log("x"))
    y = axis_of(y_metric, run.words, [point.y for point in found], request.is_log("y"))
    y = (
        replace(y, title=f"{wording_of(run.table).winner_error_source} {y.title.lower()}".capitalize())
        if is_mixed
        else y
    )
    notes = [] if found else [_nothing(run, x_metric, y_metric)]
    if is_mixed and len(shown) + len(useless) < len(records):
        notes.append("Candidates have errors of the search alone: nas plot --kind candidates draws all by those.")
    unknown = sum(point is None for point, each in zip(points, shown, strict=True) if each.winner is not None)
    if unknown:
        what = "winner has" if unknown == 1 else "winners have"
        notes.append(f"{unknown} {what} no {metric_text(x_metric.name)} or no {metric_text(y_metric.name)}.")
    return Scene(
        title=f"{y.title} and {x.title.lower()} of {run.name}",
        x=x,
        y=y,
        series=series_of(found, ROLES, x, y),
        limits=(*limit_lines(run.limits, x_metric, x, "x"), *limit_lines(run.limits, y_metric, y, "y")),
        notes=tuple(notes),
        left_out=tuple(chance_notes([each.winner for each in useless if each.winner is not None])),
    )


def _axes_of(run: Run, request: PlotRequest) -> tuple[Metric, Metric]:
    """Return the metrics of both axes."""
    front = run.front
    costs = front.costs or ((METRICS["params"],) if request.x is None else ())
    x_metric = costs[0] if request.x is None else chosen_metric(request.x, "x")
    return x_metric, front.quality if request.y is None else chosen_metric(request.y, "y")


def _has_two(record: Record, metric: Metric) -> bool:
    """Return True for a winner whose value of a trained metric is another in the search than in the end."""
    if record.winner is None or metric.source != "trained" or not record.winner.has(metric.name):
        return False
    return record.winner.value(metric.name) != record.value(metric.name)


def _at_chance(records: Sequence[Record], metrics: Sequence[Metric]) -> list[Record]:
    """Return the winners that learned nothing, where a trained metric is drawn and other winners did learn."""
    if all(metric.source != "trained" for metric in metrics):
        return []
    winners = [each for each in records if each.winner is not None]
    found = [each for each in winners if each.winner is not None and each.winner.chance_mark]
    return found if len(found) < len(winners) else []


def candidates_scene(run: Run, request: PlotRequest) -> Scene:
    """Return two metrics of all architectures against each other, with the errors that the search saw of them.

    So winners compare with candidates, and have no interval.
    """
    x_metric, y_metric = _axes_of(run, request)
    shown = [each for each in run.records if request.stopped or not each.was_stopped]
    points = [_point(each, x_metric, y_metric, of_search=True) for each in shown]
    found = [point for point in points if point is not None]
    x = axis_of(x_metric, run.words, [point.x for point in found], request.is_log("x"))
    y = axis_of(y_metric, run.words, [point.y for point in found], request.is_log("y"))
    if y_metric.source == "trained" and run.table is None:
        y = replace(y, title=f"{wording_of(run.table).search_error_source} {y.title.lower()}".capitalize())
    names = {**ROLES, "winner": "other winners", "front": "winners on the front of the test"}
    return Scene(
        title=f"{y.title} and {x.title.lower()} of the candidates of {run.name}",
        x=x,
        y=y,
        series=series_of(found, names, x, y, has_line=False),
        limits=(*limit_lines(run.limits, x_metric, x, "x"), *limit_lines(run.limits, y_metric, y, "y")),
        notes=() if found else (_nothing(run, x_metric, y_metric),),
    )


def terminal_scene(run: Run, x: str | None = None, y: str | None = None) -> Scene | None:
    """Return the scene that suits a run in a terminal; None where there is nothing to draw and nobody asked for it.

    It is the front; where nothing but a trained metric was minimised, the course of the search.

    Raises:
        RecipeError: a metric that does not exist.
    """
    is_asked = x is not None or y is not None
    is_search = not is_asked and not run.front.costs
    scene = (search_scene if is_search else front_scene)(run, PlotRequest(x=x, y=y)).drawable()
    return None if scene.is_empty and not is_asked else scene


ROLES: dict[Role, str] = {
    "stopped": "stopped early",
    "predicted": "candidates, predicted",
    "measured": "candidates",
    "winner": "other winners",
    "front": "winners on the front",
}
"""The kinds of marks and their names, in the order in which they are drawn over each other."""


def _point(record: Record, x: Metric, y: Metric, *, of_search: bool = False) -> Point | None:
    """Return the point of an architecture, a winner's also by what the search saw; None where a value is unknown."""
    name, winner = record.architecture.id, record.winner
    role: Role
    if winner is not None and record.standing is not None and not of_search:
        role = "front" if record.standing.on_front else "winner"
        has_both = winner.has(x.name) and winner.has(y.name)
        return Point.of_winner(role, name, winner, x, y) if has_both else None
    x_found, y_found = record.value(x.name), record.value(y.name)
    if x_found is None or y_found is None:
        return None
    sources = {record.source(x.name), record.source(y.name)}
    role = "stopped" if record.was_stopped else "predicted" if "predicted" in sources else "measured"
    if record.standing is not None:
        role = "front" if record.standing.on_front else "winner"
    return Point(role, name, x_found, y_found, _bounds(record, x), _bounds(record, y))


def _bounds(record: Record, metric: Metric) -> Bounds | None:
    found = record.measurements.get(metric.name)
    return None if found is None else (found.interval.lower, found.interval.upper)


def _nothing(run: Run, x: Metric, y: Metric) -> str:
    if not run.rows:
        return "Nothing has been recorded yet."
    return f"No architecture of this run has both a value of {metric_text(x.name)} and one of {metric_text(y.name)}."


def search_scene(run: Run, request: PlotRequest) -> Scene:
    """Return the error, or another trained metric, of each evaluation in turn, and the best so far.

    Architectures that share a training, such as those that differ in their precision, stand at one evaluation.
    """
    metric = run.front.quality if request.y is None else chosen_metric(request.y, "y")
    if metric.source != "trained":
        raise RecipeError(f"--kind search plots a metric that is trained, but {metric.name} is {metric.source}.")
    rows = [row for row in run.rows if row.stage == "train"]
    numbers = accumulate(int(not row.is_shared) for row in rows)
    values = [
        (n, row.values[metric.name], row) for n, row in zip(numbers, rows, strict=True) if metric.name in row.values
    ]
    whole = [(n, value) for n, value, row in values if row.reached_full_fidelity]
    stopped = [(n, value) for n, value, row in values if not row.reached_full_fidelity and not row.failed]
    x = Axis("Evaluation", is_log=bool(request.is_log("x")))
    y = axis_of(metric, run.words, [value for _, value in (*whole, *stopped)], request.is_log("y"))
    least = zip((n for n, _ in whole), accumulate((value for _, value in whole), min), strict=True)
    groups: Mapping[str, tuple[Role, Sequence[tuple[int, float]], bool]] = {
        "stopped early": ("stopped", stopped, False),
        "evaluations": ("measured", whole, False),
        "best so far": ("line", list(least), True),
    }
    series = tuple(
        Series(
            name if is_line else f"{name} ({len(points)})",
            role,
            tuple(Mark(n, value * y.factor) for n, value in points),
            "steps" if is_line else "none",
        )
        for name, (role, points, is_line) in groups.items()
        if points
    )
    notes = () if values else (f"No evaluation of this run has a value of {metric_text(metric.name)}.",)
    title = f"{y.title} over the search of {run.name}"
    return Scene(title, x, y, series, limits=limit_lines(run.limits, metric, y, "y"), notes=notes)


def predictions_scene(run: Run, request: PlotRequest) -> Scene:
    """Return measured values against those that were predicted of them, with a line where both are equal."""
    measured = METRICS.among(sorted({name for row in run.rows for name in row.predicted}))
    checked = {metric.name: found for metric in measured if (found := prediction_checks(run.index, metric))}
    first = METRICS[next(iter(checked), "latency_ms")]
    metric = first if request.x is None else chosen_metric(request.x, "x")
    checks = checked.get(metric.name, [])
    values = [value for check in checks for value in (check.predicted.mean, check.measured.median)]
    axis = axis_of(metric, run.words, values, request.is_log("x"))
    notes = () if checks else (f"No prediction of {metric_text(metric.name)} was followed by a measurement.",)
    if not checks:
        return Scene("", axis, axis, (), notes=notes)
    marks: dict[bool, list[Mark]] = {True: [], False: []}
    for check in checks:
        interval = check.measured.interval
        marks[check.came_before].append(
            Mark(
                check.predicted.mean * axis.factor,
                check.measured.median * axis.factor,
                scaled((check.predicted.lower, check.predicted.upper), axis),
                scaled((interval.lower, interval.upper), axis),
                check.architecture.id,
            )
        )
    ends = [end * axis.factor for end in (min(values), max(values))]
    line = Series("predicted = measured", "identity", tuple(Mark(end, end) for end in ends), "straight")
    seen = Series(f"fitted to before ({len(marks[False])})", "predicted", tuple(marks[False]))
    before = Series(f"predicted before measuring ({len(marks[True])})", "front", tuple(marks[True]))
    series = tuple(each for each in (line, seen, before) if each.marks)
    x = Axis(f"Predicted {metric_text(metric.name)}", axis.unit, axis.factor, axis.is_log)
    y = Axis(f"Measured {metric_text(metric.name)}", axis.unit, axis.factor, axis.is_log)
    return Scene(f"Measured against predicted {metric_text(metric.name)} of {run.name}", x, y, series)


KINDS: Mapping[str, Callable[[Run, PlotRequest], Scene]] = {
    "front": front_scene,
    "candidates": candidates_scene,
    "search": search_scene,
    "predictions": predictions_scene,
}
"""The kinds of plots by name."""
