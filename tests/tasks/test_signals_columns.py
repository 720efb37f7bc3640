"""Columns of CSV files with signals: a bundle takes those that were trained on, whatever their order and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_signals_task import load

from nas.errors import DataError
from nas.tasks.deployed.inputs import InputError
from nas.tasks.signals.signals import Signals


def items_of(task: Signals, path: Path) -> np.ndarray[Any, Any]:
    return np.stack([item for _, (item,) in task.preparation.file_items(path)])


def write_folder(path: Path, names: tuple[str, ...], *, others: tuple[str, ...] = ()) -> Path:
    """Write ten recordings of two classes, in which ``x`` is near 0 and ``y`` near 100; odd ones begin with others."""
    rng = np.random.default_rng(0)
    for number in range(20):
        title = (others or names) if number % 2 else names
        rows = rng.normal(0, 1, (40, 2)) + [100 if name == "y" else 0 for name in title]
        folder = path / "ab"[number // 10]
        folder.mkdir(exist_ok=True, parents=True)
        text = "\n".join(",".join(map(str, row)) for row in rows.tolist())
        (folder / f"{number}.csv").write_text(f"{','.join(title)}\n{text}\n")
    return path


def test_channels_are_found_by_name_in_each_file(tmp_path: Path) -> None:
    """They were taken by place, so that channels of other files were mixed without a word."""
    task = load(write_folder(tmp_path, ("y", "x"), others=("x", "y")), window=20)
    assert task.form.columns == ("y", "x")
    assert np.allclose(task.preparation.mean, [100, 0], atol=1)
    for number in (0, 1):
        assert np.allclose(items_of(task, tmp_path / "a" / f"{number}.csv").mean((0, 2)), [100, 0], atol=1)


def test_equal_names_are_taken_by_place(tmp_path: Path) -> None:
    task = load(write_folder(tmp_path, ("value", "value")), window=20)
    assert task.form.columns == ()
    first, second = items_of(task, tmp_path / "a" / "0.csv").transpose(1, 0, 2)
    assert not np.array_equal(first, second)


def write_rows(path: Path, title: str, labels: list[str], delimiter: str = ",") -> Path:
    rows = np.random.default_rng(1).normal(0, 1, (len(labels), 4)).tolist()
    cells = [[label, *(f"{value:.4f}" for value in row)] for label, row in zip(labels, rows, strict=True)]
    if delimiter == ";":
        cells = [[cell.replace(".", ",") for cell in row] for row in cells]
    path.write_text("\n".join([title, *(delimiter.join(row) for row in cells)]) + "\n")
    return path


LABELS = ["a", "b"] * 40


def test_a_header_of_numbers_is_no_window(tmp_path: Path) -> None:
    """pandas names columns by numbers. Without the column of labels, nothing else tells that these are names."""
    path = write_rows(tmp_path / "a.csv", "label,0,1,2,3", LABELS)
    task = load(path)
    bare = tmp_path / "b.csv"
    bare.write_text("\n".join(line.split(",", 1)[1] for line in path.read_text().splitlines()) + "\n")
    assert len(items_of(task, bare)) == len(LABELS)
    assert np.array_equal(items_of(task, bare), items_of(task, path))


@pytest.mark.parametrize("title", ["label,,,,", "label,x,x,y,z"])
def test_equal_names_in_one_file_are_refused(tmp_path: Path, title: str) -> None:
    """A bundle knows columns by name, and took the first of equal ones for all."""
    path = write_rows(tmp_path / "a.csv", title, LABELS)
    with pytest.raises(DataError, match=r"has several columns called '(x|)'\. Give each a name of its own"):
        load(path)
    with pytest.raises(InputError, match="several columns"):
        items_of(load(write_rows(tmp_path / "b.csv", "label,x,y,z,w", LABELS)), _twice(tmp_path))


def _twice(folder: Path) -> Path:
    path = folder / "c.csv"
    path.write_text("x,x,y,z,w\n1,2,3,4,5\n")
    return path


def test_labels_with_decimal_commas_are_values(tmp_path: Path) -> None:
    labels = [f"{number / 8:.3f}" for number in range(80)]
    task = load(write_rows(tmp_path / "a.csv", "label;a;b;c;d", labels, ";"))
    assert task.classes == ()


def test_a_row_without_a_group_is_refused(tmp_path: Path) -> None:
    """All such rows became one group, which may have been the whole test."""
    path = tmp_path / "a.csv"
    rows = [f"{'ab'[number % 2]},{number % 7 or ''},{number}" for number in range(80)]
    path.write_text("\n".join(["label,person,x", *rows]) + "\n")
    with pytest.raises(DataError, match=r"each row must have a group, but line 2 of .* has none"):
        load(path, group="person", window=1)
