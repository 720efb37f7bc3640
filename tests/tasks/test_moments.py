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
        ["2024-05-31", "2024-05-30 23:59", "2024-06-01T00:00:00Z"],
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
