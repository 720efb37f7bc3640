"""Which weights of the search are kept where they are many or large."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_up_beliefs import of_simple

from nas.recipe.recipe import Recipe
from nas.searching import trained_weights
from nas.searching.durations import Durations
from nas.searching.trained_weights import TrainedWeights
from nas.values.evaluation import OF_ALL, Evaluation


def test_a_large_file_that_is_dropped_takes_no_room_of_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is kept however large, and each further one that still fits."""
    monkeypatch.setattr(trained_weights, "MOST_BYTES", 100)
    beliefs = of_simple((0.1, 4.0, False), (0.2, 3.0, False), (0.3, 2.0, False), (0.4, 1.0, False))
    state: Any = SimpleNamespace(beliefs=beliefs)
    kept = TrainedWeights(state, tmp_path)
    best_first = [row.architecture for row in beliefs.rows if row.stage == "train"]
    for architecture, size in zip(best_first, (60, 50, 30, 10), strict=True):
        kept.put(architecture, bytes(size))
    kept.drop_others()
    assert [kept.has(each) for each in best_first] == [True, False, True, True]


def test_a_simple_model_whose_weights_were_dropped_is_fitted_again() -> None:
    """That takes as long as before; with its weights it takes no time."""
    beliefs = of_simple((0.1, 4.0, True))
    row = next(each for each in beliefs.rows if each.stage == "train")
    details = {**row.details, OF_ALL: True, "seconds": 7.0, "epochs": 1}
    fitted = Evaluation("train", row.architecture, 1, values=row.values, details=details)
    beliefs.add(fitted)
    planned = Durations(Recipe.from_mapping({"execution": {"executor": "inline"}}), beliefs, (80, 20))
    chosen = [row.architecture]
    assert planned.making_s(chosen) - planned.making_s(chosen, as_trained=chosen) == pytest.approx(7.0)
    assert planned._as_winner_s(fitted) == 0.0
