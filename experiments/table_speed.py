"""``python -m experiments.table_speed`` measures what a search in a table costs a user, and how that grows.

    python -m experiments.table_speed --table TABLE --space nasbench201 --accuracy val_acc_c10 --device gold_6240

Each search is a command of its own, from start to report, without any variable that limits threads. The script prints
the milliseconds of an evaluation on one core; the time without such variables over the time with one thread; the time
of two searches side by side over the time of one; and the milliseconds and memory at each of ``--trials``. The searches
that are compared take turns, and ratios are medians over ``--repeats``, so that other work on the machine matters less.
Ratios of processor times hold on a busy machine too.
It needs Linux or macOS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from experiments.command_line import heading, line, parser_of, positive
from nas.hardware.machine import allowed_cores, processor_name
from nas.storage.journal import read_rows, write_aside
from nas.values.evaluation import Evaluation

ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Spent:
    """The cost of one search or of several side by side.

    Attributes:
        evaluations: the number of rows that were looked up, by each search.
        wall_s: seconds from the start of the first command to the end of the last.
        busy_s: seconds of processors that each took, on average.
        peak_mib: the most memory that one of them held.
    """

    evaluations: int
    wall_s: float
    busy_s: float
    peak_mib: float

    @property
    def busy_ms(self) -> float:
        """Milliseconds of a processor for each evaluation. Waiting for a busy machine does not count."""
        return 1000 * self.busy_s / max(1, self.evaluations)

    @property
    def wall_ms(self) -> float:
        """Milliseconds for each evaluation."""
        return 1000 * self.wall_s / max(1, self.evaluations)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the searches, and print the table of figures."""
    parser = parser_of("table_speed", __doc__)
    parser.add_argument("--table", type=Path, required=True, help="CSV file, one architecture a row")
    parser.add_argument("--space", required=True, help="the space of the table")
    parser.add_argument("--accuracy", required=True, help="column that the search sees, in per cent")
    parser.add_argument("--device", required=True, help="device whose latency is looked up")
    parser.add_argument("--trials", default="10,1000,2000", help="numbers of evaluations; default: 10,1000,2000")
    parser.add_argument("--compared", type=positive, default=300, help="evaluations of a compared search; default: 300")
    parser.add_argument("--repeats", type=positive, default=3, help="times that compared searches take turns")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file for all figures")
    options = parser.parse_args(arguments)
    command = [
        *(sys.executable, "-m", "nas", "search", "--evaluate", "table", "--executor", "inline"),
        *("--space", options.space, "--set", f"table.path={options.table.resolve()}"),
        *("--set", f"table.accuracy={options.accuracy}", "--set", f"table.device={options.device}"),
    ]
    grown = {trials: search(command, trials) for trials in map(int, options.trials.split(","))}
    turns = [compared(command, options.compared) for _ in range(options.repeats)]
    print("\n".join(summary(grown, turns)))
    if options.json is not None:
        found = {
            "processor": processor_name(),
            "grown": {str(trials): asdict(spent) for trials, spent in grown.items()},
            "compared": [{name: asdict(spent) for name, spent in turn.items()} for turn in turns],
        }
        write_aside(options.json, json.dumps(found, indent=1).encode())
    return 0


def compared(command: Sequence[str], trials: int) -> dict[str, Spent]:
    """Return the cost of four searches, one after the other: on all cores, with one thread, on one core, and of two."""
    return {
        "alone": search(command, trials, one_core=False),
        "one thread": search(command, trials, ONE_THREAD, one_core=False),
        "one core": search(command, trials),
        "side by side": search(command, trials, together=min(2, len(allowed_cores())), one_core=False),
    }


def search(
    command: Sequence[str],
    trials: int,
    variables: Mapping[str, str] | None = None,
    *,
    together: int = 1,
    one_core: bool = True,
) -> Spent:
    """Run a search in a fresh folder, or ``together`` of them at once, and return what it cost.

    ``variables`` are added to the environment, from which all that limit threads are removed. With ``one_core`` the
    search may use a single core; elsewhere than on Linux this is ignored.
    """
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    with tempfile.TemporaryDirectory(prefix="nas-table-speed-") as folder:
        began = time.perf_counter()
        processes = [
            subprocess.Popen(  # noqa: S603 this program, by an argument list
                [*command, "--trials", str(trials), "--name", f"run{number}", "--runs", folder],
                env={**kept, **(variables or {})},
                stdout=subprocess.DEVNULL,
                preexec_fn=_take_one_core if one_core and hasattr(os, "sched_setaffinity") else None,
            )
            for number in range(together)
        ]
        usages = []
        for process in processes:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                raise SystemExit(f"a search must end well, but {' '.join(command)} ended with {process.returncode}.")
            usages.append(usage)
        wall_s = time.perf_counter() - began
        evaluations = sum(row.stage == "train" for row in read_rows(Path(folder) / "run0", Evaluation))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    busy_s = float(np.mean([usage.ru_utime + usage.ru_stime for usage in usages]))
    return Spent(evaluations, wall_s, busy_s, max(usage.ru_maxrss for usage in usages) / unit)


def _take_one_core() -> None:
    os.sched_setaffinity(0, allowed_cores()[-1:])


def summary(grown: Mapping[int, Spent], turns: Sequence[Mapping[str, Spent]]) -> list[str]:
    """Return the lines of two Markdown tables: how the cost grows, and the ratios of compared searches."""

    def ratios(first: str, second: str) -> list[str]:
        found = [
            [getattr(turn[first], name) / getattr(turn[second], name) for turn in turns]
            for name in ("wall_s", "busy_s")
        ]
        return [f"{np.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in found]

    lines = [
        f"{processor_name()}, {len(allowed_cores())} cores",
        "",
        *heading(["evaluations", "ms each, processor", "ms each, waiting too", "seconds in all", "memory at most"]),
    ]
    for spent in grown.values():
        figures = f"{spent.busy_ms:.1f}", f"{spent.wall_ms:.1f}", f"{spent.wall_s:.1f}", f"{spent.peak_mib:.0f} MiB"
        lines.append(line([spent.evaluations, *figures]))
    busy = float(np.median([turn["alone"].busy_s / turn["alone"].wall_s for turn in turns]))
    return [
        *lines,
        "",
        *heading(["ratio", "of times: median (range)", "of processor times"]),
        line(["no variable set, over one thread", *ratios("alone", "one thread")]),
        line(["one core, over all cores", *ratios("one core", "alone")]),
        line(["two side by side, over one", *ratios("side by side", "alone")]),
        line(["cores busy with one search", f"{busy:.2f}", ""]),
    ]


if __name__ == "__main__":
    sys.exit(main())
