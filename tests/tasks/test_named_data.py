"""Well-known data sets: found on the machine or missed with a clear message, and never another or a forged set."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numbered_images import indices_of, numbered_images

import nas.tasks.images.named_data
from nas.errors import DataError
from nas.tasks.images.decoded.stored_images import StoredImages
from nas.tasks.images.loading import load_data

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


class TestDigits:
    def test_sizes_and_scale(self) -> None:
        """Digits has 60, 20 and 20 % of 1,797 images, with values from 0 to 255."""
        data = load_data("digits")
        assert (len(data.train), len(data.validation), len(data.test)) == (1076, 362, 359)
        assert (data.input_shape, data.classes) == ((1, 8, 8), tuple("0123456789"))
        assert (data.flip, data.shift) == (False, 1)
        assert (data.train.images.min(), data.train.images.max()) == (0, 255)
        assert data.fingerprint == load_data("digits").fingerprint
        assert load_data("digits", seed=1).test.labels.tolist() == data.test.labels.tolist()

    def test_they_are_those_of_scikit_learn(self) -> None:
        """Its own reader, which is slow to import, returns values from 0 to 16 in the same order of items."""
        from sklearn.datasets import load_digits

        theirs, data = load_digits(), load_data("digits")
        ours = np.concatenate([part.images for part in (data.train, data.validation, data.test)])
        labels = np.concatenate([part.labels for part in (data.train, data.validation, data.test)])
        scaled = np.rint(theirs.images * (255 / 16)).astype(np.uint8)
        expected = sorted(zip(map(bytes, scaled), theirs.target.tolist(), strict=True))
        assert sorted(zip(map(bytes, ours), labels.tolist(), strict=True)) == expected

    def test_another_size_and_share(self) -> None:
        """Images are scaled; the share is one of the images outside the test split."""
        data = load_data("digits", image_size=16, validation_share=0.5)
        assert data.input_shape == (1, 16, 16)
        assert len(data.validation) == pytest.approx(len(data.train), abs=10)
        with pytest.raises(ValueError, match="image_size must be at least 1, but got 0"):
            load_data("digits", image_size=0)
        with pytest.raises(ValueError, match="validation_share must lie between 0 and 1, but got 2"):
            load_data("digits", validation_share=2)

    def test_many_scaled_images_lie_in_a_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that each process does not hold all of them. The pixels are the same."""
        held = load_data("digits", image_size=12)
        monkeypatch.setattr("nas.tasks.images.resizing.LARGEST_IN_MEMORY", 0)
        stored = load_data("digits", image_size=12)
        assert isinstance(stored.train.images, StoredImages)
        assert stored.memory_bytes == 0 < held.memory_bytes
        assert stored.fingerprint == held.fingerprint
        np.testing.assert_array_equal(np.asarray(stored.test.images), held.test.images)


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
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Block the network, and hide data sets of system packages and of the current folder."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.chdir(tmp_path_factory.mktemp("current"))
    for name, known in nas.tasks.images.named_data._IDX_SETS.items():
        monkeypatch.setitem(nas.tasks.images.named_data._IDX_SETS, name, replace(known, folders=()))


@pytest.mark.usefixtures("offline")
class TestKnownSets:
    @pytest.mark.parametrize("suffix", [".gz", ""])
    @pytest.mark.parametrize("folder", ["FashionMNIST/raw", ".", "fashion-mnist"])
    def test_fashion_mnist_from_its_files(self, tmp_path: Path, folder: str, suffix: str) -> None:
        """Any number of images, compressed or not, in torchvision's folder or in the root itself."""
        write_fashion(tmp_path / folder, suffix=suffix)
        data = load_data("fashion-mnist", root=tmp_path)
        assert indices_of(data.test) == list(range(20))
        assert sorted(indices_of(data.train) + indices_of(data.validation)) == list(range(40))
        assert data.train.labels.tolist() == [index % 10 for index in indices_of(data.train)]
        assert (data.signature.classes, data.flip) == (10, True)
        data.train.images[0] = 0  # torch warns about read-only arrays

    def test_the_root_may_come_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment variable NAS_DATA names the root."""
        write_fashion(tmp_path / "MNIST" / "raw")
        monkeypatch.setenv("NAS_DATA", str(tmp_path))
        data = load_data("mnist")
        assert (data.classes, data.flip) == (tuple("0123456789"), False)

    def test_torchvisions_customary_root_is_searched_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """./data is used only if the root lacks the data set."""
        monkeypatch.chdir(tmp_path)
        write_fashion(tmp_path / "data" / "FashionMNIST" / "raw", test=11)
        assert len(load_data("fashion-mnist", root=tmp_path / "root").test) == 11
        write_fashion(tmp_path / "root", test=12)
        assert len(load_data("fashion-mnist", root=tmp_path / "root").test) == 12
        assert len(load_data("fashion-mnist", root=Path("data")).test) == 11

    @pytest.mark.parametrize("suffix", [".gz", ""])
    @pytest.mark.parametrize("place", ["root", "data"])
    @pytest.mark.parametrize("which", [0, 1])
    def test_files_of_the_other_set_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, place: str, which: int
    ) -> None:
        """In a root itself, only the MD5 sum of a file or of its content tells MNIST from Fashion-MNIST."""
        monkeypatch.chdir(tmp_path)
        write_fashion(tmp_path / place, suffix=suffix)
        file = tmp_path / place / f"t10k-images-idx3-ubyte{suffix}"
        packed = file.read_bytes()
        content = gzip.decompress(packed) if suffix else packed
        sums = ["0" * 32, "0" * 32]
        sums[which] = hashlib.md5((packed, content)[which]).hexdigest()
        known = nas.tasks.images.named_data._IDX_SETS["fashion-mnist"]
        monkeypatch.setitem(
            nas.tasks.images.named_data._IDX_SETS, "fashion-mnist", replace(known, test_images_md5=(sums[0], sums[1]))
        )
        assert len(load_data("fashion-mnist", root=tmp_path / "root").test) == 20
        with pytest.raises(DataError, match=r"'mnist', but .*t10k-images.* belongs to 'fashion-mnist'. Move .*/raw"):
            load_data("mnist", root=tmp_path / "root")
        write_fashion(tmp_path / "root" / "MNIST" / "raw", suffix=suffix)
        assert load_data("mnist", root=tmp_path / "root").signature.classes == 10  # the folder's name decides

    def test_the_published_sums_are_torchvisions(self) -> None:
        """The sums of the packed test images match torchvision's."""
        from torchvision import datasets

        for known in nas.tasks.images.named_data._IDX_SETS.values():
            published = dict(getattr(datasets, known.torchvision_name).resources)
            assert known.test_images_md5[0] == published["t10k-images-idx3-ubyte.gz"]

    def test_missing_files_are_named_with_a_remedy(self, tmp_path: Path) -> None:
        """The error lists the searched folders, the failed download, and the files to put into a folder."""
        with pytest.raises(DataError) as caught:
            load_data("fashion-mnist", root=tmp_path / "data")
        message = str(caught.value)
        for part in (
            str(tmp_path / "data" / "FashionMNIST" / "raw"),
            str(Path.cwd() / "data" / "FashionMNIST" / "raw"),
            "no network",
            "apt-get install dataset-fashion-mnist",
            "t10k-labels-idx1-ubyte.gz",
        ):
            assert part in message
        with pytest.raises(DataError, match=r"no network.*Put train-images-idx3-ubyte.gz"):
            load_data("mnist", root=tmp_path / "data")

    @pytest.mark.parametrize(("name", "folder"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
    def test_missing_cifar_is_named_with_a_remedy(self, tmp_path: Path, name: str, folder: str) -> None:
        """The error names the folder and its download page."""
        with pytest.raises(DataError, match=f"no network.*Put the folder {folder} from https://.*tar.gz into"):
            load_data(name, root=tmp_path)
        with pytest.raises(DataError, match=str(Path.cwd() / "data")):
            load_data(name, root=tmp_path)

    @pytest.mark.parametrize("root", ["data", "elsewhere"])
    def test_cifar_from_its_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
        """Images have channels first; files with correct MD5 sums are found in the root or in ./data."""
        from torchvision.datasets import CIFAR10

        monkeypatch.chdir(tmp_path)

        def write(name: str, content: dict[str, Any]) -> str:
            path = tmp_path / "data" / CIFAR10.base_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(content))
            return hashlib.md5(path.read_bytes()).hexdigest()

        images = np.arange(20 * 3072).reshape(20, 3072).astype(np.uint8)
        batch = {"data": images, "labels": [index % 10 for index in range(20)]}
        monkeypatch.setattr(CIFAR10, "train_list", [("data_batch_1", write("data_batch_1", batch))])
        monkeypatch.setattr(CIFAR10, "test_list", [("test_batch", write("test_batch", batch))])
        names = write("batches.meta", {"label_names": list("abcdefghij")})
        monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": names})
        data = load_data("cifar10", root=tmp_path / root)
        assert (data.input_shape, data.classes, data.shift) == ((3, 32, 32), tuple("abcdefghij"), 4)
        np.testing.assert_array_equal(data.test.images.reshape(20, 3072), images)
        assert data.test.labels.tolist() == batch["labels"]

    def test_a_forged_cifar_file_is_never_unpickled(self, tmp_path: Path) -> None:
        """Its MD5 sum is wrong, so its code does not run."""
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
            (lambda f: f.write_bytes(gzip.compress(b"\0\0\x08\3" + b"\0")), "cannot be read|must have sizes"),
        ],
    )
    def test_damaged_files_are_named(self, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
        """The file may be cut off, have another format, or belong to another data set."""
        write_fashion(tmp_path)
        damage(tmp_path / "train-images-idx3-ubyte.gz")
        with pytest.raises(DataError, match=message) as caught:
            load_data("fashion-mnist", root=tmp_path)
        assert "train-images-idx3-ubyte.gz" in str(caught.value)


class _Trap:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_debians_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 70,000 images load without a network."""
    monkeypatch.chdir(tmp_path)
    data = load_data("fashion-mnist", root=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (54_000, 6_000, 10_000)
    assert data.mean[0] == pytest.approx(0.286, abs=0.001)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_never_served_as_mnist() -> None:
    """Debian packed the files again, so only the MD5 sum of their content matches."""
    with pytest.raises(DataError, match="belongs to 'fashion-mnist'"):
        load_data("mnist", root=DEBIAN_FASHION)
