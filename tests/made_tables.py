"""Tables that tests make up: numbers, categories, missing values, and a target of classes or numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas


def people(rows: int = 200, seed: int = 0) -> pandas.DataFrame:
    """Return rows with numbers, text, booleans, a pandas category and missing values; ``pay`` is the target."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows).astype(np.float64)
    job = np.array(["nurse", "cook", "clerk", "pilot"])[rng.integers(0, 4, rows)].astype(object)
    hours = rng.normal(38, 7, rows)
    abroad = rng.random(rows) < 0.3
    pay = np.where(age / 20 + hours / 20 + 2 * (job == "pilot") + rng.normal(0, 0.5, rows) > 4.6, "high", "low")
    hours[rng.random(rows) < 0.1] = np.nan
    job[rng.random(rows) < 0.1] = None
    zone = pandas.Categorical.from_codes(rng.integers(0, 3, rows), ["north", "south", "west"])
    return pandas.DataFrame({"age": age, "job": job, "hours": hours, "abroad": abroad, "zone": zone, "pay": pay})


def written(frame: Any, path: Path) -> Path:
    """Write a DataFrame as CSV or Parquet, by the ending of the path, and return the path."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path
