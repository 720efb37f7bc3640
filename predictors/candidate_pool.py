"""Architectures that a sampler chooses from: neighbours of the front and random ones, each described once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, final

import numpy as np

from nas.architecture import Architecture
from nas.description import Describer
from nas.errors import CandidateError
from nas.predictor import FloatArray, batch_of
from nas.search_space import HasLayers, count, enumerate_space, neighbours, sample
from predictors.features import feature_map
from predictors.kernel import FloatingArray, Inputs

KnownCosts = Mapping[int, Callable[[Sequence[Architecture]], FloatArray]]

RANDOM, TRACED_RANDOM = 1500, 60
"""Random candidates; fewer where layers are traced, which takes some hundredths of a second each."""
RENEWED = 0.02
"""The share of random candidates that are drawn anew each time."""
NEIGHBOURS_OF, TRACED_NEIGHBOURS_OF = 40, 2
"""So many points of the front, drawn at random where there are more, have their neighbours among the candidates."""


class _Row(NamedTuple):
    """An architecture's features by block, and its known costs."""

    blocks: Mapping[str, FloatingArray]
    costs: FloatArray


@final
class CandidatePool:
    """What may be proposed next, with features and known costs.

    ``known`` maps objectives to what tells their value of architectures beforehand.
    """

    def __init__(self, describer: Describer, known: KnownCosts, rng: np.random.Generator) -> None:
        self._describer = describer
        self._known = known
        self._rng = rng
        self._traced = not isinstance(describer.space, HasLayers)
        self._size = TRACED_RANDOM if self._traced else RANDOM
        self._features = feature_map(describer)
        self._described: dict[Architecture, _Row | None] = {}  # None: it cannot be built
        self._parts = Inputs.of_networks(self._features(describer.describe(()))).parts
        self._around: dict[Architecture, tuple[Architecture, ...]] = {}
        self._random: list[Architecture] = []
        self._has_few = count(describer.space) <= self._size

    def candidates(self, front: Sequence[Architecture], taken: Collection[Architecture]) -> list[Architecture]:
        """Neighbours of ``front`` and random architectures that can be built and are not among ``taken``."""
        self._draw(taken)
        found = dict.fromkeys(self._random)
        most = TRACED_NEIGHBOURS_OF if self._traced else NEIGHBOURS_OF
        if len(front) > most:
            front = [front[index] for index in self._rng.choice(len(front), most, replace=False)]
        for architecture in front:
            if architecture not in self._around:
                self._around[architecture] = tuple(neighbours(self._describer.space, architecture))
            found |= dict.fromkeys(self._around[architecture])
        fresh = [architecture for architecture in found if architecture not in taken]
        self._describe(fresh)
        return [architecture for architecture in fresh if self._described[architecture] is not None]

    def inputs(self, architectures: Sequence[Architecture]) -> Inputs:
        """What a surrogate takes of N architectures that can be built."""
        rows = self._rows(architectures)
        return Inputs({name: np.array([row.blocks[name] for row in rows]) for name in rows[0].blocks}, self._parts)

    def costs(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Known costs of N architectures, shape (N, objectives that are known), in the order of ``known``."""
        return np.array([row.costs for row in self._rows(architectures)]).reshape(len(architectures), len(self._known))

    def is_fit(self, architecture: Architecture) -> bool:
        """Whether an architecture can be built."""
        self._describe([architecture])
        return self._described[architecture] is not None

    def _rows(self, architectures: Sequence[Architecture]) -> list[_Row]:
        self._describe(architectures)
        rows = [self._described[architecture] for architecture in architectures]
        assert all(row is not None for row in rows), "asked of what cannot be built"
        return rows  # type: ignore[return-value]

    def _draw(self, taken: Collection[Architecture]) -> None:
        """Random candidates, or all there are; a few are drawn anew each time."""
        space = self._describer.space
        if self._has_few:
            self._random = self._random or list(enumerate_space(space))
            return
        kept = [architecture for architecture in self._random if architecture not in taken]
        most = round((1 - RENEWED) * self._size)
        if len(kept) > most:
            kept = [kept[index] for index in np.sort(self._rng.choice(len(kept), most, replace=False))]
        new = (sample(space, self._rng) for _ in range(self._size - len(kept)))
        self._random = list(dict.fromkeys([*kept, *new]))

    def _describe(self, architectures: Iterable[Architecture]) -> None:
        new = [architecture for architecture in dict.fromkeys(architectures) if architecture not in self._described]
        built = [architecture for architecture in new if self._is_built(architecture)]
        self._described |= dict.fromkeys(new)
        if not built:
            return
        inputs = Inputs.of_networks(self._features(batch_of(self._describer, built).descriptions))
        costs = np.empty((len(built), len(self._known)))
        for column, values in enumerate(self._known.values()):
            costs[:, column] = values(built)
        for index, architecture in enumerate(built):
            blocks = {name: block[index] for name, block in inputs.blocks.items()}
            self._described[architecture] = _Row(blocks, costs[index])

    def _is_built(self, architecture: Architecture) -> bool:
        try:
            self._describer.layers(architecture)
        except CandidateError:
            return False
        return True
