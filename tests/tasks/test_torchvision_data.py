"""Sets of torchvision by name: splits, labels, and what is no set for classification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from nas.errors import DataError, RecipeError
from nas.tasks.images.loading import load_data, load_images
from nas.tasks.loading import Loading


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (10 + number % 3, 12), (number, 0, 0))


class ByTrain:
    """A set like CIFAR10: an argument tells the part, and classes have names."""

    classes = ("cat", "dog")

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        if not (Path(root) / "here").exists():
            if not download:
                raise RuntimeError("Dataset not found. You can use download=True to download it")
            (Path(root) / "here").touch()
        self.count = 40 if train else 10
        self.targets = [number % 2 for number in range(self.count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return picture(index), self.targets[index]


class BySplit:
    """A set like Flowers102: several splits, pictures of many sizes, and labels without names."""

    def __init__(self, root: str, split: str = "train") -> None:
        if split not in ("train", "val", "test"):
            raise ValueError(f"Unknown value '{split}' for argument split.")
        self.count = {"train": 30, "val": 8, "test": 12}[split]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return picture(index), 5 + index % 3


class Attributes(BySplit):
    """A set like CelebA: 0 and 1 for each attribute."""

    attr_names = ("young", "smiling", "")

    def __getitem__(self, index: int) -> Any:
        return picture(index), torch.tensor([index % 2, int(index % 3 == 0)])


class Masks(BySplit):
    """A set like those for segmentation."""

    def __getitem__(self, index: int) -> Any:
        return picture(index), picture(index)


@pytest.fixture(name="own", autouse=True)
def own_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [each.__name__ for each in (ByTrain, BySplit, Attributes, Masks)]
    for each in (ByTrain, BySplit, Attributes, Masks):
        monkeypatch.setattr(datasets, each.__name__, each, raising=False)
    monkeypatch.setattr(datasets, "__all__", [*datasets.__all__, *names])


def test_the_parts_of_a_set_are_its_splits(tmp_path: Path) -> None:
    """The published test pictures are the test; what is missing is taken from training. It is downloaded if needed."""
    data = load_data("torchvision:ByTrain", root=tmp_path, image_size=8)
    assert (len(data.train), len(data.validation), len(data.test)) == (32, 8, 10)
    assert (data.classes, data.input_shape) == (("cat", "dog"), (3, 8, 8))
    assert [int(image[0, 0, 0]) for image in data.test.images] == list(range(10))
    assert data.test.labels.tolist() == [number % 2 for number in range(10)]
    flowers = load_data("torchvision:BySplit", root=tmp_path, image_size=8)
    assert (len(flowers.train), len(flowers.validation), len(flowers.test)) == (30, 8, 12)
    assert flowers.classes == ("5", "6", "7")


def test_attributes_are_several_labels(tmp_path: Path) -> None:
    data = load_data("torchvision:Attributes", root=tmp_path, image_size=8)
    assert (data.is_multi_label, data.classes) == (True, ("young", "smiling"))
    assert data.test.labels[:4].tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]


def test_a_set_of_torchvision_itself(tmp_path: Path) -> None:
    """FakeData has no files; its arguments come from the recipe."""
    options = {"arguments": {"size": 40, "num_classes": 3, "image_size": [3, 9, 9]}}
    with pytest.raises(DataError, match="FakeData gives no pictures"):
        load_images("torchvision:FakeData", Loading(folder=tmp_path), arguments={"size": 0})
    data = load_images("torchvision:FakeData", Loading(folder=tmp_path), root=str(tmp_path), **options)
    assert (data.input_shape, len(data.classes)) == ((3, 9, 9), 3)
    assert len(data.train) + len(data.validation) + len(data.test) == 40


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("FashionMnist", {}, DataError, "has no set 'FashionMnist'. Did you mean 'FashionMNIST'"),
        ("ImageFolder", {}, DataError, "reads a folder: name it by folder:PATH"),
        ("Masks", {}, DataError, "is no set for classification: its targets are"),
        ("ByTrain", {"arguments": {"part": 1}}, RecipeError, "may be train, but got part"),
        ("FakeData", {"arguments": {"size": "many"}}, DataError, "gives no pictures: TypeError"),
        ("EMNIST", {"arguments": {"split": "runes"}}, RecipeError, "EMNIST refuses its arguments: .*runes"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, name: str, options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        load_data(f"torchvision:{name}", root=tmp_path, **options)


def test_a_set_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, and where its files belong."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match=r"could not be downloaded \(.*Put its files, as torchvision keeps them, into"):
        load_data("torchvision:SVHN", root=tmp_path)


def test_arguments_belong_to_torchvision() -> None:
    with pytest.raises(RecipeError, match="arguments belong to a set of torchvision"):
        load_data("digits", arguments={"split": "a"})


def test_fashion_mnist_is_the_named_set(tmp_path: Path) -> None:
    """Both ways read the same pixels."""
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    import gzip

    for file in Path("/usr/share/datasets/fashion-mnist").glob("t10k*.gz"):
        content = gzip.decompress(file.read_bytes())
        for stem in ("t10k", "train"):  # the test pictures, twice, are enough
            (raw / file.name.replace("t10k", stem).removesuffix(".gz")).write_bytes(content)
    data = load_data("torchvision:FashionMNIST", root=tmp_path)
    named = load_data("fashion-mnist", root=tmp_path)
    np.testing.assert_array_equal(np.asarray(data.test.images), named.test.images)
    assert data.fingerprint == named.fingerprint


def test_a_well_known_set_that_is_missing_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a network, the message names the searched folders and says what to do; torchvision prints nothing."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("nas.tasks.images.named_data._find_idx_files", lambda folders: None)
    with pytest.raises(DataError, match=r"could not be downloaded \(.*Install it with") as found:
        load_data("fashion-mnist", root=tmp_path / "empty")
    assert str(tmp_path / "empty") in str(found.value)
    assert capsys.readouterr().out == ""
