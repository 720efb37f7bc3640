"""Torch programs for tests of runtimes, and comparing outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch

from nas.formats.torch_program import write_torch_program
from nas.hardware.runtimes.runtime import Float32Array
from nas.space.signature import image_inputs

SHAPE = (3, 32, 32)
BF16_TOLERANCE = 0.1
"""Largest difference, relative to the largest output: bf16 keeps 8 bits, and random weights leave outputs close."""


def write_network(kind: str, folder: Path) -> tuple[torch.nn.Module, Path]:
    """Return a cnn or vit with random weights, and its program for a batch of 2."""
    torch.manual_seed(0)
    if kind == "cnn":
        module = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
    else:
        module = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, num_classes=10).eval()
    path = folder / "model.pt2"
    write_torch_program(module, image_inputs(SHAPE), 2, path)
    return module, path


def write_small(folder: Path) -> tuple[torch.nn.Module, Path]:
    """Return a convolution with a batch norm and a matrix product, and its program for a batch of 2."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10)
    )
    module(torch.randn(64, *SHAPE))
    path = folder / "model.pt2"
    write_torch_program(module, image_inputs(SHAPE), 2, path)
    return module.eval(), path


def outputs_of(module: torch.nn.Module, images: Float32Array) -> Float32Array:
    """Return the module's outputs."""
    with torch.inference_mode():
        outputs: Float32Array = module(torch.tensor(images)).numpy()
    return outputs


def difference(outputs: Float32Array, expected: Float32Array) -> float:
    """Return the largest difference, relative to the largest expected output."""
    return float(np.abs(outputs - expected).max() / np.abs(expected).max())
