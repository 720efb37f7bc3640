"""``python -m experiments.board_search`` compares the time of a search through ssh with that of the same one here.

    python -m experiments.board_search [--candidates 30] [--repeats 2] [--python PYTHON]

The search is ``experiments/digits.toml``. The board is this very machine, reached through a real sshd on the loopback,
with keys and a home of their own. Both targets have their reference speeds before the searches begin. The searches run
in turns, and nothing that one measured is of use to another. The machine must be idle, and have sshd (openssh-server).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from experiments.board_here import NAME, RUNTIME, board_here, run_nas
from experiments.command_line import heading, line, parser_of, positive
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Cost
from nas.values.evaluation import Evaluation

RECIPE = Path(__file__).parent / "digits.toml"
WAYS = {"here": RUNTIME, "through ssh": f"{NAME}/{RUNTIME}"}
"""The target of each way."""


@dataclass(frozen=True)
class Searched:
    """A search: the seconds of the whole command, those for which the device was held, and what was measured."""

    whole_s: float
    device_s: float
    trained: int
    measured: int


def searched(target: str, candidates: int, name: str, folder: Path) -> Searched:
    """Search on a target, and return what it took."""
    began = time.monotonic()
    settings = [f"name={name}", "measuring.reuse=false"]
    given = [word for setting in settings for word in ("--set", setting)]
    run_nas("search", str(RECIPE), "--target", target, "--trials", str(candidates), *given, folder=folder)
    whole_s = time.monotonic() - began
    run = folder / "runs" / name
    rows = read_rows(run, Evaluation)
    stages = [row.stage for row in rows]
    device_s = sum(cost.device_s for cost in read_rows(run, Cost))
    return Searched(whole_s, device_s, stages.count("train"), stages.count("measure"))


def summary(found: Mapping[str, Sequence[Searched]]) -> list[str]:
    """Return the lines of the table, and the ratio of the medians of whole searches."""
    lines = heading(["way", "whole searches", "of that, the device was held", "trained", "measured"])
    for way, searches in found.items():
        lines.append(
            line(
                [
                    way,
                    ", ".join(f"{each.whole_s:.0f} s" for each in searches),
                    ", ".join(f"{each.device_s:.0f} s" for each in searches),
                    ", ".join(str(each.trained) for each in searches),
                    ", ".join(str(each.measured) for each in searches),
                ]
            )
        )
    here, there = (median(each.whole_s for each in searches) for searches in found.values())
    return [*lines, "", f"Through ssh the search took {there / here:.2f} times as long."]


def main(arguments: Sequence[str] | None = None) -> None:
    """Search in turns, and print the table."""
    parser = parser_of("board_search", __doc__)
    parser.add_argument("--candidates", type=positive, default=30, help="candidates of each search")
    parser.add_argument("--repeats", type=positive, default=2, help="searches in each way")
    parser.add_argument("--python", default=sys.executable, help="the Python of the board, by default this one")
    options = parser.parse_args(arguments)
    found: dict[str, list[Searched]] = {way: [] for way in WAYS}
    with board_here(options.python) as folder:
        for target in WAYS.values():
            run_nas("target", "show", target)  # it records the reference speed
        for repeat in range(options.repeats):
            for number, (way, target) in list(enumerate(WAYS.items()))[:: -1 if repeat % 2 else 1]:
                found[way].append(searched(target, options.candidates, f"search-{number}-{repeat}", folder))
    print("\n".join(summary(found)))


if __name__ == "__main__":
    main()
