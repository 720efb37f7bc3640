"""Scenes as pictures for papers: SVG, PNG and PDF, drawn by matplotlib without a screen or a browser."""

from __future__ import annotations

import importlib
import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from nas.errors import RecipeError
from nas.results.plots.scene import Mark, Scene, Series, spread_of

ENDINGS = (".svg", ".png", ".pdf")
CM_PER_INCH = 2.54
COLOURS = {
    "front": "#0072b2",
    "winner": "#56b4e9",
    "measured": "#7f7f7f",
    "predicted": "#7f7f7f",
    "stopped": "#c4c4c4",
    "line": "#0072b2",
    "random": "#d55e00",
    "identity": "#7f7f7f",
    "bar": "#0072b2",
}
"""Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008), and greys."""
LIMIT_COLOUR = "#d55e00"
SYMBOLS = {"front": "o", "winner": "D", "measured": ".", "predicted": "o", "stopped": "x", "random": ".", "bar": "o"}
SIZES = {"front": 5.0, "winner": 4.5, "measured": 5.0, "predicted": 3.5, "stopped": 3.5}
HOLLOW = ("predicted",)
MOST_WITH_BARS = 200
"""With more marks of a kind, their error bars would hide everything else."""
FONT_SIZE = 8.0
NOTE_WIDTH = 44
"""The most characters in a line of a note, which says in the legend what is not drawn."""


@final
@dataclass(frozen=True)
class PictureSettings:
    """The size of a picture in centimetres, the resolution of a PNG, and a title above the plot, empty for none."""

    width_cm: float = 12.0
    height_cm: float = 8.0
    dpi: int = 300
    title: str = ""


def check_picture(path: Path) -> None:
    """Check that a picture can be written at ``path``.

    Raises:
        RecipeError: an ending that is none of a picture, or a folder.
    """
    if path.suffix.lower() not in ENDINGS:
        raise RecipeError(f"a picture ends in {', '.join(ENDINGS)}, but got {path.name or str(path)!r}.")
    if path.is_dir():
        raise RecipeError(f"a picture is a file, but {path} is a folder.")


def picture_of(scene: Scene, ending: str, settings: PictureSettings | None = None) -> bytes:
    """Return a scene as a picture. The same scene always gives the same bytes.

    Raises:
        RecipeError: matplotlib is not installed; the message names the extra.
    """
    settings = settings or PictureSettings()
    matplotlib, figures = _matplotlib("matplotlib"), _matplotlib("matplotlib.figure")
    style = {
        "font.size": FONT_SIZE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "nas",
        "pdf.fonttype": 42,
        "text.parse_math": False,
        "text.usetex": False,
    }
    with matplotlib.rc_context(style):
        size = settings.width_cm / CM_PER_INCH, settings.height_cm / CM_PER_INCH
        figure = figures.Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        _draw(scene, axes)
        if settings.title:
            axes.set_title(settings.title, fontsize=FONT_SIZE + 1)
        stream = io.BytesIO()
        kind = ending.lower().removeprefix(".")
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
        figure.savefig(stream, format=kind, dpi=settings.dpi, metadata=undated)
    return stream.getvalue()


def _matplotlib(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not error.name.startswith("matplotlib"):
            raise
        raise RecipeError(
            "pictures need the package matplotlib, which is not installed: pip install 'nas[plots]'."
        ) from error


def _draw(scene: Scene, axes: Any) -> None:
    if scene.bars:
        _draw_bars(scene, axes)
        return
    axes.grid(True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for which, axis in (("x", scene.x), ("y", scene.y)):
        if axis.is_log:
            getattr(axes, f"set_{which}scale")("log")
            ticks = getattr(axes, f"{which}axis")
            ticks.set_major_formatter(_plain_numbers())
            ticks.set_minor_formatter(_plain_numbers(labelOnlyBase=False))
    for band in scene.bands:
        axes.fill_between(
            band.x, band.lower, band.upper, color=COLOURS[band.role], alpha=0.15, linewidth=0, label=band.name
        )
    for order, each in enumerate(scene.series, start=2):
        _draw_series(each, axes, order)
    marks = list(scene.marks)
    x_ends, y_ends = spread_of([m.x for m in marks], scene.x), spread_of([m.y for m in marks], scene.y)
    _draw_limits(scene, axes, x_ends, y_ends)
    axes.set_xlabel(scene.x.label)
    axes.set_ylabel(scene.y.label)
    for note in scene.left_out:
        axes.plot([], [], " ", label="\n".join(textwrap.wrap(note, NOTE_WIDTH)))
    if len(scene.series) + len(scene.bands) + len(scene.left_out) > 1:
        axes.legend(fontsize=FONT_SIZE - 1, frameon=False, loc="best")


def _plain_numbers(**options: Any) -> Any:
    """Return a formatter of a logarithmic axis that writes 0.1 and 20.

    Matplotlib's own writes powers of ten as formulas, whose parser is off: titles and names hold any characters.
    """
    formatter: Any = _matplotlib("matplotlib.ticker").LogFormatter

    class PlainNumbers(formatter):  # type: ignore[misc]  # matplotlib may not be installed
        def __call__(self, value: float, pos: int | None = None) -> str:
            return f"{value:g}" if super().__call__(value, pos) else ""

    return PlainNumbers(**options)


def _draw_series(series: Series, axes: Any, order: int) -> None:
    colour = COLOURS[series.role]
    xs, ys = [mark.x for mark in series.marks], [mark.y for mark in series.marks]
    if series.line != "none":
        how = {"drawstyle": "steps-post"} if series.line == "steps" else {}
        dashes = ":" if series.role == "identity" else "-"
        axes.plot(xs, ys, dashes, color=colour, linewidth=1.1, label=series.name, zorder=order, **how)
        return
    if len(xs) <= MOST_WITH_BARS and (series.shows_bars or series.role in ("front", "winner")):
        bars = {
            key: found
            for key, which, place in (("xerr", "x_bounds", "x"), ("yerr", "y_bounds", "y"))
            if (found := _bars(series.marks, which, place)) is not None
        }
        if bars:
            axes.errorbar(xs, ys, fmt="none", ecolor=colour, elinewidth=0.8, capsize=1.5, zorder=order, **bars)
    axes.plot(
        xs,
        ys,
        SYMBOLS.get(series.role, "o"),
        color=colour,
        markersize=SIZES.get(series.role, 4.0),
        markerfacecolor="none" if series.role in HOLLOW else colour,
        markeredgewidth=0.8,
        label=series.name,
        zorder=order,
    )


def _bars(marks: tuple[Mark, ...], which: str, place: str) -> list[list[float]] | None:
    """Return the lengths of error bars, those down or left first; None where no mark has any."""
    found = [(getattr(mark, place), getattr(mark, which)) for mark in marks]
    if all(bounds is None for _, bounds in found):
        return None
    lengths = [(0.0, 0.0) if b is None else (max(v - b[0], 0.0), max(b[1] - v, 0.0)) for v, b in found]
    return [[low for low, _ in lengths], [high for _, high in lengths]]


def _draw_limits(scene: Scene, axes: Any, x_ends: tuple[float, float], y_ends: tuple[float, float]) -> None:
    """Draw the limits near the marks, and stretch an axis to one that is at most twice as far as the farthest mark."""
    for which, value, text in scene.limits:
        ends = x_ends if which == "x" else y_ends
        if not ends[0] / 2 <= value <= 2 * ends[1] or (value <= 0 and (scene.x if which == "x" else scene.y).is_log):
            continue
        if which == "x":
            axes.axvline(value, color=LIMIT_COLOUR, linewidth=0.9, linestyle="--", label=text, zorder=1)
        else:
            axes.axhline(value, color=LIMIT_COLOUR, linewidth=0.9, linestyle="--", label=text, zorder=1)


def _draw_bars(scene: Scene, axes: Any) -> None:
    """Draw horizontal bars, the first one at the top."""
    marks = scene.series[0].marks
    names = [mark.name for mark in marks]
    places = list(range(len(marks)))
    bars = _bars(marks, "x_bounds", "x")
    options = {} if bars is None else {"xerr": bars, "error_kw": {"elinewidth": 0.8, "capsize": 1.5}}
    axes.barh(places, [mark.x for mark in marks], color=COLOURS["bar"], height=0.6, **options)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel(scene.x.label)
    axes.grid(True, axis="x", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
