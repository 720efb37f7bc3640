"""An artificial error and cost of the cells of NAS-Bench-201, and searches for their front in Optuna studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import optuna

from nas.space.architecture import Architecture
from nas.space.search_space import SearchSpace, load_space, sample, settle

SHAPE, CLASSES = (1, 8, 8), 10
CELLS = load_space("nasbench201", {}, input_shape=SHAPE, classes=CLASSES)
WEIGHTS = {"none": 0.0, "skip_connect": 0.5, "nor_conv_1x1": 1.0, "nor_conv_3x3": 2.0, "avg_pool_3x3": 0.2}


def error(architecture: Architecture) -> float:
    """Return an error that falls with the work of the edges; those into the output count twice, direct skips add 3."""
    work = sum(WEIGHTS[str(option)] * (2 if name.startswith("op_e3") else 1) for name, option in architecture.items())
    return 5 + 60 * float(np.exp(-0.4 * work)) + (3 if architecture["op_e30"] == "skip_connect" else 0)


def cost(architecture: Architecture) -> float:
    """Return a cost that adds up over the edges."""
    return 1 + sum(WEIGHTS[str(option)] ** 1.5 for option in architecture.values())


def both(architecture: Architecture) -> tuple[float, float]:
    """Return error and cost."""
    return error(architecture), cost(architecture)


def costs(architectures: Sequence[Architecture]) -> np.ndarray:
    """Return the costs of several architectures, as samplers expect known costs."""
    return np.array([cost(architecture) for architecture in architectures])


def new_study(sampler: optuna.samplers.BaseSampler, objectives: int = 2) -> optuna.Study:
    """Return a study that minimises all objectives with this sampler."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


def ask(study: optuna.Study, space: SearchSpace = CELLS) -> tuple[optuna.Trial, Architecture]:
    """Ask the study for a trial, and return it with its architecture."""
    trial = study.ask()
    return trial, settle(space, lambda choice: trial.suggest_categorical(choice.name, choice.options))


def search(
    sampler: optuna.samplers.BaseSampler,
    evaluations: int,
    losses: Callable[[Architecture], tuple[float, ...]] = both,
) -> list[Architecture]:
    """Return the evaluated architectures in order, in a new study."""
    study = new_study(sampler, len(losses(sample(CELLS, np.random.default_rng(0)))))
    return search_in(study, evaluations, losses)


def search_in(
    study: optuna.Study, evaluations: int, losses: Callable[[Architecture], tuple[float, ...]] = both
) -> list[Architecture]:
    """Return the evaluated architectures in order, in this study."""
    found = []
    for _ in range(evaluations):
        trial, architecture = ask(study)
        study.tell(trial, losses(architecture))
        found.append(architecture)
    return found


def add(study: optuna.Study, architecture: Architecture, **options: object) -> None:
    """Add a trial that another sampler proposed."""
    distributions = {
        choice.name: optuna.distributions.CategoricalDistribution(choice.options)
        for choice in CELLS.choices
        if choice.name in architecture
    }
    study.add_trial(
        optuna.trial.create_trial(params=dict(architecture), distributions=distributions, **options)  # type: ignore[arg-type]
    )
