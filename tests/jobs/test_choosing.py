"""The executor that a recipe asks for."""

from __future__ import annotations

from typing import Any

import pytest

from nas.jobs.choosing import executor_of
from nas.jobs.execution import InlineExecutor
from nas.jobs.ray_executor import RayExecutor
from nas.recipe.recipe import Recipe


@pytest.mark.parametrize(
    ("execution", "is_brief", "expected"),
    [
        ({}, True, InlineExecutor),
        ({}, False, RayExecutor),
        ({"executor": "ray"}, True, RayExecutor),
        ({"executor": "inline"}, False, InlineExecutor),
        ({"workers": 2}, True, RayExecutor),
        ({"ray_address": "auto"}, True, RayExecutor),
    ],
)
def test_trainings_of_seconds_need_no_workers(execution: dict[str, Any], is_brief: bool, expected: type) -> None:
    """What the recipe says of workers counts more."""
    recipe = Recipe.from_mapping({"data": "digits", "execution": execution})
    assert isinstance(executor_of(recipe, is_brief=is_brief), expected)
