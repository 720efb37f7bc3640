"""A made-up table of small chains of convolutions, and the command line that searches in it."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from experiments.compare_searchers import command_parser, main, settings_from
from experiments.search_problem import KnownCosts, Problem
from experiments.search_tasks import Networks, TableTask
from experiments.searchers.by_name import SEARCHERS
from experiments.searchers.planned_family import PLANNED
from experiments.table_search.study import SearchSettings, study_of
from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.tables.table import Table
from search_spaces.blocks import LayerWriter

SLOW = ("optuna-gp", "syne-tune-evolution", "syne-tune-ehvi", "ax", "primo")
OTHERS = [name for name in SEARCHERS if name not in ("gp", *SLOW, *PLANNED)]
WITHOUT_ENERGY = (3, 60)
ROWS, NETWORKS = 81, 63
TIMES = ("proposing_s",)


class SmallSpace:
    """81 chains of convolutions; chains of depth 0 that differ only in the kernel are twins."""

    choices = (
        Choice("depth", (0, 1, 2)),
        Choice("kernel", (1, 3, 5)),
        Choice("width", (8, 16, 32)),
        Choice("stride", (4, 2, 1)),
    )

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        self._input_shape = input_shape
        self._classes = classes

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        return {**values, "kernel": 1} if values["depth"] == 0 else dict(values)

    def build(self, architecture: Architecture) -> nn.Module:
        raise AssertionError("a search on a table must not build a network")

    def layers(self, architecture: Architecture) -> list[Layer]:
        depth, kernel, width, stride = (int(architecture[choice.name]) for choice in self.choices)
        writer = LayerWriter(self._input_shape).conv_norm(width, 3, stride=stride)
        for _ in range(depth):
            writer.conv_norm(width, kernel)
        return writer.head(self._classes).layers


def made_up_rows() -> list[dict[str, Any]]:
    """Return all chains in random order; costs differ between twins, accuracies do not."""
    rng = np.random.default_rng(0)
    options = list(itertools.product(range(3), repeat=4))
    rows: list[dict[str, Any]] = []
    for number, index in enumerate(rng.permutation(len(options))):
        depth, kernel, width, stride = options[index]
        live = kernel if depth else 0
        capacity = depth * (1 + live) + 2 * width + 3 * stride
        latency = 1 + 0.3 * capacity + 0.2 * kernel * width + 0.1 * depth * stride
        costs = {"latency_ms_x": latency, "latency_ms_y": 2 * latency + 0.1 * width, "mib": 1.5**width + depth}
        blank = "" if number in WITHOUT_ENERGY else 3 * latency + stride
        written = dict(zip(("depth", "kernel", "width", "stride"), options[index], strict=True))
        accuracies = {"val_acc": 95 - 40 * 0.8**capacity + live, "test_acc": 94 - 41 * 0.8**capacity + live}
        rows.append({**written, **accuracies, **costs, "energy_mj_x": blank, "same": 7, "note": "none"})
    return rows


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a CSV file with a header."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


SPACE = SmallSpace((3, 8, 8), 10)


def problem_of(table: Table, task: TableTask, known: KnownCosts, *, is_informed: bool, joined: bool = False) -> Problem:
    """Return a problem on the table whose describer must not be used."""

    def describer() -> Any:
        raise AssertionError("only gp uses the describer")

    networks = Networks(table, SPACE, are_twins_joined=joined)
    return Problem(SPACE, networks, task, known, is_informed=is_informed, describer=describer)


def command(path: Path, *arguments: str) -> list[str]:
    """Return a command line with few evaluations and seeds."""
    space = ["--space", "chain_table:SmallSpace", "--input-shape", "3x8x8"]
    searching = ["--evaluations", "20", "--seeds", "2"]
    columns = ["--accuracy", "val_acc", "--score", "test_acc", "--cost", "latency_ms_x"]
    return ["--table", str(path), *space, *columns, "--searchers", "random,local", *searching, *arguments]


def run(path: Path, *arguments: str) -> dict[str, Any]:
    """Run the command and return the content of its JSON file."""
    study_of.cache_clear()
    out = path.with_name("out.json")
    main([*command(path), "--json", str(out), *arguments])
    content: dict[str, Any] = json.loads(out.read_text())
    return content


def without_times(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs without their times, which differ each time."""
    return [{name: value for name, value in run.items() if name not in TIMES} for run in runs]


def settings(path: Path, *arguments: str) -> SearchSettings:
    """Return the settings of a command line."""
    return settings_from(command_parser().parse_args(command(path, *arguments)))


def settings_of(content: Mapping[str, Any], path: Path) -> SearchSettings:
    """Return the settings that made a JSON file; their study is still cached."""
    kept = {name: content["settings"][name] for name in ("evaluations", "seeds")}
    return SearchSettings(**{**vars(settings(path)), **kept})
