"""The training functions of the docs train, and are as short as the docs promise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from pages import ROOT, blocks
from quick_training import DIGITS, SETTINGS
from tiny_space import TinySpace

import nas
from nas.training.own.function import training_function

PAGE = ROOT / "docs" / "own-training.md"
MOST_LINES = 30


@pytest.mark.parametrize(("name", "first"), [("train", "import torch"), ("train_with_lightning", "import lightning")])
def test_a_training_function_of_the_docs_learns(name: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its errors fall from epoch to epoch, and it prints nothing to standard output."""
    (block,) = (each for each in blocks(PAGE) if each.text.startswith(first) and f"def {name}(" in each.text)
    assert len([line for line in block.text.splitlines() if line.strip()]) <= MOST_LINES
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(block.text, str(block), "exec"), names)
    architecture = nas.architecture_from(TinySpace(), {"width": 8, "depth": 1, "kernel": 3})
    job = {"id": architecture.id, "architecture": dict(architecture), "seed": 1}
    settings = dataclasses.replace(SETTINGS, epochs=3)
    work = nas.OwnTraining(TinySpace(), DIGITS, settings, training_function(names[name], name))
    errors = [report["error"] for report in work(job)]
    assert len(errors) == 3
    assert errors[-1] < min(0.25, errors[0])
    assert capsys.readouterr().out == ""


def test_a_function_of_the_docs_that_builds_its_model_is_recognised() -> None:
    (block,) = (each for each in blocks(PAGE) if "def train_elsewhere(" in each.text)
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(block.text, str(block), "exec"), names)
    assert training_function(names["train_elsewhere"], "train_elsewhere").takes_architecture
