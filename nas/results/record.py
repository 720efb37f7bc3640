"""Reading a run's record off its folder: everything that a report is made from."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

from nas.prediction.predictor import HeldOutError
from nas.progress import duration_text
from nas.recipe.recipe import read_recipe
from nas.results.run_record import FitRecord, RunRecord
from nas.results.search_cost import total_cost
from nas.storage.journal import RECIPE, read_rows
from nas.values.evaluation import Evaluation

ENDED = "ended by"
"""The note of what ended a run that is not to be resumed as it is."""


def run_folders(folder: Path) -> list[Path]:
    """The folders of runs in ``folder``, which need not exist, those that began first first."""
    recipes = list(folder.glob(f"*/{RECIPE}"))
    return [path.parent for path in sorted(recipes, key=lambda path: (path.stat().st_mtime, path))]


def resume_command(folder: Path) -> str:
    """What is typed to go on with the run in ``folder``."""
    words = ["nas", "search", "--resume", str(folder)]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


_FIGURES = [each.name for each in fields(HeldOutError) if each.name != "samples"]


def read_record(folder: Path) -> RunRecord:
    """The record of the run in ``folder``, finished or not. Raises JournalError when there is none."""
    bodies = read_rows(folder, "evaluation")
    recipe = read_recipe(folder / RECIPE)
    fits = []
    for body in read_rows(folder, "fit"):
        # Rows of version 0.2 lack some figures; others are null where they do not exist.
        figures = {name: math.nan if body.get(name) is None else body[name] for name in _FIGURES}
        held_out = HeldOutError(samples=body["samples"], **figures)
        fits.append(FitRecord(body["round"], body["metric"], held_out, body["samples"], tuple(body.get("verdict", ()))))
    cost = total_cost(read_rows(folder, "cost"), recipe.energy.gco2e_per_kwh)
    notes: dict[str, object] = {"cost of the search": cost} if cost else {}
    for body in read_rows(folder, "note"):
        notes |= body
    ended_by = notes.pop(ENDED, None)
    rounds = read_rows(folder, "round")
    is_over = any(body["round"] > recipe.rounds for body in rounds)
    turned_away = sum((Counter(body["turned_away"]) for body in rounds), Counter[str]())
    if turned_away:
        notes["turned away before training, by a limit"] = dict(turned_away.most_common())
    rows = tuple(Evaluation.from_json(body) for body in bodies)
    simulated_s = sum(row.details.get("seconds", 0.0) for row in rows if row.stage == "train")
    if recipe.evaluate == "table" and simulated_s:
        notes["simulated"] = {"time of trainings": duration_text(simulated_s)}
    return RunRecord(
        name=folder.name,
        recipe_text=(folder / RECIPE).read_text(encoding="utf-8"),
        objectives=recipe.parsed_objectives,
        limits=recipe.parsed_limits,
        target=recipe.measured_on,
        rows=rows,
        fits=tuple(fits),
        run_folder=folder,
        notes=notes,
        gco2e_per_kwh=recipe.energy.gco2e_per_kwh,
        table=recipe.table.path,
        is_over=is_over,
        ended_by=None if is_over or ended_by is None else str(ended_by),
    )
