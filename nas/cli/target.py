"""``nas target``: the runtimes that models can be measured on."""

from __future__ import annotations

import sys

import typer

from nas.cli import options
from nas.cli.output import print_json
from nas.errors import RecipeError


def list_targets(as_json: options.AsJson = False) -> None:
    """List the runtimes, with the precisions that work here.

    A runtime that does not work here is listed with the reason. Energy meters are listed too.
    """
    from dataclasses import asdict

    from rich.console import Console

    from nas.hardware.runtimes.availability import meters_here, runtimes_here
    from nas.reports.console import print_pairs

    runtimes, meters = runtimes_here(), meters_here()
    if as_json:
        print_json({"runtimes": list(map(asdict, runtimes)), "energy_meters": list(map(asdict, meters))})
        return
    told = [(each.name, each.text) for each in runtimes] + [(f"energy, {each.name}", each.text) for each in meters]
    print_pairs(told, Console(file=sys.stdout))
    typer.echo("A target is written RUNTIME[:PRECISION][:batch=N][:threads=N], such as onnxruntime-cpu:int8:threads=2.")
    typer.echo("A runtime of your own is written my_module:MyRuntime.")


def show_target(target: options.TargetName, renew: options.Renew = False, as_json: options.AsJson = False) -> None:
    """Show a target's hardware, versions and speeds.

    The reference speed and the peak speeds are measured the first time, which takes some seconds, and then kept.
    """
    from dataclasses import asdict

    from nas.hardware.latency_rounds import BenchSettings
    from nas.hardware.pool_bench import bench_on
    from nas.reports.progress_display import choose_progress
    from nas.values.target import Target

    progress = choose_progress(sys.stdout, as_json)
    profile = bench_on(Target.parse(target), BenchSettings(), say=progress.say, renew=renew).profile
    if as_json:
        print_json(asdict(profile))
        return
    from rich.console import Console

    from nas.reports.console import print_profile

    print_profile(profile, Console(file=sys.stdout))


def install_target(runtime: options.RuntimeName) -> None:
    """Install a runtime that needs packages of its own.

    Its packages clash with those of nas, so they get an environment of their own, which nas finds by itself.
    """
    from nas.hardware.runtimes.environments import install
    from nas.hardware.runtimes.runtime import load_runtime
    from nas.values.target import Target

    environment = load_runtime(Target.parse(runtime).runtime).environment
    if environment is None:
        raise RecipeError(
            f"nas target install is for runtimes with an environment of their own, but {runtime} has none."
        )
    typer.echo(f"{runtime} is ready in {install(environment, typer.echo)}")
