"""Tables are read as they were written, and invalid ones are refused with a clear message."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_bench import FakeBench
from fault_spaces import Faulty

from nas.errors import RecipeError
from nas.progress import NullProgress
from nas.space.architecture import Architecture, Option
from nas.space.search_space import SearchSpace, load_space
from nas.space.signature import image_signature
from nas.tables.measured_table import measure_table
from nas.tables.table import Table, read_table
from nas.values.target import Target
from search_spaces.nasbench201 import EDGES, OPERATIONS, NasBench201

CHOICES = ("width", "depth", "kernel", "part")
HEADER = (*CHOICES, "latency_ms_phone")


def read(tmp_path: Path, rows: Sequence[Sequence[object]], space: SearchSpace | None = None) -> Table:
    """Read the table with these rows, the header first, as a table of Faulty or of another given space."""
    path = tmp_path / "table.csv"
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return read_table(path, space or Faulty())


def test_a_measured_table_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The architectures and medians come back in the same order; failed rows have no median."""
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model", lambda module, shape, batch, path, form: path.write_bytes(b"model")
    )
    space, target, path = Faulty("build"), Target("onnxruntime-cpu", threads=2), tmp_path / "t.csv.gz"
    rows = measure_table(
        space, 20, target, FakeBench(space), path, signature=image_signature((1, 8, 8), 10), metrics=["latency_ms"],
        store=None, seed=0, progress=NullProgress(),
    )  # fmt: skip
    table = read_table(path, space)
    assert table.architectures == tuple(row.architecture for row in rows)
    assert any("kernel" not in architecture for architecture in table.architectures)
    (device,) = table.targets("latency_ms")
    assert device == "onnxruntime-cpu_fp32_batch1_threads2"
    values = table.column(f"latency_ms_{device}", positive=True)
    for row, value, params in zip(rows, values, table.column("params"), strict=True):
        if row.failed:
            assert np.isnan([value, params]).all()
        else:
            assert value == pytest.approx(row.measurements["latency_ms"].median, rel=1e-6)
            assert params > 0
    assert 0 < np.isnan(values).sum() < 20
    with pytest.raises(
        RecipeError, match=r"column 'failure' of .*t\.csv\.gz must hold numbers, but row \d+ holds '.*cannot be built"
    ):
        table.column("failure")


def test_duplicate_networks_stay_separate_rows(tmp_path: Path) -> None:
    """Two cells of the same network stay two rows; plain and gzip CSV read the same."""
    header = [f"op_e{to}{source}" for to, source in EDGES]
    space = NasBench201((3, 32, 32), 10)
    plain = read(tmp_path, [[*header, "cost_a"], [3, 0, 0, 1, 0, 0, 1.5], [0, 0, 0, 1, 0, 0, ""]], space)
    first, second = plain.architectures
    assert list(first.values()) == [OPERATIONS[n] for n in (3, 0, 0, 1, 0, 0)]
    assert first != second
    assert space.canonical(first) == space.canonical(second) == dict(second)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress((tmp_path / "table.csv").read_bytes()))
    again = read_table(packed, space)
    assert again.architectures == plain.architectures
    np.testing.assert_array_equal(again.column("cost_a"), [1.5, np.nan])


def test_columns_hold_numbers(tmp_path: Path) -> None:
    """Choices and texts are no columns; devices keep their order, without bounds and other metrics."""
    names = ["id", "lower_latency_ms_b", "latency_ms_b", "latency_ms_a_1", "modelled_energy_mj_b", "flags_b"]
    table = read(tmp_path, [[*CHOICES, *names], [0, 1, 1, 0, "x", 1, "2e0", "", 4, ""], [], [5, 0, "", 0, *"y12345"]])
    assert set(table.columns) == {*names} - {"id"}
    assert table.targets("latency_ms") == ("b", "a_1")
    assert table.targets("energy_mj") == ()
    assert [table.has_column(name) for name in ("id", "flags_b", "width", "latency_ms_c")] == [True, True, False, False]
    assert [dict(architecture) for architecture in table.architectures] == [
        {"width": 2, "depth": 1, "kernel": 3, "part": "plain"},
        {"width": 8, "depth": 0, "part": "plain"},
    ]
    np.testing.assert_array_equal(table.column("latency_ms_a_1"), [np.nan, 3])
    assert len(table) == 2


def test_an_empty_choice_that_a_network_depends_on_is_refused(tmp_path: Path) -> None:
    """Without it, the canonical form is unknown."""
    space = load_space("nasbench201", {}, input_shape=(3, 32, 32), classes=10)
    path = tmp_path / "table.csv"
    names = [choice.name for choice in space.choices]
    path.write_text("\n".join([",".join(names), ",".join("3" * len(names)), ",".join(["3"] * (len(names) - 1) + [""])]))
    with pytest.raises(RecipeError, match=rf"column '{names[-1]}' of .* where the network depends on it, but row 2 is"):
        read_table(path, space)


def test_canonical_rows_may_omit_active_choices(tmp_path: Path) -> None:
    """Tables of such spaces are written without them."""

    class Twins(Faulty):
        """A space where all depths give the same network."""

        def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
            return {"width": values["width"], "part": values["part"]}

    table = read(tmp_path, [HEADER, [1, "", "", 0, 1]], Twins())
    assert table.architectures == (Architecture({"width": 3, "part": "plain"}),)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "with a header and a row for each architecture, but .*table.csv is empty"),
        ([HEADER], "but .*table.csv has no rows"),
        ([("width", "depth", "part"), (0, 0, 0)], "none for 'kernel': it is a table of another space"),
        ([HEADER, (0, 0, "", 0, 1), (0, 0, "", 0)], "table.csv must have the 5 fields of its header, but row 2 has 4"),
        ([HEADER, (0, 0, "", 0, 1), (6, 0, "", 0, 1)], "'width' of .* options, 0 to 5, but row 2 holds '6'"),
        ([HEADER, (-1, 0, "", 0, 1)], "'width' of .* options, 0 to 5, but row 1 holds '-1'"),
        ([HEADER, (1.0, 0, "", 0, 1)], "'width' of .* options, 0 to 5, but row 1 holds '1.0'"),
        ([HEADER, (0, 0, 1, 0, 1)], "'kernel' of .* be empty elsewhere, but row 1 holds one"),
        ([HEADER, (0, "", "", 0, 1)], "'depth' of .* must hold an option's number where .*, but row 1 is empty"),
        ([(*HEADER, "width"), (0, 0, "", 0, 1, 2)], "different names, but .*table.csv has 'width' twice"),
        ([HEADER, (0, 0, "", 0, "a\0b" * 50_000)], "but .*table.csv is no valid CSV: field larger than field limit"),
    ],
)
def test_an_invalid_table_is_refused(tmp_path: Path, rows: Sequence[Sequence[object]], message: str) -> None:
    """The message names the file, the column or the row, then the rule and the value."""
    with pytest.raises(RecipeError, match=message):
        read(tmp_path, rows)


@pytest.mark.parametrize("text", ["fast", "nan", "inf", "1,5"])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    """The error comes when that column is used; its device is still listed."""
    table = read(tmp_path, [HEADER, (0, 0, "", 0, 1), (1, 0, "", 0, text)])
    assert table.targets("latency_ms") == ("phone",)
    with pytest.raises(RecipeError, match=f"'latency_ms_phone' of .*csv must hold numbers, but row 2 holds '{text}'"):
        table.column("latency_ms_phone")


def test_a_column_is_checked_as_asked(tmp_path: Path) -> None:
    """An unknown name gets a suggestion; zero is a valid number, but not positive."""
    table = read(tmp_path, [HEADER, (0, 0, "", 0, 1), (1, 0, "", 0, 0)])
    np.testing.assert_array_equal(table.column("latency_ms_phone"), [1, 0])
    with pytest.raises(RecipeError, match=r"'latency_ms_phone' of .*table.csv must be positive, but row 2 holds 0\."):
        table.column("latency_ms_phone", positive=True)
    with pytest.raises(RecipeError, match=r"none named 'latency_ms_fone'\. Did you mean 'latency_ms_phone'\?"):
        table.column("latency_ms_fone")


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b broken", gzip.compress(b"width" * 99, mtime=0)[:-9], b"width\xff\n1\n"],
    ids=["broken", "cut", "text"],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    """Damaged gzip, text that is not UTF-8, and a missing file are refused."""
    path = tmp_path / "table.csv.gz"
    with pytest.raises(RecipeError, match=r"but .*table\.csv\.gz does not exist\."):
        read_table(path, Faulty())
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"but .*table\.csv\.gz cannot be read: "):
        read_table(path, Faulty())
