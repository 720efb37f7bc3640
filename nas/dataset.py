"""Images with labels in three splits: well-known sets by name, a folder of images, or one's own arrays."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import math
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from PIL import Image

ImageArray = npt.NDArray[np.uint8]
LabelArray = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]

DATA_SETS = ("digits", "fashion-mnist", "mnist", "cifar10", "cifar100")

_TEST_SEED = 0  # the test split never depends on the user's seed, so that test errors of two runs compare
_LARGEST_BYTES = 8 * 2**30
_DOWNLOAD_TIMEOUT_S = 20.0


@dataclass(frozen=True, eq=False)
class Split:
    """Images, shape (N, channels, height, width), values 0 to 255, and labels, shape (N,)."""

    images: ImageArray
    labels: LabelArray

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(
                "images of a split must be uint8 of shape (N, channels, height, width), "
                f"but got {self.images.dtype} of shape {self.images.shape}."
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels of a split must be int64 of shape ({len(self.images)},), "
                f"but got {self.labels.dtype} of shape {self.labels.shape}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> Split:
        """The first ``count`` images, or all when there are fewer."""
        return Split(self.images[:count], self.labels[:count])

    def subset(self, share: float, seed: int = 0) -> Split:
        """That share of each class, at least one image of each, in the original order.

        With the same seed a smaller subset is contained in a larger one. Raises ValueError unless 0 < share <= 1.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, but got {share}.")
        if share == 1:
            return self
        rng = np.random.default_rng(seed)
        chosen = [
            members[: max(1, math.floor(share * len(members) + 0.5))] for members in _shuffled_classes(self.labels, rng)
        ]
        return self._take(np.sort(np.concatenate(chosen)))

    def _take(self, indices: npt.NDArray[np.int64]) -> Split:
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class DataSet:
    """A classification task. The test split is for scoring winners, once; nothing else may look at it.

    ``flip`` says that mirroring an image left to right keeps its label, ``shift`` by how many pixels a random
    translation may move it.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    flip: bool = False
    shift: int = 0

    def __post_init__(self) -> None:
        for title, split in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if len(split) == 0:
                raise ValueError(f"each split must hold at least one image, but {title} is empty.")
            if split.images.shape[1:] != self.input_shape:
                raise ValueError(
                    f"images of all splits must have the same shape, {self.input_shape} as in train, "
                    f"but got {split.images.shape[1:]} in {title}."
                )
            if split.labels.min() < 0 or split.labels.max() >= len(self.classes):
                raise ValueError(
                    f"labels must be 0 to {len(self.classes) - 1} for {len(self.classes)} classes, "
                    f"but got {split.labels.min()} to {split.labels.max()} in {title}."
                )
        if len(self.classes) < 2:
            raise ValueError(f"a data set must have at least 2 classes, but got {len(self.classes)}.")
        if self.shift < 0:
            raise ValueError(f"shift must not be negative, but got {self.shift}.")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def class_count(self) -> int:
        return len(self.classes)

    @property
    def mean(self) -> Float32Array:
        """Mean of each channel over the training images scaled to [0, 1], shape (channels,)."""
        return self._moments[0]

    @property
    def std(self) -> Float32Array:
        """Standard deviation likewise; at least one grey level, so that dividing by it is safe."""
        return self._moments[1]

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that depend on the images, labels and classes of all splits, not on the name."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        for split in (self.train, self.validation, self.test):
            checksum = zlib.crc32(np.ascontiguousarray(split.images).data)
            digest.update(f"{split.images.shape} {checksum}".encode())
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()[:12]

    def train_subset(self, share: float) -> Split:
        """A stratified share of the training images; that of 25 % is contained in that of 50 %."""
        return self.train.subset(share)

    @cached_property
    def _moments(self) -> tuple[Float32Array, Float32Array]:
        levels = np.arange(256) / 255
        means, stds = [], []
        for channel in range(self.input_shape[0]):
            counts = np.zeros(256)
            for start in range(0, len(self.train), 1000):  # bincount makes int64 of its input
                counts += np.bincount(self.train.images[start : start + 1000, channel].ravel(), minlength=256)
            share = counts / counts.sum()
            means.append(share @ levels)
            stds.append(max(math.sqrt(share @ (levels - means[-1]) ** 2), 1 / 255))
        return np.array(means, dtype=np.float32), np.array(stds, dtype=np.float32)

    @classmethod
    def from_arrays(
        cls,
        images: npt.NDArray[Any],
        labels: npt.NDArray[Any],
        *,
        test_images: npt.NDArray[Any] | None = None,
        test_labels: npt.NDArray[Any] | None = None,
        classes: Sequence[str] | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        seed: int = 0,
        name: str = "custom",
        flip: bool = False,
        shift: int = 0,
    ) -> DataSet:
        """A data set of one's own arrays, split by class.

        ``images`` are uint8, or floats within [0, 1], of shape (N, height, width) or (N, channels, height, width);
        ``labels`` are integers from 0, shape (N,). Without test images ``test_share`` of the images of each class,
        always the same ones, become the test split; then ``validation_share`` of what is left, which ``seed``
        picks, becomes the validation split.

        Raises:
            ValueError: another type, range or shape, a class without training images, or a share outside (0, 1).
        """
        if (test_images is None) != (test_labels is None):
            raise ValueError("test_images and test_labels must be given together, but got only one of them.")
        everything = Split(_as_images(images, "images"), _as_labels(labels, "labels"))
        class_count = int(everything.labels.max()) + 1 if classes is None else len(classes)
        missing = sorted(set(range(class_count)) - set(everything.labels.tolist()))
        if missing:
            raise ValueError(f"each class must have at least one image, but class {missing[0]} has none.")
        test = None
        if test_images is not None and test_labels is not None:
            test = Split(_as_images(test_images, "test_images"), _as_labels(test_labels, "test_labels"))
        train, validation, test = _complete(everything, None, test, validation_share, test_share, seed)
        names = tuple(str(index) for index in range(class_count)) if classes is None else tuple(classes)
        return cls(name, train, validation, test, names, flip=flip, shift=shift)


@dataclass(frozen=True)
class DataSource:
    """Where a process gets its data set: the given one, or by name, loaded once in each process."""

    given: DataSet | None = None
    name: str = "digits"
    root: str | None = None
    image_size: int | None = None
    validation_share: float | None = None

    def load(self) -> DataSet:
        """The data set. Raises DataError as ``load_data`` does."""
        if self.given is not None:
            return self.given
        return _load_once(self.name, self.root, self.image_size, self.validation_share)


@lru_cache(maxsize=1)
def _load_once(name: str, root: str | None, image_size: int | None, validation_share: float | None) -> DataSet:
    place = None if root is None else Path(root).expanduser()
    return load_data(name, root=place, image_size=image_size, validation_share=validation_share)


def load_data(
    name: str,
    *,
    root: Path | None = None,
    image_size: int | None = None,
    validation_share: float | None = None,
    seed: int = 0,
) -> DataSet:
    """The data set called ``name``, one of ``DATA_SETS``, or ``folder:PATH`` for a folder of images.

    Downloads go to ``root``, else to the folder that the environment variable NAS_DATA names, else to
    ``~/.cache/nas/data``. ``validation_share`` is the share of the images outside the test split that validate, of
    each class, picked by ``seed``: 0.1 where it is not given, 0.25 for digits, which makes 60, 20 and 20 %. The
    test split is always the same.

    A folder has the layout PATH/class/image.png, or PATH/train, PATH/val or validation or valid, and PATH/test,
    each with folders of classes; a missing split is taken from the training images. With ``image_size`` images
    are scaled and cropped to that square, which they need where they differ in size. Nothing says whether mirrored
    images keep their label, so ``flip`` is off.

    Raises:
        DataError: unknown name; files that are missing, unreadable or unfit.
        ValueError: an image size below 1 or a share outside (0, 1).
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1, but got {image_size}.")
    share = validation_share if validation_share is not None else 0.25 if name == "digits" else 0.1
    _check_share(share, "validation_share")
    if name.startswith("folder:"):
        return _load_folder(name, image_size, share, seed)
    if name not in DATA_SETS:
        raise DataError(f"unknown data set {name!r}. {did_you_mean(name, (*DATA_SETS, 'folder:PATH'))}")
    folder = root or Path(os.environ.get("NAS_DATA") or Path.home() / ".cache" / "nas" / "data")
    if name == "digits":
        train, test, classes = _read_digits()
    elif name in _IDX_SETS:
        train, test, classes = _read_idx_set(name, folder)
    else:
        train, test, classes = _read_cifar(name, folder)
    if image_size is not None:
        train, test = _resized(train, image_size), _resized(test, image_size) if test else None
    train, validation, test = _complete(train, None, test, share, 0.2, seed)
    # Digits and numbers change their meaning in a mirror; shirts, frogs and lorries do not.
    flip = name not in ("digits", "mnist")
    # Garments are centred and fill the image: shifting them costs 5 % of error in a training of a few epochs.
    shift = 0 if name == "fashion-mnist" else _usual_shift(train)
    return DataSet(name, train, validation, test, classes, flip=flip, shift=shift)


# Splitting


def _complete(
    train: Split, validation: Split | None, test: Split | None, validation_share: float, test_share: float, seed: int
) -> tuple[Split, Split, Split]:
    """The three splits; those that are missing are taken from ``train``, first the test split."""
    if test is None:
        _check_share(test_share, "test_share")
        train, test = _carve(train, test_share, _TEST_SEED, "test")
    if validation is None:
        _check_share(validation_share, "validation_share")
        train, validation = _carve(train, validation_share, seed, "validation")
    return train, validation, test


def _carve(split: Split, share: float, seed: int, title: str) -> tuple[Split, Split]:
    """What stays, and ``share`` of each class; a class keeps its last image and gives one where it has two."""
    rng = np.random.default_rng(seed)
    taken = np.concatenate(
        [
            members[: min(len(members) - 1, max(1, math.floor(share * len(members) + 0.5)))]
            for members in _shuffled_classes(split.labels, rng)
        ]
    )
    if not len(taken):
        raise ValueError(
            f"a {title} split needs a class with at least two images to take from, but no class has more than one."
        )
    mask = np.zeros(len(split), dtype=np.bool_)
    mask[taken] = True
    return split._take(np.flatnonzero(~mask)), split._take(np.flatnonzero(mask))


def _shuffled_classes(labels: LabelArray, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    return [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]


def _check_share(share: float, title: str) -> None:
    if not 0 < share < 1:
        raise ValueError(f"{title} must lie between 0 and 1, but got {share}.")


def _usual_shift(split: Split) -> int:
    """An eighth of the image, as is usual on CIFAR: 4 of 32 pixels."""
    height, width = split.images.shape[2:]
    return max(1, min(int(height), int(width)) // 8)


# Arrays


def _as_images(images: npt.NDArray[Any], title: str) -> ImageArray:
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"{title} must have the shape (N, height, width) or (N, channels, height, width), but got {images.shape}."
        )
    if images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        raise ValueError(f"channels of {title} must come before height and width, but got {images.shape}.")
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images, dtype=np.uint8)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{title} must be uint8, or floats within [0, 1], but got {images.dtype}.")
    smallest, largest = float(images.min()), float(images.max())
    if not (smallest >= 0 and largest <= 1):  # NaN fails both
        raise ValueError(f"{title} that are floats must lie within [0, 1], but got {smallest:g} to {largest:g}.")
    return np.ascontiguousarray(np.rint(images * 255), dtype=np.uint8)


def _as_labels(labels: npt.NDArray[Any], title: str) -> LabelArray:
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(f"{title} must be integers of shape (N,), but got {labels.dtype} of shape {labels.shape}.")
    if len(labels) and labels.min() < 0:
        raise ValueError(f"{title} must not be negative, but got {labels.min()}.")
    return labels.astype(np.int64)


def _resized(split: Split, size: int) -> Split:
    from PIL import Image

    count, channels, height, width = split.images.shape
    if (height, width) == (size, size):
        return split
    _check_bytes(count, channels, size, size)
    images = np.empty((count, channels, size, size), dtype=np.uint8)
    for index, source in enumerate(split.images):
        picture = Image.fromarray(source[0] if channels == 1 else source.transpose(1, 2, 0))
        images[index] = _as_channels(_fit(picture, size))
    return Split(images, split.labels)


# Well-known sets

_Parts = tuple[Split, Split | None, tuple[str, ...]]


@dataclass(frozen=True)
class _IdxSet:
    """Where a set in the idx format of MNIST lies: torchvision's class, which is also its folder, and others."""

    torchvision_name: str
    folders: tuple[Path, ...]
    classes: tuple[str, ...]
    remedy: str


_IDX_SETS = {
    "mnist": _IdxSet("MNIST", (), tuple("0123456789"), "Put"),
    "fashion-mnist": _IdxSet(
        "FashionMNIST",
        (Path("/usr/share/datasets/fashion-mnist"),),  # where Debian's package dataset-fashion-mnist puts it
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        "Install it with apt-get install dataset-fashion-mnist, or put",
    ),
}
_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _read_digits() -> _Parts:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return Split(images, bunch.target.astype(np.int64)), None, tuple("0123456789")


def _read_idx_set(name: str, root: Path) -> _Parts:
    known = _IDX_SETS[name]
    raw = root / known.torchvision_name / "raw"
    searched = (raw, root, root / name, *known.folders)
    files = _find_idx_files(searched)
    if files is None:
        reason = _download(known.torchvision_name, root)
        files = _find_idx_files((raw,))
        if files is None:
            raise DataError(
                f"data set {name!r} is in none of {', '.join(map(str, searched))}, and it could not be downloaded "
                f"({reason}). {known.remedy} {', '.join(file + '.gz' for file in _IDX_FILES)} into {raw}."
            )
    splits = []
    for image_file, label_file in (files[:2], files[2:]):
        images, labels = _read_idx(image_file, 3), _read_idx(label_file, 1)
        if len(images) != len(labels) or not len(labels) or labels.max() >= len(known.classes):
            raise DataError(
                f"{label_file} must hold one label from 0 to {len(known.classes) - 1} for each image of {image_file}, "
                f"but it holds {len(labels)} for {len(images)} images, the largest {max(labels, default=0)}."
            )
        splits.append(Split(images[:, None], labels.astype(np.int64)))
    return splits[0], splits[1], known.classes


def _find_idx_files(folders: Sequence[Path]) -> list[Path] | None:
    """The four files of the first folder that has them all, compressed or not."""
    for folder in folders:
        found = [
            path
            for file in _IDX_FILES
            for path in [next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None)]
            if path is not None
        ]
        if len(found) == len(_IDX_FILES):
            return found
    return None


def _read_idx(path: Path, dimensions: int) -> ImageArray:
    """The bytes in an idx file: two zeros, type 8, the number of dimensions, their sizes, the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            magic = file.read(4)
            if magic != bytes((0, 0, 8, dimensions)):
                raise DataError(f"{path} must be an idx file of bytes with {dimensions} dimensions, but it is not.")
            sizes = np.frombuffer(file.read(4 * dimensions), dtype=">u4").astype(np.int64)
            expected = math.prod(sizes.tolist())
            if len(sizes) != dimensions or expected > _LARGEST_BYTES:
                raise DataError(f"{path} must say sizes of at most 8 GiB, but it says {sizes.tolist()}.")
            content = file.read(expected)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) != expected:
        raise DataError(f"{path} must hold {expected} values, but it ends after {len(content)}. Fetch it again.")
    return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(sizes)


def _read_cifar(name: str, root: Path) -> _Parts:
    from torchvision import datasets

    maker = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    with warnings.catch_warnings():
        # The files are pickles of an old numpy, of whose type descriptions numpy 2.4 complains.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        try:
            # Pickles can run code: torchvision compares all md5 sums before it opens one, and raises RuntimeError.
            loaded = [maker(root, train=train, download=False) for train in (True, False)]
        except RuntimeError:
            reason = _download(maker.__name__, root)
            try:
                loaded = [maker(root, train=train, download=False) for train in (True, False)]
            except RuntimeError as error:
                raise DataError(
                    f"data set {name!r} is missing or damaged in {root / maker.base_folder}, and it could not be "
                    f"downloaded ({reason}). Put the folder {maker.base_folder} from {maker.url} into {root}."
                ) from error
    train, test = (
        Split(
            np.ascontiguousarray(part.data.transpose(0, 3, 1, 2), dtype=np.uint8),
            np.array(part.targets, dtype=np.int64),
        )
        for part in loaded
    )
    return train, test, tuple(loaded[0].classes)


def _download(torchvision_name: str, root: Path) -> str:
    """Let torchvision fetch a set, its md5 sums checked; why it could not, or an empty text."""
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(_DOWNLOAD_TIMEOUT_S):
            getattr(datasets, torchvision_name)(root, train=True, download=True)
    except (OSError, RuntimeError, EOFError, zlib.error) as error:  # URLError is an OSError
        return " ".join(str(error).split()) or type(error).__name__
    return ""


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """urllib waits for ever by default, and torchvision does not let one say otherwise."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


# Folders of images

_EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # no format that starts another program
_SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
_GREY_MODES = {"1", "L", "LA", "I;16", "I;16B", "I;16L"}
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class _Picture:
    """An image file whose header was read: its size as shown, and whether it is greyscale."""

    path: Path
    width: int
    height: int
    is_grey: bool


def _load_folder(name: str, image_size: int | None, validation_share: float, seed: int) -> DataSet:
    path = Path(name.removeprefix("folder:")).expanduser()
    if not path.is_dir():
        raise DataError(f"a data set folder must exist, but {path} is no folder.")
    path = path.resolve()
    folders = _split_folders(path)
    classes = tuple(folder.name for folder in _class_folders(folders["train"]))
    if len(classes) < 2:
        raise DataError(
            f"{folders['train']} must hold one folder of images for each of at least 2 classes, "
            f"but it holds {len(classes)}."
        )
    files = {title: _labelled_files(folder, classes, path) for title, folder in folders.items()}
    pictures = [_read_header(file) for members in files.values() for file, _ in members]
    width, height = _common_size(pictures, image_size, path)
    channels = 1 if all(picture.is_grey for picture in pictures) else 3
    _check_bytes(len(pictures), channels, height, width)
    splits = {title: _decode(members, channels, height, width, image_size) for title, members in files.items()}
    try:
        train, validation, test = _complete(
            splits["train"], splits.get("validation"), splits.get("test"), validation_share, 0.2, seed
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return DataSet(name, train, validation, test, classes, shift=_usual_shift(train))


def _split_folders(path: Path) -> dict[str, Path]:
    """The folder of each split that is there; ``path`` itself is train unless PATH/train has folders of its own."""
    if not _subfolders(path / "train"):
        for name in (*_SPLIT_FOLDERS["validation"], *_SPLIT_FOLDERS["test"]):
            if _subfolders(path / name):
                raise DataError(
                    f"a data set folder with {name} must have train with a folder a class, but {path} has not."
                )
        return {"train": path}
    found = {}
    for title, names in _SPLIT_FOLDERS.items():
        present = [path / name for name in names if (path / name).is_dir()]
        if len(present) > 1:
            raise DataError(f"{path} must have one folder for {title}, but it has {present[0]} and {present[1]}.")
        if present:
            _check_no_link(present[0])
            found[title] = present[0]
    return found


def _subfolders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_folders(folder: Path) -> list[Path]:
    loose = [entry for entry in sorted(folder.iterdir()) if entry.suffix.lower() in _EXTENSIONS and entry.is_file()]
    if loose:
        raise DataError(f"images must lie in the folder of their class, but {loose[0]} lies in {folder}.")
    return _subfolders(folder)


def _labelled_files(folder: Path, classes: tuple[str, ...], root: Path) -> list[tuple[Path, int]]:
    """The image files below the class folders, in a fixed order, with their labels."""
    members = []
    for class_folder in _class_folders(folder):
        if class_folder.name not in classes:
            raise DataError(
                f"{folder} must have only classes of the training images, but it has {class_folder.name!r}. "
                f"{did_you_mean(class_folder.name, classes)}"
            )
        files = _image_files(class_folder, root)
        if not files:
            raise DataError(f"each class must have an image, but {class_folder} has none of {sorted(_EXTENSIONS)}.")
        members += [(file, classes.index(class_folder.name)) for file in files]
    if not members:
        raise DataError(f"a split must have images, but {folder} has none.")
    return members


def _image_files(folder: Path, root: Path) -> list[Path]:
    _check_no_link(folder)
    files = []
    for parent, subfolders, names in os.walk(folder, onerror=_refuse):
        for name in subfolders:
            _check_no_link(Path(parent, name))
        for name in names:
            file = Path(parent, name)
            if name.startswith(".") or file.suffix.lower() not in _EXTENSIONS:
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(root):
                raise DataError(f"files of a data set must lie within {root}, but {file} links to {file.resolve()}.")
            if not file.is_file():
                raise DataError(f"{file} cannot be read as an image: it is no file, or a link to none.")
            files.append(file)
    return sorted(files)


def _refuse(error: OSError) -> None:
    raise DataError(f"folders of a data set must be readable, but {error.filename} is not: {error.strerror}.")


def _check_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise DataError(f"folders of a data set must not be links, but {folder} links to {folder.resolve()}.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image of one of the plain formats, or a DataError that names the file."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata, which nobody uses
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                yield image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    except Image.DecompressionBombWarning as error:
        raise DataError(f"{path} is too large an image: {error}") from error


def _read_header(path: Path) -> _Picture:
    with _opened(path) as image:
        width, height = image.size
        # Cameras store which side is up. PNG is left out: reading it there decodes the whole image.
        if image.format == "JPEG" and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:
            width, height = height, width
        return _Picture(path, width, height, image.mode in _GREY_MODES)


def _common_size(pictures: Sequence[_Picture], image_size: int | None, path: Path) -> tuple[int, int]:
    if image_size is not None:
        return image_size, image_size
    first = pictures[0]
    for other in pictures:
        if (other.width, other.height) != (first.width, first.height):
            raise DataError(
                f"images must have the same size unless image_size is set, but {first.path} has "
                f"{first.width}×{first.height} pixels and {other.path} {other.width}×{other.height}. "
                "Set image_size, for example 32."
            )
    return first.width, first.height


def _check_bytes(count: int, channels: int, height: int, width: int) -> None:
    size = count * channels * height * width
    if size > _LARGEST_BYTES:
        raise DataError(
            f"decoded images must fit into {_LARGEST_BYTES / 2**30:.3g} GiB, but {count} of {width}×{height} pixels "
            f"take {size / 2**30:.3g} GiB. Set a lower image_size."
        )


def _decode(
    members: Sequence[tuple[Path, int]], channels: int, height: int, width: int, image_size: int | None
) -> Split:
    from PIL import ImageOps

    images = np.empty((len(members), channels, height, width), dtype=np.uint8)
    for index, (path, _) in enumerate(members):
        with _opened(path) as image:
            upright = ImageOps.exif_transpose(image) if image.format == "JPEG" else image
            picture = _eight_bit(upright, path).convert("L" if channels == 1 else "RGB")
            images[index] = _as_channels(picture if image_size is None else _fit(picture, image_size))
    return Split(images, np.array([label for _, label in members], dtype=np.int64))


def _eight_bit(image: Image.Image, path: Path) -> Image.Image:
    """The image itself, or its upper eight bits: Pillow's own conversion from sixteen clips at 255."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DataError(f"images must have 8 or 16 bits a channel, but {path} has 32.")
    return image


def _fit(image: Image.Image, size: int) -> Image.Image:
    """The largest centred square, scaled to ``size``."""
    from PIL import Image, ImageOps

    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)


def _as_channels(image: Image.Image) -> ImageArray:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
