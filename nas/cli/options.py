"""The options and arguments of all commands, with their help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.completing import run_names
from nas.cli.recipe_options import key_option
from nas.errors import RecipeError

# Shared by several commands

AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output, and progress on standard error.")
]
Seed = Annotated[int, key_option("seed")]
Runs = Annotated[Path, typer.Option(metavar="FOLDER", help="The folder that holds the run folders.")]
Executor = Annotated[str | None, key_option("execution.executor")]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run, finished or not.", autocompletion=run_names)
]
Limits = Annotated[list[str] | None, key_option("limits")]
TableSpace = Annotated[
    str | None,
    typer.Option("--space", metavar="NAME", help="The search space of the table. nas list shows all spaces."),
]
InputShape = Annotated[
    str | None,
    typer.Option(metavar="CxHxW", help="The shape of the input images of a space. [default: 3x32x32]"),
]
Classes = Annotated[
    int | None, typer.Option(min=2, metavar="N", help="The number of classes of a space. [default: 10]")
]
SpaceOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="An option of the space. Repeat for several."),
]
Within = Annotated[float, key_option("measuring.precision", "--within", "SHARE")]
MaxRounds = Annotated[int, key_option("measuring.max_rounds", "--max-rounds", "N")]
MeterCommand = Annotated[
    str | None,
    typer.Option(metavar="COMMAND", help="A program that prints the joules used so far. energy_mj is read from it."),
]
FreshMeasurements = Annotated[
    bool, typer.Option("--fresh-measurements", help="Ignore measurements that earlier commands kept.")
]

# nas shrink

Parent = Annotated[
    str,
    typer.Argument(
        metavar="PARENT",
        help="The function that returns the model, my_module:make_model, or a model of timm's, timm:resnet18.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The model's weights, such as weights.safetensors; for timm's models, pretrained takes those of its hub.",
    ),
]

# nas search

Recipe = Annotated[
    Path | None, typer.Argument(metavar="RECIPE", help="A recipe, which is a TOML file. Options override its keys.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any key of the recipe, such as training.epochs=4. Repeat for several. --dry-run shows all keys.",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Continue the run in this folder. --trials +N or --time +TIME extends it.",
        autocompletion=run_names,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Check the data, the space and the target, print the complete recipe, and do nothing else."
    ),
]

# nas show

RunFolderOrNone = Annotated[
    Path | None,
    typer.Argument(
        metavar="RUN",
        help="The folder of a run, finished or not. Without it, all runs are listed.",
        autocompletion=run_names,
    ),
]

# nas solve

SolvedLimits = Annotated[list[str] | None, key_option("limits", default="the run's")]
SolvedObjectives = Annotated[list[str] | None, key_option("objectives", default="the run's")]
SolvedTarget = Annotated[
    str | None, key_option("target", note="For a run on a table, another device of it.", default="the run's")
]
Measure = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Measure at most this many candidates for this run on the target, earlier commands included. "
        "[default: 10 where the target or a metric is new, else 0; in a table all]",
    ),
]
SolvedRun = Annotated[
    Path | None,
    typer.Option(
        "--as-run",
        metavar="FOLDER",
        help="Write the result as a new run, which nas search --resume brings to retrained, exported winners.",
    ),
]
SpaceAgain = Annotated[
    str | None,
    typer.Option(
        "--space", metavar="NAME", help="The class of a space that the run was given as an object, my_module:MySpace."
    ),
]

# nas target

TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="A target, such as onnxruntime-cpu:int8.")]
RuntimeName = Annotated[str, typer.Argument(metavar="RUNTIME", help="A runtime, such as executorch-xnnpack.")]
Renew = Annotated[bool, typer.Option("--renew", help="Measure the reference speed and the peaks again.")]

# nas device

DeviceName = Annotated[str, typer.Argument(metavar="NAME", help="The name of the device, such as pi.")]
DeviceUrl = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="ssh://USER@HOST[:PORT]; 'command:PROGRAM ARGUMENTS'; 'adb:[SERIAL] PROGRAM' for a phone; local: for "
        "another Python of this machine; or pool:NAME,NAME for a pool.",
    ),
]
DevicePython = Annotated[str, typer.Option(metavar="PROGRAM", help="The Python there, from 3.11 on.")]
DeviceFolder = Annotated[
    str, typer.Option(metavar="FOLDER", help="The folder there for packages and models. [default: ~/.nas-device]")
]
DeviceRuntimes = Annotated[
    list[str] | None, typer.Argument(metavar="[RUNTIME]...", help="What to install. [default: all that fit]")
]
KeepFiles = Annotated[bool, typer.Option("--keep-files", help="Leave the files there, such as where it is gone.")]

# nas predictor

RunOrTable = Annotated[
    Path, typer.Argument(metavar="RUN|TABLE", help="The folder of a run, or a table as a .csv or .csv.gz file.")
]
ReportedMetrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", metavar="METRIC", help="A measured metric to report on. Repeat for several. [default: all]"
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--target", metavar="DEVICE", help="The device of a table, as its columns name it. A run has its own target."
    ),
]
ReportedPredictor = Annotated[
    str | None, key_option("predictor.name", "--predictor", "NAME", default="the run's, or stacked for a table")
]
ReportSources = Annotated[
    str | None,
    typer.Option(
        "--sources", metavar="A,B", help="Devices of a table to transfer from, separated by commas. [default: none]"
    ),
]
MostSamples = Annotated[
    int | None,
    typer.Option(
        "--samples",
        min=5,
        metavar="N",
        help="Use at most this many measurements, drawn at random. [default: 300]",
    ),
]
ReportPage = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="The HTML page to write. [default: predictor_report.html in the run's folder, or here for a table]",
    ),
]
ReportSeed = Annotated[int | None, key_option("seed", default="the run's, or 0")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run code that the run names as module:Name. Do so only for runs of your own."),
]
SourceTable = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A table of measurements on other devices, a .csv or .csv.gz file. [default: what was measured of the "
        "space before]",
    ),
]
NewTarget = Annotated[str, typer.Option(metavar="TARGET", help="The new target, such as onnxruntime-cpu:int8.")]
Samples = Annotated[int, typer.Option(metavar="N", help="The number of architectures to measure on the new target.")]
OnboardMetric = Annotated[
    str, typer.Option("--metric", metavar="METRIC", help="The measured metric to predict. nas list shows all metrics.")
]
OnboardSources = Annotated[
    str | None,
    typer.Option(
        "--sources",
        metavar="A,B",
        help="Devices to transfer from, as the columns of tables name them, separated by commas. [default: all that "
        "have the metric]",
    ),
]
OnboardPredictor = Annotated[
    str,
    typer.Option("--predictor", metavar="NAME", help="A predictor that learns from other devices."),
]
OnboardedTable = Annotated[Path, typer.Option("--out", metavar="FILE", help="The new table to write, a .csv.gz file.")]
OnboardPage = Annotated[Path, typer.Option("--report", metavar="FILE", help="The HTML page of the report to write.")]


def names_in(text: str | None) -> list[str] | None:
    """Return the names in a text such as ``A,B``, none for an empty text, or None without a text.

    Raises:
        RecipeError: an empty name, or one that comes twice.
    """
    if text is None or not text.strip():
        return None if text is None else []
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise RecipeError(f"names are separated by commas, and each comes once, as in a,b, but got {text!r}.")
    return names
