"""A teacher is a winner of an earlier search, or a user's own module; others are refused before anything runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from own_size_space import OwnSizes
from safetensors.torch import save_file
from torch import nn

from nas.errors import RecipeError
from nas.recipe.recipe import Recipe
from nas.searching.user_inputs.teachers import teacher_of
from nas.space.signature import Signature, image_signature
from nas.space.tracing import zero_inputs

SIGNATURE = image_signature((1, 8, 8), 10)


def linear(signature: Signature) -> nn.Module:
    """Return a module for any images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(signature.inputs[0].elements, signature.classes))


def of_five() -> nn.Module:
    """Return a module of five classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


def raising() -> nn.Module:
    raise RuntimeError("no weights here")


def recipe(teacher: str | None) -> Recipe:
    return Recipe.from_mapping({"training": {"teacher": teacher}})


def bundle(folder: Path, signature: Signature = SIGNATURE) -> Path:
    """Write what a winner of ``TinySpace`` leaves."""
    from tiny_space import TinySpace

    from nas.space.architecture import Architecture

    choices = {"width": 4, "depth": 0}
    save_file(TinySpace().build(Architecture(choices)).state_dict(), folder / "model.safetensors")
    about = {"space": {"name": "tiny_space:TinySpace"}, "choices": choices, "signature": signature.to_json()}
    (folder / "architecture.json").write_text(json.dumps(about))
    return folder


def test_functions_and_bundles_teach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both give a module with the output of the candidates, once in a process; a relative path keeps its meaning."""
    own = teacher_of(recipe("test_teachers:linear"), SIGNATURE)
    assert own is not None
    assert own() is own()
    assert own()(*zero_inputs(SIGNATURE.inputs, 2)).shape == (2, 10)
    bundle(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    winner = teacher_of(recipe(tmp_path.name), SIGNATURE)
    assert winner is not None
    assert Path(winner.name) == tmp_path.resolve()
    with torch.no_grad():
        assert winner()(*zero_inputs(SIGNATURE.inputs, 2)).shape == (2, 10)
    assert teacher_of(recipe(None), SIGNATURE) is None


def test_candidates_with_inputs_of_their_own_have_no_teacher() -> None:
    with pytest.raises(RecipeError, match="have inputs of their own"):
        teacher_of(recipe("test_teachers:linear"), SIGNATURE, OwnSizes((1, 8, 8), 10))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_teachers:of_five", r"must be a model for the same task, but .* it gave \(1, 5\)"),
        ("test_teachers:raising", r"raised RuntimeError: no weights here"),
        ("test_teachers:SIGNATURE", r"must be a function that returns a torch module, but"),
        ("test_teachers:recipe", r"raised TypeError: recipe\(\) missing 1 required"),
        ("runs/none", r"is the folder of a winner, such as .*, or module:function, but got"),
        ("test_teachers:nothing", r"nothing"),
    ],
)
def test_what_cannot_teach_is_refused(name: str, message: str) -> None:
    """The message says what a teacher is, and what came instead."""
    with pytest.raises(RecipeError, match=message):
        teacher_of(recipe(name), SIGNATURE)


def test_a_winner_of_another_task_is_refused(tmp_path: Path) -> None:
    """Its inputs and output are compared with those of the candidates."""
    other = image_signature((3, 32, 32), 10)
    with pytest.raises(RecipeError, match=re.escape(f"has {other}")):
        teacher_of(recipe(str(bundle(tmp_path, other))), SIGNATURE)
