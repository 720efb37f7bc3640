"""The shared weights of a parent's parts: each part takes what it would inherit, and gradients reach the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_parents
import torch
from torch import nn

import nas
from nas.space.signature import Signature, image_signature
from search_spaces.shrinking.elastic import ElasticParent
from search_spaces.shrunk import Shrunk

DIGITS = image_signature((1, 8, 8), 10)
CASES: list[tuple[Any, Signature]] = [
    ("small_parents:make_digits", DIGITS),
    ("timm:test_convnext", image_signature((3, 64, 64), 4)),
    ("timm:test_vit", image_signature((3, 160, 160), 4)),
    ("timm:test_efficientnet", image_signature((3, 64, 64), 4)),
]


def shrunk(parent: str | nn.Module, signature: Signature) -> Shrunk:
    space = nas.load_space("shrunk", {"parent": parent}, signature)
    assert isinstance(space, Shrunk)
    return space


@pytest.mark.slow
@pytest.mark.parametrize(("parent", "signature"), CASES, ids=[str(parent) for parent, _ in CASES])
def test_an_architecture_takes_the_weights_that_it_inherits(parent: str, signature: Signature) -> None:
    """Of convolutions, depthwise ones, attention and all norms, whatever is removed."""
    space, rng = shrunk(parent, signature), np.random.default_rng(0)
    inheritance = space.inheritance(space.parent_module(), ())
    supernet = space.supernet()
    supernet.inherit(inheritance)
    for _ in range(5):
        architecture = nas.sample(space, rng)
        module = space.build(architecture)
        space.inherit(architecture, module, inheritance)
        weights = supernet.weights(architecture)
        assert weights.keys() == dict(module.named_parameters()).keys()
        for name, parameter in module.named_parameters():
            assert torch.equal(weights[name], parameter), name


def test_the_order_of_channels_is_that_of_the_tuned_parent() -> None:
    """Not of the weights that it came with, and not of those that the shared training gives it later."""
    space = shrunk("small_parents:make_digits", DIGITS)
    parent = small_parents.make_digits()
    inheritance = dict(space.inheritance(space.parent_module(), ()))
    name = next(name for name in inheritance if name.startswith("importance:"))
    inheritance[name] = inheritance[name].flip(0)
    supernet = space.supernet()
    supernet.inherit(inheritance)
    narrow = nas.architecture_from(space, {**space.parent, "stage0.width": 0.5})
    kept = inheritance[name].numpy().argsort(kind="stable")
    weight = supernet.weights(narrow)[f"{name.removeprefix('importance:')}.weight"]
    whole = parent.get_submodule(name.removeprefix("importance:")).weight
    assert isinstance(whole, torch.Tensor)
    assert torch.equal(weight, whole[np.sort(kept[-len(weight) :])])
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(torch.rand_like(parameter))
    assert supernet.weights(narrow).keys() == dict(space.build(narrow).named_parameters()).keys()


def test_gradients_reach_the_channels_that_were_kept_alone() -> None:
    space = shrunk("small_parents:make_digits", DIGITS)
    supernet = space.supernet()
    assert isinstance(supernet, ElasticParent)
    narrow = nas.architecture_from(space, {**space.parent, "stage1.width": 0.5, "stage2.blocks": 0})
    module = space.build(narrow)
    outputs = torch.func.functional_call(module, supernet.weights(narrow), torch.rand(4, 1, 8, 8))
    outputs.sum().backward()
    slopes = {name: parameter.grad for name, parameter in supernet.whole.named_parameters()}
    assert any(slope is None for slope in slopes.values()), "blocks that are left out learn nothing"
    inner = [slope for name, slope in slopes.items() if name.endswith("first.weight") and slope is not None]
    halves = [slope.flatten(1).abs().sum(1) > 0 for slope in inner]
    assert any(0 < int(half.sum()) < len(half) for half in halves)
