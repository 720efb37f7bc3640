"""A search in a time keeps the fit of a simple model to all items, so that it needs no retraining."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from commands import evaluations_of
from made_up_beliefs import of_simple
from quick_runs import BASE, Diary, search
from safetensors.torch import load_file
from torch import nn

import nas
from nas.results.bundled.card import CARD
from nas.searching.selection import choose_winners, simple_winners
from nas.searching.winners.luck import may_be_luck
from nas.searching.winners.retraining import Retraining
from nas.values.evaluation import BY_FOLDS

pytestmark = pytest.mark.usefixtures("quick_export")


class NearestMeans(nn.Module):
    """The class whose mean item is nearest by products. It remembers how many items it was fitted to."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10).requires_grad_(False)
        self.scale = scale
        self.register_buffer("items", torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1)) + 0 * self.items
        return logits

    def fit(self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int) -> None:
        flat = inputs[0].flatten(1)
        means = torch.stack([flat[targets == label].mean(dim=0) for label in range(10)])
        self.head.weight.copy_(2 * self.scale * means)
        self.head.bias.copy_(-self.scale * means.square().sum(dim=1))
        self.items.fill_(len(targets))


class Space:
    """A space of simple models."""

    choices = (nas.Choice("scale", (1.0, 2.0)),)

    def build(self, architecture: nas.Architecture) -> nn.Module:
        return NearestMeans(float(architecture["scale"]))


@pytest.mark.parametrize("folds", [1, 3])
def test_a_simple_model_is_shipped_with_its_fit_to_all_items(tmp_path: Path, folds: int) -> None:
    """Also where the networks beside it are trained in folds, whose weights are not kept."""
    diary, task = Diary(), nas.load_data("digits")
    training = {**BASE["training"], "folds": folds, "subset": 1.0}
    front = search(tmp_path, Space(), progress=diary, training=training, search_time_s=600, trials=2, rounds=1)
    everything = len(task.train) + len(task.validation)
    for winner in front:
        assert winner.bundle is not None
        assert float(load_file(winner.bundle / "model.safetensors")["items"]) == everything
        assert winner.is_fitted
        assert winner.by_folds["error"] == pytest.approx(winner.test_error, abs=0.05)
        assert "as the search trained it" not in (winner.bundle / CARD).read_text()
    run = tmp_path / "run"
    assert all(row.details["of_all"] for row in evaluations_of(run, "train"))
    assert all("start" not in row.details for row in evaluations_of(run, "retrain"))
    assert not [text for text in diary.news if "no time is left to retrain" in text]
    assert not (run / "trained").exists()


def test_without_a_time_winners_are_fitted_to_all_items_as_ever(tmp_path: Path) -> None:
    (winner, *_) = search(tmp_path, Space(), training={**BASE["training"], "subset": 1.0}, trials=2, rounds=1)
    task = nas.load_data("digits")
    assert winner.bundle is not None
    weights = load_file(winner.bundle / "model.safetensors")
    assert float(weights["items"]) == len(task.train) + len(task.validation)
    assert not any("of_all" in row.details for row in evaluations_of(tmp_path / "run", "train"))


def test_where_time_is_short_simple_models_go_before_what_seems_better() -> None:
    """They need no retraining. Of 98 photos one more decided against a head that erred on 8 % fewer test photos."""
    trained = [(0.1 + 0.05 * number, 4.0 - number, False) for number in range(4)]
    simple = [(0.2, 4.5, True), (0.3, 2.5, True), (0.4, 1.5, True)]
    beliefs = of_simple(*trained, *simple)
    assert len({*choose_winners(beliefs, 4), *simple_winners(beliefs)}) == 7
    recipe = SimpleNamespace(retraining=SimpleNamespace(winners=4), training=SimpleNamespace(tune="all"))
    for most, expected in ((7, 4), (5, 2), (4, 1), (2, 1)):
        schedule = SimpleNamespace(is_timed=False, has_time_to_make=lambda missing, *_, most=most: len(missing) <= most)
        retraining = object.__new__(Retraining)
        retraining._state = SimpleNamespace(beliefs=beliefs, recipe=recipe, schedule=schedule)
        retraining._weights = None
        assert retraining._that_fit() == expected


@pytest.mark.parametrize(("error", "tried", "is_luck"), [(0.17, 1, True), (0.15, 1, False), (0.15, 30, True)])
def test_with_time_for_one_winner_a_simple_one_goes_before_what_may_be_luck(
    error: float, tried: int, is_luck: bool
) -> None:
    """The simple model errs on 0.2 of the validation items, and a standard error of them is 0.04."""
    others = [(error + 0.3, 9.0, False)] * (tried - 1)
    beliefs = of_simple((0.2, 1.0, True), (error, 2.0, False), *others)
    simple, network = (row.architecture for row in beliefs.candidates[:2])
    judged = {"error": 0.2, "standard_error": 0.02}
    beliefs.trainings[simple].details[BY_FOLDS] = judged  # type: ignore[index]
    task = SimpleNamespace(train=range(300), validation=range(100))
    schedule = SimpleNamespace(is_timed=False, has_time_to_make=lambda missing, *_: len(missing) <= 1)
    recipe = SimpleNamespace(training=SimpleNamespace(tune="all"))
    retraining = object.__new__(Retraining)
    resolved = SimpleNamespace(task=task)
    state: Any = SimpleNamespace(beliefs=beliefs, recipe=recipe, schedule=schedule, resolved=resolved)
    retraining._state, retraining._weights, retraining._too_long = state, None, set()
    assert may_be_luck(state, network, simple) == is_luck
    assert retraining._chosen(1) == [simple if is_luck else network]
    schedule.has_time_to_make = lambda missing, *_: True
    assert retraining._chosen(1) == [network]
