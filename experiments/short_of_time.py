"""``python -m experiments.short_of_time`` compares searchers on a table when time is short.

    python -m experiments.short_of_time --table T.csv.gz --space nasbench_macro --accuracy mean_acc --cost flops
        --seconds flops --rows 5,10,20 --seeds 10

An evaluation takes time in proportion to the column ``--seconds``, and a constant part: ``--overhead`` times the mean
of that column. A time limit is a number of ``--rows``: the time to evaluate this number of average rows one after
another. An evaluation that is running at the limit still counts. Costs are known beforehand. Scores are those of
``experiments.compare_searchers``. ``gp, by the second`` is the sampler as ``nas search --time`` uses it; ``gp`` is the
same sampler without weighing time.
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

from experiments.command_line import heading, image_shape, line, names, parser_of, positive
from experiments.search_tasks import MOST_USELESS, FloatArray, Networks, TableTask
from experiments.searchers.optuna_searcher import suggest
from experiments.searchers.searcher import POPULATION
from nas.errors import NasError, RecipeError
from nas.searching.proposer import SECONDS
from nas.space.architecture import Architecture
from nas.space.search_space import load_space, settle
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.storage.journal import write_aside
from nas.tables.table import read_table
from predictors.samplers.surrogate_sampler import SurrogateSampler


@dataclass(frozen=True)
class TimedSettings:
    """The settings from the command line."""

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
class TimedRun:
    """One searcher with one seed: evaluated rows and the share found, by the time limit as a number of rows."""

    searcher: str
    seed: int
    evaluated: dict[int, int]
    hypervolume_percent: dict[int, float]


class TimedStudy:
    """The table, its task, and the time that each row takes, relative to the mean.

    Raises:
        RecipeError: settings that do not fit the table.
        SpaceError: settings that do not fit the space.
    """

    def __init__(self, settings: TimedSettings) -> None:
        shape, classes = settings.input_shape, settings.classes
        self.space = load_space(settings.space, {}, input_shape=shape, classes=classes)
        table = read_table(settings.table, self.space)
        self.networks = Networks(table, self.space)
        self.task = TableTask.of(table, settings.accuracy, settings.score, (settings.cost,))
        self.describer = describer_of(self.space, image_signature(shape, classes))
        work = table.column(settings.seconds, positive=True)
        if not np.isfinite(work[self.task.usable]).all():
            raise RecipeError(
                f"--seconds must be a column with a value in every row, but {settings.seconds!r} lacks some."
            )
        relative = work / work[self.task.usable].mean()
        self.seconds: FloatArray = (settings.overhead + relative) / (settings.overhead + 1)

    def row(self, architecture: Architecture) -> int | None:
        """Return the row of an architecture, or None if it is not part of the task."""
        row = self.networks.row(architecture)
        return None if row is None or np.isnan(self.task.losses[row, 0]) else row

    def costs(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return the known costs, shape (N,); an unknown cost is replaced by the largest one."""
        rows = [self.row(architecture) for architecture in architectures]
        largest = float(self.task.losses[self.task.usable, 1].max())
        return np.array([largest if row is None else self.task.losses[row, 1] for row in rows])


def _gp(study: TimedStudy, seed: int, *, weigh_time: bool) -> optuna.samplers.BaseSampler:
    return SurrogateSampler(
        study.describer,
        seed=seed,
        known={1: study.costs},
        accept=lambda architectures: np.array([study.row(each) is not None for each in architectures]),
        weigh_time=weigh_time,
    )


SEARCHERS: dict[str, Callable[[TimedStudy, int], optuna.samplers.BaseSampler]] = {
    "gp, by the second": functools.partial(_gp, weigh_time=True),
    "gp": functools.partial(_gp, weigh_time=False),
    "Optuna's TPE, multivariate": lambda _, seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
    "Optuna's NSGA-II": lambda _, seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
    "random": lambda _, seed: optuna.samplers.RandomSampler(seed=seed),
}


@functools.lru_cache(maxsize=1)
def study_of(settings: TimedSettings) -> TimedStudy:
    """Return the study of these settings, made once in each process."""
    return TimedStudy(settings)


def search(settings: TimedSettings, job: tuple[str, int]) -> TimedRun:
    """Run one searcher; ``job`` holds its name and its seed. Failures and duplicates take no time."""
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
    return TimedRun(name, seed, counts, {until: float(shares[count - 1]) for until, count in counts.items()})


def _proposal(study: TimedStudy, trial: optuna.Trial) -> Architecture:
    return settle(study.space, functools.partial(suggest, trial))


def summary(runs: Sequence[TimedRun], rows: Sequence[int]) -> str:
    """Return a Markdown table of means over the seeds, with the standard error of each share."""
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
    """Search with each searcher and seed, write the JSON file, and print the table."""
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    seeds, path, workers = values.pop("seeds"), values.pop("json"), values.pop("workers")
    settings = TimedSettings(**{**values, "score": values["score"] or values["accuracy"]})
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


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("short_of_time", __doc__)
    parser.add_argument("--table", type=Path, required=True, help="CSV file, plain or gzip")
    parser.add_argument("--space", required=True, help="a registered space, or module:Name")
    parser.add_argument("--accuracy", required=True, metavar="COLUMN", help="in per cent, as searchers see it")
    parser.add_argument("--score", metavar="COLUMN", help="in per cent, for the scores; default: --accuracy")
    parser.add_argument("--cost", required=True, metavar="COLUMN", help="the cost, known beforehand")
    parser.add_argument("--seconds", required=True, metavar="COLUMN", help="evaluation times are in proportion to it")
    parser.add_argument(
        "--overhead", type=float, default=0.1, help="constant part of a time, as a share of the mean of --seconds"
    )
    parser.add_argument("--rows", type=_counts, default=(5, 10, 20), help="time limits, as numbers of average rows")
    parser.add_argument("--seeds", type=positive, default=10, help="number of seeds, counted from 0")
    parser.add_argument("--input-shape", type=image_shape, default=(3, 32, 32), metavar="CxHxW", help="of the images")
    parser.add_argument("--classes", type=positive, default=10, help="number of classes")
    parser.add_argument("--json", type=Path, help="file for all runs")
    parser.add_argument(
        "--workers", type=positive, default=1, help="processes; each runs one searcher and seed at a time"
    )
    return parser


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted(positive(part) for part in names(text)))


if __name__ == "__main__":
    main()
