"""Parts of a parent that run on the same inputs: their outputs are right, and what they begin with runs once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_parents
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import nas
from nas.space.architecture import Architecture
from nas.space.signature import Signature, image_signature
from search_spaces.shrinking.elastic import ElasticParent
from search_spaces.shrinking.shared_runs import units_of
from search_spaces.shrunk import Shrunk

DIGITS = image_signature((1, 8, 8), 10)
CALIBRATING = 32


def shrunk(parent: str | nn.Module, signature: Signature) -> Shrunk:
    space = nas.load_space("shrunk", {"parent": parent}, signature)
    assert isinstance(space, Shrunk)
    return space


def ordered(space: Shrunk, count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    drawn = [space.parent, *(nas.sample(space, rng) for _ in range(count))]
    return sorted(drawn, key=lambda each: [str(each.get(choice.name)) for choice in space.choices])


def alone(space: Shrunk, architecture: Architecture, inputs: torch.Tensor, calibrating: int) -> torch.Tensor:
    """Return what the built module gives, with the statistics of the first inputs."""
    module = space.build(architecture)
    space.inherit(architecture, module, space.inheritance(space.parent_module(), ()))
    norms = [layer for layer in module.eval().modules() if isinstance(layer, _BatchNorm)]
    with torch.no_grad():
        for norm in norms if calibrating else ():
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        module(inputs[:calibrating]) if norms else None
        return module.eval()(inputs)


def looked_at_first(
    supernet: ElasticParent, architecture: Architecture, inputs: torch.Tensor, calls: list[int]
) -> None:
    """Let a supernet find out if units give what its module gives, and forget its calls for that."""
    supernet.outputs(architecture, (inputs,), 0, len(inputs))
    supernet.forget_inputs()
    calls.clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parent", "signature", "tolerance"),
    [
        ("small_parents:make_digits", DIGITS, 1e-2),
        ("timm:test_vit", image_signature((3, 160, 160), 4), 1e-5),
        ("timm:test_convnext", image_signature((3, 64, 64), 4), 1e-5),
        ("timm:test_resnet", image_signature((3, 64, 64), 4), 1e-1),
    ],
)
def test_outputs_are_those_of_the_built_module(parent: str, signature: Signature, tolerance: float) -> None:
    """Batch normalisation calibrates with slightly other variances, because it normalises as it will in use."""
    space = shrunk(parent, signature)
    supernet = space.supernet()
    supernet.inherit(space.inheritance(space.parent_module(), ()))
    inputs = torch.rand((CALIBRATING + 8, *signature.input_shape), generator=torch.Generator().manual_seed(0))
    for architecture in ordered(space, 6):
        found = supernet.outputs(architecture, (inputs,), 0, CALIBRATING)
        expected = alone(space, architecture, inputs, CALIBRATING)
        scale = float(expected.abs().max())
        assert float((found - expected).abs().max()) <= tolerance * scale, architecture


def test_a_later_batch_has_the_statistics_of_the_first() -> None:
    """And its own inputs, though they have the shape of the first."""
    space = shrunk("small_parents:make_digits", DIGITS)
    supernet = space.supernet()
    many = torch.rand((24, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    first, second = many[:12], many[12:]
    for architecture in ordered(space, 3):
        whole = supernet.outputs(architecture, (torch.cat([first, second]),), 0, 12)
        supernet.forget_inputs()
        parts = [supernet.outputs(architecture, (each,), number, 12) for number, each in enumerate((first, second))]
        torch.testing.assert_close(torch.cat(parts), whole)
        again = supernet.outputs(architecture, (second,), 1, 12)
        torch.testing.assert_close(again, parts[1])


def test_what_architectures_begin_with_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    space = shrunk("small_parents:make_digits", DIGITS)
    supernet, inputs = space.supernet(), (torch.rand(8, 1, 8, 8),)
    calls: list[int] = []
    forward = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: (calls.append(self.out_channels), forward(self, x))[1])
    looked_at_first(supernet, space.parent, inputs[0], calls)
    whole = supernet.outputs(space.parent, inputs, 0, 8)
    all_of_them = len(calls)
    calls.clear()
    assert torch.equal(supernet.outputs(space.parent, inputs, 0, 8), whole)
    assert not calls
    late = nas.architecture_from(space, {**space.parent, "stage2.width": 0.25})
    supernet.outputs(late, inputs, 0, 8)
    assert 0 < len(calls) < all_of_them / 2
    calls.clear()
    early = nas.architecture_from(space, {**space.parent, "stage0.width": 0.25})
    supernet.outputs(early, inputs, 0, 8)
    assert len(calls) == all_of_them


def test_shared_runs_leave_the_weights_alone() -> None:
    space = shrunk("small_parents:make_digits", DIGITS)
    supernet = space.supernet()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    for architecture in ordered(space, 3):
        supernet.outputs(architecture, (torch.rand(8, 1, 8, 8),), 0, 8)
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_units_are_layers_and_blocks_also_of_what_is_wrapped() -> None:
    """A wrapper around the whole network is looked into."""

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_parents.make_digits()

        def forward(self, x: torch.Tensor) -> Any:
            return self.inner(x)

    plain = list(units_of(small_parents.make_digits()))
    assert {"stem.0", "second.2", "third.3", "head"} <= set(plain)
    assert list(units_of(Wrapped())) == [f"inner.{name}" for name in plain]


class Overwriting(nn.Module):
    """A network whose activations write to what they get, and which writes to a layer's output itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU(inplace=True), nn.Dropout(0.5),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.Identity(),
        )  # fmt: skip
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        x += 1.0
        out: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return out


def test_layers_that_write_to_what_they_get_change_nothing_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same part gives the same again and again, and its first layers still run once."""
    torch.manual_seed(0)
    space = shrunk(Overwriting(), DIGITS)
    supernet, inputs = space.supernet(), torch.rand(16, 1, 8, 8)
    expected = alone(space, space.parent, inputs, 16)
    calls: list[int] = []
    forward = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: (calls.append(1), forward(self, x))[1])
    looked_at_first(supernet, space.parent, inputs, calls)
    for _ in range(3):
        found = supernet.outputs(space.parent, (inputs,), 0, 16)
        assert float((found - expected).abs().max()) <= 1e-2 * float(expected.abs().max())
    assert len(calls) == 2
    late = nas.architecture_from(space, {**space.parent, space.choices[-1].name: space.choices[-1].options[0]})
    found = supernet.outputs(late, (inputs,), 0, 16)
    other = alone(space, late, inputs, 16)
    assert float((found - other).abs().max()) <= 1e-2 * float(other.abs().max())


def test_a_layer_that_writes_to_a_shortcut_has_no_shared_runs() -> None:
    """Without writing, another network would be run: the shortcut would hold what came before the activation."""
    torch.manual_seed(0)
    space = shrunk(small_parents.make_overwriting(), DIGITS)
    supernet, inputs = space.supernet(), (torch.randn(4, 1, 8, 8),)
    before = [each.clone() for each in supernet.buffers()]
    for _ in range(2):
        with pytest.raises(RuntimeError, match="writes to what other layers take"):
            supernet.outputs(space.parent, inputs, 0, 4)
    assert all(torch.equal(one, other) for one, other in zip(before, supernet.buffers(), strict=True))


class Block(nn.Sequential):
    """A block with a shortcut that is a sequence itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + super().forward(x)
        return out


def test_a_block_that_is_a_sequence_is_left_out_whole() -> None:
    """It is no part of the network's own sequence, but stands or falls with its shortcut."""
    torch.manual_seed(0)
    blocks = [Block(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1)) for _ in range(2)]
    module = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )
    space = shrunk(module, DIGITS)
    name = next(choice.name for choice in space.choices if choice.name.endswith(".blocks"))
    supernet, inputs = space.supernet(), torch.rand(4, 1, 8, 8)
    for count in (2, 1, 0):
        fewer = nas.architecture_from(space, {**space.parent, name: count})
        torch.testing.assert_close(supernet.outputs(fewer, (inputs,), 0, 0), alone(space, fewer, inputs, 0))


def test_what_has_no_room_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    space = shrunk("small_parents:make_digits", DIGITS)
    supernet, inputs = space.supernet(), (torch.rand(8, 1, 8, 8),)
    expected = supernet.outputs(space.parent, inputs, 0, 8)
    supernet.forget_inputs()
    monkeypatch.setattr("search_spaces.shrinking.shared_runs.MOST_BYTES", 40_000)
    for _ in range(2):
        torch.testing.assert_close(supernet.outputs(space.parent, inputs, 0, 8), expected)
    assert supernet._runs._kept_bytes <= 40_000


class Viewing(nn.Module):
    """A network that views its maps as rows, which no layout but the usual one allows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3))
        self.head = nn.Linear(8 * 36, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.body(x).view(x.shape[0], -1))
        return out


def test_a_network_that_needs_the_usual_layout_of_maps_has_it() -> None:
    torch.manual_seed(0)
    space = shrunk(Viewing(), DIGITS)
    supernet, inputs = space.supernet(), torch.rand(16, 1, 8, 8)
    for architecture in ordered(space, 3):
        found, expected = supernet.outputs(architecture, (inputs,), 0, 16), alone(space, architecture, inputs, 16)
        assert float((found - expected).abs().max()) <= 1e-2 * float(expected.abs().max())
    assert not supernet._runs._is_channels_last
    kept = shrunk("small_parents:make_digits", DIGITS).supernet()
    kept.outputs(shrunk("small_parents:make_digits", DIGITS).parent, (inputs,), 0, 16)
    assert kept._runs._is_channels_last
