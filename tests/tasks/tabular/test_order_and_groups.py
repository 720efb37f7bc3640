"""Rows of a table split by time or by group, and the warning where they look like a series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

from nas.errors import DataError
from nas.tasks.batches import items_at
from nas.tasks.folds import check_folds, folds_of
from nas.tasks.loading import Loading, load_task
from nas.tasks.tabular.tabular import Tabular

COUNT = 300


def frame(**columns: object) -> pandas.DataFrame:
    """Rows that are numbered in their order, with a target by chance."""
    rng = np.random.default_rng(0)
    return pandas.DataFrame({"number": np.arange(COUNT) + 0.5, "y": rng.choice(["no", "yes"], COUNT), **columns})


def numbers(rows: object) -> np.ndarray:
    """The numbers of the rows of a split."""
    return items_at(rows, slice(0, len(rows))).raw[0][:, 0].numpy()  # type: ignore[arg-type]


DAYS = pandas.date_range("2024-01-01", periods=COUNT).strftime("%Y-%m-%d")


@pytest.mark.parametrize("order", ["day", "rows"])
def test_rows_are_split_by_time(order: str) -> None:
    """Models train on earlier rows and are tested on the latest, wherever these lie in the file."""
    given = frame(day=DAYS)
    if order == "day":
        given = given.sample(frac=1, random_state=0)
    task = Tabular.from_frame(given, target="y", order=order)
    assert numbers(task.train).max() < numbers(task.validation).min()
    assert numbers(task.validation).max() < numbers(task.test).min()
    assert len(task.test) == COUNT // 5
    assert "day" not in [each.name for each in task.columns.numbers] or order == "rows"
    assert task.facts["split by"] == f"time, of {order}"
    with pytest.raises(DataError, match="folds must be 1, because rows are split by time"):
        check_folds(task, 3)


def test_a_test_table_leaves_validation_to_time() -> None:
    """It needs no column of times."""
    task = Tabular.from_frame(frame(day=DAYS), target="y", order="day", test=frame())
    assert len(task.test) == COUNT
    assert numbers(task.train).max() < numbers(task.validation).min()


@pytest.mark.parametrize("persons", [2 + 1, 10])
def test_groups_are_in_one_split_and_one_fold(persons: int) -> None:
    """Also where there are fewer than five. Folds never divide a group."""
    person = np.arange(COUNT) % persons
    task = Tabular.from_frame(frame(person=person), target="y", group="person")
    splits = [set(person[numbers(each).astype(int)]) for each in (task.train, task.validation, task.test)]
    assert all(splits)
    assert sum(map(len, splits)) == persons
    for fold in folds_of(task, len(splits[0] | splits[1])):
        assert not set(person[numbers(fold.train).astype(int)]) & set(person[numbers(fold.validation).astype(int)])
    told = " ".join(task.warnings)
    assert ("test split has 33 % of the rows instead of 20 %, because groups stay together" in told) == (persons == 3)
    assert f"the test split has only {len(splits[2])} of the groups, and intervals" in told


@pytest.mark.parametrize(
    ("ends", "test", "validation"), [((0.05, 0.1), 90, 50), ((0.45, 0.95), 5, 53), ((0.64, 0.8), 0, 0)]
)
def test_a_split_by_time_of_another_size_is_told(ends: tuple[float, float], test: int, validation: int) -> None:
    """Years of very different sizes give splits that are far too large or too small."""
    years = 2020 + sum((np.arange(COUNT) >= end * COUNT).astype(int) for end in ends)
    told = " ".join(Tabular.from_frame(frame(year=years), target="y", order="year").warnings)
    why = "because equal times of data.order stay together and there are 3 different ones"
    assert (f"the test split has {test} % of the rows instead of 20 %, {why}" in told) == (test > 0)
    assert (f"the validation split has {validation} % of the rows instead of 20 %, {why}" in told) == (validation > 0)
    assert ("instead of" in told) == (test > 0)
    assert "instead of" not in " ".join(Tabular.from_frame(frame(day=DAYS), target="y", order="day").warnings)


def test_order_and_group_exclude_each_other() -> None:
    with pytest.raises(DataError, match="split by time or by group, but got the order 'day' and the group 'person'"):
        Tabular.from_frame(frame(day=DAYS, person=1), target="y", order="day", group="person")
    with pytest.raises(DataError, match="order must be a column of custom, but got 'days'"):
        Tabular.from_frame(frame(day=DAYS), target="y", order="days")
    with pytest.raises(DataError, match="at least 2 groups, because groups stay together, but got 1"):
        Tabular.from_frame(frame(person=1), target="y", group="person")
    with pytest.raises(DataError, match=r"cannot be taken by time, because data\.order is the same in each row"):
        Tabular.from_frame(frame(day=1), target="y", order="day")


def test_a_series_is_told() -> None:
    """By a column of times that sorts the rows, or by targets that are like the one before."""
    day = Tabular.from_frame(frame(day=DAYS), target="y").warnings
    assert any("rows look like a series, because they are sorted by day" in each for each in day)
    assert any("set data.order=day" in each for each in day)
    walk = np.cumsum(np.random.default_rng(0).normal(size=COUNT))
    walking = Tabular.from_frame(frame(y=walk), target="y").warnings
    assert any("each target is like the one before (autocorrelation 0.9" in each for each in walking)
    assert any("set data.order=rows" in each for each in walking)
    for told in (
        Tabular.from_frame(frame(), target="y").warnings,
        Tabular.from_frame(frame(y=walk), target="y", order="rows").warnings,
        Tabular.from_frame(frame(born=DAYS.to_series().sample(frac=1, random_state=0).to_numpy()), target="y").warnings,
    ):
        assert not any("series" in each for each in told)


def test_a_recipe_names_the_order(tmp_path: Path) -> None:
    """The option of a recipe reaches the table; without it, rows are split as before it was there."""
    frame(day=DAYS).to_csv(tmp_path / "t.csv", index=False)

    def loaded(**options: object) -> Tabular:
        task = load_task("tables", "t.csv", Loading(folder=tmp_path), {"target": "y", **options})
        assert isinstance(task, Tabular)
        return task

    assert numbers(loaded(order="day").test).min() == COUNT - COUNT // 5 + 0.5
    assert len(numbers(loaded().test)) == 60


def test_times_of_a_file_are_ordered_in_utc(tmp_path: Path) -> None:
    """Else the future of rows five hours ahead would be in training. Models of the column still get its clock."""
    later = pandas.date_range("2024-01-01", periods=COUNT, freq="h")
    hours = [f"{each + pandas.Timedelta(hours=5 * (row % 2)):%d.%m.%Y %H:%M}" for row, each in enumerate(later)]
    zoned = [f"{each} {('+00:00', '+05:00')[row % 2]}" for row, each in enumerate(hours)]
    frame(when=zoned).sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv", index=False)
    frame(when=zoned).to_parquet(tmp_path / "test.parquet")
    mixed = [each if row else hours[row] for row, each in enumerate(zoned)]
    frame(when=mixed).to_csv(tmp_path / "mixed.csv", index=False)
    for test in ("", "test.parquet"):
        task = load_task("tables", "t.csv", Loading(folder=tmp_path), {"target": "y", "order": "when", "test": test})
        assert isinstance(task, Tabular)
        assert numbers(task.train).max() < numbers(task.validation).min()
        assert test or numbers(task.validation).max() < numbers(task.test).min()
    with pytest.raises(DataError, match=r"but column when has '01\.01\.2024 06:00 \+05:00' and '01\.01\.2024 00:00'"):
        load_task("tables", "mixed.csv", Loading(folder=tmp_path), {"target": "y", "order": "when"})


def test_tables_without_the_new_keys_are_split_as_before() -> None:
    """The fingerprints of version 0.8, which resumed runs compare."""
    given = frame(person=np.arange(COUNT) % 10)
    assert Tabular.from_frame(given.drop(columns="person"), target="y").fingerprint == "792ade21033b"
    assert Tabular.from_frame(given, target="y", group="person").fingerprint == "58b9add9a135"


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_a_row_without_a_group_is_refused(nothing: str | None) -> None:
    """All such rows became one group, which may have been the whole test."""
    person = [nothing if row == 3 else f"p{row % 9}" for row in range(COUNT)]
    with pytest.raises(DataError, match=r"each row must have a group, but .* has none in row 4, column person"):
        Tabular.from_frame(frame(person=person), target="y", group="person")
