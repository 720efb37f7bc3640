"""Bundles of tables: rows of any file get the numbers of the tested pipeline, and mistakes get one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from made_tables import people, written

from nas.tasks.carrying import carried_files, preparation_in, recorded
from nas.tasks.deployed.inputs import InputError
from nas.tasks.deployed.predict import Model, line_of
from nas.tasks.tabular.columns import Scaling
from nas.tasks.tabular.loading import load_tables
from nas.tasks.tabular.tabular import Tabular

ROWS, WAIT_S = 100, 60
KINDS = ("rows.csv", "rows.tsv", "rows.csv.gz", "rows.json", "rows.jsonl", "frame", "mappings", "text")


def bundle(folder: Path, task: Tabular) -> Path:
    """Write a bundle whose model are the task's boosted trees. Return its folder."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(task.baselines[0].fit(4))
    about = {
        "signature": task.signature.to_json(),
        "answers": task.answers,
        "batch": 4,
        "preparation": recorded(task.preparation),
        "deployed": "model.onnx",
        "target": "onnxruntime-cpu",
    }
    (folder / "architecture.json").write_text(json.dumps(about), encoding="utf-8")
    for name, content in carried_files(task.preparation).items():
        (folder / name).write_bytes(content)
    return folder


def given(frame: pandas.DataFrame, kind: str, folder: Path) -> Any:
    """Return rows in the form of a kind: a file of that name, or an object in Python."""
    records = [{k: None if pandas.isna(v) else v for k, v in row.items()} for row in frame.to_dict("records")]
    if kind == "frame":
        return frame
    if kind == "mappings":
        return records
    if kind == "text":  # as a form on a web page would give them
        return [{k: "" if v is None else str(v) for k, v in row.items()} for row in records]
    path = folder / kind
    if kind == "rows.json":
        path.write_text(json.dumps(records), encoding="utf-8")
    elif kind == "rows.jsonl":
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    else:
        written(frame, path)
    return path


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_differs(tmp_path: Path, kind: str, scaling: Scaling) -> None:
    """Of 100 test rows, no input differs in a bit from what the pipeline of training gave the tested model."""
    frame, rows = people(300), people(ROWS, seed=1)
    task = Tabular.from_frame(frame, target="pay", test=rows, scaling=scaling)
    tested = task.input_arrays(task.test, slice(None))
    stored = preparation_in({"preparation": json.loads(json.dumps(recorded(task.preparation)))})
    found = stored.prepared(stored.read(given(rows.drop(columns="pay"), kind, tmp_path)))
    assert [each.dtype for each in found] == [np.float32, np.int64]
    assert len(found[0]) == ROWS
    assert sum(int((a != b).sum()) for a, b in zip(found, tested, strict=True)) == 0


def test_predict_needs_no_pandas(tmp_path: Path) -> None:
    """The command line answers each row of a file, and loads neither pandas nor torch nor scikit-learn."""
    folder = bundle(tmp_path / "bundle", Tabular.from_frame(people(), target="pay"))
    path = written(people(12, seed=1), tmp_path / "rows.csv")
    code = (
        "import runpy, sys; sys.argv = ['predict.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('predict.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'pandas', 'torch', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.')\n{code}", str(path), "--json"],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["input"] for line in lines] == [f"{path}:{number}" for number in range(2, 14)]
    assert {line["class"] for line in lines} <= {"high", "low"}


def test_values_in_units_of_the_data(tmp_path: Path) -> None:
    """A regression answers in the units of the target."""
    from nas.tasks.loading import Loading

    task = load_tables("diabetes", Loading())
    model = Model(bundle(tmp_path / "bundle", task))
    frame = task.train
    rows = [dict(zip(task.preparation.columns, row, strict=True)) for row in frame.raw[0][:20].tolist()]
    found, wanted = model.predict(rows), frame.targets[:20] * task.scale + task.offset
    assert found.shape == (20, 1)
    assert float(np.abs(found - wanted).mean()) < 25


def test_mistakes_are_named(tmp_path: Path) -> None:
    """Missing columns, cells that are no numbers and short rows are told by name and place; other columns in a note."""
    preparation = Tabular.from_frame(people(), target="pay").preparation
    row = {"age": 3, "job": "cook", "hours": 1, "abroad": True, "zone": "north"}
    with pytest.raises(InputError, match=r"row 0 must have the columns of training, but lacks hours. Is it .* hour "):
        preparation.read({**{key: row[key] for key in row if key != "hours"}, "hour": 1})
    with pytest.raises(InputError, match="row 0: column age must be a number, but got 'old'"):
        preparation.read({**row, "age": "old"})
    with pytest.raises(InputError, match="must be finite"):
        preparation.read({**row, "age": float("inf")})
    with pytest.warns(UserWarning, match="columns that training did not have are left out: shoe"):
        preparation.read({**row, "shoe": 42})
    path = tmp_path / "rows.csv"
    path.write_text("age,job,hours,abroad,zone\n1,cook,2,True,north\n1,cook\n")
    (first, _), (_, error) = list(preparation.items(path))
    assert first == f"{path}:2"
    assert "line 3: a row must have 5 cells, but it has 2" in str(error)


def test_a_frame_is_read_as_in_training() -> None:
    """Names of columns may be numbers, or have spaces around them; a table of pyarrow is one too."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(60, 3)), columns=[0, 1, " a "]).assign(y=rng.choice(["n", "p"], 60))
    task = Tabular.from_frame(frame, target="y")
    (found,) = task.preparation.read(frame)
    assert np.array_equal(found, frame[[0, 1, " a "]].to_numpy())

    class Table:
        def to_pandas(self) -> pandas.DataFrame:
            return frame

    assert np.array_equal(task.preparation.read(Table())[0], found)


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [(12_001_522.0, 1e4, "12001522"), (0.1234567, 1.0, "0.123457"), (1.7e9 + 5, 1e5, "1700000005"), (0.0, 1.0, "0")],
)
def test_large_values_keep_the_digits_that_tell(value: float, scale: float, text: str) -> None:
    """They were shown with six digits, and computed with seven."""
    answers = {"kind": "regression", "names": ["y"], "scale": [scale], "offset": [value]}
    line = line_of("row", np.zeros(1, np.float32), answers)
    assert line["values"]["y"] == value
    assert line["shown"] == [text]
