"""The sampler in plain Optuna studies: what it proposes, and that it finds fronts with few evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from tiny_space import TinySpace

from nas.architecture import Architecture
from nas.description import Describer
from nas.pareto import hypervolume
from nas.search_space import SearchSpace, enumerate_space, load_space, sample, settle
from nas.tracing import describer_of
from predictors.surrogate_sampler import FIRST, SurrogateSampler

SHAPE, CLASSES = (1, 8, 8), 10
CELLS = load_space("nasbench201", {}, input_shape=SHAPE, classes=CLASSES)
WEIGHTS = {"none": 0.0, "skip_connect": 0.5, "nor_conv_1x1": 1.0, "nor_conv_3x3": 2.0, "avg_pool_3x3": 0.2}


@pytest.fixture(name="cells", scope="module")
def describer_of_cells() -> Describer:
    return describer_of(CELLS, SHAPE, CLASSES)


def error(architecture: Architecture) -> float:
    """Falls with what the edges do, those into the output twice as much, and a path that is too short costs."""
    work = sum(WEIGHTS[str(option)] * (2 if name.startswith("op_e3") else 1) for name, option in architecture.items())
    return 5 + 60 * float(np.exp(-0.4 * work)) + (3 if architecture["op_e30"] == "skip_connect" else 0)


def cost(architecture: Architecture) -> float:
    return 1 + sum(WEIGHTS[str(option)] ** 1.5 for option in architecture.values())


def costs(architectures: Sequence[Architecture]) -> np.ndarray:
    return np.array([cost(architecture) for architecture in architectures])


def ask(study: optuna.Study, space: SearchSpace) -> tuple[optuna.Trial, Architecture]:
    trial = study.ask()
    return trial, settle(space, lambda choice: trial.suggest_categorical(choice.name, choice.options))


def search(
    sampler: optuna.samplers.BaseSampler, evaluations: int, losses: Callable[[Architecture], tuple[float, ...]]
) -> list[Architecture]:
    """The architectures that were evaluated, in order."""
    study = new_study(sampler, len(losses(sample(CELLS, np.random.default_rng(0)))))
    found = []
    for _ in range(evaluations):
        trial, architecture = ask(study, CELLS)
        study.tell(trial, losses(architecture))
        found.append(architecture)
    return found


def new_study(sampler: optuna.samplers.BaseSampler, objectives: int = 2) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


def both(architecture: Architecture) -> tuple[float, float]:
    return error(architecture), cost(architecture)


def test_finds_the_front_with_few_evaluations(cells: Describer) -> None:
    """With a known cost the hypervolume lacks less than half of what it lacks by chance, after 50 of 15,625; 3 seeds."""
    everything = np.array([both(architecture) for architecture in enumerate_space(CELLS)])
    reference = everything.max(axis=0)
    whole = hypervolume(everything, reference)
    for seed in range(3):
        found = search(SurrogateSampler(cells, seed=seed, known={1: costs}), 50, both)
        by_chance = search(optuna.samplers.RandomSampler(seed=seed), 50, both)
        lacking = [1 - hypervolume(np.array([both(a) for a in each]), reference) / whole for each in (found, by_chance)]
        assert lacking[0] < 0.5 * lacking[1]


def test_never_repeats_and_is_reproducible(cells: Describer) -> None:
    """Each proposal is new, and the seed decides all of them."""
    runs = [search(SurrogateSampler(cells, seed=seed, known={1: costs}), 30, both) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(set(runs[0])) == 30


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "known"])
def test_one_to_four_objectives(cells: Describer, objectives: int, is_known: bool) -> None:
    """Whether costs are known or learned, better architectures come than by chance."""
    functions = (error, cost, lambda a: -cost(a) % 3.0, lambda a: 10 - error(a) / 10)[:objectives]
    known = {index: _each(function) for index, function in enumerate(functions) if index > 0} if is_known else {}
    found = search(SurrogateSampler(cells, seed=0, known=known), 20, lambda a: tuple(f(a) for f in functions))
    by_chance = [sample(CELLS, np.random.default_rng(0)) for _ in range(200)]
    assert min(error(a) for a in found) <= np.quantile([error(a) for a in by_chance], 0.1)
    assert len(set(found)) == 20


def _each(function: Callable[[Architecture], float]) -> Callable[[Sequence[Architecture]], np.ndarray]:
    return lambda architectures: np.array([function(architecture) for architecture in architectures])


def test_proposals_differ_from_what_still_runs(cells: Describer) -> None:
    """Ten that are asked for at once are ten different ones, at the beginning and later."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    for _ in range(3):
        asked = [ask(study, CELLS) for _ in range(10)]
        assert len({architecture for _, architecture in asked}) == 10
        for trial, architecture in asked:
            study.tell(trial, both(architecture))
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 30


def test_only_what_is_accepted_is_proposed(cells: Describer) -> None:
    """What is refused is asked about once, and never proposed."""
    asked: list[Architecture] = []

    def accept(architectures: Sequence[Architecture]) -> np.ndarray:
        asked.extend(architectures)
        return costs(architectures) <= 6

    found = search(SurrogateSampler(cells, seed=0, known={1: costs}, accept=accept), 20, both)
    assert all(cost(architecture) <= 6 for architecture in found)
    refused = [architecture for architecture in asked if cost(architecture) > 6]
    assert refused
    assert len(set(refused)) == len(refused)


def test_failed_and_strange_trials_are_passed_over(cells: Describer) -> None:
    """Failed ones, those without a finite value and others' parameters teach nothing and do not come again."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
    gone = []
    for number in range(12):
        trial, architecture = ask(study, CELLS)
        gone.append(architecture)
        if number % 3 == 0:
            study.tell(trial, state=TrialState.FAIL)
        elif number % 3 == 1:
            study.tell(trial, (float("inf"), cost(architecture)))
        else:
            study.tell(trial, both(architecture))
    following = [ask(study, CELLS)[1] for _ in range(5)]
    assert not set(following) & set(gone)


def test_learns_from_what_others_proposed(cells: Describer) -> None:
    """Trials that were added to the study count as its own: what follows is better than all of them."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    rng = np.random.default_rng(0)
    before = [sample(CELLS, rng) for _ in range(30)]
    for architecture in before:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(architecture),
                distributions={
                    choice.name: optuna.distributions.CategoricalDistribution(choice.options)
                    for choice in CELLS.choices
                },
                values=both(architecture),
            )
        )
    found = [ask(study, CELLS)[1] for _ in range(4)]
    assert not set(found) & set(before)
    reference = np.array([70.0, 20.0])
    known = np.array([both(a) for a in before])
    assert hypervolume(np.vstack([known, [both(a) for a in found]]), reference) > hypervolume(known, reference)


def test_constraints_keep_a_trial_off_the_front(cells: Describer) -> None:
    """It searches around what meets the constraints, whatever lies beyond."""
    study = new_study(SurrogateSampler(cells, seed=0, known={1: costs}))
    for _ in range(40):
        trial, architecture = ask(study, CELLS)
        trial.set_constraint("error", (error(architecture) - 20) / 20)
        study.tell(trial, both(architecture))
    assert np.mean([error(_of(trial)) <= 20 for trial in study.trials[20:]]) > 0.5


def _of(trial: optuna.trial.FrozenTrial) -> Architecture:
    return settle(CELLS, lambda choice: trial.params[choice.name])


def test_a_small_space_is_exhausted() -> None:
    """Everything comes once, conditional choices too, before anything comes again."""
    space = TinySpace()
    everything = set(enumerate_space(space))
    study = new_study(SurrogateSampler(describer_of(space, SHAPE, CLASSES), seed=0), 1)
    found = []
    for _ in everything:
        trial, architecture = ask(study, space)
        study.tell(trial, float(len(found)))
        found.append(architecture)
    assert set(found) == everything
    assert ask(study, space)[1] in everything


def test_everything_known_is_refused(cells: Describer) -> None:
    """Then there is nothing to search for."""
    study = new_study(SurrogateSampler(cells, seed=0, known={0: costs}), 1)
    with pytest.raises(ValueError, match="at least one objective must not be known"):
        ask(study, CELLS)


def test_the_first_ones_stand_for_the_space(cells: Describer) -> None:
    """The cheapest and the dearest of many are among them."""
    first = search(SurrogateSampler(cells, seed=0, known={1: costs}), FIRST, both)
    rng = np.random.default_rng(1)
    usual = [cost(sample(CELLS, rng)) for _ in range(100)]
    assert min(map(cost, first)) <= np.quantile(usual, 0.02)
    assert max(map(cost, first)) >= np.quantile(usual, 0.98)
