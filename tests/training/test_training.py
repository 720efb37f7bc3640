"""Training learns, is reproducible, explains its failures, and leaves the process unchanged."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from quick_training import DIGITS, SETTINGS
from safetensors.torch import load
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.recipe.recipe import Recipe
from nas.space.architecture import Architecture
from nas.space.torch_settings import torch_with
from nas.tasks.folds import folds_of
from nas.tasks.images.images import Images
from nas.training.averaging import AveragedState
from nas.training.modules import error_of
from nas.training.settings import further_seed, retraining_settings, training_settings
from nas.training.trainer import Trainer
from nas.training.training import CandidateTraining

SMALL = {"width": 8, "depth": 1, "kernel": 3}


class OneModule(TinySpace):
    """A space that builds a module of the given class for every architecture."""

    def __init__(self, maker: type[nn.Module]) -> None:
        self._maker = maker

    def build(self, architecture: Architecture) -> nn.Module:
        return self._maker()


class Spy(nn.Module):
    """A module that records the size of each batch, and whether it is in training mode."""

    seen: list[tuple[int, bool]]

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)
        Spy.seen = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Spy.seen.append((len(images), self.training))
        return self.head(images.flatten(1))


class Bad(nn.Module):
    """A module whose logits are NaN from the third batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.batches = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches += self.training
        return self.head(images.flatten(1)) * (float("nan") if self.batches == 3 else 1.0)


class Tied(nn.Module):
    """A module with two layers that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64, bias=False)
        self.second = nn.Linear(64, 64, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(images.flatten(1)).relu()).relu())


class Volume(nn.Module):
    """A module whose convolution also runs over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv3d(1, 4, (1, 3, 3), padding=(0, 1, 1))
        self.head = nn.Linear(4 * 64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images[:, None]).relu().flatten(1))


def job_of(values: Mapping[str, Any] = SMALL, seed: int = 0) -> dict[str, Any]:
    return {"id": "a", "architecture": dict(values), "seed": seed}


def train(space: TinySpace | None = None, seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    task = CandidateTraining(space or TinySpace(), DIGITS, replace(SETTINGS, **changes))
    return list(task(job_of(seed=seed)))


def curve(reports: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(report["loss"], report["error"]) for report in reports]


def test_digits_are_learnt_in_seconds() -> None:
    """A net of a few thousand weights has less than 10 % validation error after eight epochs."""
    reports = train(epochs=8, batch_size=32)
    assert [report["epoch"] for report in reports] == list(range(1, 9))
    assert [report.get("done", False) for report in reports] == [False] * 7 + [True]
    assert reports[-1]["error"] < 0.1
    assert reports[-1]["loss"] < reports[0]["loss"]
    assert all(one["seconds"] < other["seconds"] for one, other in itertools.pairwise(reports))


def test_the_seed_decides_the_curve() -> None:
    """The same seed gives the same losses and errors to the last bit, another seed others."""
    assert curve(train(seed=1)) == curve(train(seed=1)) != curve(train(seed=2))


@pytest.mark.parametrize(("subset", "batch_size", "sizes"), [(1.0, 64, {64}), (0.5, 1000, None), (0.1, 32, {32})])
def test_only_full_batches_of_the_share_are_used(
    digits: Images, subset: float, batch_size: int, sizes: set[int] | None
) -> None:
    """A batch is at most as large as the number of images, so every training takes a step."""
    reports = train(OneModule(Spy), subset=subset, batch_size=batch_size)
    batches = [size for size, training in Spy.seen if training]
    images = len(digits.part(subset))
    assert set(batches) == (sizes or {images})
    assert len(batches) == SETTINGS.epochs * (images // min(batch_size, images))
    assert sum(size for size, training in Spy.seen if not training) == SETTINGS.epochs * len(digits.validation)
    assert len(reports) == SETTINGS.epochs


def test_epochs_can_see_growing_shares(digits: Images) -> None:
    """Each epoch uses and reports its own share; the learning rate decays over the actual number of steps."""
    reports = train(OneModule(Spy), subset=0.5, epochs=3, subsets=(0.01, 0.25, 0.5))
    assert [report["subset"] for report in reports] == [0.01, 0.25, 0.5]
    batches = [size for size, training in Spy.seen if training]
    few, quarter, half = (len(digits.part(share)) for share in (0.01, 0.25, 0.5))
    assert batches == [few] + [64] * (quarter // 64 + half // 64)
    assert [report["subset"] for report in train(OneModule(Spy), subset=0.5)] == [0.5, 0.5]


def test_there_is_a_share_for_each_epoch() -> None:
    """A list of another length raises ValueError."""
    with pytest.raises(ValueError, match=r"subsets must hold one share for each of 2 epochs, but got \(0.5,\)"):
        replace(SETTINGS, subsets=(0.5,))


def test_folds_report_the_means_of_trainings_that_leave_out_other_items(digits: Images) -> None:
    """Each of them learns as a training of its own would, from its own weights and by its own seed."""
    settings = replace(SETTINGS, epochs=2, subset=0.2, folds=3)
    work = CandidateTraining(TinySpace(), DIGITS, settings)
    reports = list(work({"architecture": SMALL, "seed": 4}))
    with torch_with(1, 4):
        modules = [TinySpace().build(Architecture(SMALL)) for _ in range(3)]
    alone = [
        list(Trainer(settings).train(module, fold, further_seed(4, number)))
        for number, (module, fold) in enumerate(zip(modules, folds_of(digits, 3), strict=True))
    ]
    assert [report["epoch"] for report in reports] == [1, 2]
    assert [report["subset"] for report in reports] == [0.2, 0.2]
    assert reports[-1]["done"]
    for report, parts in zip(reports, zip(*alone, strict=True), strict=True):
        assert len({part["error"] for part in parts}) > 1
        for name in ("error", "log_loss", "loss"):
            assert report[name] == pytest.approx(np.mean([part[name] for part in parts]), rel=0.01)


def test_winners_are_trained_once_on_everything() -> None:
    recipe = Recipe(training={"folds": 4})
    assert training_settings(recipe).folds == 4
    assert retraining_settings(recipe).folds == 1


def test_weights_and_statistics_are_averaged() -> None:
    """Later steps count more, and the trained weights do not change."""
    module = nn.BatchNorm1d(2)
    state = AveragedState(module)
    seen = []
    for step in range(1, 4):
        with torch.no_grad():
            module.weight.fill_(step)
            module.running_mean.fill_(-step)  # type: ignore[union-attr,operator]
        state.update()
        with state.swapped_in():
            seen.append((module.weight[0].item(), module.running_mean[0].item()))  # type: ignore[index]
        assert module.weight[0].item() == step
        assert module.running_mean[0].item() == -step  # type: ignore[index]
    second = 1 + 7 / 8
    third = second + (3 - second) * 7 / 9
    assert seen == [pytest.approx((mean, -mean)) for mean in (1, second, third)]


def test_the_average_restores_the_module() -> None:
    """The module is restored even if scoring the average raises."""
    module = nn.Linear(2, 1)
    state = AveragedState(module)
    state.update()
    with torch.no_grad():
        module.weight.fill_(5.0)

    def score() -> None:
        with state.swapped_in():
            assert module.weight[0, 0].item() != 5.0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        score()
    assert module.weight[0, 0].item() == 5.0


@pytest.mark.slow
def test_the_validation_images_can_be_trained_on(digits: Images) -> None:
    """Then no report has an error, because it would be measured on training images."""
    reports = train(OneModule(Spy), use_validation=True, batch_size=1)
    assert all("error" not in report and report["loss"] > 0 for report in reports)
    assert reports[-1]["done"]
    assert Spy.seen == [(1, True)] * SETTINGS.epochs * (len(digits.train) + len(digits.validation))


def test_a_nan_loss_ends_the_training() -> None:
    """The message says where the loss became NaN, and suggests a lower learning rate."""
    message = r"must be finite, but was nan in epoch 1, batch 3 of \d+; a lower training.learning_rate than 0.01 may h"
    with pytest.raises(CandidateError, match=message) as caught:
        train(OneModule(Bad))
    assert caught.value.kind == "nan"


def test_the_time_limit_ends_the_training() -> None:
    """The given clock is checked after every batch; earlier reports remain."""
    ticks = itertools.count()
    task = CandidateTraining(TinySpace(), DIGITS, replace(SETTINGS, epochs=9, time_limit_s=40), lambda: next(ticks))
    reports = task(job_of())
    assert [next(reports)["epoch"], next(reports)["epoch"]] == [1, 2]
    with pytest.raises(CandidateError, match=r"must take at most 40 s, but was in epoch 3 of 9\.") as caught:
        next(reports)
    assert caught.value.kind == "timeout"


def test_a_failed_build_is_a_failure() -> None:
    """The kind is build, and the message names the exception."""
    with pytest.raises(CandidateError, match="build raised KeyError: 'kernel'") as caught:
        list(CandidateTraining(_NeedsKernel(), DIGITS, SETTINGS)(job_of({"width": 4, "depth": 0})))
    assert caught.value.kind == "build"


def test_a_network_without_weights_is_a_failure() -> None:
    """There is nothing to train, which its row says."""
    with pytest.raises(CandidateError, match="build must return a module with weights to train, but none of its") as f:
        train(OneModule(nn.Flatten))
    assert f.value.kind == "build"


class _NeedsKernel(TinySpace):
    def build(self, architecture: Architecture) -> nn.Module:
        return super().build(Architecture({**architecture, "kernel": architecture["kernel"]}))


@pytest.fixture(name="three_threads")
def with_three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def global_random_states() -> list[str]:
    numpy_state = np.random.get_state()  # noqa: NPY002 (checks that nobody changes it)
    return [str(torch.get_rng_state().tolist()), str(numpy_state[1].tolist()), str(random.getstate())]


@pytest.mark.parametrize("ending", ["stopped", "done", "failed"])
@pytest.mark.usefixtures("three_threads")
def test_the_process_is_restored(ending: str) -> None:
    """A training restores the global random states and the number of threads, however it ends."""
    DIGITS.load()  # its first call imports a library that draws a random number
    before = global_random_states()
    space = OneModule(Bad) if ending == "failed" else TinySpace()
    reports = CandidateTraining(space, DIGITS, SETTINGS)(job_of())
    if ending == "failed":
        with pytest.raises(CandidateError):
            next(reports)
    elif ending == "stopped":
        next(reports)
        reports.close()  # type: ignore[attr-defined]
    else:
        assert list(reports)[-1]["done"]
    assert global_random_states() == before
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("maker", [None, Tied, Volume])
def test_kept_weights_give_the_same_model_back(digits: Images, maker: type[nn.Module] | None) -> None:
    """A new module with the weights has the reported error, even if layers share weights."""
    space = TinySpace() if maker is None else OneModule(maker)
    *earlier, last = train(space, keep_weights=True)
    assert not any("weights" in report for report in earlier)
    module = space.build(Architecture(SMALL))
    assert error_of(module, digits.validation, digits) != last["error"]
    module.load_state_dict(load(last["weights"]))
    assert error_of(module, digits.validation, digits) == last["error"]


def test_error_of_counts_wrong_answers(digits: Images) -> None:
    """A module that always answers 3 is wrong about most digits, and is left in eval mode."""

    class Three(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.one_hot(torch.full((len(images),), 3), 10).float()

    assert error_of(Three(), digits.train, digits) == np.mean(digits.train.labels != 3)


def test_inputs_are_normalised(digits: Images) -> None:
    """Over the training images, inputs have mean 0 and standard deviation 1 in each channel."""
    seen = digits.prepared((torch.from_numpy(digits.train.images),))[0]
    assert seen.dtype == np.float32
    assert seen.shape == digits.train.images.shape
    assert seen.mean() == pytest.approx(0, abs=1e-4)
    assert seen.std() == pytest.approx(1, abs=1e-4)
