"""A front in other forms: a few lines of text, an HTML table, rows for a data frame, and a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.results.failures import failures_text
from nas.results.notes.front_notes import notes_of
from nas.results.plots.plot import Plot, Point, chance_notes, cost_of, plot_of
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
from nas.results.winner import Winner
from nas.values.comparison import Standing
from nas.values.metric import METRICS, Metric
from nas.values.objective import limit_text

if TYPE_CHECKING:
    from nas.results.front import Front

MOST_NOTES = 4
LEAST_CHOICES = 40
"""The width of the least part of a front's text for choices."""


def front_text(front: Front) -> str:
    """Return the front in at most a screen: a line about it, a line a winner, and what qualifies their values."""
    if front.first is not None:
        return front.first.text()
    if not front.winners:
        return _title(front)
    columns = _columns(front)
    if total_width(columns) > TEXT_WIDTH - LEAST_CHOICES:
        columns = _columns(front, ranges=False)
    lines = aligned([*columns, _choices(front, max(LEAST_CHOICES, TEXT_WIDTH - total_width(columns)))])
    notes = _notes(front)
    if len(notes) > MOST_NOTES:
        notes = [*notes[: MOST_NOTES - 1], f"… and {len(notes) - MOST_NOTES + 1} more notes: see front.notes."]
    said = [line for note in (*notes, *_learned(front), *front.compared) for line in wrapped(note)]
    return "\n".join([_title(front), *lines, *_left_out(front), *said])


def front_html(front: Front) -> str:
    """Return the front as an HTML table for a notebook, at most a screen of it; everything in it is escaped."""
    if front.first is not None:
        return front.first.html()
    below = [*_left_out(front), *_notes(front)[:MOST_NOTES], *_learned(front), *front.compared]
    return html_table(_title(front), [*_columns(front), _choices(front, MOST_CHOICES)], below)


def _notes(front: Front) -> list[str]:
    """Return the notes on the winners that are shown, each once."""
    return list(dict.fromkeys(note for notes in notes_of(front)[:MOST_SHOWN] for note in notes))


def _learned(front: Front) -> list[str]:
    return [front.nothing_learned] if front.nothing_learned else []


def front_rows(front: Front) -> list[dict[str, Any]]:
    """Return one flat dictionary a winner: choices as ``choice.<name>``, medians, and bounds as ``<metric>_lower``."""
    return [_row(front, winner, standing) for winner, standing in zip(front.winners, front.standings, strict=True)]


def _row(front: Front, winner: Winner, standing: Standing) -> dict[str, Any]:
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


def front_plot(front: Front, metric: str | None = None) -> Plot:
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
    useless = [winner for winner, _ in shown if winner.chance_mark]
    if len(useless) == len(shown):  # then they stretch no axis
        useless = []
    points = [
        Point.of_winner("front" if standing.on_front else "winner", _hover(winner), winner, cost, quality)
        for winner, standing in shown
        if winner not in useless
    ]
    names: dict[Role, str] = {"winner": "other winners", "front": "winners on the front"}
    axis = f"{front.scored.capitalize()} {front.words.loss_of(quality)}"
    return plot_of(front, cost, points, names, axis, chance_notes(useless))


def _hover(winner: Winner) -> str:
    over = "" if winner.seeds is None else f", {winner.seeds.text(winner.words)}"
    return f"{winner.architecture.id}: {winner.short}{over}"


def _title(front: Front) -> str:
    return f"Front of {front.run_folder}: {_summary(front)}"


def _summary(front: Front) -> str:
    count = len(front.winners)
    if not count:
        return f"0 winners. {failures_text(front.failures)}".strip()
    parts = [f"{count} winner{'s' * (count != 1)}", f"{sum(front.on_front)} on the front"]
    if front.limits:
        met = sum(winner.meets(front.limits) for winner in front.winners)
        parts.append(f"{met} within {' and '.join(limit_text(limit) for limit in front.limits)}")
    return ", ".join(parts)


def _left_out(front: Front) -> list[str]:
    left = len(front.winners) - MOST_SHOWN
    return [f"and {left} more; front[{MOST_SHOWN}:] and front.to_dataframe() have them."] if left > 0 else []


def _columns(front: Front, *, ranges: bool = True) -> list[list[str]]:
    """Return the columns of the winners that are shown, without their choices."""
    shown, standings = front.winners[:MOST_SHOWN], front.standings[:MOST_SHOWN]
    columns = [["", *map(str, range(len(shown)))], ["winner", *(winner.architecture.id for winner in shown)]]
    if any(winner.precision for winner in front.winners):
        columns.append(["precision", *(winner.precision or "" for winner in shown)])
    columns.append(["front", *("yes" if standing.on_front else "no" for standing in standings)])
    columns.append([f"{front.scored} {front.words.title}", *map(_accuracy, shown)])
    if any(winner.seeds is not None for winner in front.winners):
        columns.append(["over seeds", *map(_seeds_text, shown)])
    for cost in front.shown_costs:
        columns.append([cost.title.lower(), *(_cost_text(winner, cost, ranges) for winner in shown)])
    if front.limits:
        columns.append(["limits", *("met" if winner.meets(front.limits) else "not met" for winner in shown)])
    if any(standing.same_as for standing in front.standings):
        columns.append(["same as", *map(_same_text, standings)])
    return columns


def _accuracy(winner: Winner) -> str:
    return winner.told(METRICS["error"])[0] + (f" ({winner.chance_mark})" if winner.chance_mark else "")


def _seeds_text(winner: Winner) -> str:
    """Return the interval over seeds, and their number: ``93.80–94.44 % (3)``."""
    if winner.seeds is None:
        return "one seed"
    return f"{winner.words.range_text(winner.seeds.estimate.interval)} ({len(winner.seeds.errors)})"


def _cost_text(winner: Winner, cost: Metric, ranges: bool) -> str:
    if not winner.has(cost.name):
        return "unknown"
    found = winner.estimate(cost.name)
    return within_bounds((cost.format(found.value), winner.words.bounds_text(cost, found.interval)), ranges=ranges)


def _same_text(standing: Standing) -> str:
    return f"{len(standing.same_as)} others" if len(standing.same_as) > 1 else "".join(standing.same_as)


def _choices(front: Front, width: int) -> list[str]:
    return choices_column((each.architecture for each in front.winners[:MOST_SHOWN]), front.reference, width)


def judged_text(front: Front) -> str:
    """Return on how many items tests and the search found errors; nothing where that is unknown."""
    if not front.items:
        return ""
    noun, validation = front.words.noun, front.items["validation"]
    several = validation + front.items["training"]
    by_folds = f", of simple models by folds over {several:,}" if any(each.by_folds for each in front) else ""
    return f"Tests are on {front.items['test']:,} {noun}, errors of the search on {validation:,} others{by_folds}."
