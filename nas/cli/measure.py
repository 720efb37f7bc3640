"""``nas measure``: ONNX files, or random architectures of a space, measured without a search."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nas.cli import options
from nas.cli.output import json_alone, print_json
from nas.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.hardware.file_measuring import MeasuredFile
    from nas.values.evaluation import Evaluation

SOME_FAILED = 1
"""The exit status if something could not be measured."""


def measure(
    models: options.Models = None,
    target: options.Target = "onnxruntime-cpu",
    metric: options.Metrics = None,
    space: options.MeasuredSpace = None,
    count: options.Count = 40,
    out: options.NewTable = None,
    input_shape: options.InputShape = None,
    classes: options.Classes = None,
    option: options.SpaceOptions = None,
    within: options.Within = 0.01,
    max_rounds: options.MaxRounds = 15,
    seed: options.Seed = 0,
    meter_command: options.MeterCommand = None,
    fresh_measurements: options.FreshMeasurements = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure ONNX files, or random architectures of a space.

    The results of files are printed. Architectures of --space are written to the table --out, for predictors to learn
    from. The exit status is 1 if something could not be measured; the output then shows the reason instead of numbers.
    """
    from nas.hardware.bench_request import BenchRequest, measured_metric
    from nas.hardware.file_measuring import measure_files
    from nas.reports.progress_display import choose_progress
    from nas.tables.named_space import NamedSpace
    from nas.tables.space_table import SpaceTable
    from nas.values.target import Target

    if bool(models) == (space is not None):
        raise RecipeError("nas measure takes either ONNX files or --space NAME; see nas measure --help.")
    metrics = [measured_metric(name) for name in metric or ["latency_ms"]]
    if space is not None and out is None:
        raise RecipeError("nas measure --space writes a table: name its file with --out table.csv.gz.")
    named = NamedSpace.parse(space or "", option or [], input_shape, classes)
    request = BenchRequest(Target.parse(target), within, max_rounds, meter_command)
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        bench = request.open(progress.say)
        bench.check_meter()
        bench.check(metrics)
        if space is None or out is None:
            files = measure_files(models or [], request.target, bench, metrics, seed, progress)
        else:
            wanted = SpaceTable(named, count, out, metrics, seed, fresh_measurements)
            rows = wanted.measure(request.target, bench, progress)
    if space is None or out is None:
        _print_files(files, as_json)
    else:
        _print_table(out, rows, as_json)


def _print_files(found: Sequence[MeasuredFile], as_json: bool) -> None:
    from rich.console import Console

    from nas.reports.console import print_measured

    if as_json:
        print_json([each.to_json() for each in found])
    else:
        print_measured(found, Console(file=sys.stdout))
    if any(not isinstance(each.outcome, dict) for each in found):
        raise typer.Exit(SOME_FAILED)


def _print_table(out: Path, rows: Sequence[Evaluation], as_json: bool) -> None:
    failed = sum(row.failed for row in rows)
    if as_json:
        print_json({"table": str(out), "measured": len(rows) - failed, "failed": failed})
    else:
        typer.echo(f"{out}: {len(rows) - failed} measured, {failed} failed")
    if failed:
        raise typer.Exit(SOME_FAILED)
