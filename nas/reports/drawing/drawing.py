"""Drawing a plot of a run into a file, as ``nas plot`` and ``nas.draw`` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.reports.drawing.scenes import PlotRequest, scene_of
from nas.results.plots.pictures import PictureSettings, check_picture, picture_of
from nas.results.run import Run
from nas.results.run_folder import load_run
from nas.storage.output_files import check_file, write_out


def draw(
    run: Run | Path | str,
    out: Path | str,
    *,
    kind: str = "front",
    x: str | None = None,
    y: str | None = None,
    log: Sequence[str] | None = None,
    stopped: bool = False,
    width_cm: float = 12.0,
    height_cm: float = 8.0,
    dpi: int = 300,
    title: str = "",
) -> Path:
    """Draw a plot of a run as SVG, PNG or PDF, and return the picture's path.

    Args:
        run: a run, or its folder.
        out: the picture; its ending is ``.svg``, ``.png`` or ``.pdf``.
        kind: ``front`` for two metrics against each other, ``search`` for the error over the evaluations, or
            ``predictions`` for measured against predicted values.
        x: the metric of the horizontal axis, by default the first cost.
        y: the metric of the vertical axis, by default the first trained objective or the error.
        log: the axes that are logarithmic, such as ``["x"]``; None lets the values decide.
        stopped: draw candidates whose training was stopped early, too.
        width_cm: the width of the picture in centimetres.
        height_cm: its height.
        dpi: the resolution of a PNG, in dots per inch.
        title: a title above the plot.

    Raises:
        RecipeError: an unknown kind or metric, nothing to draw, a place that cannot be written, or matplotlib is not
            installed.

    Example::

        nas.draw("runs/digits-mobilenet", "front.svg", x="params", log=["x"])
    """
    found = run if isinstance(run, Run) else load_run(run)
    path = Path(out)
    check_picture(path)
    check_file(path, run_folder=found.run_folder)
    scene = scene_of(found, PlotRequest(kind, x, y, None if log is None else tuple(log), stopped))
    write_out(path, picture_of(scene, path.suffix, PictureSettings(width_cm, height_cm, dpi, title)))
    return path
