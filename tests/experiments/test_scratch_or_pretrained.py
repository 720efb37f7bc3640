"""The comparison of a search from scratch with a pretrained one: its recipes and its table."""

from __future__ import annotations

from pathlib import Path

import nas
from experiments.scratch_or_pretrained import PRETRAINED, SCRATCH, Found, keys_of, summary, zoo


def test_both_searches_differ_by_their_space_alone() -> None:
    recipes = [
        nas.Recipe.from_mapping({**keys_of("same", 2, 0, space), "data": "digits"})
        for space in ({"name": "mobilenet"}, zoo(Path("weights"), [48, 64]))
    ]
    first, second = (recipe.model_dump(exclude={"space"}) for recipe in recipes)
    assert first == second
    assert first["search_time_s"] == 120
    assert recipes[1].space.options["resolutions"] == [48, 64]


def test_the_table_tells_whose_models_lie_on_the_joint_front() -> None:
    points = [
        Found(SCRATCH, "a", 0.70, 1.0),
        Found(PRETRAINED, "b", 0.90, 5.0),
        Found(SCRATCH, "c", 0.80, 6.0),
        Found(PRETRAINED, "d", 0.95, 9.0),
    ]
    lines = summary(points)
    assert "| from scratch | 80.00% | 6.00 ms | no | c |" in lines
    assert lines[-1] == "Of the models on the joint front, 1 from scratch and 2 pretrained."
