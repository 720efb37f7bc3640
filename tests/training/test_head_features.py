"""Heads that are trained on features computed once, and the last stages of networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from fake_bench import FakeClock
from quick_training import SETTINGS
from torch import nn

from nas.errors import CandidateError
from nas.tasks.images.images import Images
from nas.training import trainer as trainer_module
from nas.training.head_features import head_alone
from nas.training.optimizing import tuned
from nas.training.trainer import Trainer

HEAD = replace(SETTINGS, tune="head", augment=False)
CPU = torch.device("cpu")


class Counting(nn.Sequential):
    """A network that counts the items that it has seen."""

    seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        outputs: torch.Tensor = super().forward(images)
        return outputs


@pytest.fixture(name="seeded", autouse=True)
def seeded_torch() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def network(*more: nn.Module) -> Counting:
    return Counting(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), *more, nn.Linear(128, 10))


def test_a_head_costs_one_pass_over_the_data_and_learns_the_same(
    digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights and errors are those of training without features, up to rounding."""
    first = network()
    second = network()
    second.load_state_dict(first.state_dict())
    quick = list(Trainer(replace(HEAD, epochs=3)).train(first, digits, seed=1))
    assert first.seen == len(digits.train) + len(digits.validation)
    monkeypatch.setattr(trainer_module, "head_alone", lambda *_: None)
    slow = list(Trainer(replace(HEAD, epochs=3)).train(second, digits, seed=1))
    assert second.seen > 3 * first.seen - 2 * len(digits.train)
    assert [r["loss"] for r in quick] == pytest.approx([r["loss"] for r in slow], rel=1e-3)
    for mine, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"augment": True}, {"mixup": 0.2}, {"augmentation_strength": 0.5}, {"tune": "all"}],
)
def test_features_are_not_kept_where_inputs_or_the_rest_change(digits: Images, changes: dict[str, Any]) -> None:
    assert head_alone(network(), digits, HEAD, CPU) is not None
    assert head_alone(network(), digits, replace(HEAD, **changes), CPU) is None


def test_features_are_not_kept_of_networks_that_are_random_or_do_more(digits: Images) -> None:
    """Dropout before the head, or something after it."""
    assert head_alone(network(nn.Dropout(0.5)), digits, HEAD, CPU) is None
    assert head_alone(Counting(*network(), nn.LogSoftmax(1)), digits, HEAD, CPU) is None


def test_the_pass_over_the_data_counts_as_time_of_the_training(digits: Images) -> None:
    """A large network may need longer for it than the limit."""
    trainer = Trainer(replace(HEAD, time_limit_s=0.0005), clock=FakeClock())
    with pytest.raises(CandidateError, match=r"at most .* s, but was computing the features of its head"):
        next(iter(trainer.train(network(), digits)))


def names_of(module: nn.Module, tune: str) -> set[str]:
    wanted = {id(p) for p in tuned(module, tune)}
    return {name.rpartition(".")[0] for name, p in module.named_parameters() if id(p) in wanted}


def test_the_last_stage_is_timm_s_own_with_the_head() -> None:
    """Of blocks without stages, and of layers of one's own, the last quarter."""
    found = names_of(timm.create_model("resnet10t", num_classes=2), "last")
    assert {name.partition(".")[0] for name in found} == {"layer4", "fc"}
    found = names_of(timm.create_model("test_convnext", num_classes=2), "last")
    assert {".".join(name.split(".")[:2]) for name in found} == {"stages.3", "head.norm", "head.fc"}
    blocks = names_of(timm.create_model("test_vit", num_classes=2), "last")
    assert "head" in blocks
    assert not any(name.startswith(("patch_embed", "blocks.0")) for name in blocks)
    assert names_of(network(), "last") == {"0", "1", "4"}
