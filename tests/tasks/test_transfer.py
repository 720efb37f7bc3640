"""Sending tasks to other machines: what arrives, what is fetched, and what is refused."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nas.errors import CandidateError, DataError
from nas.storage.file_lock import take
from nas.tasks.batches import in_order
from nas.tasks.data_sets import DataSetTask
from nas.tasks.images.images import Images
from nas.tasks.loading import Loading, load_task
from nas.tasks.task import Task
from nas.tasks.transfer import packing, parcels
from nas.tasks.transfer.packing import packed, unpacked
from nas.tasks.transfer.parcels import ShippedFile, parcel_of, part_of, stored


@pytest.fixture(name="folder")
def folder_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that other machines do not see, with pictures and a text. The home is there too."""
    monkeypatch.setattr(packing, "_MOVED", {})
    folder = tmp_path / "driver"
    rng = np.random.default_rng(0)
    for number, title in enumerate(("dark", "light")):
        (folder / "photos" / title).mkdir(parents=True)
        for index in range(10):
            pixels = rng.integers(100 * number, 100 * number + 90, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / title / f"{index}.png")
    (folder / "text").mkdir()
    for index in range(10):
        (folder / "text" / f"{index}.txt").write_text(f"{index}: a text of some length. " * 30, encoding="utf-8")
    monkeypatch.setenv("NAS_HOME", str(folder / "home"))
    monkeypatch.setenv("NAS_DATA", str(folder / "data"))
    return folder


def items_of(task: Task) -> list[bytes]:
    return [
        each.numpy().tobytes()
        for examples in (task.train, task.validation, task.test)
        for batch in in_order(examples, 7)
        for each in (*batch.raw, batch.targets)
    ]


def elsewhere(task: Task, home: Path, fetched: list[int]) -> Callable[[], Task]:
    """Pack a task, and return what unpacks it on another machine, with its own home."""
    parcel, sent = parcel_of(task), packed(task)

    def part(file: ShippedFile, start: int) -> bytes:
        fetched.append(start)
        return part_of(file, start)

    return lambda: unpacked(sent, parcel, None if parcel.is_here else stored(parcel, part, home))


@pytest.mark.parametrize("kind", ["images", "streamed images", "text"])
def test_a_task_arrives_with_its_files(
    kind: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All items are the same. A second process of the machine fetches nothing."""
    monkeypatch.setattr(parcels, "PART_BYTES", 1000)
    if kind == "streamed images":
        monkeypatch.setenv("NAS_CACHE_GIB", "0")
    name = f"{folder / 'text'}" if kind == "text" else f"folder:{folder / 'photos'}"
    options = {"context": 16} if kind == "text" else {}
    task = load_task(kind.split()[-1], name, Loading(folder=folder), options)
    items, fetched = items_of(task), list[int]()
    unpack = elsewhere(task, tmp_path / "other", fetched)
    assert items_of(unpack()) == items
    assert not fetched  # the files are here
    hidden = folder.rename(tmp_path / "hidden")
    with pytest.raises(DataError, match="cannot be read"):
        unpack()
    hidden.rename(folder)
    monkeypatch.setattr(parcels.Parcel, "is_here", False)
    unpack()
    parts = len(fetched)
    assert parts >= 1
    shutil.rmtree(folder)
    found = unpack()
    assert len(fetched) == parts
    assert items_of(found) == items
    assert found.fingerprint == task.fingerprint


def test_tasks_in_memory_need_no_files(digits: Images) -> None:
    """Their arrays are buffers of their own, which processes can share."""
    parcel, sent = parcel_of(digits), packed(digits)
    assert not parcel.files
    assert sent.objects.nbytes < 10_000 < 100_000 < sum(each.nbytes for each in sent.buffers)
    assert items_of(unpacked(sent, parcel, None)) == items_of(digits)


@pytest.mark.parametrize(("kind", "name"), [("tables", "wine"), ("signals", "tones")])
def test_tasks_of_other_kinds_can_be_sent(kind: str, name: str) -> None:
    """All that they learn from is in memory."""
    task = load_task(kind, name, Loading(), {})
    found = unpacked(packed(task), parcel_of(task), None)
    assert (items_of(found), found.fingerprint) == (items_of(task), task.fingerprint)


def test_a_task_that_cannot_be_sent_is_refused() -> None:
    """The error names the way without sending."""
    items = [(np.zeros(3, np.float32), number % 2) for number in range(4)]
    task = DataSetTask(items, items, items)
    task.train = SimpleNamespace(lock=threading.Lock())  # type: ignore[assignment]
    with pytest.raises(DataError, match=r"fails to be pickled: .*--executor inline"):
        packed(task)


@pytest.mark.parametrize("when", ["before", "while writing"])
def test_a_full_disk_fails_candidates_with_a_reason(
    when: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason tells the machine's folder and what to do, and no half of the files is left."""
    parcel = parcel_of(load_task("images", f"folder:{folder / 'photos'}", Loading(), {}))

    def full(file: ShippedFile, start: int) -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if when == "before":
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(CandidateError, match=r"must store the data, .* cannot in .*shipped: .* set NAS_HOME") as caught:
        stored(parcel, full, tmp_path / "other")
    assert caught.value.kind == "data"
    assert ("No space left" if when == "while writing" else "has room for 0 MiB") in str(caught.value)
    assert [path for path in (tmp_path / "other" / "shipped").iterdir() if path.is_dir()] == []


def test_files_that_change_are_not_sent(folder: Path, tmp_path: Path) -> None:
    """All candidates must learn from the same data."""
    parcel = parcel_of(load_task("images", f"folder:{folder / 'photos'}", Loading(), {}))
    with parcel.files[0].path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(DataError, match=r"data must stay as they are during a search, but .* has changed"):
        stored(parcel, part_of, tmp_path / "other")
    assert not parcel.is_here


def test_what_a_killed_process_left_is_removed(folder: Path, tmp_path: Path) -> None:
    """Else its disk fills up. Files that another process is fetching stay."""
    parcel = parcel_of(load_task("images", f"folder:{folder / 'photos'}", Loading(), {}))
    left, fetched = (tmp_path / "shipped" / f".making-{name}" for name in ("left", "fetched"))
    for each in (left, fetched):
        each.mkdir(parents=True)
        (each / "half").touch()
    with take(fetched.with_name("fetched.lock")):
        stored(parcel, part_of, tmp_path)
    assert not left.exists()
    assert (fetched / "half").exists()


def test_old_files_are_removed(folder: Path, tmp_path: Path) -> None:
    """Those of other searches, unless they were used in the last days."""
    parcel = parcel_of(load_task("images", f"folder:{folder / 'photos'}", Loading(), {}))
    kept = stored(parcel, part_of, tmp_path)
    os.utime(kept / ".whole", (0, 0))
    other = stored(parcels.Parcel("other", parcel.files), part_of, tmp_path)
    assert other.is_dir()
    assert not kept.exists()
