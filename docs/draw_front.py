"""Draw the front of a run as an SVG: winners with their intervals on the test, and the limit.

    python docs/draw_front.py runs/digits-mobilenet docs/images/front.svg

The picture in the README comes from ``nas search experiments/digits.toml``, which ``make demo`` runs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import nas

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 46, 56
METRIC = "latency_ms"
INK, GREY, BLUE, RED = "#24292f", "#8c959f", "#0969da", "#cf222e"


class Axes:
    """Places for latencies in microseconds, linear, and errors, logarithmic."""

    def __init__(self, most_us: float, least_error: float, most_error: float) -> None:
        self.most_us = most_us
        self._lows = math.log10(least_error), math.log10(most_error)

    def x(self, latency_us: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * latency_us / self.most_us

    def y(self, error: float) -> float:
        least, most = self._lows
        share = (math.log10(error) - least) / (most - least)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def drawing(run: nas.Run) -> Iterator[str]:
    """The lines of the SVG."""
    front = run.front
    limit_us = next((1000 * limit.value for limit in front.limits if limit.metric.name == METRIC), None)
    most_us = 1.15 * max([*(1000 * winner.value(METRIC) for winner in front), limit_us or 0])
    least = 0.9 * min(winner.test_interval.lower for winner in front)
    axes = Axes(most_us, least, 1.3 * max(winner.test_interval.upper for winner in front))

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">'
    )
    yield f"<title>Test error and measured latency of the winners of {run.name}, on {run.target}</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="white"/>'
    yield from scales(axes, least)
    if limit_us is not None:
        x = axes.x(limit_us)
        size = f'width="{WIDTH - RIGHT - x:.1f}" height="{HEIGHT - TOP - BOTTOM}"'
        yield f'<rect x="{x:.1f}" y="{TOP}" {size} fill="{RED}" opacity="0.07"/>'
        yield line(x, TOP, x, HEIGHT - BOTTOM, f'stroke="{RED}" stroke-dasharray="5 4"')
        yield f'<text x="{x - 6:.1f}" y="{TOP + 14}" text-anchor="end" fill="{RED}">limit: {limit_us:g} µs</text>'
    yield from winners(front, axes)
    yield from legend()
    yield "</svg>"


def scales(axes: Axes, least: float) -> Iterator[str]:
    """Both axes, with their titles."""
    step = 10 if axes.most_us > 30 else 5
    for us in range(0, int(axes.most_us) + 1, step):
        x = axes.x(us)
        yield line(x, TOP, x, HEIGHT - BOTTOM, f'stroke="{GREY}" opacity="0.2"')
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="{INK}">{us}</text>'
    for error in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        y = axes.y(error)
        if error >= least and y >= TOP:
            yield line(LEFT, y, WIDTH - RIGHT, y, f'stroke="{GREY}" opacity="0.2"')
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}">{100 * error:g} %</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.0f}" y="{HEIGHT - 14}" text-anchor="middle" fill="{INK}">latency of one image, µs</text>'
    turned = f"rotate(-90 18 {HEIGHT / 2:.0f})"
    yield f'<text x="18" y="{HEIGHT / 2:.0f}" text-anchor="middle" transform="{turned}" fill="{INK}">test error</text>'


def winners(front: nas.Front, axes: Axes) -> Iterator[str]:
    """The winners with the 95 % intervals of their error and latency, and the front as steps."""
    losses = np.array([[winner.value(METRIC), winner.test_error] for winner in front])
    on_front = sorted(
        (winner for winner, is_least in zip(front, nas.non_dominated(losses), strict=True) if is_least),
        key=lambda winner: winner.value(METRIC),
    )
    steps = [(axes.x(1000 * winner.value(METRIC)), axes.y(winner.test_error)) for winner in on_front]
    path = f"M {steps[0][0]:.1f} {steps[0][1]:.1f}"
    for x, y in steps[1:]:
        path += f" H {x:.1f} V {y:.1f}"
    yield f'<path d="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
    for winner, is_on in zip(front, front.on_front, strict=True):
        interval, errors = winner.measurements[METRIC].interval, winner.test_interval
        x, y = axes.x(1000 * winner.value(METRIC)), axes.y(winner.test_error)
        low, high = axes.x(1000 * interval.lower), axes.x(1000 * interval.upper)
        thick = f'stroke="{BLUE}" stroke-width="2"'
        yield line(low, y, high, y, thick)
        yield line(x, axes.y(errors.lower), x, axes.y(errors.upper), thick)
        yield circle(x, y, 6, BLUE if is_on else "white", thick)


def legend() -> Iterator[str]:
    """What the marks are."""
    marks = (
        (LEFT, BLUE, BLUE, "winner on the front"),
        (LEFT + 160, BLUE, "white", "other winner"),
    )
    for x, stroke, fill, text in marks:
        yield circle(x + 6, 22, 5, fill, f'stroke="{stroke}" stroke-width="2"')
        yield f'<text x="{x + 16}" y="26" fill="{INK}">{text}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """Return an SVG line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def circle(x: float, y: float, radius: int, fill: str, style: str) -> str:
    """Return an SVG circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" {style}/>'


if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    out.write_text("\n".join(drawing(nas.load_run(folder))) + "\n", encoding="utf-8")
