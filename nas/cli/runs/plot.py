"""``nas plot``: a plot of a run as SVG, PNG or PDF."""

from __future__ import annotations

import typer

from nas.cli import options
from nas.cli.output import tell_damages
from nas.cli.runs import run_options
from nas.paths import RUNS


def plot(
    run: options.RunFolder,
    out: run_options.PlotPlace,
    kind: run_options.PlotKind = "front",
    x: run_options.PlotX = None,
    y: run_options.PlotY = None,
    log: run_options.Logarithmic = None,
    stopped: run_options.StoppedToo = False,
    width_cm: run_options.WidthCm = 12.0,
    height_cm: run_options.HeightCm = 8.0,
    dpi: run_options.Resolution = 300,
    title: run_options.PlotTitle = "",
) -> None:
    """Draw a plot of a run as a picture, and print its path.

    front draws any two metrics of the winners, with their errors on the test; candidates those of all architectures,
    with the errors that the search saw. search draws the error over the evaluations, and predictions what was predicted
    against what was measured. The ending of --out decides between SVG, PNG and PDF.
    """
    from nas.reports.drawing.drawing import draw
    from nas.results.plots.pictures import check_picture
    from nas.results.run_folder import read_run, run_folder_of

    check_picture(out)
    run = run_folder_of(run, RUNS)
    found = read_run(run)
    draw(
        found,
        out,
        kind=kind,
        x=x,
        y=y,
        log=log,
        stopped=stopped,
        width_cm=width_cm,
        height_cm=height_cm,
        dpi=dpi,
        title=title,
    )
    typer.echo(out)
    tell_damages(found)
