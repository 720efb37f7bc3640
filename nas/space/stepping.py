"""One step of a training, timed: an estimate of how long trainings take, before there is any."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from nas.errors import CandidateError, raised_text
from nas.space.architecture import Architecture
from nas.space.eager_adamw import EagerAdamW
from nas.space.own_code import own_code
from nas.space.parts.own_inputs import signature_of
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked, random_inputs

FEWEST_STEPS, MOST_STEPS, ENOUGH_S = 2, 6, 1.0
"""Steps are timed until there are so many, or these seconds have passed. The first is slower, and does not count."""


def step_seconds(
    space: SearchSpace,
    architecture: Architecture,
    signature: Signature,
    batch: int,
    threads: int,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Return the seconds of a training step on a batch of random inputs on this processor: of the fastest of a few.

    A moment in which something else runs makes a single one ten times as slow, and a plan is made by it.
    ``signature`` is that of the data; an architecture may have inputs of its own.

    Raises:
        CandidateError: of kind build or exception; the architecture cannot be built or trained.
    """
    try:
        with torch_with(threads, seed=0), own_code():
            module = build_checked(space, architecture, signature)
            if all(tensor.dim() < 5 for tensor in (*module.parameters(), *module.buffers())):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            module.train()
            inputs = [
                each.contiguous(memory_format=torch.channels_last) if each.ndim == 4 else each
                for each in random_inputs(signature_of(space, architecture, signature).inputs, batch)
            ]
            labels = torch.randint(signature.classes, (batch * math.prod(signature.output[:-1]),))
            optimizer = EagerAdamW(module.parameters())
            taken_s: list[float] = []
            while len(taken_s) < FEWEST_STEPS or (len(taken_s) < MOST_STEPS and sum(taken_s) < ENOUGH_S):
                began = clock()
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(module(*inputs).flatten(0, -2), labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                taken_s.append(clock() - began)
            return min(taken_s[1:])
    except CandidateError:
        raise
    except Exception as error:  # a candidate may raise anything
        raise CandidateError("exception", f"training raised {raised_text(error)}") from error
