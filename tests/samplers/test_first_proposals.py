"""The first proposals: a family that is scaled with its costs in mind, and those of it that are best together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
import pytest
from made_up_search import CELLS, CLASSES, SHAPE, cost, costs
from space_signatures import signatures_for

from nas.searching.proposer import Beforehand, Proposer, Told
from nas.searching.screening import Verdict
from nas.space.architecture import Architecture, Choice
from nas.space.description import Describer
from nas.space.layer import Layer, total_macs
from nas.space.search_space import load_space, sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from predictors.samplers.first_proposals import best_together, errors_by_size, scaled_family, sizes_of
from predictors.samplers.surrogate_sampler import FIRST

LOSSES = np.array([[0.0, 9.0], [1.0, 1.0], [2.0, 0.5], [4.0, 0.0], [4.0, 9.0], [1.1, 1.1]])
NOTHING, ENDS = LOSSES[:0], (1, 0)
SPACES = ("mobilenet", "conv1d", "mlp", "gpt")


class Operations:
    """Layers of a shared width, each with an operation; ``useless`` changes nothing."""

    choices = (
        Choice("op0", ("pool", "conv3", "skip", "conv1")),
        Choice("op1", ("pool", "conv3", "skip", "conv1")),
        Choice("width", (8, 16, 32)),
        Choice("useless", ("first", "second")),
        Choice("learning_rate", (0.1, 0.2, 0.4), affects="training"),
    )

    def build(self, architecture: Architecture) -> None:
        raise AssertionError("proposals build no network")

    def layers(self, architecture: Architecture) -> list[Layer]:
        shape = (int(architecture["width"]), 8, 8)
        macs = {"pool": 0, "conv3": 9, "skip": 0, "conv1": 1}
        each = [macs[str(architecture[name])] * shape[0] ** 2 * 64 for name in ("op0", "op1")]
        stem = Layer("conv", (1, 8, 8), shape, 9 * shape[0] * 64, 9 * shape[0])
        return [stem, *(Layer("conv" if count else "pool", shape, shape, count, count // 64) for count in each)]


def cost_of_operations(architecture: Architecture) -> float:
    each = {"pool": 4.0, "conv3": 9.0, "skip": 1.0, "conv1": 2.0}
    return float(architecture["width"]) * sum(each[str(architecture[name])] for name in ("op0", "op1"))


def drawn_family() -> list[Architecture]:
    """Return the scaled family of ``Operations``, by 300 random ones."""
    space, rng = Operations(), np.random.default_rng(0)
    describer = describer_of(space, image_signature(SHAPE, CLASSES))
    drawn = [sample(space, rng) for _ in range(300)]
    described = describer.describe(drawn)
    known = np.array([[cost_of_operations(each)] for each in drawn])
    return scaled_family(space, described, sizes_of(described), known)


def test_a_family_grows_from_the_cheapest_to_the_largest_one_choice_at_a_time() -> None:
    """Texts have an order too, by what they cost and how large they make a network."""
    family = drawn_family()
    assert [dict(family[end])["op0"] for end in (0, -1)] == ["skip", "conv3"]
    assert [family[end]["width"] for end in (0, -1)] == [8, 32]
    for before, after in itertools.pairwise(family):
        assert len(after.changed_from(before)) == 1
    known = [cost_of_operations(each) for each in family]
    assert known == sorted(known)


def test_what_costs_more_and_is_no_larger_is_left_out() -> None:
    """So is a choice that changes no size; one of training stands in the middle."""
    family = drawn_family()
    assert "pool" not in {each[name] for each in family for name in ("op0", "op1")}
    assert {(each["useless"], each["learning_rate"]) for each in family} == {("first", 0.2)}


def test_all_choices_grow_together() -> None:
    """No choice is at its last option while another one is at its first."""
    half = drawn_family()[3]
    assert sum(half[name] != start for name, start in (("op0", "skip"), ("op1", "skip"), ("width", 8))) >= 2


def test_the_ends_come_first_and_each_other_adds_the_most() -> None:
    """The ends are the cheapest and the best one; what is dominated never comes."""
    assert list(best_together(LOSSES, NOTHING, ENDS, lambda place: True)) == [3, 0, 1, 2]


def test_what_is_refused_is_left_out() -> None:
    """Others take its place, and nothing comes twice."""
    assert list(best_together(LOSSES, NOTHING, ENDS, lambda place: place not in (1, 3))) == [2, 0, 5]
    assert list(best_together(LOSSES, NOTHING, ENDS, lambda place: False)) == []
    assert list(best_together(NOTHING, NOTHING, ENDS, lambda place: True)) == []


def test_each_cost_has_a_cheapest() -> None:
    """One that is cheapest in two costs comes once."""
    losses = np.array([[0.0, 3.0, 3.0], [1.0, 0.0, 5.0], [2.0, 5.0, 0.0]])
    assert list(best_together(losses, losses[:0], (1, 2), lambda place: True))[:2] == [1, 2]
    assert list(best_together(losses[:, [0, 1, 1]], losses[:0], (1, 2), lambda place: True)) == [1, 0]


def test_the_curve_goes_on_where_it_was_left() -> None:
    """What was proposed before an interruption does not change what follows."""
    whole = list(best_together(LOSSES, NOTHING, ENDS, lambda place: True))
    left = [place for place in range(len(LOSSES)) if place not in whole[:2]]
    assert [left[place] for place in best_together(LOSSES[left], LOSSES[whole[:2]], ENDS, lambda place: True)] == whole[
        2:
    ]


def test_errors_fall_with_the_size_less_and_less() -> None:
    np.testing.assert_allclose(errors_by_size(np.array([0.0, 1.0, 2.0])), [1.0, 0.25, 0.0])
    assert errors_by_size(np.array([3.0, 3.0])).tolist() == [0.0, 0.0]


def macs_of(describer: Describer) -> Callable[[Sequence[Architecture]], np.ndarray]:
    return lambda architectures: np.array([float(total_macs(describer.layers(each))) for each in architectures])


def first_of_a_search(
    describer: Describer, known: Mapping[int, Callable[[Sequence[Architecture]], np.ndarray]], limit: float = np.inf
) -> list[Architecture]:
    """Return the first proposals of a search whose limit is on the only known cost, each told before the next."""

    def judge(architecture: Architecture) -> Verdict:
        return Verdict() if known[1]([architecture])[0] <= limit else Verdict("cost <= limit")

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    beforehand = Beforehand(describer, known)
    proposer = Proposer(describer.space, 2, "gp", seed=0, history=(), beforehand=beforehand)
    found = []
    for number in range(FIRST):
        architecture = proposer.propose(judge).architecture
        assert architecture is not None
        found.append(architecture)
        proposer.tell(Told(architecture, (1.0 / (1 + number), float(known[1]([architecture])[0])), {}))
    return found


@pytest.mark.parametrize("share", [1.0, 0.4], ids=["without a limit", "within a limit"])
@pytest.mark.parametrize("name", SPACES)
def test_a_search_with_few_trials_is_a_curve_from_the_smallest_to_the_largest(name: str, share: float) -> None:
    """It spans more than random ones do, grows in size, and leaves no large gap; a limit cuts it, and it fills it."""
    signature = signatures_for(name)[1]
    space = load_space(name, {}, signature)
    describer = describer_of(space, signature)
    known = {1: macs_of(describer)}
    rng = np.random.default_rng(1)
    by_chance = known[1]([sample(space, rng) for _ in range(200)])
    limit = np.inf if share == 1 else float(np.quantile(by_chance, share))
    found = first_of_a_search(describer, known, limit)
    work = known[1](found)
    assert work.max() <= limit
    assert work.min() <= by_chance.min()
    assert work.max() >= 0.9 * by_chance[by_chance <= limit].max()
    assert work[:2].tolist() == [work.min(), work.max()]
    sizes = sizes_of(describer.describe([found[place] for place in np.argsort(work)]))
    assert (np.diff(sizes) > 0).all()
    logs = np.log1p(np.sort(work))
    assert np.diff(logs).max() <= 0.6 * (logs[-1] - logs[0])


@pytest.mark.slow
def test_options_of_operations_span_the_costs_too() -> None:
    """In cells, where no choice is a number, the first proposals span all costs within a limit."""
    describer = describer_of(CELLS, image_signature(SHAPE, CLASSES))
    rng = np.random.default_rng(1)
    usual = costs([sample(CELLS, rng) for _ in range(300)])
    for limit in (np.inf, 6.0):
        found = [cost(each) for each in first_of_a_search(describer, {1: costs}, limit)]
        assert min(found) <= usual.min()
        assert max(found) >= 0.9 * usual[usual <= limit].max()
        assert max(found) <= limit
