"""Searches that begin from trained weights, or that have a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from commands import evaluations_of
from quick_runs import OneChoice, search
from torch import nn

import nas
from nas.space.architecture import Architecture
from nas.space.signature import Signature
from nas.tasks.images.images import Images

pytestmark = pytest.mark.usefixtures("quick_export")

ONE_EPOCH: dict[str, Any] = {"epochs": 1, "batch_size": 32, "device": "cpu"}
TRIALS: dict[str, Any] = {"trials": 2, "rounds": 1, "retraining": {"epochs": 1, "winners": 1}}


class Pretrained(OneChoice):
    """A space whose modules come with weights that tell the digits apart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, architecture: Architecture) -> nn.Module:
        module = super().build(architecture)
        module.load_state_dict(torch.load(self._folder / f"{architecture['width']}.pt", weights_only=True))
        return module


@pytest.fixture(name="pretrained")
def weights_of_all_widths(tmp_path: Path, digits: Images) -> Pretrained:
    settings = nas.training_settings(nas.Recipe(training={**ONE_EPOCH, "epochs": 3}))
    for width in OneChoice.choices[0].options:
        module = OneChoice().build(Architecture({"width": width}))
        for _ in nas.Trainer(settings).train(module, digits):
            pass
        torch.save(module.state_dict(), tmp_path / f"{width}.pt")
    return Pretrained(tmp_path)


def errors(run: Path) -> list[float]:
    return [row.values["error"] for row in evaluations_of(run, "train")]


@pytest.mark.slow
def test_trained_weights_are_kept_where_only_the_head_is_tuned(tmp_path: Path, pretrained: Pretrained) -> None:
    """After one epoch at a low rate, candidates are better than all that began from scratch, and so is the winner."""
    training = {**ONE_EPOCH, "tune": "head", "learning_rate": 1e-3}
    tuned = search(tmp_path / "tuned", pretrained, training=training, **TRIALS)
    scratch = search(tmp_path / "scratch", OneChoice(), training={**ONE_EPOCH, "learning_rate": 1e-3}, **TRIALS)
    assert max(errors(tmp_path / "tuned" / "run")) < 0.7 * min(errors(tmp_path / "scratch" / "run"))
    assert tuned[0].test_error < scratch[0].test_error


def knows_nothing(signature: Signature) -> nn.Module:
    """Return a teacher that always answers 3."""
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(signature.inputs[0].elements, signature.classes))
    with torch.no_grad():
        teacher[1].weight.zero_()
        teacher[1].bias.copy_(10.0 * (torch.arange(signature.classes) == 3))
    return teacher


def test_candidates_and_winners_learn_from_the_teacher(tmp_path: Path) -> None:
    """With all of the weight on a teacher that always answers 3, so do they."""
    training = {**ONE_EPOCH, "epochs": 2, "teacher": "test_fine_tuning:knows_nothing", "distillation_weight": 1.0}
    front = search(tmp_path, OneChoice(), training=training, early_stopping={"enabled": False}, **TRIALS)
    assert errors(tmp_path / "run") == pytest.approx([0.9, 0.9], abs=0.02)
    assert front[0].test_error == pytest.approx(0.9, abs=0.02)
