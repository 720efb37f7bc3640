"""Lets each method search, and chooses its winners."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from experiments.end_to_end.rivals import RIVALS, TrainedCandidate
from experiments.end_to_end.seed_folder import SeedFolder
from nas.errors import RecipeError
from nas.hardware.machine import processor_name
from nas.progress import PlainProgress
from nas.recipe.recipe import Recipe
from nas.results.run_folder import load_run
from nas.results.search_cost import SEARCH
from nas.searching.run import resume, search
from nas.searching.selection import spread_over_front
from nas.storage.journal import read_rows, write_aside
from nas.storage.journal_rows import Cost
from nas.values.pareto import non_dominated

OURS = "ours"
METHODS = (OURS, *RIVALS)


@dataclass(frozen=True)
class Chosen:
    """The winners of one method, and the number of candidates that it trained to the end.

    ``searched_s`` is the wall-clock time in seconds until the winners were known, on this ``processor``. ``found``
    holds all trained candidates with the error and the latency that the search saw. It is empty for ours, whose
    candidates are in the journal of its run.
    """

    method: str
    trained: int
    searched_s: float
    processor: str
    winners: tuple[dict[str, Any], ...]
    found: tuple[dict[str, Any], ...] = ()


def choices_of(setting: SeedFolder, methods: Sequence[str]) -> list[Chosen]:
    """Return the choices of the methods, in their order. Ours searches first, because the others get its time."""
    in_order = sorted(methods, key=lambda method: method != OURS)
    chosen = {method: choose(setting, method) for method in in_order}
    return [chosen[method] for method in methods]


def choose(setting: SeedFolder, method: str) -> Chosen:
    """Let a method search, unless a file already holds its choice. Ours searches for the time of the recipe."""
    path = setting.folder / f"{method}.json"
    if path.exists():
        return Chosen(**json.loads(path.read_text()))
    ours = setting.folder / f"{OURS}.json"
    time_s = max(setting.time_s, json.loads(ours.read_text())["searched_s"] if ours.exists() else 0.0)
    found: list[TrainedCandidate] = []
    if method == OURS:
        run = setting.folder / OURS
        front = resume(run, progress=_progress()) if run.exists() else _search(setting)
        winners = [winner.architecture for winner in front]
        trained = sum(r.stage == "train" and r.reached_full_fidelity for r in load_run(run).rows)
        searched_s = sum(part.wall_s for part in read_rows(run, Cost) if part.of == SEARCH)
    else:
        began_s = time.monotonic()
        found = RIVALS[method](setting.recipe, setting.space, setting.source, setting.workers, time_s)
        searched_s = time.monotonic() - began_s
        if not found:
            raise RecipeError(f"--time must suffice for a candidate, but {method} trained none in {time_s:.0f} s.")
        losses = np.array([(each.error, each.latency_ms) for each in found])
        front_rows = np.flatnonzero(non_dominated(losses))
        picks = spread_over_front(losses[front_rows], setting.recipe.retraining.winners)
        winners, trained = [found[front_rows[pick]].architecture for pick in picks], len(found)
    choice = Chosen(
        method,
        trained,
        searched_s,
        processor_name(),
        tuple(dict(architecture) for architecture in winners),
        tuple({**vars(each), "architecture": dict(each.architecture)} for each in found),
    )
    write_aside(path, json.dumps(asdict(choice), indent=1).encode())
    return choice


def _search(setting: SeedFolder) -> Any:
    """Run ours with a short retraining, because ``measuring.retrain`` retrains the winners of all methods."""
    values = setting.recipe.model_dump(exclude_none=True)
    changes = {"name": OURS, "limits": (), "trials": 10_000}
    retraining = {**values["retraining"], "epochs": 1}
    recipe = Recipe.from_mapping({**values, **changes, "retraining": retraining})
    return search(recipe, runs=setting.folder, progress=_progress())


def _progress() -> PlainProgress:
    return PlainProgress(sys.stderr)
