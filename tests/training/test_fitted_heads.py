"""Heads that are fitted in one pass over the items, modules that fit themselves, and the last stages of networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import timm
import torch
from fake_bench import FakeClock
from quick_training import SETTINGS
from torch import nn

import nas
from nas.errors import CandidateError
from nas.space.parts.own_fit import fits_itself
from nas.tasks.images.images import Images
from nas.training import trainer as trainer_module
from nas.training.fitted_heads import can_fit_head, is_head_alone
from nas.training.optimizing import tuned
from nas.training.regressions import NOT_CONVERGED
from nas.training.settings import TrainingSettings
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


@pytest.mark.slow
def test_a_head_costs_one_pass_over_the_data_and_beats_steps(digits: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same head, tuned by steps from where it begins at random, has a larger error after more passes."""
    first, second = network(), network()
    second.load_state_dict(first.state_dict())
    (report,) = Trainer(replace(HEAD, epochs=3)).train(first, digits, seed=1)
    assert first.seen == len(digits.train) + 2 * len(digits.validation)  # once for folds, once for its own error
    assert report["epoch"] == 3
    monkeypatch.setattr(trainer_module, "is_head_alone", lambda _: False)
    slow = list(Trainer(replace(HEAD, epochs=3)).train(second, digits, seed=1))
    assert second.seen > 2 * first.seen
    assert report["error"] < slow[-1]["error"]
    before = dict(network().named_parameters())
    assert all(p.shape == before[name].shape for name, p in first.named_parameters())


def test_a_head_is_fitted_to_whole_photos() -> None:
    """Features are computed once, so they are those of pictures as they are, also before all weights are tuned."""
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 40, 40), dtype=np.uint8)
    cut = Images.from_arrays(images, np.arange(40) % 2, classes=("cat", "dog"), random_parts=True)
    whole = Images.from_arrays(images, np.arange(40) % 2, classes=("cat", "dog"))

    def fitted(task: Images, settings: TrainingSettings) -> torch.Tensor:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2))
        for _ in Trainer(settings).train(module, task, seed=1):
            pass
        return cast(nn.Linear, module[-1]).weight.detach()

    assert torch.equal(fitted(cut, HEAD), fitted(whole, HEAD))
    deep = replace(SETTINGS, fit_head=True, augment=True, epochs=1)
    assert not torch.equal(fitted(cut, deep), fitted(whole, deep)), "steps see parts"
    still = replace(deep, learning_rate=1e-12)
    torch.testing.assert_close(fitted(cut, still), fitted(whole, still))


def test_only_the_head_changes(digits: Images) -> None:
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    list(Trainer(HEAD).train(module, digits))
    changed = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"4.weight", "4.bias"}


@pytest.mark.parametrize(
    "changes",
    [{"augment": True}, {"mixup": 0.2}, {"augmentation_strength": 0.5}, {"tune": "all"}],
)
def test_a_head_is_tuned_by_steps_where_inputs_or_the_rest_change(digits: Images, changes: dict[str, Any]) -> None:
    assert is_head_alone(HEAD)
    assert not is_head_alone(replace(HEAD, **changes))
    settings = replace(HEAD, epochs=2, **changes)
    assert len(list(Trainer(settings).train(network(), digits))) == 2


def test_a_head_with_something_behind_it_is_tuned_by_steps(digits: Images) -> None:
    reports = list(Trainer(replace(HEAD, epochs=2)).train(Counting(*network(), nn.LogSoftmax(1)), digits))
    assert [report["epoch"] for report in reports] == [1, 2]


def test_a_head_that_is_not_the_last_layer_is_tuned_by_steps(digits: Images) -> None:
    """In its class it comes before another layer."""

    class HeadFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.body = nn.Linear(16, 10), nn.Linear(64, 16)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.head(self.body(images.flatten(1)).relu())
            return outputs

    assert not can_fit_head(HeadFirst(), digits)
    reports = list(Trainer(replace(SETTINGS, epochs=2, fit_head=True)).train(HeadFirst(), digits))
    assert len(reports) == 2


def test_a_teacher_is_learned_from_by_steps(digits: Images) -> None:
    reports = list(Trainer(replace(HEAD, epochs=2), teacher=network()).train(network(), digits))
    assert [report["epoch"] for report in reports] == [1, 2]


@pytest.mark.slow
def test_all_weights_are_tuned_from_a_fitted_head(digits: Images) -> None:
    """The first epoch begins where the head is right already."""
    errors = {}
    for fits in (True, False):
        torch.manual_seed(0)
        settings = replace(SETTINGS, epochs=1, learning_rate=1e-5, fit_head=fits, augment=False)
        (report,) = Trainer(settings).train(network(), digits)
        errors[fits] = report["error"]
    assert errors[True] < 0.5 < errors[False]


def test_statistics_stay_where_a_head_was_fitted(digits: Images) -> None:
    """The head was fitted for them; the weights of the normalisation change as others do."""
    for fits in (True, False):
        module = network()
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        list(Trainer(replace(SETTINGS, epochs=1, fit_head=fits)).train(module, digits))
        after = module.state_dict()
        assert torch.equal(after["1.running_mean"], before["1.running_mean"]) == fits
        assert not torch.equal(after["1.weight"], before["1.weight"])


def test_a_head_that_cannot_be_fitted_is_trained_with_the_rest(digits: Images) -> None:
    """Then normalisations follow the data. Some of many pretrained models have other heads."""
    module = Counting(*network(), nn.LogSoftmax(1))
    before = module[1].running_mean.clone()
    reports = list(Trainer(replace(SETTINGS, epochs=2, fit_head=True)).train(module, digits))
    assert len(reports) == 2
    assert not torch.equal(module[1].running_mean, before)


def test_features_that_are_not_finite_fail_with_their_reason(digits: Images) -> None:
    module = network()
    with torch.no_grad():
        module[0].weight.fill_(float("nan"))
    with pytest.raises(CandidateError, match="the features that a head is fitted to must be finite") as found:
        list(Trainer(HEAD).train(module, digits))
    assert found.value.kind == "nan"


def test_a_method_fit_of_other_arguments_is_something_else(digits: Images) -> None:
    class Own(Counting):
        def fit(self, batch: torch.Tensor) -> None:
            raise AssertionError("nobody calls it")

    assert len(list(Trainer(replace(SETTINGS, epochs=2)).train(Own(*network()), digits))) == 2


def test_fitting_itself_counts_as_time_of_the_training(digits: Images) -> None:
    trainer = Trainer(replace(SETTINGS, time_limit_s=0.0005), clock=FakeClock())
    with pytest.raises(CandidateError, match=r"at most .* s, but was being fitted"):
        list(trainer.train(Means(64, 10), digits))


def test_the_pass_over_the_data_counts_as_time_of_the_training(digits: Images) -> None:
    """A large network may need longer for it than the limit."""
    trainer = Trainer(replace(HEAD, time_limit_s=0.0005), clock=FakeClock())
    with pytest.raises(CandidateError, match=r"at most .* s, but was being fitted"):
        next(iter(trainer.train(network(), digits)))


class Means(nn.Module):
    """A module that fits itself: the class whose mean item is nearest."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, features))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -torch.cdist(images.flatten(1), self.means)

    def fit(self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int) -> None:
        flat = inputs[0].flatten(1)
        self.means.copy_(torch.stack([flat[targets == label].mean(dim=0) for label in range(len(self.means))]))


def test_a_module_may_fit_itself(digits: Images) -> None:
    """It is fitted once, whatever the epochs, and needs no weights that take gradients."""
    module = Means(64, 10)
    assert isinstance(module, nas.FitsItself)
    (report,) = Trainer(replace(SETTINGS, epochs=5)).train(module, digits)
    assert report["epoch"] == 5
    assert report["error"] < 0.2


@pytest.mark.parametrize(("share", "seen"), [(None, 0.2), (1.5, 1.0), (0.5, 0.5)])
def test_a_module_may_say_to_how_many_items_it_is_fitted(
    digits: Images, share: float | None, seen: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it sees so many, or all, in the place of the share that candidates of epochs see."""
    counts: list[int] = []
    monkeypatch.setattr(Means, "fit", lambda _, inputs, targets, seed: counts.append(len(targets)))
    module = Means(64, 10)
    if share is not None:
        module.most_items = int(share * len(digits.train))
    (report,) = Trainer(replace(SETTINGS, subset=0.2)).train(module, digits)
    assert report["subset"] == pytest.approx(seen, rel=0.01)
    assert counts[0] == pytest.approx(seen * len(digits.train), rel=0.02)
    assert len(counts) == (7 if seen == 1 else 1), "folds and a fit to all items only where all are seen"
    module.most_items = 2.5
    with pytest.raises(CandidateError, match=r"most_items .* must be a whole number of at least 1, but got 2\.5"):
        list(Trainer(SETTINGS).train(module, digits))


@pytest.mark.parametrize(
    ("fit", "named"),
    [
        (lambda self, x, y, seed: None, r"\(x, y, seed\)"),
        (lambda self, inputs, targets, epochs=3: None, r"\(inputs, targets, epochs\)"),
    ],
)
def test_a_fit_with_other_names_is_refused(digits: Images, fit: object, named: str) -> None:
    """Its module would be trained by gradient steps without a word."""
    module = type("Other", (nn.Linear,), {"fit": fit})(64, 10)
    with pytest.raises(CandidateError, match=rf"takes \(inputs, targets, seed\), but that of Other takes {named}"):
        next(Trainer(SETTINGS).train(module, digits))


@pytest.mark.parametrize("fit", [lambda self, loader: None, lambda self, x, y, epochs=3: None, lambda self, *given: 0])
def test_another_method_fit_leaves_a_module_to_gradient_steps(fit: object) -> None:
    """Such as a loop of the user's own."""
    assert not fits_itself(type("Other", (nn.Linear,), {"fit": fit})(64, 10))


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


@pytest.mark.slow
def test_a_head_that_does_not_converge_says_so(digits: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still a candidate."""
    (sound,) = Trainer(HEAD).train(network(), digits, seed=1)
    monkeypatch.setattr("nas.training.regressions.MOST_STEPS", 1)
    (report,) = Trainer(HEAD).train(network(), digits, seed=1)
    assert "note" not in sound
    assert report["note"] == NOT_CONVERGED
    assert report["fitted"]
