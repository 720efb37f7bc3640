"""The record of a study reads each trial once, and keeps the front as trials end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from made_up_search import CELLS, add, ask, new_study
from optuna.trial import TrialState

from nas.space.search_space import sample, settle
from nas.values.pareto import non_dominated
from predictors.samplers.study_record import StudyRecord


@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_that_of_all_feasible_trials_after_each_of_them(seed: int) -> None:
    """If none is feasible, all compete. Equal losses stay together."""
    rng = np.random.default_rng(seed)
    study, record = new_study(optuna.samplers.RandomSampler(seed=0)), StudyRecord(CELLS)
    assert record.front.tolist() == []
    for number in range(60):
        excess = 1.0 if number < 10 or rng.random() < 0.3 else -1.0
        losses = rng.integers(0, 8, 2).astype(float).tolist()
        add(study, sample(CELLS, rng), values=losses, constraints={"limit": excess})
        record.read(study)
        feasible = [place for place, each in enumerate(record.finished) if each.is_feasible]
        among = np.array(feasible or range(len(record.finished)))
        losses_NM = np.array([each.losses for each in record.finished])
        assert np.array_equal(record.losses, losses_NM)
        assert record.front.tolist() == among[non_dominated(losses_NM[among])].tolist()


class Counting(list[Any]):
    """Trials that count how many of them were looked at."""

    looked = 0

    def __iter__(self) -> Iterator[Any]:
        for trial in super().__iter__():
            type(self).looked += 1
            yield trial

    def __getitem__(self, index: Any) -> Any:
        type(self).looked += 1
        return super().__getitem__(index)


def test_trials_that_have_ended_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at all trials in each proposal would grow with the square of their number, also while an old one runs."""
    study, record = new_study(optuna.samplers.RandomSampler(seed=0)), StudyRecord(CELLS)
    trials, storage = Counting(), study._storage
    first, _ = ask(study)
    trials.append(storage.get_trial(first._trial_id))
    for _ in range(100):
        trial, _ = ask(study)
        study.tell(trial, (1.0, 2.0))
        trials.append(storage.get_trial(trial._trial_id))
        with monkeypatch.context() as patch:
            patch.setattr(storage, "get_all_trials", lambda study_id, deepcopy: trials)
            record.read(study)
    assert len(record.finished) == 100
    assert len(record.running) == 1
    assert Counting.looked <= 2 * 100 + 1


def test_trials_are_read_after_one_that_could_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption, or an error of the space, loses nothing that ended."""
    study, record = new_study(optuna.samplers.RandomSampler(seed=0)), StudyRecord(CELLS)
    for _ in range(6):
        study.tell(ask(study)[0], (1.0, 2.0))
    with monkeypatch.context() as patch:
        found = iter([0, 0, KeyboardInterrupt()])
        read = StudyRecord._architecture_of

        def once(self: StudyRecord, trial: optuna.trial.FrozenTrial) -> object:
            if isinstance(error := next(found), BaseException):
                raise error
            return read(self, trial)

        patch.setattr(StudyRecord, "_architecture_of", once)
        with pytest.raises(KeyboardInterrupt):
            record.read(study)
    record.read(study)
    assert len(record.finished) == 6


def test_brackets_of_hyperband_are_one_study() -> None:
    """Optuna shows samplers the trials of one bracket, but each is evidence."""
    record = StudyRecord(CELLS)
    read: list[tuple[int, int]] = []

    class Reading(optuna.samplers.RandomSampler):
        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            record.read(study)
            read.append((len(record.finished), trial.number))
            return {}

    def evaluate(trial: optuna.Trial) -> float:
        settle(CELLS, lambda choice: trial.suggest_categorical(choice.name, choice.options))
        return 1.0

    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
    study = optuna.create_study(sampler=Reading(seed=0), pruner=pruner)
    study.optimize(evaluate, n_trials=20)
    assert read == [(number, number) for number in range(20)]


def test_a_trial_that_ends_after_later_ones_is_read_then() -> None:
    """Workers end in any order."""
    study, record = new_study(optuna.samplers.RandomSampler(seed=0)), StudyRecord(CELLS)
    first, architecture = ask(study)
    for _ in range(3):
        later, _ = ask(study)
        study.tell(later, (1.0, 2.0))
        record.read(study)
    assert record.running == [architecture]
    study.tell(first, state=TrialState.FAIL)
    record.read(study)
    assert record.running == []
    assert len(record.finished) == 3
