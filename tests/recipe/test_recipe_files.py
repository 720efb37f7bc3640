"""Recipes are read as other programs write them."""

from __future__ import annotations

from pathlib import Path

from nas.recipe.recipe import read_recipe, read_recorded_recipe


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Windows' editor writes one, which nobody sees."""
    path = tmp_path / "recipe.toml"
    path.write_text('data = "digits"\ntrials = 7', encoding="utf-8-sig")
    assert (read_recipe(path).trials, read_recorded_recipe(path).trials) == (7, 7)
