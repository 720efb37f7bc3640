"""Hypervolume improvement equals the growth of the hypervolume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from nas.values.pareto import hypervolume
from predictors.samplers.hypervolume_improvement import DominatedRegion


def sizes(objectives: int) -> st.SearchStrategy[np.ndarray]:
    """Return points on a coarse grid, so that ties are common; some lie beyond the reference of 1."""
    values = st.integers(0, 12).map(lambda number: number / 10)
    return arrays(np.float64, st.tuples(st.integers(0, 12), st.just(objectives)), elements=values)


@pytest.mark.slow
@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@given(data=st.data())
def test_is_the_growth_of_the_hypervolume(objectives: int, data: st.DataObject) -> None:
    """It holds for any front and points, including equal and dominated ones and those beyond the reference."""
    front, points = data.draw(sizes(objectives)), data.draw(sizes(objectives))
    reference = np.ones(objectives)
    found = DominatedRegion.of(front, reference).improvements(points)
    before = hypervolume(front[(front < 1).all(axis=1)], reference)
    for point, added in zip(points, found, strict=True):
        inside = np.vstack([front, point])
        assert added == pytest.approx(hypervolume(inside[(inside < 1).all(axis=1)], reference) - before, abs=1e-9)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_points_in_any_order_dominate_the_same(objectives: int) -> None:
    """Adding points one by one gives the region of all points."""
    rng = np.random.default_rng(objectives)
    front, points = rng.random((20, objectives)), rng.random((50, objectives))
    region = DominatedRegion.of(front[:7], np.ones(objectives))
    for point in rng.permutation(front[7:]):
        region = region.with_point(point)
    whole = DominatedRegion.of(front, np.ones(objectives))
    assert region.improvements(points) == pytest.approx(whole.improvements(points), abs=1e-12)
    lower, upper = whole.boxes()
    assert (upper - lower).prod(axis=1).sum() == pytest.approx(hypervolume(front, np.ones(objectives)))


def test_an_empty_front_leaves_all_to_be_won() -> None:
    """A point adds everything that it dominates."""
    region = DominatedRegion.of(np.empty((0, 2)), np.array([1.0, 2.0]))
    assert region.improvements(np.array([[0.5, 1.0], [2.0, 0.0]])).tolist() == [0.5, 0.0]


def test_nan_is_refused() -> None:
    """A failed evaluation is not a point."""
    with pytest.raises(ValueError, match="must not hold NaN"):
        DominatedRegion.of(np.array([[0.1, np.nan]]), np.ones(2))
