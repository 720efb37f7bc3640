"""What candidates inherit from a parent: its weights, as far as they keep them, and its answers to learn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, final

import torch
from safetensors.torch import load, save

from nas.errors import CandidateError
from nas.space.architecture import Architecture
from nas.space.parts.own_inputs import wishes_of
from nas.space.parts.parents import HasParent, parents_space
from nas.space.search_space import SearchSpace
from nas.tasks.batches import Items, Tensors
from nas.tasks.task import Task

BATCHES, BATCH = 48, 8
"""Batches of training items on which a parent's slopes are taken. In large ones the slopes of items cancel out."""


@final
class Inheritance:
    """The weights of a tuned parent, for the architectures of its space. ``content`` is a safetensors file."""

    def __init__(self, space: SearchSpace, content: bytes) -> None:
        self._space = space
        self._content = content

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what each process makes of it."""
        return {"_space": self._space, "_content": self._content}

    @cached_property
    def _tensors(self) -> dict[str, torch.Tensor]:
        return load(self._content)

    @property
    def _with_parent(self) -> HasParent:
        found = parents_space(self._space)
        assert found is not None, "only a space with a parent has an inheritance"
        return found

    def __call__(self, architecture: Architecture, module: torch.nn.Module) -> None:
        """Load into a module what its architecture inherits. Raises CandidateError if it does not fit."""
        try:
            self._with_parent.inherit(architecture, module, self._tensors)
        except (RuntimeError, KeyError, ValueError) as error:
            raise CandidateError("build", f"what the parent leaves must fit its parts, but {error}") from error

    @cached_property
    def _parent(self) -> torch.nn.Module:
        space = self._with_parent
        with torch.random.fork_rng(devices=[]):
            module = self._space.build(space.parent)
        self(space.parent, module)
        return module.requires_grad_(False).eval()

    def give(self, supernet: torch.nn.Module) -> None:
        """Let shared weights begin as those of the parent. Raises CandidateError if they do not fit."""
        try:
            supernet.inherit(self._tensors)  # type: ignore[operator]
        except (RuntimeError, KeyError, ValueError) as error:
            raise CandidateError("build", f"what the parent leaves must fit the supernet, but {error}") from error

    def teacher(self) -> torch.nn.Module:
        """Return the parent, made once in each process."""
        return self._parent

    def sees_alike(self, architecture: Architecture) -> bool:
        """Return True if an architecture sees its inputs as the parent does, such as pictures of the same side."""
        return wishes_of(self._space, architecture) == wishes_of(self._space, self._with_parent.parent)

    def is_parent(self, architecture: Architecture) -> bool:
        """Return True for the parent itself, however it would be trained."""
        parent = self._with_parent.parent
        return all(architecture.get(name) == option for name, option in parent.items())


def inheritance_of(space: HasParent, parent: torch.nn.Module, task: Task, wishes: Mapping[str, Any]) -> bytes:
    """Return what architectures inherit from a tuned parent, as a safetensors file.

    The file also tells on which data it was tuned, and how it saw them, so that a later run can take it as it is.
    ``task`` is prepared as the parent ``wishes``.
    """
    found = space.inheritance(parent, list(_losses(task)))
    preparation = {name: value for name, value in wishes.items() if name != "image_size"}
    about = {"data": task.name, "fingerprint": task.fingerprint, "preparation": json.dumps(preparation)}
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}, about)


def _losses(task: Task) -> Iterator[Callable[[torch.nn.Module], torch.Tensor]]:
    """Yield functions that return a module's loss on a few training items each."""
    items = task.sample(BATCHES * BATCH)
    for start in range(0, len(items.targets), BATCH):
        yield _Loss(task, items, slice(start, start + BATCH))


@final
class _Loss:
    def __init__(self, task: Task, items: Items, which: slice) -> None:
        self._task = task
        self._raw: Tensors = tuple(each[which] for each in items.raw)
        self._targets = items.targets[which]

    def __call__(self, module: torch.nn.Module) -> torch.Tensor:
        return self._task.criterion.loss(module(*self._task.inputs_of(self._raw)), self._targets, 0.0)
