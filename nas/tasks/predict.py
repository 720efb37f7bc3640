#!/usr/bin/env python3
"""Classify pictures with the model in this folder. It needs numpy, onnxruntime and Pillow, and nothing else.

    python predict.py photo.jpg another.png folder images.npy

Each picture is prepared as the tested ones were: architecture.json says how, under "preparation".
An .npy file holds pixels, uint8 of shape (N, channels, height, width), in the model's size.
Each picture gives one line: its name, its class and the probability, with tabs between them.
As a module:

    from predict import Classifier
    probabilities = Classifier().predict(["photo.jpg", "another.png"])    # shape (2, classes)
"""

# The search itself prepares pictures by this code, so a deployed model gets the same pixels as the tested one.

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import struct
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Inputs = str | Path | Sequence[str | Path] | Pixels

HERE = Path(__file__).resolve().parent
ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Files with these endings are the pictures of a folder."""
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""The formats that are read: none of them starts another program."""
CAMERA_FORMATS = ("JPEG", "MPO")
"""Formats whose pictures may be stored rotated. MPO is JPEG with several pictures."""
COLOURS = {1: "L", 3: "RGB"}
"""Pillow's mode by the number of channels."""
AT_ONCE = 64
"""About so many pictures are read before they are classified, so that a large folder needs little memory."""


class InputError(ValueError):
    """An input that cannot be used. The message says which, why, and what to do."""


# Pictures


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture of one of ``FORMATS``. Raises InputError with the file's name."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is not used
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} is too large an image: {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} cannot be read as an image: it is none of {', '.join(FORMATS)}.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error


def pixels_of(image: Image.Image, channels: int, height: int, width: int) -> Pixels:
    """Return an opened picture as models are trained on it: uint8 of shape (channels, height, width)."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image) if image.format in CAMERA_FORMATS else image
    if upright.mode.startswith("I;16"):  # the upper eight bits: Pillow's own conversion clips at 255
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    elif upright.mode in ("I", "F"):
        raise ValueError("pictures must have 8 or 16 bits per channel, but this one has 32")
    picture = ImageOps.fit(upright.convert(COLOURS[channels]), (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


# Preparation


@dataclass(frozen=True)
class Preparation:
    """The way from a picture to a model's input.

    Attributes:
        channels: 1 for grey, 3 for colour; arrays may have others.
        height: the height of the input in pixels.
        width: the width of the input in pixels.
        crop: True if tested pictures were cut to this shape and scaled, False if they had it, None if it is unknown.
        mean: the mean of each channel, for values from 0 to 1.
        std: the standard deviation of each channel.
    """

    channels: int
    height: int
    width: int
    crop: bool | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Preparation:
        """Return the preparation that an ``architecture.json`` records; versions before 0.7 recorded a part of it."""
        channels, height, width = about["input_shape"]
        crop = about["preparation"]["crop"] if "preparation" in about else None
        return cls(channels, height, width, crop, tuple(about["mean"]), tuple(about["std"]))

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data, for programs and in words."""
        return {
            "orientation": "EXIF, of JPEG files",
            "mode": COLOURS.get(self.channels),
            "height": self.height,
            "width": self.width,
            "crop": self.crop,
            "crop_anchor": "centre",
            "resampling": "bilinear, with antialiasing",
            "divide_by": 255,
            "mean": list(self.mean),
            "std": list(self.std),
            "layout": "NCHW",
            "dtype": "float32",
            "in_words": self.in_words,
        }

    @property
    def in_words(self) -> list[str]:
        """The steps, in order."""
        size = f"{self.width} × {self.height} pixels (width × height)"
        colour = {1: "grey", 3: "RGB, without transparency"}.get(self.channels, f"{self.channels} channels")
        scale = "cut out the largest part in the middle that has this shape, and scale it: bilinear, with antialiasing."
        same = "" if self.crop else ", as all tested pictures have. From one of another size,"
        return [
            "Take the first frame of the file. Turn a JPEG picture upright by its EXIF orientation.",
            f"Keep the upper 8 of 16 bits. Convert the picture to {colour}.",
            f"Give it {size}{same or ':'} {scale}",
            "Divide by 255. From each channel, subtract its mean, and divide by its standard deviation.",
            "Order the axes as (picture, channel, height, width), and use 32-bit floats.",
        ]

    def read(self, path: Path) -> Pixels:
        """Return the pixels of a picture file, uint8 of shape (channels, height, width).

        Raises:
            InputError: the file cannot be read as a picture, or the model takes no pictures.
        """
        if self.crop is None or self.channels not in COLOURS:
            known = f"it takes {self.channels} channels, but a picture has 1 or 3"
            reason = known if self.crop is not None else "its version did not record how"
            shape = f"(N, {self.channels}, {self.height}, {self.width})"
            raise InputError(
                f"{path} cannot be prepared for this model: {reason}. Pass pixels, uint8 of shape {shape}."
            )
        with opened(path) as image:
            pixels = pixels_of(image, self.channels, self.height, self.width)
        if not self.crop and image.size not in ((self.width, self.height), (self.height, self.width)):
            warnings.warn(
                f"all tested pictures had {self.width}×{self.height} pixels. Others are cut and scaled to that size.",
                stacklevel=2,
            )
        return pixels

    def pixels(self, inputs: Inputs) -> Pixels:
        """Return pixels of the model's shape, (N, channels, height, width), from pictures or from such pixels.

        ``inputs`` is the path of a picture or of a folder of pictures, several such paths, or an array.

        Raises:
            InputError: a picture cannot be read, or the array has another type or shape.
        """
        if isinstance(inputs, np.ndarray):
            return self.checked(inputs)
        paths = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
        if not all(isinstance(path, (str, Path)) for path in paths):
            return self.checked(np.asarray(inputs))
        found = [self.read(picture) for path in paths for picture in pictures_in(Path(path))]
        return np.stack(found) if found else np.zeros((0, self.channels, self.height, self.width), np.uint8)

    def checked(self, images: npt.NDArray[Any]) -> Pixels:
        """Return an array of pixels with the axis of channels. Raises InputError for another type or shape."""
        shape = (self.channels, self.height, self.width)
        if images.ndim == 3 and self.channels == 1:
            images = images[:, None]
        if images.dtype == np.uint8 and images.shape[1:] == shape:
            return images
        hint = ""
        if images.shape[1:] == (*shape[1:], shape[0]):
            hint = " Put the channels first: images.transpose(0, 3, 1, 2)."
        elif images.dtype.kind == "f":
            hint = " Floats within [0, 1] become pixels by np.rint(255 * images).astype(np.uint8)."
        raise InputError(
            f"images must be uint8 of shape (N, {', '.join(map(str, shape))}), "
            f"but got {images.dtype} of shape {images.shape}.{hint}"
        )

    def scaled(self, images: Pixels) -> Float32Array:
        """Return pixels as the model's input: divided by 255, and normalised by the mean and standard deviation."""
        mean = np.asarray(self.mean, dtype=np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std, dtype=np.float32).reshape(1, -1, 1, 1)
        scaled: Float32Array = (images.astype(np.float32) / np.float32(255) - mean) / std
        return scaled


def pictures_in(path: Path) -> list[Path]:
    """Return a picture's path, or those of all pictures below a folder, sorted. Raises InputError if there is none."""
    if os.path.isfile(path):  # not a named pipe, whose reading would wait for ever
        return [path]
    if not os.path.isdir(path):
        raise InputError(f"there is no file or folder {path}.")
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(ENDINGS) and not name.startswith(".") and os.path.isfile(os.path.join(folder, name))
    ]
    if not found:
        raise InputError(f"the folder {path} has no pictures, which end in {', '.join(ENDINGS)}.")
    return sorted(found)


def probabilities_of(logits: Float32Array) -> Float32Array:
    """Return the softmax of the model's outputs, shape (N, classes)."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Float32Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


# The model


class Classifier:
    """The model in a folder, with the preparation of its inputs. It runs the deployed file if that is an ONNX file.

    Raises InputError if a file is missing or damaged.
    """

    def __init__(self, folder: Path = HERE) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # must be set before the import: no usage statistics
        import onnxruntime

        try:
            about = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
            self.classes: list[str] = about["classes"]
            self.batch: int = about["batch"]
            self.preparation = Preparation.of(about)
            is_onnx = about["deployed"].endswith(".onnx")
            file = folder / (about["deployed"] if is_onnx else "model.onnx")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"{type(error).__name__}: {error}"
            raise InputError(f"predict.py needs the architecture.json of a winner beside it ({text}).") from error
        if not is_onnx:
            told = f"this runs model.onnx, not {about['deployed']}, which was tested and measured on {about['target']}."
            warnings.warn(told, stacklevel=2)
        if not file.is_file():
            raise InputError(f"the model must lie beside predict.py, but there is no {file}.")
        try:
            self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            text = " ".join(str(error).split())
            raise InputError(f"onnxruntime {onnxruntime.__version__} cannot load {file}: {text}") from error
        self.input = self.session.get_inputs()[0].name

    def predict(self, inputs: Inputs) -> Float32Array:
        """Return the probabilities of the classes, shape (N, classes).

        ``inputs`` is the path of a picture or of a folder of pictures, several such paths, or uint8 pixels of shape
        (N, channels, height, width). Raises InputError if one cannot be used.
        """
        return probabilities_of(self.logits(inputs))

    def logits(self, inputs: Inputs) -> Float32Array:
        """Return the model's outputs for the same inputs, before the softmax, shape (N, classes)."""
        scaled = self.preparation.scaled(self.preparation.pixels(inputs))
        missing = -len(scaled) % self.batch
        padded = np.concatenate([scaled, np.zeros((missing, *scaled.shape[1:]), np.float32)])
        parts = [
            self.session.run(None, {self.input: padded[start : start + self.batch]})[0]
            for start in range(0, len(padded), self.batch)
        ]
        return np.concatenate(parts)[: len(scaled)] if parts else np.zeros((0, len(self.classes)), np.float32)


# The command line


def named_pixels(path: Path, preparation: Preparation) -> Iterator[tuple[str, Pixels | InputError]]:
    """Yield the name and the pixels of each picture of a file or folder, or the reason why it cannot be used."""
    try:
        pictures = pictures_in(path)
        if path.suffix.lower() == ".npy" and pictures == [path]:
            yield from ((f"{path}[{n}]", image) for n, image in enumerate(_saved_pixels(path, preparation)))
            return
    except InputError as error:
        yield str(path), error
        return
    for picture in pictures:
        try:
            yield str(picture), preparation.read(picture)
        except InputError as error:
            yield str(picture), error


def _saved_pixels(path: Path, preparation: Preparation) -> Pixels:
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        if not getattr(images, "size", 0):  # an .npz file has no size
            raise ValueError("it holds no array of images")
        return preparation.checked(images)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"{path} cannot be used as an array of pixels: {error}") from error


def classify(classifier: Classifier, paths: Iterable[Path], as_json: bool) -> int:
    """Print a line for each picture. Return the exit status of ``main``; standard error says what cannot be used."""
    together = max(1, AT_ONCE // classifier.batch) * classifier.batch
    waiting: list[tuple[str, Pixels]] = []
    classified = unusable = 0
    for path in paths:
        for name, pixels in named_pixels(path, classifier.preparation):
            if isinstance(pixels, InputError):
                unusable += 1
                print(f"error: {pixels}", file=sys.stderr)
                continue
            classified += 1
            waiting.append((name, pixels))
            if len(waiting) == together:
                print_classes(classifier, waiting, as_json)
                waiting = []
    print_classes(classifier, waiting, as_json)
    return 0 if not unusable else 1 if classified else 2


def print_classes(classifier: Classifier, named: Sequence[tuple[str, Pixels]], as_json: bool) -> None:
    """Classify pictures and print a line for each."""
    if not named:
        return
    logits = classifier.logits(np.stack([pixels for _, pixels in named]))
    for (name, _), outputs, row in zip(named, logits, probabilities_of(logits), strict=True):
        best = classifier.classes[int(row.argmax())]
        if as_json:
            by_class = {title: float(value) for title, value in zip(classifier.classes, row, strict=True)}
            line = {"input": name, "class": best, "probabilities": by_class, "logits": [float(x) for x in outputs]}
            print(json.dumps(line))
        else:
            print(f"{name}\t{best}\t{row.max():.4f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return its exit status: 1 if a picture cannot be used, 2 if none can, else 0."""
    description, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="predict.py",
        description=description,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="a picture, a folder of them, or an .npy")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each, with all probabilities")
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            notes: set[str] = set()
            warnings.showwarning = lambda message, *_: notes.add(str(message))
            status = classify(Classifier(), options.inputs, options.json)
        print(*(f"note: {note}\n" for note in sorted(notes)), sep="", end="", file=sys.stderr)
        return status
    except (InputError, ModuleNotFoundError) as error:
        more = "" if isinstance(error, InputError) else ". Install what it needs: pip install numpy onnxruntime pillow"
        print(f"error: {error}{more}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may have characters that the terminal lacks
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
