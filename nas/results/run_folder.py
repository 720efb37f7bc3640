"""Run folders: finding them, reading the record of a run, and the command that resumes one."""

from __future__ import annotations

import os
import shlex
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.errors import JournalError, RecipeError, nearest
from nas.paths import RUNS
from nas.progress import command_text, duration_text
from nas.recipe.recipe import Recipe
from nas.recipe.recorded import recorded_recipe
from nas.results.bundle import GIVEN
from nas.results.notes.prior_ranks import prior_note
from nas.results.run import Run
from nas.results.search_cost import total_cost
from nas.results.timeline import Timeline, read_timeline
from nas.storage.garbage import without_garbage_collection
from nas.storage.journal import JOURNAL, RECIPE, JournalReader
from nas.storage.journal_rows import (
    Agreement,
    BaselineTested,
    Began,
    Ended,
    Fit,
    RetrainingBegan,
    RetrainingEnded,
    RoundEnded,
    SupernetTrained,
    WayChosen,
)
from nas.values.evaluation import Evaluation
from nas.values.objective import reason_text

FIRST_TRIALS = 20
"""The trials that are proposed for a run that measured models and trained none."""


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of runs in ``folder``, whole or not, oldest first; none where it does not exist."""
    inside = folder.iterdir() if folder.is_dir() else ()
    found = [each for each in inside if any(os.path.lexists(each / name) for name in (RECIPE, JOURNAL))]
    return sorted(found, key=lambda each: (_made_at(each), each))


def _made_at(folder: Path) -> float:
    """Return the time when a run's recipe was written, else when its folder changed."""
    for path in (folder / RECIPE, folder):
        try:
            return path.stat().st_mtime
        except OSError:  # a link to nothing, or a folder that may not be read
            continue
    return 0.0


def run_folder_of(run: Path | str, runs: Path = RUNS) -> Path:
    """Return the folder of a run, given by its path, or by its name alone if it lies in ``runs``.

    Raises:
        JournalError: there is no such run.
        RecipeError: ``run`` is no path.
    """
    if not isinstance(run, (str, Path)):
        raise RecipeError(f'a run is given by its folder, such as "runs/digits-mobilenet", but got {run!r:.80}.')
    folder = Path(run)
    is_name = len(folder.parts) == 1 and folder.name not in ("", "..")
    for each in (folder, *([runs / folder] if is_name else [])):
        if (each / RECIPE).is_file() or (each / JOURNAL).is_file():
            return each
    why = f"has no {RECIPE}" if folder.is_dir() else "is not a folder" if folder.exists() else "does not exist"
    places = dict.fromkeys((runs, folder.parent))
    known = {path.name: path for place in places for path in reversed(run_folders(place))}
    near = folder.name if folder.name in known else nearest(folder.name, list(known))
    hint = f"Did you mean {known[near]}?" if near else "nas show lists all runs."
    if run_folders(folder):
        hint = f"It holds runs: nas show --runs {shlex.quote(str(folder))} lists them."
    raise JournalError(f"{folder} must be the folder of a run, but it {why}. {hint}")


def resume_command(folder: Path) -> str:
    """Return the command line that resumes the run in ``folder``."""
    return command_text(["nas", "search", "--resume", str(folder)])


def resume_text(folder: Path, recipe: Recipe) -> str:
    """Return the command line that resumes the run in ``folder``, or the call in Python if that needs objects."""
    objects = given_objects(recipe)
    call = ", ".join([repr(str(folder)), *(f"{what}=…" for what in objects)])
    return f"nas.resume({call})" if objects else resume_command(folder)


def resume_text_of(run: Run) -> str:
    """Return the same for a run that was read, which may have a recipe of another version."""
    try:
        return resume_text(run.run_folder, run.recipe)
    except RecipeError:
        return resume_command(run.run_folder)


def retrain_text_of(run: Run, ids: Sequence[str]) -> str:
    """Return how to retrain candidates of a run that was read."""
    try:
        return retrain_text(run.run_folder, run.recipe, ids)
    except RecipeError:
        return _retrain_command(run.run_folder, ids)


def further_text(folder: Path, recipe: Recipe, options: Sequence[str] = (), overrides: Sequence[str] = ()) -> str:
    """Return the command line that extends a finished run by as much again, or the call in Python that does so.

    ``options`` follow on the command line, and ``overrides`` in Python.
    """
    key, flag, amount = "trials", "--trials", f"+{recipe.trials or FIRST_TRIALS}"
    if recipe.has_time_alone:
        key, flag, amount = "search_time_s", "--time", f"+{max(1, round((recipe.search_time_s or 0) / 60))}min"
    if not given_objects(recipe):
        return command_text(["nas", "search", "--resume", str(folder), flag, amount, *options])
    named = [repr(str(folder)), f"overrides={[f'{key}={amount}', *overrides]}"]
    return f"nas.resume({', '.join([*named, *(f'{what}=…' for what in given_objects(recipe))])})"


def retrain_text(folder: Path, recipe: Recipe, ids: Sequence[str] = ()) -> str:
    """Return the command line that retrains winners of a run, or those of ``ids``, or the call in Python that does."""
    if not given_objects(recipe):
        return _retrain_command(folder, ids)
    named = [repr(str(folder)), *([f"ids={list(ids)}"] if ids else [])]
    return f"nas.retrain({', '.join([*named, *(f'{what}=…' for what in given_objects(recipe))])})"


def _retrain_command(folder: Path, ids: Sequence[str]) -> str:
    return command_text(["nas", "retrain", str(folder), *(part for each in ids for part in ("--id", each))])


def given_objects(recipe: Recipe) -> list[str]:
    """Return what a run was given as objects: its space, its data and its training function are known by no name."""
    named = (("space", recipe.space.name), ("data", recipe.data.name), ("train", recipe.training.function))
    return [what for what, name in named if name == GIVEN]


def load_run(folder: Path | str) -> Run:
    """Return the record of a run, finished or not, also while it goes on.

    ``folder`` is the run's folder; the name alone is enough for one in ``runs``.
    It takes neither the writer's lock nor the space object. Runs of older versions open too. Where a part of the folder
    is damaged, the rest is returned with a warning; ``Run.damages`` says what is missing.

    Raises:
        JournalError: the folder has no journal, or one of a newer version, or one of which nothing can be read.
        RecipeError: the journal has no copy of the recipe, and the file in the folder is missing or malformed.
    """
    run = read_run(run_folder_of(folder))
    for damage in run.damages_in_short:
        warnings.warn(damage, stacklevel=2)
    return run


@without_garbage_collection()
def read_run(folder: Path | str) -> Run:
    """Return what ``load_run`` returns, without warnings."""
    folder = Path(folder)
    with JournalReader(folder) as journal:
        recorded = recorded_recipe(folder, journal)
        recipe, damages = recorded.recipe, list(recorded.damages)
        rows = tuple(journal.rows(Evaluation))
        rows = tuple(map(_looked_up, rows)) if recipe.evaluate == "table" else rows
        ended = journal.rows(Ended)
        baselines = tuple(journal.rows(BaselineTested))
        is_over = any(each.round > recipe.rounds for each in journal.rows(RoundEnded))
        timeline = read_timeline(journal)
        fits, notes = tuple(journal.rows(Fit)), _notes(journal, recipe, rows, timeline)
        damages += [f"{folder / JOURNAL} is damaged: {damage}." for damage in journal.damages]
    return Run(
        name=folder.resolve().name,
        recipe_text=recorded.text,
        objectives=recipe.parsed_objectives,
        limits=recipe.parsed_limits,
        target=recipe.measured_on_all,
        rows=rows,
        fits=fits,
        run_folder=folder,
        notes=notes,
        gco2e_per_kwh=recipe.energy.gco2e_per_kwh,
        table=recipe.table.path,
        is_over=is_over,
        ended_by=None if is_over or not ended else ended[-1].reason,
        damages=tuple(damages),
        baselines=baselines,
        timeline=timeline,
    )


def _looked_up(row: Evaluation) -> Evaluation:
    """Return a row of a run in a table; before version 0.9 they did not tell that errors were looked up."""
    is_told = row.stage != "train" or "by" in row.details
    return row if is_told else replace(row, details={**row.details, "by": "table"})


def _notes(journal: JournalReader, recipe: Recipe, rows: Sequence[Evaluation], timeline: Timeline) -> dict[str, Any]:
    """Return what a reader of the report may ask about beside the recipe and the rows."""
    cost = total_cost(timeline.costs, recipe.energy.gco2e_per_kwh)
    notes: dict[str, Any] = {"cost of the search": cost} if cost else {}
    for began in journal.rows(Began)[:1]:
        notes |= {} if began.data_set is None else {"data set": began.data_set}
        notes |= {} if began.table is None else {"table": began.table}
        notes |= {"space": began.space, "machine": began.machine, "versions": began.versions}
    for judged in timeline.judged:
        by_epoch = {f"Spearman after epoch {epoch}": value for epoch, value in judged.correlations.items()}
        of = "" if judged.epochs is None else f", {judged.epochs} epochs"
        notes[f"early stopping{of}"] = {**by_epoch, "trainings": judged.trainings, "stops after": judged.stops_after}
    if ways := journal.rows(WayChosen):
        notes["chosen way of evaluating"] = "; then ".join(f"{way.evaluate}, because {way.reason}" for way in ways)
    for agreement in journal.rows(Agreement):
        were_trained = bool(ways) and ways[-1].evaluate != "supernet"  # after the check had gone badly
        notes["check of shared weights" if were_trained else "agreement with training"] = _agreement(agreement)
    for trained in journal.rows(SupernetTrained):
        facts = {"epochs": trained.epochs, "seconds": trained.seconds, "loss of the largest": trained.loss}
        notes["supernet"] = {**facts, "sha256": trained.sha256}
    ended = {row.number for row in journal.rows(RetrainingEnded)}
    retrained = {
        f"number {row.number}": _retraining_text(row, is_over=row.number in ended)
        for row in journal.rows(RetrainingBegan)
    }
    notes |= {"retrained afterwards": retrained} if retrained else {}
    prior = prior_note(rows)
    notes |= {"how priors rank candidates": prior} if prior else {}
    turned_away = sum((Counter(row.counts) for row in timeline.turned_away), Counter[str]())
    if turned_away:
        notes["turned away before training, by a limit"] = {
            reason_text(reason, recipe.parsed_limits): count for reason, count in turned_away.most_common()
        }
    simulated_s = sum(row.details.get("seconds", 0.0) for row in rows if row.stage == "train")
    if recipe.evaluate == "table" and simulated_s:
        notes["simulated"] = {"time of trainings": duration_text(simulated_s)}
    return notes


def _agreement(found: Agreement) -> Mapping[str, Any]:
    facts: dict[str, Any] = {"evaluated": found.evaluated, "architectures": found.architectures}
    if found.spearman is not None:
        facts |= {"Spearman": found.spearman, "Kendall": found.kendall}
        facts["Spearman of multiply-accumulates alone"] = found.spearman_of_macs
    return {**facts, "verdict": found.verdict}


def _retraining_text(row: RetrainingBegan, *, is_over: bool) -> str:
    """Return what a retraining after the run had ended was asked for."""
    count = len(row.architectures)
    asked: dict[str, Any] = {key: value for key, value in row.asked.items() if value not in (None, "", [], {})}
    training = asked.pop("training", {})
    named = {"epochs": "epochs", "seeds": "seeds", "teacher": "teacher", "start": "start"}
    parts = [f"{count} architecture{'s' * (count != 1)}"]
    parts += [f"{title} {asked[key]}" for key, title in named.items() if key in asked and asked[key] != "scratch"]
    parts += [f"{key} {value}" for key, value in training.items()]
    if row.data:
        parts.append(f"{row.data.get('added', 0)} further items of {row.data.get('name', 'other data')}")
    return f"{', '.join(parts)}{'' if is_over else '; not finished, so the same request goes on with it'}"
