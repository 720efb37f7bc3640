"""A run trains, validates and tests on separate images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from quick_runs import Diary, OneChoice, search
from torch import nn

from nas.space.architecture import Architecture
from nas.tasks.images.images import Images
from nas.tasks.images.splits import Split

pytestmark = pytest.mark.usefixtures("quick_export")


class TellTale(nn.Module):
    """Records by their first pixels which images a network sees, in training and in evaluation mode."""

    seen: set[tuple[str, bool, float]] = set()  # noqa: RUF012 (all instances share it)
    stage = ""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == "cpu" and not torch.compiler.is_compiling() and type(x) is torch.Tensor:
            marks = x[:, 0, 0, 0].detach().unique().tolist()
            self.seen.update((self.stage, self.training, round(mark, 4)) for mark in marks)
        return x


class Watched(OneChoice):
    def build(self, architecture: Architecture) -> nn.Module:
        return nn.Sequential(TellTale(), super().build(architecture))


class WatchedSplit(Split):
    """Images that may not be read while they are sealed."""

    sealed = False

    def __getattribute__(self, name: str) -> Any:
        if name == "images" and WatchedSplit.sealed:
            raise AssertionError("the test images were read before the winners were tested")
        return super().__getattribute__(name)


@pytest.fixture(name="marked")
def marked_data(digits: Images) -> Iterator[Images]:
    """Digits whose first pixel is 50, 100 or 150, by split."""

    def mark(split: Split, value: int) -> npt.NDArray[np.uint8]:
        images = split.images.copy()
        images[:, :, 0, 0] = value
        return images

    data = Images(
        "marked",
        Split(mark(digits.train, 50), digits.train.labels),
        Split(mark(digits.validation, 100), digits.validation.labels),
        WatchedSplit(mark(digits.test, 150), digits.test.labels),
        digits.classes,
    )
    assert data.fingerprint  # reads all images, as a run does before it begins
    assert not data.warnings  # so does this
    TellTale.seen, TellTale.stage = set(), ""
    WatchedSplit.sealed = True
    yield data
    WatchedSplit.sealed = False


def test_validation_images_are_trained_on_only_at_the_end_and_test_images_only_tested(
    tmp_path: Path, marked: Images
) -> None:
    """The search trains on training images and evaluates on validation images. Test images come last, once."""

    class Stages(Diary):
        def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
            super().stage(name, total)
            TellTale.stage = name.rpartition(": ")[2]
            if name == "testing winners":
                WatchedSplit.sealed = False

    diary = Stages()
    search(tmp_path, Watched(), marked, training={"epochs": 1, "augment": False}, progress=diary)
    mean, std = float(marked.mean[0]), float(marked.std[0])
    train, validation, test = (round((value / 255 - mean) / std, 4) for value in (50, 100, 150))

    def seen(stage: str, training: bool) -> set[float]:
        return {mark for at, mode, mark in TellTale.seen if (at, mode) == (stage, training)}

    assert seen("training", True) == {train}
    assert seen("training", False) - {0.0} == {validation}
    assert {train, validation} == seen("retraining winners", True)
    assert test not in {mark for _, _, mark in TellTale.seen}
    assert diary.stages.count("testing winners") == 1


def test_a_leak_is_told_at_the_start_and_in_the_report(tmp_path: Path, digits: Images) -> None:
    """Test pictures that are also trained on are counted before anything is done, and beside the results."""
    images = digits.test.images.copy()
    images[:7] = digits.train.images[:7]
    labels = digits.test.labels.copy()
    labels[:7] = digits.train.labels[:7]
    leaky = Images("leaky", digits.train, digits.validation, Split(images, labels), digits.classes)
    diary = Diary()
    search(tmp_path, OneChoice(), leaky, progress=diary)
    told = "7 of 359 test pictures equal pictures of an earlier split"
    assert diary.news[1].startswith(f"warning: {told}")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count(told) == 1
    assert f"About the data: {told}" in page
