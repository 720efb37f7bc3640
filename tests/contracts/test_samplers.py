"""Contract of samplers, checked for every registered sampler in plain Optuna studies."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import optuna
import pytest
from made_up_search import CELLS, CLASSES, SHAPE, add, ask, both, cost, costs, new_study, search
from optuna.trial import TrialState
from tiny_space import TinySpace

from nas.searching.proposer import EXPECTED, SECONDS
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.plug_ins import load_plug_in, plug_in_names
from nas.space.search_space import architecture_from, enumerate_space, sample
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from predictors.samplers import optuna_samplers
from predictors.samplers.space_sampler import SpaceSampler


@pytest.fixture(name="cells", scope="module")
def describer_of_cells() -> Describer:
    """Return a describer of the cells."""
    return describer_of(CELLS, image_signature(SHAPE, CLASSES))


Maker = Callable[..., optuna.samplers.BaseSampler]


def registered(name: str) -> Maker:
    """Return the maker that is registered as ``name``."""
    maker = load_plug_in("nas.samplers", name, "sampler")
    assert callable(maker)
    return maker


def accept_all(architectures: Sequence[Architecture]) -> np.ndarray:
    """Accept every architecture."""
    return np.ones(len(architectures), dtype=bool)


def arguments() -> dict[str, object]:
    """Return everything that the proposer gives to a sampler, except the describer and the seed."""
    return {"known": {1: costs}, "accept": accept_all, "prior": costs, "weigh_time": True}


@pytest.fixture(autouse=True)
def experimental_features() -> Iterator[None]:
    """Silence the warnings of Optuna's samplers that are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@pytest.mark.parametrize("name", plug_in_names("nas.samplers"))
class TestSampler:
    """Promises of every sampler, including Optuna's own."""

    def test_the_seed_decides_every_proposal(self, name: str, cells: Describer) -> None:
        """Equal seeds give equal proposals, and different seeds different ones."""
        make = registered(name)
        runs = [search(make(cells, seed=seed, **arguments()), 30) for seed in (0, 0, 1)]
        assert runs[0] == runs[1]
        assert runs[0] != runs[2]

    def test_only_the_describer_and_the_seed_are_required(self, name: str, cells: Describer) -> None:
        """A sampler proposes without known costs, a prior or an ``accept`` function."""
        assert len(search(registered(name)(cells, seed=0), 8)) == 8

    def test_proposes_only_options_of_the_space(self, name: str) -> None:
        """Each proposal is an architecture of a space with conditional choices."""
        space = TinySpace()
        everything = set(enumerate_space(space))
        study = new_study(registered(name)(describer_of(space, image_signature(SHAPE, CLASSES)), seed=0), 1)
        for number in range(30):
            trial, architecture = ask(study, space)
            assert architecture in everything
            study.tell(trial, float(number % 7))

    def test_copes_with_failed_stopped_and_constrained_trials(self, name: str, cells: Describer) -> None:
        """A third of the trials fail, a third are stopped, and half of those that do not fail violate a constraint."""
        study = new_study(registered(name)(cells, seed=0, **arguments()))
        for number in range(36):
            trial, architecture = ask(study)
            if number % 3 == 0:
                study.tell(trial, state=TrialState.FAIL)
                continue
            trial.set_constraint("error", -1.0 if number % 2 else 1.0)
            if number % 3 == 1:
                trial.set_user_attr(EXPECTED, list(both(architecture)))
                study.tell(trial, state=TrialState.PRUNED)
            else:
                trial.set_user_attr(SECONDS, cost(architecture))
                study.tell(trial, both(architecture))
        assert architecture_from(CELLS, ask(study)[0].params)

    def test_continues_from_trials_that_others_added(self, name: str, cells: Describer) -> None:
        """The seed determines the proposals after added trials, as in the rebuilt study of a resumed search."""
        rng = np.random.default_rng(0)
        before = [sample(CELLS, rng) for _ in range(25)]

        def following() -> list[Architecture]:
            study = new_study(registered(name)(cells, seed=0, **arguments()))
            for architecture in before:
                add(study, architecture, values=both(architecture), constraints={"error": -1.0})
            return [ask(study)[1] for _ in range(5)]

        assert following() == following()

    def test_refuses_an_unknown_option(self, name: str, cells: Describer) -> None:
        """A misspelt option is an error, not a setting that has no effect."""
        with pytest.raises(TypeError, match="poplation"):
            registered(name)(cells, seed=0, poplation=20)


@pytest.mark.parametrize(
    ("name", "option"), [("nsga2", "population"), ("nsga3", "population"), ("tpe", "startup_trials")]
)
def test_optuna_samplers_take_options(name: str, option: str, cells: Describer) -> None:
    """A recipe's option changes the proposals that follow, and its default is accepted too."""
    default = {"population": optuna_samplers.POPULATION, "startup_trials": optuna_samplers.STARTUP_TRIALS}[option]
    usual, given, changed = (
        search(registered(name)(cells, seed=0, **options), 40) for options in ({}, {option: default}, {option: 5})
    )
    assert given == usual
    assert changed != usual


SPACE_SAMPLERS = [
    name
    for name in plug_in_names("nas.samplers")
    if isinstance(made := load_plug_in("nas.samplers", name, "sampler"), type) and issubclass(made, SpaceSampler)
]


@pytest.mark.parametrize("name", SPACE_SAMPLERS)
class TestSpaceSampler:
    """Further promises of samplers that know the search space."""

    @pytest.fixture(name="make")
    def registered_sampler(self, name: str) -> type[SpaceSampler]:
        made = load_plug_in("nas.samplers", name, "sampler")
        assert isinstance(made, type)
        return made

    def test_never_repeats_and_is_reproducible(self, make: type[SpaceSampler], cells: Describer) -> None:
        """Each proposal is new, and the seed determines all of them."""
        runs = [search(make(cells, seed=seed, known={1: costs}), 30) for seed in (0, 0, 1)]
        assert runs[0] == runs[1]
        assert runs[0] != runs[2]
        assert len(set(runs[0])) == 30

    def test_what_is_known_need_not_be(self, make: type[SpaceSampler], cells: Describer) -> None:
        """Without known costs, costs are learned as the error is."""
        assert len(set(search(make(cells, seed=0), 20))) == 20

    def test_proposals_differ_from_what_still_runs(self, make: type[SpaceSampler], cells: Describer) -> None:
        """Ten trials that are asked for at once differ, at the beginning and later."""
        study = new_study(make(cells, seed=0, known={1: costs}))
        for _ in range(3):
            asked = [ask(study) for _ in range(10)]
            assert len({architecture for _, architecture in asked}) == 10
            for trial, architecture in asked:
                study.tell(trial, both(architecture))
        assert len({tuple(trial.params.items()) for trial in study.trials}) == 30

    def test_only_what_is_accepted_is_proposed(self, make: type[SpaceSampler], cells: Describer) -> None:
        """A rejected architecture is checked once and never proposed."""
        asked: list[Architecture] = []

        def accept(architectures: Sequence[Architecture]) -> np.ndarray:
            asked.extend(architectures)
            return costs(architectures) <= 6

        found = search(make(cells, seed=0, known={1: costs}, accept=accept), 20)
        assert all(cost(architecture) <= 6 for architecture in found)
        refused = [architecture for architecture in asked if cost(architecture) > 6]
        assert refused
        assert len(set(refused)) == len(refused)

    def test_failed_and_strange_trials_are_passed_over(self, make: type[SpaceSampler], cells: Describer) -> None:
        """Failed trials, infinite values and trials of other spaces are ignored, and are not proposed again."""
        study = new_study(make(cells, seed=0, known={1: costs}))
        study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
        gone = []
        for number in range(12):
            trial, architecture = ask(study)
            gone.append(architecture)
            if number % 3 == 0:
                study.tell(trial, state=TrialState.FAIL)
            elif number % 3 == 1:
                study.tell(trial, (float("inf"), cost(architecture)))
            else:
                study.tell(trial, both(architecture))
        following = [ask(study)[1] for _ in range(5)]
        assert not set(following) & set(gone)

    def test_what_others_proposed_does_not_come_again(self, make: type[SpaceSampler], cells: Describer) -> None:
        """A sampler does not repeat finished or stopped trials of an existing study."""
        study = new_study(make(cells, seed=0, known={1: costs}))
        rng = np.random.default_rng(0)
        before = list(dict.fromkeys(sample(CELLS, rng) for _ in range(40)))
        for architecture in before[:20]:
            add(study, architecture, values=both(architecture))
        for architecture in before[20:]:
            add(study, architecture, state=TrialState.PRUNED)
        found = [ask(study)[1] for _ in range(20)]
        assert not set(found) & set(before)

    def test_a_small_space_is_exhausted(self, make: type[SpaceSampler]) -> None:
        """Every architecture is proposed once before any is repeated."""
        space = TinySpace()
        everything = set(enumerate_space(space))
        study = new_study(make(describer_of(space, image_signature(SHAPE, CLASSES)), seed=0), 1)
        found = []
        for _ in everything:
            trial, architecture = ask(study, space)
            study.tell(trial, float(len(found)))
            found.append(architecture)
        assert set(found) == everything
        assert ask(study, space)[1] in everything
