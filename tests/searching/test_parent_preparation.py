"""A parent that knows the classes must see pictures as in its own training: other preparations are tried on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_parents
import torch
from quick_runs import Diary
from safetensors.torch import load_file, save_file
from torch import nn

import nas
from nas.errors import RecipeError
from nas.results.data_of_run import source_of
from nas.searching.user_inputs import parent_preparation
from nas.searching.user_inputs.parent_preparation import check_preparation
from nas.space.signature import Signature
from nas.space.torch_settings import torch_with
from nas.tasks.criteria import Criterion
from search_spaces.shrunk import Shrunk

DIGITS = "small_parents:make_digits"
FROM_0_TO_1 = {"mean": [0.0], "std": [1.0]}


@pytest.fixture(name="task", scope="module")
def _task() -> nas.Task:
    return source_of(nas.Recipe(), None).load()


@pytest.fixture(name="weights", scope="module")
def _weights(task: nas.Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a model that saw pixels from 0 to 1 in its training."""
    path = tmp_path_factory.mktemp("trained") / "weights.safetensors"
    settings = replace(nas.training_settings(nas.Recipe()), epochs=4, learning_rate=5e-3)
    with torch_with(1, 0):
        module = small_parents.make_digits()
        *_, report = nas.Trainer(settings).train(module, task.prepared_for(FROM_0_TO_1), 0)
    assert report["error"] < 0.15
    save_file({name: each.contiguous() for name, each in module.state_dict().items()}, path)
    return path


def said(task: nas.Task, parent: str = DIGITS, **options: Any) -> list[str]:
    """What is said of a parent in the data's own scaling, unless the options name another."""
    diary = Diary()
    space = nas.load_space("shrunk", {"parent": parent, "widths": [0.5], "trunks": [0.5], **options}, task.signature)
    check_preparation(space, task, diary)
    return diary.news


def test_a_preparation_that_suits_surely_better_is_named(task: nas.Task, weights: Path) -> None:
    with pytest.raises(RecipeError, match=r"must see pictures as in its own training, but it gets \d+%") as caught:
        said(task, weights=str(weights))
    assert "wrong with the mean and the standard deviation of the data, and" in str(caught.value)
    assert "Set space.preparation={mean = [0.0], std = [1.0]}, or give the right one." in str(caught.value)


@pytest.mark.parametrize("preparation", [FROM_0_TO_1, {}, {"mean": [0.9], "std": [0.1]}])
def test_what_is_given_is_taken_as_it_is(task: nas.Task, weights: Path, preparation: dict[str, Any]) -> None:
    """Also where it suits badly: its user knows."""
    assert said(task, weights=str(weights), preparation=preparation) == []


def test_a_parent_that_knows_nothing_is_named(task: nas.Task) -> None:
    begins, warning = said(task)
    assert begins == "trying how the parent sees some training pictures"
    assert warning.startswith("warning: the parent is no better than always giving the same class: it gets ")
    assert "of 256 training pictures wrong" in warning


def test_a_parent_whose_outputs_are_not_finite_is_named_too(task: nas.Task) -> None:
    _, warning = said(task, "test_parent_preparation:make_overflowing")
    assert "it gets 100% of 256 training pictures wrong" in warning


def make_overflowing() -> nn.Module:
    module = small_parents.make_digits()
    with torch.no_grad():
        module.get_parameter("head.weight").mul_(1e38)
        module.get_parameter("third.0.weight").mul_(1e30)
    return module


def test_classes_in_another_order_are_no_question_of_preparation(task: nas.Task, weights: Path) -> None:
    """Whatever scaling happens to give the fewest errors, it is not named where none is better than chance."""
    module = small_parents.make_digits()
    module.load_state_dict(load_file(weights))
    with torch.no_grad():
        for name in ("head.weight", "head.bias"):
            module.get_parameter(name).copy_(module.get_parameter(name).roll(1, 0))
    space = Shrunk(task.signature, module, widths=[0.5], trunks=[0.5])
    diary = Diary()
    check_preparation(space, task, diary)
    assert "it may have the classes in another order than the data" in diary.news[-1]


class OneWay(nas.Task):
    """The digits as a task of a user's own, which prepares pictures in one way only."""

    def __init__(self, digits: nas.Task) -> None:
        self.name = "one way"
        self.train, self.validation, self.test = digits.train, digits.validation, digits.test
        self._digits = digits

    @property
    def signature(self) -> Signature:
        return self._digits.signature

    @property
    def criterion(self) -> Criterion:
        return self._digits.criterion


def test_a_task_that_scales_pictures_in_one_way_is_left_alone(task: nas.Task) -> None:
    assert said(OneWay(task)) == []


def test_a_parent_for_one_picture_at_a_time_is_refused(task: nas.Task) -> None:
    with pytest.raises(RecipeError, match="must answer several pictures together, but it raised RuntimeError"):
        said(task, "test_parent_preparation:make_for_one")


class ForOne(nn.Module):
    """A network of which ``forward`` fits a single picture alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_parents.make_digits()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x.view(1, 1, 8, 8))
        return out


def make_for_one() -> nn.Module:
    return ForOne()


def test_a_parent_that_must_be_tuned_is_not_tried(task: nas.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its head is new, or its weights are drawn at random."""
    monkeypatch.setattr(parent_preparation, "error_of", lambda *_: pytest.fail("it was tried"))
    assert said(task, "small_parents:make_colours") == []


def test_a_parent_that_is_right_is_tried_once(task: nas.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr(parent_preparation, "error_of", lambda *given: tried.append(given[2]) or 0.1)
    assert said(task) == []
    assert len(tried) == 1
