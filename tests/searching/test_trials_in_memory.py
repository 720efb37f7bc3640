"""Optuna's trials in memory: what they share, and that their options keep their types."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from nas.searching.trials_in_memory import Trials, distribution
from nas.space.architecture import Choice

EQUAL = (Choice("whole", (0, 1)), Choice("real", (0.0, 1.0)), Choice("flag", (False, True)))


def asked(trials: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=Trials(), sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(trials):
        trial = study.ask()
        for choice in EQUAL:
            trial.suggest_categorical(choice.name, choice.options)
        study.tell(trial, float(number))
    return study


@pytest.mark.parametrize("choice", EQUAL, ids=lambda choice: choice.name)
def test_trials_share_the_options_of_a_choice(choice: Choice) -> None:
    """Each had its own before, a third of the memory of a long search. Equal options of other types are others."""
    trials = asked(5).get_trials(deepcopy=False)
    assert {id(trial.distributions[choice.name]) for trial in trials} == {id(distribution(choice))}
    assert {type(trial.params[choice.name]) for trial in trials} == {type(choice.options[0])}
    options = trials[0].distributions[choice.name].choices  # type: ignore[attr-defined]
    assert list(map(type, options)) == list(map(type, choice.options))


def test_ended_trials_with_the_same_choices_share_their_dictionary() -> None:
    """It was a tenth of the memory of a long search. Trials with other choices, or other bounds, have others."""
    study = asked(3)
    given = optuna.create_study(storage=Trials())
    given.add_trials(study.trials)
    for trials in (study.get_trials(deepcopy=False), given.get_trials(deepcopy=False)):
        assert len({id(trial.distributions) for trial in trials}) == 1
    for high in (2.0, 3.0):
        trial = study.ask()
        trial.suggest_float("rate", 1.0, high)
        study.tell(trial, 0.0)
    narrow, wide = study.get_trials(deepcopy=False)[-2:]
    assert (narrow.distributions["rate"].high, wide.distributions["rate"].high) == (2.0, 3.0)  # type: ignore[attr-defined]


def test_other_parameters_are_taken_as_they_are() -> None:
    """A number of a sampler's own has no options."""
    study = asked(1)
    trial = study.ask()
    assert 1.0 <= trial.suggest_float("rate", 1.0, 2.0) <= 2.0
    study.tell(trial, state=TrialState.FAIL)
    assert study.trials[-1].distributions["rate"] == optuna.distributions.FloatDistribution(1.0, 2.0)


def test_nothing_waits_and_all_are_found() -> None:
    """Optuna asks for waiting trials before each proposal, and here none ever waits."""
    study = asked(3)
    storage, number = study._storage, study._study_id
    assert storage.get_all_trials(number, states=(TrialState.WAITING,)) == []
    assert len(storage.get_all_trials(number)) == 3


def test_a_trial_that_is_asked_holds_its_options_and_their_shared_distributions() -> None:
    """Options are written into the trial, as Optuna writes them into a copy of it, and agree with those before."""
    study = asked(2)
    trial = study.ask()
    for count, choice in enumerate(EQUAL, 1):
        trial.suggest_categorical(choice.name, choice.options)
        stored = study._storage.get_trial(trial._trial_id)
        assert list(stored.params) == [each.name for each in EQUAL[:count]]
        assert stored.distributions[choice.name] is distribution(choice)
    with pytest.raises(ValueError, match="dynamic value space"):
        study.ask().suggest_categorical("whole", (0, 1, 2))


def test_the_list_of_trials_is_not_copied_for_samplers() -> None:
    """A copy of a hundred thousand for each proposal takes a millisecond; the trials of users are their own."""
    study = asked(3)
    assert study.get_trials(deepcopy=False) is study.get_trials(deepcopy=False)
    study.trials.clear()
    study.trials[0].params["whole"] = 5
    assert [trial.params["whole"] in (0, 1) for trial in study.trials] == [True] * 3


def test_telling_a_trial_leaves_what_ended_trials_share() -> None:
    """Optuna copies what it returns, and the dictionary of many trials is not copied with each."""
    study = asked(1)
    trial = study.ask()
    for choice in EQUAL:
        trial.suggest_categorical(choice.name, choice.options)
    told = study.tell(trial, 0.0)
    assert told.distributions is study.get_trials(deepcopy=False)[0].distributions
    assert told.params is not study.get_trials(deepcopy=False)[-1].params
