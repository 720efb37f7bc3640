"""Look-ups in a table: values by architecture, missing values, and invalid settings."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_space import DEVICE, Chain, accuracy, final_accuracy, latency_ms, write_table

from nas.errors import CandidateError, RecipeError
from nas.progress import NullProgress
from nas.recipe.sections import TableRecipe
from nas.space.architecture import Architecture, Choice, Option
from nas.space.search_space import SearchSpace, enumerate_space
from nas.tables.row_space import RowSpace
from nas.tables.table import read_table
from nas.tables.table_evaluation import SearchedTable, TableLookup

ALL = list(enumerate_space(Chain()))
ONE, OTHER, THIRD = ALL[100], ALL[101], ALL[102]
COLUMNS = {"accuracy": "val_acc", "test_accuracy": "test_acc", "device": DEVICE}


def searched(path: Path, space: SearchSpace | None = None, **changes: Any) -> SearchedTable:
    return SearchedTable(TableRecipe(path=str(path), **{**COLUMNS, **changes}), space or Chain())


def text_table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_values_come_from_the_row_of_the_architecture(tmp_path: Path) -> None:
    """Errors are shares, from the columns of the search and of winners; metrics are exact."""
    table = searched(write_table(tmp_path / "t.csv.gz"))
    table.check(["latency_ms", "energy_mj"])
    assert table.error(ONE) == pytest.approx(1 - accuracy(ONE) / 100)
    assert table.test_error(ONE) == pytest.approx(1 - final_accuracy(ONE) / 100)
    found = table.measurements(ONE, ["latency_ms", "energy_mj"])
    assert found["latency_ms"].rounds == ((latency_ms(ONE),),)
    assert found["energy_mj"].median == pytest.approx(2 * latency_ms(ONE))
    assert found["latency_ms"].target == f"table:{DEVICE}"
    assert found["latency_ms"].interval.is_point
    assert found["latency_ms"].table == str(tmp_path / "t.csv.gz")
    assert found["latency_ms"].conditions["column"] == f"latency_ms_{DEVICE}"
    assert table.metrics == ("latency_ms", "energy_mj")
    assert searched(tmp_path / "t.csv.gz", test_accuracy=None).test_error(ONE) == table.error(ONE)


def test_a_missing_value_fails_its_architecture(tmp_path: Path) -> None:
    """A missing row or an empty cell fails that architecture with a reason, and no other."""
    table = searched(write_table(tmp_path / "t.csv.gz", without=[ONE], empty=[OTHER]))
    rows = table.rows(
        [ONE, OTHER, THIRD], ["latency_ms"], round_number=2, rng=np.random.default_rng(0), progress=NullProgress()
    )
    assert [row.failure.kind if row.failure else None for row in rows] == ["table", "table", None]
    assert rows[0].failure is not None
    assert rows[0].failure.reason.endswith("t.csv.gz has no row of this architecture")
    assert rows[1].failure is not None
    assert f"latency_ms_{DEVICE} is empty in row 101 of" in rows[1].failure.reason
    assert rows[2].measurements["latency_ms"].median == latency_ms(THIRD)
    assert {row.round for row in rows} == {2}
    with pytest.raises(CandidateError, match="no row"):
        table.error(ONE)
    assert table.error(OTHER) == pytest.approx(1 - accuracy(OTHER) / 100)


class Twins:
    """A space where ``b`` matters only if ``a`` is 1; only ``canonical`` knows this."""

    choices = (Choice("a", (0, 1)), Choice("b", (0, 1, 2)))

    def canonical(self, values: Mapping[str, Option]) -> dict[str, Option]:
        return dict(values) if values["a"] else {"a": 0, "b": 0}

    def build(self, architecture: Architecture) -> Any:
        raise AssertionError("nothing is built")


def test_a_network_is_found_by_its_first_duplicate(tmp_path: Path) -> None:
    """A row with exactly the same choices comes before any duplicate network."""
    twins = text_table(tmp_path / "t.csv", "a,b,val_acc\n0,1,50\n0,2,60\n1,0,70\n")
    table = searched(twins, Twins(), test_accuracy=None, device=None)
    assert table.error(Architecture({"a": 0, "b": 0})) == 0.5
    assert table.error(Architecture({"a": 0, "b": 2})) == 0.4
    assert table.error(Architecture({"a": 1, "b": 0})) == 0.3
    with pytest.raises(CandidateError, match="no row"):
        table.error(Architecture({"a": 1, "b": 2}))


def test_a_metric_of_zero_is_a_failure(tmp_path: Path) -> None:
    """The column of an unrequested metric is not checked in advance."""
    path = text_table(tmp_path / "t.csv", "a,b,val_acc,latency_ms,energy_mj\n1,0,70,2.5,0\n")
    table = searched(path, Twins(), test_accuracy=None, device=None)
    table.check(["latency_ms"])
    with pytest.raises(CandidateError, match="energy_mj must be positive, but is 0 in row 1 of"):
        table.measurements(Architecture({"a": 1, "b": 0}), table.metrics)


def test_without_a_device_a_metric_is_the_column_of_its_name(tmp_path: Path) -> None:
    """Tables of a single device have such columns."""
    table = searched(text_table(tmp_path / "t.csv", "a,b,val_acc,latency_ms\n1,0,70,2.5\n"), Twins(),
                     test_accuracy=None, device=None)  # fmt: skip
    table.check(["latency_ms"])
    found = table.measurements(Architecture({"a": 1, "b": 0}), table.metrics)
    assert found["latency_ms"].median == 2.5
    assert found["latency_ms"].target == "table"


def test_a_lookup_pauses_and_reports_simulated_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is real; the reported seconds are simulated."""
    slept: list[float] = []
    monkeypatch.setattr("nas.tables.table_evaluation.time.sleep", slept.append)
    lookup = TableLookup(searched(write_table(tmp_path / "t.csv.gz"), training_s=1200, pause_s=0.25))
    reports = list(lookup({"id": ONE.id, "architecture": dict(ONE)}))
    error = pytest.approx(1 - accuracy(ONE) / 100)
    assert reports == [{"epoch": 1, "error": error, "seconds": 1200, "by": "table", "done": True}]
    assert slept == [0.25]


def test_a_pickled_table_reads_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers receive the path, which stays valid in another folder."""
    monkeypatch.chdir(tmp_path)
    write_table(Path("t.csv.gz"))
    table = searched(Path("t.csv.gz"))
    assert table.error(ONE) > 0
    sent = pickle.dumps(table)
    assert len(sent) < 2000
    monkeypatch.chdir("/")
    copy = pickle.loads(sent)
    assert copy.error(ONE) == table.error(ONE)
    (tmp_path / "t.csv.gz").unlink()
    assert copy.error(OTHER) == table.error(OTHER)


@pytest.mark.parametrize(
    ("changes", "metrics", "message"),
    [
        ({"accuracy": None}, [], "table.accuracy must name the column of .*t.csv.gz that the search uses, in per cent"),
        ({"accuracy": "val_ac"}, [], "it has none named 'val_ac'. Did you mean 'val_acc'"),
        ({"test_accuracy": "tst"}, [], "it has none named 'tst'"),
        ({"device": "toys"}, ["latency_ms"], "none for the device 'toys'. Did you mean 'toy'"),
        ({"device": None}, ["latency_ms"], "Set table.device to one of toy, other"),
        ({"device": "other"}, ["energy_mj"], "none for the device 'other'. Known: toy"),
        ({}, ["peak_memory_mib"], r"no column of peak_memory_mib\. It has energy_mj, latency_ms\. Choose other"),
    ],
    ids=["none", "accuracy", "test", "device", "no device", "other device", "metric"],
)
def test_a_missing_column_is_refused_with_suggestions(
    tmp_path: Path, changes: dict[str, Any], metrics: list[str], message: str
) -> None:
    """The error comes before any look-up, and lists the existing columns."""
    with pytest.raises(RecipeError, match=message):
        searched(write_table(tmp_path / "t.csv.gz"), **changes).check(metrics)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,0,170,2\n", "from 0 to 100, but 'val_acc' of .* holds 170 in row 1"),
        ("1,0,0.7,2\n", r"no value in 'val_acc' of .* is above 1\. If they are shares, multiply them by 100"),
        ("1,0,70,0\n", "column 'latency_ms' of .* must be positive, but row 1 holds 0"),
        ("1,0,70,fast\n", "column 'latency_ms' of .* must hold numbers, but row 1 holds 'fast'"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    """Accuracies above 100 or written as shares, latencies of zero, and texts are refused."""
    path = text_table(tmp_path / "t.csv", f"a,b,val_acc,latency_ms\n{rows}")
    with pytest.raises(RecipeError, match=message):
        searched(path, Twins(), test_accuracy=None, device=None).check(["latency_ms"])


class TestArchitecturesWithSeveralRows:
    TEXT = "a,b,val_acc,latency_ms\n1,0,70,2.5\n1,1,80,3\n1,0,70,9\n1,1,80,3\n1,0,71,\n1,2,60,4\n"

    def test_are_told_with_the_row_that_counts(self, tmp_path: Path) -> None:
        """Equal rows and other columns do no harm."""
        table = searched(text_table(tmp_path / "t.csv", self.TEXT), Twins(), test_accuracy=None, device=None)
        told = f"1 of 3 architectures have several rows with different values in {tmp_path / 't.csv'}, such as rows 1 "
        assert table.doubts(["latency_ms"]) == [f"{told}and 3: the first row of each is used."]
        assert table.doubts([]) == [f"{told}and 5: the first row of each is used."]
        assert table.measurements(Architecture({"a": 1, "b": 0}), ["latency_ms"])["latency_ms"].median == 2.5
        assert table.error(Architecture({"a": 1, "b": 0})) == pytest.approx(0.3)

    def test_no_words_where_all_agree(self, tmp_path: Path) -> None:
        text = "a,b,val_acc,latency_ms,note\n1,0,70,2.5,1\n1,0,70,2.5,2\n"
        table = searched(text_table(tmp_path / "t.csv", text), Twins(), test_accuracy=None, device=None)
        assert table.doubts(["latency_ms"]) == []

    def test_give_predictors_their_first_value(self, tmp_path: Path) -> None:
        """Here as in a search; an empty field gives no value."""
        path = text_table(tmp_path / "t.csv", "a,b,latency_ms\n1,0,\n1,0,2\n1,0,3\n0,0,4\n")
        assert read_table(path, Twins()).values("latency_ms") == {
            Architecture({"a": 1, "b": 0}): 2,
            Architecture({"a": 0, "b": 0}): 4,
        }


@pytest.mark.parametrize(
    ("accuracies", "error"),
    [
        ((10.0, 10.0, 10.0, 55.13, 90.0), 0.9),
        ((33.33, 33.33, 33.33, 70.0), 0.6667),
        ((10.0, 10.0, 55.13, 90.0), None),  # two rows alone may be so by chance
        ((50.0, 50.0, 50.0, 62.0, 71.0), None),  # of whole per cent, many share one
        ((12.7, 12.7, 12.7, 55.0), None),  # of no whole number of classes
        ((0.0, 0.0, 0.0, 55.13), None),
    ],
)
def test_models_at_chance_are_known_by_what_several_rows_share(
    accuracies: tuple[float, ...], error: float | None, tmp_path: Path
) -> None:
    """The lowest accuracy is that of one class of N, which a model gives that learned nothing."""
    path = text_table(tmp_path / "t.csv", "name,acc\n" + "".join(f"m{n},{v}\n" for n, v in enumerate(accuracies)))
    table = searched(path, RowSpace(str(path), ["name"]), accuracy="acc", test_accuracy=None, device=None)
    assert table.chance_error("acc") == (None if error is None else pytest.approx(error))
