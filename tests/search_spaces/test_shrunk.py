"""The space of a parent's parts: what can be removed, what is inherited, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_parents
import torch
from safetensors.torch import save_file
from tiny_zoo import CONVNET, write_weights
from torch import nn

import nas
from nas.errors import RecipeError
from nas.space.architecture import Architecture
from nas.space.signature import Signature, TensorType, image_signature
from search_spaces.shrinking.plan import Group, plan_of, pruned
from search_spaces.shrunk import Shrunk

DIGITS = image_signature((1, 8, 8), 10)
MAKER = "small_parents:make_digits"


def shrunk(parent: str | nn.Module = MAKER, signature: Signature = DIGITS, **options: Any) -> Shrunk:
    space = nas.load_space("shrunk", {"parent": parent, **options}, signature)
    assert isinstance(space, Shrunk)
    return space


def inherited(space: Shrunk, architecture: Architecture) -> nn.Module:
    module = space.build(architecture)
    space.start(architecture, module)
    return module.eval()


def pictures(signature: Signature = DIGITS, count: int = 4) -> torch.Tensor:
    return torch.randn((count, *signature.input_shape), generator=torch.Generator().manual_seed(0))


def test_choices_are_shares_and_blocks_of_each_stage() -> None:
    space = shrunk()
    assert [choice.name for choice in space.choices] == [
        *("stage0.width", "stage1.width", "stage1.trunk", "stage1.blocks"),
        *("stage2.width", "stage2.trunk", "stage2.blocks"),
    ]
    assert dict(zip(map(str, range(3)), space.choices[-1].options, strict=True)) == {"0": 0, "1": 1, "2": 2}
    assert all(tuple(sorted(choice.options)) == choice.options for choice in space.choices)  # type: ignore[type-var]


def test_the_parent_inherits_itself() -> None:
    """With all channels and blocks, the weights and so the outputs are those of the parent."""
    space, parent = shrunk(), small_parents.make_digits().eval()
    x = pictures()
    torch.testing.assert_close(inherited(space, space.parent)(x), parent(x))
    assert space.untuned == ()


def test_a_part_computes_what_the_parent_does_without_those_channels() -> None:
    """Removing channels inside blocks is the same as setting to 0 the weights of all that take them."""
    space, parent = shrunk(), small_parents.make_digits().eval()
    narrow = nas.architecture_from(space, {**space.parent, "stage1.width": 0.5, "stage2.width": 0.25})
    part = inherited(space, narrow)
    kept = 0
    for name, block in parent.named_modules():
        if isinstance(block, small_parents.Residual):
            weights = part.get_submodule(name).first.weight
            assert isinstance(weights, torch.Tensor)
            same = (block.first.weight[:, None] == weights[None]).flatten(2).all(2).any(1)
            block.second.weight.data[:, ~same] = 0.0
            kept += int(same.sum())
    assert kept == 16 + 8 + 8
    torch.testing.assert_close(part(pictures()), parent(pictures()))


def test_blocks_that_are_left_out_leave_their_shortcut() -> None:
    space, parent = shrunk(), small_parents.make_digits().eval()
    shallow = nas.architecture_from(space, {**space.parent, "stage2.blocks": 1})
    parent.third[3] = nn.Identity()  # type: ignore[operator, index]
    torch.testing.assert_close(inherited(space, shallow)(pictures()), parent(pictures()))


def test_every_architecture_runs_and_shrinks() -> None:
    space = shrunk()
    sizes = []
    rng = np.random.default_rng(0)
    for architecture in (*space.first, *(nas.sample(space, rng) for _ in range(5))):
        module = inherited(space, architecture)
        assert module(pictures()).shape == (4, 10)
        sizes.append(sum(parameter.numel() for parameter in module.parameters()))
    assert max(sizes) == sizes[0]
    assert sizes[0] > sizes[1] > sizes[2]


def test_widths_of_blocks_that_are_left_out_make_no_difference() -> None:
    space = shrunk()
    wide = nas.architecture_from(space, {**space.parent, "stage1.blocks": 0})
    narrow = nas.architecture_from(space, {**space.parent, "stage1.blocks": 0, "stage1.width": 0.25})
    assert wide == narrow


def test_a_channel_matters_as_much_as_the_loss_changes_without_it() -> None:
    """To first order: the score is the square of the slope, if what takes the channel is made smaller."""
    space = shrunk()
    parent = space.parent_module()
    before = {name: tensor.clone() for name, tensor in parent.state_dict().items()}

    def loss(module: nn.Module) -> torch.Tensor:
        output: torch.Tensor = module(pictures().to(next(module.parameters()).dtype))
        return output.square().mean()

    scores = space.inheritance(parent, [loss, loss])["importance:second.2.first"]
    for name, tensor in parent.state_dict().items():
        assert torch.equal(tensor, before[name])
    parent = parent.double()  # differences of losses need more digits
    taking = parent.get_submodule("second.2.second").weight
    assert isinstance(taking, torch.Tensor)
    for channel in (0, 7, 31):
        kept, ends = taking[:, channel].detach().clone(), []
        for factor in (1.001, 0.999):
            with torch.no_grad():
                taking[:, channel] = factor * kept
                ends.append(float(loss(parent)))
                taking[:, channel] = kept
        assert float(scores[channel]) == pytest.approx(2 * ((ends[0] - ends[1]) / 0.002) ** 2, rel=1e-3)


def test_layers_that_keep_their_channels_are_told_and_the_rest_goes_on() -> None:
    space = shrunk("small_parents:make_rigid")
    seen, preparation, note = space.notes
    assert seen.startswith("the parent knows the classes of the data already")
    assert "trained with others, give them: space.preparation=" in preparation
    assert "fixed, because" in note
    assert "grouped is a convolution in 4 groups" in note
    module = inherited(space, nas.architecture_from(space, {**space.parent, "stage0.width": 0.5}))
    assert module.last.out_channels == 8  # type: ignore[union-attr]
    assert module.fixed.out_channels == 16  # type: ignore[union-attr]


def test_another_number_of_classes_and_channels_is_fitted_and_told() -> None:
    space = shrunk("small_parents:make_colours")
    assert space.untuned == (
        "its first layer takes 3 channels and the data have 1, so its weights are summed up",
        "it has 5 outputs and the data have 10 classes, so its head is new",
    )
    assert inherited(space, space.parent)(pictures()).shape == (4, 10)
    again = shrunk("small_parents:make_colours")
    for (name, one), other in zip(
        space.parent_module().state_dict().items(), again.parent_module().state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_weights_of_a_file_decide_the_number_of_classes(tmp_path: Path) -> None:
    """A function that takes the number of classes is asked for that of the weights."""
    trained = small_parents.ThreeStages(3, 7)
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    signature = image_signature((3, 8, 8), 7)
    space = shrunk("small_parents:make_colours", signature, weights=str(tmp_path / "w.safetensors"))
    assert space.untuned == ()
    x = pictures(signature)
    torch.testing.assert_close(inherited(space, space.parent)(x), trained.eval()(x))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pickle_of_tensors_alone_is_taken(tmp_path: Path, prefix: str) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in small_parents.make_digits().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pt")
    space = shrunk(weights=str(tmp_path / "w.pt"))
    x = pictures()
    torch.testing.assert_close(inherited(space, space.parent)(x), small_parents.make_digits().eval()(x))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model."])
def test_a_prefix_that_is_the_module_s_own_stays(tmp_path: Path, prefix: str) -> None:
    """Wrappers put the same word before every name, also before names that begin with it."""
    trained = small_parents.Held()
    save_file({f"{prefix}{name}": each for name, each in trained.state_dict().items()}, tmp_path / "w.safetensors")
    space = shrunk("small_parents:Held", weights=str(tmp_path / "w.safetensors"))
    x = pictures()
    torch.testing.assert_close(inherited(space, space.parent)(x), trained.eval()(x))


def test_weights_with_other_names_are_taken_by_their_order(tmp_path: Path) -> None:
    """It is told. Those of another number of classes are, too, and those in another order are refused."""
    state = small_parents.make_digits().state_dict()
    torch.save({f"net_{name}": tensor for name, tensor in state.items()}, tmp_path / "w.pt")
    space = shrunk(weights=str(tmp_path / "w.pt"))
    assert "the weights of small_parents:make_digits in w.pt have other names, so 33 tensors" in " ".join(space.notes)
    x = pictures()
    torch.testing.assert_close(inherited(space, space.parent)(x), small_parents.make_digits().eval()(x))
    seven = small_parents.ThreeStages(3, 7).state_dict()
    torch.save({f"net_{name}": tensor for name, tensor in seven.items()}, tmp_path / "seven.pt")
    other = shrunk("small_parents:make_colours", image_signature((3, 8, 8), 7), weights=str(tmp_path / "seven.pt"))
    assert other.untuned == ()
    torch.save({f"net_{name}": tensor for name, tensor in reversed(state.items())}, tmp_path / "back.pt")
    with pytest.raises(
        RecipeError, match=r"by order: tensor 1 must be stem\.0\.weight of 16×1×3×3, but is net_head\.weight of 10×32"
    ):
        shrunk(weights=str(tmp_path / "back.pt"))


def test_weights_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    torch.save(small_parents.make_digits(), tmp_path / "whole.pt")
    with pytest.raises(RecipeError, match=r"whole\.pt is a pickle that needs to run code, which is refused"):
        shrunk(weights=str(tmp_path / "whole.pt"))
    with pytest.raises(RecipeError, match=r"weights must be a file of tensors, such as weights\.safetensors"):
        shrunk(weights=str(tmp_path / "none.safetensors"))
    (tmp_path / "torn.safetensors").write_bytes(b"nothing")
    with pytest.raises(RecipeError, match=r"torn\.safetensors must be safetensors, but cannot be read"):
        shrunk(weights=str(tmp_path / "torn.safetensors"))
    for told in ("nope", '"nope"'):
        about = {"data": "digits", "fingerprint": "0123", "preparation": told}
        save_file(small_parents.make_digits().state_dict(), tmp_path / "damaged.safetensors", about)
        with pytest.raises(RecipeError, match=r"damaged\.safetensors must be safetensors, but cannot be read: "):
            shrunk(weights=str(tmp_path / "damaged.safetensors"))
    save_file({"a.weight": torch.zeros(3, 4), "head.weight": torch.zeros(5, 32)}, tmp_path / "other.safetensors")
    with pytest.raises(RecipeError, match=r"it has no stem\.0\.weight of 16×1×3×3, but names such as a\.weight.* Name"):
        shrunk(weights=str(tmp_path / "other.safetensors"))
    lacking = {name: each for name, each in small_parents.make_digits().state_dict().items() if "stem" not in name}
    save_file(lacking, tmp_path / "lacking.safetensors")
    with pytest.raises(RecipeError, match=r"stem\.0\.weight of .* is missing in the file; .*, and \d+ more\. Name"):
        shrunk(weights=str(tmp_path / "lacking.safetensors"))
    save_file(small_parents.ThreeStages(1, 4).state_dict(), tmp_path / "four.safetensors")
    with pytest.raises(RecipeError, match=r"head\.weight is 4×32 in the file and 10×32 in the model"):
        shrunk(weights=str(tmp_path / "four.safetensors"))


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ("small_parents:make_on_gpu", r"No CUDA GPUs are available.* A parent must also work on the CPU"),
        ("small_parents:make_nothing", "must be a torch module, but small_parents:make_nothing returned a str"),
        ("small_parents:make_linear", "a parent must have channels or blocks that can be removed, but .* has none"),
        ("small_parents:make_digit", "Did you mean 'make_digits'"),
        ("nonsense", "a parent is a function that returns a torch module"),
        ("timm:test_vit", r"images .*8×8.* raised .*Input height .*\. Of pictures, --set data\.image_size sets"),
        ("timm:resnet19", "timm has no model 'resnet19'. Did you mean 'resnet"),
        ("small_parents:make_colours", "a parent must take signals .* but small_parents:make_colours raised"),
    ],
)
def test_a_parent_that_cannot_be_used_is_refused(parent: str, message: str) -> None:
    signature = Signature((TensorType("signals", (1, 64)),), (10,)) if "colours" in parent else DIGITS
    with pytest.raises(RecipeError, match=message):
        shrunk(parent, signature)
    with pytest.raises(RecipeError, match="is made of a trained model, but got none"):
        nas.load_space("shrunk", {}, DIGITS)
    with pytest.raises(RecipeError, match="widths must be shares of channels"):
        shrunk(widths=[0.5, 2])


@pytest.mark.slow
@pytest.mark.parametrize(
    "parent", ["timm:efficientnet_lite0", "torchvision.models:resnet18", "timm:vit_tiny_patch16_224"]
)
def test_models_of_timm_and_torchvision_work_as_they_are(parent: str) -> None:
    """The smallest architecture has far fewer weights than the parent, which comes without weights."""
    size = 224 if "vit" in parent else 32
    space = shrunk(parent, image_signature((3, size, size), 10))
    assert space.untuned[0] == f"{parent} comes without weights"
    smallest = nas.settle(space, lambda choice: choice.options[0])
    parts = [sum(p.numel() for p in space.build(a).parameters()) for a in (smallest, space.parent)]
    assert parts[0] < (0.7 if "vit" in parent else 0.2) * parts[1]
    assert space.build(smallest).eval()(torch.zeros(1, 3, size, size)).shape == (1, 10)


def test_layers_that_were_frozen_are_tuned() -> None:
    """A parent's own training may have kept some of its layers."""
    space = shrunk(small_parents.make_digits().requires_grad_(False))
    assert all(parameter.requires_grad for parameter in space.build(space.first[1]).parameters())


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    parent = small_parents.make_digits()
    parent.last = parent.head.weight * 2  # type: ignore[operator, union-attr]
    with pytest.raises(RecipeError, match="must be a module that can be copied, but ThreeStages raised RuntimeError"):
        shrunk(parent)


def test_signals_and_columns_can_have_a_parent_too() -> None:
    """Nothing is about pictures: layers without a map are divided by their place."""
    signal = nn.Sequential(
        nn.Conv1d(1, 16, 9, stride=2, padding=4),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 32, 9, stride=2, padding=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    space = shrunk(signal, Signature((TensorType("signals", (1, 64)),), (4,)))
    assert [choice.name for choice in space.choices] == ["stage1.width", "stage2.width"]
    columns = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
    space = shrunk(columns, Signature((TensorType("numbers", (5,)),), (3,)))
    assert [choice.name for choice in space.choices] == ["part1.width", "part2.width"]


def test_a_group_keeps_multiples_of_what_processors_like() -> None:
    group = Group("any", 96, ())
    assert [group.count(share) for share in (0.01, 0.25, 0.3, 0.5, 1.0)] == [8, 24, 32, 48, 96]
    assert Group("few", 6, ()).count(0.5) == 3


def test_pruning_leaves_the_module_itself_alone() -> None:
    module = small_parents.make_digits()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    plan = plan_of(module, (torch.zeros(1, 1, 8, 8),))
    pruned(module, plan.groups, {group.name: np.arange(group.count(0.25)) for group in plan.groups})
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.slow
def test_a_parent_has_the_preparation_that_it_was_trained_with(tmp_path: Path) -> None:
    """Models of timm's with weights tell theirs. Whoever gives another, or none, is believed."""
    (tmp_path / "w").mkdir()
    write_weights(tmp_path / "w", [CONVNET])
    file = str(tmp_path / "w" / f"{CONVNET}.safetensors")
    colour, grey = image_signature((3, 32, 32), 10), image_signature((1, 32, 32), 10)
    name = f"timm:{CONVNET}"
    space = shrunk(name, colour, weights=file, sizes=[16])
    scaling = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert nas.wishes_of(space, space.parent) == scaling
    small = nas.architecture_from(space, {**space.parent, "image_size": 16})
    assert nas.wishes_of(space, small) == {**scaling, "image_size": 16}
    space = shrunk(name, grey, weights=file)
    assert nas.wishes_of(space, space.parent)["mean"] == pytest.approx([0.449], abs=1e-3)
    for untold in (shrunk(name, colour), shrunk(name, colour, weights=file, preparation={}), shrunk()):
        assert nas.wishes_of(untold, untold.parent) == {}
    given = {"mean": [0.5], "std": [0.5], "crop": 0.9}
    space = shrunk(preparation=given)
    assert nas.wishes_of(space, space.parent) == {**given, "image_size": 8}
    assert [note for note in space.notes if "knows the classes of the data already" not in note] == []
    with pytest.raises(RecipeError, match="preparation must be a table with keys among mean, std, crop, interpol"):
        shrunk(preparation={"average": [0.5]})


def test_lower_resolutions_are_a_choice() -> None:
    """Their layers are those of a trace at that size. The parent itself sees the pictures as they are."""
    space = shrunk(sizes=[4, 6])
    assert (space.choices[0].name, space.choices[0].options) == ("image_size", (4, 6, 8))
    assert space.parent["image_size"] == 8
    assert nas.wishes_of(space, space.parent) == {}
    small = nas.architecture_from(space, {**space.parent, "image_size": 4, "stage2.width": 0.5, "stage1.blocks": 0})
    assert nas.wishes_of(space, small) == {"image_size": 4}
    traced = nas.trace_layers(space.build(small), nas.signature_of(space, small, DIGITS))
    assert space.layers(small) == traced
    whole, larger, smaller, *narrower = space.first
    assert whole == space.parent
    assert [dict(each) for each in (larger, smaller)] == [{**whole, "image_size": size} for size in (6, 4)]
    assert narrower
    assert all(architecture["image_size"] == 8 for architecture in narrower)
    with pytest.raises(RecipeError, match="sizes must be smaller than that of the pictures, 8, but got 16"):
        shrunk(sizes=[16])


def test_a_size_at_which_the_parent_does_not_run_is_left_out_and_told() -> None:
    fixed = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
    space = shrunk(fixed, sizes=[4])
    assert space.choices[0].name == "stage0.width"
    assert space.notes[-1].startswith("pictures of 4 pixels are left out, because forward raised")


@pytest.mark.parametrize(
    ("side", "expected"),
    [(224, (112, 144, 192, 224)), (96, (48, 64, 80, 96)), (64, (32, 48, 64)), (63, None), (8, None)],
)
def test_lower_resolutions_may_be_left_to_the_space(side: int, expected: tuple[int, ...] | None) -> None:
    """Small pictures have none."""
    space = shrunk(f"timm:{CONVNET}", image_signature((3, side, side), 10), sizes="lower")
    first = space.choices[0]
    assert (first.options if first.name == "image_size" else None) == expected


def test_nothing_is_told_of_lower_resolutions_that_nobody_named() -> None:
    fixed = nn.Sequential(nn.Conv2d(3, 16, 3, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
    space = shrunk(fixed, image_signature((3, 64, 64), 10), sizes="lower")
    assert space.choices[0].name != "image_size"
    assert not any("left out" in note for note in space.notes)
    with pytest.raises(RecipeError, match=r"sizes must be a list, such as \[64, 80\], but got 'low'"):
        shrunk(sizes="low")


def test_only_pictures_have_lower_resolutions() -> None:
    """A square map of another task is no picture that could be scaled."""
    maps = Signature((TensorType("maps", (3, 64, 64)),), (10,))
    assert shrunk(f"timm:{CONVNET}", maps, sizes="lower").choices[0].name != "image_size"
