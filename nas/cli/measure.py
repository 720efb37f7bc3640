"""``nas measure``: ONNX files, or architectures of a space, measured without a search."""

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
    from collections.abc import Mapping, Sequence

    from nas.hardware.file_measuring import MeasuredFile
    from nas.tables.named_architectures import NamedArchitectures
    from nas.tables.named_space import NamedSpace
    from nas.tables.space_table import SpaceTable
    from nas.values.evaluation import Evaluation

SOME_FAILED = 1
"""The exit status if something could not be measured."""


def measure(
    models: options.Models = None,
    target: options.Target = "onnxruntime-cpu",
    metric: options.Metrics = None,
    space: options.MeasuredSpace = None,
    architectures: options.Architectures = None,
    count: options.Count = None,
    out: options.NewTable = None,
    input_shape: options.FileOrSpaceShape = None,
    classes: options.Classes = None,
    option: options.SpaceOptions = None,
    within: options.Within = 0.01,
    max_rounds: options.MaxRounds = 15,
    seed: options.Seed = 0,
    meter_command: options.MeterCommand = None,
    fresh_measurements: options.FreshMeasurements = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure ONNX files, or architectures of a space.

    The results of files are printed. Random architectures of --space are written to the table --out, for predictors to
    learn from. Those named by --architectures are printed too, and need no table. The exit status is 1 if something
    could not be measured; the output then shows the reason instead of numbers.
    """
    from nas.hardware.bench_request import BenchRequest, measured_metric
    from nas.hardware.file_measuring import measure_files
    from nas.reports.progress_display import choose_progress
    from nas.tables.named_space import NamedSpace, parse_sizes
    from nas.tables.space_table import SpaceTable
    from nas.values.target import Target

    if bool(models) == (space is not None):
        raise RecipeError("nas measure takes either ONNX files or --space NAME; see nas measure --help.")
    metrics = [measured_metric(name) for name in metric or ["latency_ms"]]
    request = BenchRequest(Target.parse(target), within, max_rounds, meter_command)
    wanted: NamedArchitectures | SpaceTable | None = None
    sizes: tuple[int, ...] | None = None
    if space is None:
        for_spaces = {"--architectures": architectures, "--count": count, "--out": out, "--classes": classes}
        _refuse({**for_spaces, "--option": option}, "is for --space, not for ONNX files")
        sizes = None if input_shape is None else parse_sizes(input_shape)
    else:
        named = NamedSpace.parse(space, option or [], input_shape, classes)
        wanted = _wanted(named, architectures, count, out, metrics, seed, fresh_measurements)
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        bench = request.open(progress.say)
        bench.check_meter()
        bench.check(metrics)
        if wanted is None:
            found = measure_files(models or [], request.target, bench, metrics, seed, progress, sizes)
        else:
            rows = wanted.measure(request.target, bench, progress)
    if wanted is None:
        _print_files(found, as_json)
    elif isinstance(wanted, SpaceTable):
        _print_table(wanted.path, rows, as_json)
    else:
        _print_architectures(rows, out, as_json)


def _wanted(
    space: NamedSpace,
    architectures: Sequence[str] | None,
    count: int | None,
    out: Path | None,
    metrics: Sequence[str],
    seed: int,
    fresh: bool,
) -> NamedArchitectures | SpaceTable:
    """Return what to measure of a space: named architectures, or random ones for a table."""
    from nas.tables.named_architectures import NamedArchitectures
    from nas.tables.space_table import DEFAULT_COUNT, SpaceTable

    if architectures:
        _refuse({"--count": count}, "is for random architectures, not for --architectures")
        return NamedArchitectures(space, architectures, out, metrics, seed, fresh)
    if out is None:
        raise RecipeError("nas measure --space writes a table: name its file with --out table.csv.gz.")
    return SpaceTable(space, count or DEFAULT_COUNT, out, metrics, seed, fresh)


def _refuse(values: Mapping[str, object], why: str) -> None:
    """Refuse an option that would be ignored. Raises RecipeError."""
    given = next((name for name, value in values.items() if value), None)
    if given is not None:
        raise RecipeError(f"{given} {why}. Leave it out.")


def _print_files(found: Sequence[MeasuredFile], as_json: bool) -> None:
    from rich.console import Console

    from nas.reports.console import print_measured

    if as_json:
        print_json([each.to_json() for each in found])
    else:
        print_measured(found, Console(file=sys.stdout))
    if any(not isinstance(each.outcome, dict) for each in found):
        raise typer.Exit(SOME_FAILED)


def _print_architectures(rows: Sequence[Evaluation], out: Path | None, as_json: bool) -> None:
    from rich.console import Console

    from nas.cli.measured_rows import measured_json, print_rows

    if as_json:
        print_json({"architectures": [measured_json(row) for row in rows], "table": None if out is None else str(out)})
    else:
        print_rows(rows, Console(file=sys.stdout))
        if out is not None:
            typer.echo(f"Table: {out}")
    if any(row.failed for row in rows):
        raise typer.Exit(SOME_FAILED)


def _print_table(out: Path, rows: Sequence[Evaluation], as_json: bool) -> None:
    failed = sum(row.failed for row in rows)
    if as_json:
        print_json({"table": str(out), "measured": len(rows) - failed, "failed": failed})
    else:
        typer.echo(f"{out}: {len(rows) - failed} measured, {failed} failed")
    if failed:
        raise typer.Exit(SOME_FAILED)
