"""Our trainer learns from scratch, from pretrained weights and from a teacher, with timm's parts where asked."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from quick_training import SETTINGS
from tiny_space import TinySpace
from torch import nn

from nas.errors import RecipeError
from nas.space.architecture import Architecture
from nas.space.signature import Signature, TensorType, image_signature
from nas.tasks.data_sets import DataSetTask
from nas.tasks.images.images import Images
from nas.tasks.images.splits import Split
from nas.training.averaging import AveragedState
from nas.training.mixing import Mixer, can_cut, can_mix
from nas.training.modules import error_of
from nas.training.optimizing import decayed_groups, factor_of, head_of, make_optimizer, tuned
from nas.training.trainer import Trainer, autocast_dtype, check_settings

SMALL = Architecture({"width": 8, "depth": 1, "kernel": 3})


def built(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinySpace().build(SMALL)


def trained(module: nn.Module, task: Images, teacher: nn.Module | None = None, **changes: Any) -> list[dict[str, Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return list(Trainer(replace(SETTINGS, **changes), teacher).train(module, task))


@pytest.fixture(name="pretrained", scope="module")
def a_pretrained_module(digits: Images) -> nn.Module:
    """A module with weights that already tell the digits apart, from four epochs."""
    module = built()
    trained(module, digits, epochs=4, batch_size=32)
    return module


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "learning_rate": 0.1},
        {"optimizer": "nadamw", "schedule": "linear", "gradient_clip": 0.0},
        {"mixup": 0.2, "schedule": "constant", "warm_up": 0.0},
        {"cutmix": 1.0, "mixup": 0.2, "label_smoothing": 0.0},
        {"augmentation_strength": 0.2},
        {"ema": 0.9},
        {"precision": "bf16"},
        {"layer_decay": 0.9},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_setting_learns(digits: Images, changes: dict[str, Any]) -> None:
    """With each setting a small net beats chance (0.9) by far within four epochs, and the same seed repeats."""
    first, again = (trained(built(), digits, epochs=4, batch_size=32, **changes) for _ in range(2))
    assert first == again
    assert first[-1]["error"] < 0.45
    assert first[-1]["loss"] < first[0]["loss"]


def test_the_average_is_kept_where_asked_for(digits: Images) -> None:
    """With ema, the last report and the kept weights are those of the average, and not of the last step."""
    plain, averaged = built(), built()
    trained(plain, digits)
    last = trained(averaged, digits, ema=0.5)[-1]
    assert last["error"] == error_of(averaged, digits.validation, digits)
    assert not torch.equal(plain[-1].weight, averaged[-1].weight)  # type: ignore[index]


def test_a_decay_bounds_the_window() -> None:
    """After many steps, an average with a decay forgets as fast as that says."""
    module = nn.Linear(1, 1, bias=False)
    state = AveragedState(module, decay=0.5)
    for step in range(40):
        with torch.no_grad():
            module.weight.fill_(step)
        state.update()
    state.keep()
    assert module.weight.item() == pytest.approx(38, abs=0.01)  # half of 39, a quarter of 38, …


@pytest.mark.parametrize("tune", ["head", "norms", "4,7"])
def test_only_the_tuned_weights_change(digits: Images, pretrained: nn.Module, tune: str) -> None:
    """All others stay as they were, with the statistics of layers of which nothing is tuned."""
    module = copy.deepcopy(pretrained)
    names = {id(p): name for name, p in module.named_parameters()}
    wanted = {names[id(p)] for p in tuned(module, tune)}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trained(module, digits, tune=tune)
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert wanted <= changed
    if tune == "head":
        assert changed == wanted == {"7.weight", "7.bias"}
    if tune == "norms":
        assert "0.weight" not in changed
        assert "1.running_mean" in changed


def test_unknown_layers_are_refused(pretrained: nn.Module) -> None:
    """The message lists the parts that the network has."""
    with pytest.raises(RecipeError, match=r"has no 'neck'. Its parts are 0, 1, 3, 4, 7\."):
        tuned(pretrained, "7, neck")


def test_the_head_warms_up_alone(digits: Images, pretrained: nn.Module) -> None:
    """In the first epochs only the head changes, and after them everything."""
    module = copy.deepcopy(pretrained)
    body = module[0].weight.detach().clone()  # type: ignore[index,operator]
    head = module[7].weight.detach().clone()  # type: ignore[index,operator]
    reports = Trainer(replace(SETTINGS, epochs=2, head_epochs=1)).train(module, digits)
    next(reports)
    assert torch.equal(module[0].weight, body)  # type: ignore[index]
    assert not torch.equal(module[7].weight, head)  # type: ignore[index]
    next(reports)
    assert not torch.equal(module[0].weight, body)  # type: ignore[index]


def test_a_head_that_is_not_tuned_cannot_warm_up(digits: Images, pretrained: nn.Module) -> None:
    """Nothing would be left to train in the first epochs."""
    with pytest.raises(RecipeError, match=r"training.tune '0' leaves it out\. Name the head there too"):
        trained(copy.deepcopy(pretrained), digits, tune="0", head_epochs=1)


def test_fine_tuning_starts_from_what_is_known(digits: Images, pretrained: nn.Module) -> None:
    """One epoch of fine-tuning reaches what one epoch from scratch does not."""
    fine = trained(copy.deepcopy(pretrained), digits, epochs=1, layer_decay=0.8, learning_rate=2e-3)
    scratch = trained(built(1), digits, epochs=1, learning_rate=2e-3)
    assert fine[-1]["error"] < 0.5 * scratch[-1]["error"]


def test_lower_layers_learn_more_slowly() -> None:
    """Each layer's rate is the decay times the next one's; every weight is in one group; biases do not decay."""
    module = built()
    groups = [group for group in decayed_groups(module, 0.05, 0.5) if group["params"]]
    found = [p for group in groups for p in group["params"]]
    assert {id(p) for p in found} == {id(p) for p in module.parameters()}
    assert len(found) == len(list(module.parameters()))
    assert sorted({group["lr_scale"] for group in groups}) == [0.5**n for n in (4, 3, 2, 1, 0)]
    assert all((group["weight_decay"] > 0) == (p.ndim > 1) for group in groups for p in group["params"])
    optimizer = make_optimizer(module, replace(SETTINGS, layer_decay=0.5, optimizer="sgd"))
    assert min(group["peak"] for group in optimizer.param_groups) == pytest.approx(SETTINGS.learning_rate / 16)


def test_timm_says_which_layers_belong_together() -> None:
    """A model of timm brings its own groups and head."""
    import timm

    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=3, depth=2)
    scales = {group["lr_scale"] for group in decayed_groups(model, 0.05, 0.5)}
    assert {1.0, 0.5, 0.25} <= scales
    assert head_of(model)[0].shape == (3, 192)


def test_a_teacher_is_learned_from(digits: Images, pretrained: nn.Module) -> None:
    """With all of the weight on the teacher, a student agrees with it without ever seeing a label."""
    wrong = Split(digits.train.images, np.zeros_like(digits.train.labels))
    unlabelled = replace(digits, train=wrong)
    before = copy.deepcopy(pretrained.state_dict())
    student = built(1)
    reports = trained(student, unlabelled, pretrained, epochs=4, batch_size=32, distillation_weight=1.0)
    assert reports[-1]["error"] < 0.45
    assert all(torch.equal(value, before[name]) for name, value in pretrained.state_dict().items())
    alone = trained(built(1), unlabelled, epochs=1)
    assert alone[-1]["error"] > 0.8


def test_mixed_batches_keep_their_shares() -> None:
    """A CutMix batch has the reported share of its own pixels; mixup is a blend; losses are weighted alike."""
    rng = np.random.default_rng(0)
    images = torch.arange(8.0)[:, None, None, None].expand(8, 1, 16, 16)
    for _ in range(20):
        mixed = Mixer(0.0, 1.0, rng)((images,))
        own = (mixed.inputs[0] == images).float().mean(dim=(1, 2, 3))
        others = mixed.others != torch.arange(8)
        assert own[others].tolist() == pytest.approx([mixed.kept] * int(others.sum()))
        blended = Mixer(1.0, 0.0, rng)((images,))
        expected = blended.kept * images + (1 - blended.kept) * images[blended.others]
        assert torch.allclose(blended.inputs[0], expected)
    outputs, targets = torch.randn(8, 3), torch.arange(8) % 3
    loss = mixed.loss(outputs, targets, nn.functional.cross_entropy)
    soft = mixed.kept * nn.functional.one_hot(targets, 3) + (1 - mixed.kept) * nn.functional.one_hot(
        targets[mixed.others], 3
    )
    assert loss.item() == pytest.approx(nn.functional.cross_entropy(outputs, soft.float()).item(), rel=1e-5)


def test_inputs_that_cannot_be_mixed_are_refused(digits: Images) -> None:
    """Words and categories cannot be blended, rows of a table not cut; messages name the input."""
    words = Signature((TensorType("words", (8,), "int64", (99,)),), (2,))
    rows = Signature((TensorType("row", (8,)),), (2,))
    assert (can_mix(words), can_mix(rows), can_cut(rows), can_cut(digits.signature)) == (False, True, False, True)
    table = DataSetTask(*([(torch.zeros(4), 0), (torch.ones(4), 1)] for _ in range(3)))
    with pytest.raises(RecipeError, match=r"cutmix cuts a part out of .*, but got inputs \(float32, 4\)\. Set it to 0"):
        check_settings(replace(SETTINGS, cutmix=1.0), table)
    with pytest.raises(RecipeError, match=r"augmentation_strength .* but got 0.5 for inputs \(float32, 4\)"):
        check_settings(replace(SETTINGS, augmentation_strength=0.5), table)
    with pytest.raises(RecipeError, match=r"must be one of timm's, but got 'adamwo'. Did you mean 'adamw'"):
        check_settings(replace(SETTINGS, optimizer="adamwo"), digits)
    check_settings(replace(SETTINGS, optimizer="lion", mixup=0.1, cutmix=1.0, augmentation_strength=0.3), digits)
    with pytest.raises(RecipeError, match="mixup blends inputs of float32"):
        check_settings(replace(SETTINGS, mixup=1.0), _Words())


class _Words(DataSetTask):
    """A task whose inputs are whole numbers."""

    def __init__(self) -> None:
        super().__init__(*([(torch.zeros(4), 0), (torch.ones(4), 1)] for _ in range(3)))

    @property
    def signature(self) -> Signature:
        return Signature((TensorType("words", (4,), "int64", (9,)),), (2,))


def test_random_augmentation_keeps_shape_and_type(digits: Images) -> None:
    """The generator decides; strength 0.3 changes most pictures; pictures of two channels cannot take it."""
    images = torch.from_numpy(digits.train.images[:32])
    first, again = (digits.augmented_more((images,), torch.Generator().manual_seed(3), 0.3)[0] for _ in range(2))
    assert torch.equal(first, again)
    assert (first.dtype, first.shape) == (images.dtype, images.shape)
    assert (first != images).flatten(1).any(dim=1).float().mean() > 0.5
    split = Split(np.zeros((2, 2, 8, 8), np.uint8), np.arange(2))
    assert not Images("two", split, split, split, ("a", "b")).takes_strength
    assert image_signature((2, 8, 8), 2).inputs[0].shape == (2, 8, 8)


def test_schedules_rise_and_fall() -> None:
    """Each rises to the peak within the warm-up; the cosine and the line fall to about 0; the constant stays."""
    for name, last in (("cosine", 0.0), ("linear", 0.0), ("constant", 1.0)):
        factor = factor_of(name, 0.1)
        curve = [factor(step, 100) for step in range(100)]
        assert curve[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
        assert curve[10] == 1.0
        assert all(one >= other for one, other in itertools.pairwise(curve[10:]))
        assert curve[-1] == pytest.approx(last, abs=0.02)
    assert factor_of("cosine", 0.0)(0, 10) == 1.0


def test_cpus_compute_in_fp32_unless_told() -> None:
    """On a CPU ``auto`` stays with float32."""
    cpu = torch.device("cpu")
    assert [autocast_dtype(name, cpu) for name in ("auto", "fp32", "bf16")] == [None, None, torch.bfloat16]
