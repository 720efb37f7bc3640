"""Prunes a study with two objectives: an error that is learned step by step, and a latency that is known before."""

from __future__ import annotations

import optuna
import optunahub

STEPS = 20
pruner = optunahub.load_module(package="pruners/pareto_pruner").ParetoPruner(steps=STEPS)


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """A wider model is slower, and its error ends lower."""
    width = trial.suggest_int("width", 1, 64)
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    latency_ms = 0.1 + width / 64
    error = 1.0
    for step in range(1, STEPS + 1):
        error = 1 / width + dropout / 10 + 1 / step
        if pruner.should_prune(trial, step, error, known=[latency_ms]):
            raise optuna.TrialPruned
    return error, latency_ms


study = optuna.create_study(directions=["minimize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))
study.optimize(objective, n_trials=60)
whole = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
print(f"{whole} of {len(study.trials)} trials ran to their end; {len(study.best_trials)} are on the front")
