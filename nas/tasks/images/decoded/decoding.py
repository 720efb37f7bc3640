"""Decoding pictures once, on all cores, and keeping the result. Broken ones are named and left out."""

from __future__ import annotations

import abc
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, final

import numpy as np
import PIL
import torch

from nas.errors import DataError
from nas.progress import Progress
from nas.tasks.batches import IntArray
from nas.tasks.broken_items import check_few, left_out, named
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.pictures import BILINEAR, Frame, quietly
from nas.tasks.images.arrays import ImageArray
from nas.tasks.images.decoded.pixel_cache import Entry, MappedPixels, PixelCache, PixelWriter
from nas.tasks.images.decoded.stored_images import Facts, PixelReader, StoredImages, facts_of, facts_type

LARGEST_BYTES = 2**28
"""The most memory that one decoded picture may take."""
LARGE_PIXELS = 512
"""Pictures with a longer side are scaled unless a size is asked for."""
USUAL_SIDES = (32, 48, 64, 96, 128)
"""Pictures that have to be scaled, though no size is asked for, get the largest of these that most of them have."""
TINY = 8
"""A picture whose shorter side is so many times smaller than that of a model's input shows nothing, which is told."""
FEWEST_PIXELS = 4
"""Pictures with a shorter side are told."""
GREY_MODES = {"1", "L", "LA", "I;16", "I;16B", "I;16L"}
"""Pillow's names of modes without colour. A grey PGM picture of 16 bits has another, which can also hold 32."""
_FORMAT = 4
"""It changes when the same settings give other pixels, or when entries are written in another way."""
_AT_ONCE = 64
"""So many pictures are in memory while they are decoded."""
Given = TypeVar("Given")
Found = TypeVar("Found")


class Header(NamedTuple):
    """What a picture's header says: its size as displayed, and whether it is grey."""

    width: int
    height: int
    is_grey: bool


class Source(abc.ABC):
    """Pictures that are decoded by their number."""

    @property
    @abc.abstractmethod
    def identity(self) -> Any:
        """Plain data that differ where the pictures do."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files in which the pictures lie, as far as they can be told of another place."""
        return ()

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """Return what a picture is called in messages."""

    @abc.abstractmethod
    def header(self, index: int) -> Header:
        """Return what a picture's header says. Raises InputError with the reason why it cannot be read."""

    @abc.abstractmethod
    def pixels(self, index: int, frame: Frame) -> ImageArray:
        """Return a picture's pixels, after looking for damage. Raises InputError with the reason if there is some."""

    def again(self, index: int, frame: Frame) -> ImageArray:
        """Return the pixels of a sound picture. Raises DataError if it is not as it was."""
        try:
            return self.pixels(index, frame)
        except InputError as error:
            raise DataError(f"a picture could be read before, but no longer: {self.name(index)} ({error}).") from error


@final
@dataclass(frozen=True)
class Decoded:
    """The decoded pictures of a source.

    Attributes:
        images: all of them, in order. Broken ones are black.
        broken: the reasons by number.
        is_scaled: True if they were cut and scaled.
        notes: what a user should know.
    """

    images: StoredImages
    broken: dict[int, str]
    is_scaled: bool
    notes: tuple[str, ...]

    @property
    def is_sound(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True for each picture that is not broken, shape (N,)."""
        mask = np.ones(len(self.images), dtype=np.bool_)
        mask[list(self.broken)] = False
        return mask


@final
@dataclass
class StreamedPixels:
    """Reads images by decoding them anew, with as many threads as torch has."""

    source: Source
    frame: Frame

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the source."""
        return self.source.files

    def __call__(self, indices: IntArray) -> ImageArray:
        """Return the images of these numbers. Raises DataError if one is not as it was."""
        images = np.empty((len(indices), *self.frame[:3]), dtype=np.uint8)
        with quietly(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            again = partial(self.source.again, frame=self.frame)
            for place, pixels in enumerate(pool.map(again, indices.tolist())):
                images[place] = pixels
        return images


def decoded(
    source: Source,
    image_size: int | None,
    progress: Progress,
    kept: float = 1.0,
    interpolation: str = BILINEAR,
) -> Decoded:
    """Return the pictures, each cut and scaled to ``image_size`` if that is set.

    If it is not, and they differ in size or are large, they are scaled to one of ``USUAL_SIDES``, which a note tells.
    ``kept`` and ``interpolation`` are those of a ``Frame``. Pictures are decoded if they were not before. Where the
    decoded pixels do not fit, each access decodes anew.

    Raises:
        DataError: more than MOST_BROKEN of them are broken.
    """
    cache = PixelCache.of_user()
    settings = [_FORMAT, PIL.__version__, image_size, source.identity]
    settings += [USUAL_SIDES, LARGE_PIXELS] if image_size is None else []
    settings += [] if (kept, interpolation) == (1.0, BILINEAR) else [kept, interpolation]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    making = _Making(source, image_size, (kept, interpolation), cache, key, progress)
    entry = making.found()
    if entry is None:
        try:
            with cache.alone(key, progress):
                entry = making.found() or making.made(cache)
        except OSError as error:
            entry = making.made(None, f"decoded pictures cannot be kept ({error})")
    about = entry.about
    shape: tuple[int, int, int] = tuple(about["shape"])
    frame = Frame(*shape, kept, interpolation)
    reader: PixelReader
    reader = StreamedPixels(source, frame) if entry.pixels is None else MappedPixels(entry.pixels, entry.use)
    broken = {int(index): reason for index, reason in about["broken"].items()}
    images = StoredImages(reader, shape, entry.facts)
    is_scaled = image_size is not None or bool(about.get("why_scaled"))
    return Decoded(images, broken, is_scaled, tuple(_notes(source, about, broken)))


@final
@dataclass
class _Making:
    """The decoding of a source into an entry of the cache."""

    source: Source
    image_size: int | None
    cut: tuple[float, str]
    cache: PixelCache
    key: str
    progress: Progress
    broken: dict[int, str] = field(default_factory=dict)
    why_scaled: str = field(default="", init=False)
    tiny: list[str] = field(default_factory=list, init=False)

    def found(self) -> Entry | None:
        """Return the entry; None if there is none, or if its pixels are missing although there is room for them."""
        entry = self.cache.find(self.key)
        if entry is None or entry.pixels is not None:
            return entry
        size = len(self.source) * math.prod(entry.about["shape"])
        return entry if self.cache.why_no_room(size) else None

    def made(self, cache: PixelCache | None, why_streamed: str | None = None) -> Entry:
        """Decode, and keep the result in ``cache`` if there is one."""
        self.broken.clear()
        shape = self._shape()
        count = len(self.source)
        if cache is None:
            facts = self._decode(shape, None)
            return Entry(self._about(shape, why_streamed), facts, None)
        writer = cache.writer(self.key, count, shape)
        try:
            why = cache.why_no_room(count * math.prod(shape))
            if why is not None:
                writer.drop_pixels(why)
            facts = self._decode(shape, writer)
            return writer.finish(self._about(shape, writer.failure), facts)
        except BaseException:
            writer.abandon()
            raise

    def _about(self, shape: tuple[int, int, int], why_streamed: str | None) -> dict[str, Any]:
        about: dict[str, Any] = {"shape": list(shape), "broken": self.broken, "why_streamed": why_streamed}
        about |= {"tiny": self.tiny} if self.tiny else {}
        return about | ({"why_scaled": self.why_scaled} if self.why_scaled else {})

    def _shape(self) -> tuple[int, int, int]:
        """Return the shape of all images, from their headers."""
        found = list(self._each("looking at pictures", self.source.header))
        headers = [each for each in found if each is not None]
        self._check_few()
        channels = 1 if all(header.is_grey for header in headers) else 3
        if self.image_size is not None:
            shape = (channels, self.image_size, self.image_size)
        elif not headers:
            raise DataError(f"there must be pictures, but all are broken: {named(reasons(self.source, self.broken))}.")
        else:
            self.why_scaled = _why_scaled(headers)
            side = _usual_side(headers)
            sides = (side, side) if self.why_scaled else (headers[0].height, headers[0].width)
            shape = (channels, *sides)
        check_picture_bytes(shape)
        small = ((n, each) for n, each in enumerate(found) if each and TINY * min(each[:2]) <= min(shape[1:]))
        self.tiny = [f"{self.source.name(n)} ({each.width}×{each.height})" for n, each in small]
        return shape

    def _decode(self, shape: tuple[int, int, int], writer: PixelWriter | None) -> Facts:
        """Decode all pictures that have a good header, and give them to the writer."""

        def with_facts(index: int) -> tuple[ImageArray, Facts]:
            pixels = np.ascontiguousarray(self.source.pixels(index, Frame(*shape, *self.cut)))
            return pixels, facts_of(pixels)

        facts: list[Facts] = []
        broken = np.zeros(shape, dtype=np.uint8), np.zeros((), facts_type(shape[0]))
        for result in self._each("reading pictures", with_facts):
            pixels, fact = result or broken
            facts.append(fact)
            if writer is not None:
                writer.add(pixels)
        self._check_few()
        return np.stack(facts)

    def _check_few(self) -> None:
        check_few(reasons(self.source, self.broken), len(self.source), "pictures")

    def _each(self, title: str, function: Callable[[int], Found]) -> Iterator[Found | None]:
        """Yield what the function gives for each picture; None for a broken one, whose reason is noted."""
        self.progress.stage(title, len(self.source))
        try:
            for start in range(0, len(self.source), _AT_ONCE):
                numbers = list(range(start, min(start + _AT_ONCE, len(self.source))))
                for number, result in zip(numbers, in_parallel(partial(self._tried, function), numbers), strict=True):
                    if isinstance(result, InputError):
                        self.broken[number] = _reason(result)
                    yield None if isinstance(result, InputError) else result
                self.progress.advance(len(numbers))
        finally:
            self.progress.close()

    def _tried(self, function: Callable[[int], Found], index: int) -> Found | InputError:
        if index in self.broken:
            return InputError(self.broken[index])
        try:
            return function(index)
        except InputError as error:
            return error


def in_parallel(function: Callable[[Given], Found], items: Sequence[Given]) -> list[Found]:
    """Return the function's results in order, found by a thread on each core. Pillow decodes outside Python's lock."""
    with quietly():  # for all threads: warnings' filters belong to the process
        return list(_pool().map(function, items))


_POOLS: dict[int, ThreadPoolExecutor] = {}


def _pool() -> ThreadPoolExecutor:
    """Return this process's threads. A fork has none of its parent's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _POOLS.setdefault(os.getpid(), ThreadPoolExecutor(cores, thread_name_prefix="pictures"))


def _reason(error: InputError) -> str:
    return str(error).removeprefix("it cannot be read as an image: ").rstrip(".")


def reasons(source: Source, broken: Mapping[int, str]) -> list[str]:
    """Return the names of broken pictures, with the reasons."""
    return [f"{source.name(index)} ({reason})" for index, reason in sorted(broken.items())]


def check_picture_bytes(shape: tuple[int, int, int]) -> None:
    """Raise DataError if one image of that shape takes more than LARGEST_BYTES."""
    size, (_, height, width) = math.prod(shape), shape
    if size > LARGEST_BYTES:
        raise DataError(
            f"a decoded image must fit into {LARGEST_BYTES / 2**20:.4g} MiB, but one of {width}×{height} pixels takes "
            f"{size / 2**20:,.0f} MiB. Set a lower image_size, for example by --set data.image_size=32."
        )


def _why_scaled(headers: Sequence[Header]) -> str:
    """Return why pictures have to be scaled though no size was asked for; empty if they need not."""
    smallest, largest = (find(headers, key=lambda each: each.width * each.height) for find in (min, max))
    if any(header[:2] != headers[0][:2] for header in headers):
        return f"differ in size, from {smallest.width}×{smallest.height} to {largest.width}×{largest.height} pixels"
    is_large = max(largest.width, largest.height) > LARGE_PIXELS
    return f"are large, {largest.width}×{largest.height} pixels" if is_large else ""


def _usual_side(headers: Sequence[Header]) -> int:
    """Return the largest of ``USUAL_SIDES`` that half of the pictures have, or else the smallest."""
    middle = float(np.median([min(header.width, header.height) for header in headers]))
    return max((side for side in USUAL_SIDES if side <= middle), default=USUAL_SIDES[0])


def _notes(source: Source, about: dict[str, Any], broken: dict[int, str]) -> Iterator[str]:
    """Yield sentences about what was left out, scaled, or is slow, and why."""
    yield from left_out(reasons(source, broken), len(source), "pictures")
    if about["why_streamed"] is not None:
        size = len(source) * math.prod(about["shape"]) / 2**30
        yield (
            f"decoded pictures take {size:.3g} GiB, but {about['why_streamed']}. So each batch is decoded anew, which "
            "slows down training. Make room, or set a lower image_size."
        )
    side = min(about["shape"][1:])
    if tiny := about.get("tiny"):
        yield (
            f"{len(tiny)} of {len(source)} pictures {'is' if len(tiny) == 1 else 'are'} at least {TINY} times smaller "
            f"than the {side} pixels that models see, and show next to nothing: {named(tiny)}. Remove what is no photo."
        )
    if side < FEWEST_PIXELS:
        yield f"pictures have a side of {side} pixels, so they show a few colours at most. Set a larger image_size."
    if about.get("why_scaled"):
        side = about["shape"][-1]
        yield (
            f"pictures {about['why_scaled']}, so their middle squares are scaled to {side} pixels. For another side, "
            f"use --set data.image_size={2 * side}."
        )
