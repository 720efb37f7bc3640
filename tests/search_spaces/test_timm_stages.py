"""Heads of timm's models that see the means of all stages beside the last features."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from tiny_zoo import CONVNET, VIT, write_weights
from torch import nn

from nas.space.architecture import Architecture
from nas.space.parts.start_weights import load_start
from nas.space.signature import image_signature
from nas.space.tracing import build_checked, trace_layers
from nas.training.optimizing import decayed_groups, head_layer_of, last_of
from search_spaces.timm_descriptions import LAST, STAGES
from search_spaces.timm_stages import WithStages
from search_spaces.timm_zoo import HEAD, MOST_FIRST, TimmZoo

SHAPE = (3, 32, 32)


def body(name: str = CONVNET) -> Any:
    return timm.create_model(name, num_classes=0).eval()


def zoo(**options: Any) -> TimmZoo:
    return TimmZoo(SHAPE, 2, **{"models": [VIT, CONVNET], "weights": "none", **options})


def of(model: str, features: str, **more: Any) -> Architecture:
    return Architecture({"model": model, "features": features, "tune": HEAD, "augment": False, **more})


def test_the_head_sees_the_last_features_and_the_mean_of_each_stage() -> None:
    own = body()
    model = WithStages(own, SHAPE, 5).eval()
    pictures = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        last, maps = own.forward_intermediates(pictures)
        expected = torch.cat([own.forward_head(last, pre_logits=True), *(each.mean((2, 3)) for each in maps)], dim=1)
        torch.testing.assert_close(model.features(pictures), expected)
        torch.testing.assert_close(model(pictures), model.head(expected))
    assert len(maps) >= 3
    assert model.head.in_features == expected.shape[1]


def test_statistics_are_not_changed_by_counting_the_features() -> None:
    own = body().train()
    before = {name: each.clone() for name, each in own.named_buffers()}
    WithStages(own, SHAPE, 5)
    assert own.training
    assert all(torch.equal(before[name], each) for name, each in own.named_buffers())


@pytest.mark.parametrize("name", [VIT, CONVNET])
def test_stages_and_layers_are_those_of_the_model(name: str) -> None:
    """What is tuned, and how fast, is as in the model with its own head."""
    plain, model = timm.create_model(name, num_classes=5), WithStages(body(name), (3, 160, 160), 5)
    assert head_layer_of(model) is model.head
    assert len(last_of(model)) == len(last_of(plain))
    scales = [[group["lr_scale"] for group in decayed_groups(each, 0.01, 0.5)] for each in (plain, model)]
    assert scales[0] == scales[1]
    assert model.group_matcher(coarse=True)("head.weight") == math.inf


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="must tell its stages, but Identity has no forward_intermediates"):
        WithStages(nn.Identity(), SHAPE, 2)


def test_layers_are_those_of_a_trace_and_differ_from_those_of_the_plain_head() -> None:
    space, architecture = zoo(resolutions=(64,)), of(CONVNET, STAGES, resolution=64)
    signature = image_signature((3, 64, 64), 2)
    module = build_checked(space, architecture, signature)
    assert isinstance(module, WithStages)
    assert tuple(space.layers(architecture)) == trace_layers(module, signature)
    assert len(space.layers(architecture)) > len(space.layers(of(CONVNET, LAST, resolution=64)))


def test_trained_weights_go_to_the_body(tmp_path: Path) -> None:
    write_weights(tmp_path)
    space = zoo(weights=str(tmp_path))
    plain, staged = (space.build(of(CONVNET, features)) for features in (LAST, STAGES))
    for features, module in ((LAST, plain), (STAGES, staged)):
        load_start(space, of(CONVNET, features), module)
    assert isinstance(staged, WithStages)
    wanted = plain.state_dict()
    assert all(torch.equal(wanted[name], each) for name, each in staged.body.state_dict().items())


def test_a_model_that_tells_no_stages_has_a_plain_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A description of it says so, which is kept as others are."""
    monkeypatch.delattr(timm.models.EfficientNet, "forward_intermediates")
    space = TimmZoo(SHAPE, 3, models=[CONVNET], weights="none", resolutions=(48,))
    values = {"model": CONVNET, "resolution": 48, "features": STAGES}
    assert isinstance(timm.create_model(CONVNET), timm.models.EfficientNet)
    assert space.canonical(values)["features"] == LAST


@pytest.mark.slow
def test_a_search_begins_with_both_heads_of_few_models(tmp_path: Path) -> None:
    write_weights(tmp_path)
    few = zoo(weights=str(tmp_path), resolutions=(32, 64))
    assert {(a["model"], a["resolution"], a["features"]) for a in few.first} == {
        (model, side, features) for model in (VIT, CONVNET) for side in (32, 64) for features in (STAGES, LAST)
    }
    many = zoo(weights=str(tmp_path), resolutions=(32, 48, 64))
    assert len(many.first) <= MOST_FIRST
    assert {a["features"] for a in many.first} == {STAGES}
    assert not any("features" in a for a in zoo(weights=str(tmp_path), features=[LAST]).first)


@pytest.mark.parametrize("features", ["stages", [], ["all"], 3])
def test_features_are_a_list_of_known_ones(features: Any) -> None:
    with pytest.raises(ValueError, match="features must be a list of stages and last, or of one of them"):
        zoo(features=features)


def test_one_kind_of_features_is_no_choice() -> None:
    """As with one resolution. The winner's bundle names it."""
    space = zoo(features=[STAGES])
    assert "features" not in {choice.name for choice in space.choices}
    architecture = Architecture({"model": CONVNET, "tune": HEAD, "augment": False})
    assert isinstance(space.build(architecture), WithStages)
    options = TimmZoo.options_of_winner({"features": [STAGES]}, architecture)
    assert isinstance(TimmZoo(SHAPE, 2, **options).build(architecture), WithStages)
    both = TimmZoo.options_of_winner({}, of(CONVNET, STAGES))
    assert isinstance(TimmZoo(SHAPE, 2, **both).build(of(CONVNET, STAGES)), WithStages)


def test_a_winner_of_an_earlier_version_has_the_plain_head() -> None:
    """Its choices do not name the features."""
    module = zoo().build(Architecture({"model": CONVNET, "tune": HEAD}))
    assert not isinstance(module, WithStages)
