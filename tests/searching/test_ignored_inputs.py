"""A model that ignores one of its inputs is told before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_tables import people
from torch import nn

import nas
from nas.recipe.recipe import Recipe
from nas.searching.user_inputs.default_space import with_default_space
from nas.searching.user_inputs.ignored_inputs import tell_ignored
from nas.space.first_look import LookHere
from nas.space.search_space import load_space
from nas.tasks.tabular.tabular import Tabular

TASK = Tabular.from_frame(people(), target="pay")


class Model(nn.Module):
    def __init__(self, used: str) -> None:
        super().__init__()
        self.numbers, self.categories, self._used = nn.Linear(3, 2), nn.Embedding(9, 2), used

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        one, other = self.numbers(numbers), self.categories(categories).sum(dim=1)
        out: torch.Tensor = {"both": one + other, "numbers": one, "neither": 0 * one}[self._used]
        return out


class Space:
    """Models that use both inputs, the numbers alone, or neither."""

    def __init__(self, *used: str) -> None:
        self.choices = (nas.Choice("used", used),)

    def build(self, architecture: Any) -> nn.Module:
        return Model(architecture["used"])


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def told(space: Any) -> list[str]:
    progress = Told()
    tell_ignored(space, LookHere(space, TASK.signature), TASK.signature, progress)  # type: ignore[arg-type]
    return progress.lines


def test_an_ignored_input_is_told_once() -> None:
    """A model whose outputs are all the same may be one that is fitted later, so nothing is said of it."""
    (line,) = told(Space("both", "numbers"))
    assert line.endswith("ignore the input 'categories': it changes none of their outputs")
    assert told(Space("both", "neither")) == []


@pytest.mark.parametrize("name", ["mlp", "boosted", "auto"])
def test_spaces_of_tables_use_both_inputs(name: str) -> None:
    section = with_default_space(Recipe(space={"name": name}), TASK).space if name == "auto" else None
    options = {} if section is None else section.options
    assert told(load_space(name if section is None else section.name, options, TASK.signature)) == []
