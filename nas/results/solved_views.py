"""A re-solved front in other forms: text for the terminal, an HTML table, rows for a data frame, and a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.results.plots.plot import Plot, Point, cost_of, plot_of
from nas.results.plots.scene import Role
from nas.results.text_tables import (
    MOST_CHOICES,
    MOST_SHOWN,
    TEXT_WIDTH,
    aligned,
    choices_column,
    html_table,
    total_width,
    within_bounds,
    wrapped,
)
from nas.values.metric import Metric
from nas.values.objective import limit_text

if TYPE_CHECKING:
    from nas.results.solved import Solved, SolvedPoint

LEAST_CHOICES = 24
NO_MODEL = "none yet"


def solved_text(solved: Solved, width: int = TEXT_WIDTH) -> str:
    """Return the front in about a screen: a line about it, a line a point, what qualifies it and what would improve it.

    ``width`` is that of the terminal, in columns. Where the table is wider, its values lose their bounds and choices
    get a line of their own.
    """
    lines = wrapped(_title(solved), width)
    if solved.points:
        lines += ["", *_table(solved, width), *_left_out(solved)]
    lines += [line for text in solved.unmet for line in wrapped(text, width)]
    for heading, texts in (("Notes", _notes(solved)), ("To improve on this", solved.improvements)):
        if texts:
            told = (line for text in texts for line in wrapped(text, width, "- "))
            lines += ["", f"{heading}:", *told]
    return "\n".join(lines)


def solved_html(solved: Solved) -> str:
    """Return the front as an HTML table for a notebook; everything in it is escaped."""
    columns = [*_columns(solved), _choices(solved, MOST_CHOICES)] if solved.points else []
    below = [*_left_out(solved), *solved.unmet, *_notes(solved), *solved.improvements]
    return html_table(_title(solved), columns, below)


def solved_rows(solved: Solved) -> list[dict[str, Any]]:
    """Return one flat dictionary a point: choices as ``choice.<name>``, and each cost with its source and bounds."""
    return [_row(solved, point) for point in solved.points]


def _row(solved: Solved, point: SolvedPoint) -> dict[str, Any]:
    row: dict[str, Any] = {"id": point.architecture.id, **point.trained, **point.counted}
    for name in (*point.predicted, *point.measurements):
        interval = point.interval(name)
        row |= {name: point.value(name), f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
        row |= {f"{name}_source": point.source(name)}
    row |= {"meets_limits": point.meets(solved.limits), "doubts": "; ".join(point.doubts)}
    row |= {f"choice.{name}": option for name, option in point.architecture.items()}
    return {**row, "bundle": str(solved.run_folder / point.folder) if point.folder else ""}


def solved_plot(solved: Solved, metric: str | None = None) -> Plot:
    """Return a plot of the error, or another trained objective, against ``metric``, by default the first cost.

    Bars are 95 % intervals of measured values, and 90 % bounds of predicted ones.

    Raises:
        ValueError: no such metric, or no point has a value of it.
    """
    cost, quality = cost_of(solved, metric), solved.quality
    shown = [point for point in solved.points if point.has(cost.name) and point.has(quality.name)]
    if solved.points and not shown:
        raise ValueError(f"a plot needs values, but no point has a value of {cost.name}.")
    names: dict[Role, str] = {"predicted": "predicted", "measured": "known"}
    points = [_point(each, cost, quality) for each in shown]
    return plot_of(solved, cost, points, names, f"{_where(solved).capitalize()} {solved.words.loss_of(quality)}")


def _point(point: SolvedPoint, cost: Metric, quality: Metric) -> Point:
    role: Role = "predicted" if point.source(cost.name) == "predicted" else "measured"
    bounds = point.interval(cost.name)
    name = f"{point.architecture.id}: {point.architecture.short}"
    return Point(role, name, point.value(cost.name), point.value(quality.name), (bounds.lower, bounds.upper))


def _title(solved: Solved) -> str:
    under = f" under {' and '.join(limit_text(limit) for limit in solved.limits)}" if solved.limits else ""
    count = len(solved.candidates)
    of = f"{len(solved.points)} of {count} candidate{'s' * (count != 1)}"
    names = [cost.name for cost in solved.costs if cost.source == "measured"]
    parts = [of]
    if names and solved.points:
        sure = sum(point.is_measured(names) for point in solved.points)
        guessed = len(solved.points) - sure
        parts += [f"{sure} {'looked up' if solved.table else 'measured'}"] if sure else []
        parts += [f"{guessed} predicted"] if guessed else []
    return f"Front of {solved.run_folder}{under}, on {solved.target}: {', '.join(parts)}."


def _where(solved: Solved) -> str:
    """Return where the errors of candidates are from."""
    return "looked-up" if solved.table else "validation"


def _table(solved: Solved, width: int) -> list[str]:
    for ranges in (True, False):
        columns = _columns(solved, ranges=ranges)
        room = width - total_width(columns)
        if room >= LEAST_CHOICES:
            return aligned([*columns, _choices(solved, room)])
    header, *rows = aligned(columns)
    _, *choices = _choices(solved, width - 4)
    return [header, *(line for row, text in zip(rows, choices, strict=True) for line in (row, f"    {text}"))]


def _columns(solved: Solved, *, ranges: bool = True) -> list[list[str]]:
    """Return the columns of the points that are shown, without their choices."""
    shown = solved.points[:MOST_SHOWN]
    columns = [["", *map(str, range(len(shown)))], ["candidate", *(point.architecture.id for point in shown)]]
    title = f"{_where(solved)} {solved.words.title}"
    columns.append([title, *(solved.words.text(point.trained["error"]) for point in shown)])
    for cost in solved.shown_costs:
        columns.append([cost.title.lower(), *(_cost_text(point, cost, ranges) for point in shown)])
    if solved.limits:
        columns.append(["limits", *("met" if each.meets(solved.limits) else "probably met" for each in shown)])
    return columns if solved.table else [*columns, ["model", *map(_model_text, shown)]]


def _model_text(point: SolvedPoint) -> str:
    """Return where the model of a point lies, and its test error: it was trained longer than the candidate."""
    if not point.folder or point.winner is None:
        return NO_MODEL
    return f"{point.folder} ({point.words.text(point.winner.test_error)} on the test)"


def _cost_text(point: SolvedPoint, cost: Metric, ranges: bool) -> str:
    if not point.has(cost.name):
        return "unknown"
    mark = "~" if point.source(cost.name) == "predicted" else ""
    bounds = point.words.bounds_text(cost, point.interval(cost.name))
    return f"{mark}{within_bounds((cost.format(point.value(cost.name)), bounds), ranges=ranges)}"


def _choices(solved: Solved, width: int) -> list[str]:
    architectures = (each.architecture for each in solved.points[:MOST_SHOWN])
    return choices_column(architectures, solved.best.architecture, width)


def _notes(solved: Solved) -> list[str]:
    names = {cost.name for cost in solved.costs}
    predicted = any(point.source(name) == "predicted" for point in solved.points for name in names if point.has(name))
    others = "are from the table" if solved.table else "are measured, with 95 % intervals"
    marks = [f"Values after ~ are predicted, with 90 % bounds; the others {others}."]
    doubts = dict.fromkeys(f"Doubt: {doubt}." for point in solved.points for doubt in point.doubts)
    return [*(marks if predicted else []), *solved.notes, *doubts]


def _left_out(solved: Solved) -> list[str]:
    left = len(solved.points) - MOST_SHOWN
    return [f"and {left} more: --json, or solved[{MOST_SHOWN}:] in Python, has them."] if left > 0 else []
