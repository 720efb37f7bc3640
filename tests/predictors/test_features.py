"""Blocks of features and their scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_up_devices import PRUNING_SPACE, SPACE, drawn

from nas.prediction.predictor import batch_of
from nas.space.architecture import Architecture, Choice
from nas.space.description import Describer
from nas.space.layer import Layer
from predictors.features import Blocks, FeatureMap, Projection, feature_map


@pytest.fixture(name="population")
def blocks_of_the_population() -> Blocks:
    """Return the blocks of a space's population."""
    return feature_map(SPACE)(SPACE.describe(SPACE.population()))


@pytest.mark.parametrize("block", ["written_counts", "graph_logs", "graph_sums"])
def test_blocks_are_centred_and_of_unit_size(population: Blocks, block: str) -> None:
    """Over the population, the mean is zero and the mean squared distance to it is one."""
    columns = getattr(population, block)
    np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-5)
    assert (columns**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)


def test_options_are_one_hot(population: Blocks) -> None:
    """Columns are 0 or 1/sqrt(choices), so that a product is the share of equal choices."""
    columns = population.written
    assert set(np.unique(columns)) == {0.0, 1 / np.sqrt(12)}
    complete = np.array([architecture["depth2"] != 0 for architecture in SPACE.population()])
    norms = (columns**2).sum(axis=1)
    np.testing.assert_allclose(norms[complete], 1)
    np.testing.assert_allclose(norms[~complete], 9 / 12)


def test_dead_options_are_told_apart_where_there_are_any() -> None:
    """Duplicates share live options; spaces without dead options have no such columns."""
    one = next(each for each in drawn(50, seed=0) if each["expansion0"] == 1 and each["kernel0"] == 5)
    twins = [one, Architecture({**one, "kernel0": 7})]
    pruned = feature_map(PRUNING_SPACE)(PRUNING_SPACE.describe(twins))
    assert (pruned.written[0] != pruned.written[1]).any()
    assert (pruned.written_counts[0] != pruned.written_counts[1]).any()
    np.testing.assert_array_equal(pruned.live[0], pruned.live[1])
    np.testing.assert_array_equal(pruned.live_counts[0], pruned.live_counts[1])
    np.testing.assert_array_equal(pruned.graph_logs[0], pruned.graph_logs[1])
    np.testing.assert_array_equal(pruned.effective, pruned.live)
    plain = feature_map(SPACE)(SPACE.describe(twins))
    assert plain.live.shape == plain.live_counts.shape == (2, 0)
    np.testing.assert_array_equal(plain.effective, plain.written)


def test_a_batch_remembers_its_features() -> None:
    """A batch caches features for each map; a fresh or smaller batch has an empty cache."""
    batch = batch_of(SPACE, drawn(5, seed=0))
    features = feature_map(SPACE)
    blocks = features.of(batch)
    assert features.of(batch) is blocks
    assert features.of(batch.fresh()) is not blocks
    assert len(features.of(batch.take(slice(2)))) == 2
    other = FeatureMap(SPACE, SPACE.describe(drawn(9, seed=3)))
    assert other.of(batch) is not blocks


def test_rows_can_be_taken(population: Blocks) -> None:
    """All blocks select the same rows."""
    taken = population.take(np.array([4, 2]))
    assert len(taken) == 2
    np.testing.assert_array_equal(taken.graph_logs, population.graph_logs[[4, 2]])
    np.testing.assert_array_equal(taken.written, population.written[[4, 2]])


def test_features_of_one_do_not_depend_on_the_others() -> None:
    """Features are equal if described alone, or after the describer found more groups of layers."""
    space = Describer(SPACE.space, SPACE.layers)
    features = FeatureMap(space, space.describe(drawn(3, seed=0)))
    fresh = drawn(40, seed=1)
    before = features(space.describe(fresh[:1]))
    space.describe(fresh)
    after = features(space.describe(fresh))
    np.testing.assert_allclose(before.graph_logs[0], after.graph_logs[0], atol=1e-5)
    np.testing.assert_allclose(before.graph_sums[0], after.graph_sums[0], atol=1e-5)


class Cell:
    """A space of three edges with the same operations, and a width."""

    choices = (*(Choice(f"edge{n}", ("none", "skip", "conv")) for n in range(3)), Choice("width", (8, 16)))

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError

    def layers(self, architecture: Architecture) -> list[Layer]:
        return [Layer("conv", (3, 8, 8), (8, 8, 8), macs=100, params=10)]


def cell(edges: str, width: int = 8) -> Architecture:
    """Return a describer of ``Cell``."""
    names = {"n": "none", "s": "skip", "c": "conv"}
    return Architecture({**{f"edge{n}": names[edge] for n, edge in enumerate(edges)}, "width": width})


def test_options_are_counted_over_the_choices_that_share_them() -> None:
    """Counts ignore where an operation stands; a choice that shares no options is not counted."""
    space = Describer(Cell(), Cell().layers)
    population = space.describe([cell("nsc"), cell("ccc"), cell("nnn", 16)])
    features = FeatureMap(space, population)
    blocks = features(space.describe([cell("ccs"), cell("scc", 16), cell("css"), cell("nns")]))
    counts = blocks.written_counts
    assert counts.shape == (4, 3)
    np.testing.assert_allclose(counts[0], counts[1])
    steps = counts[2] - counts[0]
    assert steps[0] == pytest.approx(0)
    assert steps[1] == pytest.approx(-steps[2])
    assert steps[1] > 0


def test_layers_that_never_vary_have_no_features() -> None:
    """Nothing is divided by zero."""
    space = Describer(Cell(), Cell().layers)
    blocks = feature_map(space)(space.describe([cell("nsc")]))
    assert not blocks.graph_logs.any()
    assert not blocks.graph_sums.any()


class Backbone(Cell):
    """A space of a hundred million weights, with a few more or fewer."""

    def layers(self, architecture: Architecture) -> list[Layer]:
        return [Layer("conv", (3, 8, 8), (8, 8, 8), macs=100, params=10**8 + int(architecture["width"]))]


def test_what_hardly_varies_has_no_features() -> None:
    """In single precision, such small differences would be rounding errors."""
    space = Describer(Backbone(), Backbone().layers)
    blocks = feature_map(space)(space.describe([cell("nsc", 8), cell("nsc", 16)]))
    assert not blocks.graph_sums.any()


def test_projection_keeps_distances() -> None:
    """A projection of full rank keeps distances between standardised columns, divided by their number."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(200, 4)) * [1.0, 10.0, 0.01, 1e6] + 5
    projected = Projection.of(columns)(columns)
    standardised = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    np.testing.assert_allclose(
        ((projected[:50] - projected[50:100]) ** 2).sum(axis=1),
        ((standardised[:50] - standardised[50:100]) ** 2).sum(axis=1) / 4,
    )


def test_projection_drops_repeated_and_constant_columns() -> None:
    """Two sources of variance leave two components; repeated and constant columns add none."""
    rng = np.random.default_rng(0)
    two = rng.normal(size=(100, 2))
    columns = np.hstack([two, two @ [[1.0], [2.0]], np.full((100, 1), 1e9), two * 3])
    projected = Projection.of(columns)(columns)
    assert projected.shape == (100, 2)
    assert (projected**2).sum(axis=1).mean() == pytest.approx(1)


def test_projection_of_nothing_that_varies_is_zero() -> None:
    """One column of zeros remains, so that blocks keep their shapes."""
    columns = np.full((5, 3), 7.0)
    assert Projection.of(columns)(columns).tolist() == [[0.0]] * 5


def test_projection_keeps_thirty_components_at_most() -> None:
    """Their variance is still scaled to one."""
    columns = np.random.default_rng(0).normal(size=(300, 60))
    projected = Projection.of(columns)(columns)
    assert projected.shape == (300, 30)
    assert (projected**2).sum(axis=1).mean() == pytest.approx(1)
