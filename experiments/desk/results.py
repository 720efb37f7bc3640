"""The verdict on a cell, the file of finished cells, and the table that is printed from it."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.command_line import heading, line
from nas.values.pareto import FloatArray

BETTER, WITHIN, WORSE, NEITHER = "better", "within the error", "worse", "neither"
VERDICTS = (BETTER, WITHIN, WORSE, NEITHER)
BUSY_CORES = 0.2
"""From this many cores on that other programs keep busy, a machine is called busy."""


class Key(NamedTuple):
    """What tells a cell from all others."""

    data: str
    seed: int
    minutes: float
    limited: bool

    @property
    def name(self) -> str:
        """The name of its run."""
        return f"{self.data}-seed{self.seed}-{self.minutes:g}min{'-limit' if self.limited else ''}"


@dataclass(frozen=True)
class Model:
    """A model in a cell: its name or choices, its errors, and its latency in ms. ``validation`` chose it."""

    name: str
    validation: float
    error: float
    latency_ms: float


@dataclass(frozen=True)
class Cell:
    """A finished cell: our winner and the best simple model, as far as there are any.

    Attributes:
        group, data, seed, minutes: what was searched, and for how long.
        limit_ms: the limit on the latency; None without one.
        ours: our winner; None if none was within the limit.
        simple: the best simple model within the limit; None if there is none.
        pipeline_ms: the time of a prediction of its Python pipeline in one thread, where that is not its latency.
        behind: its error minus ours, the mean over test items; positive if ours is better.
        standard_error: the standard error of ``behind`` over test items, if both were equally good.
        items: the number of test items.
        seconds: how long the search took, and how long all simple models took.
        doubts: what the product says against its own measurements.
        busy_cores: the cores that other programs kept busy before the search or after it; None where unknown.
    """

    group: str
    data: str
    seed: int
    minutes: float
    limit_ms: float | None
    ours: Model | None
    simple: Model | None
    pipeline_ms: float | None
    behind: float | None
    standard_error: float | None
    verdict: str
    items: int
    seconds: tuple[float, float]
    doubts: tuple[str, ...]
    busy_cores: float | None
    date: str
    processor: str
    cores: int
    version: str

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        return Key(self.data, self.seed, self.minutes, self.limit_ms is not None)

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Cell:
        """Return what ``to_json`` wrote."""
        found = json.loads(text)
        models = {name: None if found[name] is None else Model(**found[name]) for name in ("ours", "simple")}
        sequences = {name: tuple(found[name]) for name in ("seconds", "doubts")}
        return cls(**{**found, **models, **sequences})


def compared(ours: FloatArray | None, simple: FloatArray | None) -> tuple[float | None, float | None, str]:
    """Return by how much simple errors exceed ours, the standard error of that, and the verdict.

    Both are errors of the same N test items. The standard error holds if both models were equally good: for classes it
    is McNemar's, the root of the number of items that only one of them classifies rightly, over N. If only one of them
    is within the limit, it wins; if none is, the verdict is that neither is.
    """
    if ours is None or simple is None:
        return None, None, NEITHER if ours is simple else WORSE if ours is None else BETTER
    differences = simple - ours
    behind = float(differences.mean())
    error = math.sqrt(float(np.square(differences).sum())) / len(differences)
    return behind, error, BETTER if behind > error else WORSE if behind < -error else WITHIN


def read_cells(path: Path) -> list[Cell]:
    """Return the finished cells in a file. A last line that a kill cut short is left out."""
    if not path.exists():
        return []
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    return [Cell.from_json(text) for text in whole]


def add_cell(path: Path, cell: Cell) -> None:
    """Write a finished cell at the end of a file, in the place of a line that a kill cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(f"{cell.to_json()}\n".encode())
        file.flush()
        os.fsync(file.fileno())


# The table


def table(cells: Sequence[Cell]) -> list[str]:
    """Return the Markdown table of wins, ties and losses by group, and that of all cells, with the machines."""
    if not cells:
        return ["No cell is finished."]
    return [*_summary(cells), "", *_all_cells(cells), "", *_machines(cells)]


def _summary(cells: Sequence[Cell]) -> list[str]:
    lines = heading(["group", "time", "limit", *VERDICTS])
    for group, minutes, limited in sorted(set(map(_part, cells))):
        part = [cell for cell in cells if _part(cell) == (group, minutes, limited)]
        lines.append(line([group, f"{minutes:g} min", "half of the latency" if limited else "none", *_counts(part)]))
    return [*lines, line(["all", "", "", *_counts(cells)])]


def _part(cell: Cell) -> tuple[str, float, bool]:
    return cell.group, cell.minutes, cell.key.limited


def _counts(cells: Iterable[Cell]) -> list[int]:
    counts = Counter(cell.verdict for cell in cells)
    return [counts[verdict] for verdict in VERDICTS]


def _all_cells(cells: Sequence[Cell]) -> list[str]:
    titles = ["data", "seed", "time", "limit", "our error", "our latency", "simple model", "its error", "its latency",
              "ours is better by", "verdict", "seconds"]  # fmt: skip
    ordered = sorted(cells, key=lambda cell: (cell.group, *cell.key))
    return [*heading(titles), *(line(_row(cell)) for cell in ordered)]


def _row(cell: Cell) -> list[str]:
    behind = "–"
    if cell.behind is not None and cell.standard_error is not None:
        behind = f"{100 * cell.behind:.2f} ± {100 * cell.standard_error:.2f} %"
    latency = "–" if cell.simple is None else _ms(cell.simple.latency_ms)
    pipeline = "" if cell.pipeline_ms is None else f", pipeline {_ms(cell.pipeline_ms)}"
    return [
        cell.data,
        str(cell.seed),
        f"{cell.minutes:g} min",
        "none" if cell.limit_ms is None else _ms(cell.limit_ms),
        "–" if cell.ours is None else f"{100 * cell.ours.error:.2f} %",
        "–" if cell.ours is None else _ms(cell.ours.latency_ms),
        "–" if cell.simple is None else cell.simple.name,
        "–" if cell.simple is None else f"{100 * cell.simple.error:.2f} %",
        latency + pipeline,
        behind,
        cell.verdict,
        f"{cell.seconds[0]:.0f}",
    ]


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value >= 1 else f"{1000 * value:.3g} µs"


def _machines(cells: Sequence[Cell]) -> list[str]:
    """Return a sentence for each machine and version."""
    found: dict[tuple[str, int, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.processor, cell.cores, cell.version), []).append(cell)
    sentences = []
    for (processor, cores, version), some in found.items():
        days = sorted(cell.date for cell in some)
        busy = sum(cell.busy_cores is not None and cell.busy_cores > BUSY_CORES for cell in some)
        sentences.append(
            f"{len(some)} cells on {processor} with {cores} cores, from {days[0]} to {days[-1]}, version {version}; "
            f"beside {busy} of them other programs kept more than {BUSY_CORES:g} cores busy."
        )
    return sentences
