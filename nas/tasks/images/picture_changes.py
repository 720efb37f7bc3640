"""Changed pictures: as a camera, a dirty lens, bad light or a small file spoil them; and to train on, by random parts
of them and by RandAugment.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch

PICTURE_CORRUPTIONS = ("gaussian-noise", "blur", "brightness", "contrast", "jpeg", "occlusion")
NOISE_OF_1 = 0.4
"""The standard deviation of noise of strength 1, as a share of the range of pixels (ImageNet-C's strongest: 0.38)."""
TOGETHER = 8
"""Groups of a batch, each of which is changed by operations of its own. One by one it would take many times longer."""
LEAST_PART = 0.35
"""The least share of a picture's area that a random part of it has."""
STRONGEST = 30
"""The magnitude of RandAugment that a strength of 1 stands for. The paper uses 9 of 30 on ImageNet."""


def corrupted_pictures(images: torch.Tensor, name: str, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Return uint8 pictures, shape (N, channels, height, width), under the corruption called ``name``.

    The kinds are those of Hendrycks and Dietterich, "Benchmarking neural network robustness" (2019), as far as they
    suit pictures of any size. ``strength`` is above 0 and at most 1. Raises ValueError for another name.
    """
    if name == "jpeg":
        return _compressed(images, strength)
    if name == "blur":
        return _blurred(images, strength)
    if name == "occlusion":
        return _occluded(images, strength, generator)
    pixels = images.float()
    count = len(images)
    if name == "gaussian-noise":
        pixels = pixels + 255 * NOISE_OF_1 * strength * torch.randn(pixels.shape, generator=generator)
    elif name == "brightness":
        signs = 2.0 * torch.randint(2, (count, 1, 1, 1), generator=generator) - 1
        pixels = pixels + signs * 127 * strength
    elif name == "contrast":
        middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
        pixels = middle + (pixels - middle) * (1 - 0.9 * strength)
    else:
        raise ValueError(f"a corruption is one of {', '.join(PICTURE_CORRUPTIONS)}, but got {name!r}.")
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _blurred(images: torch.Tensor, strength: float) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    height, width = images.shape[2:]
    sigma = max(0.3, strength * min(height, width) / 20)
    kernel = [2 * min(math.ceil(3 * sigma), side - 1) + 1 for side in (width, height)]
    found: torch.Tensor = functional.gaussian_blur(images, kernel, [sigma, sigma])
    return found


def _compressed(images: torch.Tensor, strength: float) -> torch.Tensor:
    from torchvision.transforms.v2 import functional

    quality = max(1, round(100 - 98 * strength))
    return torch.stack([functional.jpeg(each, quality) for each in images])


def _occluded(images: torch.Tensor, strength: float, generator: torch.Generator) -> torch.Tensor:
    """Cover a rectangle of each picture in grey: half of its area at strength 1."""
    count, _, height, width = images.shape
    side = math.sqrt(strength / 2)
    sizes = [max(1, round(side * length)) for length in (height, width)]
    covered = torch.ones(count, 1, height, width, dtype=torch.bool)
    for axis, (length, size) in enumerate(zip((height, width), sizes, strict=True)):
        first = torch.randint(length - size + 1, (count, 1), generator=generator)
        places = torch.arange(length)
        inside = (places >= first) & (places < first + size)
        covered &= inside[:, None, :, None] if axis == 0 else inside[:, None, None, :]
    return torch.where(covered, torch.tensor(127, dtype=torch.uint8), images)


def parts_of(images: torch.Tensor, generator: torch.Generator, least: float = LEAST_PART) -> torch.Tensor:
    """Return a random part of each picture, shape (N, channels, height, width), scaled to the whole's size.

    A part has at least the share ``least`` of a picture's area, and nearly its shape (Szegedy et al., "Going deeper
    with convolutions", 2015).
    """
    from torchvision.transforms import v2

    cut = v2.RandomResizedCrop(images.shape[2:], scale=(least, 1.0))
    with _drawn_from(generator):
        return torch.stack([cut(image) for image in images])


def randomly_augmented(images: torch.Tensor, generator: torch.Generator, strength: float) -> torch.Tensor:
    """Return uint8 pictures, shape (N, channels, height, width), each changed by two random operations.

    They are those of Cubuk et al., "RandAugment" (2020): moves, turns, shears, and changes of brightness, contrast,
    sharpness and colours. ``strength`` is 0 to 1. Channels must be one or three.
    """
    transform = _transform(round(strength * STRONGEST))
    order = torch.randperm(len(images), generator=generator)
    changed = images.clone()
    with _drawn_from(generator):
        for group in order.chunk(min(TOGETHER, len(images))):
            changed[group] = transform(images[group])
    return changed


@contextlib.contextmanager
def _drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Let torchvision draw what ``generator`` decides. It draws from the global random state, which stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        yield


@lru_cache(maxsize=16)
def _transform(magnitude: int) -> Any:
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops=2, magnitude=magnitude)
