"""A parent whose weights all of its smaller forms share: each takes the most important channels of the whole."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from nas.space.architecture import Architecture
from search_spaces.shrinking.importance import importance_by_weights, most_important
from search_spaces.shrinking.plan import CONSUMER, Cut, Plan
from search_spaces.shrinking.shared_runs import SharedRuns
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
        parameters = dict(self.whole.named_parameters())
        self._cuts: dict[str, dict[int, list[tuple[str, Cut]]]] = defaultdict(lambda: defaultdict(list))
        for group in plan.groups:
            for cut in group.cuts:
                for name, axis in parameters_of(cut, parameters):
                    self._cuts[name][axis].append((group.name, cut))

    def inherit(self, inheritance: Mapping[str, torch.Tensor]) -> None:
        """Begin with the weights of a tuned parent, and with the order of its channels."""
        weights = {name.removeprefix(WEIGHT): each for name, each in inheritance.items() if name.startswith(WEIGHT)}
        self.whole.load_state_dict(weights)
        self._scores = {group.name: inheritance[f"{SCORE}{group.name}"] for group in self._plan.groups}

    def weights(self, architecture: Architecture) -> dict[str, torch.Tensor]:
        """Return the parameters of the module that the space builds for an architecture, by their names there."""
        counts, dropped = self._kept_by(architecture)
        lasting = [
            name
            for name, _ in self.whole.named_parameters()
            if not any(name == block or name.startswith(f"{block}.") for block in dropped)
        ]
        return self._slices(counts).of(lasting)

    def outputs(
        self, architecture: Architecture, inputs: tuple[torch.Tensor, ...], batch: int, calibrating: int
    ) -> torch.Tensor:
        """Return what an architecture's module gives for a batch of inputs, with its part of the weights.

        Of the first batch, number 0, the first ``calibrating`` inputs set the statistics of batch normalisations. What
        the architecture before began with alike is not computed again. ``forget_inputs`` comes between other inputs.
        """
        counts, dropped = self._kept_by(architecture)
        return self._runs.outputs(counts, dropped, self._slices(counts).of, inputs, batch, calibrating)

    def forget_inputs(self) -> None:
        """Forget what was computed, because the inputs or the weights are others from now on."""
        self._runs.forget()

    @cached_property
    def _runs(self) -> SharedRuns:
        return SharedRuns(self.whole, self._plan)

    def _slices(self, counts: Mapping[str, int]) -> Slices:
        gone = {}
        for group in self._plan.groups:
            is_gone = np.ones(group.channels, dtype=bool)
            is_gone[most_important(self._scores[group.name], counts[group.name])] = False
            gone[group.name] = is_gone
        return Slices(dict(self.whole.named_parameters()), self._cuts, gone)


@final
@dataclass(frozen=True)
class Slices:
    """The parts of parameters that are left where the channels in ``gone``, a mask for each group, are removed."""

    parameters: Mapping[str, torch.Tensor]
    cuts: Mapping[str, Mapping[int, Sequence[tuple[str, Cut]]]]
    gone: Mapping[str, npt.NDArray[np.bool_]]

    def of(self, names: Collection[str]) -> dict[str, torch.Tensor]:
        """Return the parameters of these names, sliced."""
        return {name: self._sliced(name) for name in names}

    def _sliced(self, name: str) -> torch.Tensor:
        found = self.parameters[name]
        for axis, cuts in self.cuts[name].items() if name in self.cuts else ():
            stays = np.ones(found.shape[axis], dtype=bool)
            for group, cut in cuts:
                stays[cut.indices[self.gone[group][cut.channels]]] = False
            if not stays.all():
                places = torch.from_numpy(np.flatnonzero(stays)).to(found.device)
                found = found.index_select(axis, places)
        return found


def parameters_of(cut: Cut, names: Collection[str]) -> Sequence[tuple[str, int]]:
    """Return the parameters that a cut slices, each with the axis of the channels."""
    if cut.name in names:
        return [(cut.name, cut.dim)]
    if cut.kind in ("CONV", "LINEAR") and cut.action == CONSUMER:
        sliced = [(f"{cut.name}.weight", 1)]
    else:
        sliced = [(f"{cut.name}.weight", 0), (f"{cut.name}.bias", 0)]
    return [place for place in sliced if place[0] in names]
