"""The desk table: verdicts by the test items' standard error, the file of finished cells, and the printed table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.desk.results import BETTER, NEITHER, WITHIN, WORSE, Cell, Model, add_cell, compared, read_cells, table


def cell(data: str = "wine", seed: int = 0, minutes: float = 2, **changes: object) -> Cell:
    """Return a finished cell without a limit."""
    made = Cell(
        group="tables",
        data=data,
        seed=seed,
        minutes=minutes,
        limit_ms=None,
        ours=Model("model=linear", 0.1, 0.05, 0.004),
        simple=Model("ridge", 0.1, 0.06, 2.0),
        pipeline_ms=None,
        behind=0.01,
        standard_error=0.02,
        verdict=WITHIN,
        items=100,
        seconds=(130.0, 20.0),
        doubts=(),
        busy_cores=0.0,
        date="2026-11-29",
        processor="A processor",
        cores=2,
        version="1.0",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def errors(wrong: list[int], count: int = 100) -> np.ndarray:
    found = np.zeros(count)
    found[wrong] = 1
    return found


def test_the_standard_error_is_that_of_mcnemar() -> None:
    """Only items that one of both classifies wrongly count: 5 and 1 of 100."""
    behind, error, verdict = compared(errors([0, 9]), errors([9, *range(10, 15)]))
    assert behind == pytest.approx(0.04)
    assert error == pytest.approx(np.sqrt(6) / 100)
    assert verdict == BETTER
    assert compared(errors([9, *range(10, 15)]), errors([0, 9]))[2] == WORSE


def test_one_item_decides_nothing() -> None:
    assert compared(errors([]), errors([4]))[2] == WITHIN
    assert compared(errors([4]), errors([]))[2] == WITHIN
    assert compared(errors([]), errors([4, 5]))[2] == BETTER
    assert compared(errors([4]), errors([4])) == (0.0, 0.0, WITHIN)


def test_numbers_are_compared_by_pairs() -> None:
    """A small difference on every item counts, though the items themselves differ by far more."""
    hard = np.linspace(0, 10, 50)
    assert compared(hard, hard + 0.01)[2] == BETTER
    rng = np.random.default_rng(0)
    assert compared(hard, hard + np.where(np.arange(50) % 2, 1.0, -1.0) + 0.01 * rng.random(50))[2] == WITHIN


def test_a_model_within_the_limit_beats_none() -> None:
    some = errors([1])
    assert compared(some, None) == (None, None, BETTER)
    assert compared(None, some) == (None, None, WORSE)
    assert compared(None, None) == (None, None, NEITHER)


def test_cells_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results" / "desk.jsonl"
    assert read_cells(path) == []
    both = [cell(), cell(limit_ms=0.002, ours=None, behind=None, standard_error=None, doubts=("busy",))]
    for each in both:
        add_cell(path, each)
    assert read_cells(path) == both


def test_a_line_that_was_cut_short_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "desk.jsonl"
    add_cell(path, cell())
    path.write_bytes(path.read_bytes() + cell(seed=1).to_json().encode()[:50])
    assert read_cells(path) == [cell()]
    add_cell(path, cell(seed=1))
    assert read_cells(path) == [cell(), cell(seed=1)]


def test_the_table_counts_by_group_time_and_limit() -> None:
    cells = [
        cell(verdict=BETTER),
        cell("fair", verdict=WORSE),
        cell("fair", minutes=10, limit_ms=0.5),
        cell("wine", minutes=10, limit_ms=0.001, verdict=NEITHER),
        cell("stamps", group="photos", verdict=BETTER, pipeline_ms=12.0),
    ]
    lines = table(cells)
    assert "| photos | 2 min | none | 1 | 0 | 0 | 0 |" in lines
    assert "| tables | 2 min | none | 1 | 0 | 1 | 0 |" in lines
    assert "| tables | 10 min | half of the latency | 0 | 1 | 0 | 1 |" in lines
    assert "| all |  |  | 2 | 1 | 1 | 1 |" in lines
    assert (
        "| stamps | 0 | 2 min | none | 5.00 % | 4 µs | ridge | 6.00 % | 2 ms, pipeline 12 ms | 1.00 ± 2.00 % "
        "| better | 130 |"
    ) in lines


def test_the_table_tells_machines_and_how_busy_they_were() -> None:
    *_, last = table([cell(), cell(seed=1, busy_cores=1.5, date="2026-12-01")])
    assert last == (
        "2 cells on A processor with 2 cores, from 2026-11-29 to 2026-12-01, version 1.0; beside 1 of them other "
        "programs kept more than 0.2 cores busy."
    )
    assert table([]) == ["No cell is finished."]


def test_models_that_are_missing_have_a_dash() -> None:
    lines = table([cell(ours=None, behind=None, standard_error=None, limit_ms=0.01, verdict=WORSE)])
    assert "| wine | 0 | 2 min | 10 µs | – | – | ridge | 6.00 % | 2 ms | – | worse | 130 |" in lines
