"""Architectures that are drawn represent their space, and a descent ends at the lowest."""

from __future__ import annotations

import numpy as np
from fake_predictor import Settings
from made_up_beliefs import beliefs_of
from predicted_latency import ALL, fitted
from tiny_space import TinySpace
from torch import nn

from nas.searching.drawing import descend, draw, representatives
from nas.space.architecture import Architecture, Choice
from nas.space.layer import total_macs
from nas.space.search_space import count, enumerate_space


class Wide(TinySpace):
    """A space small enough that each architecture is drawn."""

    choices = (Choice("width", tuple(range(2, 32))),)

    def build(self, architecture: Architecture) -> nn.Module:
        width = int(architecture["width"])
        return nn.Sequential(nn.Conv2d(1, width, 3), nn.Flatten(), nn.Linear(36 * width, 10))


WIDE = tuple(enumerate_space(Wide()))


def test_drawn_architectures_are_different() -> None:
    """A small space gives fewer than were asked for, each once."""
    drawn = draw(Wide(), 8, np.random.default_rng(0))
    assert len(set(drawn)) == len(drawn) == 8
    assert set(draw(TinySpace(), 10 * count(TinySpace()), np.random.default_rng(0))) == set(ALL)


class TestRepresentatives:
    def test_include_the_smallest_and_the_largest(self) -> None:
        """They are different, and as many as were asked for."""
        beliefs = beliefs_of(space=Wide())
        chosen = representatives(beliefs, WIDE, 8, np.random.default_rng(0))
        assert len(set(chosen)) == 8
        macs, found = ([total_macs(beliefs.describer.layers(a)) for a in group] for group in (WIDE, chosen))
        assert (min(found), max(found)) == (min(macs), max(macs))

    def test_keep_those_that_are_taken(self) -> None:
        """Others represent the rest of the pool; none comes from outside the pool."""
        taken, left_out = WIDE[5:8], WIDE[20]
        pool = [architecture for architecture in WIDE if architecture != left_out]
        chosen = representatives(beliefs_of(space=Wide()), pool, 8, np.random.default_rng(0), taken)
        assert set(taken) < set(chosen) < set(pool)
        assert len(chosen) == 8

    def test_are_the_whole_pool_where_it_is_small(self) -> None:
        """Then there is nothing to choose."""
        assert representatives(beliefs_of(space=Wide()), WIDE[:8], 8, np.random.default_rng(0)) == list(WIDE[:8])


def test_a_descent_predicts_neighbours_together() -> None:
    """It ends at the lowest, with one call for the starts and one for the new neighbours of each step."""
    settings, beliefs = Settings(), beliefs_of(objectives=("error", "latency_ms"))
    beliefs.rely_on({"latency_ms": fitted(beliefs, settings)})
    lowest = descend(beliefs, lambda a: beliefs.predicted(a)["latency_ms"].mean, [ALL[-1]])
    assert settings.predicted == [1, 5, 3, 2]
    assert lowest == min(ALL, key=lambda a: beliefs.predicted(a)["latency_ms"].mean)
