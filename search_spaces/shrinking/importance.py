"""How much a parent would lose with each channel: by the slope of its loss on data, or by its weights alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import nn

from search_spaces.shrinking.plan import Cut, Group

Scores = dict[str, torch.Tensor]
"""For each group by its name a score of each channel, shape (channels,)."""


def importance_by_data(
    module: nn.Module, groups: Sequence[Group], losses: Iterable[Callable[[nn.Module], torch.Tensor]]
) -> Scores:
    """Return for each channel the square of what the loss would rise without it, to first order, summed over batches.

    Following Molchanov et al., "Importance estimation for neural network pruning" (CVPR 2019, arXiv:1906.10771): the
    product of a layer's weights and their slopes, summed over all that take a channel, is that of the channel itself.
    Each of ``losses`` returns the loss on a batch. The module is in eval mode, and its own weights stay as they are.
    """
    module.eval().requires_grad_(True)
    scores = {group.name: torch.zeros(group.channels) for group in groups}
    for loss in losses:
        module.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss(module).backward()  # type: ignore[no-untyped-call]
        for group in groups:
            slope = torch.zeros(group.channels)
            for cut in group.cuts:
                if cut.is_consumer:
                    slope += _by_channel(cut, _product(module, cut), group.channels)
            scores[group.name] += slope**2
    module.zero_grad(set_to_none=True)
    return scores


def importance_by_weights(module: nn.Module, groups: Sequence[Group]) -> Scores:
    """Return for each channel the sum of squares of the weights that make it and take it."""
    scores = {}
    for group in groups:
        total = torch.zeros(group.channels)
        for cut in group.cuts:
            if cut.is_consumer or cut.is_producer:
                weight = _weight(module, cut).detach()
                total += _by_channel(cut, _summed(cut, weight**2) / weight.var().clamp(min=1e-12), group.channels)
        scores[group.name] = total
    return scores


def most_important(scores: torch.Tensor, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the ``count`` channels of the highest scores, in their order. Of equal ones the first are kept."""
    order = np.argsort(-scores.numpy(), kind="stable")[:count]
    return np.sort(order).astype(np.int64)


def _product(module: nn.Module, cut: Cut) -> torch.Tensor:
    weight = _weight(module, cut)
    if weight.grad is None:
        return torch.zeros(weight.shape[_axis(cut)])
    return _summed(cut, weight.detach() * weight.grad)


def _weight(module: nn.Module, cut: Cut) -> torch.Tensor:
    weight = module.get_submodule(cut.name).weight
    assert isinstance(weight, torch.Tensor)
    return weight


def _axis(cut: Cut) -> int:
    return 0 if cut.is_producer else 1


def _summed(cut: Cut, values: torch.Tensor) -> torch.Tensor:
    return values.sum(dim=[dim for dim in range(values.ndim) if dim != _axis(cut)])


def _by_channel(cut: Cut, values: torch.Tensor, channels: int) -> torch.Tensor:
    """Return sums over a layer's rows or columns, shape (channels,), that go with the same channel of the group."""
    picked = values[torch.from_numpy(cut.indices)]
    return torch.zeros(channels).index_add_(0, torch.from_numpy(cut.channels), picked)
