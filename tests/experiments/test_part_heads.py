"""Parts of a parent learn in three ways, and the table has the means over seeds."""

from __future__ import annotations

from typing import Any

import small_parents
from quick_training import SETTINGS

import nas
from experiments import part_heads
from experiments.part_heads import Row
from nas.training.fitted_heads import is_head_alone


def test_parts_are_smaller_in_pixels_or_in_channels() -> None:
    options = {"parent": small_parents.make_colours(), "sizes": [6]}
    space: Any = nas.load_space("shrunk", options, nas.image_signature((3, 8, 8), 5))
    parts = part_heads.parts_of(space)
    assert list(parts) == ["all, 6 of 8 px", "75% of the channels", "50% of the channels"]
    macs = [nas.total_macs(space.layers(each)) for each in parts.values()]
    assert macs[1] > macs[2]
    assert [each["image_size"] for each in parts.values()] == [6, 8, 8]


def test_one_way_is_a_head_alone_and_one_learns_from_the_parent() -> None:
    ways = part_heads.ways_of(SETTINGS)
    assert [is_head_alone(settings) for settings, _ in ways.values()] == [False, False, True]
    assert [settings.fit_head for settings, _ in ways.values()] == [False, True, False]
    assert [is_taught for _, is_taught in ways.values()] == [True, False, False]


def test_the_table_has_means_over_seeds() -> None:
    rows = [Row("p", 1600, seed, "all", 64, {"a": 0.1 + 0.1 * seed, "b": 0.5}) for seed in range(2)]
    rows.insert(0, Row("p", 1600, 0, "the parent", 64, {"b": 0.25}))
    first, _, parent, part = part_heads.summary(rows)
    assert first == "| photos | to learn from | part | a | b |"
    assert parent == "| p | 1,600 | the parent | – | 25.0 % |"
    assert part == "| p | 1,600 | all | 15.0 % | 50.0 % |"
