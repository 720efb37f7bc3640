"""Images in other sizes and scales: the same items, with the numbers that a bundle makes of the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_bundle import WIDE, colours, write_bundle, write_photos
from torch.utils.data import TensorDataset

from nas.errors import DataError
from nas.tasks.batches import items_at
from nas.tasks.data_sets import DataSetTask
from nas.tasks.deployed.predict import Model
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data

WISHES = {
    "image_size": 24,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "crop": 0.875,
    "interpolation": "bicubic",
}


@pytest.fixture(name="photos", scope="module")
def photos_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures of every kind."""
    root = tmp_path_factory.mktemp("data")
    write_photos(root)
    return root


def inputs_in_training(task: Any, examples: Any) -> np.ndarray[Any, Any]:
    (found,) = task.inputs_of(items_at(examples, slice(None)).raw)
    return np.asarray(found.numpy())


@pytest.mark.parametrize("gib", ["20", "0"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_a_bundle_makes_the_inputs_of_training_from_the_files(
    photos: Path, tmp_path: Path, gib: str, interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No value differs, in any interpolation, from the shared file or decoded for each batch."""
    monkeypatch.setenv("NAS_CACHE_GIB", gib)
    task = load_data(f"folder:{photos}", image_size=16).prepared_for({**WISHES, "interpolation": interpolation})
    assert task.signature.input_shape == (3, 24, 24)
    deployed = Model(write_bundle(tmp_path / "bundle", task).parent).preparation
    (given,) = deployed.prepared(deployed.read(photos / "test"))
    assert given.shape == (26, 3, 24, 24)
    np.testing.assert_array_equal(given, inputs_in_training(task, task.test))
    np.testing.assert_array_equal(given, task.input_arrays(task.test, slice(None))[0])


def test_items_splits_and_order_stay(photos: Path) -> None:
    """Whatever the wishes, for all splits, samples and parts."""
    plain = load_data(f"folder:{photos}", image_size=16)
    other = plain.prepared_for(WISHES)
    for title in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(plain, title).labels, getattr(other, title).labels)
        np.testing.assert_array_equal(getattr(plain, title).images.numbers, getattr(other, title).images.numbers)
    np.testing.assert_array_equal(plain.sample(9).targets, other.sample(9).targets)
    assert other.prepared_for({"image_size": 16}).train.images.shape[1:] == (3, 16, 16)
    assert plain.prepared_for(WISHES) is other
    assert plain.prepared_for({}) is plain


def test_a_scale_alone_changes_no_pixel(photos: Path) -> None:
    plain = load_data(f"folder:{photos}", image_size=16)
    other = plain.prepared_for({"mean": [0.5] * 3, "std": [0.25] * 3})
    assert other.train is plain.train
    assert (other.preparation.mean, other.preparation.std) == ((0.5,) * 3, (0.25,) * 3)
    assert other.preparation.frame == plain.preparation.frame


def test_a_crop_keeps_the_middle_as_pillow_does(tmp_path: Path) -> None:
    """87.5 % of 64 pixels leave a border of 4 on each side, which is resized once."""
    for number in range(6):
        path = tmp_path / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colours((64, 64), number).save(path)
    task = load_data(f"folder:{tmp_path}").prepared_for(WISHES)
    picture = Image.open(tmp_path / "cat" / "0.png").convert("RGB")
    expected = np.asarray(picture.resize((24, 24), Image.Resampling.BICUBIC, box=(4, 4, 60, 60))).transpose(2, 0, 1)
    everything = np.concatenate([np.asarray(split.images) for split in (task.train, task.validation, task.test)])
    assert any((expected == each).all() for each in everything)
    words = " ".join(task.preparation.in_words)
    assert "middle 87.5 %" in words
    assert "bicubic" in words


def test_arrays_are_resized_from_what_they_were(tmp_path: Path) -> None:
    """A bundle that gets the picture of 8×8 makes the same inputs, also where data.image_size is another."""
    plain, larger = load_data("digits"), load_data("digits", image_size=20)
    wishes = {"image_size": 30, "interpolation": "bicubic"}
    task, other = plain.prepared_for(wishes), larger.prepared_for(wishes)
    np.testing.assert_array_equal(task.test.images[:50], other.test.images[:50])
    Image.fromarray(plain.test.images[7][0]).save(tmp_path / "digit.png")
    deployed = Model(write_bundle(tmp_path / "bundle", task).parent).preparation
    (given,) = deployed.prepared(deployed.read(tmp_path / "digit.png"))
    np.testing.assert_array_equal(given, inputs_in_training(task, task.test)[7:8])


def test_shifts_grow_with_images() -> None:
    plain = load_data("digits")
    assert (plain.shift, plain.prepared_for({"image_size": 32}).shift) == (1, 4)


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        ({"image_sice": 8}, "Did you mean 'image_size'"),
        ({"image_size": 0}, "at least 1, but a space asks for 0"),
        ({"mean": [0.5, 0.5]}, "for each of 1 channels"),
        ({"std": [0.0]}, "above 0"),
        ({"image_size": 8, "crop": 1.2}, "share above 0"),
        ({"image_size": 8, "interpolation": "cubic"}, "interpolation must be one of"),
        ({"crop": 0.9}, "scaled where image_size is given"),
    ],
)
def test_wishes_that_cannot_be_met_are_told(wishes: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load_data("digits").prepared_for(wishes)


def test_images_in_other_channels_keep_their_size() -> None:
    """This is told before a search begins. Their scale may be another."""
    task = Images.from_arrays(np.zeros((40, 4, 8, 8), dtype=np.uint8), np.arange(40) % 2)
    task.check_wishes({"image_size": 8, "mean": [0.5] * 4})
    with pytest.raises(DataError, match="scaled in 1 or 3 channels, but these have 4"):
        task.check_wishes({"image_size": 16})


def test_pictures_that_are_gone_are_told(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    task = load_data(f"folder:{tmp_path / 'photos'}", image_size=16)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="none is at its place"):
        task.prepared_for({"image_size": 20})


def test_other_tasks_refuse_wishes() -> None:
    items = TensorDataset(torch.rand(8, 3), torch.arange(8) % 2)
    task = DataSetTask(items, items, items)
    assert task.prepared_for({}) is task
    with pytest.raises(DataError, match="asks for image_size"):
        task.prepared_for({"image_size": 12})


def test_an_older_bundle_keeps_all_and_is_bilinear(photos: Path) -> None:
    """Versions before these wishes recorded neither."""
    preparation = load_data(f"folder:{photos}", image_size=16).preparation
    stored = {key: value for key, value in preparation.to_json().items() if key not in ("kept", "interpolation")}
    assert type(preparation).of({"preparation": stored}) == preparation
    assert preparation.to_json()["resampling"] == "bilinear, with antialiasing"
    assert WIDE[0] > 16
