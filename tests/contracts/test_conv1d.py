"""Facts about the space conv1d: small models, quick export, long and short signals."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.formats.traced_export import write_traced
from nas.space.layer import total_params
from nas.space.search_space import architecture_from, ends, load_space, sample
from nas.space.signature import Signature, TensorType
from nas.space.tracing import layers_of, zero_inputs


def signature(channels: int, samples: int) -> Signature:
    return Signature((TensorType("signals", (channels, samples)),), (10,))


@pytest.mark.parametrize("shape", [(1, 24), (9, 128), (40, 101), (1, 16000)])
def test_reaches_small_models(shape: tuple[int, int]) -> None:
    """The smallest has far less than 20 kB of weights, and random ones reach 20 kB too."""
    space = load_space("conv1d", {}, signature(*shape))
    smallest, largest = ends(space)
    rng = np.random.default_rng(0)
    sizes = [
        4 * total_params(layers_of(space, each, signature(*shape)))
        for each in (smallest, largest, *(sample(space, rng) for _ in range(150)))
    ]
    assert sizes[0] == min(sizes) < 10_000
    assert sum(size <= 20_000 for size in sizes[2:]) >= 4
    assert max(sizes) == sizes[1] > 50 * sizes[0]


def test_networks_are_exported_by_tracing(tmp_path: Path) -> None:
    """The quick exporter takes every block, with its dilations and its squeeze-and-excite."""
    space, rng = load_space("conv1d", {}, signature(3, 100)), np.random.default_rng(1)
    for number in range(4):
        module = space.build(sample(space, rng)).eval()
        inputs = zero_inputs(signature(3, 100).inputs, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            assert write_traced(module, inputs, tmp_path / f"{number}.onnx", ["signals"], "logits")


def test_dilated_networks_see_further() -> None:
    """An output at the middle depends on samples further away than an undilated one does."""
    torch.manual_seed(0)  # an unlucky draw of weights and signals has gradients of zero
    space = load_space("conv1d", {}, signature(1, 256))
    choices = {"stem.width": 8, "stem.kernel": 5, "stem.stride": 2, "stage1.depth": 1}
    for number in (1, 2, 3):
        choices |= {f"stage{number}.{key}": value for key, value in {"kernel": 3, "width": 16}.items()}
        choices |= {f"stage{number}.block": "full", f"stage{number}.squeeze_excite": False}
        choices |= {f"stage{number}.depth": 1}
    reach = {}
    for dilation in (1, 4):
        values = {**choices, **{f"stage{number}.dilation": dilation for number in (1, 2, 3)}}
        maps = space.build(architecture_from(space, values)).eval()[:-1]  # type: ignore[index]
        signals = torch.randn(1, 1, 256, requires_grad=True)
        maps(signals)[..., 16].sum().backward()
        assert signals.grad is not None
        reach[dilation] = int((signals.grad != 0).sum())
    assert reach[4] > 2 * reach[1]
