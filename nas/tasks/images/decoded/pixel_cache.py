"""Decoded pictures in files that all processes of a machine share, in the folder ``pictures`` of the home."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import uuid
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, final

import numpy as np

from nas.errors import RecipeError
from nas.progress import Progress
from nas.storage.file_lock import HeldElsewhereError, take, waiting_for
from nas.storage.home import home
from nas.tasks.images.arrays import ImageArray
from nas.tasks.images.decoded.stored_images import Facts, facts_type

FOLDER = "pictures"
LIMIT = "NAS_CACHE_GIB"
"""The environment variable with the most GiB that all decoded pictures of a user may take on the disk."""
DEFAULT_GIB = 20.0
SPARE_BYTES = 2**30
"""The part of the disk that is left free."""
_ABOUT, _PIXELS, _FACTS = "about.json", "pixels.npy", "facts.npy"
_LOCK, _MAKING, _GONE, _USED = ".lock", ".making-", ".gone-", ".used-"
_ROOM = "room"


@final
class Use:
    """Keeps an entry from being removed, until this object or its process is gone.

    It is a file beside the entry that is locked. Raises OSError where the folder cannot be written.
    """

    def __init__(self, entry: Path) -> None:
        path = entry.with_name(f"{entry.name}{_USED}{os.getpid()}-{uuid.uuid4().hex[:8]}")
        try:
            lock = take(path)
        except HeldElsewhereError:  # by who looks if the entry is used, for a moment
            path = path.with_name(f"{path.name}-again")
            lock = take(path)
        self._finalizer = weakref.finalize(self, _end_use, lock, path)


def _end_use(lock: IO[str], path: Path) -> None:
    lock.close()
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _is_held(used: Path) -> bool:
    """Return True if a process holds the file of a use. One that a killed process has left is removed."""
    try:
        take(used).close()
    except OSError:  # held, or another user's
        return True
    used.unlink(missing_ok=True)
    return False


class Entry(NamedTuple):
    """Decoded pictures that were found.

    Attributes:
        about: plain data that their decoding recorded, such as "shape".
        facts: what is kept of each picture.
        pixels: the file with their pixels; None if these did not fit.
        use: what keeps the pixels from being removed; None where nothing can be written there.
    """

    about: dict[str, Any]
    facts: Facts
    pixels: Path | None
    use: Use | None = None


@final
@dataclass
class MappedPixels:
    """Reads images from a file, whose pages are shared by all processes that read it.

    ``use`` keeps the file where it is. A copy that was sent to another process has none: who sent it keeps the file.
    """

    path: Path
    use: Use | None = field(default=None, repr=False)
    _mapped: ImageArray | None = field(default=None, repr=False)

    def __call__(self, indices: np.ndarray[Any, np.dtype[np.int64]]) -> ImageArray:
        """Return a copy of the images of these numbers."""
        if self._mapped is None:
            self._mapped = np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))
        images: ImageArray = self._mapped[indices]
        return images

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "use": None, "_mapped": None}


@final
class PixelCache:
    """The folder of decoded pictures. Each entry is a folder of its own, whose name is its key."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    @classmethod
    def of_user(cls) -> PixelCache:
        """Return the cache in the user's home. Raises RecipeError if ``$NAS_CACHE_GIB`` is no number from 0."""
        text = os.environ.get(LIMIT) or str(DEFAULT_GIB)
        try:
            gib = float(text)
        except ValueError:
            gib = -1
        if not 0 <= gib < math.inf:
            raise RecipeError(f"{LIMIT} must be a number of GiB from 0, but got {text!r}.")
        return cls(home() / FOLDER, int(gib * 2**30))

    def find(self, key: str) -> Entry | None:
        """Return the entry, and note that it was used; None if there is none, or if it is damaged."""
        entry = self._folder / key
        use = self._use(entry) if entry.is_dir() else None
        try:
            about = json.loads((entry / _ABOUT).read_bytes())
            facts = np.load(entry / _FACTS, allow_pickle=False)
            if facts.dtype != facts_type(about["shape"][0]):
                return None
            pixels = entry / _PIXELS if about["has_pixels"] else None
            if pixels is not None:
                kept = np.load(pixels, mmap_mode="r", allow_pickle=False)
                if kept.shape != (len(facts), *about["shape"]) or kept.dtype != np.uint8:
                    return None
        except (OSError, EOFError, ValueError, KeyError, TypeError):  # an older or a damaged entry is made anew
            return None
        with contextlib.suppress(OSError):  # a shared home may be read-only
            os.utime(entry / _ABOUT)
        return Entry(about, facts, pixels, None if pixels is None else use)

    def _use(self, entry: Path) -> Use | None:
        try:
            return Use(entry)
        except OSError:  # a shared home may be read-only
            return None

    @contextlib.contextmanager
    def alone(self, key: str, progress: Progress) -> Iterator[None]:
        """Hold the lock of an entry, so that no other process makes it.

        Raises OSError if the folder cannot be made or locked.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = self._folder / f"{key}{_LOCK}"
        try:
            stream = take(lock)
        except HeldElsewhereError:
            progress.say("another process reads the same pictures: waiting for it")
            with waiting_for(lock):
                yield
        else:
            with stream:
                yield

    def why_no_room(self, size: int) -> str | None:
        """Return why pixels of that many bytes cannot be kept; None if they can be, after removing older entries."""
        if size > self._limit_bytes:
            return f"the limit {LIMIT} is {self._limit_bytes / 2**30:.4g} GiB"
        try:
            with waiting_for(self._folder / f"{_ROOM}{_LOCK}"):
                self._sweep()
                taken = self._make_room(size)
            free = shutil.disk_usage(self._folder).free - SPARE_BYTES
        except OSError as error:
            return f"the folder {self._folder} cannot be used ({error.strerror or error})"
        if taken + size > self._limit_bytes:
            used = f"{taken / 2**30:.3g} of the {self._limit_bytes / 2**30:.4g} GiB of the limit {LIMIT}"
            return f"pictures that other searches use take {used}"
        return None if size <= free else f"the disk of {self._folder} has room for {max(0, free) / 2**30:.3g} GiB"

    def _make_room(self, size: int) -> int:
        """Remove the entries that were not used for longest, until there is room within the limit and on the disk.

        Those that a process uses stay. Returns the bytes that all entries take then.
        """
        found = []
        for about in self._folder.glob(f"[!.]*/{_ABOUT}"):
            with contextlib.suppress(FileNotFoundError):
                pixels = about.with_name(_PIXELS)
                found.append((about.stat().st_mtime, pixels.stat().st_size if pixels.exists() else 0, about.parent))
        total = sum(taken for _, taken, _ in found)
        short = size + SPARE_BYTES - shutil.disk_usage(self._folder).free
        if short > total:
            return 0  # removing all of them would not do, which the disk's free bytes tell
        for _, taken, entry in sorted(found):
            if total + size <= self._limit_bytes and short <= 0:
                break
            if taken and self._remove(entry):
                total, short = total - taken, short - taken
        return total

    def _remove(self, entry: Path) -> bool:
        """Remove an entry that nobody uses, and return True. Windows refuses to remove a file that is open."""
        if self._is_used(entry):
            return False
        gone = entry.with_name(f"{_GONE}{entry.name}")
        try:
            os.replace(entry, gone)
            if self._is_used(entry):  # since a moment ago
                os.replace(gone, entry)
                return False
        except OSError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _is_used(self, entry: Path) -> bool:
        """Return True if a process uses an entry. What processes that were killed have left of their use is removed."""
        return any(_is_held(used) for used in self._folder.glob(f"{entry.name}{_USED}*"))

    def _sweep(self) -> None:
        """Remove what killed processes have left behind."""
        for gone in self._folder.glob(f"{_GONE}*"):
            shutil.rmtree(gone, ignore_errors=True)
        for used in self._folder.glob(f"*{_USED}*"):
            _is_held(used)
        for making in self._folder.glob(f"{_MAKING}*"):
            with contextlib.suppress(HeldElsewhereError), take(self._lock_of(making)):
                shutil.rmtree(making, ignore_errors=True)

    def _lock_of(self, making: Path) -> Path:
        return making.with_name(f"{making.name.removeprefix(_MAKING)}{_LOCK}")

    def writer(self, key: str, count: int, shape: tuple[int, int, int]) -> PixelWriter:
        """Return what writes the entry, whose lock the caller holds. Raises OSError if it cannot be begun."""
        making = self._folder / f"{_MAKING}{key}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        return PixelWriter(making, self._folder / key, count, shape)


@final
class PixelWriter:
    """Writes an entry beside its place, and renames it at the end: a killed process leaves no half of one."""

    def __init__(self, making: Path, entry: Path, count: int, shape: tuple[int, int, int]) -> None:
        self._making = making
        self._entry = entry
        self._stream = (making / _PIXELS).open("xb")
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(self._stream, header)
        self.failure: str | None = None

    def add(self, images: ImageArray) -> None:
        """Write the next images. If the disk is full, ``failure`` says so, and no pixels are kept."""
        if self.failure is None:
            try:
                self._stream.write(images.data)
            except OSError as error:  # not a map of the file: writing to one ends the process if the disk is full
                self.drop_pixels(f"the pictures cannot be written to {self._making.parent} ({error.strerror})")

    def drop_pixels(self, why: str) -> None:
        """Keep no pixels, and say why."""
        self.failure = why
        with contextlib.suppress(OSError):
            self._stream.close()
        (self._making / _PIXELS).unlink(missing_ok=True)

    def finish(self, about: Mapping[str, Any], facts: Facts) -> Entry:
        """Put the entry in its place and return it. Raises OSError if that fails."""
        if self.failure is None:
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._stream.close()
            except OSError as error:
                self.drop_pixels(f"the pictures cannot be written to {self._making.parent} ({error.strerror})")
        whole = {**about, "has_pixels": self.failure is None}
        with (self._making / _FACTS).open("xb") as stream:
            np.save(stream, facts, allow_pickle=False)
        (self._making / _ABOUT).write_text(json.dumps(whole), encoding="utf-8")
        use = None
        if self.failure is None:
            with contextlib.suppress(OSError):
                use = Use(self._entry)  # first, so that nobody removes the entry in between
        shutil.rmtree(self._entry, ignore_errors=True)
        os.replace(self._making, self._entry)
        return Entry(whole, facts, self._entry / _PIXELS if self.failure is None else None, use)

    def abandon(self) -> None:
        """Remove what was written so far."""
        with contextlib.suppress(OSError):
            self._stream.close()
        shutil.rmtree(self._making, ignore_errors=True)
