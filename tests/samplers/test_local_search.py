"""Local search: neighbours of the front, without those that known costs exclude."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from made_up_search import CELLS, CLASSES, SHAPE, add, ask, both, cost, costs, error, new_study, search

from nas.space.search_space import neighbours, sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.values.pareto import hypervolume
from predictors.samplers.local_search import FIRST, LocalSearchSampler

DESCRIBER = describer_of(CELLS, image_signature(SHAPE, CLASSES))


def test_proposes_neighbours_of_the_front() -> None:
    """After the first random proposals, each is a neighbour of an evaluated architecture."""
    found = search(LocalSearchSampler(DESCRIBER, seed=0), 25)
    for place in range(FIRST, 25):
        nearby = {each for before in found[:place] for each in neighbours(CELLS, before)}
        assert found[place] in nearby


def test_known_costs_rule_out_what_cannot_be_on_the_front() -> None:
    """A neighbour is skipped if its cost, with its parent's error, is dominated."""
    rng = np.random.default_rng(0)
    before = [sample(CELLS, rng) for _ in range(30)]
    study = new_study(LocalSearchSampler(DESCRIBER, seed=0, known={1: costs}))
    for architecture in before:
        add(study, architecture, values=both(architecture))
    points = [both(architecture) for architecture in before]
    for _ in range(10):
        _, proposed = ask(study)
        parents = [architecture for architecture in before if proposed in neighbours(CELLS, architecture)]
        assert any(not any(e <= error(parent) and c <= cost(proposed) for e, c in points) for parent in parents), (
            proposed.short
        )


@pytest.mark.slow
def test_finds_more_of_the_front_than_by_chance() -> None:
    """After 60 evaluations, the mean hypervolume over seeds is larger than at random."""
    reference = np.array([70.0, 20.0])

    def found(sampler: optuna.samplers.BaseSampler) -> float:
        return hypervolume(np.array([both(architecture) for architecture in search(sampler, 60)]), reference)

    ours = [found(LocalSearchSampler(DESCRIBER, seed=seed, known={1: costs})) for seed in range(4)]
    by_chance = [found(optuna.samplers.RandomSampler(seed=seed)) for seed in range(4)]
    assert np.mean(ours) > np.mean(by_chance)
