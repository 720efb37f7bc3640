"""A re-solved front in other forms: text for the terminal, an HTML table, rows for a data frame, and a plot."""

from __future__ import annotations

import html
import textwrap
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from nas.results.front_views import aligned, total_width
from nas.results.notes.front_notes import told_choices
from nas.results.plots.plot import Plot, Point, cost_of, plot_of
from nas.results.plots.scene import Role
from nas.results.winner import bare_range, range_text
from nas.values.metric import Metric
from nas.values.objective import limit_text

if TYPE_CHECKING:
    from nas.results.solved import Solved, SolvedPoint

MOST_SHOWN = 12
"""The most points that are shown at once, so that they fit on a screen."""
TEXT_WIDTH, LEAST_CHOICES, MOST_CHOICES = 120, 24, 80
NO_MODEL = "none yet"


def solved_text(solved: Solved, width: int = TEXT_WIDTH) -> str:
    """Return the front in about a screen: a line about it, a line a point, what qualifies it and what would improve it.

    ``width`` is that of the terminal, in columns. Where the table is wider, its values lose their bounds and choices
    get a line of their own.
    """
    lines = _wrapped(_title(solved), width)
    if solved.points:
        lines += ["", *_table(solved, width), *_left_out(solved)]
    lines += [line for text in solved.unmet for line in _wrapped(text, width)]
    for heading, texts in (("Notes", _notes(solved)), ("To improve on this", solved.improvements)):
        if texts:
            told = (line for text in texts for line in _wrapped(text, width, "- "))
            lines += ["", f"{heading}:", *told]
    return "\n".join(lines)


def solved_html(solved: Solved) -> str:
    """Return the front as an HTML table for a notebook; everything in it is escaped."""
    parts = [f"<table><caption>{html.escape(_title(solved))}</caption>"]
    if solved.points:
        header, *rows = [[*row, text] for row, text in zip(_rows(solved), _choices(solved, MOST_CHOICES), strict=True)]
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        parts.append(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")
    below = [*_left_out(solved), *solved.unmet, *_notes(solved), *solved.improvements]
    return "".join([*parts, "</table>", *(f"<p>{html.escape(text)}</p>" for text in below)])


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
    title = _quality_title(solved)
    points = [_point(each, cost, quality) for each in shown]
    return plot_of(solved, cost, points, names, title[:1].upper() + title[1:])


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


def _quality_title(solved: Solved) -> str:
    quality = solved.quality
    where = "looked-up" if solved.table else "validation"
    return f"{where} {solved.words.error if quality.name == 'error' else quality.title.lower()}"


def _table(solved: Solved, width: int) -> list[str]:
    for ranges in (True, False):
        rows = _rows(solved, ranges)
        room = width - total_width(rows)
        if room >= LEAST_CHOICES:
            return aligned([[*row, text] for row, text in zip(rows, _choices(solved, room), strict=True)])
    choices = _choices(solved, width - 4)
    return [
        line
        for number, (row, text) in enumerate(zip(aligned(rows), choices, strict=True))
        for line in ([row] if number == 0 else [row, f"    {text}"])
    ]


def _rows(solved: Solved, ranges: bool = True) -> list[list[str]]:
    """Return the header and one row of cells for each point that is shown, without its choices."""
    where = "looked-up" if solved.table else "validation"
    shown_costs = (*([solved.quality] if solved.quality.name != "error" else []), *solved.costs)
    header = ["", "candidate", f"{where} {solved.words.title}", *(cost.title.lower() for cost in shown_costs)]
    rows = [[*header, *(["limits"] if solved.limits else []), *([] if solved.table else ["model"])]]
    for number, point in enumerate(solved.points[:MOST_SHOWN]):
        row = [str(number), point.architecture.id, solved.words.text(point.trained["error"])]
        row += [_cost_text(point, cost, ranges) for cost in shown_costs]
        if solved.limits:
            row.append("met" if point.meets(solved.limits) else "probably met")
        rows.append([*row, *([] if solved.table else [_model_text(point)])])
    return rows


def _model_text(point: SolvedPoint) -> str:
    """Return where the model of a point lies, and its test error: it was trained longer than the candidate."""
    if not point.folder or point.winner is None:
        return NO_MODEL
    return f"{point.folder} ({point.words.text(point.winner.test_error)} on the test)"


def _cost_text(point: SolvedPoint, cost: Metric, ranges: bool) -> str:
    if not point.has(cost.name):
        return "unknown"
    value, interval = cost.format(point.value(cost.name)), point.interval(cost.name)
    mark = "~" if point.source(cost.name) == "predicted" else ""
    if interval.is_point or not ranges:
        return f"{mark}{value}"
    return f"{mark}{value} ({bare_range(value, range_text(cost, interval.lower, interval.upper))})"


def _choices(solved: Solved, width: int) -> list[str]:
    best = solved.best
    assert best is not None
    reference = best.architecture
    shown = solved.points[:MOST_SHOWN]
    texts = [told_choices(point.architecture, reference, width, cell_len) for point in shown]
    return [f"choices beside {reference.id}"[:width], *texts]


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


def _wrapped(text: str, width: int, bullet: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
