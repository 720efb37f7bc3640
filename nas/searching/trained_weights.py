"""The weights of a search's best candidates, for winners that need no retraining or have no time for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import final

from nas.recipe.recipe import Recipe
from nas.searching.selection import front_candidates, simple_winners
from nas.searching.state import RunState
from nas.space.architecture import Architecture
from nas.space.parts.candidate import Candidate
from nas.storage.journal import write_aside
from nas.storage.run_files import TRAINED_WEIGHTS
from nas.values.evaluation import OF_ALL

MOST_KEPT, MOST_BYTES = 8, 2**30
"""The most files, and the most bytes of them all, unless one alone is larger."""


def may_ship(recipe: Recipe, *, has_function: bool) -> bool:
    """Return True if a candidate may become a winner with the weights that the search trained.

    That is so if the search has a time, and a winner is one module from one training. Where training is in folds, that
    is a simple model alone.
    """
    retraining = recipe.retraining
    return (
        recipe.search_time_s is not None
        and recipe.evaluate == "train"
        and not has_function
        and retraining.seeds == 1
        and retraining.teacher is None
    )


@final
class TrainedWeights:
    """Files in a folder of the run, one for each network that was trained to its end and is on the front so far."""

    def __init__(self, state: RunState, folder: Path) -> None:
        self._state = state
        self._folder = folder / TRAINED_WEIGHTS

    def path(self, trained: Architecture) -> Path:
        """Return the place of the weights of a network."""
        return self._folder / f"{trained.id}.safetensors"

    def has(self, trained: Architecture) -> bool:
        """Return True if the weights of a network are kept."""
        return self.path(trained).is_file()

    def are_of_all(self, candidate: Candidate) -> bool:
        """Return True if the kept weights are those of a simple model's fit to all items, which needs no retraining."""
        trainings = self._state.beliefs.trainings
        rows = [trainings[each] for each in candidate.siblings if each in trainings]
        return self.has(candidate.trained) and any(row.details.get(OF_ALL) for row in rows)

    def put(self, trained: Architecture, weights: bytes) -> None:
        """Keep the weights of a network, whose row comes next."""
        self._folder.mkdir(exist_ok=True)
        write_aside(self.path(trained), weights)

    def drop_others(self) -> None:
        """If files are many or large, keep those of the best simple models and of the first few on the front alone."""
        sizes = {path: path.stat().st_size for path in self._folder.glob("*.safetensors")}
        if len(sizes) <= MOST_KEPT and sum(sizes.values()) <= MOST_BYTES:
            return
        beliefs = self._state.beliefs
        front = [row.architecture for row in front_candidates(beliefs, surely=False)]
        best = [self.path(beliefs.candidate(each).trained) for each in (*simple_winners(beliefs), *front)]
        kept: list[int] = []
        for path in (path for path in dict.fromkeys(best) if path in sizes):
            if not kept or (len(kept) < MOST_KEPT and sum(kept) + sizes[path] <= MOST_BYTES):
                kept.append(sizes.pop(path))
        for path in sizes:
            path.unlink()

    def clear(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._folder, ignore_errors=True)
