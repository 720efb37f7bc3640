"""``python -m experiments.tabular`` compares searches with scikit-learn's models, as they are, on its own tables.

    python -m experiments.tabular --seeds 5 --trials 12 --folder runs/tabular

Each seed has a test split of its own: a fifth of the rows, of each class alike. Searches of each space in ``--spaces``
see the other rows. Two models with scikit-learn's defaults are fitted to the same ones: HistGradientBoosting, and a
logistic regression or, for numbers, a ridge. Of the winners, the one with the lowest *validation* error counts, and the
smallest of several, so that the test split chooses nothing. The other objective is the number of parameters, which
needs no device.
The script prints for each table and model the mean test error over the seeds with its standard error, whether it is
within one standard error of HistGradientBoosting, and the median latency of one row. Errors are shares of wrong rows,
and for ``diabetes`` the squared error over the variance of the training rows.
Runs that have ended are read from ``--folder`` instead of being repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split

import nas
from experiments.command_line import heading, line, names, parser_of, positive

TABLES = {
    "breast-cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "wine": datasets.load_wine,
}
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Scored:
    """The test error of a model, and the latency of one row; NaN if it is not measured."""

    error: float
    latency_ms: float = math.nan


def task_of(name: str, seed: int) -> nas.Tabular:
    """Return one of scikit-learn's tables with a test split by ``seed``."""
    frame = TABLES[name](as_frame=True).frame
    classes = None if name == "diabetes" else frame["target"]
    rest, test = train_test_split(frame, test_size=TEST_SHARE, stratify=classes, random_state=seed)
    return nas.Tabular.from_frame(rest, target="target", test=test, seed=seed, name=name)


def searched(name: str, space: str, seed: int, trials: int, folder: Path) -> nas.Run:
    """Return the record of the search of a space with a seed, which is made unless it is in ``folder``."""
    run = f"{name}-{space}-{seed}"
    if not (folder / run).exists() or not nas.load_run(folder / run).is_over:
        recipe = {
            "name": run,
            "space": space,
            "seed": seed,
            "trials": trials,
            "objectives": ["error", "params"],
            "measuring": {"rounds": 2, "max_rounds": 5},
            "retraining": {"winners": 3},
            "execution": {"executor": "inline"},
        }
        nas.search(recipe, data=task_of(name, seed), runs=folder, progress=None)
    return nas.load_run(folder / run)


def winner_of(run: nas.Run) -> Scored:
    """Return the scores of the winner with the lowest validation error."""
    trained = [row for row in run.rows if row.stage == "train" and not row.failed]
    validated = {row.architecture: row.values["error"] for row in trained}
    best = min(run.front, key=lambda winner: (validated[winner.architecture], winner.value("params")))
    assert best.test_error is not None
    return Scored(best.test_error, best.value("latency_ms"))


def trees_of(run: nas.Run) -> Scored:
    """Return the scores of a run's baseline."""
    (trees,) = run.baselines
    measured = trees.measurements
    return Scored(trees.scores["error"][0], measured["latency_ms"].median if measured else math.nan)


def linear_of(task: nas.Tabular) -> Scored:
    """Return the test error of scikit-learn's linear model, fitted to the training and validation rows."""
    parts = [task.train, task.validation]
    fitted = np.concatenate([task.columns.prepared(part.raw)[0] for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    tested = task.columns.prepared(task.test.raw)[0]
    if task.classes:
        answers = LogisticRegression(max_iter=10_000).fit(fitted, targets).predict(tested)
        return Scored(float((answers != task.test.targets).mean()))
    values = Ridge().fit(fitted, targets).predict(tested)
    return Scored(float(np.square(values.reshape(task.test.targets.shape) - task.test.targets).mean()))


def summary(name: str, model: str, found: Sequence[Scored], trees: Sequence[Scored]) -> list[str]:
    """Return the cells of a line about one model on one table. ``trees`` are those with which it is compared."""
    errors, others = (np.array([each.error for each in some]) for some in (found, trees))
    behind = float(errors.mean() - others.mean())
    latency_ms = float(np.median([each.latency_ms for each in found]))
    return [
        name,
        model,
        f"{errors.mean():.4f} ± {_standard_error(errors):.4f}",
        "yes" if behind <= _standard_error(others) else "no",
        "" if math.isnan(latency_ms) else f"{1000 * latency_ms:.1f} µs",
    ]


def _standard_error(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def main(arguments: Sequence[str] | None = None) -> None:
    """Search in each table with each seed, and print a line for each table and model."""
    parser = parser_of("tabular", __doc__)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--spaces", type=names, default=("mlp", "boosted"))
    parser.add_argument("--seeds", type=positive, default=5)
    parser.add_argument("--trials", type=positive, default=12)
    parser.add_argument("--folder", type=Path, default=Path("runs/tabular"))
    given = parser.parse_args(arguments)
    titles = ["table", "model", "test error", "within one standard error of the trees", "latency"]
    print("\n".join(heading(titles)))
    for name in given.tables:
        runs = {
            space: [searched(name, space, seed, given.trials, given.folder) for seed in range(given.seeds)]
            for space in given.spaces
        }
        trees = [trees_of(run) for run in runs[given.spaces[0]]]
        rows = {space: [winner_of(run) for run in found] for space, found in runs.items()}
        rows["HistGradientBoosting"] = trees
        rows["linear, as it is"] = [linear_of(task_of(name, seed)) for seed in range(given.seeds)]
        for model, found in rows.items():
            print(line(summary(name, model, found, trees)), flush=True)


if __name__ == "__main__":
    main()
