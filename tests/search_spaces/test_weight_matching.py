"""Weights of another package are matched by their order, and refused where anything contradicts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces.weight_matching import ROLES, OrderError, has_own_names, matched_in_order, mismatches

State = dict[str, torch.Tensor]
FILE = Path("theirs.pth")


def ours() -> nn.Module:
    """Return three blocks of equal shapes and a head."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)) for _ in range(12)]
    return nn.ModuleDict({"blocks": nn.ModuleList(blocks), "classifier": nn.Linear(4, 10)})


def theirs() -> State:
    """Return the same weights as another package calls them."""
    names = {"0": "conv", "1": "bn"}
    found = {}
    for name, tensor in ours().state_dict().items():
        parts = name.split(".")
        own = f"_layer{parts[1]}._{names[parts[2]]}.{parts[3]}" if parts[0] == "blocks" else f"_fc.{parts[1]}"
        found[own] = tensor
    return found


def matched(given: State, heads: tuple[str, ...] = ()) -> State:
    return matched_in_order(ours().state_dict(), given, heads, FILE)


def test_tensors_get_the_names_of_the_network() -> None:
    """Counts of batches do not matter, so older files may lack them."""
    own, given = ours().state_dict(), theirs()
    assert has_own_names(own, given)
    assert not has_own_names(own, own)
    for each in (given, {name: tensor for name, tensor in given.items() if tensor.ndim}):
        found = matched(each)
        assert set(found) == {name for name in own if not name.endswith("num_batches_tracked")}
        assert all(torch.equal(own[name], tensor) for name, tensor in found.items())


def test_a_head_may_be_of_other_classes() -> None:
    given = theirs() | {"_fc.weight": torch.zeros(7, 4), "_fc.bias": torch.zeros(7)}
    heads = ("classifier.weight", "classifier.bias")
    assert matched(given, heads)["classifier.weight"].shape == (7, 4)
    with pytest.raises(OrderError, match=r"tensor 73 must be classifier\.weight of 10×4, but is _fc\.weight of 7×4"):
        matched(given)


def moved(state: State, change: Callable[[list[str]], list[str]]) -> State:
    """Return the tensors in an order that ``change`` makes of their names."""
    return {name: state[name] for name in change(list(state))}


def swapped(names: list[str]) -> list[str]:
    """Put the third layer before the second one. All shapes still agree."""
    second, third = ([name for name in names if name.startswith(f"_layer{number}.")] for number in (1, 2))
    rest = [name for name in names if name not in (*second, *third)]
    return [*rest[:6], *third, *second, *rest[6:]]


def mixed(names: list[str]) -> list[str]:
    """Exchange the biases of two layers."""
    one, other = names.index("_layer0._bn.bias"), names.index("_layer1._bn.bias")
    names[one], names[other] = names[other], names[one]
    return names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, r"suggest another order: _layer1\._conv\.weight comes after _layer2\._bn"),
        (mixed, "tensors of one layer must come from one layer"),
    ],
)
def test_names_that_contradict_the_order_are_refused(change: Callable[[list[str]], list[str]], message: str) -> None:
    """The shapes agree, so that nothing else would tell."""
    with pytest.raises(OrderError, match=message):
        matched(moved({name: tensor for name, tensor in theirs().items() if tensor.ndim}, change))


KERAS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
HAIKU = {"weight": "scale", "bias": "offset", "running_mean": "mean", "running_var": "var"}


@pytest.mark.parametrize("words", [{}, KERAS, HAIKU])
def test_roles_tell_the_tensors_of_a_layer_in_any_order(words: dict[str, str]) -> None:
    """Other packages have other words for them, and some sort them by name. Shapes and values tell nothing there."""
    own = {f"norm.{role}": torch.full((4,), float(place)) for place, role in enumerate(ROLES)}
    given = {f"bn.{words.get(name[5:], name[5:])}": tensor for name, tensor in own.items()}
    found = matched_in_order(own, dict(sorted(given.items())), (), FILE)
    assert {name: float(tensor[0]) for name, tensor in found.items()} == {
        "norm.weight": 0,
        "norm.bias": 1,
        "norm.running_mean": 2,
        "norm.running_var": 3,
    }


def test_roles_that_no_layer_tells_are_refused() -> None:
    """Here the file puts each role into a layer of its own, or one twice."""
    own = {"norm.weight": torch.zeros(4), "norm.bias": torch.zeros(4)}
    for given in (("beta.beta", "gamma.gamma"), ("bn.beta", "bn.offset")):
        with pytest.raises(OrderError, match=rf"norm\.weight would be taken from {given[0]}, which is called"):
            matched_in_order(own, dict.fromkeys(given, torch.zeros(4)), (), FILE)
    given = ("a.gamma", "b.beta")
    with pytest.raises(OrderError, match="tensors of one layer must come from one layer"):
        matched_in_order(own, dict.fromkeys(given, torch.zeros(4)), (), FILE)


def attention(projections: str, prefix: str = "", ending: str = "_proj") -> State:
    """Return square projections of two blocks, called by these letters."""
    return {
        f"{prefix}{block}.attn.{each}{ending}.{role}": torch.ones((4, 4) if role == "weight" else 4)
        for block in range(2)
        for each in projections
        for role in ("weight", "bias")
    }


def test_layers_that_the_names_tell_apart_are_not_exchanged() -> None:
    """All projections of attention have one shape. Other words for them, and other numbers, contradict nothing."""
    own = attention("qkvo", "blocks.")
    with pytest.raises(OrderError, match=r"q_proj\.weight would be taken from .*k_proj.*called q_proj and k_proj"):
        matched_in_order(own, attention("kvqo", "encoder.layers."), (), FILE)
    for alike in (attention("qkvo", "encoder.layers."), attention("kvqo", "h.", "_in"), attention("2345", "h.", "")):
        assert list(matched_in_order(own, alike, (), FILE)) == list(own)
    assert list(matched_in_order(attention("1234", "h.", "_fc"), attention("2345", "g.", "_fc"), (), FILE))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_layer3._bn.running_var", -1.0, r"as blocks\.3\.1\.running_var, must be variances, but has negative values"),
        ("_layer3._conv.weight", float("nan"), "must be finite"),
    ],
)
def test_values_that_no_trained_network_has_are_refused(name: str, value: float, message: str) -> None:
    given = theirs()
    with pytest.raises(OrderError, match=message):
        matched(given | {name: torch.full_like(given[name], value)})


def test_more_or_fewer_tensors_are_refused() -> None:
    given = theirs()
    with pytest.raises(OrderError, match="there must be 74 tensors, but there are 75; extra has no counterpart"):
        matched(given | {"extra": torch.zeros(3)})
    del given["_fc.bias"]
    with pytest.raises(OrderError, match=r"there are 73; classifier\.bias has no counterpart"):
        matched(given)


def test_safetensors_keep_no_order() -> None:
    """They are sorted by name and type, which says nothing of the network."""
    with pytest.raises(
        OrderError, match=r"it has no blocks\.0\.0\.weight of 4×4×3×3, but names such as _layer0\._conv"
    ):
        matched_in_order(ours().state_dict(), theirs(), (), Path("theirs.safetensors"))


def test_differences_by_name_are_listed_with_both_shapes() -> None:
    own = ours().state_dict()
    given = own | {"blocks.0.0.weight": torch.zeros(4, 4, 5, 5)}
    del given["classifier.weight"]
    assert mismatches(own, given) == [
        "blocks.0.0.weight is 4×4×5×5 in the file and 4×4×3×3 in the model",
        "classifier.weight of 10×4 is missing in the file",
    ]
    assert len(mismatches(own, given, ("classifier.weight",))) == 1


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("blocks.0.0.weight", torch.ones(4, 4, 3, 3, dtype=torch.int8), "is of int8 in the file and of float32 in the"),
        ("classifier.bias", torch.full((10,), float("nan")), "must be finite, but has NaN or infinite values"),
        ("blocks.1.1.running_var", torch.full((4,), -1.0), "must be variances, but has negative values"),
    ],
)
def test_flaws_are_told_by_name_too(name: str, tensor: torch.Tensor, message: str) -> None:
    """Torch would load whole numbers as floats. Older files may count batches in floats, which nothing depends on."""
    own = ours().state_dict()
    counts = {each: value.float() for each, value in own.items() if each.endswith("num_batches_tracked")}
    assert mismatches(own, own | counts) == []
    (found,) = mismatches(own, own | {name: tensor})
    assert found.startswith(f"{name} {message}")


def test_a_network_may_have_infinite_values_itself() -> None:
    masks = {"mask": torch.full((3, 3), float("-inf"))}
    assert mismatches(masks, masks) == []
