"""Modules in training: the device on which they run, and their error and other metrics on a split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from safetensors.torch import save

from nas.tasks.batches import Examples, Tensors, in_order
from nas.tasks.corruptions import NOISE, Robustness, mean_score, noise_scores
from nas.tasks.scores import Tally, add_finite
from nas.tasks.task import Task

EVALUATED_TOGETHER = 512
"""The most items that are evaluated at once."""


def metrics_on(
    module: torch.nn.Module,
    examples: Examples,
    task: Task,
    device: torch.device | None = None,
    robustness: Robustness | None = None,
) -> dict[str, float]:
    """Return the metrics of a module on a split, by name: ``error`` first, then the others that are finite.

    Leaves the module in eval mode.
    Without a ``device``, items are moved to that of the module.
    With ``robustness`` the error under noise is among them, which takes one more pass for each corruption and strength.
    """
    device = device or _device_of(module)
    module.eval()
    with torch.inference_mode():
        return metrics_of(lambda raw: module(*task.inputs_of(moved(raw, device))), examples, task, device, robustness)


def metrics_of(
    outputs_of: Callable[[Tensors], torch.Tensor],
    examples: Examples,
    task: Task,
    device: torch.device,
    robustness: Robustness | None = None,
) -> dict[str, float]:
    """Return the metrics on a split of whatever gives outputs, on ``device``, for raw items: a module or a runtime."""
    tally = _tally_of(outputs_of, examples, task, device)
    scores: Mapping[str, float] = {name: score.value for name, score in tally.scores().items()}
    found = {"error": tally.error, **{n: v for n, v in scores.items() if n != "error" and math.isfinite(v)}}
    if robustness is not None:
        under = noise_scores(lambda raw: outputs_of(raw).cpu(), examples, task, robustness)
        found[NOISE] = mean_score(list(under.values())).value
    return found


def error_of(module: torch.nn.Module, examples: Examples, task: Task, device: torch.device | None = None) -> float:
    """Return a module's error on a split: the criterion's, such as the share of items that are classified wrongly.

    Without a ``device``, items are moved to that of the module.
    """
    device = device or _device_of(module)
    module.eval()
    with torch.inference_mode():
        return _tally_of(lambda raw: module(*task.inputs_of(moved(raw, device))), examples, task, device).error


def _device_of(module: torch.nn.Module) -> torch.device:
    """Return the device of a module's first weight; the CPU for a module without any."""
    first = next(iter((*module.parameters(), *module.buffers())), None)
    return torch.device("cpu") if first is None else first.device


def _tally_of(
    outputs_of: Callable[[Tensors], torch.Tensor], examples: Examples, task: Task, device: torch.device
) -> Tally:
    tally = task.criterion.tally()
    for batch in in_order(examples, task.signature.together(EVALUATED_TOGETHER)):
        add_finite(tally, outputs_of(batch.raw), batch.targets.to(device))
    return tally


def moved(tensors: Tensors, device: torch.device) -> Tensors:
    """Return tensors on a device."""
    return tuple(each.to(device) for each in tensors)


def move(module: torch.nn.Module, device: torch.device) -> None:
    """Move a module to a device, in the channels-last format, with which convolutions on CPUs train 20 to 30 % faster.

    A module with weights of five dimensions keeps its format, because channels-last supports four.
    """
    tensors = (*module.parameters(), *module.buffers())
    if any(tensor.dim() == 5 for tensor in tensors):
        module.to(device)
    else:
        module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def device_named(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is a GPU if there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def weights_content(state: Mapping[str, torch.Tensor]) -> bytes:
    """Return weights as a safetensors file. They are copied, because it refuses tensors that layers share."""
    return save({name: each.detach().cpu().contiguous().clone() for name, each in state.items()})
