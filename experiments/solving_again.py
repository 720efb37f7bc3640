"""``python -m experiments.solving_again`` compares ``nas solve`` on another device with a fresh search there.

    python -m experiments.solving_again --table T.csv.gz --space nasbench201 --folder RUNS
        --accuracy val_acc_c10 --score test_acc_c10 --devices 1080ti_1,pixel3,gold_6240 --json OUT.json

For each device and seed, ``nas.search`` evaluates ``--evaluations`` architectures of the table for the error and the
latency of that device. Then each run is solved by ``nas.solve`` for each of the other devices, with ``--measure``
look-ups there. Searches lie in ``--folder``; the same command continues an interrupted one.

Searches see ``--accuracy``, and all are scored on ``--score`` and the true latencies. A score is the per cent of the
hypervolume of the whole table, as in ``experiments.compare_searchers``:

- fresh: all that a search for the device itself evaluated.
- all candidates: all that the search for the other device evaluated. Solving cannot find more.
- solved: the points that ``nas.solve`` returns, predicted ones included.
- measured: those of them whose latency was looked up.

Seconds are those of the process, in which nothing is measured: a look-up takes no time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from experiments.command_line import heading, line, names, parser_of, positive
from experiments.search_tasks import Networks, TableTask, hypervolumes
from nas import Architecture, NasError, load_run, load_space, processor_name, read_table, resume, search, solve
from nas.storage.journal import write_aside

SHAPE, CLASSES = (3, 32, 32), 10


@dataclass(frozen=True)
class Settings:
    """The settings from the command line."""

    table: Path
    space: str
    folder: Path
    accuracy: str
    score: str
    devices: tuple[str, ...]
    evaluations: int
    measure: int
    seeds: int


@dataclass(frozen=True)
class Found:
    """The scores of one run that was solved for another device, in per cent of the table's hypervolume.

    ``share`` is what was solved in per cent of the fresh search.
    """

    source: str
    target: str
    seed: int
    fresh: float
    all_candidates: float
    solved: float
    measured: float
    points: int
    looked_up: int
    wall_s: float
    processor_s: float

    @property
    def share(self) -> float:
        """What was solved, in per cent of the fresh search."""
        return 100 * self.solved / self.fresh


class Scores:
    """Scores architectures by the table's true values on one device."""

    def __init__(self, settings: Settings, device: str) -> None:
        space = load_space(settings.space, input_shape=SHAPE, classes=CLASSES)
        table = read_table(settings.table, space)
        self._networks = Networks(table, space)
        self._task = TableTask.of(table, settings.accuracy, settings.score, [f"latency_ms_{device}"])

    def score(self, architectures: Iterable[Architecture]) -> float:
        """Return the per cent of the hypervolume of all rows; architectures without a row add nothing."""
        rows = [row for each in architectures if (row := self._networks.row(each)) is not None]
        points = self._task.points[rows]
        points = points[np.isfinite(points).all(axis=1)]
        return 100 * float(hypervolumes(points)[-1]) / self._task.whole if len(points) else 0.0


def searched(settings: Settings, device: str, seed: int) -> Path:
    """Return the folder of a finished search for a device; what is there already is not done again."""
    name = f"{device}-{settings.evaluations}-{seed}"
    folder = settings.folder / name
    if (folder / "recipe.toml").is_file():
        if not load_run(folder).is_over:
            resume(folder, progress=None)
        return folder
    table = {
        "path": str(settings.table.resolve()),
        "accuracy": settings.accuracy,
        "test_accuracy": settings.score,
        "device": device,
        "input_shape": list(SHAPE),
        "classes": CLASSES,
    }
    recipe = {"name": name, "evaluate": "table", "space": settings.space, "seed": seed, "table": table}
    recipe |= {"trials": settings.evaluations, "execution": {"executor": "inline"}}
    search(recipe, runs=settings.folder, progress=None)
    return folder


def study(settings: Settings, seed: int) -> list[Found]:
    """Search for each device with one seed, and solve each run for each of the other devices."""
    runs = {device: searched(settings, device, seed) for device in settings.devices}
    scores = {device: Scores(settings, device) for device in settings.devices}
    evaluated = {
        device: [row.architecture for row in load_run(folder).rows if row.stage == "train" and not row.failed]
        for device, folder in runs.items()
    }
    found = []
    for source, target in permutations(settings.devices, 2):
        began, before = time.monotonic(), _processor_s()
        solved = solve(runs[source], target=target, measure=settings.measure, progress=None)
        wall_s, processor_s = time.monotonic() - began, _processor_s() - before
        known = [point.architecture for point in solved if point.source("latency_ms") == "looked up"]
        score = scores[target].score
        found.append(
            Found(
                source,
                target,
                seed,
                fresh=score(evaluated[target]),
                all_candidates=score(evaluated[source]),
                solved=score(point.architecture for point in solved),
                measured=score(known),
                points=len(solved),
                looked_up=len(known),
                wall_s=wall_s,
                processor_s=processor_s,
            )
        )
    return found


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def summary(found: Sequence[Found]) -> str:
    """Return a Markdown table: a line a pair of devices, with means over the seeds, and one of all."""
    titles = ("from", "to", "seeds", "fresh", "all candidates", "solved", "share of fresh (least)", "measured alone")
    lines = heading([*titles, "points, looked up", "seconds"])
    pairs = dict.fromkeys((each.source, each.target) for each in found)
    groups = [((*pair,), [each for each in found if (each.source, each.target) == pair]) for pair in pairs]
    for (source, target), group in [*groups, (("all", ""), list(found))]:
        means = {name: statistics.fmean(getattr(each, name) for each in group) for name in Found.__dataclass_fields__
                 if name not in ("source", "target", "seed")}  # fmt: skip
        share, least = statistics.fmean(each.share for each in group), min(each.share for each in group)
        cells = [source, target, len({each.seed for each in group})]
        cells += [f"{means[name]:.2f}" for name in ("fresh", "all_candidates", "solved")]
        cells += [f"{share:.1f} ({least:.1f})", f"{means['measured']:.2f}"]
        lines.append(line([*cells, f"{means['points']:.1f}, {means['looked_up']:.1f}", f"{means['processor_s']:.0f}"]))
    return "\n".join(lines)


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = parser_of("solving_again", __doc__)
    parser.add_argument("--table", type=Path, required=True, help="CSV file, plain or gzip")
    parser.add_argument("--space", required=True, help="a registered space")
    parser.add_argument("--folder", type=Path, required=True, help="where the runs of searches lie")
    parser.add_argument("--accuracy", required=True, metavar="COLUMN", help="in per cent, as searches see it")
    parser.add_argument("--score", metavar="COLUMN", help="in per cent, for the scores; default: --accuracy")
    parser.add_argument("--devices", type=names, required=True, metavar="A,B", help="two devices or more of the table")
    parser.add_argument("--evaluations", type=positive, default=100, help="evaluations of each search")
    parser.add_argument("--measure", type=positive, default=10, help="look-ups on the other device")
    parser.add_argument("--seeds", type=positive, default=5, help="number of seeds, counted from 0")
    parser.add_argument("--json", type=Path, help="file for all results")
    parser.add_argument("--workers", type=positive, default=1, help="processes; each takes one seed at a time")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, write the JSON file, and print the table."""
    parser = command_parser()
    options = parser.parse_args(arguments)
    if len(options.devices) < 2:
        parser.error(f"--devices must be two or more, but got {options.devices[0]}.")
    values = {name: value for name, value in vars(options).items() if name not in ("json", "workers")}
    settings = Settings(**{**values, "score": options.score or options.accuracy})
    found: list[Found] = []
    try:
        with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            for job in as_completed([pool.submit(study, settings, seed) for seed in range(settings.seeds)]):
                found += job.result()
                if options.json is not None:
                    write_aside(options.json, _text(settings, found).encode())
    except NasError as error:
        parser.error(str(error))
    found.sort(key=lambda each: (settings.devices.index(each.source), settings.devices.index(each.target), each.seed))
    print(summary(found))


def _text(settings: Settings, found: Sequence[Found]) -> str:
    """Return the JSON file, one result a line."""
    content = {**asdict(settings), "table": settings.table.name, "folder": "", "processor": processor_name()}
    lines = ",\n".join(json.dumps(asdict(each)) for each in found)
    return f'{json.dumps(content)[:-1]},\n"found": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    main()
