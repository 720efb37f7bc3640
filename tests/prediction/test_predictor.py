"""Batches, single predictions, and predictions that serve as features of another predictor."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_devices import SPACE, Device, drawn

from nas.prediction.predictor import Given, Prediction, batch_of, given_by, load_predictor
from nas.space.architecture import Architecture
from nas.values.evaluation import PredictedValue
from predictors.gp import fit_gp


def test_a_batch_holds_what_is_given_of_each() -> None:
    """Each given feature is one column, and rows are selected together with the descriptions."""
    architectures = drawn(4, seed=0)
    given = [
        Given("number", lambda each: np.arange(len(each), dtype=np.float64)),
        Given("seven", lambda each: np.full(len(each), 7.0)),
    ]
    batch = batch_of(SPACE, architectures, given)
    assert batch.given.tolist() == [[0, 7], [1, 7], [2, 7], [3, 7]]
    taken = batch.take(np.array([3, 1]))
    assert taken.given.tolist() == [[3, 7], [1, 7]]
    np.testing.assert_array_equal(taken.descriptions.options, batch.descriptions.options[[3, 1]])
    assert batch_of(SPACE, architectures).given.shape == (4, 0)
    assert len(batch_of(SPACE, [])) == 0


def test_architectures_of_another_space_make_no_batch() -> None:
    """The error names the choice."""
    with pytest.raises(ValueError, match="depth0 must be one of"):
        batch_of(SPACE, [Architecture({**drawn(1, seed=0)[0], "depth0": 17})])


def test_one_prediction_of_several() -> None:
    """An index gives the prediction of one architecture as plain numbers."""
    columns = (np.array([1.0, 2.0]) * factor for factor in (1, 0.5, 2, 1.5))
    prediction = Prediction(*columns, known=np.array([True, False]))
    assert prediction[1] == PredictedValue(2.0, 1.0, 4.0, 3.0, known=False)
    assert len(prediction) == 2


def test_samples_get_held_out_predictions_as_feature() -> None:
    """Samples get held-out predictions and others get predictions, as logarithms in the given order."""
    samples, others = drawn(12, seed=0), drawn(3, seed=1)
    predictor = fit_gp(SPACE, samples, Device().latencies_ms(samples), target="made up", seed=0)
    given = given_by("log latency_ms", predictor, samples)
    asked = [others[0], samples[4], others[1], samples[0]]
    held_out, predicted = predictor.held_out_predictions.mean, predictor.predict(others).mean
    np.testing.assert_allclose(
        given.values(asked), np.log([predicted[0], held_out[4], predicted[1], held_out[0]]), rtol=1e-4
    )
    np.testing.assert_allclose(given.values(samples), np.log(held_out))
    assert given.name == "log latency_ms"


def test_a_method_is_found_by_its_name() -> None:
    """A registered name gives the registered method."""
    assert load_predictor("gp") is fit_gp
    assert load_predictor("predictors.gp:fit_gp") is fit_gp
