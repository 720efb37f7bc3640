"""A predictor of somebody else's is checked: what it raises or returns wrongly is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_predictor import fit_fake
from tiny_space import TinySpace

from nas.errors import CandidateError, RecipeError
from nas.prediction.guarded import GuardedPredictor, fit_guarded
from nas.prediction.predictor import Prediction, Predictor, batch_of, grounds_of
from nas.space.search_space import enumerate_space
from nas.space.signature import image_signature
from nas.space.tracing import describer_of

SPACE = describer_of(TinySpace(), image_signature((1, 8, 8), 10))
ALL = list(enumerate_space(TinySpace()))
VALUES = np.linspace(1.0, 2.0, len(ALL))


def fit(method: Callable[..., Any], **options: Any) -> Predictor:
    """Return what the method fits, as a search and a report have it."""
    return fit_guarded(method, "mine", SPACE, ALL, VALUES, target="t", sources=(), given=(), seed=0, **options)


def predicting(change: Callable[[Prediction], Any]) -> Predictor:
    """Return a guarded predictor whose predictions are changed."""
    sound = fit_fake(SPACE, ALL, VALUES, target="t", seed=0)

    class Changed:
        held_out, held_out_predictions = sound.held_out, sound.held_out_predictions

        def predict(self, architectures: Any) -> Any:
            return change(sound.predict(architectures))

        def predict_described(self, batch: Any) -> Any:
            return change(sound.predict_described(batch))

    return fit(lambda *_, **__: Changed())


def test_a_sound_predictor_predicts_as_it_would_alone() -> None:
    """Its options reach it, and its held-out errors are its own."""
    seen: dict[str, Any] = {}

    def with_option(*arguments: Any, option: int, **named: Any) -> Predictor:
        seen["option"] = option
        return fit_fake(*arguments, **named)

    guarded, alone = fit(with_option, option=3), fit_fake(SPACE, ALL, VALUES, target="t", seed=0)
    assert seen == {"option": 3}
    assert isinstance(guarded, GuardedPredictor)
    assert guarded.held_out == alone.held_out
    for found in (guarded.predict(ALL), guarded.predict_described(batch_of(SPACE, ALL))):
        assert np.array_equal(found.mean, alone.predict(ALL).mean)
    assert len(guarded.predict(())) == 0


def test_a_bound_may_be_open() -> None:
    """With few samples a predictor says so by an infinite bound."""
    opened = predicting(lambda found: replace(found, upper=np.full(len(found), np.inf), limit=found.mean))
    assert np.isinf(opened.predict(ALL).upper).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: found.mean, "must return a nas.Prediction, but 'mine' gave a ndarray"),
        (lambda found: None, "must return a nas.Prediction, but 'mine' gave a NoneType"),
        (
            lambda found: replace(found, mean=found.mean[:-1]),
            r"must have arrays of shape \(3,\), but 'mine' gave mean of",
        ),
        (lambda found: replace(found, known=True), r"shape \(3,\), but 'mine' gave known of shape \(\)"),
        (lambda found: replace(found, mean=found.mean * np.nan), "must be positive and finite.*predicted nan"),
        (lambda found: replace(found, mean=-found.mean, lower=-2 * found.mean), "'mine' predicted -"),
        (lambda found: replace(found, mean=found.mean * np.inf, upper=found.mean * np.inf), "predicted inf"),
        (lambda found: replace(found, lower=found.upper, upper=found.lower), "within its bounds"),
        (lambda found: replace(found, limit=found.limit * np.nan), "within its bounds, but 'mine' predicted"),
        (lambda found: 1 / 0, r"'mine' failed when it was asked to predict: ZeroDivisionError.*test_guarded.py, line"),
    ],
)
def test_a_prediction_that_is_none_is_refused(change: Callable[[Prediction], Any], says: str) -> None:
    """Nothing is decided by a number that cannot be a latency."""
    predictor = predicting(change)
    with pytest.raises(RecipeError, match=says):
        predictor.predict(ALL[:3])
    with pytest.raises(RecipeError, match=says):
        predictor.predict_described(batch_of(SPACE, ALL[:3]))


@pytest.mark.parametrize("chosen", [range(len(ALL))[::-1], range(len(ALL) - 1)], ids=["another order", "some"])
def test_held_out_predictions_of_other_samples_are_refused(chosen: range) -> None:
    """A report would show them beside the wrong architectures."""

    def fit_some(space: Any, architectures: Any, values: Any, **named: Any) -> Predictor:
        return fit_fake(space, [architectures[index] for index in chosen], values[list(chosen)], **named)

    with pytest.raises(RecipeError, match=rf"of each of the {len(ALL)} samples, in their order, but those of 'mine'"):
        fit(fit_some)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (lambda *_, **__: None, "'mine' returned a NoneType without them. See nas.Predictor"),
        (lambda *_, **__: {}["a"], "'mine' failed when it was fitted: KeyError: 'a'.*test_guarded.py, line"),
        (lambda space: None, "'mine' failed when it was fitted: TypeError"),
    ],
)
def test_what_is_no_predictor_is_refused(method: Callable[..., Any], says: str) -> None:
    """It is refused when it is fitted, not when it is first needed."""
    with pytest.raises(RecipeError, match=says):
        fit(method)


def test_a_failure_of_an_architecture_stays_one() -> None:
    """An architecture that cannot be described is a row, and no mistake of the predictor."""

    def cannot(*_: Any, **__: Any) -> None:
        raise CandidateError("build", "no such layer")

    with pytest.raises(CandidateError, match="no such layer"):
        fit(cannot)


def test_what_predictions_rest_on_is_told() -> None:
    """A predictor need not tell it."""
    sound = fit_fake(SPACE, ALL, VALUES, target="t", seed=0)

    class Telling:
        held_out, held_out_predictions = sound.held_out, sound.held_out_predictions
        predict, predict_described = sound.predict, sound.predict_described
        grounds = ("It guesses.",)

    assert grounds_of(fit(lambda *_, **__: Telling())) == ("It guesses.",)
    assert grounds_of(fit(fit_fake)) == ()
