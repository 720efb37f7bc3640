"""A search whose networks take pictures of their own size and scale, from training to the winner's bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import evaluations_of
from own_size_space import OwnSizes
from quick_runs import search
from small_bundle import write_jpegs
from torch.utils.data import TensorDataset

import nas
from nas.errors import DataError
from nas.formats.onnx_session import outputs_of
from nas.results.front import REPORT_NAME
from nas.space.parts.own_inputs import wishes_of
from nas.tasks.batches import items_at
from nas.tasks.deployed.predict import Model
from nas.tasks.images.loading import load_data

pytestmark = pytest.mark.usefixtures("quick_export")
TRIALS: dict[str, Any] = {
    "training": {"epochs": 1, "batch_size": 8, "device": "cpu", "augment": False},
    "retraining": {"epochs": 1, "winners": 2},
    "trials": 4,
    "rounds": 1,
}


def test_predict_makes_the_inputs_of_training_for_each_winner(tmp_path: Path) -> None:
    """From search to bundle: no value of the inputs differs, and answers are those of the tested model."""
    photos = write_jpegs(tmp_path / "photos")
    data = load_data(f"folder:{photos}", image_size=8)
    space = OwnSizes((3, 8, 8), 2)
    front = search(tmp_path / "runs", space, data=data, **TRIALS)
    assert {row.architecture.id for row in evaluations_of(tmp_path / "runs" / "run", "train")} <= set(space.started)
    for winner in front:
        side = int(winner.architecture["resolution"])
        task = data.prepared_for(wishes_of(space, winner.architecture))
        (learned,) = task.inputs_of(items_at(task.test, slice(None)).raw)
        assert winner.bundle is not None
        about = json.loads((winner.bundle / "architecture.json").read_text(encoding="utf-8"))
        assert about["signature"]["inputs"][0]["shape"] == [3, side, side]
        assert about["space_signature"]["inputs"][0]["shape"] == [3, 8, 8]
        deployed = Model(winner.bundle).preparation
        (given,) = deployed.prepared(deployed.read(photos / "test"))
        assert int((given != learned.numpy()).sum()) == 0
        expected = outputs_of(winner.bundle / "model.onnx", (given,))
        command = [sys.executable, "-E", "-s", winner.bundle / "predict.py", "--json", photos / "test"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        logits = [json.loads(line)["logits"] for line in done.stdout.splitlines()]
        np.testing.assert_array_equal(np.array(logits, dtype=np.float32), expected)
        module = winner.load()
        assert module(learned).shape == (16, 2)
        np.testing.assert_allclose(module(learned).detach().numpy(), expected, atol=1e-4)
    assert {row.architecture["resolution"] for row in evaluations_of(tmp_path / "runs" / "run", "train")} == {12, 16}
    assert {row.details["start"] for row in evaluations_of(tmp_path / "runs" / "run", "retrain")} == {"space"}
    page = (tmp_path / "runs" / "run" / REPORT_NAME).read_text(encoding="utf-8")
    assert "Each winner was fine-tuned from the weights that its space gives, exported" in page


@pytest.mark.slow
@pytest.mark.usefixtures("int8_profile")
def test_winners_of_other_sizes_are_measured_in_another_precision(tmp_path: Path) -> None:
    """Each finds its ranges on items of its own size, on the real runtime."""
    photos = write_jpegs(tmp_path / "photos")
    data = load_data(f"folder:{photos}", image_size=8)
    space = OwnSizes((3, 8, 8), 2)
    changes = {**TRIALS, "seed": 4, "objectives": ["error", "macs"], "retraining": {"epochs": 1, "winners": 4}}
    front = search(tmp_path / "runs", space, data=data, **changes)
    assert {winner.architecture["resolution"] for winner in front} == {12, 16}
    effort = nas.Effort(max_rounds=2, within=10.0)
    found = nas.drift(
        tmp_path / "runs" / "run", target="onnxruntime-cpu:int8", space=space, effort=effort, progress=None
    )
    assert [winner.failure for winner in found.winners] == [""] * len(front)


def test_data_that_have_one_preparation_are_refused_before_anything_runs(tmp_path: Path) -> None:
    items = TensorDataset(torch.rand(16, 3, 8, 8), torch.arange(16) % 2)
    with pytest.raises(DataError, match="prepares inputs in one way only, but the space asks for image_size"):
        search(tmp_path, OwnSizes((3, 8, 8), 2), data=(items, items, items), **TRIALS)
    assert list(tmp_path.iterdir()) == []
