"""The model-based sampler: it finds fronts with few evaluations, and uses everything that it is given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
import pytest
from made_up_search import CELLS, CLASSES, SHAPE, add, ask, both, cost, costs, error, new_study, search, search_in
from optuna.trial import TrialState

from nas.searching.proposer import EXPECTED, SECONDS
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.layer import total_macs
from nas.space.search_space import enumerate_space, sample, settle
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.values.pareto import hypervolume
from predictors.samplers.candidate_pool import CandidatePool
from predictors.samplers.surrogate_sampler import FIRST, SurrogateSampler


@pytest.fixture(name="cells", scope="module")
def describer_of_cells() -> Describer:
    """Return a describer of the cells."""
    return describer_of(CELLS, image_signature(SHAPE, CLASSES))


@pytest.mark.slow
def test_finds_the_front_with_few_evaluations(cells: Describer) -> None:
    """After 50 of 15,625 cells, it misses less than half the hypervolume that random search misses."""
    everything = np.array([both(architecture) for architecture in enumerate_space(CELLS)])
    reference = everything.max(axis=0)
    whole = hypervolume(everything, reference)
    for seed in range(3):
        found = search(SurrogateSampler(cells, seed=seed, known={1: costs}), 50)
        by_chance = search(optuna.samplers.RandomSampler(seed=seed), 50)
        lacking = [1 - hypervolume(np.array([both(a) for a in each]), reference) / whole for each in (found, by_chance)]
        assert lacking[0] < 0.5 * lacking[1]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "known"])
def test_one_to_four_objectives(cells: Describer, objectives: int, is_known: bool) -> None:
    """With known and with learned costs, it finds smaller errors than random search."""
    functions = (error, cost, lambda a: -cost(a) % 3.0, lambda a: 10 - error(a) / 10)[:objectives]
    known = {index: _each(function) for index, function in enumerate(functions) if index > 0} if is_known else {}
    found = search(SurrogateSampler(cells, seed=0, known=known), 20, lambda a: tuple(f(a) for f in functions))
    by_chance = [sample(CELLS, np.random.default_rng(seed)) for seed in range(200)]
    assert min(error(a) for a in found) <= np.quantile([error(a) for a in by_chance], 0.1)


def _each(function: Callable[[Architecture], float]) -> Callable[[Sequence[Architecture]], np.ndarray]:
    return lambda architectures: np.array([function(architecture) for architecture in architectures])


def test_maximising_is_minimising_what_is_negated(cells: Describer) -> None:
    """The study's directions make no difference; known costs are always given as losses."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=SurrogateSampler(cells, seed=0, known={1: costs})
    )
    found = []
    for _ in range(15):
        trial, architecture = ask(study)
        study.tell(trial, (-error(architecture), cost(architecture)))
        found.append(architecture)
    assert found == search(SurrogateSampler(cells, seed=0, known={1: costs}), 15, both)


@pytest.mark.slow
def test_many_that_wait_for_a_first_one_are_served_together(cells: Describer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand workers ask before any training has ended, and each look at all candidates takes long."""
    looks, look = list[int](), CandidatePool.candidates
    monkeypatch.setattr(CandidatePool, "candidates", lambda *given: looks.append(1) or look(*given))
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    assert len({ask(study)[1] for _ in range(100)}) == 100
    assert len(looks) < 50


def test_learns_from_what_others_proposed(cells: Describer) -> None:
    """Added trials count as its own, and the next proposals improve on them."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    rng = np.random.default_rng(0)
    before = [sample(CELLS, rng) for _ in range(30)]
    for architecture in before:
        add(study, architecture, values=both(architecture))
    found = [ask(study)[1] for _ in range(4)]
    reference, known = np.array([70.0, 20.0]), np.array([both(architecture) for architecture in before])
    assert hypervolume(np.vstack([known, [both(a) for a in found]]), reference) > hypervolume(known, reference)


def test_constraints_keep_a_trial_off_the_front(cells: Describer) -> None:
    """It learns which architectures are feasible, and searches among them."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    for _ in range(40):
        trial, architecture = ask(study)
        trial.set_constraint("error", (error(architecture) - 20) / 20)
        study.tell(trial, both(architecture))
    later = [settle(CELLS, lambda choice, trial=trial: trial.params[choice.name]) for trial in study.trials[20:]]
    assert np.mean([error(architecture) <= 20 for architecture in later]) > 0.5


def test_a_stopped_trial_without_the_constraint_is_ignored(cells: Describer) -> None:
    """Stopped trials that do not report a constraint do not change its prediction."""
    rng = np.random.default_rng(0)
    told, others = ([sample(CELLS, rng) for _ in range(12)] for _ in range(2))

    def probably_met(stopped: Sequence[Architecture]) -> np.ndarray:
        sampler = SurrogateSampler(cells, seed=0, known={1: costs})
        study = new_study(sampler)
        for architecture in told:
            add(study, architecture, values=both(architecture), constraints={"error": (error(architecture) - 20) / 20})
        for architecture in stopped:
            attributes = {EXPECTED: list(both(architecture))}
            add(study, architecture, state=TrialState.PRUNED, user_attrs=attributes)
        ask(study)
        return np.asarray(sampler._outlook(sampler._pool.places(others)).feasibility())

    assert probably_met(others) == pytest.approx(probably_met([]))


@pytest.mark.parametrize("excess", [1.0, np.inf])
def test_a_finished_trial_without_the_constraint_is_feasible(cells: Describer, excess: float) -> None:
    """Some evaluators report only violated constraints, with a finite or an infinite excess."""
    told = list(dict.fromkeys(sample(CELLS, np.random.default_rng(seed)) for seed in range(1, 41)))
    beyond = sorted(told, key=error)[-10:]
    sampler = SurrogateSampler(cells, seed=0, known={1: costs})
    study = new_study(sampler)
    for architecture in told:
        constraints = {"error": excess} if architecture in beyond else None
        add(study, architecture, values=both(architecture), constraints=constraints)
    ask(study)
    outlook = sampler._outlook(sampler._pool.places([*beyond, *(each for each in told if each not in beyond)]))
    met = np.asarray(outlook.feasibility())
    assert met[:10].mean() < 0.5 < met[10:].mean()


def test_an_interruption_leaves_a_sampler_consistent(cells: Describer) -> None:
    """An interruption while costs are computed, or while it learns, loses no data."""
    interrupts = [True]

    def interrupted_once(architectures: Sequence[Architecture]) -> np.ndarray:
        if interrupts and interrupts.pop():
            raise KeyboardInterrupt
        return costs(architectures)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    sampler = SurrogateSampler(cells, seed=0, known={1: interrupted_once})
    study = new_study(sampler)
    with pytest.raises(KeyboardInterrupt):
        ask(study)
    assert len(search_in(study, 20)) == 20
    met = sampler._pool._met
    assert sampler._pool.costs(np.arange(len(met)))[:, 0].tolist() == [cost(each) for each in met]
    learned = sampler._learned_from
    sampler._planned.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("predictors.samplers.surrogate_sampler.Correction.fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(study)
    assert sampler._learned_from == learned
    ask(study)
    assert sampler._learned_from > learned


def test_fixed_choices_are_part_of_the_running_trial(cells: Describer) -> None:
    """If a queued trial fixes some choices, the others are proposed, and the result is not proposed again."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    search_in(study, 10)
    study.enqueue_trial({"op_e30": "avg_pool_3x3"})
    _, begun = ask(study)
    assert begun["op_e30"] == "avg_pool_3x3"
    sampler = study.sampler
    assert isinstance(sampler, SurrogateSampler)
    assert sampler._record.running == [begun]
    assert begun in sampler._record.taken


def test_a_constraint_that_nothing_meets_is_not_probably_met(cells: Describer) -> None:
    """An architecture slightly beyond the limit is not predicted to be feasible."""
    told = list(dict.fromkeys(sample(CELLS, np.random.default_rng(seed)) for seed in range(1, 41)))
    by_error = sorted(told, key=error)

    def probably_met(excesses: Mapping[Architecture, float]) -> np.ndarray:
        sampler = SurrogateSampler(cells, seed=0, known={1: costs})
        study = new_study(sampler)
        for architecture in told:
            add(study, architecture, values=both(architecture), constraints={"error": excesses[architecture]})
        ask(study)
        return np.asarray(sampler._outlook(sampler._pool.places(by_error)).feasibility())

    assert (probably_met({each: 0.4 + 0.1 * error(each) / error(by_error[-1]) for each in told}) < 0.1).all()
    few_beyond = {each: 0.6 if each in by_error[-5:] else -0.2 for each in told}
    assert probably_met(few_beyond)[-5:].mean() < 0.5


def test_what_others_have_begun_is_not_proposed(cells: Describer) -> None:
    """Two processes with one study and one seed get different proposals."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    _, begun = ask(study)
    other = optuna.load_study(
        study_name=study.study_name,
        storage=study._storage,
        sampler=SurrogateSampler(cells, seed=0, known={1: costs}),
    )
    assert begun not in [ask(other)[1] for _ in range(FIRST)]


def test_threads_may_ask_at_once(cells: Describer) -> None:
    """Every architecture keeps its own costs, and none is proposed twice."""
    sampler = SurrogateSampler(cells, seed=0, known={1: costs})
    study = new_study(sampler)

    def evaluate(trial: optuna.Trial) -> tuple[float, float]:
        return both(settle(CELLS, lambda choice: trial.suggest_categorical(choice.name, choice.options)))

    study.optimize(evaluate, n_trials=30, n_jobs=4)
    met = sampler._pool._met
    assert sampler._pool.costs(np.arange(len(met)))[:, 0].tolist() == [cost(each) for each in met]
    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == len(study.trials) == 30


def test_a_copy_goes_on_alike(cells: Describer) -> None:
    """A copied sampler, as in a saved searcher, gives the same proposals."""
    sampler = SurrogateSampler(cells, seed=0, known={1: costs})
    search(sampler, 8)
    assert search(copy.deepcopy(sampler), 3) == search(sampler, 3)


def test_everything_known_is_refused(cells: Describer) -> None:
    """At least one objective must be uncertain."""
    study = new_study(SurrogateSampler(cells, seed=0, known={0: costs}), 1)
    with pytest.raises(ValueError, match="at least one objective must not be known"):
        ask(study)


def test_the_first_ones_stand_for_the_space(cells: Describer) -> None:
    """The first proposals include very cheap and very expensive cells."""
    first = search(SurrogateSampler(cells, seed=0, known={1: costs}), FIRST)
    rng = np.random.default_rng(1)
    usual = [cost(sample(CELLS, rng)) for _ in range(100)]
    assert min(map(cost, first)) <= np.quantile(usual, 0.05)
    assert max(map(cost, first)) >= np.quantile(usual, 0.95)


@pytest.mark.slow
def test_a_good_prior_helps_and_a_useless_one_costs_little(cells: Describer) -> None:
    """Fifteen evaluations find more with a good prior, and hardly less with a useless one, over eight seeds."""
    everything = np.array([both(architecture) for architecture in enumerate_space(CELLS)])
    reference = everything.max(axis=0)
    whole = hypervolume(everything, reference)

    def lacking(prior: Callable[[Sequence[Architecture]], np.ndarray] | None) -> float:
        runs = [search(SurrogateSampler(cells, seed=seed, known={1: costs}, prior=prior), 15) for seed in range(8)]
        return 1 - float(np.mean([hypervolume(np.array([both(a) for a in run]), reference) for run in runs])) / whole

    def by_chance(architecture: Architecture, place: int) -> float:
        return int(architecture.id[place : place + 4], 16) / 16**4 - 0.5

    without = lacking(None)
    assert lacking(_each(lambda a: -float(np.log(error(a))) + 0.15 * by_chance(a, 0))) < 0.85 * without
    assert lacking(_each(lambda a: by_chance(a, 4))) < 1.25 * without


@pytest.mark.slow
def test_where_time_is_short_it_is_spent_on_more(cells: Describer) -> None:
    """In the time of thirty cells, ``weigh_time`` evaluates more cells and finds more, for each of two seeds."""
    everything = np.array([both(architecture) for architecture in enumerate_space(CELLS)])
    reference = everything.max(axis=0)
    time_s = 30 * float(np.mean([_seconds(architecture) for architecture in enumerate_space(CELLS)]))

    def found(seed: int, *, weigh_time: bool) -> tuple[int, float]:
        sampler = SurrogateSampler(cells, seed=seed, known={1: costs}, weigh_time=weigh_time)
        study, evaluated, spent_s = new_study(sampler), [], 0.0
        while spent_s < time_s:
            trial, architecture = ask(study)
            trial.set_user_attr(SECONDS, _seconds(architecture))
            study.tell(trial, both(architecture))
            evaluated.append(both(architecture))
            spent_s += _seconds(architecture)
        return len(evaluated), hypervolume(np.array(evaluated), reference)

    for seed in range(2):
        many, most = found(seed, weigh_time=True)
        few, less = found(seed, weigh_time=False)
        assert many > 1.1 * few
        assert most > less


def _seconds(architecture: Architecture) -> float:
    return cost(architecture) ** 2


def test_the_first_ones_are_light_where_time_is_short(cells: Describer) -> None:
    """The first proposals do less work than most architectures."""

    def work(architecture: Architecture) -> int:
        return total_macs(cells.layers(architecture))

    first = search(SurrogateSampler(cells, seed=0, known={1: costs}, weigh_time=True), FIRST)
    rng = np.random.default_rng(1)
    assert max(map(work, first)) <= np.quantile([work(sample(CELLS, rng)) for _ in range(100)], 0.75)


@pytest.mark.parametrize("seconds", [0.0, float("nan")])
def test_times_that_tell_nothing_are_not_weighed(cells: Describer, seconds: float) -> None:
    """Times of 0 or NaN, as from a table, are ignored."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}, weigh_time=True))
    found = set()
    for _ in range(FIRST + 4):
        trial, architecture = ask(study)
        trial.set_user_attr(SECONDS, seconds)
        study.tell(trial, both(architecture))
        found.add(architecture)
    assert len(found) == FIRST + 4


def test_several_scores_some_of_them_unknown(cells: Describer) -> None:
    """Each candidate is scored once, and scores that are not finite are ignored."""
    asked: list[Architecture] = []

    def prior(architectures: Sequence[Architecture]) -> np.ndarray:
        asked.extend(architectures)
        scores = np.array([[error(each), 1.0] for each in architectures])
        scores[::3, 0] = np.nan
        return scores

    found = search(SurrogateSampler(cells, seed=0, known={1: costs}, prior=prior), 12)
    assert len(set(found)) == 12
    assert len(set(asked)) == len(asked)
    assert set(found) <= set(asked)


def test_learns_how_far_off_known_costs_are(cells: Describer) -> None:
    """After seeing true costs, it corrects known costs that are too high for cheap cells."""

    def predicted(architectures: Sequence[Architecture]) -> np.ndarray:
        pools = [sum(option == "avg_pool_3x3" for option in each.values()) for each in architectures]
        return np.exp(0.6 * np.log(costs(architectures)) + 0.8 + 0.15 * np.array(pools))

    sampler = SurrogateSampler(cells, seed=0, known={1: predicted})
    search(sampler, 30)
    rng = np.random.default_rng(1)
    others = [sample(CELLS, rng) for _ in range(100)]
    expected = sampler._outlook(sampler._pool.places(others)).losses(0.0)[:, 1]
    off = [np.abs(np.log(values / costs(others))).mean() for values in (predicted(others), expected)]
    assert off[1] < 0.5 * off[0]
