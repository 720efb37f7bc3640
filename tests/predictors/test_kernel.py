"""The kernel times weights, without its matrix."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_devices import PRUNING_SPACE, SPACE, drawn, sources_of

from nas.prediction.predictor import batch_of
from nas.space.description import Describer
from predictors.features import feature_map
from predictors.processes.kernel import GRAPH, PRIOR, Inputs, Products
from predictors.source_models import source_models


@pytest.mark.parametrize("space", [SPACE, PRUNING_SPACE], ids=["all choices take effect", "some do not"])
def test_weights_times_the_kernel_need_no_matrix(space: Describer) -> None:
    """The result is that of the matrix, for any rates, in double and in single precision."""
    rng = np.random.default_rng(0)
    architectures = space.population()
    rows, centres = architectures[:300], architectures[300:350]
    inputs, others = (Inputs.of(feature_map(space).of(batch_of(space, each))) for each in (rows, centres))
    weights = rng.standard_normal((50, 3))
    for belief in (PRIOR, GRAPH, PRIOR._replace(options_rate=20.0, layers_rate=0.01)):
        logs = np.log(np.array(belief))
        expected = Products(inputs, others).covariance(logs) @ weights
        np.testing.assert_allclose(inputs.weighted(others, logs, weights), expected, rtol=1e-9, atol=1e-9)
        single = [each.as_type(np.float32) for each in (inputs, others)]
        found = single[0].weighted(single[1], logs, weights.astype(np.float32))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_blocks_of_other_targets_count_too() -> None:
    models = source_models(SPACE, sources_of(drawn(60, seed=0)), ())
    blocks = [models.describe(batch_of(SPACE, each)) for each in (drawn(40, seed=1), drawn(20, seed=2))]
    inputs, others = (Inputs.of(*each) for each in blocks)
    weights, logs = np.random.default_rng(0).standard_normal((20, 2)), np.log(np.array(PRIOR))
    expected = Products(inputs, others).covariance(logs) @ weights
    np.testing.assert_allclose(inputs.weighted(others, logs, weights), expected, rtol=1e-9, atol=1e-9)
    assert inputs.take(np.arange(0)).weighted(others, logs, weights).shape == (0, 2)
