"""What every sampler over a search space promises, in plain Optuna studies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
import pytest
from made_up_search import CELLS, CLASSES, SHAPE, add, ask, both, cost, costs, new_study, search
from optuna.trial import TrialState
from tiny_space import TinySpace

from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.plug_ins import load_plug_in, plug_in_names
from nas.space.search_space import enumerate_space, sample
from nas.space.tracing import describer_of
from predictors.space_sampler import SpaceSampler


@pytest.fixture(name="cells", scope="module")
def describer_of_cells() -> Describer:
    return describer_of(CELLS, SHAPE, CLASSES)


@pytest.mark.parametrize("name", plug_in_names("nas.samplers"))
class TestSampler:
    @pytest.fixture(name="make")
    def registered_sampler(self, name: str) -> type[SpaceSampler]:
        made = load_plug_in("nas.samplers", name, "sampler")
        assert isinstance(made, type)
        return made

    def test_never_repeats_and_is_reproducible(self, make: type[SpaceSampler], cells: Describer) -> None:
        """Each proposal is new, and the seed decides all of them."""
        runs = [search(make(cells, seed=seed, known={1: costs}), 30) for seed in (0, 0, 1)]
        assert runs[0] == runs[1]
        assert runs[0] != runs[2]
        assert len(set(runs[0])) == 30

    def test_what_is_known_need_not_be(self, make: type[SpaceSampler], cells: Describer) -> None:
        """Costs may be learned as the error is."""
        assert len(set(search(make(cells, seed=0), 20))) == 20

    def test_proposals_differ_from_what_still_runs(self, make: type[SpaceSampler], cells: Describer) -> None:
        """Ten that are asked for at once are ten different ones, at the beginning and later."""
        study = new_study(make(cells, seed=0, known={1: costs}))
        for _ in range(3):
            asked = [ask(study) for _ in range(10)]
            assert len({architecture for _, architecture in asked}) == 10
            for trial, architecture in asked:
                study.tell(trial, both(architecture))
        assert len({tuple(trial.params.items()) for trial in study.trials}) == 30

    def test_only_what_is_accepted_is_proposed(self, make: type[SpaceSampler], cells: Describer) -> None:
        """What is refused is asked about once, and never proposed."""
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
        """Failed ones, those without a finite value and others' parameters teach nothing and do not come again."""
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
        """Whether it is finished or not, in a study that a new sampler goes on with."""
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
        """Everything comes once, conditional choices too, before anything comes again."""
        space = TinySpace()
        everything = set(enumerate_space(space))
        study = new_study(make(describer_of(space, SHAPE, CLASSES), seed=0), 1)
        found = []
        for _ in everything:
            trial, architecture = ask(study, space)
            study.tell(trial, float(len(found)))
            found.append(architecture)
        assert set(found) == everything
        assert ask(study, space)[1] in everything
