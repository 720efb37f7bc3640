"""RandAugment of a batch of pictures, by torchvision."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

TOGETHER = 8
"""Groups of a batch, each of which is changed by operations of its own. One by one it would take many times longer."""
STRONGEST = 30
"""The magnitude of RandAugment that a strength of 1 stands for. The paper uses 9 of 30 on ImageNet."""


def randomly_augmented(images: torch.Tensor, generator: torch.Generator, strength: float) -> torch.Tensor:
    """Return uint8 pictures, shape (N, channels, height, width), each changed by two random operations.

    They are those of Cubuk et al., "RandAugment" (2020): moves, turns, shears, and changes of brightness, contrast,
    sharpness and colours. ``strength`` is 0 to 1. Channels must be one or three.
    """
    transform = _transform(round(strength * STRONGEST))
    order = torch.randperm(len(images), generator=generator)
    changed = images.clone()
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global random state
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        for group in order.chunk(min(TOGETHER, len(images))):
            changed[group] = transform(images[group])
    return changed


@lru_cache(maxsize=16)
def _transform(magnitude: int) -> Any:
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops=2, magnitude=magnitude)
