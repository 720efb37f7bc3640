"""Well-known data sets by name, found on this machine or downloaded by torchvision."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import DataError
from nas.progress import Progress
from nas.tasks.images.arrays import ImageArray
from nas.tasks.images.images import Images
from nas.tasks.images.labelled import Reading
from nas.tasks.images.resizing import LARGEST_BYTES, Originals, resized
from nas.tasks.images.splits import Split, complete_splits, usual_shift
from nas.tasks.images.torchvision_data import sets_from_roots
from nas.tasks.splitting import TEST_SHARE

_Parts = tuple[Split, Split | None, tuple[str, ...]]


@dataclass(frozen=True)
class _IdxSet:
    """The places of a data set in MNIST's idx format: torchvision's class, which also names its folder, and others.

    ``test_images_md5`` holds the MD5 sums of t10k-images-idx3-ubyte.gz, published in torchvision's ``resources``, and
    of its content. The latter is the same for an unpacked file, or one that was packed again, as Debian's was. Without
    ``classes``, torchvision knows their names.
    """

    torchvision_name: str
    test_images_md5: tuple[str, str]
    folders: tuple[Path, ...]
    classes: tuple[str, ...]
    remedy: str


_IDX_SETS = {
    "mnist": _IdxSet(
        "MNIST",
        ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
        (),
        tuple("0123456789"),
        "Put",
    ),
    "fashion-mnist": _IdxSet(
        "FashionMNIST",
        ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
        (Path("/usr/share/datasets/fashion-mnist"),),  # of Debian's package dataset-fashion-mnist
        (),
        "Install it with apt-get install dataset-fashion-mnist, or put",
    ),
}
_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load_named(name: str, roots: Sequence[Path], reading: Reading) -> Images:
    """Load the data set ``name``, one of DATA_SETS, from the first root that has it, or download it to the first root.

    Raises:
        DataError: it is neither found nor downloaded, or its files are damaged or belong to another set.
    """
    if name == "digits":
        train, test, classes = _read_digits()
    elif name in _IDX_SETS:
        train, test, classes = _read_idx_set(name, roots, reading.progress)
    else:
        sets = sets_from_roots(_maker(name.upper()), roots, {}, reading.progress)
        (train, test), classes = _of_torchvision(sets), tuple(sets["train"].classes)
    originals = None
    shares = reading.validation_share, TEST_SHARE, reading.seed
    if reading.image_size is not None:
        originals = Originals(splits=complete_splits(train, None, test, *shares))
        train = resized(train, reading.image_size, reading.progress)
        test = resized(test, reading.image_size, reading.progress) if test else None
    train, validation, test = complete_splits(train, None, test, *shares)
    # A mirrored digit changes its meaning; a mirrored shirt, frog or lorry does not.
    flip = name not in ("digits", "mnist")
    # Garments are centred and fill the image: shifts raise the error by 5 % in a training of a few epochs.
    shift = 0 if name == "fashion-mnist" else usual_shift(train)
    crop = reading.image_size is not None
    return Images(name, train, validation, test, classes, flip=flip, shift=shift, crop=crop, originals=originals)


def _maker(torchvision_name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, torchvision_name)


def _read_digits() -> _Parts:
    """Read the file of scikit-learn. Importing its own reader takes a second and a half, for each process."""
    installed = find_spec("sklearn")
    assert installed is not None, "this package requires scikit-learn"
    rows = np.loadtxt(Path(installed.origin or "").parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.rint(rows[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return Split(images, rows[:, -1].astype(np.int64)), None, tuple("0123456789")


def _read_idx_set(name: str, roots: Sequence[Path], progress: Progress) -> _Parts:
    known = _IDX_SETS[name]
    classes = known.classes or tuple(_maker(known.torchvision_name).classes)
    raw = roots[0] / known.torchvision_name / "raw"
    searched = [
        *(folder for root in roots for folder in (root / known.torchvision_name / "raw", root, root / name)),
        *known.folders,
    ]
    files = _find_idx_files(searched)
    if files is None:
        remedy = f"{known.remedy} {', '.join(file + '.gz' for file in _IDX_FILES)} into {raw}."
        sets = sets_from_roots(_maker(known.torchvision_name), roots, {}, progress, searched, remedy)
        return *_of_torchvision(sets), classes
    if files[0].parent in roots:
        _check_not_another(name, files)
    splits = []
    for image_file, label_file in (files[:2], files[2:]):
        images, labels = _read_idx(image_file, 3), _read_idx(label_file, 1)
        if len(images) != len(labels) or not len(labels) or labels.max() >= len(classes):
            raise DataError(
                f"{label_file} must hold one label from 0 to {len(classes) - 1} for each image of {image_file}, "
                f"but it holds {len(labels)} labels for {len(images)} images, the largest {max(labels, default=0)}."
            )
        splits.append(Split(images[:, None], labels.astype(np.int64)))
    return splits[0], splits[1], classes


def _find_idx_files(folders: Sequence[Path]) -> list[Path] | None:
    """Return the four files of the first folder that has all of them, compressed or not."""
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


def _check_not_another(name: str, files: Sequence[Path]) -> None:
    """Check that the files belong to ``name``. Only their content tells MNIST from Fashion-MNIST."""
    test_images = files[_IDX_FILES.index("t10k-images-idx3-ubyte")]
    sums = _md5s(test_images)
    for other, known in _IDX_SETS.items():
        if other != name and not sums.isdisjoint(known.test_images_md5):
            folder = test_images.parent
            raise DataError(
                f"files directly in {folder} must belong to the data set {name!r}, but {test_images} belongs "
                f"to {other!r}. Move the four files to {folder / known.torchvision_name / 'raw'}."
            )


def _md5s(path: Path) -> set[str]:
    """Return the MD5 sums of the file and of its unpacked content."""
    try:
        with path.open("rb") as packed, _unpacked(path) as content:
            return {hashlib.file_digest(file, _md5).hexdigest() for file in (packed, content)}
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _unpacked(path: Path) -> BufferedIOBase:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _read_idx(path: Path, dimensions: int) -> ImageArray:
    """Read an idx file of bytes: two zeros, type 8, the number of dimensions, their sizes, and the values."""
    try:
        with _unpacked(path) as file:
            magic = file.read(4)
            if magic != bytes((0, 0, 8, dimensions)):
                raise DataError(f"{path} must be an idx file of bytes with {dimensions} dimensions, but it is not.")
            sizes = np.frombuffer(file.read(4 * dimensions), dtype=">u4").astype(np.int64)
            expected = math.prod(sizes.tolist())
            if len(sizes) != dimensions or expected > LARGEST_BYTES:
                raise DataError(f"{path} must have sizes of at most 8 GiB in total, but has {sizes.tolist()}.")
            content = file.read(expected)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) != expected:
        raise DataError(f"{path} must hold {expected} values, but it ends after {len(content)}. Fetch it again.")
    return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(sizes)


def _of_torchvision(sets: Mapping[str, Any]) -> tuple[Split, Split]:
    """Return the training and the test part of a set of torchvision that holds all pictures in memory."""
    train, test = (
        Split(np.ascontiguousarray(_channels_first(np.asarray(part.data))), np.array(part.targets, dtype=np.int64))
        for part in (sets["train"], sets["test"])
    )
    return train, test


def _channels_first(images: ImageArray) -> ImageArray:
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
