"""Scenes in the terminal: marks on a grid of characters, with axes, limits and a legend.

plotext would draw them too, but its version 6 replaced all functions of version 5, and both are in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from nas.results.plots.scene import Axis, Bounds, Scene, Series, spread_of, ticks_of

LEAST_WIDTH, MOST_WIDTH, HEIGHT = 40, 110, 15
"""Columns and rows of a plot. A narrower terminal gets none."""
MARKS = {"front": "●", "winner": "○", "measured": "•", "predicted": "·", "stopped": "×", "line": "─", "identity": "·"}
ASCII_MARKS = {
    "front": "#", "winner": "o", "measured": "*", "predicted": ".", "stopped": "x", "line": "-", "identity": "."
}  # fmt: skip
STYLES = {"front": "green", "winner": "cyan", "measured": "", "predicted": "bright_black", "stopped": "bright_black"}
LIMIT_STYLE = "red"
LINES = {"across": "─", "down": "│", "corner": "└", "tick": "┤", "limit across": "┄", "limit down": "┆"}
ASCII_LINES = {"across": "-", "down": "|", "corner": "+", "tick": "+", "limit across": "-", "limit down": ":"}


@dataclass
class _Grid:
    """A grid of characters, row 0 at the top, and the style of each."""

    width: int
    height: int
    cells: list[list[tuple[str, str]]] = field(init=False)

    def __post_init__(self) -> None:
        self.cells = [[(" ", "")] * self.width for _ in range(self.height)]

    def put(self, column: int, row: int, character: str, style: str) -> None:
        """Put a character at a place; one outside of the grid is left out."""
        if 0 <= column < self.width and 0 <= row < self.height:
            self.cells[row][column] = (character, style)


def print_scene(scene: Scene, console: Console, height: int = HEIGHT) -> None:
    """Draw a scene in the width of a terminal. Colours and box characters are used where the console has them.

    A console that is narrower than ``LEAST_WIDTH`` gets a sentence instead.
    """
    scene = scene.drawable()
    if console.width < LEAST_WIDTH:
        console.print(Text(f"(A plot needs {LEAST_WIDTH} columns, and this terminal has {console.width}.)"))
        return
    if scene.is_empty:
        for note in scene.notes:
            console.print(Text(note))
        return
    is_ascii = console.options.ascii_only
    for line in _lines(scene, min(console.width, MOST_WIDTH), height, is_ascii):
        console.print(line, soft_wrap=True)
    for note in (*scene.left_out, *scene.notes):
        console.print(Text(note, style="bright_black"))


def _lines(scene: Scene, width: int, height: int, is_ascii: bool) -> list[Text]:
    marks = list(scene.marks)
    x_ends = _ends(scene, "x", [mark.x for mark in marks], scene.x)
    y_ends = _ends(scene, "y", [mark.y for mark in marks], scene.y)
    shown = _ascii if is_ascii else str
    y_ticks = ticks_of(*y_ends, scene.y, max(2, height // 3))
    labels = {tick: _number(tick) for tick in y_ticks}
    margin = max(map(len, labels.values()), default=1) + 1
    grid = _Grid(width - margin - 1, height)
    to_column, to_row = _placer(x_ends, grid.width, scene.x), _placer(y_ends, height, scene.y)
    lines, symbols = (ASCII_LINES, ASCII_MARKS) if is_ascii else (LINES, MARKS)
    for which, value, _ in scene.limits:
        if which == "x" and x_ends[0] <= value <= x_ends[1]:
            for row in range(height):
                grid.put(to_column(value), row, lines["limit down"], LIMIT_STYLE)
        if which == "y" and y_ends[0] <= value <= y_ends[1]:
            for column in range(grid.width):
                grid.put(column, height - 1 - to_row(value), lines["limit across"], LIMIT_STYLE)
    for series in scene.series:
        _put_series(series, grid, to_column, lambda y: height - 1 - to_row(y), symbols)
    rows = {height - 1 - to_row(tick): text for tick, text in labels.items()}
    drawn = [Text(shown(scene.y.label), style="bold")]
    for row, cells in enumerate(grid.cells):
        label = rows.get(row, "")
        line = Text(f"{label:>{margin}}", style="bright_black")
        line.append(lines["tick"] if label else lines["down"], style="bright_black")
        for character, style in cells:
            line.append(character, style=style or None)
        line.rstrip()
        drawn.append(line)
    drawn += _below(scene, margin, grid.width, to_column, x_ends, lines)
    axis_title = shown(scene.x.label)
    drawn.append(Text(f"{axis_title:>{margin + 1 + grid.width}}", style="bold"))
    drawn += _legend(scene, width, symbols, lines, shown)
    return drawn


def _ends(scene: Scene, which: str, values: list[float], axis: Axis) -> Bounds:
    """Return the ends of an axis: around the marks, and around a limit that is not far away."""
    most = max(values)
    near = [value for axis_name, value, _ in scene.limits if axis_name == which and 0 < value <= 1.5 * most]
    return spread_of([*values, *near], axis)


def _placer(ends: Bounds, count: int, axis: Axis) -> Callable[[float], int]:
    """Return the function from a value to its column or row, counted from the low end."""
    low, high = (math.log10(ends[0]), math.log10(ends[1])) if axis.is_log else ends
    span = (high - low) or 1.0

    def place(value: float) -> int:
        share = ((math.log10(value) if axis.is_log else value) - low) / span
        return min(count - 1, max(0, round(share * (count - 1))))

    return place


def _put_series(
    series: Series,
    grid: _Grid,
    to_column: Callable[[float], int],
    to_row: Callable[[float], int],
    symbols: dict[str, str],
) -> None:
    style = STYLES.get(series.role, "")
    symbol = symbols.get(series.role, symbols["measured"])
    if series.line == "none":
        for mark in series.marks:
            grid.put(to_column(mark.x), to_row(mark.y), symbol, style)
        return
    places = [(to_column(mark.x), to_row(mark.y)) for mark in series.marks]
    for (left, row), (right, next_row) in pairwise(places):
        if series.line == "steps":
            for column in range(left, right):
                grid.put(column, row, symbols["line"], "bright_black")
            low, high = sorted((row, next_row))
            for between in range(low + 1, high):
                grid.put(right, between, "|" if symbols is ASCII_MARKS else "│", "bright_black")
        else:
            steps = max(abs(right - left), abs(next_row - row), 1)
            for step in range(steps + 1):
                column = left + round((right - left) * step / steps)
                grid.put(column, row + round((next_row - row) * step / steps), symbol, "bright_black")


def _below(
    scene: Scene, margin: int, width: int, to_column: Callable[[float], int], ends: Bounds, lines: dict[str, str]
) -> list[Text]:
    """Return the line of the horizontal axis, and the numbers below it."""
    numbers = [" "] * width
    taken = -1
    for tick in ticks_of(*ends, scene.x, max(2, width // 12)):
        text = _number(tick)
        start = min(max(0, to_column(tick) - len(text) // 2), width - len(text))
        if start > taken:
            numbers[start : start + len(text)] = text
            taken = start + len(text)
    line = " " * margin + lines["corner"] + lines["across"] * width
    return [Text(line, style="bright_black"), Text((" " * (margin + 1) + "".join(numbers)).rstrip(), "bright_black")]


def _legend(
    scene: Scene, width: int, symbols: dict[str, str], lines: dict[str, str], shown: Callable[[str], str]
) -> list[Text]:
    """Return the legend in as few lines as fit the width."""
    entries = [
        (symbols["line" if each.line == "steps" else each.role], STYLES.get(each.role, ""), shown(each.name))
        for each in scene.series
    ]
    entries += [
        (lines["limit down" if which == "x" else "limit across"], LIMIT_STYLE, shown(text))
        for which, _, text in scene.limits
    ]
    found, line = [], Text()
    for symbol, style, name in entries:
        entry = Text.assemble((symbol, style or ""), f" {name}")
        if line.plain and cell_len(line.plain) + 3 + cell_len(entry.plain) > width:
            found.append(line)
            line = Text()
        line = Text.assemble(line, "   ", entry) if line.plain else entry
    return [*found, line]


def _number(value: float) -> str:
    """Return a tick's number in few characters."""
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.1e}"
    return f"{value:.4g}"


def _ascii(text: str) -> str:
    """Return a text in ASCII; units and signs get their usual spelling, and other characters a question mark."""
    usual = {"µ": "u", "≤": "<=", "≥": ">=", "–": "-", "×": "x", "²": "2"}
    return "".join(usual.get(character, character) for character in text).encode("ascii", "replace").decode()
