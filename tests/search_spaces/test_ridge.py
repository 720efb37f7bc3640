"""Linear heads by ridge regression: scikit-learn's classes, and logits that fit how often they are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import Ridge, RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search_spaces.ridge import STRENGTHS, _left_out, fit_ridge


def noisy(number: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features, shape (N, F) with one that is constant, and classes that some of them hint at."""
    rng = np.random.default_rng(1)
    labels = rng.integers(classes, size=number)
    values = rng.normal(3, 2, (number, features))
    values[:, :classes] += 5 * (labels[:, None] == np.arange(classes))
    values[:, -1] = 0.37
    return values.astype(np.float32), labels


@pytest.mark.parametrize(("number", "features"), [(60, 300), (300, 60)])
@pytest.mark.parametrize("classes", [2, 5])
def test_predicts_the_classes_of_scikit_learn(number: int, features: int, classes: int) -> None:
    values, labels = noisy(2 * number, features, classes)
    weight, bias = fit_ridge(values[:number], labels[:number], classes)
    expected = make_pipeline(StandardScaler(), RidgeClassifierCV(STRENGTHS)).fit(values[:number], labels[:number])
    logits = values[number:] @ weight.T + bias
    assert (logits.argmax(axis=1) == expected.predict(values[number:])).mean() > 0.99
    assert not weight[:, -1].any()


def test_predicts_the_values_of_scikit_learn() -> None:
    """Each value has a strength of its own."""
    values, labels = noisy(100, 40, 3)
    wanted = np.stack([labels + 0.1 * values[:, 5], np.random.default_rng(0).normal(size=100)], axis=1)
    weight, bias = fit_ridge(values, wanted, 2)
    expected = make_pipeline(StandardScaler(), RidgeCV(STRENGTHS, alpha_per_target=True)).fit(values, wanted)
    np.testing.assert_allclose(values @ weight.T + bias, expected.predict(values), atol=1e-3)


@pytest.mark.parametrize(("number", "features"), [(60, 300), (300, 60), (50, 50)])
def test_leaves_out_items_as_scikit_learn_does(number: int, features: int) -> None:
    """Its coefficients and its predictions for items left out are the same, with more items and with fewer."""
    values, labels = noisy(number, features, 4)
    centred = values - values.mean(axis=0, dtype=np.float64)
    wanted = np.where(labels[:, None] == np.arange(4), 1.0, -1.0)
    expected = RidgeCV(STRENGTHS, scoring="neg_mean_squared_error", store_cv_results=True).fit(centred, wanted)
    coefficients, left_out = _left_out(centred, wanted, None, per_output=False)
    np.testing.assert_allclose(coefficients, expected.coef_, atol=1e-9)
    known = expected.cv_results_[:, :, list(STRENGTHS).index(expected.alpha_)]
    np.testing.assert_allclose(left_out, known, atol=1e-9)


@pytest.mark.parametrize(("number", "features"), [(60, 300), (300, 60)])
def test_leaves_out_whole_groups(number: int, features: int) -> None:
    """What is predicted for a group is what a ridge of the same strength predicts that was fitted to all others."""
    values, labels = noisy(number, features, 3)
    values += np.random.default_rng(2).normal(0, 3, (12, features))[np.arange(number) % 12]
    centred = values - values.mean(axis=0, dtype=np.float64)
    wanted, groups = (labels == 1).astype(np.float64)[:, None], np.arange(number) % 12
    coefficients, left_out = _left_out(centred, wanted, groups, per_output=False)
    alone, _ = _left_out(centred, wanted, None, per_output=False)
    fits = {
        strength: np.concatenate(
            [
                Ridge(strength).fit(centred[groups != group], wanted[groups != group]).predict(centred[groups == group])
                for group in range(12)
            ]
        ).reshape(-1)
        for strength in STRENGTHS.tolist()
    }
    order = np.concatenate([np.flatnonzero(groups == group) for group in range(12)])
    best = min(fits, key=lambda strength: float(np.square(fits[strength] - wanted[order, 0]).sum()))
    np.testing.assert_allclose(left_out[order, 0], fits[best], atol=1e-6)
    np.testing.assert_allclose(coefficients, Ridge(best).fit(centred, wanted).coef_.reshape(1, -1), atol=1e-6)
    assert not np.allclose(coefficients, alone)


@pytest.mark.parametrize("classes", [2, 5])
def test_logits_are_calibrated(classes: int) -> None:
    """On new items the cross-entropy is near the least that any factor of the logits gives."""
    values, labels = noisy(3000, 300, classes)
    weight, bias = fit_ridge(values[:600], labels[:600], classes)
    logits, known = values[600:] @ weight.T + bias, labels[600:]

    def cross_entropy(factor: float) -> float:
        return float(-log_softmax(factor * logits, axis=1)[np.arange(len(known)), known].mean())

    least = min(cross_entropy(factor) for factor in np.geomspace(0.05, 20, 100))
    assert cross_entropy(1) < 1.02 * least
    assert cross_entropy(1) < 0.9 * np.log(classes)


def test_refuses_numbers_of_no_class() -> None:
    values, labels = noisy(20, 30, 3)
    with pytest.raises(ValueError, match="class numbers must be from 0 to 1, but got 0 to 2"):
        fit_ridge(values, labels, 2)
    with pytest.raises(ValueError, match="class numbers must be from 0 to 2, but got -1 to 1"):
        fit_ridge(values, labels - 1, 3)
