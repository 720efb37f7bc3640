"""Novelty of architectures, against distances computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_devices import SPACE, drawn

from nas.prediction.predictor import FloatArray, batch_of
from nas.space.architecture import Architecture
from predictors.features import feature_map
from predictors.novelty import Novelty


def points(architectures: list[Architecture]) -> FloatArray:
    """Return the features between which distances are measured."""
    blocks = feature_map(SPACE)(SPACE.describe(architectures))
    return np.hstack([blocks.graph_logs, blocks.written])


def test_it_is_the_distance_to_the_nearest_sample_over_the_reach() -> None:
    """The reach is the largest distance between a sample and its nearest other sample."""
    samples, fresh = drawn(20, seed=0), drawn(30, seed=1)
    here, there = points(samples), points(fresh)
    among = [min(np.linalg.norm(one - other) for other in np.delete(here, n, 0)) for n, one in enumerate(here)]
    nearest = [min(np.linalg.norm(one - other) for other in here) for one in there]
    novelty = Novelty.of_samples(SPACE, samples)
    assert novelty.reach == pytest.approx(max(among), rel=1e-4)
    np.testing.assert_allclose(novelty.of(batch_of(SPACE, fresh)), np.array(nearest) / max(among), rtol=1e-4)


def test_samples_are_not_new() -> None:
    """Samples have a novelty of zero, except for rounding."""
    samples = drawn(20, seed=0)
    np.testing.assert_allclose(Novelty.of_samples(SPACE, samples).of(batch_of(SPACE, samples)), 0, atol=0.01)


def test_where_all_samples_are_alike_anything_else_is_new() -> None:
    """Nothing is divided by zero."""
    one, other = drawn(2, seed=0)
    ratios = Novelty.of_samples(SPACE, [one] * 6).of(batch_of(SPACE, [one, other]))
    assert ratios[0] <= 1
    assert ratios[1] > 10


def test_more_samples_make_less_new() -> None:
    """The mean distance of new architectures to the samples falls."""
    fresh = batch_of(SPACE, drawn(100, seed=1))
    few, many = (Novelty.of_samples(SPACE, drawn(count, seed=0)) for count in (10, 200))
    assert (many.of(fresh) * many.reach).mean() < 0.8 * (few.of(fresh) * few.reach).mean()
    assert (many.of(fresh) <= 1).mean() > 0.95
