"""The cost of a folder of photos: its table, and a small run of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from experiments.data_speed import main, summary, write_photos


def test_the_worst_worker_counts() -> None:
    """Memory is what the photos add; the share is that of the second epoch."""
    first = {"seconds": 1.0, "read_s": 0.9, "augment_s": 0.0, "prepare_s": 0.0}
    second = {"seconds": 10.0, "read_s": 0.5, "augment_s": 0.25, "prepare_s": 0.25}
    workers = [
        {"ready_s": 0.5, "ready_cpu_s": 0.25, "epochs": [first, second]},
        {"ready_s": 1.5, "ready_cpu_s": 0.2, "epochs": [first, {**second, "read_s": 0}]},
    ]
    lines = summary({"workers": workers, "peak_mib": 2500.0, "peak_of_few_mib": 1400.0, "decoding_s": 80.0})
    assert "| memory of all workers beyond the models | 1100 MiB | at most 1536 MiB |" in lines
    assert "| share of the second epoch | 10.0% (read 5.0%, augment 2.5%, prepare 2.5%) | at most 15% |" in lines
    assert "| ready once decoded | 1.50 s, of which 0.25 s on a processor | under 2 s |" in lines


def test_photos_are_the_same_for_a_seed(tmp_path: Path) -> None:
    """They have many sizes, and are written once."""
    for name in ("one", "two"):
        write_photos(tmp_path / name, 30, seed=3)
    files = sorted((tmp_path / "one").rglob("*.jpg"))
    assert len(files) == 30
    sizes = set()
    for file in files:
        with Image.open(file) as photo:
            sizes.add(photo.size)
    assert len(sizes) > 5
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the PSS")
def test_a_small_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two workers train for two epochs, and reading is a small part of it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("experiments.data_speed.FEW", 60)
    main(["--count", "120", "--image-size", "32", "--share", "1", "--json", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())
    assert [len(worker["epochs"]) for worker in found["workers"]] == [2, 2]
    assert found["peak_mib"] > 100
    assert "120 photos at 32 px, 2 workers" in capsys.readouterr().out
