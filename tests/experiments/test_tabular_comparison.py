"""The comparison with boosted trees: splits of its own for each seed, and a verdict by one standard error."""

from __future__ import annotations

import numpy as np

from experiments.tabular import TABLES, Compared, summary, task_of


def test_each_seed_has_a_test_split_of_its_own() -> None:
    """All rows are in one of the splits, and those of the test differ between seeds."""
    for name in TABLES:
        first, second = task_of(name, 0), task_of(name, 1)
        rows = len(TABLES[name](as_frame=True).frame)
        assert len(first.train) + len(first.validation) + len(first.test) == rows
        assert not np.array_equal(first.test.raw[0], second.test.raw[0])


def test_verdict_is_by_one_standard_error() -> None:
    """Networks that are behind by more than the standard error of the trees are not within it."""
    trees = (0.10, 0.12, 0.14)  # mean 0.12, standard error 0.0115
    near = [Compared(error + 0.01, error, 0.005, 0.007) for error in trees]
    far = [Compared(error + 0.02, error, 0.005, 0.007) for error in trees]
    assert summary("wine", near)[1:4] == ["0.1300", "0.1200 ± 0.0115", "within one standard error"]
    assert summary("wine", far)[3] == "not within one standard error"
    assert summary("wine", far)[4:] == ["5.0 µs", "7.0 µs"]
