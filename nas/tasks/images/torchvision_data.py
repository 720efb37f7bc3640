"""Sets of ``torchvision.datasets`` by the names of their classes."""

from __future__ import annotations

import contextlib
import inspect
import io
import socket
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.errors import DataError, RecipeError, did_you_mean, raised_text
from nas.progress import Progress
from nas.tasks.class_folders import SPLIT_NAMES
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.pictures import ON_ITS_SIDE, Frame, orientation_of, pixels_of
from nas.tasks.images.arrays import ImageArray
from nas.tasks.images.decoded.decoding import GREY_MODES, Header, Source
from nas.tasks.images.images import Images
from nas.tasks.images.labelled import LabelledPictures, Reading
from nas.tasks.images.splits import SomeLabels

_DOWNLOAD_TIMEOUT_S = 20.0
_NO_SETS = {"ImageFolder", "DatasetFolder", "VisionDataset"}
"""Classes that read files of one's own, which are named in another way."""
_CLASS_NAMES = ("classes", "categories", "attr_names")
"""Where the sets keep the names of their classes or labels."""
Made = Mapping[str, Any]
"""The sets of torchvision by the titles of their splits."""


def load_torchvision(
    name: str, class_name: str, roots: Sequence[Path], arguments: Mapping[str, Any], reading: Reading
) -> Images:
    """Return the set of torchvision's class from the first root that has it, or download it to the first root.

    Raises:
        DataError: there is no such class, it is no set for classification, or it is neither found nor downloaded.
        RecipeError: the class does not take the arguments.
    """
    maker = _class_called(class_name)
    sets = sets_from_roots(maker, roots, arguments, reading.progress)
    try:
        first = next(each[0] for each in sets.values() if len(each))
    except Exception as error:  # of somebody else's class with a user's arguments
        raise DataError(f"torchvision's {class_name} gives no pictures: {raised_text(error)}.") from error
    if not isinstance(first, tuple) or len(first) != 2 or not hasattr(first[0], "convert"):
        raise DataError(f"torchvision's {class_name} is no set for classification: its items are {first!r:.80}.")
    labels, classes = _labels(class_name, sets)
    titles = np.concatenate([np.full(len(each), title) for title, each in sets.items()])
    source = _SetOfTorchvision(class_name, tuple(sets.values()), (*map(str, roots), sorted(arguments.items())))
    return LabelledPictures(name, source, labels, titles, classes).task(reading)


def _class_called(class_name: str) -> Any:
    from torchvision import datasets

    known = [name for name in datasets.__all__ if name not in _NO_SETS]
    if class_name in _NO_SETS:
        raise DataError(f"torchvision's {class_name} reads a folder: name it by folder:PATH.")
    if class_name not in known:
        raise DataError(f"torchvision has no set {class_name!r}. {did_you_mean(class_name, known)}")
    return getattr(datasets, class_name)


def sets_from_roots(
    maker: Any,
    roots: Sequence[Path],
    arguments: Mapping[str, Any],
    progress: Progress,
    searched: Sequence[Path] = (),
    remedy: str = "",
) -> Made:
    """Return the splits of torchvision's class from a root that has them; from the first one after a download.

    ``searched`` are the places that an error names, ``remedy`` what else it asks people to put into the first root.

    Raises:
        DataError: the set is neither found nor downloaded.
        RecipeError: the class does not take the arguments.
    """
    name, parameters = maker.__name__, _parameters(maker)
    unknown = [key for key in arguments if key not in parameters]
    if unknown or "root" in arguments or "download" in arguments:
        known = [key for key in parameters if key not in ("root", "download", "transform", "target_transform")]
        raise RecipeError(
            f"arguments of torchvision's {name} may be {', '.join(known)}, but got {', '.join(arguments)}."
        )
    reasons = []
    for root in roots:
        try:
            return _splits(maker, parameters, {**arguments, "root": str(root), "download": False})
        except (RuntimeError, OSError) as error:  # so torchvision says that files are missing or damaged
            reasons.append(f"{root}: {' '.join(str(error).split())}")
    if "download" not in parameters:
        raise DataError(f"torchvision's {name} cannot be downloaded, and is in none of {'; '.join(reasons)}")
    progress.say(f"downloading {name} to {roots[0]}")
    try:
        roots[0].mkdir(parents=True, exist_ok=True)
        # torchvision prints each address, and the output of a command is for programs.
        with _socket_timeout(), contextlib.redirect_stdout(io.StringIO()):
            return _splits(maker, parameters, {**arguments, "root": str(roots[0]), "download": True})
    except (RuntimeError, OSError, EOFError, zlib.error) as error:  # URLError is an OSError
        reason = " ".join(str(error).split()) or type(error).__name__
        is_packed = hasattr(maker, "base_folder") and hasattr(maker, "url")
        files = (
            f"the folder {maker.base_folder} from {maker.url}" if is_packed else "its files, as torchvision keeps them,"
        )
        raise DataError(
            f"torchvision's {name} is missing or damaged in each of {', '.join(map(str, searched or roots))}, and it "
            f"could not be downloaded ({reason}). {remedy or f'Put {files} into {roots[0]}.'}"
        ) from error


@contextlib.contextmanager
def _socket_timeout(seconds: float = _DOWNLOAD_TIMEOUT_S) -> Iterator[None]:
    """Limit the waiting time of sockets within the context: urllib has no limit, and torchvision offers no option."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _parameters(maker: Any) -> set[str]:
    """Return the names of a class's arguments, also those that it passes on to the class that it is derived from."""
    found: set[str] = set()
    for each in maker.__mro__:
        if "__init__" in vars(each):
            parameters = inspect.signature(each.__init__).parameters.values()
            found |= {one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
            if not any(one.kind is one.VAR_KEYWORD for one in parameters):
                break
    return found - {"self"}


def _splits(maker: Any, parameters: set[str], arguments: dict[str, Any]) -> Made:
    """Return the set of each split that the class has. RuntimeError and OSError mean that files are missing."""
    given = {key: value for key, value in arguments.items() if key in parameters}
    if "train" in parameters and "train" not in given:
        return {"train": _made(maker, given, train=True), "test": _made(maker, given, train=False)}
    if "split" not in parameters or "split" in given:
        return {"train": _made(maker, given)}
    found = {}
    for title, names in SPLIT_NAMES.items():
        for name in (*names, "trainval") if title == "train" else names:
            try:
                found[title] = _made(maker, given, split=name)
                break
            except _UnknownValueError:
                continue
    if "train" not in found:
        raise DataError(f"torchvision's {maker.__name__} has no split to train on. Name one by data.arguments.")
    return found


class _UnknownValueError(Exception):
    """A set has no split of this name."""


def _made(maker: Any, given: Mapping[str, Any], **more: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of an old numpy, whose MD5 sums torchvision has compared
            return maker(**given, **more)
    except ValueError as error:
        if "split" in more:
            raise _UnknownValueError(str(error)) from error
        raise RecipeError(f"torchvision's {maker.__name__} refuses its arguments: {raised_text(error)}") from error
    except TypeError as error:
        raise RecipeError(f"torchvision's {maker.__name__} needs other arguments: {error}") from error
    except ModuleNotFoundError as error:
        raise DataError(f"torchvision's {maker.__name__} needs another package: {error}") from error


def _labels(class_name: str, sets: Made) -> tuple[SomeLabels, tuple[str, ...]]:
    """Return the labels of all splits in order, and the names of the classes."""
    targets = [_target(class_name, each, index) for each in sets.values() for index in range(len(each))]
    names = next((list(getattr(sets["train"], name)) for name in _CLASS_NAMES if hasattr(sets["train"], name)), None)
    if np.ndim(targets[0]):
        marks = np.array(targets)
        if not np.isin(marks, (0, 1)).all():
            raise DataError(f"torchvision's {class_name} is no set for classification: its targets are {targets[0]}.")
        titles = [str(name) for name in names or [] if name][: marks.shape[1]]
        return marks.astype(np.float32), tuple(titles or map(str, range(marks.shape[1])))
    labels = np.array(targets, dtype=np.int64)
    values = np.unique(labels)
    if names is not None and len(set(map(str, names))) == len(names) and values[-1] < len(names) and values[0] >= 0:
        return labels, tuple(map(str, names))
    return np.searchsorted(values, labels).astype(np.int64), tuple(map(str, values.tolist()))


def _target(class_name: str, each: Any, index: int) -> Any:
    """Return the target of an item, without decoding its picture where the set keeps targets apart."""
    for name in ("targets", "labels", "_labels", "y", "attr"):
        known = getattr(each, name, None)
        if known is not None and not callable(known) and len(known) == len(each):
            target = known[index]
            break
    else:
        target = each[index][1]
    found = np.asarray(target)
    if found.ndim > 1 or found.dtype.kind not in "iub":
        raise DataError(f"torchvision's {class_name} is no set for classification: its targets are {target!r:.80}.")
    return found if found.ndim else int(found)


@final
@dataclass(frozen=True, eq=False)
class _SetOfTorchvision(Source):
    """The pictures of a set, split after split."""

    class_name: str
    sets: tuple[Any, ...]
    arguments: tuple[Any, ...]

    @property
    def identity(self) -> Any:
        """The class, where its files lie, and the numbers of pictures. Torchvision's sets have one content each."""
        import torchvision

        return ["torchvision", torchvision.__version__, self.class_name, self.arguments, [len(s) for s in self.sets]]

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def name(self, index: int) -> str:
        return f"{self.class_name}[{index}]"

    def _picture(self, index: int) -> Any:
        for each in self.sets:
            if index < len(each):
                try:
                    return each[index][0]
                except (OSError, SyntaxError, ValueError) as error:
                    raise InputError(f"it cannot be read as an image: {error}") from error
            index -= len(each)
        raise IndexError(index)

    def header(self, index: int) -> Header:
        picture = self._picture(index)
        width, height = picture.size
        if orientation_of(picture) in ON_ITS_SIDE:
            width, height = height, width
        return Header(width, height, picture.mode in GREY_MODES)

    def pixels(self, index: int, frame: Frame) -> ImageArray:
        picture = self._picture(index)
        try:
            return pixels_of(picture, frame)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"it cannot be read as an image: {error}") from error
