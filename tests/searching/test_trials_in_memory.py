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


def test_options_are_written_into_the_trial() -> None:
    """Optuna writes each into a copy of it. They agree with earlier ones, and an ended trial gets no more."""
    study = asked(2)
    trial = study.ask()
    storage = study._storage
    held = []
    for count, choice in enumerate(EQUAL, 1):
        trial.suggest_categorical(choice.name, choice.options)
        held.append(storage.get_trial(trial._trial_id))
        assert list(held[-1].params) == [each.name for each in EQUAL[:count]]
        assert held[-1].distributions[choice.name] is distribution(choice)
    assert held[0] is held[1] is held[2]
    other = study.ask()
    other.suggest_categorical("real", (0.0, 1.0))
    with pytest.raises(ValueError, match="dynamic value space"):
        other.suggest_categorical("whole", (0, 1, 2))
    study.tell(other, 0.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_param(other._trial_id, "flag", 0, distribution(EQUAL[2]))


def test_copies_of_ended_trials_are_their_holders_own() -> None:
    """Whoever changes one changes neither the stored trials nor what they share."""
    study = asked(3)
    trial = study.ask()
    for choice in EQUAL:
        trial.suggest_categorical(choice.name, choice.options)
    for mine in (study.tell(trial, 0.0), study.trials[0], study.best_trial):
        assert mine.distributions["flag"] is distribution(EQUAL[2])
        del mine.params["flag"], mine.distributions["flag"]
    listed = study.get_trials(deepcopy=False)
    listed.sort(key=lambda each: -each.number)
    assert [each.number for each in study.trials] == [0, 1, 2, 3]
    for stored in study.trials:
        assert list(stored.params) == list(stored.distributions) == [choice.name for choice in EQUAL]
