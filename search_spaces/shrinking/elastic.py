"""A parent whose weights all of its smaller forms share: each takes the most important channels of the whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from nas.space.architecture import Architecture
from search_spaces.shrinking.importance import importance_by_weights, most_important
from search_spaces.shrinking.plan import CONSUMER, Cut, IntArray, Plan
from search_spaces.shrinking.weight_files import SCORE, WEIGHT

Kept = tuple[Mapping[str, int], Collection[str]]
"""The number of channels that an architecture keeps of each group, and the blocks that it lacks."""


class ElasticParent(nn.Module):
    """The parent's weights, of which each architecture takes its part. Gradients flow back into the whole.

    An architecture with fewer channels has some of those that one with more channels has, as in slimmable networks
    (Yu et al., 2019, arXiv:1812.08928): the most important ones, which the parent's ``inheritance`` tells. Without it,
    their weights tell.
    """

    def __init__(self, module: nn.Module, plan: Plan, kept_by: Callable[[Architecture], Kept]) -> None:
        super().__init__()
        self.whole = copy.deepcopy(module).requires_grad_(True)
        self._plan = plan
        self._kept_by = kept_by
        self._scores = importance_by_weights(self.whole, plan.groups)

    def inherit(self, inheritance: Mapping[str, torch.Tensor]) -> None:
        """Begin with the weights of a tuned parent, and with the order of its channels."""
        weights = {name.removeprefix(WEIGHT): each for name, each in inheritance.items() if name.startswith(WEIGHT)}
        self.whole.load_state_dict(weights)
        self._scores = {group.name: inheritance[f"{SCORE}{group.name}"] for group in self._plan.groups}

    def weights(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        """Return the parameters of the module that the space builds for an architecture, by their names there."""
        counts, dropped = self._kept_by(architecture)
        kept = {name: most_important(self._scores[name], count) for name, count in counts.items()}
        lasting = {
            name: parameter
            for name, parameter in self.whole.named_parameters()
            if not any(name == block or name.startswith(f"{block}.") for block in dropped)
        }
        for (name, axis), places in self._places(kept, lasting).items():
            if len(places) < lasting[name].shape[axis]:
                lasting[name] = lasting[name].index_select(axis, torch.from_numpy(places).to(lasting[name].device))
        return lasting

    def _places(
        self, kept: Mapping[str, IntArray], lasting: Mapping[str, torch.Tensor]
    ) -> dict[tuple[str, int], IntArray]:
        """Return what is kept of each parameter along each of its axes that a group slices."""
        gone: dict[tuple[str, int], list[IntArray]] = {}
        for group in self._plan.groups:
            is_gone = np.ones(group.channels, dtype=bool)
            is_gone[kept[group.name]] = False
            for cut in group.cuts:
                for place in parameters_of(cut, lasting):
                    gone.setdefault(place, []).append(cut.indices[is_gone[cut.channels]])
        return {
            (name, axis): np.setdiff1d(np.arange(lasting[name].shape[axis]), np.concatenate(parts))
            for (name, axis), parts in gone.items()
        }


def parameters_of(cut: Cut, names: Collection[str]) -> Sequence[tuple[str, int]]:
    """Return the parameters that a cut slices, each with the axis of the channels."""
    if cut.name in names:
        return [(cut.name, cut.dim)]
    if cut.kind in ("CONV", "LINEAR") and cut.action == CONSUMER:
        sliced = [(f"{cut.name}.weight", 1)]
    else:
        sliced = [(f"{cut.name}.weight", 0), (f"{cut.name}.bias", 0)]
    return [place for place in sliced if place[0] in names]
