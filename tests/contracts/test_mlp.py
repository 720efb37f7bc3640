"""The space ``mlp`` with numbers, categories or both, beyond what all spaces promise of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.formats.export import export_onnx, parity
from nas.space.architecture import Architecture
from nas.space.layer import total_params
from nas.space.rules import check_space
from nas.space.search_space import architecture_from, count, load_space, sample
from nas.space.signature import Signature, TensorType
from nas.space.tracing import build_checked, random_inputs, trace_layers
from search_spaces.mlp import Mlp

NUMBERS = TensorType("numbers", (5,))
CATEGORIES = TensorType("categories", (3,), "int64", (2, 7, 30))
ONE_CATEGORY = TensorType("categories", (1,), "int64", (4,))
MANY = TensorType("numbers", (400,))
INPUTS = [
    (NUMBERS,),
    (CATEGORIES,),
    (NUMBERS, CATEGORIES),
    (NUMBERS, ONE_CATEGORY),
    (ONE_CATEGORY,),
    (MANY, CATEGORIES),
]


def titled(inputs: tuple[TensorType, ...]) -> str:
    return "+".join(f"{each.name}{each.shape[0]}" for each in inputs)


@pytest.mark.parametrize("inputs", INPUTS, ids=titled)
class TestMlp:
    @pytest.fixture(name="signature")
    def of_inputs(self, inputs: tuple[TensorType, ...]) -> Signature:
        return Signature(inputs, (3,))

    @pytest.fixture(name="space")
    def made(self, signature: Signature) -> Mlp:
        space = load_space("mlp", {}, signature)
        assert isinstance(space, Mlp)
        return space

    @pytest.fixture(name="sampled")
    def some(self, space: Mlp) -> list[Architecture]:
        rng = np.random.default_rng(0)
        return [sample(space, rng) for _ in range(8)]

    def test_keeps_the_rules(self, space: Mlp) -> None:
        """There is something to search, whichever inputs there are."""
        check_space(space)
        assert count(space) >= 300

    def test_learns_from_every_input(self, space: Mlp, signature: Signature, sampled: list[Architecture]) -> None:
        """Outputs are finite, and each parameter gets a gradient, those of each embedding too."""
        for architecture in sampled:
            module = build_checked(space, architecture, signature).train()
            outputs = module(*random_inputs(signature.inputs, 6))
            assert outputs.shape == (6, 3)
            torch.nn.functional.cross_entropy(outputs, torch.arange(6) % 3).backward()
            gradients = [parameter.grad for parameter in module.parameters()]
            assert all(each is not None and torch.isfinite(each).all() for each in gradients)

    def test_layers_equal_traced_ones(self, space: Mlp, signature: Signature, sampled: list[Architecture]) -> None:
        """The layers that the space gives are those of the network, with all of its parameters."""
        for architecture in sampled:
            module = build_checked(space, architecture, signature)
            assert tuple(space.layers(architecture)) == trace_layers(module, signature)
            assert total_params(space.layers(architecture)) == sum(each.numel() for each in module.parameters())

    @pytest.mark.parametrize("numbers", ["none", "piecewise", "periodic"])
    def test_exported_model_agrees(self, space: Mlp, signature: Signature, numbers: str, tmp_path: Path) -> None:
        """ONNX Runtime gives the outputs of torch, with each embedding."""
        options = {"depth": 2, "width": 16, "expansion": 2, "norm": "batch", "dropout": 0.1, "category_width": 4}
        known = {choice.name: choice.options for choice in space.choices}
        if numbers not in known.get("numbers", ("none",)):
            pytest.skip("too many numbers, or none, to embed them")
        values = {name: options.get(name, numbers) for name in known}
        module = build_checked(space, architecture_from(space, values), signature).eval()
        export_onnx(module, signature.inputs, 2, tmp_path / "model.onnx")
        inputs = tuple(each.numpy() for each in random_inputs(signature.inputs, 8))
        assert parity(module, tmp_path / "model.onnx", inputs) < 1e-5
