"""Runs of searchers on a table: which rows each evaluates, and how much of the hypervolume it finds."""

from __future__ import annotations

import functools
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from experiments.search_problem import KnownCosts, Problem, winners
from experiments.search_tasks import MOST_USELESS, Networks, TableTask, evaluations_to
from experiments.searchers.by_name import make_searcher
from experiments.searchers.planned_family import PLANNED
from experiments.searchers.searcher import Searcher
from experiments.table_search.study import SearchSettings, SearchStudy, study_of
from nas.space.architecture import Architecture
from nas.values.rank_correlation import rank_correlation

CHECKPOINTS, EARLY = (25, 50, 100, 200), (10, 20, 30, 40)
"""Numbers of evaluations after which scores are shown; the second ones in runs of no more than 50."""
SHARES = (95, 99)


@dataclass(frozen=True)
class SearcherRun:
    """One searcher on one task with one seed; rows are counted from 0.

    Attributes:
        evaluated: the distinct rows, in the order of their evaluation.
        winners: the rows that the run would return to its user.
        proposals: all proposals, including repeats and failures.
        repeats: proposals of a row that was evaluated before.
        failures: proposals that are not part of the task.
        twins: evaluations of a network that was evaluated before in another row.
        proposing_s: seconds that the searcher took to propose and to learn.
        hypervolume_percent: the share found, by number of evaluations; it stays constant after an early end.
        evaluations_to: the evaluations to a share of the hypervolume, None for a share that was never reached.
        asked: rows whose costs were measured because they were too near to a limit to tell if it holds.
        prior: how well each prior ranks the accuracies that were seen.
    """

    searcher: str
    accuracy: str
    costs: tuple[str, ...]
    seed: int
    evaluated: tuple[int, ...]
    winners: tuple[int, ...]
    proposals: int
    repeats: int
    twins: int
    failures: int
    proposing_s: float
    hypervolume_percent: dict[str, float]
    evaluations_to: dict[str, int | None]
    asked: int
    evaluations_over_limits: int
    winners_over_limits: int
    hypervolume_lost_percent: float
    prior: dict[str, dict[str, float]]


def compare(settings: SearchSettings, job: tuple[int, int]) -> list[SearcherRun]:
    """Run all searchers on one task with one seed; ``job`` holds the index of the task and the seed."""
    study = study_of(settings)
    task, seed = study.tasks[job[0]], job[1]
    known = study.known_costs(task, seed)
    runs = [_run(study, task, known, name, seed) for name in settings.searchers]
    texts = ", ".join(f"{run.searcher} {run.hypervolume_percent[str(settings.evaluations)]:.2f} %" for run in runs)
    print(f"{task.name}, seed {seed}: {texts}", file=sys.stderr, flush=True)
    return runs


def _run(study: SearchStudy, task: TableTask, before: KnownCosts, name: str, seed: int) -> SearcherRun:
    """Run one searcher; one that plans for a number of evaluations runs anew for each number that is scored."""
    counts = checkpoints(study.settings)
    budgets = counts if name in PLANNED else counts[-1:]
    *earlier, whole = (_run_for(study, task, before.copy(), name, seed, budget) for budget in budgets)
    for budget, run in zip(budgets, earlier, strict=False):
        whole.hypervolume_percent[str(budget)] = run.hypervolume_percent[str(budget)]
    return whole


def _run_for(
    study: SearchStudy, task: TableTask, known: KnownCosts, name: str, seed: int, evaluations: int
) -> SearcherRun:
    settings = study.settings
    problem = Problem(
        study.space,
        study.networks,
        task,
        known,
        is_informed=settings.cost_known != "false",
        describer=lambda: study.describer,
        asks=settings.ask,
        prior=study.prior,
        evaluations=evaluations,
    )
    evaluated, counts, proposing_s = search(
        make_searcher(name, problem, seed), study.networks, task, known, evaluations, settings.in_flight, seed
    )
    won = winners(task, known, evaluated)
    shares = task.shares(evaluated)
    reached = {str(share): evaluations_to(share, shares) for share in SHARES}
    at_last = task.shares(won)[-1] if won else 0.0
    return SearcherRun(
        name,
        task.accuracy,
        task.costs,
        seed,
        tuple(evaluated),
        tuple(won),
        **counts,
        proposing_s=proposing_s,
        hypervolume_percent={
            str(count): float(shares[min(count, len(shares)) - 1]) if len(shares) else 0.0
            for count in checkpoints(settings)
        },
        evaluations_to={share: int(count) if math.isfinite(count) else None for share, count in reached.items()},
        asked=problem.asked,
        evaluations_over_limits=int((~task.meets_limits(evaluated)).sum()),
        winners_over_limits=int((~task.meets_limits(won)).sum()),
        hypervolume_lost_percent=max(0.0, 100 - float(at_last)),
        prior=_ranks(study, task, evaluated),
    )


def _ranks(study: SearchStudy, task: TableTask, evaluated: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return how well each prior ranks the accuracies of the evaluated rows."""
    if study.prior is None:
        return {}
    values = study.prior([study.table.architectures[row] for row in evaluated])
    found = {}
    for name, column in zip(study.prior.names, values.T, strict=True):
        known = np.isfinite(column)
        ranked = rank_correlation(column[known].tolist(), (-task.losses[list(evaluated), 0])[known].tolist())
        if ranked is not None:
            found[name] = {"spearman": ranked.spearman, "kendall": ranked.kendall, "candidates": ranked.count}
    return found


def search(
    searcher: Searcher,
    networks: Networks,
    task: TableTask,
    known: KnownCosts,
    evaluations: int,
    in_flight: int = 1,
    seed: int = 0,
) -> tuple[list[int], dict[str, int], float]:
    """Let a searcher evaluate up to ``evaluations`` distinct rows, and add their costs to ``known``.

    It has ``in_flight`` proposals at once, of which any may end next, by the ``seed``. Returns the evaluated rows, the
    counts of proposals, repeats, twins and failures, and the seconds of the searcher.
    """
    evaluated: dict[int, None] = {}
    seen: set[int] = set()
    counts = {"proposals": 0, "repeats": 0, "twins": 0, "failures": 0}
    proposing_s, useless = 0.0, 0
    going: list[Architecture] = []
    rng = np.random.default_rng((seed, in_flight))
    while len(evaluated) < evaluations and useless < MOST_USELESS:
        began = time.perf_counter()
        while len(going) < min(in_flight, evaluations - len(evaluated)):
            architecture = searcher.propose()
            if architecture is None:
                break
            going.append(architecture)
            counts["proposals"] += 1
        proposing_s += time.perf_counter() - began
        if not going:
            break
        architecture = going.pop(int(rng.integers(len(going))))
        useless += 1
        losses = None
        row = networks.row(architecture)
        if row is None or np.isnan(task.losses[row, 0]):
            counts["failures"] += 1
        else:
            losses = tuple(task.losses[row].tolist())
            if row in evaluated:
                counts["repeats"] += 1
            else:
                useless = 0
                counts["twins"] += int(networks.numbers[row]) in seen
                seen.add(int(networks.numbers[row]))
                evaluated[row] = None
                known.see(row, task)
        began = time.perf_counter()
        searcher.tell(architecture, losses)
        proposing_s += time.perf_counter() - began
    return list(evaluated), counts, proposing_s


def checkpoints(settings: SearchSettings) -> list[int]:
    """Return the numbers of evaluations after which scores are shown."""
    usual = EARLY if settings.evaluations <= CHECKPOINTS[1] else CHECKPOINTS
    return [count for count in settings.after or usual if count < settings.evaluations] + [settings.evaluations]


def compare_all(settings: SearchSettings, workers: int) -> Iterator[list[SearcherRun]]:
    """Yield the runs of each task and seed in order, from ``workers`` processes."""
    jobs = [(task, seed) for task in range(len(settings.costs)) for seed in range(settings.seeds)]
    if workers == 1:
        yield from (compare(settings, job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(functools.partial(compare, settings), jobs)
