"""Files that a space's options name, in the recipe of a run that may go on from another folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nas.recipe.recipe import Recipe
from nas.searching.user_inputs.space_paths import with_whole_paths


def options_of(**options: Any) -> dict[str, Any]:
    recipe = with_whole_paths(Recipe.from_mapping({"space": {"name": "timm", **options}}))
    assert with_whole_paths(recipe) == recipe
    assert recipe.space.name == "timm"
    return dict(recipe.space.options)


def test_files_are_named_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from the home folder; words with a meaning stay, and so does what the space will refuse."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.csv").touch()
    (tmp_path / "weights").mkdir()
    whole = {"known": str(tmp_path / "mine.csv"), "weights": str(tmp_path / "weights")}
    assert options_of(known="mine.csv", weights="~/weights") == whole
    assert options_of(known=os.path.join(".", "mine.csv"), weights="hub") == {**whole, "weights": "hub"}
    assert options_of(known="no.csv", models=["mine.csv"]) == {"known": "no.csv", "models": ["mine.csv"]}
    (tmp_path / "hub").mkdir()
    (tmp_path / "none").mkdir()
    assert options_of(known="none", weights="hub") == {"known": "none", "weights": "hub"}
    assert options_of(known="", weights="none") == {"known": "", "weights": "none"}


def test_other_spaces_keep_their_options() -> None:
    recipe = Recipe.from_mapping({"space": {"name": "mobilenet"}})
    assert with_whole_paths(recipe) is recipe
    assert with_whole_paths(Recipe()) == Recipe()


def test_code_of_ones_own_is_not_imported_here() -> None:
    """It may end its process, so it is first imported in another one."""
    recipe = Recipe.from_mapping({"space": {"name": "no_such_module:Space", "known": "/"}})
    assert with_whole_paths(recipe) is recipe
