"""Splits that never overlap, data that is found or missed with a clear word, and folders of images."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import pickle
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image

import nas.dataset
from nas.dataset import DATA_SETS, DataSet, Split, load_data
from nas.errors import DataError

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


def numbered_images(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images, shape (count, 4, 4), that say their own index in their first two pixels."""
    images = np.zeros((count, 4, 4), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
    return images


def indices_of(split: Split) -> list[int]:
    """The index that each image says."""
    return [int(image[0, 0, 0]) * 256 + int(image[0, 0, 1]) for image in split.images]


def numbered_data(count: int = 300, classes: int = 3, **options: Any) -> DataSet:
    return DataSet.from_arrays(numbered_images(count), np.arange(count) % classes, **options)


class TestSplits:
    def test_each_image_is_in_one_split(self) -> None:
        """The splits neither overlap nor lose an image, and each has its share of each class."""
        data = numbered_data()
        everything = [index for split in (data.train, data.validation, data.test) for index in indices_of(split)]
        assert sorted(everything) == list(range(300))
        assert (len(data.train), len(data.validation), len(data.test)) == (216, 24, 60)
        assert np.bincount(data.test.labels).tolist() == [20, 20, 20]
        assert np.bincount(data.validation.labels).tolist() == [8, 8, 8]

    def test_labels_stay_with_their_images(self) -> None:
        """An image's label is the one that it came with."""
        data = numbered_data()
        for split in (data.train, data.validation, data.test, data.train_subset(0.3)):
            assert split.labels.tolist() == [index % 3 for index in indices_of(split)]

    def test_the_seed_moves_the_validation_split_alone(self) -> None:
        """Test errors of runs with different seeds are about the same images."""
        one, again, other = numbered_data(seed=1), numbered_data(seed=1), numbered_data(seed=2)
        assert one.fingerprint == again.fingerprint != other.fingerprint
        assert indices_of(one.test) == indices_of(other.test)
        assert indices_of(one.validation) != indices_of(other.validation)

    def test_subsets_are_nested_and_stratified(self) -> None:
        """What a quarter holds, a half holds too, and so on."""
        data = numbered_data()
        shares = (0.001, 0.1, 0.25, 0.3, 0.5, 0.99, 1.0)
        subsets = [data.train_subset(share) for share in shares]
        for smaller, larger in itertools.pairwise(subsets):
            assert set(indices_of(smaller)) <= set(indices_of(larger))
        assert np.bincount(subsets[2].labels).tolist() == [18, 18, 18]
        assert len(subsets[0]) == 3
        assert len(subsets[-1]) == len(data.train)

    def test_subset_and_head_have_limits(self) -> None:
        """A share is above 0 and at most 1; a head never invents images."""
        data = numbered_data()
        with pytest.raises(ValueError, match="share must be above 0 and at most 1, but got 0"):
            data.train_subset(0)
        with pytest.raises(ValueError, match=r"but got 1\.5"):
            data.train.subset(1.5)
        assert len(data.train.head(5)) == 5
        assert len(data.train.head(10_000)) == len(data.train)

    def test_a_class_of_two_is_in_train_first(self) -> None:
        """Training never loses the last image of a class."""
        labels = np.array([0] * 50 + [1] * 2 + [2])
        data = DataSet.from_arrays(numbered_images(53), labels)
        assert set(data.train.labels.tolist()) == {0, 1, 2}

    def test_shapes_and_types_of_a_split_are_checked(self) -> None:
        """A split is uint8 images with as many int64 labels."""
        images = np.zeros((4, 1, 2, 2), dtype=np.uint8)
        with pytest.raises(ValueError, match=r"must be uint8 .* but got float64"):
            Split(images.astype(np.float64), np.zeros(4, dtype=np.int64))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"int64 of shape \(4,\), but got int64 of shape \(3,\)"):
            Split(images, np.zeros(3, dtype=np.int64))


class TestDataSet:
    def test_mean_and_std_are_those_of_the_training_images(self) -> None:
        """Per channel, on the scale from 0 to 1."""
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (2500, 3, 5, 4), dtype=np.uint8)
        data = DataSet.from_arrays(images, np.arange(2500) % 2)
        scaled = data.train.images / 255
        np.testing.assert_allclose(data.mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(data.std, scaled.std(axis=(0, 2, 3)), rtol=1e-5)
        assert data.mean.dtype == data.std.dtype == np.float32
        assert (data.input_shape, data.class_count) == ((3, 5, 4), 2)

    def test_a_constant_channel_can_be_divided_by(self) -> None:
        """Its deviation counts as one grey level."""
        data = DataSet.from_arrays(np.full((20, 2, 2), 7, dtype=np.uint8), np.arange(20) % 2)
        assert data.std[0] == pytest.approx(1 / 255)

    def test_fingerprint_sees_pixels_labels_and_classes(self) -> None:
        """And not the name."""
        data = numbered_data()
        pixels = data.test.images.copy()
        pixels[0, 0, 3, 3] += 1
        labels = data.train.labels.copy()
        labels[:2] = labels[1::-1]
        changed = [
            replace(data, test=Split(pixels, data.test.labels)),
            replace(data, train=Split(data.train.images, labels)),
            replace(data, classes=("a", "b", "c")),
        ]
        assert data.fingerprint not in {other.fingerprint for other in changed}
        assert replace(data, name="other").fingerprint == data.fingerprint
        assert len(data.fingerprint) == 12

    def test_contradictions_are_refused(self) -> None:
        """Empty splits, other shapes, labels without a class, one class, a negative shift."""
        data = numbered_data()
        with pytest.raises(ValueError, match="at least one image, but test is empty"):
            replace(data, test=data.test.head(0))
        with pytest.raises(ValueError, match=r"same shape, \(1, 4, 4\) as in train, but got \(1, 4, 2\) in test"):
            replace(data, test=Split(data.test.images[..., :2], data.test.labels))
        with pytest.raises(ValueError, match="labels must be 0 to 1 for 2 classes, but got 0 to 2"):
            replace(data, classes=("a", "b"))
        with pytest.raises(ValueError, match="shift must not be negative, but got -1"):
            replace(data, shift=-1)


class TestFromArrays:
    def test_floats_become_bytes(self) -> None:
        """From 0 to 1 onto 0 to 255."""
        images = np.zeros((20, 2, 2), dtype=np.float32)
        images[:, 0, 0], images[:, 0, 1] = 1.0, 0.5
        data = DataSet.from_arrays(images, np.arange(20) % 2)
        assert data.train.images[0, 0].tolist() == [[255, 128], [0, 0]]

    def test_own_test_images_are_kept_apart(self) -> None:
        """Then all other images train and validate."""
        data = DataSet.from_arrays(
            numbered_images(100),
            np.arange(100) % 2,
            test_images=numbered_images(10),
            test_labels=np.arange(10) % 2,
            classes=("cat", "dog"),
            flip=True,
            shift=2,
            name="pets",
        )
        assert indices_of(data.test) == list(range(10))
        assert (len(data.train), len(data.validation)) == (90, 10)
        assert (data.classes, data.flip, data.shift, data.name) == (("cat", "dog"), True, 2, "pets")

    @pytest.mark.parametrize(
        ("images", "labels", "options", "message"),
        [
            (np.zeros((4, 4), np.uint8), np.arange(4), {}, r"must have the shape .* but got \(4, 4\)"),
            (np.zeros((0, 4, 4), np.uint8), np.arange(0), {}, "must have the shape"),
            (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4), {}, "must come before height and width"),
            (np.zeros((4, 2, 2), np.int32), np.arange(4), {}, "must be uint8, or floats .* but got int32"),
            (np.full((4, 2, 2), 255.0), np.arange(4), {}, r"must lie within \[0, 1\], but got 255 to 255"),
            (np.full((4, 2, 2), np.nan), np.arange(4), {}, r"must lie within \[0, 1\], but got nan"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(3), {}, r"of shape \(4,\), but got int64 of shape \(3,\)"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4) / 2, {}, "must be integers .* but got float64"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4) - 1, {}, "must not be negative, but got -1"),
            (np.zeros((4, 2, 2), np.uint8), np.array([0, 0, 2, 2]), {}, "but class 1 has none"),
            (np.zeros((4, 2, 2), np.uint8), np.zeros(4, int), {}, "at least 2 classes, but got 1"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4), {}, "no class has more than one"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4) % 2, {"test_share": 1.0}, "test_share must lie .* got 1.0"),
            (np.zeros((9, 2, 2), np.uint8), np.arange(9) % 2, {"validation_share": 0}, "validation_share must lie"),
            (np.zeros((4, 2, 2), np.uint8), np.arange(4), {"test_labels": np.arange(4)}, "given together"),
        ],
    )
    def test_unfit_arrays_are_refused(
        self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], options: dict[str, Any], message: str
    ) -> None:
        """The error says the rule and then the value."""
        with pytest.raises(ValueError, match=message):
            DataSet.from_arrays(images, labels, **options)


class TestDigits:
    def test_sizes_and_scale(self) -> None:
        """60, 20 and 20 % of 1,797 images, from 0 to 255."""
        data = load_data("digits")
        assert (len(data.train), len(data.validation), len(data.test)) == (1076, 362, 359)
        assert (data.input_shape, data.classes) == ((1, 8, 8), tuple("0123456789"))
        assert (data.flip, data.shift) == (False, 1)
        assert (data.train.images.min(), data.train.images.max()) == (0, 255)
        assert data.fingerprint == load_data("digits").fingerprint
        assert load_data("digits", seed=1).test.labels.tolist() == data.test.labels.tolist()

    def test_another_size_and_share(self) -> None:
        """Images are scaled; the share is that of the images outside the test split."""
        data = load_data("digits", image_size=16, validation_share=0.5)
        assert data.input_shape == (1, 16, 16)
        assert len(data.validation) == pytest.approx(len(data.train), abs=10)
        with pytest.raises(ValueError, match="image_size must be at least 1, but got 0"):
            load_data("digits", image_size=0)
        with pytest.raises(ValueError, match="validation_share must lie between 0 and 1, but got 2"):
            load_data("digits", validation_share=2)

    def test_an_unknown_name_gets_a_suggestion(self) -> None:
        """The nearest known name."""
        with pytest.raises(DataError, match=r"unknown data set 'cifar-10'. Did you mean 'cifar10'"):
            load_data("cifar-10")
        assert "digits" in DATA_SETS

    def test_importing_loads_neither_torch_nor_sklearn(self) -> None:
        """So that a command line answers quickly."""
        code = "import sys, nas.dataset; print({'torch', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


def write_idx(path: Path, array: np.ndarray[Any, np.dtype[np.uint8]], magic: bytes | None = None) -> None:
    header = magic or bytes((0, 0, 8, array.ndim))
    content = header + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_fashion(folder: Path, train: int = 40, test: int = 20, suffix: str = ".gz") -> None:
    for stem, count in (("train", train), ("t10k", test)):
        write_idx(folder / f"{stem}-images-idx3-ubyte{suffix}", numbered_images(count))
        write_idx(folder / f"{stem}-labels-idx1-ubyte{suffix}", (np.arange(count) % 10).astype(np.uint8))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and no data set from a system package."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for name, known in nas.dataset._IDX_SETS.items():
        monkeypatch.setitem(nas.dataset._IDX_SETS, name, replace(known, folders=()))


@pytest.mark.usefixtures("offline")
class TestKnownSets:
    @pytest.mark.parametrize("suffix", [".gz", ""])
    @pytest.mark.parametrize("folder", ["FashionMNIST/raw", ".", "fashion-mnist"])
    def test_fashion_mnist_from_its_files(self, tmp_path: Path, folder: str, suffix: str) -> None:
        """Any number of images, compressed or not, where torchvision puts them or straight in the root."""
        write_fashion(tmp_path / folder, suffix=suffix)
        data = load_data("fashion-mnist", root=tmp_path)
        assert indices_of(data.test) == list(range(20))
        assert sorted(indices_of(data.train) + indices_of(data.validation)) == list(range(40))
        assert data.train.labels.tolist() == [index % 10 for index in indices_of(data.train)]
        assert (data.class_count, data.flip) == (10, True)
        data.train.images[0] = 0  # torch warns of arrays that cannot be written to

    def test_the_root_may_come_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """NAS_DATA names it."""
        write_fashion(tmp_path / "MNIST" / "raw")
        monkeypatch.setenv("NAS_DATA", str(tmp_path))
        data = load_data("mnist")
        assert (data.classes, data.flip) == (tuple("0123456789"), False)

    def test_missing_files_are_named_with_a_remedy(self, tmp_path: Path) -> None:
        """Where it looked, why it could not download, what to install and where to put which files."""
        with pytest.raises(DataError) as caught:
            load_data("fashion-mnist", root=tmp_path / "data")
        message = str(caught.value)
        for part in (
            str(tmp_path / "data" / "FashionMNIST" / "raw"),
            "no network",
            "apt-get install dataset-fashion-mnist",
            "t10k-labels-idx1-ubyte.gz",
        ):
            assert part in message
        with pytest.raises(DataError, match=r"no network.*Put train-images-idx3-ubyte.gz"):
            load_data("mnist", root=tmp_path / "data")

    @pytest.mark.parametrize(("name", "folder"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
    def test_missing_cifar_is_named_with_a_remedy(self, tmp_path: Path, name: str, folder: str) -> None:
        """The folder and the page that it comes from."""
        with pytest.raises(DataError, match=f"no network.*Put the folder {folder} from https://.*tar.gz into"):
            load_data(name, root=tmp_path)

    def test_cifar_from_its_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Channels first, from files whose md5 sums are right."""
        from torchvision.datasets import CIFAR10

        def write(name: str, content: dict[str, Any]) -> str:
            path = tmp_path / CIFAR10.base_folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pickle.dumps(content))
            return hashlib.md5(path.read_bytes()).hexdigest()

        images = np.arange(20 * 3072).reshape(20, 3072).astype(np.uint8)
        batch = {"data": images, "labels": [index % 10 for index in range(20)]}
        monkeypatch.setattr(CIFAR10, "train_list", [("data_batch_1", write("data_batch_1", batch))])
        monkeypatch.setattr(CIFAR10, "test_list", [("test_batch", write("test_batch", batch))])
        names = write("batches.meta", {"label_names": list("abcdefghij")})
        monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": names})
        data = load_data("cifar10", root=tmp_path)
        assert (data.input_shape, data.classes, data.shift) == ((3, 32, 32), tuple("abcdefghij"), 4)
        np.testing.assert_array_equal(data.test.images.reshape(20, 3072), images)
        assert data.test.labels.tolist() == batch["labels"]

    def test_a_forged_cifar_file_is_never_unpickled(self, tmp_path: Path) -> None:
        """Its md5 sum is wrong, so its code does not run."""
        trap = tmp_path / "trapped"
        folder = tmp_path / "cifar-10-batches-py"
        folder.mkdir()
        for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"]:
            (folder / name).write_bytes(pickle.dumps(_Trap(trap)))
        with pytest.raises(DataError, match="missing or damaged"):
            load_data("cifar10", root=tmp_path)
        assert not trap.exists()

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda f: f.write_bytes(f.read_bytes()[:50]), "cannot be read"),
            (lambda f: f.write_bytes(b"no gzip"), "cannot be read"),
            (lambda f: write_idx(f, numbered_images(40), b"\0\0\x0d\3"), "must be an idx file"),
            (lambda f: write_idx(f, numbered_images(39)), "one label from 0 to 9 for each image"),
            (lambda f: f.write_bytes(gzip.compress(b"\0\0\x08\3" + b"\xff" * 12)), "at most 8 GiB"),
            (lambda f: f.write_bytes(gzip.compress(b"\0\0\x08\3" + b"\0\0\0\1" * 3)), "must hold 1 values"),
            (lambda f: f.write_bytes(gzip.compress(b"\0\0\x08\3" + b"\0")), "cannot be read|must say sizes"),
        ],
    )
    def test_damaged_files_are_named(self, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
        """A file that is cut off, or is something else, or belongs to another set."""
        write_fashion(tmp_path)
        damage(tmp_path / "train-images-idx3-ubyte.gz")
        with pytest.raises(DataError, match=message) as caught:
            load_data("fashion-mnist", root=tmp_path)
        assert "train-images-idx3-ubyte.gz" in str(caught.value)


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_debians_package(tmp_path: Path) -> None:
    """All 70,000 images, without a network."""
    data = load_data("fashion-mnist", root=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (54_000, 6_000, 10_000)
    assert data.mean[0] == pytest.approx(0.286, abs=0.001)
    assert not any(tmp_path.iterdir())


def write_image(path: Path, size: tuple[int, int] = (6, 5), mode: str = "RGB", value: int = 100) -> None:
    """An image of one colour whose mode and size are as asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode in ("L", "P", "I;16", "1") else (value,) * len(mode)).save(path)


def write_flat(root: Path, per_class: int = 10, **options: Any) -> None:
    for label, title in enumerate(("cat", "dog", "emu")):
        for index in range(per_class):
            write_image(root / title / f"{index}.png", value=50 * label + index, **options)


class TestFolder:
    def test_a_folder_a_class(self, tmp_path: Path) -> None:
        """Missing splits are taken from what is there, always the same ones."""
        write_flat(tmp_path)
        (tmp_path / "cat" / "notes.txt").write_text("no image")
        (tmp_path / ".cache").mkdir()
        data = load_data(f"folder:{tmp_path}")
        assert data.classes == ("cat", "dog", "emu")
        assert data.input_shape == (3, 5, 6)
        assert (len(data.train), len(data.validation), len(data.test)) == (21, 3, 6)
        values = [int(i[0, 0, 0]) for s in (data.train, data.validation, data.test) for i in s.images]
        assert sorted(values) == [50 * label + index for label in range(3) for index in range(10)]
        assert data.train.labels.tolist() == [int(image[0, 0, 0]) // 50 for image in data.train.images]
        assert load_data(f"folder:{tmp_path}").fingerprint == data.fingerprint
        assert (data.flip, data.name) == (False, f"folder:{tmp_path}")

    @pytest.mark.parametrize("validation", ["val", "valid", "validation", None])
    @pytest.mark.parametrize("has_test", [True, False])
    def test_a_folder_a_split(self, tmp_path: Path, validation: str | None, has_test: bool) -> None:
        """Splits that are there are taken as they are."""
        write_flat(tmp_path / "train")
        if validation:
            write_flat(tmp_path / validation, per_class=2)
        if has_test:
            write_flat(tmp_path / "test", per_class=3)
        data = load_data(f"folder:{tmp_path}")
        assert len(data.train) == 30 - (0 if has_test else 6) - (0 if validation else 3)
        assert len(data.validation) == (6 if validation else 3)
        assert len(data.test) == (9 if has_test else 6)

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        """A folder of images is a class, whatever its name."""
        for title in ("train", "bus"):
            for index in range(4):
                write_image(tmp_path / title / f"{index}.png")
        assert load_data(f"folder:{tmp_path}").classes == ("bus", "train")

    def test_grey_images_have_one_channel_if_all_are_grey(self, tmp_path: Path) -> None:
        """One colour image makes all of them colour."""
        write_flat(tmp_path, mode="L")
        assert load_data(f"folder:{tmp_path}").input_shape == (1, 5, 6)
        write_image(tmp_path / "cat" / "colour.png", mode="RGBA")
        assert load_data(f"folder:{tmp_path}").input_shape == (3, 5, 6)

    def test_sixteen_bits_keep_their_upper_eight(self, tmp_path: Path) -> None:
        """And are not clipped."""
        for title in ("a", "b"):
            for index in range(3):
                write_image(tmp_path / title / f"{index}.png", mode="I;16", value=0x4321)
        assert (load_data(f"folder:{tmp_path}").train.images == 0x43).all()

    def test_sizes_that_differ_need_an_image_size(self, tmp_path: Path) -> None:
        """The error names two files; with image_size each is scaled and its middle kept."""
        write_flat(tmp_path)
        write_image(tmp_path / "dog" / "wide.png", size=(40, 10), value=77)
        with pytest.raises(DataError, match=r"6×5 pixels and .*wide.png 40×10. Set image_size"):
            load_data(f"folder:{tmp_path}")
        data = load_data(f"folder:{tmp_path}", image_size=8)
        assert data.input_shape == (3, 8, 8)
        values = [image[0] for split in (data.train, data.validation, data.test) for image in split.images]
        assert any((value == 77).all() for value in values)

    def test_the_middle_of_a_wide_image_is_kept(self, tmp_path: Path) -> None:
        """Its sides are cut off."""
        pixels = np.zeros((4, 12), dtype=np.uint8)
        pixels[:, 4:8] = 200
        for title in ("a", "b"):
            for index in range(3):
                (tmp_path / title).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / title / f"{index}.png")
        assert (load_data(f"folder:{tmp_path}", image_size=4).train.images == 200).all()

    def test_a_camera_that_was_turned(self, tmp_path: Path) -> None:
        """The orientation stored in a JPEG file is applied, so its size is that shown."""
        exif = Image.Exif()
        exif[0x0112] = 6
        for title in ("a", "b"):
            (tmp_path / title).mkdir()
            for index in range(3):
                Image.new("RGB", (6, 4)).save(tmp_path / title / f"{index}.jpg", exif=exif)
        assert load_data(f"folder:{tmp_path}").input_shape == (3, 6, 4)

    @pytest.mark.parametrize("content", [b"", b"no image", "half"])
    def test_an_unreadable_image_is_named(self, tmp_path: Path, content: bytes | str) -> None:
        """Whether its header or only its end is broken."""
        write_flat(tmp_path)
        path = tmp_path / "dog" / "3.png"
        if isinstance(content, str):
            noise = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
            content = path.read_bytes()[:80]
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"dog/3.png cannot be read as an image"):
            load_data(f"folder:{tmp_path}")

    def test_an_image_of_another_kind_is_not_decoded(self, tmp_path: Path) -> None:
        """Formats such as EPS, which start another program, do not hide behind an extension."""
        write_flat(tmp_path)
        (tmp_path / "dog" / "3.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\n%%EndComments\n")
        with pytest.raises(DataError, match="cannot be read as an image"):
            load_data(f"folder:{tmp_path}")

    def test_links_out_of_the_folder_are_refused(self, tmp_path: Path) -> None:
        """Files may link within it; folders may not link at all."""
        root = tmp_path / "data"
        write_flat(root)
        (root / "cat" / "inside.png").symlink_to(root / "cat" / "1.png")
        assert len(load_data(f"folder:{root}").train) == 22
        write_image(tmp_path / "secret.png")
        (root / "cat" / "outside.png").symlink_to(tmp_path / "secret.png")
        with pytest.raises(DataError, match=r"must lie within .*outside.png links to .*secret.png"):
            load_data(f"folder:{root}")
        (root / "cat" / "outside.png").unlink()
        (root / "cat" / "broken.png").symlink_to(root / "nothing.png")
        with pytest.raises(DataError, match="a link to none"):
            load_data(f"folder:{root}")
        (root / "cat" / "broken.png").unlink()
        (root / "fox").symlink_to(root / "dog")
        with pytest.raises(DataError, match=r"must not be links, but .*fox links to .*dog"):
            load_data(f"folder:{root}")

    def test_a_link_to_the_folder_itself_is_fine(self, tmp_path: Path) -> None:
        """It is what the user named."""
        write_flat(tmp_path / "real")
        (tmp_path / "alias").symlink_to(tmp_path / "real")
        assert load_data(f"folder:{tmp_path / 'alias'}").class_count == 3

    def test_layouts_that_make_no_sense_are_refused(self, tmp_path: Path) -> None:
        """Each with what is wrong and where."""
        with pytest.raises(DataError, match=r"but .*nowhere is no folder"):
            load_data(f"folder:{tmp_path / 'nowhere'}")
        write_image(tmp_path / "one" / "cat" / "1.png")
        with pytest.raises(DataError, match="at least 2 classes, but it holds 1"):
            load_data(f"folder:{tmp_path / 'one'}")
        (tmp_path / "one" / "dog").mkdir()
        with pytest.raises(DataError, match=r"each class must have an image, but .*dog has none"):
            load_data(f"folder:{tmp_path / 'one'}")
        write_image(tmp_path / "one" / "dog" / "1.png")
        with pytest.raises(DataError, match="no class has more than one"):
            load_data(f"folder:{tmp_path / 'one'}")
        write_image(tmp_path / "one" / "loose.png")
        with pytest.raises(DataError, match=r"folder of their class, but .*loose.png"):
            load_data(f"folder:{tmp_path / 'one'}")

    def test_splits_that_do_not_fit_are_refused(self, tmp_path: Path) -> None:
        """Unknown classes, two validation folders, no training images."""
        write_flat(tmp_path / "train")
        write_image(tmp_path / "test" / "dogs" / "1.png")
        with pytest.raises(
            DataError, match=r"only classes of the training images, but it has 'dogs'. Did you mean 'dog'"
        ):
            load_data(f"folder:{tmp_path}")
        write_flat(tmp_path / "val")
        write_flat(tmp_path / "valid")
        with pytest.raises(DataError, match=r"one folder for validation, but it has .*val and .*valid"):
            load_data(f"folder:{tmp_path}")
        (tmp_path / "train").rename(tmp_path / "training")
        with pytest.raises(DataError, match="must have train"):
            load_data(f"folder:{tmp_path}")

    def test_images_that_do_not_fit_into_memory_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before any is decoded."""
        write_flat(tmp_path)
        with pytest.raises(DataError, match=r"must fit into 8 GiB, but 30 of 20000×20000 .* Set a lower image_size"):
            load_data(f"folder:{tmp_path}", image_size=20_000)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
        with pytest.raises(DataError, match="too large an image"):
            load_data(f"folder:{tmp_path}")
