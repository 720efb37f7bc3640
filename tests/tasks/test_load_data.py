"""Data of every task are loaded from Python as a search would load them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import nas


def people() -> pandas.DataFrame:
    return pandas.DataFrame({"age": np.arange(60.0), "city": ["Bern", "Lyon", "Oslo"] * 20})


def test_each_installed_task_is_loaded_with_its_options(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("It was the best of times, it was the worst of times. " * 900)
    people().to_csv(tmp_path / "people.csv", index=False)
    found: dict[str, nas.Task] = {
        "images": nas.load_data("digits", image_size=12),
        "signals": nas.load_data(task="signals"),
        "tables": nas.load_data(Path("people.csv"), task="tables", target="city", working_folder=tmp_path),
        "text": nas.load_data("book.txt", task="text", working_folder=tmp_path),
    }
    assert [type(each).__name__ for each in found.values()] == ["Images", "Signals", "Tabular", "Texts"]
    for each in found.values():
        assert f"{len(each.train)} training" in repr(each)
    assert found["images"].signature == nas.image_signature((1, 12, 12), 10)


def test_a_table_may_be_a_data_frame() -> None:
    """The same rows, seeds and shares give the same task as the frame's own constructor."""
    loaded = nas.load_data(people(), task="tables", target="city", seed=3, validation_share=0.3)
    made = nas.Tabular.from_frame(people(), target="city", seed=3, validation_share=0.3)
    assert loaded.fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("data", "options", "told"),
    [
        (3, {}, r"data are given by their name, .* class int for task='images'"),
        (people(), {}, r'or as a DataFrame for task="tables", but got an object of the class DataFrame'),
        (np.zeros((3, 2)), {"task": "tables", "target": "b"}, "class ndarray"),
        ("people.csv", {"task": "table"}, "unknown task 'table'. Did you mean 'tables'"),
        (people(), {"task": "tables", "targt": "city"}, "no option 'targt'. Did you mean 'target'"),
        (people(), {"task": "tables"}, "needs a target"),
    ],
)
def test_what_cannot_be_loaded_is_refused(data: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(nas.RecipeError, match=told):
        nas.load_data(data, **options)
