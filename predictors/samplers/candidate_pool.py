"""The pool of candidates of a sampler: neighbours of the front and random architectures, each described once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.prediction.predictor import BoolArray, FloatArray, batch_of
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.listing import HasListing
from nas.space.search_space import HasLayers, count, enumerate_space, neighbours, sample
from nas.values.pareto import IntArray
from predictors.features import feature_map
from predictors.processes.kernel import Inputs
from predictors.samplers.prior_scores import Prior, ScoreScale, scores_of
from predictors.samplers.rows import Rows

KnownCosts = Mapping[int, Callable[[Sequence[Architecture]], FloatArray]]
"""Objectives, by number, whose losses, shape (N,), a function gives for N architectures before they are evaluated."""

RANDOM, TRACED_RANDOM = 1500, 60
"""Number of random candidates; fewer if layers must be traced, which takes some hundredths of a second each."""
LISTED = 5000
"""The most architectures of a space that lists them which are all candidates; their layers are never traced."""
RENEWED = 0.02
"""Share of the random candidates that is replaced each time."""
MOST_DRAWN = 300
"""Most draws at once after the first time. Under tight limits most draws are rejected, so more would waste time."""
NEIGHBOURS_OF, TRACED_NEIGHBOURS_OF = 40, 2
"""Most points of the front, drawn at random, whose neighbours become candidates; fewer if layers must be traced."""
MOST_MET = 20_000
"""From so many architectures on, all but the random candidates are forgotten, where layers need not be traced.

A long search meets more than it trains. To describe those again that are of use takes little time.
"""


@final
class CandidatePool:
    """Architectures that may be proposed next, with features and known costs.

    Every architecture in the pool has a place, a number from 0 on, until candidates are asked for again; numbers are
    much faster to handle. ``known`` gives the losses of objectives that are known beforehand. The scores of ``prior``
    are a further block of features.
    """

    def __init__(
        self, describer: Describer, known: KnownCosts, rng: np.random.Generator, prior: Prior | None = None
    ) -> None:
        self._describer = describer
        self._known = known
        self._rng = rng
        self._prior = prior
        self._scale: ScoreScale | None = None  # set when the first architectures are described
        self._traced = not isinstance(describer.space, HasLayers)
        self._size = TRACED_RANDOM if self._traced else RANDOM
        self._features = feature_map(describer)
        self._met: list[Architecture] = []
        self._places: dict[Architecture, int] = {}
        self._fit = Rows()  # shape (A, 1): True if it may be proposed; for the A described ones, which come first
        self._costs = Rows()
        self._blocks: dict[str, Rows] = {}
        no_scores = None if prior is None else np.empty((0, 1))
        self._parts = Inputs.of_networks(self._features(describer.describe(())), no_scores).parts
        self._around: dict[int, list[int]] = {}
        self._most = MOST_MET
        self._random: list[int] = []
        self._has_few = count(describer.space) <= (LISTED if isinstance(describer.space, HasListing) else self._size)

    def candidates(self, front: Sequence[Architecture], taken: Collection[Architecture]) -> IntArray:
        """Return places of neighbours of ``front`` and random candidates that are not in ``taken``.

        All can be built, and none has a known cost that is infinite, as one that failed to be measured.
        """
        self._forget()
        self._draw(taken)
        found = dict.fromkeys(self._random)
        most = TRACED_NEIGHBOURS_OF if self._traced else NEIGHBOURS_OF
        if len(front) > most:
            front = [front[index] for index in self._rng.choice(len(front), most, replace=False)]
        for architecture in front:
            place = self._place(architecture)
            if place not in self._around:
                self._around[place] = [self._place(each) for each in neighbours(self._describer.space, architecture)]
            found |= dict.fromkeys(self._around[place])
        self._most = max(MOST_MET, 3 * len(found))  # a point may have thousands of neighbours
        fresh = np.array([place for place in found if self._met[place] not in taken], dtype=np.int64)
        self._describe()
        candidates: IntArray = fresh[self._fit.rows[fresh, 0]]
        return candidates

    def architecture(self, place: int) -> Architecture:
        """Return the architecture at a place."""
        return self._met[place]

    def places(self, architectures: Iterable[Architecture]) -> IntArray:
        """Return the places of N architectures, shape (N,); new architectures are added to the pool."""
        places = np.array([self._place(architecture) for architecture in architectures], dtype=np.int64)
        self._describe()
        return places

    def inputs(self, places: IntArray) -> Inputs:
        """Return a surrogate's inputs for N architectures that can be built."""
        return Inputs({name: block.rows[places] for name, block in self._blocks.items()}, self._parts)

    def costs(self, places: IntArray) -> FloatArray:
        """Return the known costs of N architectures, shape (N, known objectives), in the order of ``known``."""
        costs: FloatArray = self._costs.rows[places]
        return costs

    @property
    def is_ranked(self) -> bool:
        """True if higher scores of the prior are known to be better."""
        return bool(getattr(self._prior, "higher_is_better", False))

    def expected(self, places: IntArray) -> FloatArray:
        """Return the mean rank of N architectures by their scores, shape (N,): 0 for the best, and 1 for the worst."""
        assert self._scale is not None
        normal = np.sqrt(2) * self._blocks["scores"].rows[places, : self._scale.count]  # the values follow
        ranks: FloatArray = ndtr(-normal).mean(axis=1)
        return ranks

    def are_fit(self, places: IntArray) -> BoolArray:
        """Return a mask, shape (N,), of the architectures that can be built and have finite costs."""
        mask: BoolArray = self._fit.rows[places, 0]
        return mask

    def _place(self, architecture: Architecture) -> int:
        place = self._places.setdefault(architecture, len(self._met))
        if place == len(self._met):
            self._met.append(architecture)
        return place

    def _forget(self) -> None:
        """Forget all but the random candidates, if there are too many."""
        if len(self._met) < self._most or self._has_few or self._traced:
            return
        self._describe()
        kept = np.array(self._random, dtype=np.int64)
        for rows in (self._fit, self._costs, *self._blocks.values()):
            rows.keep(kept)
        self._met = [self._met[place] for place in self._random]
        self._places = {architecture: place for place, architecture in enumerate(self._met)}
        self._random = list(range(len(self._met)))
        self._around = {}

    def _draw(self, taken: Collection[Architecture]) -> None:
        """Update the random candidates, replacing a few; a small space is enumerated instead."""
        space = self._describer.space
        if self._has_few:
            self._random = self._random or [self._place(architecture) for architecture in enumerate_space(space)]
            return
        kept = [place for place in self._random if self._met[place] not in taken]
        most = round((1 - RENEWED) * self._size)
        if len(kept) > most:
            kept = [kept[index] for index in np.sort(self._rng.choice(len(kept), most, replace=False))]
        missing = self._size - len(kept)
        new = (self._place(sample(space, self._rng)) for _ in range(min(missing, MOST_DRAWN) if kept else missing))
        self._random = list(dict.fromkeys([*kept, *new]))

    def _describe(self) -> None:
        """Describe the architectures that were added since the last time."""
        new = self._met[self._fit.count :]
        if not new:
            return
        fit = np.array([self._describer.can_be_built(architecture) for architecture in new])
        built = [architecture for architecture, is_fit in zip(new, fit, strict=True) if is_fit]
        inputs = Inputs.of_networks(self._features(batch_of(self._describer, built).descriptions), self._scores(built))
        costs = np.empty((len(built), len(self._known)))
        for column, values in enumerate(self._known.values()):
            costs[:, column] = values(built) if built else ()
        usable = fit.copy()
        usable[fit] = np.isfinite(costs).all(axis=1)
        # Appended last, because the functions above may raise or be interrupted, and all arrays must stay aligned.
        self._fit.append(usable[:, None])
        self._costs.append(_spread(costs, fit))
        for name, block in inputs.blocks.items():
            self._blocks.setdefault(name, Rows()).append(_spread(block, fit))

    def _scores(self, architectures: Sequence[Architecture]) -> FloatArray | None:
        """Return scores of N architectures, shape (N, S), by rank among the architectures that were described first."""
        if self._prior is None:
            return None
        if not architectures and self._scale is not None:
            return self._scale(np.empty((0, self._scale.count)))
        scores = scores_of(self._prior, architectures)
        self._scale = self._scale or ScoreScale.of(scores, has_values=self.is_ranked)
        return self._scale(scores)


def _spread(rows: NDArray[Any], fit: BoolArray) -> NDArray[Any]:
    """Return an array with ``rows`` where ``fit`` is True, and zeros elsewhere."""
    spread = np.zeros((len(fit), rows.shape[1]), dtype=rows.dtype)
    spread[fit] = rows
    return spread
