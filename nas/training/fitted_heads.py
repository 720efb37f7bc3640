"""Heads that are fitted by regression to the features of a fixed network, in one pass over the items.

A head that is a linear layer has a best answer for given features, which scikit-learn finds in seconds. Steps of an
optimizer come near it slowly, and a new head that begins at random may never do. Fitting the head first and tuning the
rest from there also keeps the features from being spoilt by a bad head (Kumar et al., "Fine-tuning can distort
pretrained features and underperform out-of-distribution", ICLR 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from nas.errors import CandidateError
from nas.tasks.batches import Examples, Part, Tensors, groups_of, in_order
from nas.tasks.task import Task
from nas.training.modules import EVALUATED_TOGETHER, moved
from nas.training.optimizing import HEAD, head_layer_of
from nas.training.regressions import Linear, can_regress, regression
from nas.training.settings import TrainingSettings

RATE_FROM_FITTED_HEAD = 0.3
"""The share of the learning rate for a network whose head was fitted: more would spoil the features that it relies on.

An EfficientNet-Lite0 on 598 photos, after four epochs and two seeds, has validation errors of 22.9 and 21.9 % with it,
47.9 and 29.2 % at the whole rate, and 29.2 and 33.3 % at the whole rate from a new head. The same at 48 instead of 64
pixels, from a parent tuned on 1,600 photos, has a test error of 19.8 % after two epochs with it, and of 32.0 % without.
"""
LARGEST_BYTES = 2**28
"""The most memory that features may take; a regression takes six times as much. Of more items, some are drawn."""
_CLOSE = 1e-4
Check = Callable[[], None]


@final
@dataclass(frozen=True)
class FittedHead:
    """A fitted head, and the ``features``, (N, features), and ``targets`` of the N items that it was fitted to."""

    linear: Linear
    features: torch.Tensor
    targets: torch.Tensor


def is_head_alone(settings: TrainingSettings) -> bool:
    """Return True if the settings ask for a head on the features of items as they are: then it can be fitted."""
    changes = settings.augment or max(settings.augmentation_strength, settings.mixup, settings.cutmix) > 0
    return settings.tune == HEAD and not changes


def from_fitted_head(settings: TrainingSettings, module: torch.nn.Module, task: Task) -> TrainingSettings:
    """Return how a module with trained weights is tuned: at a lower rate where its head is fitted first."""
    is_fitted = settings.fit_head and not is_head_alone(settings) and can_fit_head(module, task)
    return replace(settings, learning_rate=RATE_FROM_FITTED_HEAD * settings.learning_rate) if is_fitted else settings


def can_fit_head(module: torch.nn.Module, task: Task) -> bool:
    """Return True if the module's outputs are simply those of a last linear layer, and the task has a regression.

    The module is left in eval mode.
    """
    head = head_layer_of(module)
    if not isinstance(head, torch.nn.Linear) or head.bias is None or not can_regress(task.criterion):
        return False
    try:
        return (
            features_of(module, Part(task.train, np.arange(min(2, len(task.train)))), task, head.bias.device)
            is not None
        )
    except CandidateError:  # features that are not finite are told where the head is fitted
        return True


def fit_head(
    module: torch.nn.Module,
    examples: Examples,
    task: Task,
    settings: TrainingSettings,
    device: torch.device,
    seed: int,
    check_time: Check = lambda: None,
) -> FittedHead | None:
    """Fit the head of a module to some items, and return what it now computes.

    Returns None, and changes nothing, if the module's outputs are not simply those of a linear layer, or if there is no
    regression for the task. ``check_time`` is called after each batch and between fits, and may raise.

    Raises:
        CandidateError: the features are not finite.
    """
    head = head_layer_of(module)
    if not isinstance(head, torch.nn.Linear) or head.bias is None or not can_regress(task.criterion):
        return None
    examples = _that_fit(examples, head.in_features, seed)
    found = features_of(module, examples, task, device, check_time)
    if found is None:
        return None
    # The matrices are small: two threads gain nothing, and on busy cores they wait for each other, 13 s instead of 0.3.
    with threadpool_limits(1):
        fitted = regression(*found, task.criterion, seed, check_time, groups=groups_of(examples))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(fitted.weight))
        head.bias.copy_(torch.from_numpy(np.ascontiguousarray(fitted.bias)))
    return FittedHead(fitted, *found)


def _that_fit(examples: Examples, width: int, seed: int) -> Examples:
    """Return the items, or as many drawn ones as have room in the memory for features."""
    most = LARGEST_BYTES // (4 * width)
    if len(examples) <= most:
        return examples
    return Part(examples, np.sort(np.random.default_rng(seed).permutation(len(examples))[:most]))


def features_of(
    module: torch.nn.Module,
    examples: Examples,
    task: Task,
    device: torch.device,
    check_time: Check = lambda: None,
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the inputs of the head, (N, features), and the targets; None if outputs are not simply those of the head.

    The module is left in eval mode.

    Raises:
        CandidateError: the features are not finite.
    """
    head = head_layer_of(module)
    assert isinstance(head, torch.nn.Linear), "only a linear layer is fitted"
    seen: list[Tensors] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    module.eval()
    features: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    try:
        with torch.inference_mode():
            for batch in in_order(examples, task.signature.together(EVALUATED_TOGETHER)):
                seen.clear()
                outputs = module(*task.inputs_of(moved(batch.raw, device)))
                if len(seen) != 1 or seen[0][0].shape != (len(batch.targets), head.in_features):
                    return None
                if not features and not _are_outputs(head(*seen[0]), outputs):
                    return None
                features.append(seen[0][0].float().cpu())
                targets.append(batch.targets)
                check_time()
    finally:
        hook.remove()
    found = torch.cat(features)
    if not found.isfinite().all():
        raise CandidateError("nan", "the features that a head is fitted to must be finite, but some are not.")
    return found, torch.cat(targets)


def _are_outputs(of_head: torch.Tensor, outputs: torch.Tensor) -> bool:
    return of_head.shape == outputs.shape and torch.allclose(of_head, outputs, atol=_CLOSE, equal_nan=True)
