"""The supernet learns, is reproducible, continues exactly from a checkpoint, and explains its failures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from quick_training import DIGITS, SETTINGS
from safetensors.torch import load
from sharing_space import SharingSpace, TinySupernet
from torch import nn

from nas.errors import CandidateError
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import ends
from nas.training.supernet import SharedEvaluation, SharedWeights
from nas.training.supernet_training import SupernetTraining
from nas.training.training import CandidateTraining

QUICK = replace(SETTINGS, subset=0.2)
"""Three batches an epoch."""


class ChannelsLast(SharingSpace):
    """A space whose shared weights lie in memory as fast parents' do."""

    def supernet(self) -> TinySupernet:
        return super().supernet().to(memory_format=torch.channels_last)


def train(
    seed: int = 0,
    per_step: int = 4,
    checkpoint: bytes | None = None,
    space: SharingSpace | None = None,
    **changes: Any,
) -> list[dict[str, Any]]:
    clock = itertools.count(0, 100)  # each call adds 100 s, enough for a checkpoint
    settings = replace(QUICK, **{"time_limit_s": 1e9, **changes})
    space = space or SharingSpace()
    task = SupernetTraining(space, DIGITS, settings, per_step, checkpoint, lambda: float(next(clock)))
    return list(task({"id": "supernet", "seed": seed}))


@pytest.fixture(name="shared", scope="module")
def trained_weights() -> SharedWeights:
    """The weights after 30 epochs."""
    return SharedWeights(SharingSpace(), train(epochs=30, subset=1.0)[-1]["weights"])


@pytest.mark.slow
def test_all_sizes_learn(shared: SharedWeights) -> None:
    """The smallest and the largest architecture learn most digits with the weights that they share."""
    task = SharedEvaluation(SharingSpace(), DIGITS, shared, 512, "cpu", 1)
    errors = [next(task({"architecture": dict(a), "seed": 0}))["error"] for a in ends(SharingSpace())]
    assert errors[0] < 0.3
    assert errors[1] < 0.1


def test_the_seed_decides_the_weights() -> None:
    """The same seed gives the same weights to the last bit, another seed others."""
    first, same, other = (train(seed)[-1]["weights"] for seed in (1, 1, 2))
    assert first == same != other


@pytest.mark.parametrize("space", [SharingSpace(), ChannelsLast()], ids=["usual", "channels last"])
def test_a_training_continues_exactly_from_a_checkpoint(space: SharingSpace) -> None:
    """The weights are equal to the last bit, and the seconds before the checkpoint count."""
    whole = train(epochs=4, space=space)
    assert ["checkpoint" in report for report in whole] == [True, True, True, False]
    rest = train(epochs=4, checkpoint=whole[1]["checkpoint"], space=space)
    assert [report["epoch"] for report in rest] == [3, 4]
    assert rest[-1]["weights"] == whole[-1]["weights"]
    assert rest[0]["seconds"] > whole[1]["seconds"]
    with pytest.raises(CandidateError, match="must take at most"):  # the time before the checkpoint counts too
        train(epochs=4, checkpoint=whole[1]["checkpoint"], time_limit_s=whole[1]["seconds"] + 50)
    assert load(whole[-1]["weights"]).keys() == dict(TinySupernet().named_parameters()).keys()


def test_a_continued_training_keeps_the_epochs_that_were_planned() -> None:
    """A search in a time plans them by how long they take, and may find another number after a stop."""
    whole = train(epochs=4)
    rest = train(epochs=9, checkpoint=whole[1]["checkpoint"])
    assert [report["epoch"] for report in rest] == [3, 4]
    assert rest[-1]["weights"] == whole[-1]["weights"]


def test_a_slow_first_epoch_leaves_fewer_epochs() -> None:
    """As many as fit, one at least, and a training that goes on keeps them."""

    def work(most_s: float, checkpoint: bytes | None = None) -> SupernetTraining:
        clock = itertools.count(0, 100)
        settings = replace(QUICK, time_limit_s=1e9, epochs=9)
        return SupernetTraining(
            SharingSpace(), DIGITS, settings, 4, checkpoint, lambda: float(next(clock)), most_s=most_s
        )

    def trained(most_s: float, checkpoint: bytes | None = None) -> list[dict[str, Any]]:
        return list(work(most_s, checkpoint)({"id": "supernet", "seed": 0}))

    first_s = trained(1e9)[0]["seconds"]
    assert len(trained(9 * first_s)) == 9
    few = trained(3.5 * first_s)
    assert [report.get("epochs") for report in few] == [3, None, None]
    assert [report.get("done", False) for report in few] == [False, False, True]
    assert [report["epoch"] for report in trained(1.0, few[0]["checkpoint"])] == [2, 3]
    assert (work(1.0).epochs_left, work(1.0, few[0]["checkpoint"]).epochs_left) == (9, 2)
    (only,) = trained(1.0)
    assert (only["epochs"], only["done"]) == (1, True)


def test_the_largest_and_the_smallest_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building takes longer than a step of a small network."""
    built: list[Architecture] = []
    build = SharingSpace.build

    def counting(space: SharingSpace, architecture: Architecture) -> nn.Module:
        built.append(architecture)
        return build(space, architecture)

    monkeypatch.setattr(SharingSpace, "build", counting)
    train(epochs=2, per_step=2)
    assert [built.count(each) for each in ends(SharingSpace())] == [1, 1]


@pytest.fixture(name="seen")
def architectures_that_take_shared_weights(monkeypatch: pytest.MonkeyPatch) -> list[Architecture]:
    """The list of architectures that receive shared weights, in the order of use."""
    seen: list[Architecture] = []
    weights = TinySupernet.weights

    def spied(supernet: TinySupernet, architecture: Architecture) -> dict[str, torch.Tensor]:
        seen.append(architecture)
        return weights(supernet, architecture)

    monkeypatch.setattr(TinySupernet, "weights", spied)
    return seen


def test_each_step_trains_the_largest_the_smallest_and_random_ones(seen: list[Architecture]) -> None:
    """The sandwich rule: the largest comes first, because it teaches the others."""
    smallest, largest = ends(SharingSpace())
    train(epochs=1, per_step=5)
    steps = [seen[start : start + 5] for start in range(0, len(seen), 5)]
    assert len(steps) == 3
    assert all(step[:2] == [largest, smallest] for step in steps)
    assert len({architecture for step in steps for architecture in step[2:]}) > 3


def test_every_kind_is_in_both_ends(seen: list[Architecture]) -> None:
    """Every kind appears in the largest, which alone is trained on labels, and in the smallest."""

    class Kinds(SharingSpace):
        choices = (*SharingSpace.choices, Choice("first", ("plain", "other")), Choice("second", ("plain", "other")))

    list(SupernetTraining(Kinds(), DIGITS, replace(QUICK, epochs=6), 2)({"id": "supernet", "seed": 0}))
    for end, of_numbers in zip((seen[1::2], seen[::2]), ends(SharingSpace()), strict=True):
        assert {(each["first"], each["second"]) for each in end} == set(itertools.product(("plain", "other"), repeat=2))
        assert all(each[name] == option for each in end for name, option in of_numbers.items())


@pytest.mark.parametrize("when", ["build", "forward", "after"])
def test_incompatible_kinds_are_replaced_in_an_end(when: str) -> None:
    """The architectures of all first and of all last options replace them."""

    class Apart(SharingSpace):
        choices = (*SharingSpace.choices, Choice("first", ("plain", "other")), Choice("second", ("plain", "other")))

        def build(self, architecture: Architecture) -> nn.Module:
            module = super().build(architecture)
            if architecture["first"] != architecture["second"]:
                if when == "build":
                    raise RuntimeError("they do not go together")
                if when == "forward":
                    module.register_forward_pre_hook(refuse)
                else:
                    module.register_forward_hook(lambda module, inputs, outputs: outputs[:, 1:])
            return module

    def refuse(module: nn.Module, inputs: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    *_, last = SupernetTraining(Apart(), DIGITS, QUICK, 2)({"id": "supernet", "seed": 0})
    assert last["done"]


def test_random_ones_that_cannot_be_built_are_left_out() -> None:
    """Random architectures may fail to build; the largest and the smallest may not."""

    class Gaps(SharingSpace):
        impossible = 1

        def build(self, architecture: Architecture) -> nn.Module:
            if architecture["depth"] == self.impossible:
                raise RuntimeError("no such depth")
            return super().build(architecture)

    def trained(space: SharingSpace) -> dict[str, Any]:
        *_, last = SupernetTraining(space, DIGITS, QUICK, 4)({"id": "supernet", "seed": 0})
        return last

    assert trained(Gaps())["done"]
    gaps = Gaps()
    gaps.impossible = 0
    with pytest.raises(CandidateError, match="no such depth"):
        trained(gaps)


def test_only_the_largest_sees_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are trained on its outputs, which are probabilities without a gradient."""
    targets: list[torch.Tensor] = []
    plain = torch.nn.functional.cross_entropy

    def spied(logits: torch.Tensor, target: torch.Tensor, **options: Any) -> torch.Tensor:
        targets.append(target)
        return plain(logits, target, **options)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", spied)
    train(epochs=1, per_step=3)
    assert [target.ndim for target in targets] == [1, 2, 2] * 3
    for target in targets:
        if target.ndim == 2:
            assert not target.requires_grad
            assert target.sum(dim=1) == pytest.approx(torch.ones(len(target)), abs=1e-5)


def test_a_nan_loss_ends_the_training() -> None:
    """The message says where the loss became NaN, and suggests a lower learning rate."""
    with pytest.raises(CandidateError, match=r"must be finite, but one was nan in epoch 1.*lower training.learn") as e:
        train(epochs=3, learning_rate=1e30)
    assert e.value.kind == "nan"


def test_the_time_limit_ends_the_training() -> None:
    """The time is checked after every step."""
    with pytest.raises(CandidateError, match=r"must take at most 250 s, but was in epoch 1 of 2\.") as caught:
        train(time_limit_s=250)
    assert caught.value.kind == "timeout"


@pytest.fixture(name="threads")
def with_three_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_the_process_is_restored(threads: int) -> None:
    """Training restores the random state and the number of threads."""
    DIGITS.load()
    before = torch.get_rng_state()
    train(epochs=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_a_training_can_start_from_shared_weights(shared: SharedWeights) -> None:
    """After almost no steps it is good; from scratch it is not."""
    settings = replace(SETTINGS, epochs=1, learning_rate=1e-4)
    job = {"architecture": dict(ends(SharingSpace())[1]), "seed": 0}
    errors = [
        next(CandidateTraining(SharingSpace(), DIGITS, settings, start=start)(job))["error"] for start in (None, shared)
    ]
    assert errors[1] < 0.2 < errors[0]
