"""Tiny models of timm, and folders of random weights for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

VIT, CONVNET, SMALL = "test_vit.r160_in1k", "test_efficientnet.r160_in1k", "lcnet_050.ra2_in1k"


def write_weights(
    folder: Path, models: Sequence[str] = (VIT, CONVNET), classes: int = 1000, channels: int = 3
) -> dict[str, dict[str, torch.Tensor]]:
    """Write a file of random weights for each model, and return the weights by model."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for name in models:
            module = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels)
            found[name] = {key: value.clone().contiguous() for key, value in module.state_dict().items()}
            save_file(found[name], folder / f"{name}.safetensors")
    return found
