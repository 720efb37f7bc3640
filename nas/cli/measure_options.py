"""The options and arguments of ``nas measure``, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.completing import run_names
from nas.cli.recipe_options import key_option

Models = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="MODELS",
        help="ONNX files, or folders of winners. Use --space to measure a space, and --run for a run's architectures.",
    ),
]
Target = Annotated[str | None, key_option("target", default="onnxruntime-cpu, or the run's own")]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="METRIC",
        help="A measured metric. Repeat for several. nas list shows all metrics. [default: latency_ms]",
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="Measure architectures of this run, with its space, its data's shapes and its target.",
        autocompletion=run_names,
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="An architecture of --run, by its id or the id's beginning. Repeat."),
]
Space = Annotated[
    str | None,
    typer.Option("--space", metavar="NAME", help="Measure architectures of this search space."),
]
Count = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="The number of random architectures, with --space. [default: 40]"),
]
Architectures = Annotated[
    list[str] | None,
    typer.Option(
        "--architectures",
        metavar="FILE|ID",
        help="Measure these architectures of --space or --run: a JSON file, such as measure_next.json of "
        "nas predictor report, or an id. Repeat for several.",
    ),
]
NewTable = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="The table to write or to extend, a .csv.gz file, with --space or --run."
    ),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="CxHxW",
        help="The sizes of one input, for files that leave them open: 3x224x224, or NAME=SIZES with the name of an "
        "input or of a size, such as tokens=128. Repeat for several. With --space, the shape of its images. "
        "[default: 3x32x32]",
    ),
]
MaxRounds = Annotated[
    int | None,
    key_option("measuring.max_rounds", "--max-rounds", "N", default="15, or 30 with --compare"),
]
SustainedS = Annotated[
    float,
    key_option("measuring.sustained_s", "--sustained-s", "SECONDS", note="For --metric sustained_latency_ms."),
]
Compare = Annotated[
    bool | None,
    typer.Option(
        "--compare/--no-compare",
        help="Measure all models in the same sessions, and say how each compares with the first. "
        "[default: on for two models]",
    ),
]
