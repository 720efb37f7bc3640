"""A made-up table of models, as someone may have one: names, choices of text and numbers, a prior and two devices."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

FAMILIES = {"alpha": 0.0, "beta": 0.06, "gamma": 0.1}
WIDTHS = (0.25, 0.5, 1.0)
RESOLUTIONS = (96, 128, 160, 192)
CHOICES = ("family", "width", "resolution")
Row = dict[str, object]


def model_rows() -> list[Row]:
    """Return 32 rows: all combinations of the choices but the widest ``gamma``; accuracies follow their prior."""
    rng = np.random.default_rng(0)
    rows: list[Row] = []
    for family, gain in FAMILIES.items():
        for width in WIDTHS:
            for resolution in RESOLUTIONS:
                if family == "gamma" and width == WIDTHS[-1]:
                    continue
                work = width * (resolution / 96) ** 2
                prior = 60 + 100 * gain + 8 * np.log(1 + work) + rng.normal(0, 1)
                accuracy = 0.8 * prior + 20 + rng.normal(0, 0.5)
                latency = (1 + gain) * (2 + 3 * work) * np.exp(rng.normal(0, 0.02))
                rows.append(
                    {
                        "name": f"{family}_w{int(100 * width)}_{resolution}",
                        "family": family,
                        "width": width,
                        "resolution": resolution,
                        "licence": "free",
                        "mflops": round(100 * work, 3),
                        "other_acc": round(prior, 3),
                        "val_acc": round(accuracy, 3),
                        "test_acc": round(accuracy - 0.4, 3),
                        "latency_ms_board": round(latency, 4),
                        "latency_ms_phone": round(2 * latency**1.05, 4),
                    }
                )
    return rows


def write_models(path: Path, change: Callable[[list[Row]], list[Row]] = lambda rows: rows) -> Path:
    """Write the table, changed by ``change``, and return its path."""
    rows = change(model_rows())
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def with_cell(row: int, values: Mapping[str, object]) -> Callable[[list[Row]], list[Row]]:
    """Return a change that gives the row at ``row``, counted from 0, other values."""
    return lambda rows: [each | values if place == row else each for place, each in enumerate(rows)]
