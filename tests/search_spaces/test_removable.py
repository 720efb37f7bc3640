"""What must stay in a parent: channels that cannot change places, and blocks without a shortcut of their own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from nas.space.architecture import Architecture
from nas.space.signature import Signature, TensorType, image_signature
from nas.space.tracing import check_fits
from search_spaces.shrinking.interchangeable import changes_outputs
from search_spaces.shrinking.plan import Group, Plan, plan_of
from search_spaces.shrunk import Shrunk


def planned(
    module: nn.Module, inputs: Sequence[torch.Tensor] = (torch.arange(1024.0).sin().view(1, 16, 8, 8),)
) -> Plan:
    return plan_of(module.eval(), inputs)


class Attention(nn.Module):
    """Attention with a layer each for queries, keys and values.

    ``of`` says from what the number of channels of a head follows: the ``input`` or the ``queries``.
    """

    def __init__(self, of: str, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.of, self.heads = of, heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.q(x), self.k(x), self.v(x)
        channels = (x if self.of == "input" else q).shape[-1]
        items, tokens = x.shape[:2]
        q, k, v = (
            each.reshape(items, tokens, self.heads, channels // self.heads).transpose(1, 2) for each in (q, k, v)
        )
        mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        found: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(items, tokens, -1))
        return found


class Transformer(nn.Module):
    """Blocks in a list, with shortcuts around them in ``forward``."""

    def __init__(self, of: str) -> None:
        super().__init__()
        self.patches = nn.Conv2d(16, 16, 2, 2)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [Attention(of), nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))]
            )
            for _ in range(2)
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            attention, feed_forward = layer  # type: ignore[misc]
            x = attention(x) + x
            x = feed_forward(x) + x
        found: torch.Tensor = self.head(x.mean(1))
        return found


@pytest.mark.parametrize("of", ["input", "queries"])
def test_channels_that_attention_divides_into_heads_stay(of: str) -> None:
    """Also where all forms run, if they answer otherwise than the parent without those channels."""
    torch.manual_seed(0)
    space = Shrunk(image_signature((16, 8, 8), 10), Transformer(of), widths=[0.5, 0.75], trunks=[0.5, 0.75])
    kept = {name for name, _ in space._plan.refused}
    assert {"layers.0.0.v", "layers.1.0.v"} <= kept
    removable = {group.name for group in space._plan.groups}
    assert {"layers.0.1.1", "layers.1.1.1"} <= removable, "channels between two linear layers"
    assert not changes_outputs(space.parent_module().eval(), space._plan.groups, [torch.randn(1, 16, 8, 8)])
    for number in range(8):
        form = Architecture({choice.name: choice.options[number % len(choice.options)] for choice in space.choices})
        assert space.build(form).eval()(torch.zeros(2, 16, 8, 8)).shape == (2, 10)


def test_a_block_whose_shortcut_is_outside_of_it_stays() -> None:
    """Without it, the network would add what comes in to itself."""
    torch.manual_seed(0)
    plan = planned(Transformer("input"))
    assert plan.blocks == ()


class Halves(nn.Module):
    """Two halves of channels, of which one is added to the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(16, 32, 3, padding=1), nn.Linear(16, 10)
        self.middle = nn.Sequential(nn.Conv2d(16, 64, 1), nn.ReLU(), nn.Conv2d(64, 16, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).unflatten(1, (16, 2)).sum(2)
        found: torch.Tensor = self.last(self.middle(x).mean((2, 3)))
        return found


def test_what_is_between_other_layers_can_still_be_removed() -> None:
    torch.manual_seed(0)
    assert "middle.0" in {group.name for group in planned(Halves()).groups}


def test_flattened_and_joined_channels_change_places_together() -> None:
    """A channel of a map is many columns of the layer behind it."""

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(16, 8, 3, 2, 1), nn.Conv2d(16, 12, 3, 2, 1)
            self.norm, self.last = nn.BatchNorm2d(20), nn.Linear(20 * 16, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            joined = self.norm(torch.cat([self.left(x), self.right(x)], 1)).relu()
            found: torch.Tensor = self.last(joined.flatten(1))
            return found

    torch.manual_seed(0)
    module = Joined().eval()
    module.norm.running_mean.uniform_()  # type: ignore[union-attr, operator]
    plan = planned(module)
    assert {group.name for group in plan.groups} == {"left", "right"}
    assert plan.refused == ()


def test_weights_that_two_layers_have_stay_whole() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 32, 1)
            self.head = nn.Linear(32, 10)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.head(self.last(self.second(self.first(x).relu()).relu()).mean((2, 3)))
            return found

    plan = planned(Tied())
    assert any("has weights that another layer has too" in why for _, why in plan.refused)
    assert [group.name for group in plan.groups] == ["last"]


def test_parametrizations_are_named() -> None:
    module = nn.Sequential(
        weight_norm(nn.Conv2d(16, 32, 1)), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 8, 1), nn.Flatten()
    )
    (told,) = planned(module).refused
    assert told[0] == "0"
    assert "has parametrizations; torch.nn.utils.parametrize.remove_parametrizations removes them" in told[1]


def test_a_parent_that_takes_the_data_keeps_its_first_layer() -> None:
    """It divides pictures into patches first, so its first convolution has other channels than they have."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.PixelUnshuffle(4), nn.Conv2d(48, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    space = Shrunk(image_signature((3, 32, 32), 10), module)
    assert space.untuned == ()
    assert torch.equal(space.parent_module()[1].weight, module[1].weight)  # type: ignore[index, union-attr]


def test_a_parent_with_layer_norms_passes_the_check_that_makes_no_weights() -> None:
    """Each search begins with it."""
    normed = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 10))
    signature = image_signature((3, 8, 8), 10)
    check_fits(Shrunk(signature, parent=normed), "shrunk", signature)


class Words(nn.Module):
    """Attention on tokens, without the places of words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.attention = nn.Embedding(50, 16), Attention("queries")
        self.between, self.head = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)), nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.words(tokens)
        x = x + self.attention(x)
        found: torch.Tensor = self.head((x + self.between(x)).mean(1))
        return found


def test_heads_of_attention_on_tokens_stay_too() -> None:
    """If all tokens were the same, attention would weigh them alike in any order of channels."""
    torch.manual_seed(0)
    space = Shrunk(Signature((TensorType("tokens", (12,), "int64", (50,)),), (3,)), Words())
    assert "attention.v" in {name for name, _ in space._plan.refused}
    assert "between.0" in {group.name for group in space._plan.groups}


def test_outputs_that_are_not_finite_show_no_order() -> None:
    module = nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU(), nn.Conv2d(32, 16, 1))
    groups = planned(module).groups
    assert groups
    with torch.no_grad():
        module[2].bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    assert changes_outputs(module, groups, [torch.randn(1, 16, 8, 8)])


def test_all_channels_are_all_of_them() -> None:
    """Also where they are no multiple of what a share is rounded to. Otherwise the parent would not be the parent."""
    odd = nn.Sequential(
        nn.Conv2d(3, 50, 3),
        nn.ReLU(),
        nn.Conv2d(50, 34, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(34, 4),
    )
    space = Shrunk(image_signature((3, 16, 16), 4), odd)
    assert shapes(space.build(space.parent)) == shapes(space.parent_module())
    assert all(Group("any", channels, ()).count(1.0) == channels for channels in range(1, 300))
    assert all(Group("any", channels, ()).count(0.5) % 8 == 0 for channels in range(32, 300))


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}
