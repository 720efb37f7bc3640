"""Where a run goes on: its recipe keeps everything but the place of its trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import RecipeError
from nas.recipe.recipe import read_recorded_recipe

ON_A_CLUSTER = '[data]\nname = "digits"\n\n[execution]\nexecutor = "ray"\nray_address = "head:6379"\nworkers = 8\n'


def test_a_run_of_a_cluster_goes_on_in_one_process(tmp_path: Path) -> None:
    """A head that is lost makes way for ``--executor inline``, without a word about its address."""
    path = tmp_path / "recipe.toml"
    path.write_text(ON_A_CLUSTER)
    execution = read_recorded_recipe(path, ["execution.executor=inline"]).execution
    assert (execution.executor, execution.ray_address, execution.workers) == ("inline", None, 8)
    assert read_recorded_recipe(path, ["execution.workers=2"]).execution.ray_address == "head:6379"
    assert path.read_text() == ON_A_CLUSTER


def test_one_process_and_an_address_are_refused_together(tmp_path: Path) -> None:
    """Whoever names both is told so, instead of losing one."""
    path = tmp_path / "recipe.toml"
    path.write_text(ON_A_CLUSTER)
    with pytest.raises(RecipeError, match="ray_address joins a Ray cluster"):
        read_recorded_recipe(path, ["execution.executor=inline", "execution.ray_address=other:6379"])
