"""Sending data to the processes that train, by a store that is a dictionary."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from nas.errors import DataError
from nas.jobs import sending
from nas.jobs.sending import Sending
from nas.tasks import data_source
from nas.tasks.data_source import DataSource, leaving
from nas.tasks.images.images import Images
from nas.tasks.transfer import packing, parcels
from nas.tasks.transfer.packing import Packed


@dataclass(frozen=True)
class DictionaryStore:
    """A store in this process. ``node`` is the one that asks."""

    values: ClassVar[list[object]] = []
    where: ClassVar[list[str]] = ["head"]
    nodes: int = field(default=2)

    @property
    def node(self) -> str:
        return self.where[0]

    def put(self, value: object) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def get(self, reference: int) -> Any:
        return self.values[reference]

    def call(self, node: str, function: Callable[..., Any], *arguments: Any) -> Any:
        assert node == "head"
        return function(*arguments)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DictionaryStore, "values", [])
    monkeypatch.setattr(DictionaryStore, "where", ["head"])
    monkeypatch.setattr(packing, "_MOVED", {})
    monkeypatch.setattr(data_source, "_LOADED", {})


def sent(source: DataSource, sending: Sending) -> DataSource:
    """Return a source as another process gets it."""
    with leaving(sending.with_arrival):
        content = pickle.dumps(source)
    found: DataSource = pickle.loads(content)
    return found


def photos(folder: Path, level: int = 0) -> Path:
    for title in ("a", "b"):
        (folder / title).mkdir(parents=True)
        for index in range(5):
            Image.new("L", (4, 4), level + 10 * index + (title == "b")).save(folder / title / f"{index}.png")
    return folder


def test_a_given_task_is_put_once_and_sent_by_reference(digits: Images) -> None:
    """However often its work is sent: each round of a search sends it again."""
    sending = Sending(DictionaryStore())
    source = DataSource(given=digits)
    with leaving(sending.with_arrival):
        assert max(len(pickle.dumps(source)) for _ in range(3)) < 2000
    arrived = sent(source, sending)
    assert len(DictionaryStore.values) == 1
    task = arrived.load()
    assert task.fingerprint == digits.fingerprint
    assert arrived.load() is task
    (kept,) = DictionaryStore.values
    assert isinstance(kept, Packed)
    assert isinstance(task, Images)
    assert any(np.shares_memory(task.train.images, each) for each in kept.buffers)  # type: ignore[arg-type]


def test_named_data_are_put_only_where_there_are_other_nodes() -> None:
    """One machine loads them itself; a plain pickle is without an arrival."""
    source = DataSource(name="digits")
    assert sent(source, Sending(DictionaryStore(1))).arrival is None
    assert pickle.loads(pickle.dumps(source)) == source
    assert not DictionaryStore.values
    assert sent(source, Sending(DictionaryStore(2))).arrival is not None


@pytest.mark.parametrize(("task", "name"), [("signals", "tones"), ("tables", "wine")])
def test_large_data_in_memory_are_shared_by_all_processes(
    task: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the memory of each does not grow with the data, and none reads files again."""
    monkeypatch.setattr(sending, "SHARED_FROM", 1000)
    source = DataSource(name=name, task=task).pinned()
    arrived = sent(source, Sending(DictionaryStore(1)))
    known = source.load()
    data_source._LOADED.clear()
    monkeypatch.setattr(data_source, "load_task", None)
    found = arrived.load()
    assert found.fingerprint == known.fingerprint
    (kept,) = DictionaryStore.values
    assert isinstance(kept, Packed)
    arrays = found.train.signals if task == "signals" else found.train.raw[0]  # type: ignore[attr-defined]
    assert any(np.shares_memory(arrays, each) for each in kept.buffers)  # type: ignore[arg-type]


def test_named_data_that_cannot_be_sent_are_loaded_by_each_node(
    digits: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given ones are refused, because no other process can get them."""
    monkeypatch.setattr(Images, "__getstate__", lambda task: threading.Lock(), raising=False)
    assert sent(DataSource(name="digits"), Sending(DictionaryStore(2))).arrival is None
    with pytest.raises(DataError, match="fails to be pickled"):
        sent(DataSource(given=digits), Sending(DictionaryStore(2)))


def test_a_node_without_the_data_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files lie in its own home then. The machine of the search is never sent what it lost."""
    folder = photos(tmp_path / "photos")
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    source = DataSource(name=f"folder:{folder}").pinned()
    arrived = sent(source, Sending(DictionaryStore()))
    data_source._LOADED.clear()
    folder.rename(tmp_path / "gone")
    with pytest.raises(DataError, match="photos"):
        arrived.load()
    DictionaryStore.where[0] = "other"
    monkeypatch.setattr(parcels.Parcel, "is_here", False)
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "other"))
    assert arrived.load().fingerprint == source.fingerprint
    assert list((tmp_path / "other" / "shipped").glob("*/0/pixels.npy"))


def test_other_data_at_the_same_place_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has both fingerprints."""
    folder = photos(tmp_path / "photos")
    source = DataSource(name=f"folder:{folder}").pinned()
    arrived = sent(source, Sending(DictionaryStore()))
    data_source._LOADED.clear()
    folder.rename(tmp_path / "gone")
    photos(folder, level=100)
    DictionaryStore.where[0] = "other"
    with pytest.raises(DataError, match=rf"its fingerprint is [0-9a-f]+, not {source.fingerprint}"):
        arrived.load()
