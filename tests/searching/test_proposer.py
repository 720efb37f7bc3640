"""Proposals are new, accepted and reproducible with every sampler."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import optuna
import pytest
from table_space import OPERATIONS, Chain
from tiny_space import TinySpace

from nas.errors import RecipeError
from nas.searching.proposer import ASKS, DRAWS, SECONDS, Beforehand, Proposer, Told
from nas.searching.screening import Verdict
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import SearchSpace, architecture_from, count, enumerate_space, neighbours, sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.values.evaluation import Failure

TINY, SIGNATURE = TinySpace(), image_signature((1, 8, 8), 10)
TINY_SIZE = count(TINY)


class WideSpace(TinySpace):
    """A space with more choices, so that samplers have something to learn."""

    choices = (*TinySpace.choices, *(Choice(f"stage{i}", (1, 2, 3, 4)) for i in range(4)))


class LargeSpace(Chain):
    """A space so large that chance never finds a few given architectures."""

    choices = tuple(Choice(f"block{i}", OPERATIONS) for i in range(16))


class TwinSpace(TinySpace):
    """A space with duplicates: without a second layer all widths give the same network."""

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        return {**values, "width": 4} if values["depth"] == 0 else dict(values)


Judge = Callable[[Architecture], Verdict]


def anything(architecture: Architecture) -> Verdict:
    return Verdict()


def only(is_wanted: Callable[[Architecture], bool]) -> Judge:
    """Return a judge that turns all others away."""
    return lambda architecture: Verdict() if is_wanted(architecture) else Verdict("macs <= 1")


def proposed_by(
    proposer: Proposer, judge: Judge = anything, taken: Collection[str] = (), starts: Sequence[Architecture] = ()
) -> Architecture | None:
    return proposer.propose(judge, taken, starts).architecture


def costs(architecture: Architecture, objectives: int = 2) -> tuple[float, ...]:
    """Return losses that conflict with each other."""
    size = sum(float(value) for value in architecture.values())
    return (1 / size, size, size % 5, -size)[:objectives]


def told(architecture: Architecture, objectives: int = 2, **excesses: float) -> Told:
    return Told(architecture, costs(architecture, objectives), excesses)


def trials_of(proposer: Proposer) -> list[optuna.trial.FrozenTrial]:
    return proposer._study.trials


def proposer_of(
    space: SearchSpace,
    objectives: int,
    sampler: str,
    *,
    seed: int,
    history: Sequence[Told],
    known: Mapping[int, Callable[[Sequence[Architecture]], np.ndarray]] | None = None,
) -> Proposer:
    """Return a proposer that knows the describer, and the costs in ``known``, beforehand."""
    beforehand = Beforehand(describer_of(space, SIGNATURE), known or {})
    return Proposer(space, objectives, sampler, seed=seed, history=history, beforehand=beforehand)


def test_a_prior_is_for_samplers_that_learn() -> None:
    """It scores the candidates of the sampler gp; the other samplers ignore it."""
    for sampler in ("gp", "local", "tpe"):
        asked: list[Architecture] = []

        def prior(architectures: Sequence[Architecture], asked: list[Architecture] = asked) -> np.ndarray:
            asked.extend(architectures)
            return np.zeros(len(architectures))

        beforehand = Beforehand(describer_of(TINY, SIGNATURE), prior=prior)
        proposer = Proposer(TINY, 2, sampler, seed=0, history=(), beforehand=beforehand)
        proposed = proposed_by(proposer)
        assert proposed is not None
        assert (proposed in asked) == (sampler == "gp")


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "told of"])
def test_the_time_of_an_evaluation_reaches_the_study(is_asked: bool) -> None:
    """This proposer or another one may have proposed the architecture."""
    proposer = proposer_of(TINY, 2, "gp", seed=0, history=())
    architecture = proposed_by(proposer) if is_asked else sample(TINY, np.random.default_rng(0))
    assert architecture is not None
    proposer.tell(Told(architecture, costs(architecture, 2), {}, seconds=7.5))
    assert [trial.user_attrs[SECONDS] for trial in trials_of(proposer)] == [7.5]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("gp", "local")]
"""These learn much at each proposal; quicker tests of them are those of the contract and of the golden runs."""
every_sampler = pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3", "random", *SLOW])


@every_sampler
class TestLaws:
    def run(self, sampler: str, seed: int, history: Sequence[Told] = ()) -> list[str]:
        proposer = proposer_of(WideSpace(), 2, sampler, seed=seed, history=history)
        ids = []
        for _ in range(30):
            architecture = proposed_by(proposer)
            assert architecture is not None
            ids.append(architecture.id)
            proposer.tell(told(architecture, latency_ms=len(ids) % 3 - 1.0))
        return ids

    def test_seed_and_history_decide_everything(self, sampler: str) -> None:
        """The same two give the same proposals; another seed or history gives others."""
        rng = np.random.default_rng(0)
        history = [told(sample(WideSpace(), rng), latency_ms=1.0) for _ in range(15)]
        first = self.run(sampler, 0, history)
        assert self.run(sampler, 0, history) == first
        assert self.run(sampler, 1, history) != first
        assert self.run(sampler, 0, history[:-1]) != first

    def test_never_repeats(self, sampler: str) -> None:
        """No architecture that was proposed, or is in the history, comes again."""
        rng = np.random.default_rng(0)
        history = [told(sample(WideSpace(), rng)) for _ in range(10)]
        ids = self.run(sampler, 0, history) + [entry.architecture.id for entry in history]
        assert len(set(ids)) == len(ids)

    def test_a_tiny_space_is_exhausted(self, sampler: str) -> None:
        """Every architecture comes once, whether its evaluation ended or not, and then there are no more."""
        proposer = proposer_of(TINY, 1, sampler, seed=0, history=())
        seen = set()
        for number in range(TINY_SIZE):
            architecture = proposed_by(proposer)
            assert architecture is not None
            seen.add(architecture.id)
            if number % 2:
                proposer.tell(told(architecture, 1))
        assert seen == {architecture.id for architecture in enumerate_space(TINY)}
        assert proposed_by(proposer) is None

    def test_attempts_are_bounded(self, sampler: str) -> None:
        """When nothing is accepted, the proposer gives up after a known number of questions, with all verdicts."""
        asked: list[Architecture] = []

        def nothing(architecture: Architecture) -> Verdict:
            asked.append(architecture)
            return Verdict("macs <= 1")

        proposal = proposer_of(WideSpace(), 2, sampler, seed=0, history=()).propose(nothing)
        assert proposal.architecture is None
        assert proposal.judged == tuple((architecture, Verdict("macs <= 1")) for architecture in asked)
        if sampler in ("gp", "local"):  # these ask about candidates beforehand, each once
            assert DRAWS <= len(asked) <= count(WideSpace()) + ASKS + DRAWS
        else:
            assert len(asked) == ASKS + DRAWS

    def test_only_accepted_ones_are_proposed(self, sampler: str) -> None:
        """Twenty architectures are found in a part that is a small share of the space."""

        def rare(architecture: Architecture) -> bool:
            return architecture["width"] == 4 and all(architecture[f"stage{i}"] in (1, 2) for i in range(3))

        proposer = proposer_of(WideSpace(), 2, sampler, seed=0, history=())
        for _ in range(20):
            architecture = proposed_by(proposer, only(rare))
            assert architecture is not None
            assert rare(architecture)
            proposer.tell(told(architecture))

    def test_taken_ids_are_not_proposed(self, sampler: str) -> None:
        """Architectures that others have taken are skipped."""
        last, *others = enumerate_space(TINY)
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=())
        assert proposed_by(proposer, taken={architecture.id for architecture in others}) == last
        assert proposed_by(proposer, taken={architecture.id for architecture in others}) is None

    def test_failed_and_stopped_ones_never_come_again(self, sampler: str) -> None:
        """This holds for those of the history and for new ones, and the sampler learns no losses from them."""
        everything = list(enumerate_space(TINY))
        history = [Told(architecture, None, {}) for architecture in everything[:7]]
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=history)
        left = set()
        for _ in everything[7:]:
            architecture = proposed_by(proposer)
            assert architecture is not None
            left.add(architecture)
            proposer.tell(Told(architecture, None, {"latency_ms": 0.5}))
        assert left == set(everything[7:])
        assert proposed_by(proposer) is None
        assert {trial.state for trial in trials_of(proposer)} == {optuna.trial.TrialState.FAIL}

    def test_conditional_choices_exist_only_where_they_are_active(self, sampler: str) -> None:
        """Without a depth there is no kernel, neither in a proposal nor in a trial of the study."""
        history = [told(architecture) for architecture in enumerate_space(TINY) if architecture["width"] == 4]
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=history)
        for _ in range(8):
            architecture = proposed_by(proposer)
            assert architecture is not None
            assert ("kernel" in architecture) == (architecture["depth"] != 0)
            assert architecture_from(TINY, architecture) == architecture
            proposer.tell(told(architecture))
        complete = [trial for trial in trials_of(proposer) if trial.state == optuna.trial.TrialState.COMPLETE]
        assert len(complete) == len(history) + 8
        assert all(("kernel" in trial.params) == (trial.params["depth"] != 0) for trial in complete)

    def test_duplicates_come_once(self, sampler: str) -> None:
        """Choices that give the same network are one proposal."""
        proposer = proposer_of(TwinSpace(), 2, sampler, seed=0, history=())
        found = []
        while (architecture := proposed_by(proposer)) is not None:
            found.append(architecture.id)
            proposer.tell(told(architecture))
        assert sorted(found) == sorted(architecture.id for architecture in enumerate_space(TwinSpace()))

    @pytest.mark.parametrize("objectives", [1, 2, 3, 4])
    def test_one_to_four_objectives(self, sampler: str, objectives: int) -> None:
        """Losses reach the study unchanged, to be minimised, from the history and from new evaluations."""
        rng = np.random.default_rng(0)
        history = [told(sample(WideSpace(), rng), objectives) for _ in range(12)]
        proposer = proposer_of(WideSpace(), objectives, sampler, seed=0, history=history)
        for _ in range(12):
            architecture = proposed_by(proposer)
            assert architecture is not None
            proposer.tell(told(architecture, objectives))
        assert proposer._study.directions == [optuna.study.StudyDirection.MINIMIZE] * objectives
        complete = [trial for trial in trials_of(proposer) if trial.state == optuna.trial.TrialState.COMPLETE]
        assert len(complete) == 24
        for trial in complete:
            assert tuple(trial.values) == costs(architecture_from(WideSpace(), trial.params), objectives)

    def test_constraints_reach_the_study(self, sampler: str) -> None:
        """They do so from the history and from new evaluations."""
        first, *_ = enumerate_space(TINY)
        proposer = proposer_of(TINY, 2, sampler, seed=0, history=[told(first, latency_ms=0.25, macs=-0.5)])
        second = proposed_by(proposer)
        assert second is not None
        proposer.tell(told(second, latency_ms=-0.75, macs=0.125))
        assert [trial.constraints for trial in trials_of(proposer)] == [
            {"latency_ms": 0.25, "macs": -0.5},
            {"latency_ms": -0.75, "macs": 0.125},
        ]


@pytest.mark.parametrize("sampler", ["local", "tpe", "nsga2", "nsga3", "random"])  # gp scans a large pool first
def test_candidates_are_sought_around_given_starts(sampler: str) -> None:
    """Accepted architectures that are too rare for chance are found around a start."""
    start = sample(LargeSpace(), np.random.default_rng(0))
    around = {start, *neighbours(LargeSpace(), start)}

    def proposed(acceptable: Collection[Architecture], starts: Sequence[Architecture]) -> list[Architecture | None]:
        proposer = proposer_of(LargeSpace(), 2, sampler, seed=0, history=())
        return [proposed_by(proposer, only(acceptable.__contains__), starts=starts) for _ in range(3)]

    assert len(around.intersection(proposed(around, [start]))) == 3  # type: ignore[arg-type]
    assert proposed(around, []) == [None, None, None]


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2"])
def test_constraints_and_losses_guide_the_sampler(sampler: str) -> None:
    """Small architectures come more often than by chance where they are best, and large ones where only these meet."""

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
            architecture = proposed_by(proposer)
            assert architecture is not None
            sizes.append(costs(architecture)[1])
        return float(np.mean(sizes))

    by_chance = np.mean([costs(architecture)[1] for architecture in enumerate_space(WideSpace())])
    assert mean_size(None) < by_chance - 3
    assert mean_size(1.0) > mean_size(None) + 3


def test_evaluations_of_others_count() -> None:
    """An architecture that another proposer proposed is not proposed again."""
    proposer = proposer_of(TINY, 2, "tpe", seed=0, history=())
    *others, last = enumerate_space(TINY)
    for architecture in others:
        proposer.tell(told(architecture))
    assert proposed_by(proposer) == last


def test_known_costs_are_not_learned() -> None:
    """Where all errors are equal and costs are known, each proposal is cheaper than all before it."""

    def known(architectures: Sequence[Architecture]) -> np.ndarray:
        return np.array([costs(architecture)[1] for architecture in architectures])

    rng = np.random.default_rng(0)
    large = [each for each in (sample(WideSpace(), rng) for _ in range(60)) if costs(each)[1] > 20]
    history = [Told(each, (5.0, costs(each)[1]), {}) for each in large]
    proposer = proposer_of(WideSpace(), 2, "gp", seed=0, history=history, known={1: known})
    least = min(entry.losses[1] for entry in history if entry.losses is not None)
    for _ in range(3):
        architecture = proposed_by(proposer)
        assert architecture is not None
        assert costs(architecture)[1] < least
        proposer.tell(Told(architecture, (5.0, costs(architecture)[1]), {}))
        least = min(least, costs(architecture)[1])


def test_stopped_trainings_are_weaker_evidence() -> None:
    """High expected losses turn the search away from them."""
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
            architecture = proposed_by(proposer)
            assert architecture is not None
            found.append(architecture["width"])
            proposer.tell(Told(architecture, (30.0 + costs(architecture, 3)[2],), {}))
        return found

    assert widths(5.0).count(4) > widths(60.0).count(4)


def test_an_architecture_that_cannot_be_built_is_judged_once() -> None:
    """Its failure is among the verdicts, so that it can become a row, and it is never proposed again."""
    everything = list(enumerate_space(TINY))
    failure = Failure("build", "no such width")
    proposer = proposer_of(TINY, 2, "random", seed=0, history=())
    judged: list[Architecture] = []
    while True:
        proposal = proposer.propose(lambda a: Verdict(failure=failure) if a["width"] == 4 else Verdict())
        judged += [architecture for architecture, verdict in proposal.judged if verdict.failure == failure]
        if proposal.architecture is None:
            break
        assert proposal.architecture["width"] != 4
        proposer.tell(told(proposal.architecture))
    assert len(judged) == len(set(judged))
    assert set(judged) == {architecture for architecture in everything if architecture["width"] == 4}


def test_options_of_a_sampler_reach_its_maker() -> None:
    """An option that the sampler does not have is refused with its name."""
    beforehand = Beforehand(describer_of(TINY, SIGNATURE))
    made = Proposer(TINY, 1, "nsga2", seed=0, history=(), beforehand=beforehand, options={"population": 7})
    assert made._study.sampler._population_size == 7  # type: ignore[attr-defined]
    with pytest.raises(RecipeError, match=r"'nsga2' cannot be made with .*'populaton'"):
        Proposer(TINY, 1, "nsga2", seed=0, history=(), beforehand=beforehand, options={"populaton": 7})


def test_a_history_is_told_without_looking_at_all_trials_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round begins with all trainings so far, so that looking back at each of them would grow with the square."""
    looked: list[int] = []
    monkeypatch.setattr(optuna.Study, "get_trials", lambda self, *_, **__: looked.append(1) or [])
    space, rng = WideSpace(), np.random.default_rng(0)
    proposer_of(space, 2, "nsga2", seed=0, history=[told(sample(space, rng)) for _ in range(50)])
    assert not looked


def test_a_generation_of_a_genetic_sampler_is_counted_in_finished_trials() -> None:
    """A failed or stopped one does not fill it."""
    space, rng = WideSpace(), np.random.default_rng(0)
    history = [told(sample(space, rng)) for _ in range(5)]
    stopped = Told(sample(space, rng), None, {}, stopped=True)
    beforehand = Beforehand(describer_of(space, SIGNATURE))
    told_of = [*history[:2], stopped, *history[2:]]
    options = {"population": 2}
    proposer = Proposer(space, 2, "nsga2", seed=0, history=told_of, beforehand=beforehand, options=options)
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in trials_of(proposer)]
    assert generations == [0, 0, 1, 1, 1, 2]
