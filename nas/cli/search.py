"""``nas search``: a whole run, new or resumed; and ``nas shrink``, a run among the parts of a trained model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nas.cli import options
from nas.cli.output import json_alone, show_front
from nas.cli.recipe_options import takes_keys
from nas.errors import RecipeError
from nas.paths import RUNS

if TYPE_CHECKING:
    from nas.recipe.recipe import Recipe
    from nas.results.front import Front

NO_WINNERS = 1
"""The exit status of a search that ended without any winner."""


@takes_keys()
def search(
    recipe: options.Recipe = None,
    changes: Sequence[str] = (),
    fresh_measurements: options.FreshMeasurements = False,
    set_: options.Set = None,
    runs: options.Runs = RUNS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Search for networks, and report the measured winners.

    Winners are retrained, exported and measured on the target. The run's folder holds their models and report.html.
    With --resume RUN, --trials +20 or --time +10min extend a run by that much, and --limit sets other limits.
    The exit status is 1 if there are no winners.
    """
    overrides = [*changes, *(["measuring.reuse=false"] if fresh_measurements else []), *(set_ or [])]
    if resume is not None:
        extra = [*([str(recipe)] if recipe else []), *(["--dry-run"] if dry_run else [])]
        front: Front | None = _resume(resume, runs, overrides, extra, as_json)
    else:
        _check_is_whole(overrides)
        front = _start(recipe, overrides, runs, dry_run, as_json)
    if front is not None:
        _show(front, as_json)


@takes_keys(
    *("space.name", "sampler.name", "training.function", "execution.ray_address"),
    defaults={"evaluate": "auto", "precisions": "fp32 and int8, where the target and this machine run them"},
)
def shrink(
    parent: options.Parent,
    weights: options.Weights = None,
    changes: Sequence[str] = (),
    set_: options.Set = None,
    runs: options.Runs = RUNS,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Make a trained model smaller, and report the measured winners with the model itself.

    Candidates keep a share of the model's channels and blocks, with its weights, and learn from it for a short time.
    nas search --resume goes on with a run that was stopped. The exit status is 1 if there are no winners.
    """
    from nas.recipe.toml_text import apply_overrides
    from nas.searching.shrinking import shrinking_recipe

    values = apply_overrides({}, [*changes, *(set_ or [])], _note)
    front = _begin(shrinking_recipe(values, parent, weights), runs, dry_run, as_json)
    if front is not None:
        _show(front, as_json)


def _show(front: Front, as_json: bool) -> None:
    show_front(front, as_json)
    if not front.winners and front.first is None:
        raise typer.Exit(NO_WINNERS)


def _check_is_whole(overrides: Sequence[str]) -> None:
    """Check that no amount is one to add, as a run takes that is extended. Raises RecipeError."""
    for text in overrides:
        key, _, value = text.partition("=")
        if key in ("trials", "search_time_s") and value.strip(' "').startswith("+"):
            amount = value.strip(' "')
            raise RecipeError(
                f"{amount} adds to what a run has, so the run must be named: --resume RUN. A new one takes "
                f"{amount.removeprefix('+')}."
            )


def _start(recipe: Path | None, overrides: Sequence[str], runs: Path, dry_run: bool, as_json: bool) -> Front | None:
    """Run a new search; with ``dry_run``, only print its recipe, and what its names stand for on standard error."""
    from nas.recipe.recipe import Recipe
    from nas.recipe.toml_text import apply_overrides

    values = {} if recipe is None else _read(recipe)
    return _begin(Recipe.from_mapping(apply_overrides(values, overrides, _note)), runs, dry_run, as_json)


def _begin(recipe: Recipe, runs: Path, dry_run: bool, as_json: bool) -> Front | None:
    from nas.reports.progress_display import choose_progress

    if dry_run:
        from nas.searching.run import look

        complete, found = look(recipe, runs, choose_progress(sys.stdout, as_json=True))
        typer.echo(complete.to_toml(), nl=False)
        for line in found:
            typer.echo(line, err=True)
        return None
    from nas.searching.run import search as start

    with json_alone(as_json):
        return start(recipe, runs=runs, progress=choose_progress(sys.stdout, as_json))


def _note(text: str) -> None:
    """Print a note on standard error."""
    typer.echo(f"note: {text}.", err=True)


def _read(recipe: Path) -> dict[str, Any]:
    """Return the tables of a recipe. Raises RecipeError if there is none; data in its place are recognised."""
    from nas.cli.plug_in_summaries import known_data
    from nas.paths import why_no_file
    from nas.recipe.toml_text import read_toml

    why = why_no_file(recipe)
    if why == "is a folder":
        raise RecipeError(f"a recipe is a TOML file, but {recipe} is a folder. For its images, --data folder:{recipe}.")
    tasks = [task for task, names in known_data().items() if str(recipe) in names]
    if why == "does not exist" and tasks:
        wanted = f"--data {recipe}" if tasks == ["images"] else f"--task {tasks[0]} --data {recipe}"
        raise RecipeError(f"a recipe is a TOML file, and there is no {recipe}. For the data set, write {wanted}.")
    return read_toml(recipe)


def _resume(folder: Path, runs: Path, overrides: Sequence[str], extra: Sequence[str], as_json: bool) -> Front:
    """Continue a run, or extend it; ``extra`` are arguments that only a new run takes."""
    from nas.searching.extending import keys_of

    if extra:
        raise RecipeError(f"--resume goes on with a run's own recipe, so it takes no {extra[0]}. Leave it out.")
    keys_of(overrides)
    from nas.reports.progress_display import choose_progress
    from nas.results.run_folder import run_folder_of
    from nas.searching.run import resume

    folder = run_folder_of(folder, runs)
    with json_alone(as_json):
        return resume(folder, overrides=overrides, progress=choose_progress(sys.stdout, as_json))
