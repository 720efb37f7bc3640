"""Items in a bundle: read as they were written, few enough, and with torch's outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import JournalError
from nas.results.bundled import samples as samples_module
from nas.results.bundled.samples import SAMPLES, Samples, read_samples, samples_of, write_samples
from nas.tasks.images.images import Images


@pytest.fixture(name="module")
def small_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()


def test_items_come_back_as_they_were(tmp_path: Path, digits: Images, module: nn.Module) -> None:
    """Pixels are kept raw, and prepared as the tested ones were."""
    kept = samples_of(digits, module)
    write_samples(tmp_path, kept)
    found = read_samples(tmp_path)
    assert found is not None
    assert found.checked[0].dtype == np.uint8
    assert not found.is_prepared
    inputs = found.inputs(digits.preparation)[0]
    with torch.inference_mode():
        np.testing.assert_allclose(found.outputs, module(torch.from_numpy(inputs)).numpy(), rtol=1e-5, atol=1e-6)
    assert len(found.targets) == len(inputs) == min(len(digits.validation), samples_module.MOST_CHECKED)
    assert found.calibration_inputs(digits.preparation)[0].shape == (256, 1, 8, 8)
    assert found.in_words("images") == f"{len(inputs)} validation images with torch's outputs, and 256 training images"
    assert {path.name for path in tmp_path.iterdir()} == {SAMPLES}


def test_large_items_are_few(monkeypatch: pytest.MonkeyPatch, digits: Images, module: nn.Module) -> None:
    """But there are some."""
    monkeypatch.setattr(samples_module, "MOST_BYTES", 1000)
    kept = samples_of(digits, module)
    assert (len(kept.outputs), len(kept.calibration[0])) == (9, 9)
    monkeypatch.setattr(samples_module, "MOST_BYTES", 1)
    assert len(samples_of(digits, module).outputs) == samples_module.LEAST


def test_a_bundle_without_items_has_none(tmp_path: Path) -> None:
    assert read_samples(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"\x80\x04no safetensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SAMPLES).write_bytes(content)
    with pytest.raises(JournalError, match="items of a bundle must be readable"):
        read_samples(tmp_path)


def test_prepared_items_are_taken_as_they_are(tmp_path: Path, digits: Images) -> None:
    """A preparation of a user's own cannot be made again without its code."""
    inputs = np.ones((3, 2), np.float32)
    kept = Samples((inputs,), np.zeros((3, 1), np.float32), np.zeros(0, np.int64), (inputs,), is_prepared=True)
    write_samples(tmp_path, kept)
    found = read_samples(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found.inputs(digits.preparation)[0], inputs)
    np.testing.assert_array_equal(replace(found).calibration_inputs(digits.preparation)[0], inputs)
