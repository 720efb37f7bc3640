"""Searches with data of a user's own: three torch data sets, or a class."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from commands import evaluations_of
from fake_bench import FakeBench
from quick_runs import Diary, instruments
from torch import nn
from torch.utils.data import TensorDataset

import nas
from nas.reports.page.document import document_of
from nas.space.architecture import Architecture, Choice

pytestmark = pytest.mark.usefixtures("quick_export")

SMALL = {
    "name": "run",
    "trials": 3,
    "rounds": 1,
    "measuring": {"initial": 6, "per_round": 1},
    "training": {"epochs": 3, "learning_rate": 0.02, "batch_size": 16},
    "retraining": {"epochs": 3, "winners": 1},
    "execution": {"executor": "inline"},
}


class Sums:
    """Perceptrons that take one or several inputs and join them."""

    choices = (Choice("width", (4, 6, 8, 12, 16, 24)),)

    def __init__(self, signature: nas.Signature) -> None:
        self.signature = signature

    def build(self, architecture: Architecture) -> nn.Module:
        return Joining(self.signature, int(architecture["width"]))


class Joining(nn.Module):
    def __init__(self, signature: nas.Signature, width: int) -> None:
        super().__init__()
        inputs = sum(each.elements for each in signature.inputs)
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, *signature.output))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = self.layers(torch.cat([each.flatten(1) for each in inputs], dim=1))
        return joined


def triple(inputs: int, regression: bool) -> tuple[TensorDataset, ...]:
    """Return items whose target depends on the sum of the first input."""
    generator = torch.Generator().manual_seed(1)

    def split(count: int) -> TensorDataset:
        tensors = [torch.randn(count, 4, generator=generator) for _ in range(inputs)]
        target = tensors[0].sum(dim=1)
        made = 500 + 20 * target if regression else (target > 0).long()
        items = [(tuple(each[n] for each in tensors), made[n]) for n in range(count)]
        return items if inputs > 1 else TensorDataset(tensors[0], made)  # type: ignore[return-value]

    return split(160), split(40), split(60)


@pytest.mark.slow
@pytest.mark.parametrize(("inputs", "regression"), [(1, False), (1, True), (2, False)])
def test_three_data_sets_work_from_search_to_bundle(inputs: int, regression: bool, tmp_path: Path) -> None:
    """The bundle takes arrays, answers in the units of the data, and agrees with the test of the run."""
    data = triple(inputs, regression)
    signature = nas.DataSetTask(*data).signature
    space = Sums(signature)
    front = nas.search(SMALL, space=space, data=data, runs=tmp_path, progress=None, instruments=instruments(space))
    winner = front[0]
    row = next(row for row in evaluations_of(tmp_path / "run", "winner") if not row.failed)
    items = [data[2][n] for n in range(60)]
    arrays = [np.stack([each[0][k] if inputs > 1 else each[0] for each in items]) for k in range(inputs)]
    targets = np.array([float(each[1]) for each in items])
    answers = winner.predict(tuple(arrays) if inputs > 1 else arrays[0])
    if regression:
        assert 400 < answers.mean() < 600
        (scale,) = nas.DataSetTask(*data).answers["scale"]
        error = float((((answers[:, 0] - targets) / scale) ** 2).mean())
    else:
        error = float((answers.argmax(axis=1) != targets).mean())
    assert error == pytest.approx(row.details["test_error"], rel=1e-3)
    bundle = tmp_path / "run" / str(row.details["folder"])
    np.savez(tmp_path / "new.npz", **{each.name: array for each, array in zip(signature.inputs, arrays, strict=True)})
    done = subprocess.run(
        [sys.executable, "-B", str(bundle / "predict.py"), str(tmp_path / "new.npz")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 60
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "160" in report
    assert "given" in report


def test_the_error_has_its_own_name_everywhere(tmp_path: Path) -> None:
    """In the progress line, and in the table of all evaluations."""
    diary, data = Diary(), triple(1, True)
    space = Sums(nas.DataSetTask(*data).signature)
    nas.search(SMALL, space=space, data=data, runs=tmp_path, progress=diary, instruments=instruments(space))
    assert diary.best
    assert all(text.startswith("standardised squared error ") and " % on " in text for text in diary.best)
    run = nas.load_run(tmp_path / "run")
    (error,) = [metric for metric in document_of(run)["metrics"] if metric["name"] == "error"]
    assert error["title"] == "Standardised squared error"


class WithDefaults(nas.DataSetTask):
    """Data with settings of their own that suit them."""

    defaults: Mapping[str, object] = {}

    @property
    def training_defaults(self) -> dict[str, Any]:
        return dict(self.defaults)


def test_defaults_of_a_task_may_be_any_values(tmp_path: Path) -> None:
    """Texts and switches, too, and a message names those that are used."""
    task, diary = WithDefaults(*triple(1, False)), Diary()
    task.defaults = {"training": {"schedule": "linear", "augment": False, "weight_decay": 0.1}}
    tools = instruments(Sums(task.signature))
    nas.search(SMALL, space=Sums(task.signature), data=task, runs=tmp_path, progress=diary, instruments=tools)
    assert nas.load_run(tmp_path / "run").recipe.training.schedule == "linear"
    told = "defaults for these items: training.schedule=linear, training.augment=False, training.weight_decay=0.1"
    assert told in diary.news


@pytest.mark.parametrize(
    ("defaults", "told"),
    [
        ({"trainings": {"epochs": 2}}, "must map sections of a recipe, .* Did you mean 'training'"),
        ({"training": {"epochs": 0}}, "training.epochs: input should be greater than or equal to 1"),
        ({"training": {"epoch": 2}}, "a recipe has no key 'training.epoch'"),
    ],
)
def test_defaults_that_no_recipe_takes_are_refused(tmp_path: Path, defaults: dict[str, object], told: str) -> None:
    """The message names the task, because the user's recipe is not to blame."""
    task = WithDefaults(*triple(1, False))
    task.defaults = defaults
    tools = instruments(Sums(task.signature))
    with pytest.raises(nas.DataError, match=f"training_defaults of the task WithDefaults .*{told}"):
        nas.search(SMALL, space=Sums(task.signature), data=task, runs=tmp_path, progress=None, instruments=tools)


def test_defaults_that_do_not_suit_the_data_are_refused_before_any_work(tmp_path: Path) -> None:
    """They are checked as if the recipe had them."""
    task = WithDefaults(*triple(1, False))
    task.defaults = {"training": {"augmentation_strength": 0.5}}
    tools = instruments(Sums(task.signature))
    with pytest.raises(nas.RecipeError, match="augmentation_strength is for tasks that can be augmented more or less"):
        nas.search(SMALL, space=Sums(task.signature), data=task, runs=tmp_path, progress=None, instruments=tools)
    assert list(tmp_path.iterdir()) == []


def test_data_of_a_finished_run_are_needed_again_and_must_be_the_same(tmp_path: Path) -> None:
    """Others are recognised by their fingerprint."""
    data = triple(1, False)
    space = Sums(nas.DataSetTask(*data).signature)
    nas.search(SMALL, space=space, data=data, runs=tmp_path, progress=None, instruments=instruments(space))
    again = {"space": space, "progress": None, "instruments": instruments(space)}
    with pytest.raises(nas.RecipeError, match="pass it again as data="):
        nas.resume(tmp_path / "run", **again)  # type: ignore[arg-type]
    with pytest.raises(nas.JournalError, match="the fingerprint was"):
        nas.resume(tmp_path / "run", data=(*data[:2], data[0]), **again)  # type: ignore[arg-type]
    assert len(nas.resume(tmp_path / "run", data=data, **again)) == 1  # type: ignore[arg-type]


def rows_of(count: int) -> pandas.DataFrame:
    """Return rows whose label depends on the sum of four numbers."""
    numbers = np.random.default_rng(1).normal(size=(count, 4))
    frame = pandas.DataFrame(numbers, columns=list("abcd")).assign(site=[n % 3 for n in range(count)])
    return frame.assign(label=np.where(numbers.sum(axis=1) > 0, "high", "low"))


class Converting:
    """A table of another library, which converts to pandas."""

    def __init__(self, frame: pandas.DataFrame) -> None:
        self.columns = list(frame.columns)
        self._frame = frame

    def to_pandas(self) -> pandas.DataFrame:
        return self._frame


@pytest.mark.slow
@pytest.mark.parametrize("form", [pandas.DataFrame, Converting])
def test_a_data_frame_is_a_table_by_the_options_of_the_recipe(form: Any, tmp_path: Path) -> None:
    """A resumed run finds the target and the other options in its recipe, and needs the same rows."""
    data = form(rows_of(200))
    options = {"target": "label", "drop": ["site"]}
    space = Sums(nas.Tabular.from_frame(rows_of(200), **options).signature)  # type: ignore[arg-type]
    bench = FakeBench(space)
    bench._by_id["HistGradientBoosting"] = Architecture({"width": 8})  # the baseline of tables
    recipe = {**SMALL, "data": options, "limits": ["params <= 1k"]}
    again = {"space": space, "progress": None, "instruments": replace(instruments(space), bench=bench)}
    front = nas.search(recipe, data=data, runs=tmp_path, **again)  # type: ignore[arg-type]
    run = nas.load_run(front.run_folder)
    assert run.recipe.data.task == "tables"
    assert run.recipe.data.task_options == options
    assert front.best.predict({"a": 2, "b": 2, "c": 2, "d": 2}).shape[-1] == 2
    with pytest.raises(nas.JournalError, match="the fingerprint was"):
        nas.resume(tmp_path / "run", data=form(rows_of(190)), **again)  # type: ignore[arg-type]
    assert len(nas.resume(tmp_path / "run", data=data, **again)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({}, r'needs a target, .* with the columns a, b, c, d, site and 1 more: .* \{"data": \{"target": "COLUMN"\}\}'),
        ({"target": "labl"}, "target must be a column of given, but got 'labl'. Did you mean 'label'?"),
        ({"target": "label", "image_size": 32}, "image_size"),
        ({"target": "label", "task": "signals"}, "a DataFrame is data of the task tables, but .* data.task=signals"),
    ],
)
def test_a_data_frame_that_does_not_fit_its_options_is_refused(
    section: dict[str, object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(nas.NasError, match=told):
        nas.search({"data": section} if section else {}, data=rows_of(60), runs=tmp_path, progress=None)
    assert list(tmp_path.iterdir()) == []


def test_warnings_of_data_are_told(tmp_path: Path) -> None:
    train, validation, _ = triple(1, False)
    task = nas.DataSetTask(train, validation, validation)
    assert task.warnings == ("test and validation are the same data set: errors look better than they are.",)
