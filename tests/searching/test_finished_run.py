"""The folder of a finished run is complete, safe to read, and holds working models."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import evaluations_of, rows_of
from fault_spaces import Faulty
from quick_runs import EXPORT, search, write_any_model
from safetensors.torch import load_file

import nas
from nas.errors import JournalError, RecipeError
from nas.formats.onnx_session import outputs_of
from nas.recipe.recipe import read_recipe
from nas.tasks.images.images import Images

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.fixture(name="finished", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that several tests read."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPORT, write_any_model)
        search(runs, target="onnxruntime-cpu:batch=4")
    return runs / "run"


def test_a_run_folder_is_complete_and_holds_no_pickle(finished: Path) -> None:
    """It has a recipe, a journal, a report and ten files for each winner; none runs code when it is read."""
    winners = [row.architecture.id for row in evaluations_of(finished, "winner")]
    assert winners
    bundle = (
        "architecture.json",
        "manifest.json",
        "measurement.json",
        "model.onnx",
        "model_card.md",
        "model.safetensors",
        "predict.py",
        "inputs.py",
        "pictures.py",
        "samples.safetensors",
    )
    expected = {"recipe.toml", "journal.db", "report.html", ".writer"}
    expected |= {f"winners/{winner}/{name}" for winner in winners for name in bundle}
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert files - {"journal.db-wal", "journal.db-shm"} == expected
    for path in finished.rglob("*"):
        if path.is_file():
            start = path.read_bytes()[:4]
            assert not start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")), path


def test_the_recipe_in_a_run_folder_is_the_resolved_one(finished: Path) -> None:
    """Every default is written out, and the file is read as the same recipe."""
    recipe = read_recipe(finished / "recipe.toml")
    assert recipe.to_toml() == (finished / "recipe.toml").read_text()
    assert recipe.trials == 6
    assert recipe.target == "onnxruntime-cpu:fp32:batch=4:threads=1"
    assert recipe.training.learning_rate == 5e-3
    with pytest.raises(RecipeError, match="made with a space object; pass it again as space="):
        nas.resume(finished)


@pytest.mark.slow
def test_the_journal_has_a_write_ahead_log(finished: Path) -> None:
    """So readers do not disturb the writer."""
    connection = sqlite3.connect(finished / "journal.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_bundle_holds_the_model_that_was_trained_and_measured(finished: Path, digits: Images) -> None:
    """Its weights load into the module that the space builds, and its ONNX file gives the same outputs."""
    for row in evaluations_of(finished, "winner"):
        folder = finished / str(row.details["folder"])
        module = Faulty().build(row.architecture)
        module.load_state_dict(load_file(folder / "model.safetensors"))
        module.eval()
        images = digits.prepared((torch.from_numpy(digits.validation.images),))[0]
        with torch.inference_mode():
            expected = module(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(outputs_of(folder / "model.onnx", [images]), expected, rtol=1e-3, atol=1e-4)
        about = json.loads((folder / "architecture.json").read_text())
        assert about["id"] == row.architecture.id == folder.name
        assert about["choices"] == dict(row.architecture)
        assert about["test_error"] == row.details["test_error"]
        assert set(json.loads((folder / "measurement.json").read_text())) == set(row.measurements)


ALONE = """
import importlib.abc, os, runpy, sys

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {*sys.stdlib_module_names, *OURS, "numpy", "onnxruntime", "flatbuffers", "google", "PIL"}:
            raise ModuleNotFoundError(f"{name} must not be needed", name=name)

sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
OURS = {name.removesuffix(".py") for name in os.listdir(sys.path[0])}
sys.meta_path.insert(0, Nothing())
runpy.run_path(sys.argv[0], run_name="__main__")
assert not {"torch", "nas"} & set(sys.modules)
"""


def test_predict_needs_little_and_agrees_with_the_test(tmp_path: Path, finished: Path, digits: Images) -> None:
    """The file in the bundle classifies saved images by numpy, onnxruntime and Pillow, as the winner does.

    It errs as often as the journal says.
    """
    np.save(tmp_path / "images.npy", digits.test.images)
    row = evaluations_of(finished, "winner")[0]
    about = json.loads((finished / str(row.details["folder"]) / "architecture.json").read_text(encoding="utf-8"))
    assert about["packages"] == ["pillow"]
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-B", "-c", ALONE),
            *(finished / str(row.details["folder"]) / "predict.py", "--json", tmp_path / "images.npy"),
        ],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    wrong = sum(line["class"] != digits.classes[label] for line, label in zip(lines, digits.test.labels, strict=True))
    assert wrong / len(digits.test) == pytest.approx(row.details["test_error"])
    images = digits.prepared((torch.from_numpy(digits.test.images),))[0]
    expected = outputs_of(finished / str(row.details["folder"]) / "model.onnx", [images])
    np.testing.assert_array_equal(np.array([line["logits"] for line in lines], dtype=np.float32), expected)
    about = json.loads((finished / str(row.details["folder"]) / "architecture.json").read_text(encoding="utf-8"))
    assert about["preparation"] == {"module": "pictures", **digits.preparation.to_json()}


@pytest.mark.parametrize(("seed", "what"), [(0, "this recipe's run"), (1, "a run of another recipe")])
def test_a_folder_that_holds_a_run_is_not_written_over(finished: Path, seed: int, what: str) -> None:
    """The message says whether the run is of this recipe or of another, and what to do."""
    before = rows_of(finished)
    with pytest.raises(JournalError) as refused:
        search(finished.parent, target="onnxruntime-cpu:batch=4", seed=seed)
    assert what in str(refused.value)
    assert f"--resume {finished}" in str(refused.value)
    assert "choose another --name" in str(refused.value)
    assert rows_of(finished) == before
