"""Mixup and CutMix: batches whose items are blended with others, and a loss that counts both targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch

from nas.space.signature import Signature
from nas.tasks.batches import Tensors

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Mixed(NamedTuple):
    """A blended batch: item i holds the share ``kept`` of itself, and the rest of item ``others[i]``."""

    inputs: Tensors
    others: torch.Tensor
    kept: float

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, loss: Loss) -> torch.Tensor:
        """Return the loss of both targets, weighted by their shares."""
        if self.kept == 1:
            return loss(outputs, targets)
        return self.kept * loss(outputs, targets) + (1 - self.kept) * loss(outputs, targets[self.others])


@final
class Mixer:
    """Blends batches by mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019), chosen at random where both are on.

    ``mixup`` and ``cutmix`` are the alpha of their beta distributions; 0 turns one off. It mixes losses instead of
    labels, so that it serves every criterion and any number of inputs; timm's ``Mixup`` takes images with classes only,
    and an even number of them.
    """

    def __init__(self, mixup: float, cutmix: float, rng: np.random.Generator) -> None:
        self._alphas = [(way, alpha) for way, alpha in ((_blended, mixup), (_cut, cutmix)) if alpha > 0]
        self._rng = rng

    def __call__(self, inputs: Tensors) -> Mixed:
        """Return the batch, blended with itself in another order."""
        count = len(inputs[0])
        others = torch.from_numpy(self._rng.permutation(count)).to(inputs[0].device)
        way, alpha = self._alphas[int(self._rng.integers(len(self._alphas)))]
        return way(inputs, others, float(self._rng.beta(alpha, alpha)), self._rng)


def can_mix(signature: Signature) -> bool:
    """Return True if all inputs are numbers that can be blended; whole numbers, such as words, cannot."""
    return all(each.dtype == "float32" for each in signature.inputs)


def can_cut(signature: Signature) -> bool:
    """Return True if each input has a place from which a part can be cut: images and signals do, rows of tables not."""
    return can_mix(signature) and all(len(each.shape) >= 2 for each in signature.inputs)


def _blended(inputs: Tensors, others: torch.Tensor, kept: float, rng: np.random.Generator) -> Mixed:
    return Mixed(tuple(torch.lerp(each[others], each, kept) for each in inputs), others, kept)


def _cut(inputs: Tensors, others: torch.Tensor, kept: float, rng: np.random.Generator) -> Mixed:
    """Replace a box, of which each side has the same share; of several inputs, the box at the same relative place."""
    axes = min(2, min(each.dim() for each in inputs) - 2)
    side, centres = (1 - kept) ** (1 / axes), rng.random(axes)
    found, shares = [], []
    for each in inputs:
        box = _box(each.shape[-axes:], side, centres)
        changed = each.clone()
        place: Any = (Ellipsis, *(slice(start, stop) for start, stop in box))
        changed[place] = each[others][place]
        found.append(changed)
        shares.append(math.prod(stop - start for start, stop in box) / math.prod(each.shape[-axes:]))
    return Mixed(tuple(found), others, 1 - float(np.mean(shares)))


def _box(shape: Sequence[int], side: float, centres: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the start and the end of a box along each axis; ``side`` is its share of the axis, if it fits."""
    found = []
    for size, centre in zip(shape, centres.tolist(), strict=True):
        half = side * size / 2
        found.append((max(0, round(centre * size - half)), min(size, round(centre * size + half))))
    return found
