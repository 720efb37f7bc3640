"""Drawing architectures from a space: at random, representative ones, and the lowest by a score."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from nas.prediction.informative import own_features
from nas.prediction.medoids import medoids
from nas.searching.beliefs import Beliefs
from nas.space.architecture import Architecture
from nas.space.description import QUANTITIES
from nas.space.search_space import HasLayers, SearchSpace, neighbours, sample, whole_space

FloatArray = npt.NDArray[np.float64]

POOL = 200
TRACED_POOL = 40
"""Fewer where layers must be traced, which takes some hundredths of a second each."""
DESCENT_STEPS = 30


def pool_size(space: SearchSpace) -> int:
    """Return the number of random architectures to choose from."""
    return POOL if isinstance(space, HasLayers) else TRACED_POOL


def draw(space: SearchSpace, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Return up to ``count`` different random architectures: all of a space that has no more."""
    drawn: dict[str, Architecture] = {}
    for _ in range(4 * count):
        architecture = sample(space, rng)
        drawn[architecture.id] = architecture
        if len(drawn) == count:
            break
    if len(drawn) < count:  # chance may miss some of few
        drawn |= {a.id: a for a in sorted(whole_space(space, count) or (), key=lambda a: a.id)}
    return list(drawn.values())


def representatives(
    beliefs: Beliefs,
    pool: Sequence[Architecture],
    count: int,
    rng: np.random.Generator,
    taken: Collection[Architecture] = (),
) -> list[Architecture]:
    """Return ``count`` of ``pool`` that represent it; those in ``taken`` are among them.

    They are medoids by the logarithms of the layers' sums, by numbers that are known beforehand and by the encoded
    choices, with the fewest and the most multiply-accumulates among them. Unlike the points farthest from each other,
    medoids also represent the many architectures in the middle. Every architecture of ``pool`` must be buildable.
    """
    if len(pool) <= count:
        return list(pool)
    described = beliefs.describer.describe(pool)
    features = own_features(beliefs.describer, pool)
    macs = described.layer_sums.sum(axis=1)[:, QUANTITIES.index("macs")]
    work = macs if macs.any() or not described.log_numbers.size else described.log_numbers[:, 0]
    kept = [index for index, architecture in enumerate(pool) if architecture in taken]
    chosen = medoids(features, count, rng, (*kept, int(work.argmin()), int(work.argmax())))
    return [pool[index] for index in chosen]


def descend(beliefs: Beliefs, score: Callable[[Architecture], float], starts: Iterable[Architecture]) -> Architecture:
    """Return where steepest descent on ``score`` over neighbours ends, from the best of ``starts``."""
    starts = list(starts)
    beliefs.predict_all(starts)
    best = min(starts, key=score)
    for _ in range(DESCENT_STEPS):
        nearby = neighbours(beliefs.space, best)
        beliefs.predict_all(nearby)
        step = min(nearby, key=score, default=best)
        if score(step) >= score(best):
            break
        best = step
    return best


def evenly(ordered: Sequence[Architecture], most: int) -> list[Architecture]:
    """Return at most ``most`` of some in order, evenly spread, both ends among them if there are two."""
    if len(ordered) <= most:
        return list(ordered)
    return [ordered[place] for place in np.linspace(0, len(ordered) - 1, most).round().astype(int).tolist()]
