"""A search that trains gives the rows, the front, the page's figures and the CSV that it gave before.

Its bench, its clock and its training are made up, so that nothing depends on this machine. Whoever changes a result on
purpose writes the golden file anew, and says so: ``python tests/test_golden_training.py``.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from quick_runs import search
from report_page import Page, column, ids
from test_golden_runs import MODELLED, assert_like, rows_of

import nas
from nas.results.front import REPORT_NAME

GOLDEN = Path(__file__).parent / "golden" / "trained_run.json"
UNSURE = {"training_s", "test_error", "test_error_lower_95", "test_error_upper_95", "failure", "on_front", "same_as"}
"""Columns that depend on random weights, or on this machine."""


def by_size(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, Any]]:
    """Yield errors that follow from the number of weights: larger networks err less, and each epoch helps."""
    count = sum(each.numel() for each in module.parameters())
    for epoch in range(settings.epochs):
        yield {"error": min(0.9, 30 / count / (epoch + 1)), "weights": module.state_dict()}


def found_in(folder: Path) -> dict[str, Any]:
    """Search, and return what the golden file keeps."""
    search(
        folder,
        trials=10,
        train=by_size,
        limits=["latency_ms <= 1.6ms"],
        predictor="quick_predictor:fit_quick",
        retraining={"epochs": 2, "winners": 3},
    )
    run = nas.load_run(folder / "run")
    document = Page((folder / "run" / REPORT_NAME).read_text(encoding="utf-8")).document
    with Path(run.export("csv").place).open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    rows = rows_of(folder / "run")
    for row in rows["evaluation"]:
        if row["stage"] == "winner":  # tested with random weights
            row["values"] = {name: value for name, value in row["values"].items() if name not in ("error",)}
    return {
        "rows": {**rows, "evaluation": [_plain(row) for row in rows["evaluation"]]},
        "winners": sorted(winner.architecture.id for winner in run.front),
        "page": {
            "ids": ids(document),
            "columns": {
                name: {part: _listed(column(document, each.get(part))) for part in ("found", "low", "high", "mean")}
                for name, each in document["columns"].items()
                if name in ("latency_ms", "params", "macs", "weight_bytes")
            },
        },
        "csv": [
            {name: cell for name, cell in row.items() if name not in UNSURE and name not in MODELLED and cell}
            for row in table
        ],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(row))
    return found


def _listed(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    """Return the cells of a CSV row, numbers as numbers."""
    found: dict[str, Any] = {}
    for name, cell in row.items():
        try:
            found[name] = float(cell)
        except ValueError:
            found[name] = cell
    return found


def test_rows_front_page_and_csv_are_as_before(tmp_path: Path, quick_export: None) -> None:
    found, golden = json.loads(json.dumps(found_in(tmp_path))), json.loads(GOLDEN.read_text(encoding="utf-8"))
    for each in (found, golden):
        each["csv"] = [_numbers(row) for row in each["csv"]]
    assert len(golden["winners"]) == 3
    assert_like(found, golden)


if __name__ == "__main__":
    from unittest import mock

    from quick_runs import EXPORT, write_any_model

    with tempfile.TemporaryDirectory() as folder, mock.patch(EXPORT, write_any_model):
        GOLDEN.write_text(json.dumps(found_in(Path(folder)), indent=1, sort_keys=True) + "\n", encoding="utf-8")
