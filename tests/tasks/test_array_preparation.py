"""Bundles of models whose inputs come prepared, in arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.space.signature import TensorType
from nas.tasks.carrying import carried_files, recorded
from nas.tasks.deployed.arrays import ArrayPreparation, array_preparation, preparation_of
from nas.tasks.deployed.inputs import InputError

ONE = array_preparation([TensorType("inputs", (2, 3)).to_json()])
TWO = array_preparation([TensorType("x", (3,)).to_json(), TensorType("kind", (2,), "int64", (4, 5)).to_json()])
VALUES = np.arange(24, dtype=np.float64).reshape(4, 2, 3)


def test_it_survives_the_description_of_a_bundle() -> None:
    for preparation in (ONE, TWO):
        stored = json.loads(json.dumps(recorded(preparation)))
        assert stored["module"] == "arrays"
        assert preparation_of({"preparation": stored}) == preparation
    assert set(carried_files(ONE)) == {"predict.py", "inputs.py", "arrays.py"}
    assert b"nas.tasks" not in carried_files(ONE)["arrays.py"]


def test_one_input_comes_in_arrays_of_one_file_each(tmp_path: Path) -> None:
    """A file may also hold one item without an axis for the items."""
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "b.npz", anything=VALUES[:1])
    np.save(tmp_path / "c.npy", VALUES[0])
    names = [name for name, _ in ONE.items(tmp_path)]
    assert names == [*(f"{tmp_path}/a.npy[{n}]" for n in range(4)), f"{tmp_path}/b.npz[0]", f"{tmp_path}/c.npy[0]"]
    (found,) = ONE.prepared(ONE.read([tmp_path / "a.npy", tmp_path / "c.npy"]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.concatenate([VALUES, VALUES[:1]]))


@pytest.mark.parametrize("form", ["folder", "npz", "tuple", "names"])
def test_several_inputs_come_together(form: str, tmp_path: Path) -> None:
    arrays = {"x": np.ones((4, 3)), "kind": np.array([[0, 1], [3, 4], [2, 2], [1, 0]])}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "all.npz", **arrays)  # type: ignore[arg-type]
    given: Any = {"folder": tmp_path, "npz": tmp_path / "all.npz", "tuple": tuple(arrays.values()), "names": arrays}
    x, kind = TWO.prepared(TWO.read(given[form]))
    np.testing.assert_array_equal(x, arrays["x"])
    np.testing.assert_array_equal(kind, arrays["kind"])
    assert (x.dtype, kind.dtype) == (np.float32, np.int64)


FAULTS: dict[str, tuple[ArrayPreparation, Any, str]] = {
    "shape": (ONE, np.zeros((4, 3, 2)), "must be an array of shape (N, 2, 3) for inputs (float32, 2×3), but its shape"),
    "type": (ONE, np.zeros((4, 2, 3), bool), "but its type is bool"),
    "NaN": (ONE, np.where(VALUES == 13, np.nan, VALUES), "must hold finite numbers, but item 2 does not"),
    "range": (TWO, (np.ones((2, 3)), np.array([[0, 1], [0, 5]])), "below 4, 5, but item 1 does not"),
    "floats": (TWO, (np.ones((2, 3)), np.zeros((2, 2))), "but its type is float64"),
    "lengths": (TWO, (np.ones((2, 3)), np.zeros((3, 2), int)), "as many items for each input, but got"),
    "one of two": (TWO, (np.ones((2, 3)),), "an array for each of ['x', 'kind'], but got 1"),
    "names": (TWO, {"x": np.ones((2, 3)), "y": np.ones(2)}, "must hold x, kind, but x, y came"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_arrays_that_do_not_fit_are_refused(what: str) -> None:
    preparation, given, text = FAULTS[what]
    with pytest.raises(InputError) as refused:
        preparation.read(given)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.npy", b"no array", "cannot be used as an array"),
        ("a.npz", b"no archive", "cannot be used as a file of arrays"),
        ("a.jpg", b"no array", "must end in .npy or .npz: this model takes prepared arrays"),
        ("none/a.txt", b"", "has no arrays, which end in .npy, .npz"),
    ],
)
def test_files_that_are_no_arrays_are_named(name: str, content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    ((_, found),) = ONE.items(path.parent if name.startswith("none") else path)
    assert isinstance(found, InputError)
    assert text in str(found)


def test_a_file_that_runs_code_when_read_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    ((_, found),) = ONE.items(tmp_path / "a.npy")
    assert isinstance(found, InputError)
