"""``python -m experiments.simulated_search`` measures what the driver of a thousand made-up workers costs.

The sampler, early stopping, rounds and the journal are those of every search. Errors and their curves are made up from
the architecture, and so are the workers and their clock (``experiments.virtual_cluster``). The driver's own time counts
on that clock: while it proposes, workers wait.
"""

from __future__ import annotations

import functools
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import nas
from experiments.command_line import heading, line, parser_of, positive
from experiments.rival_drivers import DRIVERS, SIGNATURE, TIME_LIMIT_S, peak_mib
from experiments.virtual_cluster import KilledError, VirtualCluster
from nas.jobs.execution import Job, Report
from nas.progress import NullProgress
from nas.recipe.recipe import Recipe
from nas.searching.fitting import Fitting
from nas.searching.measuring_beside import MeasuringBeside
from nas.searching.resolving import Resolved
from nas.searching.round import train_round
from nas.searching.state import RunState, cost_of
from nas.space.first_look import LookHere
from nas.storage.journal import Journal, read_rows
from nas.values.error_words import OF_IMAGES
from nas.values.evaluation import Evaluation

EPOCHS = 16
LATE = 0.9


def _never(architecture: nas.Architecture) -> bool:
    return False


@dataclass(frozen=True)
class MadeUpTable:
    """A table without rows: errors follow from the architecture. It is the backend of a run, and its evaluator."""

    fingerprint: None = None
    device_s: float = 0.0
    takes_time: bool = False
    benches: dict[str, Any] = field(default_factory=dict)
    task: None = None
    words: Any = OF_IMAGES
    warnings: Sequence[str] = ()
    circumstances: dict[str, Any] = field(default_factory=dict)
    data_lines: Sequence[str] = ()
    epochs: int = EPOCHS
    subset: float = 1.0
    weights: None = None
    scoring: None = None
    time_limit_s: float = TIME_LIMIT_S
    fails: Callable[[nas.Architecture], bool] = _never

    def target_lines(self, recipe: object) -> Sequence[str]:
        """Return nothing."""
        return ()

    def work(self, job: Job) -> Iterator[Report]:
        """Report an error after each epoch, which falls at about the same pace for all, or NaN for one that fails."""
        architecture = nas.Architecture(job["architecture"])
        rng = np.random.default_rng(int(architecture.id[:12], 16))
        noise = rng.normal(1.0, 0.02, self.epochs)
        final = error_of(architecture)
        for epoch in range(1, self.epochs + 1):
            error = (
                final * (1 + 3 * (1 / epoch - 1 / self.epochs)) * float(noise[epoch - 1] if epoch < self.epochs else 1)
            )
            error = float("nan") if epoch == 3 and self.fails(architecture) else min(1.0, error)
            seconds = 60.0 * epoch / self.epochs
            report = {"epoch": epoch, "error": error, "seconds": seconds, "share": 1 / self.epochs}
            yield {**report, "done": True} if epoch == self.epochs else report


def error_of(architecture: nas.Architecture) -> float:
    """Return a final error, from .05 to .6: a smooth function of the choices, and a little that is each one's own."""
    size = sum(_place(name, option) for name, option in architecture.items()) / max(1, len(architecture))
    own = int(architecture.id[:6], 16) / 16**6
    return 0.05 + 0.5 * float(np.exp(-2 * size)) + 0.03 * own


@functools.cache
def _place(name: str, option: object) -> float:
    """Return a number from 0 to 1 that an option of a choice stands for."""
    text = f"{name}={option}"
    return float(np.random.default_rng(sum(map(ord, text)) * 7919 + len(text)).random())


def recipe_of(trials: int, sampler: str, rounds: int = 1, *, stops: bool = True) -> Recipe:
    """Return the recipe of a search that looks everything up."""
    return Recipe.from_mapping(
        {
            "space": "mobilenet",
            "evaluate": "table",
            "table": {"path": "made-up", "accuracy": "accuracy"},
            "objectives": ["error", "macs"],
            "sampler": sampler,
            "trials": trials,
            "rounds": rounds,
            "early_stopping": {"enabled": stops},
        }
    )


def resolved(recipe: Recipe, table: MadeUpTable) -> Resolved:
    """Return what the names of the recipe stand for, with the made-up table in the place of one on disk."""
    space = nas.load_space(recipe.space.name, {}, SIGNATURE)
    backend: Any = table
    return Resolved(recipe, space, LookHere(space, SIGNATURE, time.monotonic), SIGNATURE, backend, backend)


@dataclass
class Told:
    """What a search showed.

    Attributes:
        rows: the trainings, oldest first.
        wall_s: the seconds of the made-up clock.
        resumed_s: the seconds of the real processor that each resuming took, until the first training began.
        peak_mib: the most memory of a process in which a driver ran.
        cluster: the cluster at the end.
    """

    rows: list[Evaluation]
    wall_s: float
    resumed_s: Sequence[float]
    peak_mib: float
    cluster: VirtualCluster


@dataclass
class Life:
    """What a driver showed until it ended or was killed: see ``Told``."""

    cluster: VirtualCluster
    has_ended: bool
    begun_s: float
    peak_mib: float


Live = Callable[[Recipe, VirtualCluster, Path, MadeUpTable | None], Life]


def live(recipe: Recipe, cluster: VirtualCluster, folder: Path, table: MadeUpTable | None) -> Life:
    """Search, or go on with the search in ``folder``, until the end or until the driver is killed."""
    began_s, has_ended = time.process_time(), False
    with suppress(KilledError):
        _search(recipe, cluster, folder / "run", table or MadeUpTable())
        has_ended = True  # it may end before it is killed
    begun_s = cluster.first_job_s - began_s
    cluster.forget()
    gc.collect()  # a killed process leaves no memory to the next one
    return Life(cluster, has_ended, begun_s, peak_mib())


def live_apart(recipe: Recipe, cluster: VirtualCluster, folder: Path, table: MadeUpTable | None) -> Life:
    """Do the same in a process of its own, so that its memory is that of one driver."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(live, recipe, cluster, folder, table).result()


def search(
    recipe: Recipe,
    cluster: VirtualCluster,
    folder: Path,
    kills_s: Sequence[float] = (),
    table: MadeUpTable | None = None,
    live: Live = live,
) -> Told:
    """Search to the end on the cluster. The driver is killed at each time of ``kills_s``, and resumed.

    Each begins again from nothing but the journal in ``folder``. What was in progress is trained again.
    """
    lives: list[Life] = []
    for kill_s in (*kills_s, float("inf")):
        cluster.kill_at_s = kill_s
        lives.append(live(recipe, cluster, folder, table))
        cluster = lives[-1].cluster
        if lives[-1].has_ended:
            break
    rows, peak_mib = read_rows(folder / "run", Evaluation), max(each.peak_mib for each in lives)
    return Told(rows, cluster.now_s, [each.begun_s for each in lives[1:]], peak_mib, cluster)


def _search(recipe: Recipe, cluster: VirtualCluster, folder: Path, table: MadeUpTable) -> None:
    """Search, or go on with the search in ``folder``. Raises KilledError."""
    with ExitStack() as open_now:
        start = Journal.resume(folder, clock=cluster.clock) if folder.exists() else None
        journal = open_now.enter_context(start or Journal.start(folder, recipe.to_toml(), clock=cluster.clock))
        found = resolved(recipe, table)
        cost = open_now.enter_context(cost_of(recipe, found, cluster.clock))
        state = RunState(recipe, found, journal, NullProgress(), cluster.clock, cost)
        evaluator: Any = table
        beside = MeasuringBeside(state, Fitting(state), cluster)
        for number in range(1, recipe.rounds + 1):
            train_round(state, evaluator, cluster, beside, number, None)
            state.end_round(number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each number of trials."""
    parser = parser_of("simulated_search", __doc__)
    parser.add_argument("--workers", type=positive, default=1000, help="default: 1,000")
    parser.add_argument("--trials", nargs="+", type=positive, default=(1_000, 10_000), help="default: 1,000 and 10,000")
    parser.add_argument("--sampler", default="gp", help="default: gp")
    parser.add_argument("--rounds", type=positive, default=1, help="default: 1")
    parser.add_argument("--whole", action="store_true", help="stop no training early")
    parser.add_argument("--kills", type=positive, default=1, help="how often the driver is killed; default: once")
    parser.add_argument(
        "--driver",
        choices=("nas", *DRIVERS),
        default="nas",
        help="of others, --trials, --workers and --seconds count; default: nas",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="mean time of a training; default: 60")
    options = parser.parse_args(arguments)
    titles = ("evaluations", "processor (ms each)", "memory (MiB)", "idle (%)", "training (s)", "time (h)", "lost")
    for row in heading((*titles, "resume (s)", "twice")):
        print(row)
    for trials in options.trials:
        recipe = recipe_of(trials, options.sampler, options.rounds, stops=not options.whole)
        if options.driver == "nas":
            cells = measured(recipe, options.workers, options.seconds, options.kills)
        else:
            cells = measured_rival(options.driver, trials, options.workers, options.seconds)
        print(line(cells), flush=True)


def measured(recipe: Recipe, workers: int, seconds: float, kills: int) -> list[str]:
    """Return the cells of a row. The driver is killed for the last time when about nine tenths are done."""
    cluster = VirtualCluster(workers, np.random.default_rng(recipe.trials), mean_s=seconds)
    kills_s = LATE * seconds * recipe.trials / workers * np.arange(1, kills + 1) / kills
    with tempfile.TemporaryDirectory() as name:
        told = search(recipe, cluster, Path(name), kills_s.tolist(), live=live_apart)
    spent = told.cluster.spent
    twice = len(told.rows) - len({row.architecture for row in told.rows})
    return [
        f"{len(told.rows):,}",
        f"{1e3 * spent.driver_s / len(told.rows):.1f}",
        f"{told.peak_mib:.0f}",
        f"{100 * spent.idle_share:.1f}",
        f"{spent.busy_s / len(told.rows):.0f}",
        f"{told.wall_s / 3600:.2f}",
        f"{spent.crashes + spent.lost_workers:,}",
        f"{max(told.resumed_s, default=0.0):.1f}",
        f"{twice}",
    ]


def measured_rival(driver: str, trials: int, workers: int, seconds: float) -> list[str]:
    """Return the cells of a row of another library, in a process of its own. It is not killed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        found = apart.submit(DRIVERS[driver], MadeUpTable().work, trials, workers, seconds).result()
    idle = "–" if found.idle_share is None else f"{100 * found.idle_share:.1f}"
    costs = [f"{1e3 * found.driver_s / found.evaluations:.1f}", f"{found.peak_mib:.0f}", idle]
    return [f"{found.evaluations:,}", *costs, "–", f"{found.wall_s / 3600:.2f}", "–", "–", "–"]


if __name__ == "__main__":
    main()
