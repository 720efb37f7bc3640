"""Weights that the architectures of a space share, and the error of a candidate with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import torch
from safetensors.torch import load
from torch.nn.modules.batchnorm import _BatchNorm

from nas.errors import CandidateError, SpaceError, raised_text
from nas.space.architecture import Architecture
from nas.space.own_code import own_code
from nas.space.parts.device_parts import innermost
from nas.space.parts.own_inputs import wishes_of
from nas.space.search_space import HasSupernet, SearchSpace, ends
from nas.space.signature import Signature
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked
from nas.tasks.corruptions import Robustness
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.training.inheriting import Inheritance
from nas.training.modules import device_named, metrics_on, move, weights_content

BY = "supernet"
"""The value of ``by`` in rows and reports of candidates that were evaluated with shared weights."""
RECALIBRATION_BATCH = 128
"""Items that run together where statistics are estimated."""


def make_supernet(space: SearchSpace, inheritance: Inheritance | None = None) -> torch.nn.Module:
    """Build the space's supernet. Torch's global random state draws its weights, unless they are those of a parent.

    Raises:
        SpaceError: the space has no supernet, or it is no torch module with a method ``weights``.
    """
    space = innermost(space)
    if not isinstance(space, HasSupernet):
        raise SpaceError(f"shared weights need a space with a method supernet(), but {type(space).__name__} has none.")
    try:
        with own_code():
            supernet: object = space.supernet()
    except Exception as error:
        raise SpaceError(f"supernet() of {type(space).__name__} raised {raised_text(error)}.") from error
    if not isinstance(supernet, torch.nn.Module) or not callable(getattr(supernet, "weights", None)):
        raise SpaceError(
            "supernet() must return a torch.nn.Module with a method weights(architecture), "
            f"but returned a {type(supernet).__name__}."
        )
    if inheritance is not None:
        inheritance.give(supernet)
    return supernet


def weights_for(
    supernet: torch.nn.Module, architecture: Architecture, module: torch.nn.Module
) -> dict[str, torch.Tensor]:
    """Return an architecture's shared weights, by the names of the parameters of its ``module``.

    Raises:
        SpaceError: the names or shapes differ from those of the module's parameters.
    """
    try:
        with own_code():
            weights = dict(supernet.weights(architecture))  # type: ignore[operator]
            given = {name: tuple(weight.shape) for name, weight in weights.items()}
    except Exception as error:
        raise SpaceError(f"a supernet's weights(architecture) raised {raised_text(error)}.") from error
    wanted = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    if given != wanted:
        name = next(name for name in {**wanted, **given} if given.get(name) != wanted.get(name))
        raise SpaceError(
            "a supernet's weights(architecture) must match the parameters of build(architecture), but for "
            f"{architecture.id} ({architecture.short}) {name!r} has the shape {given.get(name)} in the weights and "
            f"{wanted.get(name)} in the module."
        )
    return weights


def check_supernet(space: SearchSpace, signature: Signature) -> None:
    """Check that the shared weights fit two architectures: that of all first options, and that of all last ones.

    Raises:
        SpaceError: the weights do not fit, the space has none, or one of the two cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        supernet = make_supernet(space)
        for architecture in ends(space):
            try:
                module = build_checked(space, architecture, signature)
            except CandidateError as error:
                raise SpaceError(
                    "shared weights need the architectures of all first and of all last options, but "
                    f"{architecture.id} ({architecture.short}) cannot be built: {error.reason}"
                ) from error
            weights_for(supernet, architecture, module)


@final
class SharedWeights:
    """Trained shared weights. A call copies an architecture's share of them into its module.

    ``content`` holds the bytes of a safetensors file with the supernet's parameters. They began as those of a parent if
    there is an ``inheritance``, which tells the order of its channels.
    """

    def __init__(self, space: SearchSpace, content: bytes, inheritance: Inheritance | None = None) -> None:
        self._space = space
        self._content = content
        self._inheritance = inheritance

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the supernet, which each worker builds from ``content``."""
        return {"_space": self._space, "_content": self._content, "_inheritance": self._inheritance}

    @cached_property
    def supernet(self) -> torch.nn.Module:
        """The supernet with these weights, made once in each process."""
        with torch.random.fork_rng(devices=[]):
            supernet = make_supernet(self._space, self._inheritance)
        supernet.load_state_dict(load(self._content), strict=False)
        return supernet

    @property
    def has_parent(self) -> bool:
        """True if the weights began as those of a parent."""
        return self._inheritance is not None

    def is_parent(self, architecture: Architecture) -> bool:
        """Return True for the parent itself, which keeps its own weights."""
        return self._inheritance is not None and self._inheritance.is_parent(architecture)

    def __call__(self, architecture: Architecture, module: torch.nn.Module) -> None:
        """Copy the shared weights of ``architecture`` into ``module``; the parent gets its own.

        Raises:
            SpaceError: they do not fit the module.
        """
        if self._inheritance is not None and self._inheritance.is_parent(architecture):
            self._inheritance(architecture, module)
            return
        weights = weights_for(self.supernet, architecture, module)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(weights[name])


@final
@dataclass(frozen=True)
class SharedEvaluation:
    """The work of a job: report the error of its architecture with shared weights.

    The batch norms' shared statistics fit no single architecture. They are estimated again on ``images`` training
    images, as in universally slimmable networks (Yu & Huang, 2019, arXiv:1903.05134). Forms of a parent get one batch
    at most, because many are scored, and the parent itself is evaluated as it is. A job is the same as for
    ``CandidateTraining``; it has one report, which ``keeps_weights`` lets hold the ``weights``.
    """

    space: SearchSpace
    source: DataSource
    shared: SharedWeights
    images: int
    device: str
    threads: int
    clock: Callable[[], float] = field(default=time.monotonic)
    robustness: Robustness | None = None
    keeps_weights: bool = False

    @property
    def calibrating(self) -> int:
        """The number of training items on which the statistics of batch norms are estimated."""
        return min(self.images, RECALIBRATION_BATCH) if self.shared.has_parent else self.images

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Evaluate the job's architecture.

        Raises:
            CandidateError: the build failed, or the outputs are not finite.
            SpaceError: the shared weights do not fit the module.
        """
        architecture = Architecture(job["architecture"])
        task, began = self.source.load().prepared_for(wishes_of(self.space, architecture)), self.clock()
        with torch_with(self.threads, job["seed"]):
            module = build_checked(self.space, architecture, task.signature)
            self.shared(architecture, module)
            device = device_named(self.device)
            move(module, device)
            is_parent = self.shared.is_parent(architecture)
            if not is_parent:
                recalibrate(module, task, self.calibrating, device)
            metrics = metrics_on(module, task.validation, task, device, self.robustness)
        way = {"trained": False} if is_parent else {"by": BY}
        weights = {"weights": weights_content(module.state_dict())} if self.keeps_weights else {}
        yield {"epoch": 1, **metrics, **way, **weights, "seconds": self.clock() - began, "done": True}


def recalibrate(module: torch.nn.Module, task: Task, items: int, device: torch.device) -> None:
    """Set the statistics of batch norms to averages over ``items`` training items. Leaves the module in eval mode.

    Raises:
        CandidateError: of kind nan, if the outputs are not finite.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    # Only full batches: the variance of a small last batch would count as much as that of any other.
    raw = task.sample(items).raw
    size = min(RECALIBRATION_BATCH, len(raw[0]))
    with torch.no_grad():
        for start in range(0, len(raw[0]) - size + 1, size):
            outputs = module(*task.inputs_of(tuple(each[start : start + size].to(device) for each in raw)))
            if not bool(torch.isfinite(outputs).all()):
                raise CandidateError("nan", "outputs must be finite, but with shared weights they are not.")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()
