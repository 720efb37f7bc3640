"""``nas measure`` and ``nas target``: measuring without a search, and what this machine offers to measure on."""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.errors import RecipeError

if TYPE_CHECKING:
    from nas.hardware.benchmarking import DeviceBench
    from nas.progress import Progress
    from nas.values.evaluation import Evaluation

target_commands = typer.Typer(help="What this machine offers to measure on.", no_args_is_help=True)

SOME_FAILED = 1


def measure(
    models: Annotated[list[Path] | None, typer.Argument(help="ONNX files; or give --space instead.")] = None,
    target: Annotated[
        str, typer.Option(metavar="TARGET", help="Such as onnxruntime-cpu:int8; nas target list shows all.")
    ] = "onnxruntime-cpu",
    metric: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="A measured metric; repeat for more. latency_ms if none.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="NAME", help="Measure random architectures of a space into a table.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="So many architectures, with --space.")] = 40,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The table, a .csv.gz file, with --space.")] = None,
    input_shape: Annotated[str, typer.Option(metavar="CxHxW", help="The images' shape, with --space.")] = "3x32x32",
    classes: Annotated[int, typer.Option(min=2, metavar="N", help="The number of classes, with --space.")] = 10,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the space, with --space; repeat.")
    ] = None,
    within: Annotated[
        float, typer.Option(min=0.0, metavar="SHARE", help="Half of the 95 % interval to reach, such as 0.01.")
    ] = 0.01,
    max_rounds: Annotated[int, typer.Option(min=2, metavar="N", help="Rounds after which it is left at that.")] = 15,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Draws architectures, and the order of rounds.")] = 0,
    meter_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="A program that prints the joules used so far, for energy_mj.")
    ] = None,
    fresh_measurements: Annotated[
        bool, typer.Option("--fresh-measurements", help="Refuse what was measured before, with --space.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON, progress on standard error.")] = False,
) -> None:
    """Measure ONNX files, or random architectures of a space into a table, on this machine.

    The exit status is 1 when something could not be measured: its reason stands in its place.
    """
    from nas.reports.console import choose_progress
    from nas.values.metric import METRICS, metric_named

    if bool(models) == (space is not None):
        raise RecipeError("nas measure takes either ONNX files or --space NAME; see nas measure --help.")
    metrics = [metric_named(name).name for name in metric or ["latency_ms"]]
    for name in metrics:
        if METRICS[name].source != "measured":
            known = ", ".join(m.name for m in METRICS.values() if m.source == "measured")
            raise RecipeError(
                f"nas measure takes measured metrics, but {name} is {METRICS[name].source}. Known: {known}."
            )
    if space is not None and out is None:
        raise RecipeError("nas measure --space writes a table: name its file with --out table.csv.gz.")
    shape = parse_shape(input_shape)
    for given in option or []:
        if "=" not in given:
            raise RecipeError(f"--option takes KEY=VALUE, such as channels=8, but got {given!r}.")
    with closing(choose_progress(sys.stdout, as_json)) as progress:
        bench = make_bench(target, within, max_rounds, meter_command, progress)
        bench.check_meter()
        bench.check(metrics)
        if space is None or out is None:
            _measure_files(models or [], target, bench, metrics, seed, progress, as_json)
            return
        rows = _measure_space(
            space, option or [], count, out, shape, classes, target, bench, metrics, seed, fresh_measurements, progress
        )
    failed = sum(row.failed for row in rows)
    if as_json:
        typer.echo(json.dumps({"table": str(out), "measured": len(rows) - failed, "failed": failed}, indent=2))
    else:
        typer.echo(f"{out}: {len(rows) - failed} measured, {failed} failed")
    if failed:
        raise typer.Exit(SOME_FAILED)


def make_bench(
    target: str, within: float, max_rounds: int, meter_command: str | None, progress: Progress
) -> DeviceBench:
    from nas.hardware.benchmarking import DeviceBench
    from nas.hardware.latency_rounds import BenchSettings
    from nas.values.target import Target

    settings = BenchSettings(rounds=min(5, max_rounds), max_rounds=max_rounds, precision=within)
    meter = {"kind": "auto"} if meter_command is None else {"kind": "command", "command": _arguments_of(meter_command)}
    return DeviceBench(Target.parse(target), settings, meter=meter, say=progress.say)


def _arguments_of(command: str) -> list[str]:
    """A command's program and arguments as they are written in a shell; on Windows a backslash is part of a path."""
    words = shlex.shlex(command, posix=True)
    words.whitespace_split, words.commenters = True, ""
    if sys.platform == "win32":
        words.escape, words.quotes = "", '"'
    try:
        return list(words)
    except ValueError as error:
        raise RecipeError(f"--meter-command is a program and its arguments, but got {command!r}: {error}.") from error


def _measure_files(
    models: list[Path],
    target: str,
    bench: DeviceBench,
    metrics: list[str],
    seed: int,
    progress: Progress,
    as_json: bool,
) -> None:
    from rich.console import Console

    from nas.hardware.measured_files import measure_files
    from nas.reports.console import print_measured
    from nas.values.target import Target

    found = measure_files(models, Target.parse(target), bench, metrics, seed, progress)
    if as_json:
        typer.echo(json.dumps([each.to_json() for each in found], indent=2))
    else:
        print_measured(found, Console(file=sys.stdout))
    if any(not isinstance(each.outcome, dict) for each in found):
        raise typer.Exit(SOME_FAILED)


def _measure_space(
    space: str,
    options: list[str],
    count: int,
    out: Path,
    input_shape: tuple[int, int, int],
    classes: int,
    target: str,
    bench: DeviceBench,
    metrics: list[str],
    seed: int,
    fresh: bool,
    progress: Progress,
) -> list[Evaluation]:
    from nas.recipe.toml_text import apply_overrides
    from nas.space.search_space import check_space, load_space
    from nas.storage.home import home
    from nas.storage.measurement_store import MeasurementStore
    from nas.tables.measured_table import measure_table
    from nas.values.target import Target

    loaded = load_space(space, apply_overrides({}, options), input_shape=input_shape, classes=classes)
    check_space(loaded)
    try:
        return measure_table(
            loaded,
            count,
            Target.parse(target),
            bench,
            out,
            input_shape=input_shape,
            classes=classes,
            metrics=metrics,
            store=MeasurementStore(home(), fresh=fresh),
            seed=seed,
            progress=progress,
        )
    except KeyboardInterrupt as error:
        error.add_note(how_to_go_on(fresh))
        raise


def how_to_go_on(fresh: bool) -> str:
    """What to do after an interruption: what was measured is kept, but looked for only where that is not forbidden."""
    without = " without --fresh-measurements" if fresh else ""
    return f"The same command{without} goes on from there."


def parse_shape(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)x([1-9][0-9]*)", text.strip())
    if match is None:
        raise RecipeError(f"--input-shape is channels, height and width, such as 3x32x32, but got {text!r}.")
    return int(match[1]), int(match[2]), int(match[3])


@target_commands.command("list")
def list_targets() -> None:
    """List the runtimes with the precisions that can be measured here, and why the others cannot."""
    from rich.console import Console

    from nas.hardware.energy.meters import NoMeter, meter_from
    from nas.hardware.runtimes.runtime import load_runtime
    from nas.reports.console import print_pairs
    from nas.space.plug_ins import plug_in_names
    from nas.values.target import PRECISIONS, Target

    pairs = []
    for name in plug_in_names("nas.runtimes"):
        runtime = load_runtime(name)
        reasons = {target: runtime.why_unavailable(target) for target in (Target(name, p) for p in PRECISIONS)}
        available = [target.precision for target, reason in reasons.items() if reason is None]
        first, reason = next(iter(reasons.items()))
        told = (
            "not here: it " + str(reason).removeprefix(f"{first} ")
            if str(reason).startswith(f"{first} ")
            else f"not here: {reason}"
        )
        pairs.append((name, ", ".join(available) or told))
    for what, settings in (("processor", {"kind": "auto"}), ("GPU", {"kind": "auto", "gpu": 0})):
        meter = meter_from(settings)
        told = f"not here: {meter.reason}" if isinstance(meter, NoMeter) else meter.name
        pairs.append((f"energy, {what}", told))
    print_pairs(pairs, Console(file=sys.stdout))
    typer.echo("A target is written runtime[:precision][:batch=N][:threads=N]; one of your own is my_module:MyRuntime.")


@target_commands.command("show")
def show_target(
    name: Annotated[str, typer.Argument(help="A target, such as onnxruntime-cpu:int8.")],
    renew: Annotated[bool, typer.Option("--renew", help="Find reference speed and peaks again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show a target's hardware, versions, reference speed and peaks; they are found when they are not known yet."""
    from dataclasses import asdict

    from nas.hardware.benchmarking import DeviceBench
    from nas.hardware.latency_rounds import BenchSettings
    from nas.reports.console import choose_progress, print_profile
    from nas.values.target import Target

    progress = choose_progress(sys.stdout, as_json)
    bench = DeviceBench(Target.parse(name), BenchSettings(), say=progress.say, renew=renew)
    profile = bench.profile
    if as_json:
        typer.echo(json.dumps(asdict(profile), indent=2, default=str))
    else:
        from rich.console import Console

        print_profile(profile, Console(file=sys.stdout))


@target_commands.command("install")
def install_target(name: Annotated[str, typer.Argument(help="A runtime, such as executorch-xnnpack.")]) -> None:
    """Make the environment of a runtime whose packages clash with the rest."""
    from nas.hardware.runtimes.environments import install
    from nas.hardware.runtimes.runtime import load_runtime
    from nas.values.target import Target

    runtime = load_runtime(Target.parse(name).runtime)
    if runtime.environment is None:
        raise RecipeError(f"nas target install is for runtimes with an environment of their own, but {name} has none.")
    typer.echo(f"{name} is ready in {install(runtime.environment, typer.echo)}")
