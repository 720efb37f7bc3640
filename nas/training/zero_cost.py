"""Scores of untrained networks, and errors of candidates that are predicted from a score.

Scores rank networks roughly, in a fraction of a second (Abdelfattah et al., "Zero-cost proxies for lightweight NAS",
2021, arXiv:2101.08134). A score is not an error: a map from scores to errors is fitted to a handful of trainings.

The default score was chosen on digits, with 24 random architectures of ``mobilenet`` trained for 8 epochs. Spearman
correlations with their accuracy: SNIP 0.69, gradient norm 0.57, synflow 0.39, ZiCo 0.15 to 0.20, NASWOT -0.07; but
multiply-accumulates 0.81 and parameters 0.75. No sum of these was better than multiply-accumulates alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nas.errors import CandidateError
from nas.jobs.execution import as_failure
from nas.space.architecture import Architecture
from nas.space.layer import total_macs
from nas.space.own_code import own_code
from nas.space.parts.own_inputs import wishes_of
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked, layers_of
from nas.tasks.batches import Tensors
from nas.tasks.data_source import DataSource
from nas.tasks.task import Task
from nas.training.modules import device_named

ScoreName = Literal["snip", "synflow", "naswot", "macs"]
BY = "zero-cost"
"""The value of ``by`` in rows and reports of candidates that were evaluated by a score."""
FLATTEST = 1e-3
"""The least fall of the error's log over one standard deviation of the score, which keeps the score's order."""
BEYOND = 10.0
_RECTIFIERS = frozenset(("relu", "hardtanh", "gelu", "silu", "hardswish", "mish", "leaky_relu"))


@dataclass(frozen=True)
class ScoreMap:
    """A map from a score to an error, whose log falls linearly with the score."""

    mean: float
    deviation: float
    intercept: float
    slope: float
    largest: float = 1.0

    def error(self, score: float) -> float:
        """The error that the score predicts, at most ``largest``."""
        log = self.intercept + self.slope * (score - self.mean) / self.deviation
        return math.exp(min(log, math.log(self.largest)))


def fit_score_map(scores: Sequence[float], errors: Sequence[float], items: int, largest: float = 1.0) -> ScoreMap:
    """Fit the map by least squares. Errors below half of one of the ``items`` for validation are raised to that.

    ``largest`` is the largest error that there can be. If that is infinite, a map ends at ten times the highest error.

    Raises:
        ValueError: fewer than two different scores.
    """
    if len(set(scores)) < 2:
        raise ValueError(f"a map from scores to errors needs two different scores, but got {list(scores)}.")
    mean, deviation = float(np.mean(scores)), float(np.std(scores))
    logs = np.log(np.maximum(errors, 0.5 / items))
    slope, intercept = np.polyfit((np.asarray(scores) - mean) / deviation, logs, 1)
    most = largest if math.isfinite(largest) else max(BEYOND * max(errors), FLATTEST)
    return ScoreMap(mean, deviation, float(intercept), min(float(slope), -FLATTEST), most)


@final
@dataclass(frozen=True)
class ZeroCostEvaluation:
    """The work of a job: report the score of its untrained architecture. Higher is better.

    ``score`` names a function of this module, or ``macs`` for the log of the multiply-accumulates, the baseline of the
    others. With a ``score_map``, the report also holds the ``error`` that the score predicts. A job is the same as for
    ``CandidateTraining``; its seed draws the weights. ``batch`` is the number of training items in use.
    """

    space: SearchSpace
    source: DataSource
    score: ScoreName
    batch: int
    device: str
    threads: int
    score_map: ScoreMap | None = None
    clock: Callable[[], float] = field(default=time.monotonic)

    def __call__(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Score the job's architecture.

        Raises:
            CandidateError: the build failed, or the score is not finite.
        """
        architecture = Architecture(job["architecture"])
        task, began = self.source.load().prepared_for(wishes_of(self.space, architecture)), self.clock()
        with torch_with(self.threads, job["seed"]):
            score = self._score(architecture, task)
        if not math.isfinite(score):
            raise CandidateError("nan", f"a zero-cost score must be finite, but was {score}.")
        report = {"epoch": 1, "score": score, "by": BY, "seconds": self.clock() - began, "done": True}
        yield report if self.score_map is None else {**report, "error": self.score_map.error(score)}

    def _score(self, architecture: Architecture, task: Task) -> float:
        if self.score == "macs":
            layers = layers_of(self.space, architecture, task.signature)
            return math.log(max(1, total_macs(layers)))
        module = build_checked(self.space, architecture, task.signature)
        device = device_named(self.device)
        module.to(device)
        if self.score == "synflow":
            return synflow(module, task.signature)
        batch = task.sample(self.batch)
        inputs = task.inputs_of(tuple(each.to(device) for each in batch.raw))
        if self.score == "naswot":
            return naswot(module, inputs)
        return snip(module, inputs, batch.targets.to(device), task.criterion.loss)


@final
class ScorePrior:
    """Scores of architectures before any of them is evaluated. A call computes each score once, when it is needed.

    ``seed_of`` returns the seed that draws a network's weights.
    """

    def __init__(self, scoring: ZeroCostEvaluation, seed_of: Callable[[Architecture], int]) -> None:
        self.names = (scoring.score,)
        self._scoring = scoring
        self._seed_of = seed_of
        self._scores: dict[Architecture, float] = {}

    def __call__(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        """Return the scores, shape (N,); NaN for a network that cannot be built, fails or has no finite score."""
        for architecture in architectures:
            if architecture not in self._scores:
                self._scores[architecture] = self._score(architecture)
        return np.array([self._scores[architecture] for architecture in architectures])

    def _score(self, architecture: Architecture) -> float:
        job = {"id": architecture.id, "architecture": dict(architecture), "seed": self._seed_of(architecture)}
        try:
            with own_code():
                (report,) = self._scoring(job)
        except Exception as error:
            as_failure(error)  # raises every error that must end the run
            return math.nan
        return float(report["score"])


def snip(
    module: torch.nn.Module,
    inputs: Tensors,
    targets: torch.Tensor,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> float:
    """The log of the sum of |weight × gradient|: the sensitivity of a batch's loss to each weight.

    Lee et al., "SNIP: Single-shot network pruning based on connection sensitivity" (2019, arXiv:1810.02340). Vectors,
    such as biases and normalisation scales, do not count.
    """
    module.train()
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad and parameter.ndim > 1]
    loss = loss_of(module(*inputs), targets)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    total = sum(
        float((weight * gradient).abs().sum().detach())
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )
    return math.log(total) if total > 0 else -math.inf


def naswot(module: torch.nn.Module, inputs: Tensors) -> float:
    """The log-determinant of a kernel of the items in a batch: high if rectifiers tell the items apart.

    The kernel counts the units that are on for both of two items, or off for both (Mellor et al., "Neural
    architecture search without training", 2021, arXiv:2006.04647). Minus infinity if two items give the same units.
    """
    codes = _Codes(len(inputs[0]))
    module.train()  # so that batch norms use the statistics of the batch
    with torch.no_grad(), codes:
        module(*inputs)
    return float(torch.linalg.slogdet(codes.kernel.double()).logabsdet)


@final
class _Codes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The kernel of N items, shape (N, N): for each pair, the units of all rectifiers that agree on both items."""

    def __init__(self, items: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernel = torch.zeros(items, items, dtype=torch.float64)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.split(".")[0].rstrip("_") in _RECTIFIERS and len(args[0]) == len(self.kernel):
            on = (args[0] > 0).flatten(1).float()
            both = on @ on.T + (1 - on) @ (1 - on).T
            self.kernel += both.cpu()
        return func(*args, **(kwargs or {}))


def synflow(module: torch.nn.Module, signature: Signature) -> float:
    """The log of the flow through a network whose weights are all made positive, summed over each weight's share.

    Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow" (2020,
    arXiv:2006.05467). Batch norms that are new and in eval mode pass everything on. The module's weights are changed.
    """
    module.eval().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    ones = [
        torch.ones(1, *each.shape, dtype=torch.float64, device=parameters[0].device)
        if each.dtype == "float32"
        else torch.zeros(1, *each.shape, dtype=torch.int64, device=parameters[0].device)
        for each in signature.inputs
    ]
    gradients = torch.autograd.grad(module(*ones).sum(), parameters, allow_unused=True)
    total = sum(
        float((parameter * gradient).detach().sum())
        for parameter, gradient in zip(parameters, gradients, strict=True)
        if gradient is not None
    )
    return math.log(total) if total > 0 else -math.inf
