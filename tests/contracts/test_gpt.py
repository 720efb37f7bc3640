"""Facts about the space ``gpt``: no token sees the next one, and what its choices save."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import nas
from nas.space.architecture import Architecture
from nas.space.layer import total_params
from nas.space.search_space import SearchSpace, architecture_from, load_space, sample
from nas.space.signature import Signature, TensorType, image_signature
from nas.space.tracing import build_checked, layers_of, random_inputs


def text_signature(context: int, vocabulary: int) -> Signature:
    """Return the signature of a model of the next token."""
    return Signature((TensorType("tokens", (context,), "int64", (vocabulary,)),), (context, vocabulary))


def build(space: SearchSpace, architecture: Architecture, signature: Signature) -> torch.nn.Module:
    """Build a module with weights from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_checked(space, architecture, signature)


def inputs(signature: Signature, count: int) -> tuple[torch.Tensor, ...]:
    """Return the same random inputs each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return random_inputs(signature.inputs, count)


def test_no_token_sees_the_next() -> None:
    """Changing a token changes its own logits and later ones, and none before it."""
    signature = text_signature(12, 256)
    space = load_space("gpt", {}, signature)
    for architecture in [sample(space, np.random.default_rng(0)) for _ in range(4)]:
        module = build(space, architecture, signature).eval()
        (tokens,) = inputs(signature, 1)
        changed = tokens.clone()
        changed[0, 7] = (changed[0, 7] + 1) % 256
        with torch.no_grad():
            before, after = module(tokens)[0], module(changed)[0]
        np.testing.assert_allclose(before[:7], after[:7], atol=1e-5)
        assert ((before[7:] - after[7:]).abs().amax(dim=1) > 0).all()


def test_order_matters_by_each_kind_of_position() -> None:
    """Swapping two tokens changes what the last one sees."""
    signature = text_signature(12, 256)
    space = load_space("gpt", {}, signature)
    for positions in ("learned", "rotary"):
        values = {choice.name: choice.options[-1] for choice in space.choices} | {"positions": positions}
        module = build(space, architecture_from(space, values), signature).eval()
        (tokens,) = inputs(signature, 1)
        with torch.no_grad():
            assert not torch.equal(module(tokens)[0, -1], module(tokens[:, [1, 0, *range(2, 12)]])[0, -1])


def test_shared_key_heads_and_ties_save_weights() -> None:
    """Key heads that four query heads share have a quarter of the weights, and a tied classifier has none."""
    signature = text_signature(16, 256)
    space = load_space("gpt", {}, signature)
    small = {"depth": 1, "width": 64, "heads": 4, "ff_ratio": 1, "positions": "rotary", "norm": "layer"}

    def params(**values: bool | int) -> int:
        return total_params(layers_of(space, architecture_from(space, {**small, **values}), signature))

    own = params(heads_per_key=1, tied=False)
    assert own - params(heads_per_key=4, tied=False) == 2 * 64 * (64 - 16)
    assert own - params(heads_per_key=1, tied=True) == 256 * 64


def test_more_heads_cannot_share_than_there_are() -> None:
    """Two heads that four should share are one network with two that two share."""
    space = load_space("gpt", {}, text_signature(16, 256))
    values = {choice.name: choice.options[-1] for choice in space.choices} | {"heads": 2}
    assert architecture_from(space, values)["heads_per_key"] == 2


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        (
            image_signature((3, 32, 32), 10),
            "takes texts, int64 of shape (tokens,), but the data have images, float32 of shape (3, 32, 32)",
        ),
        (
            Signature((TensorType("tokens", (16,), "int64", (256,)),), (10,)),
            "tokens, int64 of shape (16,), and outputs of shape (10,)",
        ),
        (
            Signature((TensorType("columns", (2,), "int64", (3, 4)),), (2, 3)),
            "gives logits for each token, tokens × vocabulary, but the data have columns (int64, 2) → 2×3",
        ),
    ],
)
def test_other_inputs_are_refused(signature: Signature, told: str) -> None:
    """The message has the names and shapes of the inputs."""
    with pytest.raises(nas.RecipeError, match=re.escape(told)):
        load_space("gpt", {}, signature)


def test_widths_must_fit_heads() -> None:
    with pytest.raises(nas.RecipeError, match="widths must be divisible by twice the heads, but got 36 and 4"):
        load_space("gpt", {"widths": [36], "heads": [4]}, text_signature(16, 256))


def test_windows_with_large_outputs_are_run_one_by_one() -> None:
    """A window of 8,192 tokens has 32,768 logits for each: a gigabyte. Short ones are run 512 at a time."""
    assert text_signature(8192, 32_768).together(512) == 1
    assert text_signature(16, 256).together(512) == 512
    assert text_signature(128, 256).item_bytes == 8 * 128 + 4 * 128 * 256
