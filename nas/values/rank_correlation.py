"""The rank correlations of two series of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 3
"""A rank correlation of fewer pairs says nothing."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's and Kendall's correlation of ``count`` pairs; 0 if one of the series does not vary."""

    spearman: float
    kendall: float
    count: int


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> RankCorrelation | None:
    """Return how alike two series, each of N numbers, rank their N places; None if these are fewer than three."""
    from scipy.stats import kendalltau, spearmanr  # here, because scipy is slow to import

    if len(first) < FEWEST:
        return None
    if len(set(first)) == 1 or len(set(second)) == 1:
        return RankCorrelation(0.0, 0.0, len(first))
    spearman, kendall = spearmanr(first, second).statistic, kendalltau(first, second).statistic
    return RankCorrelation(float(spearman), float(kendall), len(first))
