"""Relative errors of layers' costs, on networks whose true costs are known."""

from __future__ import annotations

import numpy as np
import pytest

from nas.prediction.layers.layer_process import NOTHING_OFF, LayerProcess, fit_layer_process
from nas.prediction.predictor import FloatArray
from nas.space.layer import Layer

WIDTHS = (8, 16, 24, 32, 40, 48, 64, 80, 96, 128)


def conv(inputs: int, outputs: int, *, kind: str = "conv", kernel: int = 1, side: int = 14) -> Layer:
    """Return a convolution with these channels."""
    shapes = (inputs, side, side), (outputs, side, side)
    return Layer(kind, *shapes, macs=inputs * outputs * side**2 * kernel**2, kernel=kernel)


LAYERS = [conv(one, other) for one in WIDTHS for other in WIDTHS]


def off(layer: Layer) -> float:
    """Return the true relative error of a layer: partly filled vectors and few input channels are slow."""
    outputs = layer.output_shape[0]
    return 0.3 * (-(-outputs // 16) * 16 / outputs - 1) + 0.2 * (8 / layer.input_shape[0])


def networks(count: int, rng: np.random.Generator, layers: int = 8) -> FloatArray:
    """Return random shares of the layers in networks of ``layers`` layers, shape (count, len(LAYERS))."""
    shares = np.zeros((count, len(LAYERS)))
    for row in shares:
        row[rng.choice(len(LAYERS), layers, replace=False)] = rng.dirichlet(np.ones(layers))
    return shares


@pytest.mark.parametrize("seed", range(3))
def test_what_layers_are_off_by_is_found_from_sums(seed: int) -> None:
    """Despite noise, new networks are predicted several times better than without the process."""
    rng = np.random.default_rng(seed)
    truth = np.array([off(layer) for layer in LAYERS])
    truth -= truth.mean()
    seen, unseen = networks(100, rng), networks(200, rng)
    process = fit_layer_process(LAYERS, seen, seen @ truth + rng.normal(0, 0.005, 100))
    left = unseen @ truth - unseen @ process(LAYERS)
    assert left.std() < 0.35 * (unseen @ truth).std()


def test_a_layer_that_no_network_had_is_as_those_like_it() -> None:
    """It gets the error of similar layers; a layer of another operation gets none."""
    layers = [conv(32, 64), conv(32, 80), conv(64, 64)]
    shares = np.vstack([np.eye(3)] * 4)
    process = fit_layer_process(layers, shares, np.array([0.2, 0.2, -0.1] * 4))
    between, other = process([conv(32, 72), conv(32, 72, kind="depthwise_conv")])
    assert between == pytest.approx(0.2, abs=0.05)
    assert other == 0.0


def test_nothing_is_off_where_noise_explains_as_much() -> None:
    """Random residuals are not learned, because they would spoil other predictions."""
    rng = np.random.default_rng(0)
    seen, unseen = networks(100, rng), networks(200, rng)
    process = fit_layer_process(LAYERS, seen, rng.normal(0, 0.05, 100))
    assert np.abs(unseen @ process(LAYERS)).mean() < 0.02


def test_costs_that_are_right_stay_as_they_are() -> None:
    """Without residuals nothing is corrected; an empty list of layers is allowed."""
    rng = np.random.default_rng(0)
    process = fit_layer_process(LAYERS, networks(20, rng), np.zeros(20))
    assert np.abs(process(LAYERS)).max() < 1e-9
    assert isinstance(NOTHING_OFF, LayerProcess)
    assert NOTHING_OFF(LAYERS[:2]).tolist() == [0.0, 0.0]
    assert NOTHING_OFF([]).shape == process([]).shape == (0,)


def test_a_spoilt_measurement_counts_no_more_than_half() -> None:
    """One network that took a hundred times as long does not change the layers of others."""
    rng = np.random.default_rng(0)
    seen = networks(60, rng)
    residuals = np.zeros(60)
    spoilt = residuals.copy()
    spoilt[7] = 99.0
    capped = residuals.copy()
    capped[7] = 0.5
    processes = [fit_layer_process(LAYERS, seen, each) for each in (spoilt, capped)]
    np.testing.assert_array_equal(processes[0](LAYERS), processes[1](LAYERS))


def test_no_layers_at_all_are_no_mistake() -> None:
    """Networks may have no layers with a cost."""
    process = fit_layer_process([], np.zeros((6, 0)), np.full(6, 0.1))
    assert process(LAYERS[:1]).tolist() == [0.0]
