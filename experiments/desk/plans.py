"""``python -m experiments.desk.plans`` tells how well the plans of the desk's searches held.

    python -m experiments.desk.plans --folder runs/desk

A search says before it begins how long it will measure, and before each round how long its winners will take. Its rows
say when they were written. The table has, for each stage, how many times longer than planned it took: the median of all
searches in the folder, the middle nine of ten, and the share within a factor of 1.5. The search time is a plan too.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import nas
from experiments.command_line import parser_of

WITHIN = 1.5
TIME = r"\((?:about )?([^()]+)\)"
MEASURING = re.compile(rf"^plan: measure \d+ models? {TIME}", re.MULTILINE)
WINNERS = re.compile(rf"^(?:plan|left): .*export, measure and test up to \d+ winners? {TIME}", re.MULTILINE)
UNITS_S = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 0.001}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = parser_of("plans", __doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/desk"), help="the folder of the desk's runs")
    options = parser.parse_args(arguments)
    ratios: dict[str, list[float]] = {}
    for log in sorted((options.folder / "runs").glob("*.log")):
        run = log.with_suffix("") if log.with_suffix("").is_dir() else None
        for stage, ratio in () if run is None else ratios_of(log.read_text("utf-8"), run):
            ratios.setdefault(stage, []).append(ratio)
    print("\n".join(table(ratios)))
    return 0


def ratios_of(log: str, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield the stages of a search that has made a winner, and the time of each as a multiple of its plan."""
    run = nas.load_run(folder)
    seconds = run.timeline.seconds
    ends = {(row.stage, row.round): second for row, second in zip(run.rows, seconds, strict=True)}
    stages = {stage for stage, _ in ends}
    if not {"train", "winner"} <= stages:
        return
    searched_s = max(second for (stage, _), second in ends.items() if stage in ("measure", "train"))
    planned = MEASURING.search(log)
    if planned and ("measure", 0) in ends:
        yield "first measurements", ends["measure", 0] / seconds_of(planned[1])
    if told := WINNERS.findall(log):
        yield "winners", (seconds[-1] - searched_s) / seconds_of(told[-1])
    yield "the whole search", seconds[-1] / tomllib.loads(run.recipe_text)["search_time_s"]


def seconds_of(text: str) -> float:
    """Return the seconds of a time as plans tell it, such as ``1 min 20 s``."""
    return sum(float(number) * UNITS_S[unit] for number, unit in re.findall(r"([\d.]+) (h|min|ms|s)\b", text))


def table(ratios: dict[str, list[float]]) -> list[str]:
    """Return the lines of the table."""
    lines = [
        f"| stage | searches | took, of its plan | middle nine of ten | within {WITHIN:g} times |",
        "|---|---|---|---|---|",
    ]
    for stage, found in ratios.items():
        low, middle, high = np.percentile(found, (5, 50, 95))
        near = np.mean([1 / WITHIN <= ratio <= WITHIN for ratio in found])
        lines.append(f"| {stage} | {len(found)} | {middle:.2f} | {low:.2f} to {high:.2f} | {100 * near:.0f} % |")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
