"""A task as bytes for other processes, and its paths where it arrives."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, final

import cloudpickle
import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.tasks.task import Task
from nas.tasks.transfer.parcels import Parcel, place_of

Bytes = npt.NDArray[np.uint8]


@final
@dataclass(frozen=True, eq=False)
class Packed:
    """A task as bytes. Its arrays are buffers of their own, which a store can share between processes."""

    objects: Bytes
    buffers: Sequence[Bytes]

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.objects.nbytes + sum(each.nbytes for each in self.buffers)


def packed(task: Task) -> Packed:
    """Return a task as bytes. Raises DataError if it cannot be sent to other processes."""
    stream, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    try:
        _Packer(stream, protocol=5, buffer_callback=buffers.append).dump(task)
    except Exception as error:  # objects of a user's own may raise anything
        raise DataError(
            f"data must be objects that other processes can be sent, but {task.name} fails to be pickled: {error}. "
            "Or train without Ray: --executor inline."
        ) from error
    raw = [np.frombuffer(each.raw(), dtype=np.uint8) for each in buffers]
    return Packed(np.frombuffer(stream.getbuffer(), dtype=np.uint8), raw)


def unpacked(found: Packed, parcel: Parcel, folder: Path | None) -> Task:
    """Return the task, which finds its files in ``folder``, where ``stored`` put them; None for their own places."""
    if folder is not None:
        _MOVED.update({Path(root): place_of(folder, number, root) for number, root in enumerate(parcel.roots)})
    task = pickle.loads(found.objects.data, buffers=found.buffers)  # noqa: S301 from the driver
    assert isinstance(task, Task)
    return task


def here(path: Path) -> Path:
    """Return where a file of a task lies on this machine: at ``path``, or where it arrived from another one."""
    if _MOVED:
        for parent in (path, *path.parents):
            if parent in _MOVED:
                return _MOVED[parent] / path.relative_to(parent)
    return path


_MOVED: dict[Path, Path] = {}
"""Where the files of the task that arrived in this process lie, by their roots on the machine that sent them."""


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]
    """Packs paths so that they are those of this machine where they are unpacked."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, PurePath):
            return _unpacked_path, (os.fspath(obj),)
        return super().reducer_override(obj)


def _unpacked_path(text: str) -> Path:
    return here(Path(text))
