"""The teachers of winners: the best of them, once it is trained, or a model of the user's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, final

import torch
from safetensors.torch import load

from nas.results.bundled.unfinished import weights_of
from nas.searching.beliefs import Beliefs
from nas.searching.resolving import Resolved
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature
from nas.space.tracing import build_checked, load_weights
from nas.storage.retraining_rows import RETRAINING

One = TypeVar("One", bound=Architecture)

MakesTeacher = Callable[[], torch.nn.Module]


@final
@dataclass(frozen=True, eq=False)
class RetrainedTeacher:
    """Makes the module of a winner from its weights, a safetensors file, once in each process."""

    space: SearchSpace
    architecture: Architecture
    signature: Signature
    weights: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Its architecture, and digits that differ when the weights do."""
        return f"{self.architecture.id}, {hashlib.sha256(self.weights).hexdigest()[:12]}"

    def __call__(self) -> torch.nn.Module:
        """Return the module. Raises CandidateError if the weights do not fit."""
        return _made(self)


@lru_cache(maxsize=1)
def _made(teacher: RetrainedTeacher) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        module = build_checked(teacher.space, teacher.architecture, teacher.signature)
    load_weights(module, load(teacher.weights))
    return module.requires_grad_(False).eval()


@final
@dataclass(frozen=True)
class EarlierWeights:
    """Lets trainings begin with weights, safetensors files by the ids of the networks; others begin as they do."""

    by_id: Mapping[str, bytes] = field(repr=False)

    def __call__(self, architecture: Architecture, module: torch.nn.Module) -> None:
        """Load the weights into a module. Raises CandidateError if they do not fit."""
        if architecture.id in self.by_id:
            load_weights(module, load(self.by_id[architecture.id]))


def last_weights(beliefs: Beliefs, folder: Path, candidates: Iterable[Candidate], before: int) -> EarlierWeights:
    """Return the weights that networks had in the run's folder before the retraining of that number."""
    found: dict[str, bytes] = {}
    for candidate in candidates:
        bundle = last_model(beliefs, candidate, before)
        assert bundle is not None, "who asks for retraining has checked that there is a model"
        found[candidate.trained.id] = weights_of(folder / bundle).read_bytes()
    return EarlierWeights(found)


def retrained_teacher(
    resolved: Resolved, beliefs: Beliefs, folder: Path, architecture: Architecture
) -> RetrainedTeacher:
    """Return the last model of a winner as a teacher."""
    bundle = last_model(beliefs, architecture)
    assert bundle is not None, "a winner has a model"
    weights = weights_of(folder / bundle).read_bytes()
    return RetrainedTeacher(resolved.space, beliefs.candidate(architecture).trained, resolved.task.signature, weights)


def last_model(beliefs: Beliefs, architecture: Architecture, before: float = math.inf) -> str | None:
    """Return the bundle of the last model that an architecture has, or had before a retraining; None for none."""
    found = [
        str(row.details["folder"])
        for row in beliefs.rows
        if row.stage == "winner"
        and row.architecture == architecture
        and not row.failed
        and row.details.get(RETRAINING, 0) < before
    ]
    return found[-1] if found else None


def best_of(beliefs: Beliefs, architectures: Iterable[One]) -> One:
    """Return the architecture that was best in the search. The test split must not choose: winners are scored on it."""

    return min(architectures, key=lambda each: quality_in_search(beliefs, each))


def quality_in_search(beliefs: Beliefs, architecture: Architecture) -> float:
    """Return the quality that a candidate had in the search; infinity where it has none."""
    row = beliefs.trainings.get(architecture)
    return math.inf if row is None or row.failed else row.values.get(beliefs.quality.name, math.inf)
