"""``nas predictor``: how far a predictor can be trusted, and bringing a new target in with few measurements."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.measure import how_to_go_on, make_bench, parse_shape
from nas.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from nas.prediction.trust_report import MeasuredDevice, TrustReport
    from nas.recipe.recipe import Recipe
    from nas.space.architecture import Architecture
    from nas.space.description import Describer
    from nas.space.search_space import SearchSpace
    from nas.tables.table import Table
    from nas.values.objective import Limit
    from nas.values.source import Source

predictor_commands = typer.Typer(help="How far a predictor can be trusted, and new targets.", no_args_is_help=True)

REPORT_FILE = "predictor_report.html"
DEFAULT_SHAPE, DEFAULT_CLASSES = "3x32x32", 10

SpaceName = Annotated[str | None, typer.Option("--space", metavar="NAME", help="The space of the table.")]
Shape = Annotated[
    str | None, typer.Option(metavar="CxHxW", help=f"The images' shape, with a table. {DEFAULT_SHAPE} if none.")
]
Classes = Annotated[
    int | None, typer.Option(min=2, metavar="N", help=f"Classes, with a table. {DEFAULT_CLASSES} if none.")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="An option of the space, with a table; repeat."),
]
Limits = Annotated[
    list[str] | None, typer.Option("--limit", metavar="LIMIT", help="Such as 'latency_ms<=3'; repeat for more.")
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Decides everything that is random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, progress on standard error.")]


@predictor_commands.command()
def report(
    measured: Annotated[Path, typer.Argument(metavar="RUN|TABLE", help="The folder of a run, or a table.")],
    metric: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="A measured metric; repeat. All that there are if none.")
    ] = None,
    space: SpaceName = None,
    input_shape: Shape = None,
    classes: Classes = None,
    option: Options = None,
    target: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="With a table: the device, as its columns name it.")
    ] = None,
    predictor: Annotated[
        str | None, typer.Option(metavar="NAME", help="The run's own, or stacked with a table, if none is given.")
    ] = None,
    limit: Limits = None,
    sources: Annotated[
        str | None, typer.Option(metavar="A,B", help="With a table: devices to transfer from. None if not given.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=5, metavar="N", help="Use at most so many measurements, drawn at random.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=f"The page; {REPORT_FILE} if none is given.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Decides everything that is random. The run's own, or 0.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how far a predictor of a run's or a table's measurements can be trusted, and what to measure next."""
    from nas.prediction.predictor import load_predictor
    from nas.prediction.trust_report import MOST_SAMPLES, trust_reports
    from nas.reports.progress_display import choose_progress
    from nas.values.metric import metric_named
    from nas.values.objective import Limit

    asked = [metric_named(name).name for name in metric or []]
    limits = [Limit.parse(text) for text in limit or []]
    if not measured.exists():
        raise RecipeError(f"a report is on the folder of a run or on a table, but {measured} does not exist.")
    with closing(choose_progress(sys.stdout, as_json)) as progress:
        if measured.is_dir():
            for_tables = {"--target": target, "--sources": sources, "--input-shape": input_shape, "--classes": classes}
            given = [name for name, value in for_tables.items() if value is not None]
            if given or option:
                raise RecipeError(
                    f"a run says its target, shapes and options itself, but got {[*given, '--option'][0]}, which is "
                    "for tables."
                )
            recipe = _recipe_of(measured)
            name, seed = predictor or recipe.predictor, recipe.seed if seed is None else seed
            data = _from_run(measured, recipe, space, asked, seed)
        else:
            seed = seed or 0
            table, _, describer = _table(measured, space, input_shape, classes, option)
            data = _from_table(table, describer, target, asked, sources, seed)
            name = predictor or "stacked"
        method = load_predictor(name)
        _check_limits(limits, list(data.values))
        limits = limits or list(data.limits)
        most = samples or MOST_SAMPLES
        found = trust_reports(data, method, name, limits=limits, most=most, seed=seed, progress=progress)
        reports = [each for each, _ in found]
    page = out or (measured / REPORT_FILE if measured.is_dir() else Path(REPORT_FILE))
    facts = {"measurements": str(measured), "predictor": name, "seed": str(seed)}
    _show(reports, page, measured.name or str(measured), facts, as_json)


@predictor_commands.command()
def onboard(
    table: Annotated[Path, typer.Option(metavar="TABLE", help="Other devices' measurements, a .csv or .csv.gz file.")],
    target: Annotated[str, typer.Option(metavar="TARGET", help="The new target, such as onnxruntime-cpu:int8.")],
    space: SpaceName = None,
    input_shape: Shape = None,
    classes: Classes = None,
    option: Options = None,
    samples: Annotated[int, typer.Option(metavar="N", help="So many architectures are measured.")] = 10,
    metric: Annotated[str, typer.Option(metavar="METRIC", help="A measured metric.")] = "latency_ms",
    sources: Annotated[
        str | None, typer.Option(metavar="A,B", help="Devices to transfer from. All with the metric if not given.")
    ] = None,
    predictor: Annotated[str, typer.Option(metavar="NAME", help="A predictor that transfers.")] = "transfer",
    limit: Limits = None,
    within: Annotated[
        float, typer.Option(min=0.0, metavar="SHARE", help="Half of the 95 % interval to reach, such as 0.01.")
    ] = 0.01,
    max_rounds: Annotated[int, typer.Option(min=2, metavar="N", help="Rounds after which it is left at that.")] = 15,
    meter_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="A program that prints the joules used so far, for energy_mj.")
    ] = None,
    fresh_measurements: Annotated[
        bool, typer.Option("--fresh-measurements", help="Refuse what was measured before on this machine.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new table, a .csv.gz file.")] = Path(
        "onboarded.csv.gz"
    ),
    page: Annotated[Path, typer.Option("--report", metavar="FILE", help="The page of the report.")] = Path(REPORT_FILE),
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure a few architectures of a table on a new target, and predict the rest from the table's other devices."""
    from nas.hardware.measuring import Surroundings
    from nas.prediction.fusion import as_executed
    from nas.prediction.predictor import MIN_SAMPLES, load_predictor
    from nas.prediction.trust_report import MeasuredDevice, trust_reports
    from nas.reports.progress_display import choose_progress
    from nas.storage.home import home
    from nas.storage.measurement_store import MeasurementStore
    from nas.tables.measured_table import device_name
    from nas.tables.onboarding import doubts_of, measure_few, predict_rows, sources_from, write_onboarded
    from nas.values.metric import METRICS, metric_named
    from nas.values.objective import Limit
    from nas.values.target import Target

    if not out.name.endswith(".csv.gz"):
        raise RecipeError(f"a table is written as gzip CSV, to a file named like table.csv.gz, but got {out.name!r}.")
    if samples < MIN_SAMPLES:
        raise RecipeError(f"--samples must be at least {MIN_SAMPLES}, for a predictor needs them, but got {samples}.")
    if METRICS[metric_named(metric).name].source != "measured":
        raise RecipeError(f"a target is onboarded by a measured metric, but {metric} is {METRICS[metric].source}.")
    limits = [Limit.parse(text) for text in limit or []]
    method = load_predictor(predictor)
    parsed = Target.parse(target)
    device = device_name(parsed)
    with closing(choose_progress(sys.stdout, as_json)) as progress:
        read, loaded, describer = _table(table, space, input_shape, classes, option)
        _check_limits(limits, [metric])
        found_sources = sources_from(read, metric, device, _names(sources))
        bench = make_bench(target, within, max_rounds, meter_command, progress)
        bench.check([metric])
        shape, class_count = parse_shape(input_shape or DEFAULT_SHAPE), classes or DEFAULT_CLASSES
        store = MeasurementStore(home(), fresh=fresh_measurements)
        try:
            onboarded = measure_few(
                read,
                metric,
                device,
                [source.target for source in found_sources],
                samples,
                Surroundings(loaded, bench, shape, class_count, parsed.batch, store),
                seed=seed,
                progress=progress,
            )
        except KeyboardInterrupt as error:
            error.add_note(how_to_go_on(fresh_measurements))
            raise
        for told in doubts_of(onboarded, f"{metric}_{device}"):
            progress.say(told)
        values = {read.architectures[row]: value for row, value in onboarded.values.items()}
        others = [a for a in read.architectures if a not in values]
        taken = {each.architecture: each.measurements for each in onboarded.rows.values() if not each.failed}
        describer = as_executed(describer, taken)
        data = MeasuredDevice(
            *(describer, device, {metric: values}, (), {metric: found_sources}, {metric: others}),
            _latencies(read, device),
        )
        ((trust, fitted),) = trust_reports(
            data, method, predictor, limits=limits, most=len(values), seed=seed, progress=progress
        )
        progress.stage("predicting the table", len(read))
        predicted = predict_rows(fitted, read, describer, progress.advance)
        write_onboarded(out, read, metric, device, onboarded, predicted)
    facts = {"table": str(table), "predictor": predictor, "seed": str(seed), "written to": str(out)}
    _show([trust], page, f"{device}, onboarded from {table.name}", facts, as_json, table=out)


def _table(
    path: Path, space: str | None, input_shape: str | None, classes: int | None, options: Sequence[str] | None
) -> tuple[Table, SearchSpace, Describer]:
    from nas.recipe.toml_text import apply_overrides
    from nas.space.search_space import load_space
    from nas.space.tracing import describer_of
    from nas.tables.table import read_table

    if space is None:
        raise RecipeError(f"a table does not say what space it is of: name that of {path} with --space NAME.")
    for given in options or []:
        if "=" not in given:
            raise RecipeError(f"--option takes KEY=VALUE, such as channels=8, but got {given!r}.")
    shape, class_count = parse_shape(input_shape or DEFAULT_SHAPE), classes or DEFAULT_CLASSES
    loaded = load_space(space, apply_overrides({}, list(options or [])), input_shape=shape, classes=class_count)
    return read_table(path, loaded), loaded, describer_of(loaded, shape, class_count)


def _from_table(
    table: Table, space: Describer, target: str | None, asked: Sequence[str], sources: str | None, seed: int
) -> MeasuredDevice:
    """The asked metrics of a device of a table, or all that it has.

    Raises:
        RecipeError: no such device, or one without that metric.
    """
    import numpy as np

    from nas.prediction.measure_next import POOL_FROM_TABLE, pool_of
    from nas.prediction.trust_report import MeasuredDevice
    from nas.tables.onboarding import sources_from

    device = _device(table, target)
    metrics = list(asked) or [name for name in _measured_names() if device in table.targets(name)]
    values: dict[str, dict[Architecture, float]] = {}
    found_sources: dict[str, Sequence[Source]] = {}
    pool: dict[str, list[Architecture]] = {}
    for name in metrics:
        column = table.column(f"{name}_{device}", positive=True)
        seen = np.flatnonzero(np.isfinite(column)).tolist()
        values[name] = {table.architectures[row]: float(column[row]) for row in seen}
        if sources is not None:
            found_sources[name] = sources_from(table, name, device, _names(sources))
        unseen = list(dict.fromkeys(a for a in table.architectures if a not in values[name]))
        if unseen:
            drawn = np.random.default_rng((seed, 2)).permutation(len(unseen))[:POOL_FROM_TABLE]
            pool[name] = [unseen[index] for index in drawn.tolist()]
        else:
            pool[name] = pool_of(space, values[name], seed)
    return MeasuredDevice(space, device, values, (), found_sources, pool, _latencies(table, device))


def _latencies(table: Table, device: str) -> dict[Architecture, float]:
    """The latencies of a device that the table holds; none where it has no such column."""
    if device not in table.targets("latency_ms"):
        return {}
    column = table.column(f"latency_ms_{device}", positive=True)
    pairs = zip(table.architectures, column.tolist(), strict=True)
    return {architecture: value for architecture, value in pairs if not math.isnan(value)}


def _device(table: Table, target: str | None) -> str:
    """The device that is asked for, as the columns name it or as a target; the only one where none is."""
    from nas.tables.measured_table import device_name
    from nas.values.target import Target

    known = list(dict.fromkeys(device for name in _measured_names() for device in table.targets(name)))
    if not known:
        raise RecipeError(f"a table must have a column such as latency_ms_<device>, but {table.path} has none.")
    if target is None:
        if len(known) > 1:
            raise RecipeError(
                f"{table.path} has {len(known)} devices: name one with --target. {did_you_mean('', known)}"
            )
        return known[0]
    if target in known:
        return target
    try:
        as_column = device_name(Target.parse(target))
    except RecipeError:
        as_column = target
    if as_column not in known:
        raise RecipeError(f"--target is a device of {table.path}, but got {target!r}. {did_you_mean(target, known)}")
    return as_column


def _recipe_of(folder: Path) -> Recipe:
    """The recipe of the run in ``folder``. Raises JournalError when there is none."""
    from nas.errors import JournalError
    from nas.recipe.recipe import read_recipe
    from nas.storage.journal import RECIPE

    if not (folder / RECIPE).is_file():
        raise JournalError(f"nas predictor report takes the folder of a run or a table, but {folder} has no {RECIPE}.")
    return read_recipe(folder / RECIPE)


def _from_run(folder: Path, recipe: Recipe, space: str | None, asked: Sequence[str], seed: int) -> MeasuredDevice:
    """What a run measured before it chose winners.

    As in the search, what this machine measured of the space on other targets are sources.

    Raises:
        RecipeError: its space was passed as an object and is not named by ``space``; a metric that it did not measure.
        JournalError: nothing was recorded.
    """
    from nas.errors import JournalError
    from nas.prediction.fusion import as_executed
    from nas.prediction.measure_next import pool_of
    from nas.prediction.trust_report import MeasuredDevice
    from nas.searching.knowledge import Knowledge
    from nas.searching.run import GIVEN
    from nas.space.search_space import choices_hash, load_space
    from nas.space.tracing import describer_of
    from nas.storage.home import home
    from nas.storage.journal import read_rows
    from nas.storage.measurement_store import MeasurementStore, space_identity
    from nas.values.evaluation import Evaluation

    notes = read_rows(folder, "note")
    if not notes:
        raise JournalError(f"{folder} must hold the journal of a run, but nothing was recorded yet.")
    name = space or recipe.space.name
    if name == GIVEN:
        raise RecipeError(
            f"the run {folder} was made with a space object; name its class with --space my_module:MySpace."
        )
    if recipe.evaluate == "table":
        shape, classes = recipe.table.input_shape, recipe.table.classes
    else:
        channels, height, width = notes[0]["data set"]["image shape"]
        shape, classes = (channels, height, width), notes[0]["data set"]["classes"]
    options = {} if recipe.space.name == GIVEN else recipe.space.options
    loaded = load_space(name, options, input_shape=shape, classes=classes)
    if choices_hash(loaded) != notes[0]["space"]["choices"]:
        raise RecipeError(f"the space must have the choices that the run {folder} searched, but {name} has others.")
    measurements = Knowledge([Evaluation.from_json(body) for body in read_rows(folder, "evaluation")]).measurements
    found = {
        metric: {a: m[metric].median for a, m in measurements.items() if metric in m} for metric in _measured_names()
    }
    values = {metric: each for metric, each in found.items() if each}
    for metric in asked:
        if metric not in values:
            raise RecipeError(f"the run {folder} did not measure {metric!r}. {did_you_mean(metric, values)}")
    if not values:
        raise RecipeError(f"a predictor needs measured architectures, but the run {folder} has none.")
    describer = as_executed(describer_of(loaded, shape, classes), measurements)
    kept = {metric: each for metric, each in values.items() if not asked or metric in asked}
    pool = {metric: pool_of(describer, each, seed) for metric, each in kept.items()}
    latencies = values.get("latency_ms", {})
    store, identity = MeasurementStore(home(), fresh=not recipe.measuring.reuse), space_identity(loaded, shape, classes)
    sources = {
        metric: [each for each in store.sources(identity, metric, without=()) if each.target != recipe.measured_on]
        for metric in kept
    }
    return MeasuredDevice(describer, recipe.measured_on, kept, recipe.parsed_limits, sources, pool, latencies)


def _show(
    reports: Sequence[TrustReport],
    page: Path,
    subject: str,
    facts: Mapping[str, str],
    as_json: bool,
    table: Path | None = None,
) -> None:
    """Print the reports, and write their page."""
    from nas.reports.predictor_page import write_predictor_page

    write_predictor_page(page, reports, subject, facts)
    if as_json:
        written = {"table": None if table is None else str(table), "report": str(page)}
        typer.echo(json.dumps({"metrics": [each.to_json() for each in reports], **written}, indent=2))
        return
    from rich.console import Console

    from nas.reports.predictor_text import print_predictor_report

    print_predictor_report(reports, Console(file=sys.stdout))
    if table is not None:
        typer.echo(f"Table: {table}")
    typer.echo(f"Report: {page}")


def _measured_names() -> list[str]:
    from nas.values.metric import METRICS

    return [name for name, metric in METRICS.items() if metric.source == "measured"]


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _check_limits(limits: Sequence[Limit], metrics: Sequence[str]) -> None:
    for limit in limits:
        if limit.metric.name not in metrics:
            raise RecipeError(
                f"a limit must be on a metric that is reported on, but got {limit}. "
                f"{did_you_mean(limit.metric.name, metrics)}"
            )
