"""Whole runs minimise and limit trained metrics other than the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import evaluations_of
from quick_runs import Diary, OneChoice, search

import nas
from nas.errors import RecipeError
from nas.reports.report import render_report
from nas.space.architecture import Architecture, Choice
from nas.space.signature import Signature, TensorType
from nas.tasks.criteria import Regression
from nas.tasks.task import Task

pytestmark = pytest.mark.usefixtures("quick_export")


class Perceptron:
    """A space of four networks for rows of numbers."""

    choices = (Choice("width", (2, 4, 8, 16)),)

    def build(self, architecture: Architecture) -> torch.nn.Module:
        width = int(architecture["width"])
        return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.ReLU(), torch.nn.Linear(width, 1))


def numbers(count: int, seed: int) -> torch.utils.data.TensorDataset:
    """Rows of three numbers, and a value far from 0 and 1."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 3)).astype(np.float32)
    values = 40 * rows[:, :1] + rng.normal(scale=8, size=(count, 1)).astype(np.float32)
    return torch.utils.data.TensorDataset(torch.from_numpy(rows), torch.from_numpy(values))


class Values(Task):
    """A task of a user's own, whose values are not standardised."""

    name = "values"
    train, validation, test = numbers(96, 0), numbers(40, 1), numbers(60, 2)
    signature = Signature((TensorType("numbers", (3,)),), (1,))
    criterion = Regression()


@pytest.mark.slow
def test_any_trained_metric_takes_the_place_of_the_error(tmp_path: Path) -> None:
    """Rows keep it, curves follow it, and winners are ordered by it, with their intervals."""
    front = search(tmp_path, objectives=["balanced_accuracy", "latency_ms"], limits=["calibration_error <= 95%"])
    for row in evaluations_of(tmp_path / "run", "train"):
        assert row.details["curve"][-1] == row.values["balanced_error"]
        assert {"error", "top5_error", "macro_f1_loss", "calibration_error"} <= row.values.keys()
    assert [objective.metric.name for objective in front.objectives] == ["balanced_error", "latency_ms"]
    winner = front[0]
    found = winner.estimate("balanced_error")
    assert found.interval.lower < found.value < found.interval.upper
    assert winner.meets(front.limits)
    assert "balanced error" in str(front)
    shown = front.to_json()["winners"][0]["scores"]["balanced_error"]
    assert shown == {"value": found.value, "interval_95": [found.interval.lower, found.interval.upper]}
    page = render_report(nas.load_run(tmp_path / "run"))
    assert "Balanced error, test" in page
    assert '"quality":"balanced_error"' in page


def test_several_trained_objectives_are_minimised_together(tmp_path: Path) -> None:
    """A training has one curve, so none is stopped early, and the run says so."""
    diary = Diary()
    front = search(tmp_path, objectives=["calibration_error", "error", "params"], progress=diary, trials=7)
    assert any("several objectives are trained" in text for text in diary.news)
    assert not any(row.details["stopped_early"] for row in evaluations_of(tmp_path / "run", "train"))
    assert all(winner.has("calibration_error") for winner in front)


def test_errors_above_1_and_values_in_their_units_are_fine(tmp_path: Path) -> None:
    """A regression that was never standardised has errors of hundreds; the report calls things by their names."""
    front = search(tmp_path, Perceptron(), data=Values(), objectives=["mae", "latency_ms"], trials=4)
    assert all(row.values["error"] > 1 for row in evaluations_of(tmp_path / "run", "train"))
    (row, *_) = evaluations_of(tmp_path / "run", "winner")
    assert row.details["scores"]["mae"][0] > 1
    text = str(front)
    assert "squared error" in text
    assert "accuracy" not in text
    page = render_report(nas.load_run(tmp_path / "run"))
    assert "mean absolute error" in page
    assert "test accuracy" not in page.lower()
    assert "validation accuracy" not in page


@pytest.mark.slow
def test_the_error_under_noise_is_minimised_and_shown_by_corruption(tmp_path: Path) -> None:
    """The same corruptions are used in the search, on validation items, and for winners, on test items."""
    robustness = {"corruptions": ["gaussian-noise", "occlusion"], "strengths": [0.5, 1.0]}
    front = search(tmp_path, objectives=["noise_error", "params"], robustness=robustness)
    assert all(0 <= row.values["noise_error"] <= 1 for row in evaluations_of(tmp_path / "run", "train"))
    winner = front[0]
    assert list(winner.noise) == ["gaussian-noise", "occlusion"]
    mean = np.mean([found.value for found in winner.noise.values()])
    assert winner.value("noise_error") == pytest.approx(mean)
    assert winner.estimate("noise_error").interval.lower < mean < winner.estimate("noise_error").interval.upper
    assert winner.value("noise_error") >= winner.test_error - 0.05
    assert "gaussian-noise" in render_report(nas.load_run(tmp_path / "run"))


@pytest.mark.slow
def test_named_corruptions_test_winners_even_where_nothing_is_limited(tmp_path: Path) -> None:
    front = search(tmp_path, trials=6, robustness={"corruptions": ["contrast"], "strengths": [1.0]})
    assert all("noise_error" not in row.values for row in evaluations_of(tmp_path / "run", "train"))
    assert all(list(winner.noise) == ["contrast"] for winner in front)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["perplexity"]}, r"digits has no perplexity\. It has error, top5_error, balanced_error"),
        ({"limits": ["mae <= 3"]}, r"digits has no mae\."),
        ({"objectives": ["macro_f1"], "evaluate": "zero-cost"}, "a zero-cost score stands for the error alone"),
    ],
)
def test_a_metric_that_the_task_lacks_is_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        search(tmp_path, OneChoice(), **changes)
    assert not (tmp_path / "run").exists()
