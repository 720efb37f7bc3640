"""Bounds around models with prescribed predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from made_up_devices import SPACE, Device, drawn

from nas.prediction.predictor import Batch, FloatArray, Given, batch_of
from predictors.bounded import Unseen, bound, cross_validate, fit_bounded
from predictors.conformal import Calibration, split_folds

GIVEN = (Given("number", lambda architectures: np.arange(len(architectures), dtype=np.float64)),)


@dataclass(frozen=True)
class Constant:
    """A model with one prediction for everything."""

    log_mean: float

    def log_means(self, batch: Batch) -> FloatArray:
        return np.full(len(batch), self.log_mean)


@dataclass(frozen=True)
class Recording:
    """A method that fits the mean, and records its samples, their values and the kind of fit."""

    calls: list[tuple[str, FloatArray, FloatArray, int]] = field(default_factory=list)

    def fit(self, batch: Batch, values: FloatArray, seed: int) -> Constant:
        return self._note("all", batch, values, seed)

    def fit_in_fold(self, batch: Batch, values: FloatArray, seed: int) -> Constant:
        return self._note("fold", batch, values, seed)

    def _note(self, how: str, batch: Batch, values: FloatArray, seed: int) -> Constant:
        self.calls.append((how, batch.given[:, 0], values, seed))
        return Constant(float(np.log(values).mean()))


def test_each_sample_is_predicted_without_its_fold() -> None:
    """The model saw all samples outside the fold, in their order."""
    values = Device().latencies_ms(drawn(23, seed=0))
    method = Recording()
    logs = cross_validate(batch_of(SPACE, drawn(23, seed=0), GIVEN), values, method, seed=4)
    folds = split_folds(23, 4)
    assert len(method.calls) == len(folds)
    for (how, seen, seen_values, seed), fold in zip(method.calls, folds, strict=True):
        others = np.setdiff1d(np.arange(23), fold)
        assert (how, seed) == ("fold", 4)
        np.testing.assert_array_equal(seen, others)
        np.testing.assert_array_equal(seen_values, values[others])
        np.testing.assert_allclose(logs[fold], np.log(values[others]).mean())


def test_the_final_model_sees_all_samples() -> None:
    """Held-out predictions are those of the folds."""
    seen = drawn(12, seed=0)
    values = Device().latencies_ms(seen)
    method = Recording()
    predictor = fit_bounded(SPACE, seen, values, target="made up", given=GIVEN, seed=4, method=method)
    assert [how for how, *_ in method.calls].count("all") == 1
    np.testing.assert_allclose(predictor.predict(drawn(3, seed=1)).mean, np.exp(np.log(values).mean()))
    logs = cross_validate(batch_of(SPACE, seen, GIVEN), values, Recording(), seed=4)
    np.testing.assert_allclose(predictor.held_out_predictions.mean, np.exp(logs))
    assert predictor.target == "made up"


@dataclass(frozen=True)
class Spread:
    """A model that predicts one, with given spreads."""

    spreads: Callable[[int], FloatArray]

    def logs(self, batch: Batch) -> tuple[FloatArray, FloatArray]:
        return np.zeros(len(batch)), self.spreads(len(batch))


def test_bounds_are_residuals_over_spreads_times_the_spread() -> None:
    """With residuals of one spread, bounds reach one spread, so they double for a model with double spread."""
    seen = drawn(40, seed=0)
    spreads = np.where(np.arange(40) % 2 == 0, 0.1, 0.2)
    signs = np.where(np.arange(40) % 4 < 2, 1.0, -1.0)
    values = np.exp(spreads * signs)
    predictor = bound(
        SPACE,
        seen,
        values,
        Spread(lambda count: np.linspace(0.1, 0.3, count)),
        Unseen(np.zeros(40), spreads),
        target="made up",
        given=(),
    )
    prediction = predictor.predict(seen)
    np.testing.assert_allclose(np.log(prediction.upper), np.linspace(0.1, 0.3, 40))
    np.testing.assert_allclose(np.log(prediction.lower), -np.linspace(0.1, 0.3, 40))
    np.testing.assert_allclose(np.log(prediction.limit), np.linspace(0.1, 0.3, 40))
    np.testing.assert_allclose(np.log(predictor.held_out_predictions.upper), spreads)
    assert predictor.held_out.coverage == 1


def test_bounds_widen_with_novelty_alone() -> None:
    """Bounds are multiplied by the novelty if it exceeds one."""
    seen = [each for each in drawn(300, seed=0) if each["depth2"] == 0][:20]
    fresh = drawn(60, seed=1)
    values = np.exp(0.1 * np.random.default_rng(0).standard_normal(len(seen)))
    predictor = bound(
        SPACE,
        seen,
        values,
        Spread(np.ones),
        Unseen(np.zeros(len(seen)), np.ones(len(seen))),
        target="made up",
        given=(),
    )
    prediction = predictor.predict(fresh)
    reach = np.log(prediction.upper)
    assert 0 < prediction.known.sum() < 60
    np.testing.assert_allclose(reach[prediction.known], reach.min())
    assert (reach[~prediction.known] > reach.min()).all()
    np.testing.assert_array_equal(prediction.mean, 1)


@pytest.mark.parametrize("values", [np.ones(4), np.array([1.0, 1, 1, 1, 0])])
def test_unfit_values_are_refused_before_anything_is_fitted(values: FloatArray) -> None:
    """Too few values and non-positive values are refused."""
    method = Recording()
    with pytest.raises(ValueError, match="but got"):
        fit_bounded(SPACE, drawn(len(values), 0), values, target="made up", given=(), seed=0, method=method)
    assert not method.calls


def test_bounds_end_where_nothing_is_known() -> None:
    """A spread of a thousand logarithms gives finite bounds."""
    bounds = Calibration(either=50.0, above=40.0).bound(np.zeros(1), np.full(1, 1000.0), np.zeros(1, dtype=np.bool_))
    assert np.log([bounds.lower[0], bounds.upper[0], bounds.limit[0]]).tolist() == pytest.approx([-20, 20, 20])
