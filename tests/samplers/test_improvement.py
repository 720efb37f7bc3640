"""The order of candidates by their improvement of a front."""

from __future__ import annotations

import numpy as np
import pytest

from predictors.samplers.error_surrogate import Belief
from predictors.samplers.improvement import Outlook, Preference


def sure(*values: float) -> Belief:
    """Return a belief without uncertainty."""
    return Belief(np.array(values), np.zeros(len(values)), is_log=False)


FRONT = np.array([[0.0, 10.0], [5.0, 5.0], [10.0, 0.0]])


def test_the_largest_improvement_comes_first_and_the_nearest_to_one_before_the_rest() -> None:
    """Dominated candidates are ordered by the change that would make them non-dominated."""
    outlook = Outlook({1: np.array([9.0, 4.0, 6.0, 8.0, 3.0])}, {0: sure(9.0, 4.0, 6.0, 4.0, 4.0)})
    order = Preference(outlook, FRONT, FRONT).order(0.0)
    assert list(order) == [4, 1, 3, 2, 0]


def test_optimism_favours_what_is_uncertain() -> None:
    """With optimism, the more uncertain of two equal means comes first, although it costs slightly more."""
    belief = Belief(np.array([4.0, 4.0]), np.array([0.1, 2.0]), is_log=False)
    preference = Preference(Outlook({1: np.array([4.0, 4.1])}, {0: belief}), FRONT, FRONT)
    assert list(preference.order(0.0)) == [0, 1]
    assert list(preference.order(1.0)) == [1, 0]


def test_what_is_expected_counts_as_found() -> None:
    """A neighbour of an expected candidate promises little improvement."""
    outlook = Outlook({1: np.array([4.0, 4.1, 1.0])}, {0: sure(4.0, 4.1, 8.0)})
    preference = Preference(outlook, FRONT, FRONT)
    assert list(preference.order(0.0)) == [0, 1, 2]
    preference.expect(0)
    assert list(preference.order(0.0)) == [2, 1]
    running = np.array([[4.0, 4.0], [7.9, 0.9]])
    assert list(Preference(outlook, FRONT, FRONT, running=running[:1]).order(0.0)) == [2, 0, 1]
    assert set(Preference(outlook, FRONT, FRONT, running=running).order(0.0)) == {0, 1, 2}


def test_an_infinite_cost_ends_nothing() -> None:
    """As of a network that could not be measured. It has no place on the scale, and the others keep theirs."""
    outlook = Outlook({1: np.array([9.0, np.inf, 8.0])}, {0: sure(9.0, 4.0, 9.0)})
    preference = Preference(outlook, FRONT, FRONT)
    with np.errstate(invalid="ignore"):
        preference.expect(1)
        assert set(preference.order(0.0)) == {0, 2}


def test_what_runs_decides_too_whether_costs_have_logarithms() -> None:
    """A running evaluation with a cost of 0 has no logarithm."""
    outlook = Outlook({1: np.array([4.0, 1.0])}, {0: sure(4.0, 8.0)})
    running = np.array([[5.0, 0.0]])
    preference = Preference(outlook, FRONT, FRONT, running=running, logarithmic=True)
    assert np.isfinite(preference._front).all()
    assert list(preference.order(0.0)) == list(Preference(outlook, FRONT, FRONT, running=running).order(0.0))


def test_what_hardly_meets_a_constraint_comes_later() -> None:
    """Improvements are multiplied by the probability of being feasible."""
    unlikely = Belief(np.array([2.0, -2.0]), np.array([1.0, 1.0]), is_log=False)
    outlook = Outlook({1: np.array([1.0, 4.0])}, {0: sure(1.0, 4.0)}, [unlikely])
    assert outlook.feasibility() == pytest.approx([0.0228, 0.9772], abs=1e-4)
    assert list(Preference(outlook, FRONT, FRONT).order(0.0)) == [1, 0]


def test_the_ends_of_the_front_can_be_moved_outwards() -> None:
    """The best value in one objective is an improvement, however bad the others are."""
    outlook = Outlook({1: np.array([-1.0, 6.0])}, {0: sure(10.0, 6.0)})
    assert list(Preference(outlook, FRONT, FRONT).order(0.0)) == [0, 1]


def test_known_costs_may_count_by_their_logarithm() -> None:
    """A much better small network outranks a slightly better large one with the same difference in cost."""
    front = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 16.0]])
    outlook = Outlook({1: np.array([1.0, 2.0])}, {0: sure(2.7, 1.95)})
    assert list(Preference(outlook, front, front, logarithmic=True).order(0.0)) == [0, 1]
    assert list(Preference(outlook, front, front).order(0.0)) == [1, 0]
    unknown = Outlook({}, {0: sure(2.7, 1.95), 1: sure(1.0, 2.0)})
    assert list(Preference(unknown, front, front, logarithmic=True).order(0.0)) == [1, 0]


@pytest.mark.parametrize("costs", [(1.0, 8.0), (0.0, 8.0), (-8.0, -1.0), (-1.0, 1.0)])
def test_costs_may_have_any_sign(costs: tuple[float, float]) -> None:
    """Negative costs count by the logarithm of their magnitude; costs of mixed signs count plainly."""
    front = np.array([[2.0, costs[0]], [1.0, costs[1]]])
    outlook = Outlook({1: np.array([*costs, costs[0]])}, {0: sure(2.5, 0.5, 1.5)})
    assert outlook.logarithmic(front) == ([1] if costs[0] * costs[1] > 0 else [])
    assert list(Preference(outlook, front, front, logarithmic=True).order(0.0))[-1] == 0


def test_where_time_is_short_improvements_count_by_the_second() -> None:
    """A tenth of the time outweighs a smaller improvement, but not a missing one."""
    known, errors = {1: np.array([4.0, 4.0, 9.0])}, {0: sure(3.0, 4.0, 9.0)}
    preference = Preference(Outlook(known, errors, seconds=sure(10.0, 1.0, 0.1)), FRONT, FRONT)
    assert list(preference.order(0.0)) == [1, 0, 2]
    assert list(Preference(Outlook(known, errors), FRONT, FRONT).order(0.0)) == [0, 1, 2]


def test_an_expected_improvement_needs_no_optimism() -> None:
    """An uncertain candidate may improve the front although its mean does not, and a sure one then may not."""
    belief = Belief(np.array([6.0, 6.0]), np.array([0.0, 3.0]), is_log=False)
    preference = Preference(Outlook({1: np.array([6.0, 6.1])}, {0: belief}), FRONT, FRONT)
    assert list(preference.order(0.0)) == [0, 1]
    assert list(preference.order(None)) == [1, 0]
