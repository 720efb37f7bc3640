"""Code that a run folder names is run only for those who trust it."""

from __future__ import annotations

from pathlib import Path

import pytest

import nas
from nas.errors import RecipeError
from nas.prediction.measured_run import check_trusted, code_in


def recipe(**space: str) -> nas.Recipe:
    return nas.Recipe.from_mapping({"space": space})


def test_a_function_that_returns_a_parent_is_code() -> None:
    """An installed space may name some in its options; models of timm are none."""
    assert code_in(recipe(name="shrunk", parent="my_models:make")) == ["shrunk", "my_models:make"]
    assert code_in(recipe(name="shrunk", parent="timm:resnet18")) == ["shrunk"]
    assert code_in(recipe(name="mobilenet")) == ["mobilenet"]
    assert code_in(recipe(name="my_spaces:Mine")) == ["my_spaces:Mine"]


def test_code_needs_trust() -> None:
    run = Path("runs/theirs")
    check_trusted(run, ["shrunk", "gp"], trust=False)
    check_trusted(run, ["shrunk", "my_models:make"], trust=True)
    with pytest.raises(RecipeError, match=r"names code of its own, my_models:make, which this command must run"):
        check_trusted(run, ["shrunk", "my_models:make"], trust=False)
