"""What searchers find on a table in little time, where evaluations take as long as networks have work.

    python -m experiments.short_of_time --table T.csv.gz --space nasbench_macro --accuracy mean_acc --cost flops
        --seconds flops --rows 5,10,20 --seeds 10

Costs are known beforehand. The time is that in which so many rows of the table are evaluated on average, one after the
other; what is being evaluated when it is over still counts. An evaluation takes a constant part, ``--overhead`` of the
mean of ``--seconds`` over the table, and a part in proportion to this column. Scores are as those of
``experiments.compare_searchers``. ``gp, by the second`` is the sampler as ``nas search --time`` uses it, ``gp`` the
same without weighing time.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import optuna

from experiments.command_line import heading, image_shape, line, names, positive
from experiments.search_tasks import MOST_USELESS, FloatArray, Networks, Task
from experiments.searchers import POPULATION, suggest
from nas.errors import NasError, RecipeError
from nas.searching.proposer import SECONDS
from nas.space.architecture import Architecture
from nas.space.search_space import load_space, settle
from nas.space.tracing import describer_of
from nas.storage.journal import write_aside
from nas.tables.table import read_table
from predictors.samplers.surrogate_sampler import SurrogateSampler


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line."""

    table: Path
    space: str
    accuracy: str
    score: str
    cost: str
    seconds: str
    overhead: float
    rows: tuple[int, ...]
    input_shape: tuple[int, int, int]
    classes: int


@dataclass(frozen=True)
class Run:
    """One searcher with one seed: by the time, as a number of rows, how many were evaluated and the share found."""

    searcher: str
    seed: int
    evaluated: dict[int, int]
    hypervolume_percent: dict[int, float]


class Study:
    """The table, its task, and how long each row takes, relative to the mean."""

    def __init__(self, settings: Settings) -> None:
        """Raises RecipeError or SpaceError where the settings do not fit the table."""
        shape, classes = settings.input_shape, settings.classes
        self.space = load_space(settings.space, {}, input_shape=shape, classes=classes)
        table = read_table(settings.table, self.space)
        self.networks = Networks(table, self.space)
        self.task = Task.of(table, settings.accuracy, settings.score, (settings.cost,))
        self.describer = describer_of(self.space, shape, classes)
        work = table.column(settings.seconds, positive=True)
        if not np.isfinite(work[self.task.usable]).all():
            raise RecipeError(f"every row must tell how long it takes, but {settings.seconds!r} lacks values.")
        relative = work / work[self.task.usable].mean()
        self.seconds: FloatArray = (settings.overhead + relative) / (settings.overhead + 1)

    def row(self, architecture: Architecture) -> int | None:
        """Where an architecture stands, if it is part of the task."""
        row = self.networks.row(architecture)
        return None if row is None or np.isnan(self.task.losses[row, 0]) else row

    def costs(self, architectures: Sequence[Architecture]) -> FloatArray:
        """What is known beforehand, shape (N,); the largest of all where there is none."""
        rows = [self.row(architecture) for architecture in architectures]
        largest = float(self.task.losses[self.task.usable, 1].max())
        return np.array([largest if row is None else self.task.losses[row, 1] for row in rows])


def _gp(study: Study, seed: int, *, weigh_time: bool) -> optuna.samplers.BaseSampler:
    return SurrogateSampler(
        study.describer,
        seed=seed,
        known={1: study.costs},
        accept=lambda architectures: np.array([study.row(each) is not None for each in architectures]),
        weigh_time=weigh_time,
    )


SEARCHERS: dict[str, Callable[[Study, int], optuna.samplers.BaseSampler]] = {
    "gp, by the second": functools.partial(_gp, weigh_time=True),
    "gp": functools.partial(_gp, weigh_time=False),
    "Optuna's TPE, multivariate": lambda _, seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
    "Optuna's NSGA-II": lambda _, seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
    "random": lambda _, seed: optuna.samplers.RandomSampler(seed=seed),
}


@functools.lru_cache(maxsize=1)
def study_of(settings: Settings) -> Study:
    """The study, made once in each process."""
    return Study(settings)


def search(settings: Settings, job: tuple[str, int]) -> Run:
    """One searcher, named with its seed by ``job``. What failed or was evaluated before takes no time."""
    (name, seed), study = job, study_of(settings)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = optuna.create_study(directions=["minimize"] * 2, sampler=SEARCHERS[name](study, seed))
    ended_s: list[float] = []
    rows: dict[int, None] = {}
    spent_s, useless = 0.0, 0
    while spent_s < max(settings.rows) and useless < MOST_USELESS:
        trial = found.ask()
        row = study.row(_proposal(study, trial))
        useless += 1
        if row is None:
            found.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        if row not in rows:
            rows[row] = None
            useless = 0
            spent_s += float(study.seconds[row])
            ended_s.append(spent_s)
        trial.set_user_attr(SECONDS, float(study.seconds[row]))
        found.tell(trial, study.task.losses[row].tolist())
    begun_s = np.concatenate([[0.0], ended_s[:-1]])
    shares = study.task.shares(list(rows))
    counts = {until: int((begun_s < until).sum()) for until in settings.rows}
    return Run(name, seed, counts, {until: float(shares[count - 1]) for until, count in counts.items()})


def _proposal(study: Study, trial: optuna.Trial) -> Architecture:
    return settle(study.space, functools.partial(suggest, trial))


def summary(runs: Sequence[Run], rows: Sequence[int]) -> str:
    """A Markdown table of means over the seeds, and of the standard error of each share."""
    titles = [f"in the time of {until} rows: evaluated, found" for until in rows]
    lines = heading(["searcher", *titles])
    for name in dict.fromkeys(run.searcher for run in runs):
        its = [run for run in runs if run.searcher == name]
        cells = []
        for until in rows:
            shares = [run.hypervolume_percent[until] for run in its]
            error = np.std(shares, ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else float("nan")
            evaluated = np.mean([run.evaluated[until] for run in its])
            cells.append(f"{evaluated:.1f}, {np.mean(shares):.1f} ± {error:.1f} %")
        lines.append(line([name, *cells]))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Search with each searcher and seed, write the file, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.short_of_time",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=Path, required=True, help="CSV, gzip or plain")
    parser.add_argument("--space", required=True, help="a registered space, or module:Name")
    parser.add_argument("--accuracy", required=True, metavar="COLUMN", help="in per cent, as searchers see it")
    parser.add_argument("--score", metavar="COLUMN", help="in per cent, for the scores; default: --accuracy")
    parser.add_argument("--cost", required=True, metavar="COLUMN")
    parser.add_argument(
        "--seconds", required=True, metavar="COLUMN", help="in proportion to which evaluations take time"
    )
    parser.add_argument("--overhead", type=float, default=0.1, help="the part that all take, by the mean of the others")
    parser.add_argument("--rows", type=_counts, default=(5, 10, 20), help="times, as numbers of rows")
    parser.add_argument("--seeds", type=positive, default=10, help="so many, from 0 on")
    parser.add_argument("--input-shape", type=image_shape, default=(3, 32, 32), metavar="CxHxW")
    parser.add_argument("--classes", type=positive, default=10)
    parser.add_argument("--json", type=Path, help="where every run goes")
    parser.add_argument(
        "--workers", type=positive, default=1, help="processes, each with a searcher and seed at a time"
    )
    values = vars(parser.parse_args(arguments))
    seeds, path, workers = values.pop("seeds"), values.pop("json"), values.pop("workers")
    settings = Settings(**{**values, "score": values["score"] or values["accuracy"]})
    try:
        study_of(settings)
    except NasError as error:
        parser.error(str(error))
    jobs = [(name, seed) for name in SEARCHERS for seed in range(seeds)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = list(pool.map(functools.partial(search, settings), jobs))
    if path is not None:
        write_aside(path, json.dumps([asdict(run) for run in runs], indent=1).encode())
    print(summary(runs, settings.rows))


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted(positive(part) for part in names(text)))


if __name__ == "__main__":
    main()
