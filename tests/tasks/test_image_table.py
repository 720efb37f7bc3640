"""Tables of pictures: paths and labels from CSV and Parquet, one label or several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from small_bundle import write_bundle

from nas.errors import DataError, RecipeError
from nas.formats.onnx_session import outputs_of
from nas.tasks.batches import items_at
from nas.tasks.deployed.predict import Model, answer
from nas.tasks.images.image_table import Columns
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data, load_images
from nas.tasks.loading import Loading

SIZE = 6


def write_pictures(folder: Path, count: int = 30) -> list[str]:
    """Write pictures of one grey level each, which is their number, and return their names."""
    folder.mkdir(exist_ok=True)
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        Image.new("L", (8 + number % 3, 8), number).save(folder / name)
    return names


def write_csv(path: Path, header: str, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def load(path: Path, **options: Any) -> Images:
    return load_images(str(path), Loading(), image_size=SIZE, **options)


def labels_by_number(data: Images) -> dict[int, Any]:
    """Return the label of each picture, by the number that it shows."""
    found = {}
    for split in (data.train, data.validation, data.test):
        items = items_at(split, slice(None))
        for image, label in zip(items.raw[0], items.targets, strict=True):
            found[int(image[0, 0, 0])] = label.tolist()
    return found


@pytest.fixture(name="names")
def pictures(tmp_path: Path) -> list[str]:
    return write_pictures(tmp_path / "photos")


class TestOneLabel:
    @pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
    def test_paths_are_below_the_table(self, tmp_path: Path, names: list[str], ending: str) -> None:
        """Each row's picture has its label; all pictures are in one split."""
        table = pandas.DataFrame({"path": [f"photos/{name}" for name in names], "label": ["cat", "dog", "emu"] * 10})
        path = tmp_path / f"labels.{ending}"
        if ending == "parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
        data = load(path)
        assert data.classes == ("cat", "dog", "emu")
        assert labels_by_number(data) == {number: number % 3 for number in range(30)}
        assert (data.input_shape, data.is_multi_label, data.name) == ((1, SIZE, SIZE), False, str(path))

    def test_columns_and_splits_have_names(self, tmp_path: Path, names: list[str]) -> None:
        """A column of splits is used where there is one. Columns may be separated by semicolons."""
        rows = [f"photos/{name};{n % 2};{('Train', 'test')[n >= 20]}" for n, name in enumerate(names)]
        path = write_csv(tmp_path / "a.csv", "file;kind;part", rows)
        data = load(path, path_column="file", label_column="kind", split_column="part")
        assert sorted(int(image[0, 0, 0]) for image in data.test.images) == list(range(20, 30))
        assert len(load(path, path_column="file", label_column="kind").test) == 6

    def test_numbers_are_names(self, tmp_path: Path, names: list[str]) -> None:
        """Labels from 1 and with gaps are classes in the order of their value, also where Parquet has floats."""
        labels = [(1, 2, 10)[number % 3] for number in range(30)]
        path = write_csv(
            tmp_path / "a.csv", "path,label", [f"photos/{n},{k}" for n, k in zip(names, labels, strict=True)]
        )
        assert load(path).classes == ("1", "2", "10")
        pandas.DataFrame(
            {"path": [str(tmp_path / "photos" / n) for n in names], "label": np.array(labels, float)}
        ).to_parquet(tmp_path / "b.parquet")
        assert load(tmp_path / "b.parquet").classes == ("1", "2", "10")
        assert load(tmp_path / "b.parquet").fingerprint == load(path).fingerprint

    def test_a_label_that_looks_missing_is_one(self, tmp_path: Path, names: list[str]) -> None:
        rows = [f"photos/{name},{('NA', 'null')[n % 2]}" for n, name in enumerate(names)]
        assert load(write_csv(tmp_path / "a.csv", "path,label", rows)).classes == ("NA", "null")

    def test_pictures_that_are_missing_are_named(self, tmp_path: Path, names: list[str]) -> None:
        """One may be. If none is there, the error says where paths begin."""
        rows = [f"photos/{name},{n % 2}" for n, name in enumerate([*names[:-1], "gone.png"])]
        data = load(write_csv(tmp_path / "a.csv", "path,label", rows))
        assert "photos/gone.png (it is no file, or a broken link)" in data.notes[0]
        assert len(labels_by_number(data)) == 29
        write_csv(tmp_path / "photos" / "a.csv", "path,label", rows)
        with pytest.raises(DataError, match=r"from the folder of the table, but of 30 files .* none is there"):
            load(tmp_path / "photos" / "a.csv")


class TestSeveralLabels:
    @pytest.mark.parametrize("mark", [";", "|", " ; "])
    def test_labels_in_a_cell(self, tmp_path: Path, names: list[str], mark: str) -> None:
        """Any number of them, also none."""
        cells = ["beach", f"beach{mark}sun", "", f"sun{mark}dog", "dog"] * 6
        rows = [f'photos/{name},"{cell}"' for name, cell in zip(names, cells, strict=True)]
        data = load(write_csv(tmp_path / "a.csv", "path,label", rows))
        assert (data.classes, data.is_multi_label) == (("beach", "dog", "sun"), True)
        wanted = [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 1], [0, 1, 0]]
        assert labels_by_number(data) == {number: wanted[number % 5] for number in range(30)}
        assert data.answers == {"kind": "multi-label", "names": ["beach", "dog", "sun"]}
        assert data.in_words == "3 labels, 6×6 pixels in 1 channel"
        assert data.test.labels.any(axis=0).all()

    def test_a_column_for_each(self, tmp_path: Path, names: list[str]) -> None:
        """Columns of 0 and 1, and a column of lists, say the same."""
        rows = [f"photos/{name},{n % 2},{int(n % 3 == 0)}" for n, name in enumerate(names)]
        path = write_csv(tmp_path / "a.csv", "path,odd,three", rows)
        data = load(path, label_column=["odd", "three"])
        assert labels_by_number(data) == {n: [n % 2, n % 3 == 0] for n in range(30)}
        lists = [["odd"] * (n % 2) + ["three"] * (n % 3 == 0) for n in range(30)]
        table = pandas.DataFrame({"path": [f"photos/{name}" for name in names], "label": lists})
        table.to_parquet(tmp_path / "b.parquet")
        assert labels_by_number(load(tmp_path / "b.parquet")) == labels_by_number(data)
        assert len(data.sample(7).targets) == 7
        assert len(data.part(0.5)) == len(data.train) // 2 + len(data.train) % 2

    def test_a_rare_label_is_in_each_split(self, tmp_path: Path, names: list[str]) -> None:
        """Splits keep the share of the rarest label of each picture."""
        cells = ["common;rare" if n < 5 else "common;other" if n % 2 else "common" for n in range(30)]
        data = load(
            write_csv(tmp_path / "a.csv", "path,label", [f"photos/{n},{c}" for n, c in zip(names, cells, strict=True)])
        )
        rare = [
            int(split.labels[:, data.classes.index("rare")].sum()) for split in (data.train, data.validation, data.test)
        ]
        assert rare == [3, 1, 1]

    def test_one_label_may_be_forced(self, tmp_path: Path, names: list[str]) -> None:
        """A class may have a semicolon in its name, and a table of single labels may be the start of more."""
        rows = [f'photos/{name},"{("a;b", "c")[n % 2]}"' for n, name in enumerate(names)]
        path = write_csv(tmp_path / "a.csv", "path,label", rows)
        assert load(path, multi_label=False).classes == ("a;b", "c")
        rows = [f"photos/{name},{n % 2}" for n, name in enumerate(names)]
        assert load(write_csv(path, "path,label", rows), multi_label=True).is_multi_label

    def test_arrays_may_have_several_labels(self) -> None:
        images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8)
        labels = np.arange(40)[:, None] // (1, 2, 4) % 2
        data = Images.from_arrays(images, labels, classes=("a", "b", "c"))
        assert data.is_multi_label
        assert data.signature.output == (3,)
        assert data.train.labels.dtype == np.float32
        with pytest.raises(ValueError, match=r"must be 0 or 1 .* but labels are int64 of shape \(40, 2\)"):
            Images.from_arrays(images, labels[:, :2] + 1)
        with pytest.raises(ValueError, match="a column for each of 2 classes, but they have 3"):
            Images.from_arrays(images, labels, classes=("a", "b"))
        with pytest.raises(ValueError, match="each label must have at least one image, but label 2 has none"):
            Images.from_arrays(images, labels * (1, 1, 0))


def test_a_bundle_names_the_labels(tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A file gets the logits of the tested pipeline, bit for bit, and each label a probability of its own."""
    rows = [f"photos/{name},{('a;b', 'c', 'a')[n % 3]}" for n, name in enumerate(names)]
    data = load(write_csv(tmp_path / "a.csv", "path,label", rows))
    script = write_bundle(tmp_path / "bundle", data)
    model = Model(script.parent)
    files = [tmp_path / "photos" / f"{image[0, 0, 0]}.png" for image in data.test.images]
    expected = outputs_of(script.with_name("model.onnx"), data.input_arrays(data.test, slice(None)))
    np.testing.assert_array_equal(model.outputs(files), expected)
    np.testing.assert_allclose(model.predict(files), torch.from_numpy(expected).sigmoid(), rtol=1e-5)
    assert answer(model, files, as_json=True) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["labels"] for line in lines] == [
        [title for title, logit in zip(data.classes, row, strict=True) if logit > 0] for row in expected
    ]


MISTAKES = {
    "no rows": ("path,label", [], "must have columns and rows, but .* has 2 and 0"),
    "another column": ("file,label", ["photos/0.png,a"], "the column 'path', but .* has file, label"),
    "no label": ("path,label", ["photos/0.png,a", "photos/1.png,"], "in row 2 of .* the column 'label' is empty"),
    "no path": ("path,label", ["photos/0.png,a", ",b"], "in row 2 of .* the column 'path' is empty"),
    "one class": ("path,label", ["photos/0.png,a", "photos/1.png,a"], "at least 2 classes, but .* has only a"),
    "twice": ("path,label", ["photos/0.png,a", "photos/0.png,b"], "rows 1 and 2 of .* have photos/0.png"),
    "split": ("path,label,split", ["photos/0.png,a,big", "photos/1.png,b,test"], "but row 1 .* has 'big'. To leave"),
    "no train": ("path,label,split", ["photos/0.png,a,val", "photos/1.png,b,val"], "says train nowhere"),
    "identities": ("path,label", [f"photos/{n}.png,id{n}" for n in range(300)], "300 of 300 labels differ"),
    "a torn row": ("path,label", ["photos/0.png,a,b,c"], "line 2: a row must have 2 cells, but it has 4"),
    "a NUL": ("path,label", ["a\0b.png,a", "photos/1.png,b"] * 1, "at most 5% .* 1 of 2|must be|none is there|broken"),
}


class TestMistakes:
    @pytest.mark.parametrize("name", set(MISTAKES) - {"a NUL"})
    def test_the_row_and_the_column_are_named(self, tmp_path: Path, names: list[str], name: str) -> None:
        header, rows, message = MISTAKES[name]
        with pytest.raises(DataError, match=message):
            load(write_csv(tmp_path / "a.csv", header, rows))

    def test_other_values_than_0_and_1(self, tmp_path: Path, names: list[str]) -> None:
        path = write_csv(tmp_path / "a.csv", "path,a,b", ["photos/0.png,0,1", "photos/1.png,1,nan"])
        with pytest.raises(DataError, match=r"must hold 0 or 1, but row 2 of .* has 'nan' in the column 'b'"):
            load(path, label_column=["a", "b"])

    def test_files_that_are_no_tables(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"must be a CSV or Parquet file, but .* does not exist"):
            load(tmp_path / "a.csv")
        (tmp_path / "a.csv").touch()
        with pytest.raises(DataError, match="names the columns, but it is empty"):
            load(tmp_path / "a.csv")
        for name, message in (("b.parquet", "cannot be read as Parquet"), ("b.csv", "must be text in UTF-8")):
            (tmp_path / name).write_bytes(b"\xff" + bytes(range(1, 200)))
            with pytest.raises(DataError, match=message):
                load(tmp_path / name)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"path_column": 3}, "path_column must be the name of a column, but got 3"),
            ({"label_column": ["a"]}, "at least 2 different names"),
            ({"label_column": ["a", "a"]}, "at least 2 different names"),
            ({"label_column": []}, "at least 2 different names"),
            ({"multi_label": "yes"}, "must be true or false, but got 'yes'"),
        ],
    )
    def test_options_that_are_none(self, tmp_path: Path, options: dict[str, Any], message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            load(tmp_path / "a.csv", **options)

    def test_columns_belong_to_tables(self) -> None:
        with pytest.raises(RecipeError, match=r"columns belong to a table of pictures, .* not to digits"):
            load_data("digits", columns=Columns(label="kind"))
