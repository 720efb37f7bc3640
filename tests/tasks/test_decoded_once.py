"""Pictures are decoded once for all processes, or for each batch where they do not fit, always to the same pixels."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.errors import DataError, RecipeError
from nas.storage.home import home
from nas.tasks.batches import items_at
from nas.tasks.images.decoded import pixel_cache
from nas.tasks.images.decoded.picture_files import PictureFiles
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data
from nas.tasks.images.splits import Split

SIZE = 8


def write_photos(root: Path, count: int = 12) -> Path:
    """Write two classes of noise in two sizes; two pictures are equal."""
    rng = np.random.default_rng(0)
    for title in ("cat", "dog"):
        (root / title).mkdir(parents=True)
        for index in range(count):
            size = (20 + index % 2, 16, 3)
            Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(root / title / f"{index}.jpg")
    shutil.copy(root / "cat" / "1.jpg", root / "dog" / "1.jpg")
    return root


@pytest.fixture(name="photos")
def photos_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos, and a home of this test's own."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    return write_photos(tmp_path / "photos")


def load(root: Path) -> Images:
    return load_data(f"folder:{root}", image_size=SIZE)


def entries() -> list[Path]:
    """The folders in the cache that hold pixels."""
    return [path.parent for path in (home() / "pictures").glob("[!.]*/pixels.npy")]


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a picture was read")

    monkeypatch.setattr(PictureFiles, "header", refuse)
    monkeypatch.setattr(PictureFiles, "pixels", refuse)


class TestKept:
    def test_pictures_are_read_once(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A second load opens no picture, and neither do the fingerprint, the moments and the warnings."""
        (photos / "cat" / "broken.jpg").write_bytes(b"no picture")
        first = load(photos)
        forbid_decoding(monkeypatch)
        again = load(photos)
        assert (again.fingerprint, again.warnings) == (first.fingerprint, first.warnings)
        assert again.mean.tolist() == first.mean.tolist()
        np.testing.assert_array_equal(np.asarray(again.train.images), np.asarray(first.train.images))
        assert "cat/broken.jpg" in again.notes[0]

    def test_what_is_kept_agrees_with_the_pixels(self, photos: Path) -> None:
        """Fingerprints stay those of earlier versions, which held all pixels in memory."""
        data = load(photos)
        held = {title: getattr(data, title) for title in ("train", "validation", "test")}
        in_memory = replace(data, **{k: Split(np.asarray(v.images), v.labels) for k, v in held.items()})
        assert in_memory.fingerprint == data.fingerprint
        assert in_memory.warnings == data.warnings
        assert "1 picture is in more than one class" in data.warnings[-1]
        np.testing.assert_array_equal(in_memory.mean, data.mean)
        np.testing.assert_array_equal(in_memory.std, data.std)
        assert (data.memory_bytes, in_memory.memory_bytes) == (0, 24 * 3 * SIZE * SIZE)

    def test_what_changes_is_read_anew(self, photos: Path) -> None:
        """Another size of pictures, a new picture and one with other content; not a new label."""
        before = load(photos)
        assert len(entries()) == 1
        load_data(f"folder:{photos}", image_size=SIZE + 1)
        Image.new("RGB", (30, 30), (255, 0, 0)).save(photos / "cat" / "3.jpg")
        changed = load(photos)
        assert changed.fingerprint != before.fingerprint
        assert len(entries()) == 3

    def test_a_worker_gets_no_copy(self, photos: Path) -> None:
        """A task that was loaded weighs little when it is sent, and reads the same pixels elsewhere."""
        data = load(photos)
        items_at(data.train, slice(0, 2))
        sent = pickle.dumps(data.train)
        assert len(sent) < 8000
        (images,) = items_at(pickle.loads(sent), slice(0, 5)).raw
        np.testing.assert_array_equal(images.numpy(), data.train.images[:5])

    @pytest.mark.parametrize("file", ["about.json", "facts.npy", "pixels.npy"])
    def test_a_damaged_entry_is_made_anew(self, photos: Path, file: str) -> None:
        data = load(photos)
        (entry,) = entries()
        (entry / file).write_bytes((entry / file).read_bytes()[:20])
        assert load(photos).fingerprint == data.fingerprint
        assert json.loads((entry / "about.json").read_text())["has_pixels"]

    def test_filters_of_warnings_stay(self, photos: Path) -> None:
        """Threads share them."""
        before = list(warnings.filters)
        load(photos)
        assert warnings.filters == before


class TestStreamed:
    @pytest.fixture(autouse=True)
    def _no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAS_CACHE_GIB", "0")

    def test_pixels_are_the_same(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only the time differs, and a note says so. Facts about the pictures are kept all the same."""
        data = load(photos)
        assert entries() == []
        assert "but the limit NAS_CACHE_GIB is 0 GiB. So each batch is decoded anew" in data.notes[0]
        (images,) = items_at(data.train, np.array([5, 2, 2])).raw
        with monkeypatch.context() as patch:
            forbid_decoding(patch)
            assert load(photos).fingerprint == data.fingerprint
        monkeypatch.delenv("NAS_CACHE_GIB")
        kept = load(photos)
        assert (len(entries()), any("anew" in note for note in kept.notes)) == (1, False)
        assert kept.fingerprint == data.fingerprint
        np.testing.assert_array_equal(images.numpy(), kept.train.images[np.array([5, 2, 2])])

    def test_a_file_that_disappears_is_named(self, photos: Path) -> None:
        """So is one that has changed."""
        data = load(photos)
        (photos / "cat" / "0.jpg").unlink()
        with pytest.raises(DataError, match=r"must stay as they are during a search, but .*cat/0.jpg is no longer"):
            np.asarray(data.train.images), np.asarray(data.test.images), np.asarray(data.validation.images)
        (photos / "cat" / "0.jpg").write_bytes(b"other")
        with pytest.raises(DataError, match=r"cat/0.jpg has changed. Restore it"):
            np.asarray(data.train.images), np.asarray(data.test.images), np.asarray(data.validation.images)

    def test_the_limit_is_checked(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAS_CACHE_GIB", "much")
        with pytest.raises(RecipeError, match="NAS_CACHE_GIB must be a number of GiB from 0, but got 'much'"):
            load(photos)


class TestRoom:
    def test_the_oldest_are_removed(self, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those that were used last stay, within the limit."""
        others = [write_photos(tmp_path / f"more{number}") for number in range(2)]
        monkeypatch.setenv("NAS_CACHE_GIB", str(2.5 * 24 * 3 * SIZE * SIZE / 2**30))
        load(photos)
        load(others[0])
        (first, second) = sorted(entries(), key=lambda entry: (entry / "about.json").stat().st_mtime)
        for age, entry in ((100, first), (200, second)):
            stamp = time.time() - age
            os.utime(entry / "about.json", (stamp, stamp))
        load(photos)
        load(others[1])
        assert len(entries()) == 2
        assert first in entries()
        assert second not in entries()

    @pytest.mark.slow
    def test_those_that_a_search_uses_stay(self, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A search sends its workers the path alone, and they open the file later. Killed users are forgotten."""
        monkeypatch.setenv("NAS_CACHE_GIB", str(1.5 * 24 * 3 * SIZE * SIZE / 2**30))
        used = load(photos)
        sent = pickle.dumps(used)
        other = write_photos(tmp_path / "more")
        note = load(other).notes[0]
        assert "pictures that other searches use take" in note
        assert pickle.loads(sent).train.images[0].shape == (3, SIZE, SIZE)
        del used
        code = (
            "import os, sys; from nas.tasks.images.loading import load_data; "
            f"data = load_data(sys.argv[1], image_size={SIZE}); os.kill(os.getpid(), 9)"
        )
        subprocess.run([sys.executable, "-c", code, f"folder:{photos}"], check=False)
        (kept,) = entries()
        assert len(list((home() / "pictures").glob("*.used-*"))) == 1
        load(other)
        assert entries() != [kept]
        assert list((home() / "pictures").glob("*.used-*")) == []

    def test_a_full_disk_is_seen_before(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Usage:
            free = pixel_cache.SPARE_BYTES + 10

        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
        assert "has room for 9.31e-09 GiB. So each batch" in load(photos).notes[0]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
    def test_a_disk_that_fills_up_is_no_end(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pictures are then decoded for each batch."""
        real = np.lib.format.write_array_header_1_0

        def to_full_disk(stream: Any, header: Any) -> None:
            real(stream, header)
            os.dup2(os.open("/dev/full", os.O_WRONLY), stream.fileno())

        monkeypatch.setattr(np.lib.format, "write_array_header_1_0", to_full_disk)
        data = load(photos)
        assert "(No space left on device)" in data.notes[0]
        assert (entries(), data.train.images[0].shape) == ([], (3, SIZE, SIZE))

    def test_a_home_that_is_none_is_told(self, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Nothing could be kept there, neither pictures nor measurements."""
        (tmp_path / "file").touch()
        monkeypatch.setenv("NAS_HOME", str(tmp_path / "file"))
        with pytest.raises(RecipeError, match="NAS_HOME must be a folder"):
            load(photos)


PROGRAM = """
import os, sys, time
from pathlib import Path
from nas.tasks.images.decoded.picture_files import PictureFiles
from nas.tasks.images.loading import load_data
real = PictureFiles.pixels
def slowly(self, index, shape):
    with open(sys.argv[2], "a") as log:
        log.write(f"{os.getpid()}\\n")
    time.sleep(0.05)
    return real(self, index, shape)
PictureFiles.pixels = slowly
print(load_data(f"folder:{sys.argv[1]}", image_size=8).fingerprint)
"""


def start(photos: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(photos), str(log)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


class TestSeveralProcesses:
    @pytest.mark.slow
    def test_only_one_decodes(self, tmp_path: Path, photos: Path) -> None:
        """The other one waits, and maps the same file."""
        log = tmp_path / "log"
        processes = [start(photos, log) for _ in range(2)]
        printed = {process.communicate(timeout=60)[0] for process in processes}
        assert len(printed) == 1
        assert len(log.read_text().split()) == 24
        assert len(set(log.read_text().split())) == 1

    @pytest.mark.slow
    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
    def test_a_killed_one_leaves_nothing_in_the_way(self, tmp_path: Path, photos: Path) -> None:
        log = tmp_path / "log"
        process = start(photos, log)
        deadline = time.monotonic() + 60
        while not (log.exists() and len(log.read_text().split()) > 2) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert entries() == []
        assert list((home() / "pictures").glob(".making-*"))
        data = load(photos)
        assert (len(entries()), len(data.train)) == (1, 16)
        assert not list((home() / "pictures").glob(".making-*"))
