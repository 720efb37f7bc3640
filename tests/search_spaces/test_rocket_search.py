"""A search of the space rocket: heads are fitted once, measured, exported and tested like any other network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import evaluations_of

import nas
from nas.formats.onnx_session import outputs_of
from nas.tasks.batches import items_at

PITCHES = (20, 30, 45)


def short_tones() -> nas.Signals:
    """Return noisy windows of 64 samples in two channels, whose pitch tells their class."""
    rng = np.random.default_rng(0)
    labels = np.arange(150) % len(PITCHES)
    time_s = np.arange(64) / 200
    angles = 2 * np.pi * np.array(PITCHES)[labels, None, None] * time_s + rng.uniform(0, 6, (150, 2, 1))
    return nas.Signals.from_arrays(np.sin(angles) + rng.normal(0, 0.7, (150, 2, 64)), labels)


@pytest.mark.slow
def test_a_search_fits_measures_and_exports_networks_that_fit_themselves(tmp_path: Path) -> None:
    """The published network comes first; winners are accurate, exported with their biases, and well calibrated."""
    data = short_tones()
    recipe = {
        "name": "run",
        "space": "rocket",
        "trials": 6,
        "measuring": {"initial": 6, "per_round": 2, "rounds": 2, "max_rounds": 2},
        "training": {"epochs": 30},
        "retraining": {"winners": 2},
        "execution": {"executor": "inline"},
    }
    front = nas.search(recipe, data=data, runs=tmp_path / "runs", progress=None)
    rows = evaluations_of(tmp_path / "runs" / "run", "train")
    assert not [row.failure for row in rows if row.failed]
    assert dict(rows[0].architecture) == {"features": 9996, "dilations": 32, "pool": 1}
    assert min(row.values["error"] for row in rows) < 0.15
    tested = items_at(data.test, slice(None))
    (signals,) = data.prepared(tested.raw)
    for winner in front:
        assert winner.bundle is not None
        assert winner.test_error is not None
        logits = outputs_of(winner.bundle / "model.onnx", [signals])
        labels = tested.targets.numpy()
        assert (logits.argmax(axis=1) != labels).mean() == pytest.approx(winner.test_error)
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert -np.log(chances[np.arange(len(labels)), labels]).mean() < 0.6 * np.log(len(PITCHES))
    assert min(winner.test_error for winner in front if winner.test_error is not None) < 0.15
