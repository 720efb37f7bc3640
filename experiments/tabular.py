"""``python -m experiments.tabular`` compares searches of ``mlp`` with HistGradientBoosting on scikit-learn's tables.

    python -m experiments.tabular --seeds 5 --trials 12 --folder runs/tabular

Each seed has a test split of its own: a fifth of the rows, of each class alike. A search sees the other rows, and the
boosted trees, with scikit-learn's defaults, are fitted to the same ones. Of the winners, the one with the lowest
*validation* error counts, and the smallest of several, so that the test split chooses nothing. The other objective is
the number of parameters, which needs no device.
The script prints for each table the mean test errors over the seeds, the standard error of those of the trees, and
whether the networks are within one of it. Errors are shares of wrong rows, and for ``diabetes`` the squared error over
the variance of the training rows.
Runs that have ended are read from ``--folder`` instead of being repeated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

import nas
from experiments.command_line import heading, line, parser_of, positive

TABLES = {
    "breast-cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "wine": datasets.load_wine,
}
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Compared:
    """The test errors of a search's winner and of the boosted trees, and the latencies of both."""

    network: float
    trees: float
    network_ms: float
    trees_ms: float


def task_of(name: str, seed: int) -> nas.Tabular:
    """Return one of scikit-learn's tables with a test split by ``seed``."""
    frame = TABLES[name](as_frame=True).frame
    classes = None if name == "diabetes" else frame["target"]
    rest, test = train_test_split(frame, test_size=TEST_SHARE, stratify=classes, random_state=seed)
    return nas.Tabular.from_frame(rest, target="target", test=test, seed=seed, name=name)


def searched(name: str, seed: int, trials: int, folder: Path) -> nas.Run:
    """Return the record of the search with a seed, which is made unless it is in ``folder``."""
    run = f"{name}-{seed}"
    if not (folder / run).exists() or not nas.load_run(folder / run).is_over:
        recipe = {
            "name": run,
            "seed": seed,
            "trials": trials,
            "objectives": ["error", "params"],
            "measuring": {"rounds": 2, "max_rounds": 5},
            "retraining": {"winners": 3},
            "execution": {"executor": "inline"},
        }
        nas.search(recipe, data=task_of(name, seed), runs=folder, progress=None)
    return nas.load_run(folder / run)


def compared(run: nas.Run) -> Compared:
    """Return the errors of a run: of the winner with the lowest validation error, and of its baseline."""
    trained = [row for row in run.rows if row.stage == "train" and not row.failed]
    validated = {row.architecture: row.values["error"] for row in trained}
    best = min(run.front, key=lambda winner: (validated[winner.architecture], winner.value("params")))
    (trees,) = run.baselines
    return Compared(
        best.test_error,
        trees.scores["error"][0],
        best.value("latency_ms"),
        trees.measurements["latency_ms"].median if trees.measurements else math.nan,
    )


def summary(name: str, found: Sequence[Compared]) -> list[str]:
    """Return the cells of a line about one table: errors, the standard error of the trees', and the verdict."""
    networks, trees = (np.array([getattr(each, kind) for each in found]) for kind in ("network", "trees"))
    spread = float(trees.std(ddof=1)) / math.sqrt(len(trees)) if len(trees) > 1 else math.nan
    behind = float(networks.mean() - trees.mean())
    verdict = "within" if behind <= spread else "not within"
    times = [float(np.median([getattr(each, kind) for each in found])) for kind in ("network_ms", "trees_ms")]
    return [
        name,
        f"{networks.mean():.4f}",
        f"{trees.mean():.4f} ± {spread:.4f}",
        f"{verdict} one standard error",
        f"{1000 * times[0]:.1f} µs",
        f"{1000 * times[1]:.1f} µs",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Search in each table with each seed, and print a line for each table."""
    parser = parser_of("tabular", __doc__)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--seeds", type=positive, default=5)
    parser.add_argument("--trials", type=positive, default=12)
    parser.add_argument("--folder", type=Path, default=Path("runs/tabular"))
    given = parser.parse_args(arguments)
    print("\n".join(heading(["table", "network", "HistGradientBoosting", "verdict", "latency", "of the trees"])))
    for name in given.tables:
        runs = [searched(name, seed, given.trials, given.folder) for seed in range(given.seeds)]
        print(line(summary(name, [compared(run) for run in runs])), flush=True)


if __name__ == "__main__":
    main()
