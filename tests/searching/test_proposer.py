"""Proposals are new, acceptable and reproducible, whichever sampler makes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import optuna
import pytest
from table_space import OPERATIONS, Chain
from tiny_space import TinySpace

from nas.searching.proposer import ASKS, DRAWS, OWN_SAMPLERS, SECONDS, Beforehand, Proposer, SamplerName, Told
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import SearchSpace, architecture_from, count, enumerate_space, neighbours, sample
from nas.space.tracing import describer_of

TINY = TinySpace()
TINY_SIZE = count(TINY)


class WideSpace(TinySpace):
    """More choices, so that samplers have something to learn."""

    choices = (*TinySpace.choices, *(Choice(f"stage{i}", (1, 2, 3, 4)) for i in range(4)))


class LargeSpace(Chain):
    """So many architectures that a few are never met by chance."""

    choices = tuple(Choice(f"block{i}", OPERATIONS) for i in range(16))


class TwinSpace(TinySpace):
    """All widths give the same network where there is no layer behind the first."""

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        return {**values, "width": 4} if values["depth"] == 0 else dict(values)


def anything(architecture: Architecture) -> bool:
    return True


def costs(architecture: Architecture, objectives: int = 2) -> tuple[float, ...]:
    """Losses that pull in different directions."""
    size = sum(float(value) for value in architecture.values())
    return (1 / size, size, size % 5, -size)[:objectives]


def told(architecture: Architecture, objectives: int = 2, **excesses: float) -> Told:
    return Told(architecture, costs(architecture, objectives), excesses)


def trials_of(proposer: Proposer) -> list[optuna.trial.FrozenTrial]:
    return proposer._study.trials


def proposer_of(
    space: SearchSpace,
    objectives: int,
    sampler: SamplerName,
    *,
    seed: int,
    history: Sequence[Told],
    known: Mapping[int, Callable[[Sequence[Architecture]], np.ndarray]] | None = None,
) -> Proposer:
    """One that knows how architectures are described, and nothing else beforehand if nothing else is said."""
    beforehand = Beforehand(describer_of(space, (1, 8, 8), 10), known or {})
    return Proposer(space, objectives, sampler, seed=seed, history=history, beforehand=beforehand)


def test_a_prior_is_for_samplers_that_learn() -> None:
    """Theirs are the candidates that it scores; the others are made without."""
    for sampler in ("gp", "local", "tpe"):
        asked: list[Architecture] = []

        def prior(architectures: Sequence[Architecture], asked: list[Architecture] = asked) -> np.ndarray:
            asked.extend(architectures)
            return np.zeros(len(architectures))

        beforehand = Beforehand(describer_of(TINY, (1, 8, 8), 10), prior=prior)
        proposer = Proposer(TINY, 2, sampler, seed=0, history=(), beforehand=beforehand)
        proposed = proposer.propose(anything)
        assert proposed is not None
        assert (proposed in asked) == (sampler == "gp")


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "told of"])
def test_how_long_an_evaluation_took_reaches_the_study(is_asked: bool) -> None:
    """Whoever proposed what was evaluated."""
    proposer = proposer_of(TINY, 2, "gp", seed=0, history=())
    architecture = proposer.propose(anything) if is_asked else sample(TINY, np.random.default_rng(0))
    assert architecture is not None
    proposer.tell(Told(architecture, costs(architecture, 2), {}, seconds=7.5))
    assert [trial.user_attrs[SECONDS] for trial in trials_of(proposer)] == [7.5]


every_sampler = pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2", "nsga3", "local", "random"])


@every_sampler
class TestLaws:
    def run(self, sampler: SamplerName, seed: int, history: Sequence[Told] = ()) -> list[str]:
        proposer = proposer_of(WideSpace(), 2, sampler, seed=seed, history=history)
        ids = []
        for _ in range(30):
            architecture = proposer.propose(anything)
            assert architecture is not None
            ids.append(architecture.id)
            proposer.tell(told(architecture, latency_ms=len(ids) % 3 - 1.0))
        return ids

    def test_seed_and_history_decide_everything(self, sampler: SamplerName) -> None:
        """The same two give the same proposals; another seed or history gives others."""
        rng = np.random.default_rng(0)
        history = [told(sample(WideSpace(), rng), latency_ms=1.0) for _ in range(15)]
        first = self.run(sampler, 0, history)
        assert self.run(sampler, 0, history) == first
        assert self.run(sampler, 1, history) != first
        assert self.run(sampler, 0, history[:-1]) != first

    def test_never_repeats(self, sampler: SamplerName) -> None:
        """Neither what was proposed nor what is in the history comes again."""
        rng = np.random.default_rng(0)
        history = [told(sample(WideSpace(), rng)) for _ in range(10)]
        ids = self.run(sampler, 0, history) + [entry.architecture.id for entry in history]
        assert len(set(ids)) == len(ids)

    def test_a_tiny_space_is_exhausted(self, sampler: SamplerName) -> None:
        """Every architecture comes once, whether it ended or not, and then there are no more."""
        proposer = proposer_of(TINY, 1, sampler, seed=0, history=())
        seen = set()
        for number in range(TINY_SIZE):
            architecture = proposer.propose(anything)
            assert architecture is not None
            seen.add(architecture.id)
            if number % 2:
                proposer.tell(told(architecture, 1))
        assert seen == {architecture.id for architecture in enumerate_space(TINY)}
        assert proposer.propose(anything) is None

    def test_attempts_are_bounded(self, sampler: SamplerName) -> None:
        """When nothing is acceptable, that is said after a known number of questions."""
        asked: list[Architecture] = []

        def nothing(architecture: Architecture) -> bool:
            asked.append(architecture)
            return False

        assert proposer_of(WideSpace(), 2, sampler, seed=0, history=()).propose(nothing) is None
        if sampler in OWN_SAMPLERS:  # which ask about candidates beforehand, each once
            assert DRAWS <= len(asked) <= count(WideSpace()) + ASKS + DRAWS
        else:
            assert len(asked) == ASKS + DRAWS

    def test_only_acceptable_ones_are_proposed(self, sampler: SamplerName) -> None:
        """A part that is a hundredth of the space is found, and all of it in the end."""

        def rare(architecture: Architecture) -> bool:
            return architecture["width"] == 4 and all(architecture[f"stage{i}"] in (1, 2) for i in range(3))

        proposer = proposer_of(WideSpace(), 2, sampler, seed=0, history=())
        for _ in range(20):
            architecture = proposer.propose(rare)
            assert architecture is not None
            assert rare(architecture)
            proposer.tell(told(architecture))

    def test_taken_ids_are_passed_over(self, sampler: SamplerName) -> None:
        """What others have taken does not come."""
        last, *others = enumerate_space(TINY)
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=())
        assert proposer.propose(anything, {architecture.id for architecture in others}) == last
        assert proposer.propose(anything, {architecture.id for architecture in others}) is None

    def test_failed_and_stopped_ones_never_come_again(self, sampler: SamplerName) -> None:
        """Neither those of the history nor those of now; and they are no points for the sampler."""
        everything = list(enumerate_space(TINY))
        history = [Told(architecture, None, {}) for architecture in everything[:7]]
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=history)
        left = set()
        for _ in everything[7:]:
            architecture = proposer.propose(anything)
            assert architecture is not None
            left.add(architecture)
            proposer.tell(Told(architecture, None, {"latency_ms": 0.5}))
        assert left == set(everything[7:])
        assert proposer.propose(anything) is None
        assert {trial.state for trial in trials_of(proposer)} == {optuna.trial.TrialState.FAIL}

    def test_conditional_choices_exist_only_where_they_are_active(self, sampler: SamplerName) -> None:
        """Without a depth there is no kernel, in the proposal and in what the sampler learns from."""
        history = [told(architecture) for architecture in enumerate_space(TINY) if architecture["width"] == 4]
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=history)
        for _ in range(8):
            architecture = proposer.propose(anything)
            assert architecture is not None
            assert ("kernel" in architecture) == (architecture["depth"] != 0)
            assert architecture_from(TINY, architecture) == architecture
            proposer.tell(told(architecture))
        complete = [trial for trial in trials_of(proposer) if trial.state == optuna.trial.TrialState.COMPLETE]
        assert len(complete) == len(history) + 8
        assert all(("kernel" in trial.params) == (trial.params["depth"] != 0) for trial in complete)

    def test_twins_come_once(self, sampler: SamplerName) -> None:
        """Different choices that give the same network are one proposal."""
        proposer = proposer_of(TwinSpace(), 2, sampler, seed=0, history=())
        found = []
        while (architecture := proposer.propose(anything)) is not None:
            found.append(architecture.id)
            proposer.tell(told(architecture))
        assert sorted(found) == sorted(architecture.id for architecture in enumerate_space(TwinSpace()))

    @pytest.mark.parametrize("objectives", [1, 2, 3, 4])
    def test_one_to_four_objectives(self, sampler: SamplerName, objectives: int) -> None:
        """Losses reach the study as they are, to be minimised, from the history and from now."""
        rng = np.random.default_rng(0)
        history = [told(sample(WideSpace(), rng), objectives) for _ in range(12)]
        proposer = proposer_of(WideSpace(), objectives, sampler, seed=0, history=history)
        for _ in range(12):
            architecture = proposer.propose(anything)
            assert architecture is not None
            proposer.tell(told(architecture, objectives))
        assert proposer._study.directions == [optuna.study.StudyDirection.MINIMIZE] * objectives
        complete = [trial for trial in trials_of(proposer) if trial.state == optuna.trial.TrialState.COMPLETE]
        assert len(complete) == 24
        for trial in complete:
            assert tuple(trial.values) == costs(architecture_from(WideSpace(), trial.params), objectives)

    def test_constraints_reach_the_study(self, sampler: SamplerName) -> None:
        """With the history as with what was proposed now."""
        first, *_ = enumerate_space(TINY)
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=[told(first, latency_ms=0.25, macs=-0.5)])
        second = proposer.propose(anything)
        assert second is not None
        proposer.tell(told(second, latency_ms=-0.75, macs=0.125))
        assert [trial.constraints for trial in trials_of(proposer)] == [
            {"latency_ms": 0.25, "macs": -0.5},
            {"latency_ms": -0.75, "macs": 0.125},
        ]


@pytest.mark.parametrize("sampler", ["local", "tpe", "nsga2", "nsga3", "random"])  # gp looks at very many first
def test_what_is_known_to_be_acceptable_is_a_start(sampler: SamplerName) -> None:
    """Where that is so rare that nothing else finds it, it is found around the start."""
    start = sample(LargeSpace(), np.random.default_rng(0))
    around = {start, *neighbours(LargeSpace(), start)}

    def proposed(acceptable: Collection[Architecture], starts: Sequence[Architecture]) -> list[Architecture | None]:
        proposer = proposer_of(LargeSpace(), 2, sampler, seed=0, history=())
        return [proposer.propose(acceptable.__contains__, starts=starts) for _ in range(3)]

    assert len(around.intersection(proposed(around, [start]))) == 3  # type: ignore[arg-type]
    assert proposed(around, []) == [None, None, None]


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2"])
def test_constraints_and_losses_guide_the_sampler(sampler: SamplerName) -> None:
    """What is asked for comes more often than by chance: small ones when these are best, large ones when only these
    meet the limit."""

    def mean_size(excess_of_small: float | None) -> float:
        rng = np.random.default_rng(0)
        history = []
        for _ in range(60):
            architecture = sample(WideSpace(), rng)
            size = costs(architecture)[1]
            excesses = {} if excess_of_small is None else {"macs": excess_of_small if size < 22 else -0.1}
            history.append(Told(architecture, (size,), excesses))
        proposer = proposer_of(WideSpace(), 1, sampler, seed=0, history=history)
        sizes = []
        for _ in range(20):
            architecture = proposer.propose(anything)
            assert architecture is not None
            sizes.append(costs(architecture)[1])
        return float(np.mean(sizes))

    by_chance = np.mean([costs(architecture)[1] for architecture in enumerate_space(WideSpace())])
    assert mean_size(None) < by_chance - 3
    assert mean_size(1.0) > mean_size(None) + 3


def test_another_process_told_what_this_one_never_asked() -> None:
    """An evaluation that somebody else proposed counts as the proposer's own."""
    proposer = proposer_of(TINY, 2, "tpe", seed=0, history=())
    *others, last = enumerate_space(TINY)
    for architecture in others:
        proposer.tell(told(architecture))
    assert proposer.propose(anything) == last


def test_what_is_known_beforehand_is_not_learned() -> None:
    """With a known cost, what is proposed costs less than any that is as good so far."""

    def known(architectures: Sequence[Architecture]) -> np.ndarray:
        return np.array([costs(architecture)[1] for architecture in architectures])

    rng = np.random.default_rng(0)
    large = [each for each in (sample(WideSpace(), rng) for _ in range(60)) if costs(each)[1] > 20]
    history = [Told(each, (5.0, costs(each)[1]), {}) for each in large]
    proposer = proposer_of(WideSpace(), 2, "gp", seed=0, history=history, known={1: known})
    least = min(entry.losses[1] for entry in history if entry.losses is not None)
    for _ in range(3):
        architecture = proposer.propose(anything)
        assert architecture is not None
        assert costs(architecture)[1] < least
        proposer.tell(Told(architecture, (5.0, costs(architecture)[1]), {}))
        least = min(least, costs(architecture)[1])


def test_stopped_trainings_are_weaker_evidence() -> None:
    """What is expected of them turns the search away from where they are, and they are no part of any front."""
    rng = np.random.default_rng(0)
    drawn = list(dict.fromkeys(sample(WideSpace(), rng) for _ in range(60)))
    small = [a for a in drawn if a["width"] == 4]
    others = [a for a in drawn if a["width"] != 4]
    finished = [Told(a, (30.0 + costs(a, 3)[2],), {}) for a in others[:10]]

    def widths(expected: float) -> list[Option]:
        stopped = [Told(a, None, {}, stopped=True, expected=(expected + costs(a, 3)[2],)) for a in small[:12]]
        proposer = proposer_of(WideSpace(), 1, "gp", seed=0, history=[*finished, *stopped])
        found = []
        for _ in range(6):
            architecture = proposer.propose(anything)
            assert architecture is not None
            found.append(architecture["width"])
            proposer.tell(Told(architecture, (30.0 + costs(architecture, 3)[2],), {}))
        return found

    assert widths(5.0).count(4) > widths(60.0).count(4)
