"""With one picture of each class to train on, and pictures of one pixel among them, a training still ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick_training import SETTINGS
from tiny_zoo import CONVNET, write_weights

import nas
from nas.space.parts.start_weights import load_start
from nas.training.settings import TrainingSettings
from search_spaces.timm_zoo import TimmZoo


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, tune="head", augment=False),
        replace(SETTINGS, fit_head=True, augment=True),
        replace(SETTINGS, augment=True, augmentation_strength=0.3, mixup=0.2, cutmix=0.5, ema=0.9),
    ],
    ids=["a fitted head", "all from a fitted head", "everything changed"],
)
def test_one_picture_of_each_class_is_enough_to_train(tmp_path: Path, settings: TrainingSettings) -> None:
    """A head is fitted, all weights are tuned from there, and every change of pictures is made."""
    for label, title in enumerate(("cat", "dog")):
        (tmp_path / "photos" / title).mkdir(parents=True)
        for number, size in enumerate(((60, 50), (1, 1), (400, 300))):
            noise = np.random.default_rng(10 * label + number).integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / title / f"{number}.png")
    data = nas.load_data(f"folder:{tmp_path / 'photos'}")
    assert (len(data.train), len(data.validation), len(data.test)) == (2, 2, 2)
    write_weights(tmp_path / "weights", [CONVNET])
    weights = str(tmp_path / "weights")
    space = TimmZoo(data.input_shape, 2, models=CONVNET, resolutions=(64,), features=["stages"], weights=weights)
    (head,) = space.first
    view = data.prepared_for(space.inputs(head))
    module = space.build(head)
    load_start(space, head, module)
    *_, report = nas.Trainer(replace(settings, epochs=1)).train(module, view, seed=1)
    assert 0 <= report["error"] <= 1
