"""``python -m experiments.pruned_studies`` tells what ``nas.ParetoPruner`` saves and loses in studies of Optuna.

    python -m experiments.pruned_studies --seeds 5

The objectives are those of ZDT1, ZDT2 and ZDT3 (Zitzler, Deb and Thiele, 2000) in ten variables. The first is a cost,
which is known at once. The second is learned: after each of 27 steps a trial sees it with an excess that falls as a
power of the step, and with noise. Each study has 200 trials, with and without the pruner, by TPE and at random. The
table has the share of steps that pruned studies took, and their hypervolume relative to that of the others.

Then 1,000 trials that do nothing but report are timed with and without the pruner, in memory and in SQLite.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna

import nas
from experiments.command_line import parser_of, positive

STEPS, TRIALS, TIMED, VARIABLES = 27, 200, 1000, 10
NOISE = 0.02
REFERENCE = np.array([1.5, 1.5])
Shape = Callable[[float, float], float]
SHAPES: dict[str, Shape] = {
    "ZDT1": lambda f, g: g * (1 - math.sqrt(f / g)),
    "ZDT2": lambda f, g: g * (1 - (f / g) ** 2),
    "ZDT3": lambda f, g: g * (1 - math.sqrt(f / g) - f / g * math.sin(10 * math.pi * f)) + 1,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = parser_of("pruned_studies", __doc__)
    parser.add_argument("--seeds", type=positive, default=5)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| problem | sampler | steps, of all | hypervolume, of the one without | lowest of the seeds |")
    print("|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        for sampler in ("TPE", "random"):
            found = np.array([compared(shape, sampler, seed) for seed in range(options.seeds)])
            (steps, volume), lowest = found.mean(axis=0), found[:, 1].min()
            print(
                f"| {name} | {sampler} | {100 * steps:.0f} % | {100 * volume:.2f} % | {100 * lowest:.2f} % |",
                flush=True,
            )
    print("\n| storage | without | with | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, url in (("memory", None), ("SQLite", f"sqlite:///{Path(folder) / 'study'}")):
            without, with_it = (
                seconds_of_reports(None if url is None else f"{url}{prunes}.db", prunes=prunes)
                for prunes in (False, True)
            )
            print(f"| {name} | {without:.2f} s | {with_it:.2f} s | {with_it / without:.2f} |", flush=True)
    return 0


def compared(shape: Shape, sampler: str, seed: int) -> tuple[float, float]:
    """Return the steps and the hypervolume of a study with the pruner, as shares of those of one without it."""
    (whole, best), (some, found) = (study_of(shape, sampler, seed, prunes=prunes) for prunes in (False, True))
    return some / whole, found / best


def study_of(shape: Shape, sampler: str, seed: int, *, prunes: bool) -> tuple[int, float]:
    """Return the number of steps of a study's trials, and the hypervolume of its whole ones."""
    makers = {"TPE": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=makers[sampler](seed=seed))
    pruner, taken = nas.ParetoPruner(STEPS) if prunes else None, 0

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        nonlocal taken
        x = [trial.suggest_float(f"x{place}", 0, 1) for place in range(VARIABLES)]
        learned, cost = shape(x[0], 1 + 9 * float(np.mean(x[1:]))), 0.05 + x[0]
        rng = np.random.default_rng((seed, trial.number))
        for step in range(1, STEPS + 1):
            taken += 1
            error = (learned + 2 * step**-0.7) * math.exp(NOISE * rng.standard_normal())
            if pruner is not None and pruner.should_prune(trial, step, max(0.0, error), known=[cost]):
                raise optuna.TrialPruned
        return learned, cost

    study.optimize(objective, n_trials=TRIALS)
    values = np.array([trial.values for trial in study.trials if trial.state.name == "COMPLETE"])
    scale = np.array([10.0, 1.0])
    return taken, nas.hypervolume(values / scale, REFERENCE)


def seconds_of_reports(url: str | None, *, prunes: bool) -> float:
    """Return the seconds of a study whose trials only report. Without the pruner they store reports the same way."""
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0), storage=url
    )
    pruner = nas.ParetoPruner(STEPS) if prunes else None

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", 0, 1)
        for step in range(1, STEPS + 1):
            if pruner is None:
                trial.set_user_attr(str(step), x + 1 / step)
            elif pruner.should_prune(trial, step, x + 1 / step, known=[2 - x]):
                raise optuna.TrialPruned
        return x, 2 - x

    began = time.perf_counter()
    study.optimize(objective, n_trials=TIMED if url is None else TIMED // 10)
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
