"""The pool of candidates that a sampler chooses from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
from fault_spaces import Faulty
from made_up_search import CELLS, CLASSES, SHAPE, cost, costs
from tiny_space import TinySpace

from nas.space import description
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space, neighbours, sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from predictors.samplers import candidate_pool
from predictors.samplers.candidate_pool import RANDOM, CandidatePool

DESCRIBER = describer_of(CELLS, image_signature(SHAPE, CLASSES))


def drawn(
    pool: CandidatePool, front: Sequence[Architecture] = (), taken: Collection[Architecture] = ()
) -> list[Architecture]:
    """Return the candidates of the pool as architectures."""
    return [pool.architecture(place) for place in pool.candidates(front, taken)]


def is_fit(pool: CandidatePool, architecture: Architecture) -> bool:
    """Return True if the pool can build an architecture."""
    return bool(pool.are_fit(pool.places([architecture]))[0])


def test_neighbours_of_the_front_and_random_ones() -> None:
    """Candidates include all neighbours and no taken architecture, each once."""
    pool = CandidatePool(DESCRIBER, {}, np.random.default_rng(0))
    front = [sample(CELLS, np.random.default_rng(seed)) for seed in range(3)]
    nearby = {each for architecture in front for each in neighbours(CELLS, architecture)}
    taken = {*front, *list(nearby)[:5]}
    found = drawn(pool, front, taken)
    assert len(set(found)) == len(found) > 0.5 * RANDOM
    assert nearby - taken <= set(found)
    assert not taken & set(found)


def test_a_few_random_ones_are_new_each_time() -> None:
    """Most candidates stay, so that they need not be described again."""
    pool = CandidatePool(DESCRIBER, {}, np.random.default_rng(0))
    *_, first, second = (set(drawn(pool)) for _ in range(12))
    assert len(second) > 0.95 * RANDOM  # at first many draws were twins
    assert 0 < len(second - first) < 0.1 * len(second)


def test_what_is_forgotten_is_described_again_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that forgets each time has the candidates of one that remembers all, and holds less."""
    pools = []
    for _ in range(2):
        describer = describer_of(CELLS, image_signature(SHAPE, CLASSES))
        pools.append((CandidatePool(describer, {1: costs}, np.random.default_rng(0)), describer))
    front: list[Architecture] = []
    for _ in range(30):
        found = []
        for forgets, (pool, _) in enumerate(pools):
            monkeypatch.setattr(candidate_pool, "MOST_MET", 1 if forgets else 20_000)
            monkeypatch.setattr(description, "ROWS_KEPT", 10 if forgets else 50_000)
            pool._most = candidate_pool.MOST_MET
            places = pool.candidates(front, front)
            blocks = pool.inputs(places).blocks
            found.append(([pool.architecture(each) for each in places], pool.costs(places).tolist(), blocks))
        (first, first_costs, first_blocks), (second, second_costs, second_blocks) = found
        assert first == second
        assert first_costs == second_costs
        for name, block in first_blocks.items():
            np.testing.assert_allclose(block, second_blocks[name], atol=1e-5)
        front = [*front[-2:], first[0]]
    (remembers, everything), (forgets_all, little) = pools
    assert len(forgets_all._met) < len(remembers._met) - 500
    assert len(little._rows) <= 10 < len(everything._rows)


def test_a_small_space_is_there_as_a_whole() -> None:
    """The candidates of a small space are all its architectures."""
    space = TinySpace()
    everything = list(enumerate_space(space))
    pool = CandidatePool(describer_of(space, image_signature(SHAPE, CLASSES)), {}, np.random.default_rng(0))
    assert set(drawn(pool)) == set(everything)
    assert set(drawn(pool, (), everything[:4])) == set(everything[4:])


def test_costs_are_asked_for_once() -> None:
    """Each cost is computed once, and is stored in the row of its architecture."""
    asked: list[Architecture] = []

    def known(architectures: Sequence[Architecture]) -> np.ndarray:
        asked.extend(architectures)
        return costs(architectures)

    pool = CandidatePool(DESCRIBER, {1: known}, np.random.default_rng(0))
    found = pool.candidates((), ())
    pool.candidates((), ())
    assert pool.costs(found[:9])[:, 0].tolist() == [cost(pool.architecture(place)) for place in found[:9]]
    assert len(set(asked)) == len(asked)


def test_what_cannot_be_built_is_left_out() -> None:
    """It is not a candidate, even as a neighbour of the front."""
    space = Faulty(faults="shape")
    describer = describer_of(space, image_signature(SHAPE, CLASSES))
    pool = CandidatePool(describer, {}, np.random.default_rng(0))
    found = drawn(pool)
    unfit = set(enumerate_space(space)) - set(found)
    assert found
    assert unfit
    assert all(is_fit(pool, architecture) for architecture in found)
    assert not any(is_fit(pool, architecture) for architecture in unfit)


def test_what_cannot_be_built_needs_no_score() -> None:
    """A batch without any buildable architecture is not scored either, first or later."""
    space = Faulty(faults="shape")
    describer = describer_of(space, image_signature(SHAPE, CLASSES))
    by_fit = {describer.can_be_built(each): each for each in enumerate_space(space)}
    for order in ((True, False), (False, True)):
        pool = CandidatePool(describer, {}, np.random.default_rng(0), lambda found: np.arange(len(found)))
        for can_be_built in order:
            assert is_fit(pool, by_fit[can_be_built]) == can_be_built


def test_what_could_not_be_measured_is_left_out() -> None:
    """Its cost is infinite; among the candidates it would make all other costs look alike."""
    dearest = np.median(costs([sample(CELLS, np.random.default_rng(seed)) for seed in range(20)]))

    def known(architectures: Sequence[Architecture]) -> np.ndarray:
        found = costs(architectures)
        return np.where(found > dearest, np.inf, found)

    pool = CandidatePool(DESCRIBER, {1: known}, np.random.default_rng(0))
    found = pool.candidates((), ())
    assert len(found)
    assert np.isfinite(pool.costs(found)).all()
