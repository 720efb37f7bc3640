"""A search in the zoo without a network: from weights in a folder to winners that prepare photos by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import evaluations_of
from small_bundle import write_jpegs
from tiny_zoo import CONVNET, VIT, write_weights

import nas
from nas.searching.instruments import Instruments
from nas.space.parts.own_inputs import wishes_of
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Fit
from nas.tasks.batches import items_at
from nas.tasks.deployed.predict import Model
from nas.tasks.images.loading import load_data

QUICK = {"rounds": 2, "max_rounds": 2, "round_ms": 5}


@pytest.mark.slow
def test_a_small_zoo_is_measured_as_a_whole(tmp_path: Path) -> None:
    """Nothing is predicted; heads cost one pass; a winner's bundle makes the inputs of its training."""
    models, resolutions = [CONVNET, VIT], [64, 96]
    photos = write_jpegs(tmp_path / "photos")
    write_weights(tmp_path / "weights", models)
    options = {"models": models, "resolutions": resolutions, "features": ["stages"], "tune": ["head"]}
    recipe = {
        "name": "run",
        "data": f"folder:{photos}",
        "data.image_size": 32,
        "space": {"name": "timm", **options, "weights": str(tmp_path / "weights")},
        "training": {"epochs": 2, "batch_size": 8, "device": "cpu"},
        "retraining": {"epochs": 1, "winners": 2},
        "measuring": {"rounds": 2, "max_rounds": 2},
        "trials": 10,
        "execution": {"executor": "inline"},
    }
    recipe["data"] = {"name": recipe["data"], "image_size": recipe.pop("data.image_size")}
    front = nas.search(recipe, runs=tmp_path / "runs", instruments=Instruments())
    run, whole = tmp_path / "runs" / "run", len(models) * len(resolutions)
    assert len({row.architecture.id for row in evaluations_of(run, "measure") if not row.failed}) == whole
    assert len(evaluations_of(run, "train")) == whole
    assert read_rows(run, Fit) == []
    assert all(set(row.details["prior"]) == {"imagenet_top1"} for row in evaluations_of(run, "train"))
    data = load_data(f"folder:{photos}", image_size=32)
    space = nas.load_space("timm", options, data.signature)
    for winner in front:
        task = data.prepared_for(wishes_of(space, winner.architecture))
        (learned,) = task.inputs_of(items_at(task.test, slice(None)).raw)
        assert winner.bundle is not None
        deployed = Model(winner.bundle).preparation
        (given,) = deployed.prepared(deployed.read(photos / "test"))
        assert int((given != learned.numpy()).sum()) == 0
        assert winner.load()(learned).shape == (16, 2)
        assert winner.predict(photos / "test").shape == (16, 2)
        np.testing.assert_allclose(winner.predict(photos / "test").sum(axis=1), 1, rtol=1e-4)
