"""Pruning of Optuna's studies with several objectives."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

import nas
from nas.values.pareto import hypervolume

STEPS, TRIALS = 12, 60
Objective = Callable[[optuna.Trial], tuple[float, float]]


def study_of(*directions: str, storage: str | None = None) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(
        directions=list(directions), sampler=sampler, storage=storage, study_name="s", load_if_exists=True
    )


def objective_of(
    pruner: nas.ParetoPruner | None, steps_done: list[int], sign: float = 1.0, every: int = 1
) -> Objective:
    """ZDT1's two objectives: the first is a cost, known at once, and the second comes nearer with each step.

    With ``sign`` -1 it is an accuracy that grows, from which 1 is the error. Only one step in ``every`` is reported.
    """

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = np.array([trial.suggest_float(f"x{place}", 0, 1) for place in range(4)])
        g = 1 + 3 * float(x[1:].mean())
        cost, error = 0.1 + float(x[0]), g * (1 - math.sqrt(float(x[0]) / g)) / 4
        rng = np.random.default_rng(trial.number)
        for step in range(1, STEPS + 1):
            steps_done[0] += 1
            seen = (error + 0.4 / step) * math.exp(0.02 * rng.standard_normal())
            value = seen if sign > 0 else 1 - seen
            if step % every or pruner is None:
                continue
            if pruner.should_prune(trial, step, value, known=[cost]):
                raise optuna.TrialPruned
        return value, cost

    return objective


def volume(study: optuna.Study, sign: float = 1.0) -> float:
    found = [each.values for each in study.trials if each.state.name == "COMPLETE"]
    losses = np.array([[value if sign > 0 else 1 - value, cost] for value, cost in found])
    return float(hypervolume(losses[(losses < 1.2).all(axis=1)], np.array([1.2, 1.2])))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_saves_steps_and_keeps_the_front(sign: float) -> None:
    """Also of an objective that is maximised. The same trials are asked with and without it."""
    directions = ("minimize" if sign > 0 else "maximize", "minimize")
    whole, pruned = [0], [0]
    calm, study = study_of(*directions), study_of(*directions)
    calm.optimize(objective_of(None, whole, sign), n_trials=TRIALS)
    pruner = nas.ParetoPruner(STEPS, best=0.0 if sign > 0 else 1.0)
    study.optimize(objective_of(pruner, pruned, sign), n_trials=TRIALS)
    assert [each.params for each in study.trials] == [each.params for each in calm.trials]
    assert pruned[0] < 0.6 * whole[0]
    assert volume(study, sign) > 0.99 * volume(calm, sign)


@pytest.mark.parametrize("every", [3, 4])
def test_steps_between_those_that_are_compared_count_too(every: int) -> None:
    """Many validate each few steps, and those need not be the ones at which trials are compared."""
    whole, pruned = [0], [0]
    calm, study = study_of("minimize", "minimize"), study_of("minimize", "minimize")
    calm.optimize(objective_of(None, whole), n_trials=TRIALS)
    study.optimize(objective_of(nas.ParetoPruner(STEPS), pruned, every=every), n_trials=TRIALS)
    assert pruned[0] < 0.7 * whole[0]
    assert volume(study) > 0.99 * volume(calm)


def test_a_whole_trial_is_never_pruned() -> None:
    """With a report at the end alone, it has been paid for."""
    study, pruner = study_of("minimize", "minimize"), nas.ParetoPruner(STEPS)
    study.optimize(objective_of(pruner, [0], every=STEPS), n_trials=TRIALS)
    assert {each.state.name for each in study.trials} == {"COMPLETE"}


def test_a_trial_may_go_on_with_another_pruner() -> None:
    """What it reported before stands: its next report is for no step that is compared."""
    study, first = study_of("minimize", "minimize"), nas.ParetoPruner(STEPS)
    trial = study.ask()
    for step in range(1, 6):
        first.should_prune(trial, step, 0.5, [1.0])
    second = nas.ParetoPruner(STEPS)
    assert not second.should_prune(trial, 6, 0.1, [1.0])
    assert second._rung(5, 6) is None
    assert second._reported == {trial.number: {1, 2, 3, 4, 5, 6}}


@pytest.mark.slow
def test_another_process_knows_what_was_reported(tmp_path: Path) -> None:
    """A pruner that was made later decides as the one that saw everything."""
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    first = nas.ParetoPruner(STEPS)
    study_of("minimize", "minimize", storage=storage).optimize(objective_of(first, [0]), n_trials=25)
    later = nas.ParetoPruner(STEPS)
    study = study_of("minimize", "minimize", storage=storage)
    decisions = []
    for number in range(10):
        trial, x = study.ask(), number / 10
        for step in (3, 5, 8):
            values = (trial, step, 0.2 + x, [0.3 + x])
            decisions.append((first.should_prune(*values), later.should_prune(*values)))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert len(set(decisions)) > 1, "some go on, and some do not"
    assert all(one == other for one, other in decisions)


def test_known_values_are_stored_once_and_again_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing takes milliseconds in a database."""
    stored: list[str] = []
    study, pruner = study_of("minimize", "minimize"), nas.ParetoPruner(STEPS)
    trial, store = study.ask(), optuna.Trial.set_user_attr

    def counted(self: optuna.Trial, key: str, value: object) -> None:
        stored.append(key)
        store(self, key, value)

    monkeypatch.setattr(optuna.Trial, "set_user_attr", counted)
    for step, cost in ((1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)):
        pruner.should_prune(trial, step, 0.5, known=[cost])
    assert sorted(Counter(stored).values()) == [1, 1, 1, 1, 2]
    assert [2.0] in trial.user_attrs.values()


def test_trials_without_reports_and_steps_left_out_are_no_hindrance() -> None:
    """Only what was reported counts; a step that was left out has the value of the next one."""
    study, pruner = study_of("minimize", "minimize"), nas.ParetoPruner(4, check=3, reduction=2, least_correlation=-1)
    study.add_trial(optuna.trial.create_trial(values=[0.1, 0.1]))
    for error in (0.1, 0.2, 0.3):
        trial = study.ask()
        for step in (2, 4):
            assert not pruner.should_prune(trial, step, error, [1.0])
        study.tell(trial, [error, 1.0])
    trial = study.ask()
    assert not pruner.should_prune(trial, 1, 0.9, [1.0]), "no other reported step 1"
    assert pruner.should_prune(trial, 2, 0.9, [1.0])


@pytest.mark.parametrize(
    ("directions", "step", "value", "known", "says"),
    [
        (("minimize",), 1, 0.5, [1.0], "several directions"),
        (("minimize", "minimize"), 0, 0.5, [1.0], "from 1 to 12, but got 0"),
        (("minimize", "minimize"), 13, 0.5, [1.0], "from 1 to 12, but got 13"),
        (("minimize", "minimize"), 1, math.nan, [1.0], "raise optuna.TrialPruned yourself"),
        (("minimize", "minimize"), 1, -0.5, [1.0], "its best value is 0"),
        (("maximize", "minimize"), 1, 0.5, [1.0], r"ParetoPruner\(best=…\)"),
        (("minimize", "minimize"), 1, 0.5, [], "must hold 1 finite numbers above 0"),
        (("minimize", "minimize"), 1, 0.5, [0.0], "above 0"),
        (("minimize", "minimize", "maximize"), 1, 0.5, [1.0, math.inf], "must hold 2 finite"),
    ],
)
def test_what_it_cannot_take_is_told(
    directions: tuple[str, ...], step: int, value: float, known: list[float], says: str
) -> None:
    trial = study_of(*directions).ask()
    with pytest.raises(ValueError, match=says):
        nas.ParetoPruner(STEPS).should_prune(trial, step, value, known)


def test_it_follows_one_study_and_knows_its_settings() -> None:
    pruner = nas.ParetoPruner(STEPS)
    pruner.should_prune(study_of("minimize", "minimize").ask(), 1, 0.5, [1.0])
    other = optuna.create_study(directions=["minimize", "minimize"], study_name="other")
    with pytest.raises(ValueError, match=r"follows one study, 's', but got a trial of 'other'"):
        pruner.should_prune(other.ask(), 1, 0.5, [1.0])
    with pytest.raises(nas.RecipeError, match=r"early_stopping\.marging"):
        nas.ParetoPruner(STEPS, marging=2)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        nas.ParetoPruner(0)
    with pytest.raises(ValueError, match="below 2, but it is 2"):
        nas.ParetoPruner(STEPS, learned=2).should_prune(study_of("minimize", "minimize").ask(), 1, 0.5, [1.0])


def test_trials_in_threads_know_of_each_other() -> None:
    """None fails, whatever one reads while another writes, and each whole trial counts once."""
    study, pruner = study_of("minimize", "minimize"), nas.ParetoPruner(STEPS, reduction=1.3)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        study.optimize(objective_of(pruner, [0]), n_trials=120, n_jobs=8)
    finally:
        sys.setswitchinterval(before)
    states = [each.state.name for each in study.trials]
    assert set(states) == {"COMPLETE", "PRUNED"}
    assert len(pruner._whole) <= states.count("COMPLETE")
