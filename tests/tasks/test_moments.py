"""Times of items: read from numbers and text, and recognised."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from nas.errors import DataError
from nas.tasks.moments import autocorrelation, is_name_of_time, moments_of, series_warnings


@pytest.mark.parametrize(
    "values",
    [
        [3, 1.5, 200],
        ["3", "1.5", "200"],
        ["2024-05-31", "2024-05-30 23:59", "2024-06-01T00:00:00"],
        ["2024-05-31 04:00+05:00", "2024-05-30 22:59Z", "2024-05-30 22:00-0500"],
        ["20240531", "20240530", "20240601"],
        [10012001, 10012000, 10012002],
        pandas.to_datetime(["2024-05-31", "2024-05-30", "2024-06-01"]),
    ],
)
def test_times_are_numbers_and_dates(values: object) -> None:
    """As text they are compared by their value, not by their letters."""
    assert moments_of(values, "data.order", "column day").tolist() == [1, 0, 2]


def test_what_is_no_time_is_named() -> None:
    with pytest.raises(DataError, match=r"data\.order must name numbers or times such as 2024-05-31, but row 2"):
        moments_of(["2024-05-31", "soon"], "data.order", "column day")
    with pytest.raises(DataError, match="but row 2 of column day has none"):
        moments_of([1.0, None], "data.order", "column day")


def test_times_with_and_without_zones_are_refused() -> None:
    """Nobody knows which of them is later."""
    told = (
        "must name times that all have a time zone, or that all have none, but column day has '2024-05-31 09:00Z' and"
    )
    for times in (["2024-05-31 09:00Z", "2024-05-31 10:00"], ["2024-05-31 10:00", "2024-05-31 09:00Z"]):
        with pytest.raises(DataError, match=f"data.order {told} '2024-05-31 10:00'. Write all of them in UTC"):
            moments_of(times, "data.order", "column day")
    with pytest.raises(DataError, match="that all have a time zone, or that all have none"):
        moments_of([pandas.Timestamp(2024, 5, 1, tz="UTC"), pandas.Timestamp(2024, 5, 2)], "data.order", "column day")


@pytest.mark.parametrize("values", [[31122023, 1012024], ["31122023", "01012024"], [12312023.0, 1012024.0]])
def test_dates_of_eight_digits_that_begin_with_the_day_are_refused(values: object) -> None:
    """As numbers, the last day of 2023 would be later than the first of 2024."""
    with pytest.raises(DataError, match=r"but column day has 01012024 and .*, which look like days, months and years"):
        moments_of(values, "data.order", "column day")


@pytest.mark.parametrize("name", ["time", "Timestamp", "date_of_visit", "time_s", "Time (ms)", "year"])
def test_names_of_times(name: str) -> None:
    assert is_name_of_time(name)


@pytest.mark.parametrize("name", ["lifetime", "dated", "times", "x", "temperature"])
def test_names_of_other_things(name: str) -> None:
    assert not is_name_of_time(name)


def test_a_series_is_told_from_sorted_and_random_targets() -> None:
    """Files sorted by their target are usual, and no series."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=300))
    assert autocorrelation(walk, are_classes=False) > 0.9
    assert autocorrelation(np.sort(walk), are_classes=False) == 0
    assert abs(autocorrelation(rng.normal(size=300), are_classes=False)) < 0.2
    assert autocorrelation((walk > walk.mean()).astype(np.int64), are_classes=True) > 0.5
    assert autocorrelation(np.repeat([2, 0, 1], 100), are_classes=True) == 0
    assert abs(autocorrelation(rng.integers(0, 3, 300), are_classes=True)) < 0.2
    (told,) = series_warnings(walk, "rows", "Do it.", are_classes=False)
    assert "rows look like a series, because each target is like the one before (autocorrelation 0.9" in told
    assert told.endswith("Do it.")
