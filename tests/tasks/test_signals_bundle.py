"""A bundle for signals runs without this project, and gives the outputs for inputs that training prepared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recordings import RATE, tone, write_classes, write_wav

from nas.formats.export import export_onnx
from nas.space.search_space import ends, load_space
from nas.tasks.carrying import carried_files, recorded
from nas.tasks.loading import Loading, load_task
from nas.tasks.signals.signals import Signals

OPTIONS = {"seconds": 0.1, "step": 0.1, "features": "log-mel", "bands": 6}


def write_bundle(folder: Path, task: Signals) -> torch.nn.Module:
    """Write a bundle with the smallest network of conv1d, and return that."""
    folder.mkdir()
    space = load_space("conv1d", {}, task.signature)
    torch.manual_seed(0)
    module = space.build(ends(space)[0]).eval()
    export_onnx(module, task.signature.inputs, 1, folder / "model.onnx")
    about = {
        "signature": task.signature.to_json(),
        "answers": task.answers,
        "batch": 1,
        "preparation": recorded(task.preparation),
        "deployed": "model.onnx",
    }
    (folder / "architecture.json").write_text(json.dumps(about), encoding="utf-8")
    for name, content in carried_files(task.preparation).items():
        (folder / name).write_bytes(content)
    return module


@pytest.fixture(name="task", scope="module")
def recorded_task(tmp_path_factory: pytest.TempPathFactory) -> Signals:
    task = load_task("signals", str(write_classes(tmp_path_factory.mktemp("data"))), Loading(), OPTIONS)
    assert isinstance(task, Signals)
    return task


def run(folder: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run ``predict.py`` where nothing of this project can be imported."""
    command = [sys.executable, "-S", "predict.py", "--json", *map(str, paths)]
    blocked = [path for path in sys.path if path.endswith("site-packages")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(blocked)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_bundle_answers_for_every_window(tmp_path: Path, task: Signals) -> None:
    """The outputs are those of torch for inputs that training prepared."""
    module = write_bundle(tmp_path / "bundle", task)
    assert sorted(path.name for path in (tmp_path / "bundle").glob("*.py")) == [
        "csv_file.py",
        "inputs.py",
        "predict.py",
        "recordings.py",
        "signals.py",
    ]
    wav = write_wav(tmp_path / "new" / "a.wav", np.rint(tone(40, 250) * 32767).astype(np.int16))
    (tmp_path / "new" / "b.csv").write_text("\n".join(map(str, tone(40, 100, seed=1)[0].tolist())))
    np.save(tmp_path / "new" / "c.npy", tone(40, 200, seed=2).reshape(2, 100))
    done = run(tmp_path / "bundle", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    new = tmp_path / "new"
    assert [line["input"] for line in lines] == [
        f"{new / 'a.wav'}@0s",
        f"{new / 'a.wav'}@0.1s",
        f"{new / 'b.csv'}@0s",
        f"{new / 'c.npy'}[0]",
        f"{new / 'c.npy'}[1]",
    ]
    raw = task.preparation.read([wav, new / "b.csv", new / "c.npy"])
    (inputs,) = task.prepared(tuple(map(torch.from_numpy, raw)))
    with torch.no_grad():
        expected = module(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose([line["logits"] for line in lines], expected, rtol=1e-3, atol=1e-5)
    assert set(lines[0]["probabilities"]) == {"high", "low"}


@pytest.mark.slow
def test_what_cannot_be_used_is_told(tmp_path: Path, task: Signals) -> None:
    """The others are still answered for, and recordings of another rate are named in a note."""
    write_bundle(tmp_path / "bundle", task)
    good = write_wav(tmp_path / "good.wav", tone(40, 200), 2 * RATE)
    stereo = write_wav(tmp_path / "stereo.wav", tone(40, 100, channels=2))
    (tmp_path / "empty.wav").write_bytes(b"")
    done = run(tmp_path / "bundle", good, stereo, tmp_path / "empty.wav", tmp_path / "none.wav")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    errors: Any = done.stderr.splitlines()
    assert any("stereo.wav must have 1 channels as other recordings, but has 2" in each for each in errors)
    assert any("empty.wav is empty" in each for each in errors)
    assert any("there is no file or folder" in each for each in errors)
    assert any("note: all tested recordings had 1000 Hz. Others are resampled." in each for each in errors)
