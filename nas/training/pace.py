"""Estimating how long trainings take, from one step of one architecture."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace
from nas.space.tracing import build_checked
from nas.tasks.dataset import DataSet
from nas.training.training import (
    TrainingSettings,
    device_named,
    inputs_of,
    move,
    parameter_groups,
    statistics_of,
    torch_with,
)

EVALUATING = 1.2
"""How much longer an epoch takes than its steps, because the model is evaluated after it; roughly."""


def epoch_seconds(
    space: SearchSpace,
    architecture: Architecture,
    data: DataSet,
    settings: TrainingSettings,
    clock: Callable[[], float] = time.monotonic,
) -> float | None:
    """Return about how long an epoch of a training takes on this processor.

    None if a GPU trains, or if the architecture cannot be trained, of which its own training gives the reason. The
    second of two steps is timed, because the first one is slower.
    """
    if device_named(settings.device).type != "cpu":
        return None
    try:
        return _step_seconds(space, architecture, data, settings, clock) * _steps(data, settings) * EVALUATING
    except Exception:  # a candidate may raise anything, and this is only an estimate
        return None


def _steps(data: DataSet, settings: TrainingSettings) -> int:
    images = max(1, int(settings.subset * len(data.train)))
    return max(1, images // settings.batch_size)


def _step_seconds(
    space: SearchSpace,
    architecture: Architecture,
    data: DataSet,
    settings: TrainingSettings,
    clock: Callable[[], float],
) -> float:
    batch = min(settings.batch_size, len(data.train))
    with torch_with(settings.threads, seed=0):
        module = build_checked(space, architecture, data.input_shape, data.class_count)
        cpu = torch.device("cpu")
        move(module, cpu)
        module.train()
        images = inputs_of(torch.from_numpy(data.train.images[:batch]), *statistics_of(data, cpu))
        labels = torch.from_numpy(data.train.labels[:batch])
        optimizer = torch.optim.AdamW(parameter_groups(module, settings.weight_decay))
        began = clock()
        for _ in range(2):
            began = clock()
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(module(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return clock() - began
