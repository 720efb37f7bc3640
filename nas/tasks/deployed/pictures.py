"""Preparing pictures for a model: reading files, cutting, scaling and normalising."""

# The search prepares pictures by this code too, so a deployed model gets the same pixels as the tested one.

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.tasks.deployed.inputs import Arrays, InputError, Named, ReadsArrays

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

PACKAGES = ("pillow",)
"""What pip installs to read pictures."""
ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Files with these endings are the pictures of a folder."""
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""The formats that are read: none of them starts another program."""
JPEG_FORMATS = ("JPEG", "MPO")
"""MPO is JPEG with several pictures."""
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""By EXIF orientation, Pillow's name of what turns a picture upright."""
ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
_ORIENTATION = 0x0112
COLOURS = {1: "L", 3: "RGB"}
"""Pillow's mode by the number of channels."""
BILINEAR = "bilinear"
INTERPOLATIONS = ("nearest", BILINEAR, "bicubic", "lanczos", "box", "hamming")
"""Pillow's ways of scaling, by their names in lower case."""


class Frame(NamedTuple):
    """The form into which a picture is brought.

    Attributes:
        channels: 1 for grey, 3 for colour.
        height: in pixels.
        width: in pixels.
        kept: of the largest part in the middle that has this shape, the share of each side that is kept.
        interpolation: how it is scaled, one of ``INTERPOLATIONS``.
    """

    channels: int
    height: int
    width: int
    kept: float = 1.0
    interpolation: str = BILINEAR


# Pictures


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Ignore warnings about damaged metadata, which are not used. Not for several threads at once."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def opened(path: Path, name: str | None = None) -> Iterator[Image.Image]:
    """Open a picture of one of ``FORMATS``, within ``quietly``. Raises InputError with the file's path or ``name``."""
    from PIL import Image, UnidentifiedImageError

    name = name or str(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{name} is too large an image: {error}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} cannot be read as an image: it is none of {', '.join(FORMATS)}.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise InputError(f"{name} cannot be read as an image: {error}") from error


def orientation_of(image: Image.Image) -> int:
    """Return a picture's EXIF orientation; 1 if it has none. PNG pictures are decoded, whose data may follow pixels.

    Damaged EXIF data count as none: the pixels beside them are sound.
    """
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1
    return int(found) if found in TURNS else 1


def is_wide_pgm(image: Image.Image) -> bool:
    """Return True for a grey picture of 16 bits in a PGM file, which Pillow opens in its mode for 32 bits."""
    return image.format == "PPM" and image.mode == "I"


def pixels_of(image: Image.Image, frame: Frame) -> Pixels:
    """Return an opened picture as models are trained on it: uint8 of shape (channels, height, width)."""
    from PIL import Image, ImageOps

    image.load()  # turns a TIFF picture upright, and then it has no orientation any more
    turn = TURNS.get(orientation_of(image))
    upright = image if turn is None else image.transpose(Image.Transpose[turn])
    if upright.mode.startswith("I;16") or is_wide_pgm(image):  # the upper eight bits: Pillow itself clips at 255
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    elif upright.mode in ("I", "F"):
        raise ValueError("pictures must have 8 or 16 bits per channel, but this one has 32")
    method = Image.Resampling[frame.interpolation.upper()]
    size, border = (frame.width, frame.height), (1 - frame.kept) / 2
    picture = ImageOps.fit(upright.convert(COLOURS[frame.channels]), size, method, bleed=border)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


# Preparation


@dataclass(frozen=True)
class PicturePreparation(ReadsArrays):
    """The way from a picture to a model's input.

    Attributes:
        channels: 1 for grey, 3 for colour; arrays may have others.
        height: the height of the input in pixels.
        width: the width of the input in pixels.
        crop: True if tested pictures were cut to this shape and scaled, False if they had it, None if it is unknown.
        mean: the mean of each channel, for values from 0 to 1.
        std: the standard deviation of each channel.
        kept: of the part that is cut out, the share of each side that is kept.
        interpolation: how it is scaled, one of ``INTERPOLATIONS``.
    """

    endings = ENDINGS
    noun = "pictures"
    channels: int
    height: int
    width: int
    crop: bool | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kept: float = 1.0
    interpolation: str = BILINEAR

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> PicturePreparation:
        """Return the preparation that an ``architecture.json`` records; versions before 0.7 recorded a part of it."""
        stored = about.get("preparation", {})
        if "channels" in stored:
            shape = stored["channels"], stored["height"], stored["width"]
            cut = float(stored.get("kept", 1.0)), str(stored.get("interpolation", BILINEAR))  # both since 0.9
            return cls(*shape, stored["crop"], tuple(stored["mean"]), tuple(stored["std"]), *cut)
        channels, height, width = about["input_shape"]
        return cls(channels, height, width, stored.get("crop"), tuple(about["mean"]), tuple(about["std"]))

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data, for programs and in words."""
        return {
            "orientation": "EXIF",
            "mode": COLOURS.get(self.channels),
            "channels": self.channels,
            "height": self.height,
            "width": self.width,
            "crop": self.crop,
            "crop_anchor": "centre",
            "resampling": self._resampling,
            "kept": self.kept,
            "interpolation": self.interpolation,
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
        part = "the largest part in the middle that has this shape"
        cut = f"cut out {part}" if self.kept == 1 else f"cut out the middle {100 * self.kept:.4g} % (by side) of {part}"
        scale = f"{cut}, and scale it: {self._resampling}."
        same = "" if self.crop else ", as all tested pictures have. From one of another size,"
        return [
            "Take the first frame of the file. Turn it upright by its EXIF orientation, in any format.",
            f"Keep the upper 8 of 16 bits. Convert the picture to {colour}.",
            f"Give it {size}{same or ':'} {scale}",
            "Divide by 255. From each channel, subtract its mean, and divide by its standard deviation.",
            "Order the axes as (picture, channel, height, width), and use 32-bit floats.",
        ]

    @property
    def frame(self) -> Frame:
        """The form into which pictures are brought."""
        return Frame(self.channels, self.height, self.width, self.kept, self.interpolation)

    @property
    def _resampling(self) -> str:
        return self.interpolation if self.interpolation == "nearest" else f"{self.interpolation}, with antialiasing"

    def picture(self, path: Path) -> Pixels:
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
        with quietly(), opened(path) as image:
            pixels = pixels_of(image, self.frame)
        if not self.crop and image.size not in ((self.width, self.height), (self.height, self.width)):
            warnings.warn(
                f"all tested pictures had {self.width}×{self.height} pixels. Others are cut and scaled to that size.",
                stacklevel=2,
            )
        return pixels

    def file_items(self, path: Path) -> Named:
        """Return the name and the pixels of a picture. Raises InputError if it is none."""
        return iter([(str(path), (self.picture(path),))])

    @property
    def nothing(self) -> Arrays:
        """The pixels of no pictures."""
        return (np.zeros((0, self.channels, self.height, self.width), np.uint8),)

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

    def prepared(self, raw: Arrays) -> Arrays:
        """Return pixels as the model's input: divided by 255, and normalised by the mean and standard deviation."""
        mean = np.asarray(self.mean, dtype=np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std, dtype=np.float32).reshape(1, -1, 1, 1)
        (images,) = raw
        scaled: Float32Array = (images.astype(np.float32) / np.float32(255) - mean) / std
        return (scaled,)


def preparation_of(about: Mapping[str, Any]) -> PicturePreparation:
    """Return the preparation that an ``architecture.json`` records."""
    return PicturePreparation.of(about)
