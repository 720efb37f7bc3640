"""The desk table's photos: the frozen parent with a fitted head, and the folders that are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from coloured_photos import write_photos
from PIL import Image
from safetensors.torch import save_file

import nas
from experiments import beside_winners
from experiments.desk import photos as desk_photos, pictures
from experiments.desk.data_sets import photos
from experiments.desk.photos import fit_photos, frozen_parent, preparation_of
from experiments.desk.pictures import CLASSES, main
from experiments.pretrained import PARENT

timm = pytest.importorskip("timm")


@pytest.fixture(name="weights")
def made_weights(tmp_path: Path) -> Path:
    """A folder with random weights for the parent."""
    torch.manual_seed(0)
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(timm.create_model(PARENT).state_dict(), folder / f"{PARENT}.safetensors")
    return folder


@pytest.fixture(name="folder")
def made_photos(tmp_path: Path) -> Path:
    """A folder of red and of green photos, with noise."""
    return write_photos(tmp_path / "photos")


def test_the_parent_gets_a_head_and_keeps_its_weights(weights: Path) -> None:
    parent = frozen_parent(weights / f"{PARENT}.safetensors", 5)
    torch.manual_seed(0)
    whole = timm.create_model(PARENT)
    assert parent.classifier.out_features == 5
    assert torch.equal(parent.conv_stem.weight, whole.conv_stem.weight)
    assert not parent.training


def test_the_exported_model_is_the_pipeline(
    folder: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each size it tells red from green, by a head that scales features as the pipeline does."""
    monkeypatch.setattr(desk_photos, "SIZES", (32, 48))
    task = photos("colours", folder, weights).load()
    found = fit_photos(weights, task, 0, tmp_path)
    parent = frozen_parent(weights / f"{PARENT}.safetensors", task.signature.classes)
    for each, size in zip(found, (32, 48), strict=True):
        assert each.name == f"frozen parent at {size} px, logistic regression"
        assert each.validation < 0.2
        assert each.errors.mean() < 0.3
        at_size = task.prepared_for(preparation_of(parent, size))
        assert at_size.signature.inputs[0].shape == (3, size, size)
        assert each.model is not None
        assert each.errors.mean() == pytest.approx(beside_winners.tested(each.model, at_size)["error"].value)


def test_the_search_has_the_same_weights_and_sizes(folder: Path, weights: Path) -> None:
    data = photos("colours", folder, weights)
    assert ["--data", f"folder:{folder}"] == data.arguments[2:4]
    assert f'space.weights="{weights}"' in data.arguments
    assert "space.resolutions=[64, 96, 128]" in data.arguments
    assert isinstance(data.load(), nas.Images)


def test_stamps_are_put_on_white(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / "stamps" / name / "some").mkdir(parents=True)
        Image.new("RGBA", (400, 100), (0, 0, 0, 0)).save(tmp_path / "stamps" / name / "some" / "a.png")
    assert main(["stamps", str(tmp_path / "stamps"), str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "food" / "000.jpg") as found:
        assert found.size == (200, 50)
        assert min(low for low, _ in found.getextrema()) > 250


def test_cells_of_one_photo_are_in_one_split(tmp_path: Path) -> None:
    """Each photo has its own grey. Boxes at the edge and tiny ones are left out."""
    source = tmp_path / "bccd"
    for part in ("JPEGImages", "Annotations"):
        (source / part).mkdir(parents=True)
    boxes = [("RBC", 10, 10, 50, 50), ("WBC", 40, 20, 90, 70), ("RBC", 0, 10, 50, 50), ("WBC", 20, 20, 30, 60)]
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in boxes
    )
    for number in range(10):
        Image.new("RGB", (100, 80), (20 * number,) * 3).save(source / "JPEGImages" / f"{number}.jpg")
        text = f"<annotation><size><width>100</width><height>80</height></size>{objects}</annotation>"
        (source / "Annotations" / f"{number}.xml").write_text(text)
    assert main(["cells", str(source), str(tmp_path / "out")]) == 0
    greys: dict[str, set[int]] = {"train": set(), "test": set()}
    files = sorted((tmp_path / "out").rglob("*.jpg"))
    for path in files:
        with Image.open(path) as found:
            greys[path.parts[-3]].add(round(np.asarray(found).mean() / 20))
    assert len(files) == 20
    assert greys == {"train": {1, 2, 3, 4, 6, 7, 8, 9}, "test": {0, 5}}


def test_clothes_are_a_part_of_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the folder of its class and of its split, and three equal channels."""
    greys = np.repeat(np.arange(40, dtype=np.uint8), 28 * 28).reshape(40, 1, 28, 28)
    labels = np.arange(40) % 2
    whole = nas.Images.from_arrays(greys, labels, test_images=greys[:6] + 200, test_labels=labels[:6],
                                   classes=["T-shirt/top", "Bag"])  # fmt: skip
    monkeypatch.setattr(nas, "load_data", lambda name, root: whole if name == "fashion-mnist" else None)
    monkeypatch.setattr(pictures, "CLOTHES", 10)
    assert main(["clothes", str(tmp_path), str(tmp_path / "out")]) == 0
    files = {title: sorted((tmp_path / "out" / title).rglob("*.png")) for title in ("train", "test")}
    assert (len(files["train"]), len(files["test"])) == (10, 6)
    for path in files["test"]:
        with Image.open(path) as found:
            pixels = np.asarray(found)
        assert pixels.shape == (28, 28, 3)
        assert pixels.min() == pixels.max() == 200 + int(path.stem)
        assert path.parent.name == ("T-shirt or top", "Bag")[int(path.stem) % 2]


def test_clothes_that_are_not_there_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, root: Path) -> nas.Images:
        raise nas.DataError(f"{name} is not in {root}")

    monkeypatch.setattr(nas, "load_data", missing)
    with pytest.raises(SystemExit):
        main(["clothes", str(tmp_path), str(tmp_path / "out")])


def test_grey_photos_are_refused(weights: Path, tmp_path: Path) -> None:
    task = nas.Images.from_arrays(np.zeros((9, 1, 8, 8), np.uint8), np.arange(9) % 3)
    with pytest.raises(SystemExit, match="must have three channels, but those of custom have 1"):
        fit_photos(weights, task, 0, tmp_path)


def test_a_wrong_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cells", str(tmp_path), str(tmp_path / "out")])
    assert "the source must have the folder Annotations" in capsys.readouterr().err
