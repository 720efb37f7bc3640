"""The options of commands on finished runs: export, plot and show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Form = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORM",
        help="The form, such as csv, or my_module:MyExport for your own class. nas list shows all.",
    ),
]
ExportPlace = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The file to write; for some forms a folder, or the URI of a server. "
        "- is standard output, for a table. [default: in the run's folder]",
    ),
]
PlotKind = Annotated[
    str,
    typer.Option("--kind", metavar="KIND", help="front, candidates, search or predictions."),
]
PlotX = Annotated[
    str | None,
    typer.Option("--x", metavar="METRIC", help="The metric of the horizontal axis. [default: the first cost]"),
]
PlotY = Annotated[
    str | None,
    typer.Option(
        "--y",
        metavar="METRIC",
        help="The metric of the vertical axis. [default: the first trained objective, or the error]",
    ),
]
PlotPlace = Annotated[
    Path,
    typer.Option("--out", metavar="FILE", help="The picture to write; its ending is .svg, .png or .pdf."),
]
Logarithmic = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="AXIS", help="Make this axis logarithmic: x or y. Repeat for both."),
]
WidthCm = Annotated[float, typer.Option("--width-cm", min=3, max=100, metavar="CM", help="The width of the picture.")]
HeightCm = Annotated[
    float, typer.Option("--height-cm", min=3, max=100, metavar="CM", help="The height of the picture.")
]
Resolution = Annotated[
    int, typer.Option("--dpi", min=50, max=1200, metavar="N", help="The resolution of a PNG, in dots per inch.")
]
PlotTitle = Annotated[str, typer.Option("--title", metavar="TEXT", help="A title above the plot. [default: none]")]
StoppedToo = Annotated[bool, typer.Option("--stopped", help="Draw candidates whose training was stopped early, too.")]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="Print the table alone.")]
