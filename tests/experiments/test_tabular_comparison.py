"""The comparison with boosted trees: splits of its own for each seed, and a verdict by one standard error."""

from __future__ import annotations

import numpy as np

from experiments.tabular import TABLES, Scored, linear_of, summary, task_of


def test_each_seed_has_a_test_split_of_its_own() -> None:
    """All rows are in one of the splits, and those of the test differ between seeds."""
    for name in TABLES:
        first, second = task_of(name, 0), task_of(name, 1)
        rows = len(TABLES[name](as_frame=True).frame)
        assert len(first.train) + len(first.validation) + len(first.test) == rows
        assert not np.array_equal(first.test.raw[0], second.test.raw[0])


def test_verdict_is_by_one_standard_error() -> None:
    """Models that are behind by more than the standard error of the trees are not within it."""
    errors = (0.10, 0.12, 0.14)  # mean 0.12, standard error 0.0115
    trees = [Scored(error, 0.007) for error in errors]
    near = [Scored(error + 0.01, 0.005) for error in errors]
    far = [Scored(error + 0.02) for error in errors]
    assert summary("wine", "mlp", near, trees) == ["wine", "mlp", "0.1300 ± 0.0115", "yes", "5.0 µs"]
    assert summary("wine", "mlp", far, trees)[3:] == ["no", ""]


def test_linear_models_are_fitted_to_all_but_the_test_rows() -> None:
    """They are far better than guessing, for classes and for numbers."""
    assert linear_of(task_of("wine", 0)).error < 0.1
    assert 0.3 < linear_of(task_of("diabetes", 0)).error < 0.8
