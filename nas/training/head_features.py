"""Features of a fixed network, computed once: where only the head is trained, an epoch then costs almost nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from nas.space.signature import Signature, TensorType
from nas.tasks.batches import Examples, Items, Places, Tensors, in_order
from nas.tasks.criteria import Criterion
from nas.tasks.task import Task
from nas.training.modules import EVALUATED_TOGETHER, moved
from nas.training.optimizing import HEAD, head_layer_of
from nas.training.settings import TrainingSettings

LARGEST_BYTES = 2**30
"""The most memory that features may take."""
_CLOSE = 1e-4


@final
class Features:
    """Items as features, with their targets: a torch data set."""

    def __init__(self, features: torch.Tensor, targets: torch.Tensor) -> None:
        self._features = features
        self._targets = targets

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        return self._features[index], self._targets[index]

    def items_at(self, places: Places) -> Items:
        """Return the items at ``places``."""
        at = places if isinstance(places, slice) else torch.from_numpy(places)
        return Items((self._features[at],), self._targets[at])


@final
class FeatureTask(Task):
    """The same task for a head alone: its inputs are what the rest of a network makes of the items."""

    def __init__(self, task: Task, fitted: Examples, validation: Examples) -> None:
        self._task = task
        self._fitted = fitted
        self.name, self.train, self.validation, self.test = task.name, fitted, validation, task.test
        width = int(fitted[0][0].shape[-1])
        self._signature = Signature((TensorType("features", (width,)),), task.signature.output)

    @property
    def signature(self) -> Signature:
        """Features to the output of the task."""
        return self._signature

    @property
    def criterion(self) -> Criterion:
        """The task's own."""
        return self._task.criterion

    def to_fit(self, share: float, with_validation: bool) -> Examples:
        """Return the items whose features were computed."""
        return self._fitted


def head_alone(
    module: torch.nn.Module,
    task: Task,
    settings: TrainingSettings,
    device: torch.device,
    check_time: Callable[[], None] = lambda: None,
) -> tuple[torch.nn.Module, Task] | None:
    """Return the head and its task with features for inputs, if training the head on them is the same; else None.

    It is the same if only the head is trained, nothing changes inputs or the rest of the network at random, and the
    head is a linear layer at the end. ``check_time`` is called after each batch, and may raise.
    """
    shares = {*settings.subsets} or {settings.subset}
    if settings.tune != HEAD or _changes_inputs(settings) or settings.robustness is not None or len(shares) > 1:
        return None
    head = head_layer_of(module)
    if not isinstance(head, torch.nn.Linear) or _is_random(module, head):
        return None
    fitted = task.to_fit(shares.pop(), settings.use_validation)
    count = len(fitted) + (0 if settings.use_validation else len(task.validation))
    if count * head.in_features * 4 > LARGEST_BYTES:
        return None
    found = _features(module, head, fitted, task, device, check_time)
    if found is None:
        return None
    validation: Features | None = found
    if not settings.use_validation:
        validation = _features(module, head, task.validation, task, device, check_time)
    assert validation is not None
    return head, FeatureTask(task, found, validation)


def _changes_inputs(settings: TrainingSettings) -> bool:
    return settings.augment or max(settings.augmentation_strength, settings.mixup, settings.cutmix) > 0


def _is_random(module: torch.nn.Module, head: torch.nn.Module) -> bool:
    """Return True if a part other than the head acts in training in another way than when deployed."""
    for part in module.modules():
        rate = getattr(part, "drop_prob", getattr(part, "p", 0.0))
        if "drop" in type(part).__name__.lower() and isinstance(rate, float) and rate > 0:
            return True
        if isinstance(part, _BatchNorm) and not part.affine and part is not head:
            return True
    return False


def _features(
    module: torch.nn.Module,
    head: torch.nn.Linear,
    examples: Examples,
    task: Task,
    device: torch.device,
    check_time: Callable[[], None],
) -> Features | None:
    """Return the inputs of the head for some items; None if the module's outputs are not simply those of the head."""
    seen: list[Tensors] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    module.eval()
    features: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    try:
        with torch.inference_mode():
            for batch in in_order(examples, _together(task)):
                seen.clear()
                outputs = module(*task.inputs_of(moved(batch.raw, device)))
                if len(seen) != 1 or seen[0][0].shape != (len(batch.targets), head.in_features):
                    return None
                if not features and not torch.allclose(head(*seen[0]), outputs, atol=_CLOSE):
                    return None
                features.append(seen[0][0].float().cpu())
                targets.append(batch.targets)
                check_time()
    finally:
        hook.remove()
    return Features(torch.cat(features).clone(), torch.cat(targets))


def _together(task: Task) -> int:
    return task.signature.together(EVALUATED_TOGETHER)
