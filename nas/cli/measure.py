"""``nas measure``: model files, architectures of a space, or those of a run, measured without a search."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli import measure_options, options
from nas.cli.measured_output import print_architectures, print_files, print_table
from nas.cli.output import json_alone
from nas.errors import RecipeError
from nas.paths import RUNS

if TYPE_CHECKING:
    from nas.hardware.bench_request import BenchRequest
    from nas.tables.named_architectures import NamedArchitectures
    from nas.tables.named_space import NamedSpace
    from nas.tables.space_table import SpaceTable

DEFAULT_TARGET, DEFAULT_METRICS = "onnxruntime-cpu", ("latency_ms",)
ROUNDS, ROUNDS_TO_COMPARE = 15, 30
"""The most sessions of a model. A ratio of two models needs more of them than each alone."""


def measure(
    models: measure_options.Models = None,
    target: measure_options.Target = None,
    metric: measure_options.Metrics = None,
    run: measure_options.Run = None,
    ids: measure_options.Ids = None,
    space: measure_options.Space = None,
    architectures: measure_options.Architectures = None,
    count: measure_options.Count = None,
    out: measure_options.NewTable = None,
    input_shape: measure_options.InputShape = None,
    classes: options.Classes = None,
    option: options.SpaceOptions = None,
    compare: measure_options.Compare = None,
    within: options.Within = 0.01,
    max_rounds: measure_options.MaxRounds = None,
    sustained_s: measure_options.SustainedS = 180.0,
    seed: options.Seed = 0,
    meter_command: options.MeterCommand = None,
    fresh_measurements: options.FreshMeasurements = False,
    trust: options.Trust = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure model files, architectures of a space, or architectures of a run.

    Two models are compared: a sentence says if one is faster, and by how much. Random architectures of --space are
    written to the table --out, for predictors to learn from. Those that --architectures or --id name are printed. The
    exit status is 1 if something could not be measured; the output then shows the reason instead of numbers.
    """
    given: dict[str, Any] = {"MODELS": models, "--run": run, "--space": space, "--id": ids}
    given |= {"--architectures": architectures, "--count": count, "--out": out, "--classes": classes}
    given |= {"--input-shape": input_shape, "--option": option}
    _check_ways({**given, "--meter-command": meter_command, "--trust": trust, "--compare": compare})
    named = [*(ids or []), *(architectures or [])]
    is_compared = compare if compare is not None else len(models or named) == 2
    asked = _asked(target, metric, within, max_rounds, sustained_s, meter_command, is_compared)
    is_fresh = fresh_measurements or is_compared
    if run is not None:
        _measure_run(run, named, target, asked, out, space, trust, seed, is_fresh, as_json)
    elif space is None:
        _measure_files(models or [], asked, input_shape or [], seed, as_json, compare)
    else:
        from nas.tables.named_space import NamedSpace

        shape = input_shape[0] if input_shape else None
        named_space = NamedSpace.parse(space, option or [], shape, classes)
        metrics = asked.metrics or DEFAULT_METRICS
        _measure_space(
            _wanted(named_space, architectures, count, out, metrics, seed, is_fresh, is_compared), asked, as_json
        )


def _check_ways(given: Mapping[str, Any]) -> None:
    """Refuse what the models, the space or the run to measure have no use for. Raises RecipeError."""
    if bool(given["MODELS"]) + (given["--run"] is not None or given["--space"] is not None) != 1:
        raise RecipeError("nas measure takes ONNX files, --space NAME or --run RUN; see nas measure --help.")
    if given["--run"] is not None:
        _refuse(given, ("--input-shape", "--classes", "--option"), "is the run's own")
        _refuse(given, ("--count", "--meter-command"), "is not for --run")
        if not (given["--id"] or given["--architectures"]):
            raise RecipeError("--run needs architectures to measure: name them with --id or --architectures.")
        return
    _refuse(given, ("--id", "--trust"), "is for --run")
    if given["--space"] is None:
        of_spaces = ("--architectures", "--count", "--out", "--classes", "--option")
        _refuse(given, of_spaces, "is for --space, not for ONNX files")
        return
    if not given["--architectures"]:
        _refuse(given, ("--compare",), "is for models that are named, not for random architectures")
    if len(given["--input-shape"] or []) > 1:
        raise RecipeError("--input-shape is given once for a space: its models have one input shape.")


@dataclass(frozen=True)
class _Asked:
    """What to measure by, and how: the metrics that were named, and the bench."""

    metrics: Sequence[str]
    request: BenchRequest


def _asked(
    target: str | None,
    metrics: Sequence[str] | None,
    within: float,
    max_rounds: int | None,
    sustained_s: float,
    meter_command: str | None,
    is_compared: bool,
) -> _Asked:
    from nas.hardware.bench_request import BenchRequest, measured_metric
    from nas.values.target import Target

    named = [measured_metric(name) for name in metrics or []]
    rounds = max_rounds or (ROUNDS_TO_COMPARE if is_compared else ROUNDS)
    parsed = Target.parse(target or DEFAULT_TARGET)
    return _Asked(named, BenchRequest(parsed, within, rounds, meter_command, is_compared, sustained_s))


def _measure_files(
    models: Sequence[Path],
    asked: _Asked,
    input_shape: Sequence[str],
    seed: int,
    as_json: bool,
    compare: bool | None,
) -> None:
    from nas.formats.input_sizes import InputSizes
    from nas.hardware.file_measuring import measure_files
    from nas.reports.progress_display import choose_progress

    request, metrics = asked.request, asked.metrics or DEFAULT_METRICS
    sizes = InputSizes.parse(input_shape) if input_shape else None
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        bench = request.open(progress.say)
        bench.check_meter()
        bench.check(metrics)
        found = measure_files(models, request.target, bench, metrics, seed, progress, sizes)
    print_files(found, metrics if request.paired else [], as_json, bool(compare))


def _measure_space(wanted: NamedArchitectures | SpaceTable, asked: _Asked, as_json: bool) -> None:
    from nas.reports.progress_display import choose_progress
    from nas.tables.space_table import SpaceTable

    request = asked.request
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        bench = request.open(progress.say)
        bench.check_meter()
        bench.check(asked.metrics or DEFAULT_METRICS)
        rows = wanted.measure(request.target, bench, progress)
    if isinstance(wanted, SpaceTable):
        print_table(wanted.path, rows, as_json)
    else:
        print_architectures(rows, wanted.path, wanted.metrics if request.paired else [], as_json)


def _measure_run(
    run: Path,
    names: Sequence[str],
    target: str | None,
    asked: _Asked,
    out: Path | None,
    space: str | None,
    trust: bool,
    seed: int,
    fresh: bool,
    as_json: bool,
) -> None:
    from nas.reports.progress_display import choose_progress
    from nas.results.run_folder import read_run, run_folder_of
    from nas.searching.solving.chosen_models import NamedRequest, measure_named

    run = run_folder_of(run, RUNS)
    wanted = NamedRequest(names, asked.metrics, target, out, asked.request.settings, fresh, trust, seed)
    with json_alone(as_json), closing(choose_progress(sys.stdout, as_json)) as progress:
        found = measure_named(read_run(run), wanted, progress, space=space)
    measured = list(dict.fromkeys(name for row in found.rows for name in row.measurements))
    print_architectures(found.rows, found.table, measured if asked.request.paired else [], as_json, found.target)


def _wanted(
    space: NamedSpace,
    architectures: Sequence[str] | None,
    count: int | None,
    out: Path | None,
    metrics: Sequence[str],
    seed: int,
    fresh: bool,
    is_compared: bool,
) -> NamedArchitectures | SpaceTable:
    """Return what to measure of a space: named architectures, or random ones for a table."""
    from nas.tables.named_architectures import NamedArchitectures
    from nas.tables.space_table import DEFAULT_COUNT, SpaceTable

    if architectures:
        _refuse({"--count": count}, ["--count"], "is for random architectures, not for --architectures")
        return NamedArchitectures(space, architectures, out, metrics, seed, fresh, is_compared)
    if out is None:
        raise RecipeError("nas measure --space writes a table: name its file with --out table.csv.gz.")
    return SpaceTable(space, count or DEFAULT_COUNT, out, metrics, seed, fresh)


def _refuse(given: Mapping[str, object], names: Sequence[str], why: str) -> None:
    """Refuse an option that would be ignored. Raises RecipeError."""
    found = next((name for name in names if given[name]), None)
    if found is not None:
        raise RecipeError(f"{found} {why}. Leave it out.")
