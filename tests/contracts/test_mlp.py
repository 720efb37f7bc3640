"""Facts about the space ``mlp``: what its embeddings compute, and that each of them is exported exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from space_signatures import TABLES

from nas.errors import RecipeError
from nas.formats.export import export_onnx, parity
from nas.space.search_space import architecture_from, load_space
from nas.space.signature import Signature, TensorType, image_signature
from nas.space.tracing import build_checked, random_inputs

OPTIONS = {"depth": 2, "width": 16, "expansion": 2, "norm": "batch", "dropout": 0.1, "category_width": 4}


@pytest.mark.parametrize("numbers", ["none", "piecewise", "periodic"])
@pytest.mark.parametrize("signature", TABLES[:4], ids=str)
def test_exported_model_agrees(signature: Signature, numbers: str, tmp_path: Path) -> None:
    """ONNX Runtime gives the outputs of torch, with each embedding."""
    space = load_space("mlp", {}, signature)
    values = {choice.name: OPTIONS.get(choice.name, numbers) for choice in space.choices}
    module = build_checked(space, architecture_from(space, values), signature).eval()
    export_onnx(module, signature.inputs, 2, tmp_path / "model.onnx")
    inputs = tuple(each.numpy() for each in random_inputs(signature.inputs, 8))
    assert parity(module, tmp_path / "model.onnx", inputs) < 1e-5


def test_piecewise_embedding_keeps_the_order() -> None:
    """Each piece grows with the number, from 0 to 1, and the outer ones go on."""
    signature = Signature((TensorType("numbers", (1,)),), (1,))
    space = load_space("mlp", {}, signature)
    module = build_checked(space, architecture_from(space, {"depth": 0, "numbers": "piecewise"}), signature)
    (embedding,) = module.get_submodule("embeddings")
    pieces = embedding(torch.linspace(-3, 3, 61)[:, None])
    assert pieces.shape == (61, 8)
    assert (pieces.diff(dim=0) >= 0).all()
    assert pieces[:, 1:-1].min() == 0
    assert pieces[:, 1:-1].max() == 1
    assert pieces[0, 0] < 0
    assert pieces[-1, -1] > 1


def test_without_blocks_it_is_linear() -> None:
    """With a depth of 0 and no embedding, it is logistic or linear regression."""
    signature = TABLES[0]
    space = load_space("mlp", {}, signature)
    module = build_checked(space, architecture_from(space, {"depth": 0, "numbers": "none"}), signature)
    assert [tuple(each.shape) for each in module.parameters()] == [(10, 5), (10,)]


def test_pictures_are_refused() -> None:
    """Images have spaces of their own."""
    with pytest.raises(RecipeError, match="mlp takes tables, of shape"):
        load_space("mlp", {}, image_signature((1, 8, 8), 10))
