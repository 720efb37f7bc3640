"""The options and arguments of the commands on bundles, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.completing import run_names
from nas.cli.recipe_options import key_option

WinnerOrBundle = Annotated[
    Path,
    typer.Argument(
        metavar="ID|PATH",
        help="The id of a winner, or its first digits; or the folder of a bundle, which may be a copy.",
    ),
]
BundleFormat = Annotated[
    str,
    typer.Option("--format", metavar="NAME", help="The form, such as onnx or openvino; an unknown name lists all."),
]
FormPrecision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="A precision that the form's runtime offers, such as int8. [default: the winner's on its own runtime, "
        "else fp32]",
    ),
]
FormBatch = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, metavar="N", help="The inputs that the model takes at once. [default: the winner's]"
    ),
]
DynamicBatch = Annotated[
    bool, typer.Option("--dynamic-batch", help="Let the model take any number of inputs at once: onnx and openvino.")
]
FormThreads = Annotated[
    int | None,
    typer.Option("--threads", min=1, metavar="N", help="The threads to measure with. [default: the winner's]"),
]
RunOfWinner = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="RUN",
        help="The run in which the id is looked for. [default: all runs]",
        autocompletion=run_names,
    ),
]
NewBundle = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="The folder of the new bundle. [default: beside the winner's]"),
]
KeepSamples = Annotated[
    bool,
    typer.Option(
        "--samples/--no-samples", help="Keep the items of the data, by which the bundle is checked elsewhere."
    ),
]
TrustBundle = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run code of the bundle: what it names as module:Name, and a predict.py of another version. "
        "Do so only for bundles of your own.",
    ),
]
LeastAgreement = Annotated[
    float | None,
    typer.Option(
        "--least-agreement",
        min=0,
        max=1,
        metavar="SHARE",
        help="The share of decisions that a model in a lower precision must have in common with torch. "
        "[default: 0.95 for fp16, 0.9 for bf16, 0.75 for int8]",
    ),
]
MeasureAgain = Annotated[
    bool, typer.Option("--measure/--no-measure", help="Measure the deployed models again, which takes a while.")
]
DriftTarget = Annotated[str | None, key_option("target", default="all of the run's")]
VerifiedTargets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="TARGET",
        help="A target of the winner's run, or the name of a further one, such as pi. May be repeated. [default: all]",
    ),
]
SustainedAgain = Annotated[
    bool, typer.Option("--sustained", help="Measure sustained latencies again too, which takes minutes each.")
]
