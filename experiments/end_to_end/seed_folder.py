"""The recipe, data, space and folder of one seed of the end-to-end comparison."""

from __future__ import annotations

from pathlib import Path

from nas.errors import RecipeError
from nas.hardware.machine import default_workers
from nas.recipe.recipe import Recipe, read_recipe
from nas.results.data_of_run import source_of
from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, load_space
from nas.storage.journal import RECIPE, write_aside


class SeedFolder:
    """One seed: its recipe, the data and the space that the recipe names, and the folder of its files.

    Raises:
        RecipeError: the folder holds the results of another recipe.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        assert recipe.search_time_s is not None
        self.recipe = recipe
        self.time_s = recipe.search_time_s
        self.folder = folder
        self._claim_folder()
        self.source = source_of(recipe)
        self.data = self.source.load()
        self.space: SearchSpace = load_space(
            recipe.space.name,
            recipe.space.options,
            self.data.signature,
        )
        self.workers = recipe.execution.workers or default_workers(recipe.execution.threads_per_worker)

    def _claim_folder(self) -> None:
        kept = self.folder / RECIPE
        if not kept.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_aside(kept, self.recipe.to_toml().encode())
            return
        changed = self.recipe.differences(read_recipe(kept))
        changed.pop("trials", None)  # the time ends every search, whatever number of trials the recipe has
        if changed:
            listed = ", ".join(f"{key} was {before} and is {now} now" for key, (now, before) in changed.items())
            raise RecipeError(f"{self.folder} holds results of another recipe: {listed}. Choose another --out.")

    def model(self, architecture: Architecture) -> Path:
        """Return the path of the exported model of an architecture."""
        return self.folder / "models" / f"{architecture.id}.onnx"

    def failure(self, architecture: Architecture) -> Path:
        """Return the path of the file that says why an architecture has no model."""
        return self.model(architecture).with_suffix(".failed")
