"""Modules in training: the device on which they run, and their error on a split."""

from __future__ import annotations

import torch

from nas.tasks.batches import Examples, Tensors, in_order
from nas.tasks.task import Task

EVALUATED_TOGETHER = 512
"""The most items that are evaluated at once."""


def error_of(module: torch.nn.Module, examples: Examples, task: Task, device: torch.device | None = None) -> float:
    """Return a module's error on a split: the criterion's, such as the share of items that are classified wrongly."""
    device = device or torch.device("cpu")
    tally = task.criterion.tally()
    module.eval()
    with torch.inference_mode():
        for batch in in_order(examples, task.signature.together(EVALUATED_TOGETHER)):
            tally.add(module(*task.inputs_of(moved(batch.raw, device))), batch.targets.to(device))
    return tally.error


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
