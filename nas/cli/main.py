"""The command ``nas``. What it needs is imported when a command runs, so that ``nas --help`` answers at once."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from nas.cli.measure import measure, target_commands
from nas.cli.predictor import predictor_commands
from nas.errors import LimitError, NasError, RecipeError, RepeatedFailureError

if TYPE_CHECKING:
    from nas.results.front import Front


class InterruptedByUserError(Exception):
    """Ctrl-C. Typer would turn the KeyboardInterrupt into a status that depends on its version, and drop its notes."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise InterruptedByUserError from error


app = typer.Typer(
    name="nas",
    cls=_Commands,
    help="Search for neural networks that are accurate and fit this machine; every winner is measured on it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(measure)
app.add_typer(target_commands, name="target")
app.add_typer(predictor_commands, name="predictor")

RUNS = Path("runs")
REFUSED, STOPPED, INTERRUPTED = 2, 1, 130
"""Exit statuses: the request is wrong; the run came to an end before its time; Ctrl-C."""


@app.command()
def search(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe in TOML; without one, flags and defaults.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="digits, fashion-mnist, mnist, cifar10, cifar100 or folder:PATH.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="NAME", help="A search space's name, or my_module:MySpace.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Such as onnxruntime-cpu or onnxruntime-cpu:threads=2.")
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC", help="A metric to minimise, in place of the recipe's; repeat for up to four."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="LIMIT", help="Such as 'latency_ms<=2ms', in place of the recipe's; repeat for more."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", help="How many candidates are trained: 40, or as many as --time has if it is given."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Such as 15min: no candidate is trained after that.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(metavar="NAME", help="gp, tpe, nsga2, nsga3, local or random.")] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="train, supernet, zero-cost or table: how a candidate comes by its error."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Decides everything that is random.")] = None,
    executor: Annotated[
        str | None, typer.Option(metavar="NAME", help="ray, or inline: in this process, one by one.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of a Ray cluster that this machine is part of: auto, or host:6379."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the run's folder; a new one is made up when left out.")
    ] = None,
    fresh_measurements: Annotated[
        bool, typer.Option("--fresh-measurements", help="Refuse what earlier runs measured on this target.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the recipe, such as training.epochs=4."),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are made.")] = RUNS,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with the run in this folder; only keys of [execution] can be given another value."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the recipe with all that is default, and do nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and progress on standard error.")
    ] = False,
) -> None:
    """Search, retrain the winners, export and measure them, and write a report."""
    from nas.recipe.recipe import Recipe
    from nas.recipe.toml_text import apply_overrides, read_toml
    from nas.reports.console import choose_progress

    flags = {
        "data.name": data,
        "space.name": space,
        "target": target,
        "objectives": objective,
        "limits": limit,
        "trials": trials,
        "search_time_s": time,
        "sampler": sampler,
        "evaluate": evaluate,
        "seed": seed,
        "execution.executor": executor,
        "execution.ray_address": ray_address,
        "name": name,
        "measuring.reuse": False if fresh_measurements else None,
    }
    given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in flags.items() if value is not None]
    overrides = [*given, *(set_ or [])]
    if resume is not None:
        other = [text for text in overrides if not text.lstrip().startswith("execution.")]
        other += [str(recipe)] if recipe else []
        other += ["--dry-run"] if dry_run else []
        if other:
            raise RecipeError(
                "--resume goes on with a run as it was asked for, and takes nothing but --executor, --ray-address and "
                f"--set execution.KEY=VALUE, but got {other[0]}."
            )
        from nas.searching.run import resume as go_on

        front = go_on(resume, overrides=overrides, progress=choose_progress(sys.stdout, as_json))
    else:
        resolved = Recipe.from_mapping(apply_overrides({} if recipe is None else read_toml(recipe), overrides))
        if dry_run:
            typer.echo(resolved.to_toml(), nl=False)
            return
        from nas.searching.run import search as start

        front = start(resolved, runs=runs, progress=choose_progress(sys.stdout, as_json))
    _show(front, as_json)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="The folder of a run, finished or not.")]) -> None:
    """Write a run's report again from its journal."""
    from nas.reports.report import write_report
    from nas.results.front import REPORT_NAME
    from nas.results.record import read_record

    write_report(run / REPORT_NAME, read_record(run))
    typer.echo(run / REPORT_NAME)


@app.command()
def show(
    run: Annotated[
        Path | None, typer.Argument(help="The folder of a run, finished or not; without one, all runs are listed.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are.")] = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Print a run's winners again, or what came of each run."""
    from nas.results.record import read_record, run_folders

    if run is not None:
        record = read_record(run)
        _show(record.front, as_json, None if record.is_over else record.ended_by or _not_over(run))
        return
    from nas.reports.report import headline

    records = [read_record(folder) for folder in run_folders(runs)]
    if as_json:
        typer.echo(json.dumps([each.front.to_json() for each in records], indent=2))
        return
    if not records:
        typer.echo(f"There are no runs in {runs}.")
    for record in records:
        state = "" if record.is_over or record.ended_by else " Not over."
        typer.echo(f"{record.run_folder}: {headline(record)}{state}")


@app.command(name="list")
def list_() -> None:
    """List what a recipe can name: spaces, data sets, targets, predictors, samplers, metrics with their units."""
    from nas.recipe.recipe import Recipe
    from nas.space.plug_ins import plug_in_names
    from nas.tasks.named_data import DATA_SETS
    from nas.values.metric import METRICS

    known = {
        "spaces": [*plug_in_names("nas.search_spaces"), "my_module:MySpace"],
        "data sets": [*DATA_SETS, "folder:PATH"],
        "targets": plug_in_names("nas.runtimes"),
        "predictors": plug_in_names("nas.predictors"),
        "samplers": get_args(Recipe.model_fields["sampler"].annotation),
    }
    for title, names in known.items():
        typer.echo(f"{title + ':':12}{', '.join(names)}")
    typer.echo("metrics, for objectives and limits:")
    for metric in METRICS.values():
        typer.echo(
            f"  {metric.name:17}{metric.title}, {metric.source}; a limit is written {metric.name}<={metric.example}"
        )


def _show(front: Front, as_json: bool, state: str | None = None) -> None:
    """``state`` is said of a run that has not ended as it should."""
    from rich.console import Console

    from nas.reports.console import print_front
    from nas.results.front import REPORT_NAME

    if as_json:
        typer.echo(json.dumps(front.to_json(), indent=2))
        return
    print_front(front, Console(file=sys.stdout), has_report=(front.run_folder / REPORT_NAME).exists())
    if state:
        typer.echo(state)


def _not_over(run: Path) -> str:
    from nas.results.record import resume_command

    return f"Not over. Unless it still runs, go on with: {resume_command(run)}"


def main() -> None:
    """Run the command; foreseen failures become one message and an exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a redirected one may be unable to write every letter
    try:
        status = app(standalone_mode=False)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (KeyboardInterrupt, InterruptedByUserError, typer.Abort) as error:
        # What keeps something says in a note how to go on.
        _complain("Stopped; everything that had ended is kept." if _notes(error) else "Stopped.", error)
        sys.exit(INTERRUPTED)
    except NasError as error:
        _complain(f"error: {error}", error)
        sys.exit(STOPPED if isinstance(error, LimitError | RepeatedFailureError) else REFUSED)
    except BrokenPipeError:  # whoever read the output has seen enough, as with ``nas show … | head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(STOPPED)
    except OSError as error:
        _complain(f"error: the system refuses a file: {error}", error)
        sys.exit(REFUSED)
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("click", "typer") and hasattr(error, "format_message"):
            _complain(f"error: {error.format_message()}", error)
            sys.exit(REFUSED)
        raise
    sys.exit(status if isinstance(status, int) else 0)


def _complain(text: str, error: BaseException) -> None:
    for line in (text, *_notes(error)):
        typer.echo(line, err=True)


def _notes(error: BaseException) -> list[str]:
    return [*getattr(error, "__notes__", ()), *getattr(error.__cause__, "__notes__", ())]


if __name__ == "__main__":
    main()
