"""The fast functions give what the obvious slow ones give."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from nas.values.pareto import crowding_distances, hypervolume, hypervolume_contributions, non_dominated, ranks

FloatArray = npt.NDArray[np.float64]


def losses_of(*objectives: int) -> st.SearchStrategy[FloatArray]:
    """Return tables of few distinct values, where equal rows and coordinates are common, or of any values."""
    shapes = st.tuples(st.integers(1, 12), st.sampled_from(objectives))
    values = st.integers(0, 4).map(float), st.floats(-100, 100)
    return st.one_of(*(arrays(np.float64, shapes, elements=elements) for elements in values))


def dominates(one: FloatArray, other: FloatArray) -> bool:
    return bool((one <= other).all() and (one < other).any())


def obvious_mask(losses: FloatArray) -> list[bool]:
    return [not any(dominates(other, row) for other in losses) for row in losses]


def area(losses: FloatArray, reference: FloatArray) -> float:
    """Return the area of a union of rectangles, summed over the cells of the grid of their sides."""
    xs, ys = (np.unique([*losses[:, axis], reference[axis]]) for axis in (0, 1))
    total = 0.0
    for (left, right), (low, high) in itertools.product(itertools.pairwise(xs), itertools.pairwise(ys)):
        inside = right <= reference[0] and high <= reference[1]
        if inside and any(row[0] <= left and row[1] <= low for row in losses):
            total += (right - left) * (high - low)
    return total


@given(losses_of(1, 2, 3, 4))
def test_non_dominated_equals_the_obvious(losses: FloatArray) -> None:
    """A row stays exactly if no other dominates it, so equal rows stay together."""
    assert non_dominated(losses).tolist() == obvious_mask(losses)


@given(losses_of(1, 2, 3, 4))
def test_every_point_off_the_front_is_dominated_by_one_on_it(losses: FloatArray) -> None:
    """Each row off the front has a row on it that dominates it."""
    mask = non_dominated(losses)
    for row in losses[~mask]:
        assert any(dominates(better, row) for better in losses[mask])


@given(losses_of(1, 2, 3, 4))
def test_ranks_peel_fronts(losses: FloatArray) -> None:
    """Rank r is the front of the rows without the lower ranks."""
    found = ranks(losses)
    left = np.arange(len(losses))
    for rank in range(found.max() + 1):
        front = left[obvious_mask(losses[left])]
        assert front.tolist() == np.flatnonzero(found == rank).tolist()
        left = np.setdiff1d(left, front)
    assert len(left) == 0


@given(losses_of(2), arrays(np.float64, 2, elements=st.floats(-5, 120)))
def test_hypervolume_equals_the_area(losses: FloatArray, reference: FloatArray) -> None:
    """Points beyond the reference add nothing."""
    assert hypervolume(losses, reference) == pytest.approx(area(losses, reference), rel=1e-9, abs=1e-9)


@given(losses_of(1, 2, 3))
def test_contributions_are_lost_volumes(losses: FloatArray) -> None:
    """A contribution is the volume lost without the row: nothing for dominated and for repeated rows."""
    reference = np.full(losses.shape[1], 101.0)
    whole = hypervolume(losses, reference)
    found = hypervolume_contributions(losses, reference)
    for index, contribution in enumerate(found):
        without = hypervolume(np.delete(losses, index, axis=0), reference)
        assert contribution == pytest.approx(whole - without, rel=1e-6, abs=1e-9 * max(whole, 1))


def test_crowding_by_hand() -> None:
    """Extremes are infinite. Others have the sides of the box between their neighbours, relative to the spans."""
    losses = np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0], [2.0, 1.0]])
    assert crowding_distances(losses).tolist() == [np.inf, 2 / 4 + 3 / 4, np.inf, 3 / 4 + 2 / 4]


@given(losses_of(1, 2, 3, 4))
def test_crowding_is_never_negative(losses: FloatArray) -> None:
    """This holds for equal columns and few rows too; two rows or fewer are all extremes."""
    distances = crowding_distances(losses)
    assert (distances >= 0).all()
    assert not np.isnan(distances).any()
    if len(losses) <= 2:
        assert np.isinf(distances).all()


FUNCTIONS: dict[str, Callable[[FloatArray], object]] = {
    "non_dominated": non_dominated,
    "ranks": ranks,
    "crowding_distances": crowding_distances,
    "hypervolume": lambda losses: hypervolume(losses, np.ones(2)),
    "hypervolume_contributions": lambda losses: hypervolume_contributions(losses, np.ones(2)),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
class TestEdges:
    def test_refuses_nan(self, function: Callable[[FloatArray], object]) -> None:
        """A failed evaluation is not a point."""
        with pytest.raises(ValueError, match="losses must not hold NaN, but some do"):
            function(np.array([[0.0, np.nan], [0.5, 0.5]]))

    def test_refuses_another_shape(self, function: Callable[[FloatArray], object]) -> None:
        """A vector is refused: a single row is a table of one row."""
        with pytest.raises(ValueError, match=r"losses must have shape \(N, M\), but got \(2,\)"):
            function(np.zeros(2))

    def test_no_points_are_no_error(self, function: Callable[[FloatArray], object]) -> None:
        """An empty table has an empty front and no volume."""
        assert np.sum(function(np.zeros((0, 2)))) == 0
