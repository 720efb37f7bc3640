"""Models that a study sets beside the winners of a search: trained like them, tested on the same items, measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load

import nas
from nas.errors import CandidateError
from nas.formats.export import export_onnx
from nas.formats.onnx_session import outputs_of
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.space.search_space import SearchSpace
from nas.space.tracing import build_checked
from nas.tasks.batches import in_order
from nas.tasks.data_source import DataSource
from nas.tasks.scores import Score
from nas.training.settings import training_settings
from nas.training.training import CandidateTraining
from nas.values.pareto import FloatArray, hypervolume

TESTED_TOGETHER = 128
MEASURING = BenchSettings(rounds=5, max_rounds=15)
MARGIN = 1.1
"""The reference point of a hypervolume lies at this factor times the worst losses."""


def train_like_winners(
    recipe: nas.Recipe, space: SearchSpace, architecture: nas.Architecture, source: DataSource, path: Path, seed: int
) -> None:
    """Train an architecture as winners of the recipe are retrained, without a time limit, and export it to ``path``."""
    signature = source.load().signature
    settings = training_settings(
        recipe, recipe.retraining.epochs, 1.0, math.inf, keep_weights=True, use_validation=True
    )
    *_, last = CandidateTraining(space, source, settings)({"architecture": dict(architecture), "seed": seed})
    module = build_checked(space, architecture, signature)
    module.load_state_dict(load(last["weights"]))
    export_onnx(module.eval(), signature.inputs, 1, path)


def measured_in_turns(
    models: Sequence[Path], recipe: nas.Recipe, settings: BenchSettings, folder: Path
) -> list[nas.Measurement]:
    """Return the latencies of exported models, one after the other in every session. ``folder`` is for their files.

    Raises:
        CandidateError: one of them cannot be run.
    """
    bench = DeviceBench(recipe.parsed_target, settings)
    deployed: list[Deployed] = []
    for each in bench.deploy(list(map(ExportedModel, models)), [folder / str(number) for number in range(len(models))]):
        if isinstance(each, CandidateError):
            raise each
        deployed.append(each)
    found = []
    for outcome in bench.measure(deployed, ["latency_ms"], np.random.default_rng(recipe.seed)):
        if isinstance(outcome, CandidateError):
            raise outcome
        found.append(outcome["latency_ms"])
    return found


def tested(model: Path, task: nas.Task) -> Mapping[str, Score]:
    """Return the scores of an exported model on the test items."""
    return tested_by(partial(outputs_of, model), task)


def tested_by(outputs: Callable[..., Any], task: nas.Task) -> Mapping[str, Score]:
    """Return the scores on the test items of what gives outputs for an array of each input."""
    tally = task.criterion.tally()
    for batch in in_order(task.test, TESTED_TOGETHER):
        tally.add(torch.from_numpy(outputs(task.prepared(batch.raw))), batch.targets)
    return tally.scores()


def volume_shares(methods: Sequence[str], losses: FloatArray) -> dict[str, float]:
    """Return the hypervolume of each method's points as a share of that of all, given the losses of each, (N, M)."""
    reference, names = MARGIN * losses.max(axis=0), np.array(methods)
    whole = hypervolume(losses, reference)
    return {name: hypervolume(losses[names == name], reference) / whole for name in dict.fromkeys(methods)}
