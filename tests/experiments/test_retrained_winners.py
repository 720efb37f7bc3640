"""The experiment about retrained winners searches, retrains a run, and tells if the aim is reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nas
from experiments import retrained_winners
from experiments.retrained_winners import AIM, RECIPE, summary


def facts(error: float, seeds: list[float] | None = None) -> dict[str, Any]:
    over = None
    if seeds:
        mean = sum(seeds) / len(seeds)
        over = {"count": len(seeds), "mean": mean, "interval_95": [mean - 0.01, mean + 0.01]}
    interval = [error - 0.005, error + 0.005]
    return {
        "id": f"id-{error}",
        "params": 12345.0,
        "latency_ms": 0.5,
        "test_error": error,
        "test_error_interval_95": interval,
        "seeds": over,
    }


def test_the_mean_over_seeds_decides() -> None:
    """A lucky first seed does not."""
    lines = summary([facts(0.05, [0.05, 0.07, 0.09]), facts(0.059)])
    assert lines[2].startswith(
        "| id-0.05 | 12,345 | 0.500 ms | 95.00% (94.50% to 95.50%) | 93.00% (92.00% to 94.00%) | 3"
    )
    assert lines[-1] == "The best winner, id-0.059, has 94.10%, which reaches 94%."
    assert summary([facts(0.07)])[-1] == "The best winner, id-0.07, has 93.00%, which does not reach 94%."


def test_the_recipe_states_its_schedule_and_its_seeds() -> None:
    """It trains winners on all pictures, longer than candidates, by several seeds."""
    recipe = nas.read_recipe(RECIPE)
    assert (recipe.data.name, recipe.space.name) == ("fashion-mnist", "mobilenet")
    assert recipe.retraining.seeds == 3
    assert recipe.retraining.epochs == 60
    assert nas.training_settings(recipe).schedule == "cosine"
    assert AIM == 0.94


@pytest.mark.slow
def test_it_searches_and_retrains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On digits, in a minute: the second command retrains the first one's run, and tells of both seeds."""
    quick = [
        *("data=digits", "trials=2", "rounds=1", "training.epochs=1", "execution.executor=inline"),
        *("measuring.initial=5", "measuring.rounds=2", "measuring.max_rounds=2", "measuring.seconds_per_round=0.02"),
        *("retraining.winners=1", "predictor=quick_predictor:fit_quick"),
    ]
    out = tmp_path / "out.json"
    common = ["--epochs", "1", "--out", str(out)]
    retrained_winners.main(["--runs", str(tmp_path), *common, "--seeds", "1", "--set", *quick])
    assert "does not reach 94%" in capsys.readouterr().out
    assert json.loads(out.read_text())["winners"][0]["seeds"] is None
    run = tmp_path / retrained_winners.NAME
    retrained_winners.main(["--run", str(run), *common, "--seeds", "2", "--top", "1"])
    assert json.loads(out.read_text())["winners"][0]["seeds"]["count"] == 2
