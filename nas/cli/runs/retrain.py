"""``nas retrain``: winners of a run that has ended are trained again, and get new bundles beside the old ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from nas.cli import options
from nas.cli.output import json_alone, show_front
from nas.cli.runs import retrain_options
from nas.cli.search import NO_WINNERS
from nas.errors import RecipeError
from nas.paths import RUNS


def retrain(
    run: options.RunFolder,
    top: retrain_options.Top = None,
    id_: retrain_options.RetrainedIds = None,
    data: retrain_options.MoreData = None,
    epochs: retrain_options.RetrainedEpochs = None,
    seeds: retrain_options.RetrainedSeeds = None,
    teacher: retrain_options.RetrainedTeacher = None,
    start: retrain_options.RetrainedStart = None,
    executor: options.Executor = None,
    set_: retrain_options.RetrainedSettings = None,
    as_json: options.AsJson = False,
) -> None:
    """Retrain winners of a finished run, with other epochs, seeds, a teacher, or further data.

    The new models take the places of the old ones on the front; all bundles are kept. A retraining that was stopped
    goes on with the same command. The exit status is 1 if the run has no winners.
    """
    from nas.reports.progress_display import choose_progress
    from nas.results.run_folder import run_folder_of
    from nas.searching.later_retraining.retrain import retrain as train_again

    run = run_folder_of(run, RUNS)
    training, overrides = _parted(set_ or [])
    with json_alone(as_json):
        front = train_again(
            run,
            top=top,
            ids=id_ or (),
            epochs=epochs,
            seeds=seeds,
            training=training,
            teacher=teacher,
            start=start,  # type: ignore[arg-type]  # it is checked there
            more_data=data,
            overrides=[*overrides, *([] if executor is None else [f"execution.executor={executor}"])],
            progress=choose_progress(sys.stdout, as_json),
        )
    show_front(front, as_json)
    if not front.winners:
        raise typer.Exit(NO_WINNERS)


def _parted(changes: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of training, and the changes of keys of ``[execution]``."""
    from nas.recipe.toml_text import apply_overrides

    overrides = [each for each in changes if each.lstrip().startswith("execution.")]
    others = [each for each in changes if each not in overrides]
    refused = [each for each in others if not each.lstrip().startswith("training.")]
    if refused:
        raise RecipeError(
            f"--set takes keys of training or of execution here, such as training.ema=0.99, but got {refused[0]!r}."
        )
    return apply_overrides({}, others).get("training", {}), overrides
