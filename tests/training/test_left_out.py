"""Simple models are judged by folds over all items that a search may look at, and can be fitted to all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from quick_training import SETTINGS
from safetensors.torch import load
from torch import nn

import nas
from nas.tasks.batches import items_at
from nas.tasks.folds import folds_of
from nas.tasks.images.images import Images
from nas.training import left_out
from nas.training.modules import error_of
from nas.training.trainer import Trainer
from nas.training.training import CandidateTraining
from nas.values.evaluation import BY_FOLDS, OF_ALL

HEAD = replace(SETTINGS, tune="head", augment=False)


@pytest.fixture(name="seeded", autouse=True)
def seeded_torch() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))


@pytest.mark.slow
def test_a_head_is_judged_by_folds_as_five_trainings_would(digits: Images) -> None:
    """The same fits, one after the other by the trainer itself. Each of these chooses its strength anew."""
    start = network()
    whole = network()
    whole.load_state_dict(start.state_dict())
    (report,) = Trainer(HEAD).train(whole, digits, seed=1)
    errors = []
    for fold in folds_of(digits, left_out.FOLDS):
        module = network()
        module.load_state_dict(start.state_dict())
        (each,) = Trainer(replace(HEAD, folds=left_out.FOLDS)).train(module, fold, seed=1)
        assert BY_FOLDS not in each
        errors.append((each["error"], len(fold.validation)))
    values, counts = np.array(errors).T
    assert report[BY_FOLDS]["error"] == pytest.approx(float(values @ counts / counts.sum()), abs=0.01)
    assert report[BY_FOLDS]["standard_error"] == pytest.approx(0.006, abs=0.004)
    assert 0 < report[BY_FOLDS]["log_loss"] < 1
    assert report["error"] == pytest.approx(error_of(whole, digits.validation, digits), abs=1e-6)


@pytest.mark.slow
def test_the_model_of_all_items_knows_the_validation_items(digits: Images) -> None:
    """It has been fitted to them, so it errs on fewer than the one that was validated by them."""
    module = network()
    (report,) = Trainer(HEAD).train(module, digits, seed=1)
    validated = report["error"]
    assert set(report[OF_ALL]) == {"3.weight", "3.bias"}
    module.load_state_dict({**module.state_dict(), **report[OF_ALL]})
    assert error_of(module, digits.validation, digits) < validated
    again = network()
    again.load_state_dict({**again.state_dict(), "0.weight": module[0].weight, "0.bias": module[0].bias})
    (retrained,) = Trainer(replace(HEAD, use_validation=True)).train(again, digits, seed=1)
    assert BY_FOLDS not in retrained
    assert error_of(again, digits.test, digits) == pytest.approx(error_of(module, digits.test, digits), abs=0.01)


@pytest.mark.slow
def test_many_items_are_judged_by_those_that_validate(digits: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_out.can_leave_out(digits)
    monkeypatch.setattr(left_out, "MOST_ITEMS", 100)
    (report,) = Trainer(HEAD).train(network(), digits, seed=1)
    assert BY_FOLDS not in report
    assert OF_ALL not in report


def test_a_head_of_a_part_of_the_items_is_not_judged(digits: Images) -> None:
    (report,) = Trainer(replace(HEAD, subset=0.5)).train(network(), digits, seed=1)
    assert BY_FOLDS not in report


class Counts(nn.Module):
    """A module that fits itself: it counts the classes of all items that it has ever been fitted to, and answers so."""

    least = 0

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.counts.expand(len(images), 10) / self.counts.sum()

    def fit(self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int) -> None:
        self.counts += torch.bincount(targets, minlength=10)


def test_each_fold_has_a_module_that_was_not_fitted_yet(digits: Images) -> None:
    """The module itself has seen the training items alone, and the one of all items has seen each once."""
    module = Counts()
    (report,) = Trainer(SETTINGS).train(module, digits, seed=1)
    assert module.counts.sum() == len(digits.train)
    assert report[OF_ALL]["counts"].sum() == len(digits.train) + len(digits.validation)
    every = items_at(digits.train, slice(0, len(digits.train))).targets
    assert report[BY_FOLDS]["error"] == pytest.approx(0.9, abs=0.05), "the most frequent of ten classes"
    assert torch.equal(module.counts, torch.bincount(every, minlength=10).float())


class Space:
    """A space of one network, whose head is fitted."""

    choices = (nas.Choice("tune", ("head",), affects="training"), nas.Choice("augment", (False,), affects="training"))

    def build(self, architecture: nas.Architecture) -> nn.Module:
        return network()


@pytest.mark.slow
def test_a_job_returns_the_weights_of_the_fit_to_all_items(digits: Images) -> None:
    """With precisions to judge it returns the validated ones as well."""
    source = nas.DataSource(name="digits", task="images", options="{}")
    work = CandidateTraining(Space(), source, replace(SETTINGS, keep_weights=True))
    job = {"id": "a", "architecture": {"tune": "head", "augment": False}, "seed": 3}
    (report,) = work(job)
    assert "weights" not in report
    (both,) = work({**job, "precisions": ["int8"]})
    validated, of_all = load(both["weights"]), load(both[OF_ALL])
    assert both[OF_ALL] == report[OF_ALL]
    assert torch.equal(validated["0.weight"], of_all["0.weight"])
    assert not torch.equal(validated["3.weight"], of_all["3.weight"])
    (without,) = CandidateTraining(Space(), source, SETTINGS)(job)
    assert OF_ALL not in without
    assert without[BY_FOLDS] == report[BY_FOLDS]


class Locked(Counts):
    """A module that no copy can be made of."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Choosy(Counts):
    """A module that is fitted to the training items alone."""

    def fit(self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int) -> None:
        if len(targets) != self.least:
            raise ValueError("other items")
        super().fit(inputs, targets, seed)


@pytest.mark.parametrize(("kind", "reason"), [(Locked, "cannot pickle"), (Choosy, "other items")])
def test_what_folds_cannot_judge_is_fitted_all_the_same(digits: Images, kind: type[Counts], reason: str) -> None:
    """A note says why. Where epochs are judged by folds too, there is no other error, so it fails."""
    module = kind()
    module.least = len(digits.train)
    (report,) = Trainer(SETTINGS).train(module, digits, seed=1)
    assert BY_FOLDS not in report
    assert report["note"].startswith("folds could not judge it: ")
    assert reason in report["note"]
    with pytest.raises((TypeError, ValueError), match=reason):
        list(Trainer(replace(SETTINGS, folds=3)).train(module, digits, seed=1))


@pytest.mark.slow
def test_wide_features_of_many_items_are_not_decomposed_again(digits: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_out, "MOST_WORK", 1000)
    (report,) = Trainer(HEAD).train(network(), digits, seed=1)
    assert BY_FOLDS in report, "there are more items than features"
    wide = nn.Sequential(nn.Conv2d(1, 128, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10))
    (report,) = Trainer(HEAD).train(wide, digits, seed=1)
    assert BY_FOLDS not in report


def test_where_epochs_are_judged_by_folds_so_is_a_simple_model(digits: Images) -> None:
    """It is fitted once more for each fold, and to all items, and its errors are those that folds find."""
    (report,) = Trainer(replace(SETTINGS, folds=3)).train(Counts(), digits, seed=1)
    assert report["error"] == report[BY_FOLDS]["error"]
    assert report["log_loss"] == report[BY_FOLDS]["log_loss"]


class OwnTally:
    """A tally of a user's own, whose ``scores`` takes no groups."""

    error = chance_error = 0.5

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Count nothing."""

    def scores(self) -> dict[str, nas.Score]:
        return {"error": nas.Score(0.5, 0.4, 0.6)}


def test_folds_by_groups_take_a_tally_that_knows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is that of each item alone, in the place of a TypeError."""
    rng = np.random.default_rng(0)
    windows, labels = rng.normal(size=(60, 1, 32)), np.arange(60) // 3 % 2
    data = nas.Signals.from_arrays(windows, labels, groups=np.arange(60) // 3)
    monkeypatch.setattr(nas.Classification, "tally", lambda self: OwnTally())
    judged = left_out.judged_own_fit(Counts, data, torch.device("cpu"), 0, lambda: None, folds=3)
    assert judged.by_folds["error"] == 0.5


class OwnSpace(Space):
    """A space of one module that fits itself."""

    def build(self, architecture: nas.Architecture) -> nn.Module:
        return Counts()


@pytest.mark.slow
def test_in_folds_the_weights_of_a_simple_model_alone_are_kept(digits: Images) -> None:
    """Networks of folds are several; none of them is a winner's."""
    source = nas.DataSource(name="digits", task="images", options="{}")
    settings = replace(SETTINGS, keep_weights=True, folds=3)
    job = {"id": "a", "architecture": {"tune": "head", "augment": False}, "seed": 3}
    (own,) = CandidateTraining(OwnSpace(), source, settings)(job)
    assert load(own[OF_ALL])["counts"].sum() == len(digits.train) + len(digits.validation)
    (head,) = CandidateTraining(Space(), source, settings)(job)
    assert "weights" not in head
    assert OF_ALL not in head
    assert head[BY_FOLDS]["error"] == head["error"]
    assert head[BY_FOLDS]["standard_error"] > 0
