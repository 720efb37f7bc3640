"""Are the channels of a group interchangeable? Only then may any of them be removed.

Where attention divides channels into heads, or a network shuffles them, those that stay would move to other places.
Such a network runs, and answers otherwise. So a permutation of channels, in all layers that have them, must change
nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nas.space.own_code import own_code

if TYPE_CHECKING:
    from search_spaces.shrinking.plan import Cut, Group

CLOSE = 1e-3
"""Outputs are the same if they differ by at most this share of the largest one: sums are taken in another order."""


def changes_outputs(module: nn.Module, groups: Sequence[Group], inputs: Sequence[torch.Tensor]) -> bool:
    """Return True if the outputs of a module in eval mode change where the channels of these groups are permuted.

    ``inputs`` must be random: of zeros, or of one token at all places, attention makes the same in any order of heads.
    Channels that a layer does not have, as where tokens are taken for channels, are none that can change places.
    Raises what the module's code raises.
    """
    try:
        other_way = permuted(module, groups)
    except IndexError:
        return True
    with own_code(), torch.no_grad():
        first, again, other = module(*inputs), module(*inputs), other_way(*inputs)
    doubt = (again - first).abs().max()  # of a module that draws numbers itself
    return not bool((other - first).abs().max() <= CLOSE * first.abs().max() + 10 * doubt)  # True of NaN, too


def permuted(module: nn.Module, groups: Sequence[Group]) -> nn.Module:
    """Return a copy of a module with the channels of each group in another order, in all layers that have them."""
    made = copy.deepcopy(module)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for group in groups:
            order = rng.permutation(group.channels)
            by_layer: dict[tuple[str, str], list[Cut]] = {}
            for cut in group.cuts:
                by_layer.setdefault((cut.name, cut.action), []).append(cut)
            for cuts in by_layer.values():
                _permute(made, cuts, order)
    return made


def _permute(module: nn.Module, cuts: Sequence[Cut], order: npt.NDArray[np.int64]) -> None:
    """Permute the rows or columns that cuts of one layer, in one direction, tell of."""
    channel_of = {
        int(row): int(channel) for cut in cuts for row, channel in zip(cut.indices, cut.channels, strict=True)
    }
    rows: dict[int, list[int]] = {}
    for row, channel in sorted(channel_of.items()):
        rows.setdefault(channel, []).append(row)
    into = [row for channel in rows for row in rows[channel]]
    out_of = [row for channel in rows for row in rows.get(int(order[channel]), ())]
    if len(into) != len(out_of):  # channels with different numbers of rows cannot change places
        return
    for tensor, dim in _tensors(module, cuts[0]):
        moved = tensor.index_select(dim, torch.tensor(out_of))
        tensor.index_copy_(dim, torch.tensor(into), moved)


def _tensors(module: nn.Module, cut: Cut) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield what a cut slices, each with the dimension of the channels."""
    found = attrgetter(cut.name)(module)
    if isinstance(found, nn.Parameter):
        yield found, cut.dim
    elif cut.is_consumer:
        yield found.weight, 1
    else:
        for tensor in (*found.parameters(recurse=False), *found.buffers(recurse=False)):
            if tensor.ndim and tensor.numel() > 1:  # neither a counter, nor one number for all channels
                yield tensor, -1 if isinstance(found, nn.LayerNorm) else 0
