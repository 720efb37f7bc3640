"""Inputs that are prepared already: arrays in .npy and .npz files."""

# The search itself prepares inputs by this code, so a deployed model gets what the tested one got.

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.tasks.deployed.inputs import Array, Arrays, InputError, Named, ReadsFiles, paths_of, saved_array

ENDINGS = (".npy", ".npz")


@dataclass(frozen=True)
class PreparedInput:
    """One input of a model: its name, the shape of one item, its type, and the counts of whole numbers."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    counts: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.dtype}, {'×'.join(map(str, self.shape))})"

    def checked(self, values: Any, what: str) -> Array:
        """Return several items as a model takes them. Raises InputError if they are none; ``what`` names them."""
        array = np.asarray(values)
        wanted = f"{what} must be an array of shape (N, {', '.join(map(str, self.shape))}) for {self}"
        if array.shape == self.shape:
            array = array[None]
        if array.shape[1:] != self.shape or array.ndim != len(self.shape) + 1:
            raise InputError(f"{wanted}, but its shape is {array.shape}.")
        if array.dtype.kind not in ("iu" if self.counts else "fiu"):
            raise InputError(f"{wanted}, but its type is {array.dtype}.")
        if not self.counts:
            found = array.astype(np.float32)
            if not np.isfinite(found).all():
                raise InputError(f"{what} must hold finite numbers, but item {_first(~np.isfinite(found))} does not.")
            return found
        outside = (array < 0) | (array >= np.array(self.counts))
        if outside.any():
            raise InputError(
                f"{what} must hold whole numbers from 0 and below {', '.join(map(str, self.counts))}, but item "
                f"{_first(outside)} does not."
            )
        return array.astype(np.int64)


def _first(mask: Array) -> int:
    return int(np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))[0])


@dataclass(frozen=True)
class ArrayPreparation(ReadsFiles):
    """The way from arrays of prepared inputs to a model: only shapes, types and ranges are checked.

    A model with one input takes an .npy file. One with several takes an .npz file with an array for each, by name, or
    a folder with an .npy file for each, called by its name.
    """

    endings = ENDINGS
    noun = "arrays"
    inputs: tuple[PreparedInput, ...]

    @property
    def in_words(self) -> list[str]:
        """Return each step, for people who prepare inputs elsewhere."""
        steps = [f"Give prepared inputs: {', '.join(map(str, self.inputs))}. The first axis is that of the items."]
        if len(self.inputs) > 1:
            steps.append("Save them with numpy.savez by these names, or each to NAME.npy in one folder.")
        return steps

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain data."""
        inputs = [{**vars(each), "shape": list(each.shape), "counts": list(each.counts)} for each in self.inputs]
        return {"inputs": inputs, "in_words": self.in_words}

    def items(self, path: Path) -> Named:
        """Yield the name and the arrays of each item in a file or folder, or the reason why it cannot be used."""
        if not self._is_one(path):
            yield from super().items(path)
            return
        try:
            yield from self.file_items(path)
        except InputError as error:
            yield str(path), error

    def file_items(self, path: Path) -> Named:
        """Yield the name and the arrays of each item in a file, or in one folder of inputs. Raises InputError."""
        for number, item in enumerate(zip(*self._file(path), strict=True)):
            yield f"{path}[{number}]", tuple(item)

    def read(self, inputs: Any) -> Arrays:
        """Return items from paths, from an array, or from an array for each input, in a tuple or by name.

        Raises InputError, which says which one cannot be used and why.
        """
        paths = None if isinstance(inputs, Mapping) else paths_of(inputs)
        if paths is not None:
            return self.read_files(paths)
        if isinstance(inputs, Mapping):
            return self._checked(inputs, "inputs")
        given = inputs if isinstance(inputs, (tuple, list)) and len(self.inputs) > 1 else (inputs,)
        if len(given) != len(self.inputs):
            raise InputError(f"there must be an array for each of {self._names}, but got {len(given)}.")
        return self._checked(dict(zip(self._names, given, strict=True)), "inputs")

    def prepared(self, raw: Arrays) -> Arrays:
        """Return items as the model's inputs."""
        return tuple(each.checked(array, each.name) for each, array in zip(self.inputs, raw, strict=True))

    @property
    def _names(self) -> list[str]:
        return [each.name for each in self.inputs]

    @property
    def nothing(self) -> Arrays:
        """The arrays of no items."""
        return tuple(np.zeros((0, *each.shape), each.dtype) for each in self.inputs)

    def _is_one(self, path: Path) -> bool:
        """Return True for a folder that holds an .npy file for each of several inputs."""
        return len(self.inputs) > 1 and all((path / f"{name}.npy").is_file() for name in self._names)

    def _file(self, path: Path) -> Arrays:
        """Return the items in one file, or in one folder of inputs. Raises InputError if there are none."""
        if path.is_dir():
            return self._checked({name: _array(path / f"{name}.npy") for name in self._names}, str(path))
        if path.suffix.lower() == ".npz":
            return self._checked(_arrays(path), str(path))
        if path.suffix.lower() != ".npy":
            raise InputError(f"{path} must end in {' or '.join(ENDINGS)}: this model takes prepared arrays.")
        if len(self.inputs) > 1:
            raise InputError(f"{path} holds one array, but the model takes {len(self.inputs)}: {self.in_words[1]}")
        return self._checked({self._names[0]: _array(path)}, str(path))

    def _checked(self, arrays: Mapping[str, Any], what: str) -> Arrays:
        """Return an array for each input, all of the same length. Raises InputError if they are none."""
        if len(self.inputs) == len(arrays) == 1:
            arrays = dict(zip(self._names, arrays.values(), strict=True))
        if set(arrays) != set(self._names):
            raise InputError(f"{what} must hold {_listed(self._names)}, but {_listed(arrays)} came.")
        found = tuple(each.checked(arrays[each.name], f"{what}: {each.name}") for each in self.inputs)
        lengths = {name: len(each) for name, each in zip(self._names, found, strict=True)}
        if len(set(lengths.values())) > 1:
            raise InputError(f"{what} must hold as many items for each input, but got {lengths}.")
        return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _array(path: Path) -> Array:
    try:
        return saved_array(path)
    except InputError as error:
        raise InputError(f"{path} cannot be used as an array: {error}") from error


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except (OSError, ValueError, EOFError, SyntaxError, AttributeError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{path} cannot be used as a file of arrays: {error}") from error


def preparation_of(about: Mapping[str, Any]) -> ArrayPreparation:
    """Return the preparation that an ``architecture.json`` records. Raises KeyError or TypeError if it has none."""
    return array_preparation(about["preparation"]["inputs"])


def array_preparation(inputs: Sequence[Mapping[str, Any]]) -> ArrayPreparation:
    """Return the preparation for inputs as a signature gives them as plain data."""
    return ArrayPreparation(
        tuple(
            PreparedInput(str(each["name"]), tuple(each["shape"]), str(each["dtype"]), tuple(each["counts"]))
            for each in inputs
        )
    )
