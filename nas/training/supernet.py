"""Weights that the architectures of a space share, and what a candidate's error is with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import torch
from safetensors.torch import load
from torch.nn.modules.batchnorm import _BatchNorm

from nas.errors import CandidateError, SpaceError
from nas.space.architecture import Architecture
from nas.space.search_space import HasSupernet, SearchSpace, ends
from nas.space.tracing import build_checked
from nas.tasks.data_source import DataSource
from nas.tasks.dataset import DataSet
from nas.training.training import device_named, error_rate, inputs_of, move, statistics_of, torch_with

BY = "supernet"
"""What rows and reports of candidates say that were evaluated by shared weights."""
RECALIBRATION_BATCH = 128


def make_supernet(space: SearchSpace) -> torch.nn.Module:
    """The space's supernet, its weights drawn from torch's global random state.

    Raises:
        SpaceError: the space has none, or it is no torch module with a method ``weights``.
    """
    if not isinstance(space, HasSupernet):
        raise SpaceError(
            f"weights are shared by a space with a method supernet(), but {type(space).__name__} has none."
        )
    supernet: object = space.supernet()
    if not isinstance(supernet, torch.nn.Module) or not callable(getattr(supernet, "weights", None)):
        raise SpaceError(
            "supernet() must return a torch.nn.Module with a method weights(architecture), "
            f"but gave a {type(supernet).__name__}."
        )
    return supernet


def weights_for(
    supernet: torch.nn.Module, architecture: Architecture, module: torch.nn.Module
) -> dict[str, torch.Tensor]:
    """The shared weights of an architecture, by the names of the parameters of its ``module``.

    Raises:
        SpaceError: they are not the module's parameters, name by name and shape by shape.
    """
    weights = dict(supernet.weights(architecture))  # type: ignore[operator]
    given = {name: tuple(weight.shape) for name, weight in weights.items()}
    wanted = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    if given != wanted:
        name = next(name for name in {**wanted, **given} if given.get(name) != wanted.get(name))
        raise SpaceError(
            "a supernet's weights(architecture) must be the parameters of build(architecture), but of "
            f"{architecture.id} ({architecture.short}) {name!r} has the shape {given.get(name)} in the one and "
            f"{wanted.get(name)} in the other."
        )
    return weights


def check_supernet(space: SearchSpace, input_shape: tuple[int, int, int], classes: int) -> None:
    """See that the shared weights fit the architectures of all first and of all last options.

    Raises:
        SpaceError: they do not, or there are none.
    """
    with torch.random.fork_rng(devices=[]):
        supernet = make_supernet(space)
        for architecture in ends(space):
            try:
                module = build_checked(space, architecture, input_shape, classes)
            except CandidateError as error:
                raise SpaceError(
                    "weights are shared by the architectures of all first and of all last options too, but "
                    f"{architecture.id} ({architecture.short}) cannot be built: {error.reason}"
                ) from error
            weights_for(supernet, architecture, module)


@final
class SharedWeights:
    """Trained shared weights, ``content`` being the bytes of a safetensors file of the supernet's parameters.

    Called with an architecture and its module it copies the architecture's share into the module.
    """

    def __init__(self, space: SearchSpace, content: bytes) -> None:
        self._space = space
        self._content = content

    def __getstate__(self) -> dict[str, Any]:
        """Without the module, which a worker makes from the content."""
        return {"_space": self._space, "_content": self._content}

    @cached_property
    def _supernet(self) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            supernet = make_supernet(self._space)
        supernet.load_state_dict(load(self._content), strict=False)
        return supernet

    def __call__(self, architecture: Architecture, module: torch.nn.Module) -> None:
        weights = weights_for(self._supernet, architecture, module)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(weights[name])


@final
@dataclass(frozen=True)
class SharedEvaluation:
    """A task for an executor: the error of a job's architecture with shared weights, in its one report.

    The statistics of batch norms, which fit no single architecture, are found anew on ``images`` training images, as
    in universally slimmable networks (Yu & Huang, 2019, arXiv:1903.05134). A job is as for ``CandidateTraining``.
    """

    space: SearchSpace
    source: DataSource
    shared: SharedWeights
    images: int
    device: str
    threads: int
    clock: Callable[[], float] = field(default=time.monotonic)

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Evaluate.

        Raises:
            CandidateError: the build failed, or the outputs are not finite.
            SpaceError: the shared weights are not those of the module.
        """
        data = self.source.load()
        began = self.clock()
        with torch_with(self.threads, job["seed"]):
            architecture = Architecture(job["architecture"])
            module = build_checked(self.space, architecture, data.input_shape, data.class_count)
            self.shared(architecture, module)
            device = device_named(self.device)
            move(module, device)
            recalibrate(module, data, self.images, device)
            error = error_rate(module, data.validation, data, device)
        yield {"epoch": 1, "error": error, "by": BY, "seconds": self.clock() - began, "done": True}


def recalibrate(module: torch.nn.Module, data: DataSet, images: int, device: torch.device) -> None:
    """Set the statistics of batch norms to the averages over so many training images; the module ends in eval mode.

    Raises:
        CandidateError: of kind nan; the outputs are not finite.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    mean, std = statistics_of(data, device)
    # Whole batches: the variance of a small rest would count as much as that of any other.
    split = data.train.sample(images)
    batch = min(RECALIBRATION_BATCH, len(split))
    with torch.no_grad():
        for start in range(0, len(split) - batch + 1, batch):
            chosen = torch.from_numpy(split.images[start : start + batch]).to(device)
            outputs = module(inputs_of(chosen, mean, std))
            if not bool(torch.isfinite(outputs).all()):
                raise CandidateError("nan", "with shared weights the outputs must be finite, but are not.")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()
