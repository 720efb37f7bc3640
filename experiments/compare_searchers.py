"""``python -m experiments.compare_searchers`` compares searchers on a table of evaluated architectures.

    python -m experiments.compare_searchers --table T.csv.gz --space nasbench201 --json OUT.json
        --accuracy val_acc_c10 --score test_acc_c10 --cost latency_ms_1080ti_1 --cost latency_ms_x,energy_mj_x
        --cost-known true --searchers gp,tpe,local --evaluations 200 --seeds 20 --workers 4

It prints Markdown tables, one for each task and one for all tasks; ``--json`` holds every run. With several workers,
set OMP_NUM_THREADS=1; otherwise their threads slow each other down.

Tasks. Each ``--cost`` defines a task: the error, 100 − ``--accuracy``, against one to three columns of costs. Searchers
see ``--accuracy`` and are scored on ``--score``. A row that lacks one of these values is not part of the task, and
proposing it fails.

Rows. With ``--space table`` the rows are the space: ``--choices`` names columns of texts or numbers that tell rows
apart, and ``--features`` numbers that are known of all rows. A proposal that is no row becomes the nearest one. With
``--prior``, columns that rank the accuracy beforehand, ``gp`` begins with the rows that these say are best.

Evaluations. Only distinct evaluations count. A searcher that proposes a row again gets the known losses again. A
proposal that repeats a row or fails is useless. 500 useless proposals in a row end a run. After 50 in a row, Optuna's
samplers get one random proposal; Ax and Syne Tune get one after 5.

In flight. With ``--in-flight K`` a searcher has K proposals whose losses it does not know yet, until the last ones
begin. Each is as likely to end next, so some wait long. The order of evaluations is that of their ends. Only Optuna's
samplers, ``gp`` and ``random`` can be asked again meanwhile: name them by ``--searchers``.

Twins. Twins are architectures that are written differently but build the same network. ``gp``, ours, evaluates one row
for all twins; the others evaluate the row that they propose. The column of twins counts evaluations of a network that
was evaluated before in another row. With ``--twins joined`` each network has one row, in canonical form, whichever twin
is proposed. A searcher then gains nothing by finding the twin that happened to be measured most favourably.

Known costs. ``--cost-known true`` gives the costs of all rows beforehand, ``false`` only those of evaluated rows. With
``predicted:N``, N rows count as measured beforehand, drawn as in ``experiments.compare_predictors``. The default
predictor, with ``--sources`` as other devices, predicts the other costs until they are evaluated. A device is named
as the columns do after the metric: for the cost ``latency_ms_x`` the source ``y`` is the column ``latency_ms_y``. A
limit is then compared with the bounds of the predictions. With ``--ask M`` a run may measure the costs of M rows whose
predicted mean meets the limits while their bound does not, as a search asks the device. Only searchers that can use
known costs get them.

Families. ``scaled`` and ``spread`` plan a number of evaluations before the first, and learn nothing. Each number of
``--after`` takes a run of its own. ``scaled`` is a family made by compound scaling, with the same factor between costs.
``spread`` are members of the front of known costs and ``--prior``, or of multiply-accumulates without one.

Scores. A score is the per cent of the hypervolume of all rows, with the reference point (1, …, 1). Error and costs are
min-max normalised over the table, costs after clipping at their 0.05 and 99.95 percentiles. With ``--limit`` only rows
that truly meet it count, both in the whole and in what was found. The winners are the evaluated rows that meet the
limits by their known costs and are non-dominated by the losses seen. The hypervolume lost is the part of the whole that
the winners lack.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.command_line import counts, names, parser_of, positive
from experiments.search_tasks import MOST_OBJECTIVES, CostLimit
from experiments.searchers.by_name import DEFAULT_SEARCHERS, SEARCHERS
from experiments.table_options import add_table_options, check_table_options
from experiments.table_search.runs import compare_all
from experiments.table_search.study import SearchSettings, study_of
from experiments.table_search.summary import summary
from nas.errors import NasError, RecipeError
from nas.hardware.machine import processor_name
from nas.prediction.predictor import MIN_SAMPLES
from nas.storage.journal import write_aside


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare searchers, write the JSON file, and print the tables."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    try:
        settings = settings_from(options)
        study = study_of(settings)
        if options.json is not None and not options.json.parent.is_dir():
            raise RecipeError(f"a file must be written to a folder that exists, but {options.json.parent} does not.")
    except NasError as error:
        parser.error(str(error))
    for note in study.notes:
        print(note, file=sys.stderr)
    runs: list[dict[str, Any]] = []
    jobs = len(settings.costs) * settings.seeds
    for number, found in enumerate(compare_all(settings, options.workers), start=1):
        runs += [asdict(run) for run in found]
        if options.json is not None:
            write_aside(options.json, _text(settings, runs, complete=number == jobs).encode())
    print(summary(runs, settings.evaluations, limited=bool(settings.limits)))


def _text(settings: SearchSettings, runs: Sequence[dict[str, Any]], *, complete: bool) -> str:
    """Return the JSON file, one run a line; ``complete`` is false while runs are still missing."""
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
        except PackageNotFoundError:  # the packages of the other searchers are optional
            continue
    return found


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = parser_of("compare_searchers", __doc__)
    add_table_options(parser, prior="columns that rank the accuracy beforehand, higher for better")
    parser.add_argument("--accuracy", required=True, metavar="COLUMN", help="in per cent, as searchers see it")
    parser.add_argument("--score", metavar="COLUMN", help="in per cent, for the scores; default: --accuracy")
    parser.add_argument(
        "--cost",
        dest="costs",
        type=names,
        action="append",
        required=True,
        metavar="COLUMN[,COLUMN]",
        help="the costs of one task; repeat the option for more tasks",
    )
    parser.add_argument(
        "--cost-known",
        type=_cost_known,
        default="false",
        metavar="true|false|predicted:N",
        help="costs that are known beforehand: all, none, or predictions from N measured rows; default: false",
    )
    parser.add_argument(
        "--limit",
        dest="limits",
        action="append",
        default=[],
        metavar="COLUMN<=NUMBER",
        help="a limit on a cost; repeat the option for more limits",
    )
    parser.add_argument(
        "--ask", type=positive, default=0, metavar="M", help="rows near a limit that may be measured; default: 0"
    )
    parser.add_argument(
        "--twins", choices=("apart", "joined"), default="apart", help="rows of one network; default: apart"
    )
    parser.add_argument(
        "--searchers",
        type=names,
        default=DEFAULT_SEARCHERS,
        help=f"names from {', '.join(SEARCHERS)}; default: the fast ones",
    )
    parser.add_argument("--evaluations", type=positive, default=200, help="distinct evaluations in each run")
    parser.add_argument(
        "--after",
        type=counts,
        default=(),
        metavar="COUNT[,COUNT]",
        help="evaluations after which scores are shown, beside the last one; default: a few",
    )
    parser.add_argument(
        "--in-flight", type=positive, default=1, metavar="K", help="proposals that are evaluated at once; default: 1"
    )
    parser.add_argument("--seeds", type=positive, default=20, help="number of seeds, counted from 0")
    parser.add_argument("--json", type=Path, help="file for all runs")
    parser.add_argument("--workers", type=positive, default=1, help="processes; each runs one task and seed at a time")
    return parser


def settings_from(options: argparse.Namespace) -> SearchSettings:
    """Return the settings of a parsed command line. Raises RecipeError if options contradict each other."""
    check_table_options(options)
    tasks = tuple(options.costs)
    if len(set(tasks)) < len(tasks):
        raise RecipeError(
            f"each --cost must be a different task, but one comes twice: {'; '.join(map(','.join, tasks))}."
        )
    for costs in tasks:
        if len(costs) >= MOST_OBJECTIVES:
            raise RecipeError(f"a task must have 2 to {MOST_OBJECTIVES} objectives, but got {1 + len(costs)}: {costs}.")
        strange = {options.accuracy, options.score} & set(costs)
        if strange:
            raise RecipeError(f"an accuracy must not be a cost too, but {strange.pop()!r} is.")
    if options.sources and not options.cost_known.startswith("predicted"):
        raise RecipeError(f"--sources needs --cost-known predicted:N, but got {options.cost_known!r}.")
    limits = tuple(CostLimit.parse(text) for text in options.limits)
    if options.ask and not (limits and options.cost_known.startswith("predicted")):
        raise RecipeError(f"--ask {options.ask} needs a --limit and --cost-known predicted:N.")
    for limit in limits:
        if not any(limit.column in costs for costs in tasks):
            raise RecipeError(f"a limit must be on one of the costs, but {limit.column!r} is none of them.")
    values = {name: value for name, value in vars(options).items() if name not in ("json", "workers")}
    values |= {"costs": tasks, "limits": limits, "option": tuple(options.option)}
    return SearchSettings(**{**values, "score": options.score or options.accuracy})


def _cost_known(text: str) -> str:
    match = re.fullmatch(r"true|false|predicted:0*([1-9][0-9]*)", text)
    if match is None or (match[1] is not None and int(match[1]) < MIN_SAMPLES):
        raise argparse.ArgumentTypeError(
            f"must be true, false or predicted:N with N of at least {MIN_SAMPLES}, but got {text!r}."
        )
    return text if match[1] is None else f"predicted:{match[1]}"


if __name__ == "__main__":
    main()
