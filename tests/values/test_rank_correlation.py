"""Rank correlations compare the order of two series, and need at least three places."""

from __future__ import annotations

import pytest

from nas.values.rank_correlation import RankCorrelation, rank_correlation


def test_ranks_count_and_not_values() -> None:
    """A series that does not vary has no correlation, and two places are too few."""
    first, second = (0.1, 0.2, 0.3, 0.4), (0.6, 0.7, 0.9, 0.8)
    assert rank_correlation(first, second) == RankCorrelation(pytest.approx(0.8), pytest.approx(2 / 3), 4)
    assert rank_correlation(first, (0.9,) * 4) == RankCorrelation(0.0, 0.0, 4)
    assert rank_correlation(first[:2], second[:2]) is None
