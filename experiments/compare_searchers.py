"""How well searchers do on a table of evaluated architectures, by task, seed and searcher.

    python -m experiments.compare_searchers --table T.csv.gz --space nasbench201 --json OUT.json
        --accuracy val_acc_c10 --score test_acc_c10 --cost latency_ms_1080ti_1 --cost latency_ms_x,energy_mj_x
        --cost-known true --searchers gp,tpe,local --evaluations 200 --seeds 20 --workers 4

Prints Markdown tables, one for each task and one for all; ``--json`` holds every run. A task is what one ``--cost``
names: the error, 100 − ``--accuracy``, against one to three columns of costs. ``--accuracy`` is what a searcher sees,
``--score`` what it is scored on. Rows that lack one of these values are no part of the task: asking for them fails.

Only distinct evaluations count. Who proposes what is in a row that was evaluated before is told what is known of it,
until 500 proposals one after another were of no use, which ends the run early; after 50 Optuna's samplers, and after 5
those of Ax and Syne Tune, are helped by one at random. ``gp``, ours, evaluates the row that stands for all twins, that
is architectures that are written differently but are one network; the others evaluate the row that they propose. Twins
in the figures are evaluations of a network of which another row was evaluated before. With ``--twins joined`` whoever
proposes any of a network's rows evaluates the one in canonical form, and only such rows are the table: a network then
has one accuracy and one cost, and finding the row of it that was measured most favourably is worth nothing.

``--cost-known true``: the costs of all rows are known beforehand. ``false``: those of evaluated ones only.
``predicted:N``: N rows are measured beforehand, drawn by the seed as ``experiments.compare_predictors`` draws them,
and the default predictor, with ``--sources`` as other targets, says what the others cost, until they are evaluated. A
limit is then held against the bounds of its predictions; with ``--ask M`` a run may have the costs measured of M that
meet the limits by prediction but not by bound, as a search asks the device about them. Searchers that cannot use known
costs are not given them.

Scores are per cent of the hypervolume of all rows together, with the reference point (1, …, 1), error and costs being
min-max normalised over the table, costs after clipping at their 0.05 and 99.95 percentiles. With ``--limit`` only rows
that truly meet it count, in the whole as in what was found; the hypervolume lost is what the winners lack of the whole.
Winners are the evaluated rows that meet the limits by what is known of them and that none dominates by what was seen.

With several workers, set OMP_NUM_THREADS=1, or else their threads are in each other's way.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import multiprocessing
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from experiments.command_line import heading, image_shape, line, names, names_or_none, positive
from experiments.compare_predictors import MOST_MEDOIDS, POOL
from experiments.search_tasks import (
    MOST_OBJECTIVES,
    MOST_USELESS,
    CostLimit,
    FloatArray,
    IntArray,
    KnownCosts,
    Networks,
    Problem,
    Task,
    evaluations_to,
    winners,
)
from experiments.searchers import DEFAULT_SEARCHERS, SEARCHERS, Searcher, check_searcher, make_searcher
from nas.errors import NasError, RecipeError
from nas.hardware.machine import processor_name
from nas.prediction.predictor import MIN_SAMPLES, Batch, batch_of
from nas.prediction.spreading import medoids
from nas.space.description import Describer
from nas.space.search_space import SearchSpace, load_space
from nas.space.tracing import describer_of
from nas.storage.journal import write_aside
from nas.tables.table import Table, read_table
from nas.values.source import Source

CHECKPOINTS = (25, 50, 100, 200)
SHARES = (95, 99)
SOURCE_ROWS = 900


@dataclass(frozen=True)
class Settings:
    """What was asked for on the command line. ``costs`` has a tuple of columns for each task."""

    table: Path
    space: str
    accuracy: str
    score: str
    costs: tuple[tuple[str, ...], ...]
    cost_known: str
    limits: tuple[CostLimit, ...]
    sources: tuple[str, ...]
    searchers: tuple[str, ...]
    evaluations: int
    seeds: int
    input_shape: tuple[int, int, int]
    classes: int
    option: tuple[str, ...]
    ask: int = 0
    twins: str = "apart"

    @property
    def samples(self) -> int | None:
        """How many rows are measured for a predictor, or None where there is none."""
        match = re.fullmatch(r"predicted:([0-9]+)", self.cost_known)
        return int(match[1]) if match else None

    def to_json(self) -> dict[str, Any]:
        """Plain data; the table by its name and what it holds, not by where it lies."""
        digest = hashlib.sha256(self.table.read_bytes()).hexdigest()
        return {**asdict(self), "table": self.table.name, "table_sha256": digest}


@dataclass(frozen=True)
class Run:
    """One searcher on one task with one seed; rows are counted from 0.

    ``evaluated`` are in their order, without repeats. Of the ``proposals``, which took ``proposing_s`` all together
    with telling, ``repeats`` were evaluated before and ``failures`` were no part of the task; ``twins`` are evaluations
    of a network that was evaluated before in another row. ``asked`` had their costs measured because they were too near
    a limit to tell. ``hypervolume_percent`` is by number of evaluations; where a run ended early it stays as it was.
    ``evaluations_to`` holds None for what was never reached.
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


class Study:
    """The table, read once, and what all tasks share."""

    def __init__(self, settings: Settings) -> None:
        """Raises RecipeError or SpaceError where the settings do not fit each other or the table."""
        from nas.recipe.toml_text import apply_overrides

        self.settings = settings
        options = apply_overrides({}, settings.option)
        self.space: SearchSpace = load_space(
            settings.space, options, input_shape=settings.input_shape, classes=settings.classes
        )
        for name in settings.searchers:
            check_searcher(name)
        self.table: Table = read_table(settings.table, self.space)
        self.networks = Networks(self.table, self.space, are_twins_joined=settings.twins == "joined")
        self.sources = tuple(self._source(name) for name in settings.sources)
        self.tasks = tuple(
            Task.of(self.table, settings.accuracy, settings.score, costs, settings.limits, self.networks.searched)
            for costs in settings.costs
        )
        for task in self.tasks:
            self._check(task)

    @cached_property
    def describer(self) -> Describer:
        """With all rows described, so that nothing depends on the order of the runs."""
        describer = describer_of(self.space, self.settings.input_shape, self.settings.classes)
        describer.describe(self.table.architectures)
        describer.population()
        return describer

    @cached_property
    def _batch(self) -> Batch:
        return batch_of(self.describer, self.table.architectures)

    @cached_property
    def _features(self) -> FloatArray:
        """Latent features of the table's N rows, shape (N, K), for choosing what is measured."""
        from predictors.source_models import latent_features

        return latent_features(self.describer, self.table.architectures, self.sources)

    def known_costs(self, task: Task, seed: int) -> KnownCosts:
        """What is known of costs before a run."""
        if self.settings.samples is not None:
            return self._predicted(task, self.settings.samples, seed)
        return KnownCosts.everything(task) if self.settings.cost_known == "true" else KnownCosts.nothing(task)

    def _predicted(self, task: Task, count: int, seed: int) -> KnownCosts:
        from predictors.stacked import fit_stacked

        sampled = self._draw(task.usable, count, seed)
        architectures = [self.table.architectures[row] for row in sampled]
        known = KnownCosts.nothing(task)
        for index, cost in enumerate(task.costs):
            values = task.losses[sampled, 1 + index]
            predictor = fit_stacked(self.describer, architectures, values, target=cost, sources=self.sources, seed=seed)
            prediction = predictor.predict_described(self._batch.fresh())
            known.values[:, index], known.bounds[:, index] = prediction.mean, prediction.limit
        known.see(sampled, task)
        return known

    def _draw(self, eligible: IntArray, count: int, seed: int) -> IntArray:
        """The rows that are measured, shape (count,), in increasing order, as ``compare_predictors`` draws them."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(eligible)
        if count > MOST_MEDOIDS:
            return np.sort(order[:count])
        pool = order[:POOL]
        return np.sort(pool[medoids(self._features[pool], count, rng)])

    def _source(self, name: str) -> Source:
        values = self.table.column(name, positive=True)
        rows = np.flatnonzero(np.isfinite(values[:SOURCE_ROWS]))
        if len(rows) < MIN_SAMPLES:
            raise RecipeError(
                f"a source must have at least {MIN_SAMPLES} values in the first {SOURCE_ROWS} rows, "
                f"but {name!r} has {len(rows)}."
            )
        return Source(name, [self.table.architectures[row] for row in rows], values[rows])

    def _check(self, task: Task) -> None:
        settings, usable = self.settings, task.usable
        if settings.samples is not None:
            for cost in task.costs:
                self.table.column(cost, positive=True)  # predictors take logarithms
            if settings.samples > len(usable):
                raise RecipeError(
                    f"--cost-known predicted:N must measure at most as many rows as have all values, {len(usable)} "
                    f"with {task.name}, but got {settings.samples}."
                )
        rows = {"rows": len(usable)}
        if "gp" in settings.searchers:
            rows["different networks"] = int(self.networks.is_canonical[usable].sum())
        for noun, count in rows.items():
            if settings.evaluations > count:
                raise RecipeError(
                    f"--evaluations must be at most the number of {noun} that have all values, {count} with "
                    f"{task.name}, but got {settings.evaluations}."
                )


@functools.lru_cache(maxsize=1)
def study_of(settings: Settings) -> Study:
    """The study, made once in each process."""
    return Study(settings)


def compare(settings: Settings, job: tuple[int, int]) -> list[Run]:
    """The runs of all searchers on one task with one seed, ``job`` being their numbers."""
    study = study_of(settings)
    task, seed = study.tasks[job[0]], job[1]
    known = study.known_costs(task, seed)
    runs = [_run(study, task, known.copy(), name, seed) for name in settings.searchers]
    texts = ", ".join(f"{run.searcher} {run.hypervolume_percent[str(settings.evaluations)]:.2f} %" for run in runs)
    print(f"{task.name}, seed {seed}: {texts}", file=sys.stderr, flush=True)
    return runs


def _run(study: Study, task: Task, known: KnownCosts, name: str, seed: int) -> Run:
    settings = study.settings
    problem = Problem(
        study.space,
        study.networks,
        task,
        known,
        is_informed=settings.cost_known != "false",
        describer=lambda: study.describer,
        asks=settings.ask,
    )
    evaluated, counts, proposing_s = search(
        make_searcher(name, problem, seed), study.networks, task, known, settings.evaluations
    )
    won = winners(task, known, evaluated)
    shares = task.shares(evaluated)
    reached = {str(share): evaluations_to(share, shares) for share in SHARES}
    at_last = task.shares(won)[-1] if won else 0.0
    return Run(
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
            for count in checkpoints(settings.evaluations)
        },
        evaluations_to={share: int(count) if math.isfinite(count) else None for share, count in reached.items()},
        asked=problem.asked,
        evaluations_over_limits=int((~task.meets_limits(evaluated)).sum()),
        winners_over_limits=int((~task.meets_limits(won)).sum()),
        hypervolume_lost_percent=max(0.0, 100 - float(at_last)),
    )


def search(
    searcher: Searcher, networks: Networks, task: Task, known: KnownCosts, evaluations: int
) -> tuple[list[int], dict[str, int], float]:
    """Let a searcher evaluate so many rows: these, what became of its proposals, and its seconds.

    Evaluated rows' costs are added to ``known``.
    """
    evaluated: dict[int, None] = {}
    seen: set[int] = set()
    counts = {"proposals": 0, "repeats": 0, "twins": 0, "failures": 0}
    proposing_s, useless = 0.0, 0
    while len(evaluated) < evaluations and useless < MOST_USELESS:
        began = time.perf_counter()
        architecture = searcher.propose()
        proposing_s += time.perf_counter() - began
        if architecture is None:
            break
        counts["proposals"] += 1
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


def checkpoints(evaluations: int) -> list[int]:
    """After so many evaluations scores are shown."""
    return [count for count in CHECKPOINTS if count < evaluations] + [evaluations]


def compare_all(settings: Settings, workers: int) -> Iterator[list[Run]]:
    """The runs of each task and seed, in order, in ``workers`` processes."""
    jobs = [(task, seed) for task in range(len(settings.costs)) for seed in range(settings.seeds)]
    if workers == 1:
        yield from (compare(settings, job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(functools.partial(compare, settings), jobs)


def summary(runs: Sequence[dict[str, Any]], evaluations: int, *, limited: bool) -> str:
    """Markdown tables of runs as the JSON file holds them: one for each task, and one for all where there are several.

    ``limited`` adds what was found of the limits.
    """
    tasks = list(dict.fromkeys((run["accuracy"], *run["costs"]) for run in runs))
    parts = [(", ".join(task), [run for run in runs if (run["accuracy"], *run["costs"]) == task]) for task in tasks]
    if len(tasks) > 1:
        parts.append((f"All {len(tasks)} tasks", list(runs)))
    columns = _columns(evaluations, limited=limited)
    lines = ["Mean per cent of the table's hypervolume; medians of evaluations to 95 and 99 per cent of it."]
    for title, chosen in parts:
        lines += ["", title, "", *heading(["searcher", *columns])]
        for searcher in dict.fromkeys(run["searcher"] for run in chosen):
            its = [run for run in chosen if run["searcher"] == searcher]
            lines.append(line([searcher, *(shown(its) for shown in columns.values())]))
    return "\n".join(lines)


_Shown = Callable[[Sequence[dict[str, Any]]], str]


def _columns(evaluations: int, *, limited: bool) -> dict[str, _Shown]:
    """Titles, and what is shown of the runs of one searcher."""
    columns: dict[str, _Shown] = {
        f"after {count}": functools.partial(_mean, of="hypervolume_percent", at=str(count))
        for count in checkpoints(evaluations)
    }
    columns |= {f"to {share} %": functools.partial(_median, share=str(share)) for share in SHARES}
    columns[f"reach {SHARES[-1]} %"] = lambda runs: _share(
        sum(run["evaluations_to"][str(SHARES[-1])] is not None for run in runs), len(runs)
    )
    columns["ended early"] = lambda runs: _share(sum(len(run["evaluated"]) < evaluations for run in runs), len(runs))
    columns["s a proposal"] = lambda runs: f"{_sum(runs, 'proposing_s') / max(_sum(runs, 'proposals'), 1):.2g}"
    columns["repeats of proposals"] = lambda runs: _share(_sum(runs, "repeats"), _sum(runs, "proposals"))
    columns["failures of proposals"] = lambda runs: _share(_sum(runs, "failures"), _sum(runs, "proposals"))
    columns["twins of evaluations"] = lambda runs: _share(_sum(runs, "twins"), _lengths(runs, "evaluated"))
    if limited:
        columns["asked"] = lambda runs: f"{_sum(runs, 'asked') / len(runs):.3g}"
        columns["evaluations over limits"] = lambda runs: _share(
            _sum(runs, "evaluations_over_limits"), _lengths(runs, "evaluated")
        )
        columns["winners over limits"] = lambda runs: _share(
            _sum(runs, "winners_over_limits"), _lengths(runs, "winners")
        )
        columns["hypervolume lost"] = lambda runs: f"{np.mean([run['hypervolume_lost_percent'] for run in runs]):.2f} %"
    return columns


def _mean(runs: Sequence[dict[str, Any]], *, of: str, at: str) -> str:
    return f"{np.mean([run[of][at] for run in runs]):.2f}"


def _median(runs: Sequence[dict[str, Any]], *, share: str) -> str:
    counts = [run["evaluations_to"][share] for run in runs]
    median = np.median([math.inf if count is None else count for count in counts])
    return f"{median:g}" if math.isfinite(median) else "never"


def _sum(runs: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(run[name] for run in runs))


def _lengths(runs: Sequence[dict[str, Any]], name: str) -> float:
    return float(sum(len(run[name]) for run in runs))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, write the file, print the tables."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        settings = _settings(options)
        study_of(settings)
        if options.json is not None and not options.json.parent.is_dir():
            raise RecipeError(f"a file must be written to a folder that exists, but {options.json.parent} does not.")
    except NasError as error:
        parser.error(str(error))
    runs: list[dict[str, Any]] = []
    jobs = len(settings.costs) * settings.seeds
    for number, found in enumerate(compare_all(settings, options.workers), start=1):
        runs += [asdict(run) for run in found]
        if options.json is not None:
            write_aside(options.json, _text(settings, runs, complete=number == jobs).encode())
    print(summary(runs, settings.evaluations, limited=bool(settings.limits)))


def _text(settings: Settings, runs: Sequence[dict[str, Any]], *, complete: bool) -> str:
    """The JSON file, one run a line; ``complete`` is false while runs are still missing."""
    content = {
        "complete": complete,
        "settings": settings.to_json(),
        "versions": {"python": platform.python_version(), **_versions()},
        "processor": processor_name(),
    }
    lines = ",\n".join(json.dumps(run, allow_nan=False) for run in runs)
    return f'{json.dumps(content, allow_nan=False)[:-1]},\n"runs": [\n{lines}\n]}}\n'


def _versions() -> dict[str, str]:
    found = {}
    for name in ("numpy", "scipy", "scikit-learn", "optuna", "pymoo", "moocore", "ax-platform", "botorch", "syne-tune"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # others' searchers are optional
            continue
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare_searchers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=Path, required=True, help="CSV, gzip or plain")
    parser.add_argument("--space", required=True, help="a registered space, or module:Name")
    parser.add_argument("--accuracy", required=True, metavar="COLUMN", help="in per cent, as searchers see it")
    parser.add_argument("--score", metavar="COLUMN", help="in per cent, for the scores; default: --accuracy")
    parser.add_argument(
        "--cost",
        dest="costs",
        type=names,
        action="append",
        required=True,
        metavar="COLUMN[,COLUMN]",
        help="the costs of one task; repeat for other tasks",
    )
    parser.add_argument("--cost-known", type=_cost_known, default="false", metavar="true|false|predicted:N")
    parser.add_argument("--limit", dest="limits", action="append", default=[], metavar="COLUMN<=NUMBER", help="repeat")
    parser.add_argument("--ask", type=positive, default=0, metavar="M", help="near limits, with predicted costs")
    parser.add_argument("--twins", choices=("apart", "joined"), default="apart", help="rows that are one network")
    parser.add_argument("--sources", type=names_or_none, default=(), metavar="COLUMNS", help="for predicted costs")
    parser.add_argument(
        "--searchers", type=names, default=DEFAULT_SEARCHERS, help=f"of {', '.join(SEARCHERS)}; default: the quick ones"
    )
    parser.add_argument("--evaluations", type=positive, default=200, help="distinct ones of each run")
    parser.add_argument("--seeds", type=positive, default=20, help="so many, from 0 on")
    parser.add_argument("--input-shape", type=image_shape, default=(3, 32, 32), metavar="CxHxW")
    parser.add_argument("--classes", type=positive, default=10)
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the space; repeat")
    parser.add_argument("--json", type=Path, help="where every run goes")
    parser.add_argument("--workers", type=positive, default=1, help="processes, each with a task and seed at a time")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """Raises RecipeError where options contradict each other."""
    for option in options.option:
        if "=" not in option:
            raise RecipeError(f"--option takes KEY=VALUE, such as channels=8, but got {option!r}.")
    tasks = tuple(options.costs)
    if len(set(tasks)) < len(tasks):
        raise RecipeError(f"each --cost must be another task, but {','.join(tasks[-1])} or another one comes twice.")
    for costs in tasks:
        if len(costs) >= MOST_OBJECTIVES:
            raise RecipeError(f"a task must have 2 to {MOST_OBJECTIVES} objectives, but got {1 + len(costs)}: {costs}.")
        strange = {options.accuracy, options.score} & set(costs)
        if strange:
            raise RecipeError(f"an accuracy must not be a cost too, but {strange.pop()!r} is.")
        both = [name for name in costs if name in options.sources]
        if both:
            raise RecipeError(f"a cost must not be one of the sources too, but {both[0]!r} is.")
    if options.sources and not options.cost_known.startswith("predicted"):
        raise RecipeError(f"--sources are for --cost-known predicted:N, but got {options.cost_known!r}.")
    limits = tuple(CostLimit.parse(text) for text in options.limits)
    if options.ask and not (limits and options.cost_known.startswith("predicted")):
        raise RecipeError(f"--ask {options.ask} needs a --limit and --cost-known predicted:N.")
    for limit in limits:
        if not any(limit.column in costs for costs in tasks):
            raise RecipeError(f"a limit must be on one of the costs, but {limit.column!r} is none of them.")
    values = {name: value for name, value in vars(options).items() if name not in ("json", "workers")}
    values |= {"costs": tasks, "limits": limits, "option": tuple(options.option)}
    return Settings(**{**values, "score": options.score or options.accuracy})


def _cost_known(text: str) -> str:
    match = re.fullmatch(r"true|false|predicted:0*([1-9][0-9]*)", text)
    if match is None or (match[1] is not None and int(match[1]) < MIN_SAMPLES):
        raise argparse.ArgumentTypeError(
            f"must be true, false or predicted:N with N from {MIN_SAMPLES} on, but got {text!r}."
        )
    return text if match[1] is None else f"predicted:{match[1]}"


if __name__ == "__main__":
    main()
