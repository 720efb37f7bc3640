"""A re-solved run as a run of its own, which ``nas search --resume`` brings to winners with models."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nas.errors import JournalError, RecipeError
from nas.hardware.devices.device import Device
from nas.prediction.predictor import MIN_SAMPLES
from nas.recipe.recipe import Recipe
from nas.recipe.ways import OPEN
from nas.results.bundle import WEIGHTS
from nas.results.bundled.unfinished import made_aside, unfinished, weights_of
from nas.results.run import Run
from nas.searching.solving.later_measurements import own_fingerprint
from nas.searching.solving.request import Asked
from nas.searching.solving.seeded import Seeded
from nas.space.architecture import Architecture
from nas.storage.journal import JOURNAL, RECIPE, Journal, JournalReader
from nas.storage.journal_rows import (
    Agreement,
    Began,
    BenchUsed,
    RecipeText,
    RoundEnded,
    Row,
    RungsJudged,
    SupernetTrained,
    TrainingsEnded,
    WayChosen,
)
from nas.storage.retraining_rows import RETRAINING
from nas.storage.run_files import PARENT_WEIGHTS, SUPERNET_WEIGHTS
from nas.values.evaluation import Evaluation
from nas.values.indexed_rows import last_rows


def check_new(folder: Path) -> None:
    """Check that a run can be made in ``folder``, before anything is measured.

    Raises:
        JournalError: it exists and is no empty folder.
        RecipeError: its name is none of a run.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", folder.name):
        raise RecipeError(
            f"a run's name has letters, digits, points, dashes and underscores alone, but got {folder.name!r}."
        )
    if (folder / RECIPE).exists() or (folder / JOURNAL).exists():
        raise JournalError(f"a new run needs a folder of its own, but {folder} already holds one. Choose another name.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise JournalError(f"a new run needs a folder of its own, but {folder} is not empty. Choose another name.")


def write_as_run(asked: Asked, known: Seeded, folder: Path, clock: Callable[[], float], device: Device) -> None:
    """Make a run in ``folder`` whose search has ended: with the candidates, and what is known of them on the target.

    What is left of it is to measure the rest of the front, and to make winners. Weights that the run retrained already
    are copied, so that they are not trained again. The run is made beside its place, so that there is a whole one or
    none.

    Raises:
        JournalError: the folder cannot be written, or the run's journal is damaged.
    """
    recipe = Recipe.from_mapping({**asked.recipe.model_dump(exclude_unset=True), "name": folder.name})
    text = recipe.to_toml()
    with JournalReader(asked.run.run_folder) as source:
        began = [_here(row, device) if known.is_new or asked.on else row for row in source.rows(Began)]
        facts: list[Row] = [
            each for row in (WayChosen, SupernetTrained, Agreement, RungsJudged) for each in source.rows(row)
        ]
        source.check()
    fingerprint = known.fingerprint or (None if known.is_new else own_fingerprint(asked.run))
    used = [BenchUsed(fingerprint)] if fingerprint is not None else []
    measured = _measured(asked, known)
    # With fewer, the first measurements of the new run go on, for nothing could be predicted.
    enough = not asked.metrics or len(measured) >= MIN_SAMPLES
    ended: list[Row] = [RoundEnded(0)] if enough else []
    for number in range(1, recipe.rounds + 1):
        ended += [TrainingsEnded(number), RoundEnded(number)]
    with made_aside(folder, "a run") as aside, Journal.start(aside, text, clock=clock) as journal:
        retrained = _copied(asked.run, aside)
        if recipe.evaluate in ("supernet", OPEN):
            _copy(asked.run.run_folder / SUPERNET_WEIGHTS, aside / SUPERNET_WEIGHTS)
        _copy(asked.run.run_folder / PARENT_WEIGHTS, aside / PARENT_WEIGHTS)
        trained = [row for row in known.seed_rows if row.stage in ("train", "check")]
        failed = [row for row in known.rows if row.stage == "measure" and row.failed]
        rows = [*trained, *measured, *failed, *retrained]
        journal.append(RecipeText(text), *began, *used, *facts, *rows, *ended)
        check_new(folder)  # measuring took minutes, in which another run may have begun there


def _here(began: Began, device: Device) -> Began:
    """Return the circumstances of a run that goes on here: on the device on which candidates were measured."""
    return replace(began, machine={"processor": device.facts.processor, "system": device.facts.system})


def _measured(asked: Asked, known: Seeded) -> list[Evaluation]:
    """Return the measurements of the target. One that lacks a metric is left out: a search measures all together.

    On the run's own target, what it measured beside its candidates is among them: predictors learn from all.
    """
    candidates = {point.architecture for point in known.points}
    found: dict[Architecture, Evaluation] = {}
    for record in sorted(known.records, key=lambda each: each.architecture not in candidates):
        if asked.metrics and set(asked.metrics) <= set(record.measurements):
            measurements = {name: record.measurements[name] for name in asked.metrics}
            row = Evaluation("measure", record.architecture, measurements=measurements)
            found.setdefault(known.part(record.architecture), row)
    return list(found.values())


def _copied(run: Run, folder: Path) -> list[Evaluation]:
    """Copy the weights of retrained models, and return the rows about those that are there."""
    source = run.run_folder
    found = []
    for row in last_rows(run.rows, "retrain").values():
        if row.failed:
            continue
        inside = Path("winners") / row.architecture.id
        held = Path(str(row.details.get("folder") or inside))  # a later retraining has another one
        is_inside = (source / held).resolve().is_relative_to(source.resolve())
        if is_inside and _copy(weights_of(source / held), unfinished(folder / inside) / WEIGHTS):
            details = {key: value for key, value in row.details.items() if key != RETRAINING}
            details["folder"] = inside.as_posix()
            found.append(replace(row, predicted={}, details=details))
    return found


def _copy(source: Path, path: Path) -> bool:
    """Copy a file, and return True if it was there."""
    if not source.is_file():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    return True
