"""The folders of measurements that were taken after a run: one for each target, within the run's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.searching.solving.later_measurements import later_folder


def folder_of(target: str, run: Path) -> Path:
    return later_folder(run, target, None)


def test_targets_are_told_apart_by_name(tmp_path: Path) -> None:
    found = folder_of("onnxruntime-cpu:int8:batch=1:threads=1", tmp_path)
    assert found == tmp_path / "solved" / "onnxruntime-cpu_int8_batch1_threads1"


@pytest.mark.parametrize("device", ["cpu/one", "../../../elsewhere", "a\\b", "µ board (1/2)", 300 * "x"])
def test_a_device_of_a_table_names_one_folder_there(device: str, tmp_path: Path) -> None:
    """However its author called it, and whatever another one that is written alike."""
    found = folder_of(f"table:{device}", tmp_path)
    assert found.parent == tmp_path / "solved"
    assert found.name.isascii()
    assert len(found.name) < 100
    assert found != folder_of(f"table:{device}_", tmp_path)
