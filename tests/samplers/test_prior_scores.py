"""Scores known before training, on a scale for a Gaussian process."""

from __future__ import annotations

import numpy as np
import pytest

from nas.space.architecture import Architecture
from predictors.samplers.prior_scores import ScoreScale, scores_of

ARCHITECTURES = [Architecture({"depth": depth}) for depth in range(4)]


def test_scores_count_by_rank(rng: np.random.Generator) -> None:
    """Scaled scores have mean 0 and deviation 1 over the population, and keep their order."""
    raw = rng.normal(size=(1000, 2))
    skewed = np.column_stack([np.exp(5 * raw[:, 0]), -raw[:, 1]])
    scaled = ScoreScale.of(skewed)(skewed)
    assert scaled.mean(axis=0) == pytest.approx([0, 0], abs=0.01)
    assert scaled.std(axis=0) == pytest.approx([1, 1], abs=0.02)
    assert (np.argsort(scaled[:, 0]) == np.argsort(raw[:, 0])).all()
    assert (np.argsort(scaled[:, 1]) == np.argsort(-raw[:, 1])).all()


def test_what_is_not_known_or_does_not_vary_tells_nothing() -> None:
    """Such scores become 0, and scores beyond the population stay finite."""
    scale = ScoreScale.of(
        np.array([[1.0, 7.0, np.nan], [2.0, 7.0, np.nan], [np.nan, 7.0, np.nan], [np.inf, 7.0, np.nan]])
    )
    found = scale(np.array([[np.nan, 7.0, 1.0], [1e9, 8.0, 2.0], [-1e9, 6.0, np.nan]]))
    assert np.isfinite(found).all()
    assert found[0, 0] == 0
    assert found[1, 0] > 0 > found[2, 0]
    assert (found[:, 1:] == 0).all()


def test_one_score_or_several() -> None:
    """Scores of each architecture become columns."""
    assert scores_of(lambda found: np.arange(len(found)), ARCHITECTURES).tolist() == [[0], [1], [2], [3]]
    assert scores_of(lambda found: np.ones((len(found), 2)), ARCHITECTURES).shape == (4, 2)


@pytest.mark.parametrize("shape", [(), (3,), (4, 2, 1)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """The error gives the rule and the shape."""
    with pytest.raises(ValueError, match=r"of shape \(N,\) or \(N, S\) for N architectures, but for 4 it gave"):
        scores_of(lambda found: np.zeros(shape), ARCHITECTURES)


def test_another_number_of_scores_is_refused() -> None:
    """The number of scores must be that of the population."""
    with pytest.raises(ValueError, match="always give the same number of scores, 2, but gave 1"):
        ScoreScale.of(np.zeros((5, 2)))(np.zeros((5, 1)))


def test_values_may_follow_the_ranks(rng: np.random.Generator) -> None:
    """Errors may be linear in either. Both together have the size of one, and far values are clipped."""
    scores = np.append(rng.normal(size=999), 1e6)[:, None]
    found = ScoreScale.of(scores, has_values=True)(scores)
    assert found.shape == (1000, 2)
    np.testing.assert_allclose(np.sqrt(2) * found[:, :1], ScoreScale.of(scores)(scores))
    assert np.abs(np.sqrt(2) * found[:, 1]).max() == pytest.approx(3.5)
    assert ScoreScale.of(scores, has_values=True)(np.array([[np.nan]])).tolist() == [[0.0, 0.0]]
