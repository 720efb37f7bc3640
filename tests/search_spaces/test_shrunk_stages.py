"""Parts of a parent whose new head sees the means of all stages beside the last features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save, save_file
from tiny_zoo import CONVNET, VIT, write_weights
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import nas
from nas.errors import RecipeError
from nas.space.signature import Signature, image_signature
from nas.space.tracing import trace_layers
from search_spaces.shrinking.plan import pruned
from search_spaces.shrunk import Shrunk
from search_spaces.timm_stages import WithStages, with_stages

PICTURES = image_signature((3, 32, 32), 5)
RESNET = "resnet10t"


def shrunk(parent: str | nn.Module = f"timm:{CONVNET}", **options: Any) -> Shrunk:
    space = nas.load_space("shrunk", {"parent": parent, "features": "stages", **options}, PICTURES)
    assert isinstance(space, Shrunk)
    return space


def sees_stages(space: Shrunk) -> bool:
    told = [choice.options for choice in space.choices if choice.name == "features"]
    assert told in ([], [("stages",)])
    assert isinstance(space.build(space.parent), WithStages) == bool(told)
    return bool(told)


def some(space: Shrunk, count: int = 3) -> list[nas.Architecture]:
    rng = np.random.default_rng(0)
    return [*space.first, *(nas.sample(space, rng) for _ in range(count))]


@pytest.mark.parametrize("parent", [CONVNET, RESNET])
def test_a_new_head_sees_all_stages(parent: str) -> None:
    """Those of a ResNet are its last features too, and are seen once."""
    space = shrunk(f"timm:{parent}")
    assert sees_stages(space)
    body: Any = timm.create_model(parent, num_classes=0).eval()
    last, maps = body.forward_intermediates(torch.rand(1, 3, 32, 32))
    width = sum(each.shape[1] for each in maps)
    width += 0 if parent == RESNET else body.forward_head(last, pre_logits=True).shape[1]
    head = space.build(space.parent).get_submodule("head")
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (width, 5)
    assert not sees_stages(shrunk(f"timm:{parent}", features="last"))


@pytest.mark.parametrize("parent", [CONVNET, RESNET])
def test_the_table_of_layers_is_what_traces_show(parent: str) -> None:
    space = shrunk(f"timm:{parent}")
    assert hasattr(space, "layers")
    for architecture in some(space):
        assert space.layers(architecture) == trace_layers(space.build(architecture), PICTURES)


def test_the_head_keeps_the_columns_of_the_channels_that_are_kept() -> None:
    """Channels that are always zero can be removed, and nothing changes."""
    space = shrunk(f"timm:{RESNET}")
    whole = space.parent_module().eval()
    generator = torch.Generator().manual_seed(0)
    layers = dict(whole.named_modules())
    for layer in layers.values():
        if isinstance(layer, _BatchNorm):
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.3, generator=generator)
    rng = np.random.default_rng(0)
    groups = space._plan.groups
    kept = {group.name: np.sort(rng.permutation(group.channels)[: group.count(0.6)]) for group in groups}
    part = pruned(whole, groups, kept).eval()
    before = whole(torch.ones(2, *PICTURES.input_shape))
    for group in groups:
        gone = np.setdiff1d(np.arange(group.channels), kept[group.name])
        for cut in group.cuts:
            layer = layers.get(cut.name)
            if isinstance(layer, _BatchNorm):
                rows = cut.indices[np.isin(cut.channels, gone)]
                layer.weight.data[rows] = 0
                layer.bias.data[rows] = 0
    pictures = torch.rand(2, *PICTURES.input_shape, generator=generator)
    torch.testing.assert_close(part(pictures), whole(pictures))
    assert not torch.allclose(before, whole(torch.ones(2, *PICTURES.input_shape)))


@pytest.mark.slow
@pytest.mark.parametrize("parent", [CONVNET, RESNET, "regnetx_002"])
def test_shared_weights_give_what_the_built_module_gives(parent: str) -> None:
    space = shrunk(f"timm:{parent}")
    supernet = space.supernet()
    pictures = torch.rand(8, *PICTURES.input_shape, generator=torch.Generator().manual_seed(0))

    def calibrate(layer: _BatchNorm, inputs: tuple[torch.Tensor, ...]) -> None:
        mean, variance = torch.zeros(inputs[0].shape[1]), torch.ones(inputs[0].shape[1])
        torch.nn.functional.batch_norm(inputs[0], mean, variance, training=True, momentum=1.0)
        layer.running_mean, layer.running_var = mean, variance

    for architecture in some(space, 2):
        module = space.build(architecture)
        space.start(architecture, module)
        for layer in module.eval().modules():
            if isinstance(layer, _BatchNorm):
                layer.register_forward_pre_hook(calibrate)
        with torch.no_grad():
            expected = module(pictures)
        torch.testing.assert_close(supernet.outputs(architecture, (pictures,), 0, 8), expected, rtol=1e-2, atol=1e-3)
        supernet.forget_inputs()


def test_a_head_of_the_user_s_own_stays(tmp_path: Path) -> None:
    """A model of these classes is taken as it is, and so is its winner, which is built without its weights."""
    write_weights(tmp_path, [CONVNET], classes=5)
    file = tmp_path / f"{CONVNET}.safetensors"
    space = shrunk(weights=str(file))
    assert not sees_stages(space)
    module = space.parent_module()
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in load_file(file).items())
    options = {"parent": f"timm:{CONVNET}", "features": "stages", "weights": str(file)}
    winner = Shrunk.options_of_winner(options, space.parent)
    assert winner == {"parent": f"timm:{CONVNET}"}
    assert not sees_stages(nas.load_space("shrunk", winner, PICTURES))  # type: ignore[arg-type]


def test_a_winner_has_the_head_of_its_search(tmp_path: Path) -> None:
    write_weights(tmp_path, [CONVNET])
    options = {"parent": f"timm:{CONVNET}", "features": "stages", "weights": str(tmp_path / f"{CONVNET}.safetensors")}
    space = shrunk(**options)
    winner = Shrunk.options_of_winner(options, space.parent)
    made = nas.load_space("shrunk", winner, PICTURES)
    made.build(space.parent).load_state_dict(space.build(space.parent).state_dict())
    assert "features" not in Shrunk.options_of_winner({**options, "features": "last"}, {})


def make_five(num_classes: int = 5) -> nn.Module:
    """A parent whose own number of classes is that of the data."""
    made: nn.Module = timm.create_model(RESNET, num_classes=num_classes)
    return made


@pytest.mark.slow
def test_a_winner_has_that_head_also_where_its_parent_would_get_none(tmp_path: Path) -> None:
    """The weights have nine classes, so the search makes a new head; without the weights there is no need for one."""
    save_file(make_five(9).state_dict(), tmp_path / "nine.safetensors")
    options = {"parent": f"{__name__}:make_five", "features": "stages", "weights": str(tmp_path / "nine.safetensors")}
    space = shrunk(**options)
    assert sees_stages(space)
    made = nas.load_space("shrunk", Shrunk.options_of_winner(options, space.parent), PICTURES)
    made.build(space.parent).load_state_dict(space.build(space.parent).state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("features", ["last", "stages"])
@pytest.mark.parametrize("parent", [CONVNET, "regnetx_002"])
def test_a_parent_of_an_earlier_run_is_taken_as_it_is(parent: str, features: str, tmp_path: Path) -> None:
    """The file tells what its head sees, also where some layers of the parent must stay whole."""
    first = shrunk(f"timm:{parent}", features=features)
    about = {"data": "photos", "fingerprint": "f", "preparation": '{"mean": [0.5]}'}
    held = first.inheritance(first.parent_module(), ())
    (tmp_path / "parent.safetensors").write_bytes(save({k: v.contiguous() for k, v in held.items()}, about))
    for asked in ("last", "stages"):
        later = shrunk(f"timm:{parent}", weights=str(tmp_path / "parent.safetensors"), features=asked)
        assert sees_stages(later) == (features == "stages")
    assert later.tuned_on == "f"
    assert later.untuned == ()
    expected = first.parent_module().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in later.parent_module().state_dict().items())


def later_signature(channels: int, classes: int) -> Signature:
    _, height, width = PICTURES.inputs[0].shape
    return nas.image_signature((channels, height, width), classes)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "classes"), [(3, 7), (1, 5), (1, 7)])
def test_a_parent_of_an_earlier_run_gets_a_new_head_on_other_data(channels: int, classes: int, tmp_path: Path) -> None:
    """What lies before the head is that of the earlier run."""
    first = shrunk(f"timm:{CONVNET}", features="stages")
    about = {"data": "photos", "fingerprint": "f", "preparation": '{"mean": [0.5]}'}
    held = first.inheritance(first.parent_module(), ())
    (tmp_path / "parent.safetensors").write_bytes(save({k: v.contiguous() for k, v in held.items()}, about))
    weights = str(tmp_path / "parent.safetensors")
    options = {"parent": f"timm:{CONVNET}", "features": "stages", "weights": weights}
    later: Any = nas.load_space("shrunk", options, later_signature(channels, classes))
    assert sees_stages(later)
    assert later.untuned != ()
    assert later.tuned_on == ""
    before, after = first.parent_module().state_dict(), later.parent_module().state_dict()
    same = [name for name, tensor in before.items() if torch.equal(tensor, after[name])] if channels == 3 else []
    changed = {"head.weight", "head.bias"} if classes != PICTURES.classes else set()
    assert channels != 3 or set(before) - set(same) == changed
    assert after["head.weight"].shape[0] == classes
    winner = nas.load_space(
        "shrunk", Shrunk.options_of_winner(options, later.parent), later_signature(channels, classes)
    )
    winner.build(later.parent).load_state_dict(later.build(later.parent).state_dict())


class Headless(nn.Module):
    """A model that tells its maps, and whose head cannot give features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=2)

    def forward_intermediates(self, x: torch.Tensor, output_fmt: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
        first = self.first(x)
        second = self.second(first)
        return second, [first, second]

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))

    def reset_classifier(self, classes: int) -> None:
        """It has none."""


def test_models_without_stages_keep_the_usual_head() -> None:
    """All maps of a transformer have one side, and other modules tell none."""
    assert with_stages(timm.create_model(VIT, num_classes=5), (3, 160, 160), 5) is None
    assert with_stages(nn.Linear(3, 2), (3,), 2) is None
    assert with_stages(Headless(), (3, 32, 32), 2) is None
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip
    assert not sees_stages(shrunk(model))
    with pytest.raises(RecipeError, match="features must be 'last' or 'stages', but got 'all'"):
        shrunk(features="all")
