"""A front in other forms: a few lines of text, an HTML table, rows for a data frame, and a plot."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from nas.results.failures import failures_text
from nas.results.notes.front_notes import Winners, notes_of, reference_of, told_choices
from nas.results.plots.plot import Plot, Point, cost_of, plot_of
from nas.results.plots.scene import Role
from nas.results.winner import Winner, bare_range, range_text
from nas.space.parts.training_parts import precision_of
from nas.values.comparison import Standing
from nas.values.metric import Metric
from nas.values.objective import limit_text

MOST_SHOWN = 12
"""The most winners that a front prints by itself, so that it fits on a screen."""
MOST_NOTES = 4
TEXT_WIDTH, LEAST_CHOICES, MOST_CHOICES = 120, 40, 80
"""The widths of a front's text, of the least part of it for choices, and of choices in a notebook's table."""


def front_text(front: Winners) -> str:
    """Return the front in at most a screen: a line about it, a line a winner, and what qualifies their values."""
    title = f"Front of {front.run_folder}: {_summary(front)}"
    if not front.winners:
        return title
    rows = _rows(front)
    if total_width(rows) > TEXT_WIDTH - LEAST_CHOICES:
        rows = _rows(front, ranges=False)
    choices = _choices(front, max(LEAST_CHOICES, TEXT_WIDTH - total_width(rows)))
    lines = aligned([[*row, text] for row, text in zip(rows, choices, strict=True)])
    lines += _left_out(front)
    notes = list(dict.fromkeys(note for notes in notes_of(front)[:MOST_SHOWN] for note in notes))
    if len(notes) > MOST_NOTES:
        notes = [*notes[: MOST_NOTES - 1], f"… and {len(notes) - MOST_NOTES + 1} more notes: see front.notes."]
    learned = [front.nothing_learned] if front.nothing_learned else []
    said = [
        line
        for note in (*notes, *learned, *front.compared)
        for line in textwrap.wrap(note, TEXT_WIDTH, break_on_hyphens=False)
    ]
    return "\n".join([title, *lines, *said])


def front_html(front: Winners) -> str:
    """Return the front as an HTML table for a notebook, at most a screen of it; everything in it is escaped."""
    header, *rows = [[*row, text] for row, text in zip(_rows(front), _choices(front, MOST_CHOICES), strict=True)]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = html.escape(f"Front of {front.run_folder}: {_summary(front)}")
    notes = list(dict.fromkeys(note for notes in notes_of(front)[:MOST_SHOWN] for note in notes))[:MOST_NOTES]
    said = [*_left_out(front), *notes, *([front.nothing_learned] if front.nothing_learned else []), *front.compared]
    below = "".join(f"<p>{html.escape(note)}</p>" for note in said)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def front_rows(front: Winners) -> list[dict[str, Any]]:
    """Return one flat dictionary a winner: choices as ``choice.<name>``, medians, and bounds as ``<metric>_lower``."""
    return [_row(front, winner, standing) for winner, standing in zip(front.winners, front.standings, strict=True)]


def _row(front: Winners, winner: Winner, standing: Standing) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": winner.architecture.id,
        "on_front": standing.on_front,
        "same_as": " ".join(standing.same_as),
        "barely_ahead_of": " ".join(standing.barely_ahead_of),
        "meets_limits": winner.meets(front.limits),
        "test_error": winner.test_error,
        "test_error_lower": winner.test_interval.lower,
        "test_error_upper": winner.test_interval.upper,
        "near_chance": winner.is_near_chance if winner.chance_error is not None else None,
        "worse_than_constant": winner.is_worse_than_constant if winner.chance_error is not None else None,
        **_seed_columns(winner),
        "doubts": "; ".join(winner.doubts),
    }
    for name, measurement in winner.measurements.items():
        interval = measurement.interval
        row |= {name: measurement.median, f"{name}_lower": interval.lower, f"{name}_upper": interval.upper}
    for name, found in winner.scores.items():
        row |= {name: found.value, f"{name}_lower": found.interval.lower, f"{name}_upper": found.interval.upper}
    row |= dict(winner.values)
    row |= {f"choice.{name}": option for name, option in winner.architecture.items()}
    return {**row, "bundle": "" if winner.bundle is None else str(winner.bundle)}


def _seed_columns(winner: Winner) -> dict[str, Any]:
    if winner.seeds is None:
        return {}
    found = winner.seeds.estimate
    return {
        "seeds": len(winner.seeds.errors),
        "test_error_over_seeds": found.value,
        "test_error_over_seeds_lower": found.interval.lower,
        "test_error_over_seeds_upper": found.interval.upper,
    }


def front_plot(front: Winners, metric: str | None = None) -> Plot:
    """Return a plot of the test error, or another trained objective, against ``metric``, by default the first cost.

    Bars are 95 % intervals.

    Raises:
        ValueError: no such metric, or no winner has a value of it.
    """
    cost, quality = cost_of(front, metric), front.quality
    pairs = zip(front.winners, front.standings, strict=True)
    shown = [pair for pair in pairs if pair[0].has(cost.name) and pair[0].has(quality.name)]
    if front.winners and not shown:
        raise ValueError(f"a plot needs values, but no winner has a value of {cost.name}.")
    points = [_point(winner, "front" if standing.on_front else "winner", cost, quality) for winner, standing in shown]
    title = front.words.error if quality.name == "error" else quality.title.lower()
    names: dict[Role, str] = {"winner": "other winners", "front": "winners on the front"}
    return plot_of(front, cost, points, names, f"Test {title}")


def _point(winner: Winner, role: Role, cost: Metric, quality: Metric) -> Point:
    x, y = winner.estimate(cost.name), winner.estimate(quality.name)
    bounds = [(each.interval.lower, each.interval.upper) for each in (x, y)]
    return Point(role, _hover(winner), x.value, y.value, bounds[0], bounds[1])


def _hover(winner: Winner) -> str:
    over = "" if winner.seeds is None else f", {winner.seeds.text(winner.words)}"
    return f"{winner.architecture.id}: {winner.short}{over}"


def _summary(front: Winners) -> str:
    count = len(front.winners)
    if not count:
        return f"0 winners. {failures_text(front.failures)}".strip()
    parts = [f"{count} winner{'s' * (count != 1)}", f"{sum(front.on_front)} on the front"]
    if front.limits:
        met = sum(winner.meets(front.limits) for winner in front.winners)
        parts.append(f"{met} within {' and '.join(limit_text(limit) for limit in front.limits)}")
    return ", ".join(parts)


def _left_out(front: Winners) -> list[str]:
    left = len(front.winners) - MOST_SHOWN
    return [f"and {left} more; front[{MOST_SHOWN}:] and front.to_dataframe() have them."] if left > 0 else []


def _rows(front: Winners, ranges: bool = True) -> list[list[str]]:
    """Return the header and one row of cells for each winner that is shown, without its choices."""
    limits = ["limits"] if front.limits else []
    is_same = any(standing.same_as for standing in front.standings)
    shown_costs = (*([front.quality] if front.quality.name != "error" else []), *front.costs)
    costs = [cost.title.lower() for cost in shown_costs]
    chosen = [precision_of(winner.architecture) for winner in front.winners]
    precisions = ["precision"] if any(chosen) else []
    same_title = ["same as"] if is_same else []
    seeds = ["over seeds"] if any(winner.seeds is not None for winner in front.winners) else []
    rows = [["", "winner", *precisions, "front", f"test {front.words.title}", *seeds, *costs, *limits, *same_title]]
    for number, (winner, standing) in enumerate(zip(front.winners, front.standings, strict=True)):
        place = "yes" if standing.on_front else "no"
        accuracy = front.words.text(winner.test_error) + (f" ({winner.chance_mark})" if winner.chance_mark else "")
        found = [_cost_text(winner, cost, ranges) for cost in shown_costs]
        met = ["met" if winner.meets(front.limits) else "not met"] if front.limits else []
        same = f"{len(standing.same_as)} others" if len(standing.same_as) > 1 else "".join(standing.same_as)
        named = [chosen[number] or ""] if precisions else []
        over = [_seeds_text(winner)] if seeds else []
        shown = [str(number), winner.architecture.id, *named, place, accuracy, *over, *found, *met]
        rows.append([*shown, *([same] if is_same else [])])
    return rows[: MOST_SHOWN + 1]


def _seeds_text(winner: Winner) -> str:
    """Return the interval over seeds, and their number: ``93.80–94.44 % (3)``."""
    if winner.seeds is None:
        return "one seed"
    return f"{winner.words.range_text(winner.seeds.estimate.interval)} ({len(winner.seeds.errors)})"


def _choices(front: Winners, width: int) -> list[str]:
    """Return the header and the cells about choices: the best winner's own, and in what the others differ from them."""
    reference = reference_of(front)
    if reference is None:
        return ["choices"]
    shown = front.winners[:MOST_SHOWN]
    texts = [told_choices(winner.architecture, reference, width, cell_len) for winner in shown]
    return [f"choices beside {reference.id}", *texts]


def _cost_text(winner: Winner, cost: Metric, ranges: bool) -> str:
    if not winner.has(cost.name):
        return "unknown"
    interval = winner.estimate(cost.name).interval
    value = cost.format(winner.value(cost.name))
    if interval.is_point or not ranges:
        return value
    bounds = range_text(cost, interval.lower, interval.upper)
    return f"{value} ({bare_range(value, bounds)})"


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the cells that each column takes in a terminal."""
    return [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]


def total_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the cells that all columns take, each with two blanks after it."""
    return sum(width + 2 for width in column_widths(rows))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, with columns of equal width."""
    widths = column_widths(rows)
    padded = ((cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return ["  ".join(cells).rstrip() for cells in padded]
