"""The training functions of the docs train, and are as short as the docs promise."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import evaluations_of
from made_up_tones import write_tones
from pages import ROOT, blocks
from quick_runs import EXPORT, instruments, write_any_model
from quick_training import DIGITS, SETTINGS
from tiny_space import TinySpace

import nas
from nas.training.own.function import training_function

PAGE = ROOT / "docs" / "own-training.md"
TASK = ROOT / "docs" / "own-task.md"
MOST_LINES = 30


@pytest.mark.filterwarnings("ignore")  # Lightning's own
@pytest.mark.parametrize(("name", "first"), [("train", "import torch"), ("train_with_lightning", "import lightning")])
def test_a_training_function_of_the_docs_learns(name: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its errors fall from epoch to epoch, and it prints nothing to standard output."""
    (block,) = (each for each in blocks(PAGE) if each.text.startswith(first) and f"def {name}(" in each.text)
    assert len([line for line in block.text.splitlines() if line.strip()]) <= MOST_LINES
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(block.text, str(block), "exec"), names)
    architecture = nas.architecture_from(TinySpace(), {"width": 8, "depth": 1, "kernel": 3})
    job = {"id": architecture.id, "architecture": dict(architecture), "seed": 1}
    settings = dataclasses.replace(SETTINGS, epochs=3)
    work = nas.OwnTraining(TinySpace(), DIGITS, settings, training_function(names[name], name))
    errors = [report["error"] for report in work(job)]
    assert len(errors) == 3
    assert errors[-1] < min(0.25, errors[0])
    assert capsys.readouterr().out == ""


def test_a_function_of_the_docs_that_builds_its_model_is_recognised() -> None:
    (block,) = (each for each in blocks(PAGE) if "def train_elsewhere(" in each.text)
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(block.text, str(block), "exec"), names)
    assert training_function(names["train_elsewhere"], "train_elsewhere").takes_architecture


class Filters:
    """Five networks for tones, each with one layer of filters."""

    choices = (nas.Choice("width", (8, 12, 16, 24, 32)),)

    def build(self, architecture: nas.Architecture) -> torch.nn.Module:
        width = int(architecture["width"])
        filters = torch.nn.Conv1d(1, width, 33, stride=4)
        last = torch.nn.Linear(width, 2)
        return torch.nn.Sequential(filters, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(), last)


@pytest.fixture(name="tones")
def write_tones_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The modules of the page, which the first lines of its blocks name, and a folder with tones."""
    for block in blocks(TASK):
        name = block.text.partition("\n")[0].removeprefix("# ")
        if name.endswith(".py"):
            (tmp_path / name).write_text(block.text, encoding="utf-8")
    write_tones(tmp_path / "tones")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for module in ("my_tasks", "tone_files"):
        sys.modules.pop(module, None)
    return tmp_path


def test_the_class_of_the_docs_is_short() -> None:
    (block,) = (each for each in blocks(TASK) if "class Tones(" in each.text)
    body = block.text.partition("class Tones(")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= MOST_LINES


@pytest.mark.slow
def test_a_class_of_the_docs_works_from_search_to_bundle(tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle reads WAV files by the user's own module, bit for bit as the training did, and without torch."""
    monkeypatch.setattr(EXPORT, write_any_model)
    recipe = {
        "name": "run",
        "data": {"task": "my_tasks:Tones", "name": "tones"},
        "trials": 2,
        "rounds": 1,
        "measuring": {"initial": 5, "per_round": 1},
        "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.02},
        "retraining": {"epochs": 20, "winners": 1},
        "execution": {"executor": "inline"},
    }
    task = nas.DataSource(name="tones", task="my_tasks:Tones", working_folder=tones).load()
    nas.search(recipe, space=Filters(), runs=tones / "runs", progress=None, instruments=instruments(Filters()))
    row = next(row for row in evaluations_of(tones / "runs" / "run", "winner") if not row.failed)
    bundle = tones / "runs" / "run" / str(row.details["folder"])
    assert (bundle / "tone_files.py").read_text() == (tones / "tone_files.py").read_text()
    files = sorted((tones / "tones").rglob("*.wav"))
    assert len(files) == 100
    raw = task.preparation.read(files)  # type: ignore[union-attr]
    inputs = task.inputs_of((torch.from_numpy(raw[0]),))[0].numpy()
    assert int((inputs != task.preparation.prepared(raw)[0]).sum()) == 0  # type: ignore[union-attr]
    (tones / "broken.wav").write_bytes(b"RIFF")
    command = [sys.executable, "-B", str(bundle / "predict.py"), "tones", "broken.wav"]
    done = subprocess.run(command, cwd=tones, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "broken.wav" in done.stderr
    named = [line.split("\t") for line in done.stdout.splitlines()]
    right = np.mean([Path(name).parent.name == answer for name, answer, _ in named])
    assert len(named) == 100
    assert right > 0.8
