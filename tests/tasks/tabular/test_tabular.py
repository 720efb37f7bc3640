"""The task of tables: what becomes of columns, targets and splits, and what is told about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from made_tables import people, written

from nas.errors import DataError
from nas.tasks.batches import items_at
from nas.tasks.deployed.tabular import category_of
from nas.tasks.loading import Loading, load_task
from nas.tasks.tabular.reading import checked_frame
from nas.tasks.tabular.tabular import Tabular


def loaded(name: str, folder: Path = Path(), **options: Any) -> Tabular:
    """Return the task of a table by its name."""
    task = load_task("nas.tasks.tabular.loading:load_tables", name, Loading(folder=folder), options)
    assert isinstance(task, Tabular)
    return task


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "rows"), [("", 30, 2, 569), ("wine", 13, 3, 178), ("diabetes", 10, 1, 442)]
)
def test_named_tables(name: str, inputs: int, outputs: int, rows: int) -> None:
    """Scikit-learn's tables have their columns and rows, and nothing to warn of."""
    task = loaded(name)
    assert [each.shape for each in task.signature.inputs] == [(inputs,)]
    assert task.signature.output == (outputs,)
    assert len(task.train) + len(task.validation) + len(task.test) == rows
    assert not task.warnings
    assert task.fingerprint == loaded(name).fingerprint


def test_numbers_are_standardised_by_training_rows() -> None:
    """Inputs of the training rows have mean 0 and deviation 1; all rows are prepared alike."""
    task = loaded("wine")
    (inputs,) = task.input_arrays(task.train, slice(None))
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(axis=0), 1, atol=1e-5)
    batch = items_at(task.test, slice(0, 20))
    (trained,) = task.inputs_of(batch.raw)
    assert np.array_equal(trained.numpy(), task.prepared(batch.raw)[0])


def test_quantiles_give_normal_numbers() -> None:
    """Scaled by quantiles, a skewed column becomes normal, and far values stay bounded."""
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"skewed": np.exp(3 * rng.normal(size=600)), "y": rng.normal(size=600)})
    task = Tabular.from_frame(frame, target="y", scaling="quantile")
    (inputs,) = task.input_arrays(task.train, slice(None))
    assert abs(float(np.median(inputs))) < 0.05
    assert float(np.percentile(inputs, 84)) == pytest.approx(1, abs=0.1)
    far = task.preparation.prepared(task.preparation.read({"skewed": 1e30}))[0]
    assert float(far.item()) == pytest.approx(5.2)


def test_both_inputs_and_missing_values() -> None:
    """Columns with missing numbers get a flag, categories numbers with one for missing and one for unknown."""
    task = Tabular.from_frame(people(), target="pay")
    numbers, categories = task.signature.inputs
    assert (numbers.name, numbers.shape) == ("numbers", (3,))
    assert (categories.name, categories.dtype, categories.counts) == ("categories", "int64", (6, 4, 5))
    preparation = task.preparation
    raw = preparation.read({"age": 30, "job": "", "hours": None, "abroad": True, "zone": "the moon"})
    prepared = preparation.prepared(raw)
    assert prepared[0][0, 2] == 1  # hours are missing
    assert prepared[1].tolist() == [[0, 3, 1]]
    assert {batch.dtype for batch in task.inputs_of(items_at(task.train, slice(0, 4)).raw)} == {
        torch.float32,
        torch.int64,
    }


def test_rare_categories_count_as_unknown() -> None:
    """A category that one training row has shares its number with those that none has."""
    frame = people()
    frame.loc[0, "job"] = "astronaut"
    task = Tabular.from_frame(frame, target="pay")
    assert "astronaut" not in task.columns.categories[0].values


def test_numbers_named_as_categories() -> None:
    """The option ``categories`` makes categories of whole numbers."""
    frame = people().assign(code=lambda each: each.index % 3)
    assert len(Tabular.from_frame(frame, target="pay").columns.categories) == 3
    task = Tabular.from_frame(frame, target="pay", categories=["code"])
    assert task.columns.categories[-1].values == ("0", "1", "2")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a"], ("a", "b")),
        ([True, False], ("false", "true")),
        ([3, 10], ("3", "10")),
        ([3.0, 10.0], ("3", "10")),
    ],
)
def test_few_values_are_classes(values: list[Any], classes: tuple[str, ...]) -> None:
    """Text, booleans and few whole numbers are classes."""
    frame = pandas.DataFrame({"x": np.arange(100) % 7, "y": values * 50})
    assert Tabular.from_frame(frame, target="y").classes == classes


def test_many_numbers_are_values_in_units_of_the_data() -> None:
    """Regression learns standardised targets, and answers in the units of the data."""
    task = loaded("diabetes")
    targets = items_at(task.train, slice(None)).targets
    assert float(targets.mean()) == pytest.approx(0, abs=1e-5)
    assert float(targets.std()) == pytest.approx(1, abs=1e-2)
    assert task.answers["offset"][0] == pytest.approx(152, abs=3)


def test_kind_decides_what_is_ambiguous() -> None:
    """Whole numbers are values if the option says so, and a number is a class if it does."""
    frame = pandas.DataFrame({"x": np.arange(200) % 7, "y": np.arange(200) % 5})
    assert not Tabular.from_frame(frame, target="y", kind="regression").classes
    frame = pandas.DataFrame({"x": np.arange(300) % 7, "y": np.arange(300) % 30 + 18})
    assert not Tabular.from_frame(frame, target="y").classes
    assert len(Tabular.from_frame(frame, target="y", kind="classification").classes) == 30


def test_splits_keep_shares_of_classes() -> None:
    """Each split has each class's share, and the test rows do not depend on the seed."""
    tasks = [Tabular.from_frame(people(400), target="pay", seed=seed) for seed in (0, 1)]
    shares = [np.mean(each.targets) for each in (tasks[0].train, tasks[0].validation, tasks[0].test)]
    assert np.ptp(shares) < 0.03
    assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(*(t.test.raw for t in tasks), strict=True))
    assert not np.array_equal(*(task.validation.raw[1] for task in tasks))


def test_groups_stay_together() -> None:
    """Rows of one group are in one split, and the group is no input."""
    frame = people(300).assign(patient=lambda each: each.index // 5, mark=lambda each: each.index // 5 * 1.0)
    task = Tabular.from_frame(frame, target="pay", group="patient")
    assert "patient" not in task.preparation.columns
    place = task.preparation.columns.index("mark")
    found = [set(split.raw[0][:, place].tolist()) for split in (task.train, task.validation, task.test)]
    assert len(set.union(*found)) == sum(map(len, found)) == 60


@pytest.mark.parametrize(("target", "share"), [("age", 0.05), ("pay", 0.01)])
def test_groups_give_shares_that_are_smaller_than_one_row_of_a_class(target: str, share: float) -> None:
    """There are enough groups, but of no class or range of values as many rows as such shares make of one."""
    frame = people(150).assign(patient=range(150))
    task = Tabular.from_frame(frame, target=target, kind="auto", group="patient", validation_share=share)
    assert len(task.validation) == pytest.approx(120 * share, abs=1)


@pytest.mark.timeout(10)
def test_many_columns_are_checked_at_once() -> None:
    """Gene tables have 50,000."""
    frame = pandas.DataFrame(np.zeros((1, 50_000)), columns=[f"gene{number}" for number in range(50_000)])
    assert checked_frame(frame, "genes").shape == (1, 50_000)
    with pytest.raises(DataError, match=r"genes has 'gene7' 2 times"):
        checked_frame(frame.rename(columns={"gene9": "gene7"}), "genes")


def test_another_table_scores_winners(tmp_path: Path) -> None:
    """The option ``test`` names a file whose rows are the test split."""
    written(people(200), tmp_path / "train.csv")
    written(people(50, seed=1), tmp_path / "test.parquet")
    task = loaded("train.csv", tmp_path, target="pay", test="test.parquet")
    assert len(task.test) == 50
    assert len(task.train) + len(task.validation) == 200


@pytest.mark.parametrize("name", ["people.csv", "people.tsv", "people.parquet"])
def test_files_equal_the_frame(tmp_path: Path, name: str) -> None:
    """A file gives the same task as the DataFrame that was written to it, to the last bit."""
    frame = people()
    written(frame, tmp_path / name)
    task = loaded(name, tmp_path, target="pay")
    assert task.fingerprint == Tabular.from_frame(frame, target="pay").fingerprint


def test_columns_without_information_are_left_out() -> None:
    """Constant columns and names are left out with a note."""
    frame = people().assign(
        planet="Earth", zero=0, person=lambda each: each.index.map("person {}".format), born=pandas.Timestamp(0)
    )
    task = Tabular.from_frame(frame, target="pay")
    assert task.preparation.columns == ("age", "hours", "job", "abroad", "zone")
    told = " ".join(task.warnings)
    assert "constant columns are left out: zero, born, planet." in told
    assert "do not repeat, such as names, are left out: person." in told


def test_doubts_are_told() -> None:
    """Columns that leak the target or look like identifiers, copied rows and unequal classes are told."""
    frame = people(300)
    told = " ".join(Tabular.from_frame(frame.assign(copy=frame["pay"] == "high"), target="pay").warnings)
    assert "column copy predicts pay on its own for 100.0 % of the rows" in told
    diabetes = loaded("diabetes")
    assert not diabetes.warnings
    numbers = pandas.DataFrame({"x": np.random.default_rng(0).normal(size=300)})
    told = " ".join(Tabular.from_frame(numbers.assign(y=lambda each: 3 * each.x + 1), target="y").warnings)
    assert "column x explains" in told
    told = " ".join(Tabular.from_frame(frame.assign(number=frame.index), target="pay").warnings)
    assert "column number has another whole number in each row" in told
    told = " ".join(Tabular.from_frame(pandas.concat([frame, frame]), target="pay").warnings)
    assert "rows depend on others" in told
    rare = frame.assign(pay=np.where(frame.index < 8, "rare", "usual"))
    assert "classes are unequal: usual has 97.4 %" in " ".join(Tabular.from_frame(rare, target="pay").warnings)


def test_class_without_validation_row_is_told() -> None:
    """A class with two rows has none left to validate."""
    frame = people(200)
    frame.loc[:1, "pay"] = "unknown"
    told = " ".join(Tabular.from_frame(frame, target="pay").warnings)
    assert "no validation row is of unknown" in told


def test_distinct_amounts_are_no_identifiers() -> None:
    """Whole numbers that all differ, but do not count, such as incomes, are not accused; named like one they are."""
    incomes = np.random.default_rng(0).permutation(300) * 997 + 11
    frame = people(300)
    assert not Tabular.from_frame(frame.assign(income=incomes), target="pay").warnings
    assert "client_id has another" in " ".join(
        Tabular.from_frame(frame.assign(client_id=incomes), target="pay").warnings
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), ("1.0", "1"), ("007", "007"), (2.5, "2.5"), (True, "true"), ("TRUE", "true"), (" a ", "a")],
)
def test_one_category_however_it_is_written(value: Any, text: str) -> None:
    """A category has one text, whether it comes from CSV, JSON or a DataFrame."""
    assert category_of(value) == text


def test_infinite_numbers_are_named() -> None:
    """An infinite number is refused with its row and column."""
    frame = people()
    frame.loc[6, "age"] = np.inf
    with pytest.raises(DataError, match="row 7, column age"):
        Tabular.from_frame(frame, target="pay")
