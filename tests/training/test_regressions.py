"""Regressions with their strength chosen, beside scikit-learn's own, and what few or strange items become."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from nas.errors import CandidateError
from nas.tasks.criteria import Classification, MultiLabel, NextToken, Regression
from nas.training.regressions import (
    NEVER,
    NOT_CONVERGED,
    STRENGTHS,
    _cross_entropy,
    can_regress,
    noting_convergence,
    regression,
)


def outputs(features: torch.Tensor, found: object) -> np.ndarray:
    return features.numpy() @ found.weight.T + found.bias  # type: ignore[attr-defined, no-any-return]


def drawn(items: int, width: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of very different spread, and classes that depend on some of them."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(items, width)) * np.exp(rng.normal(size=width)) + rng.normal(size=width)
    logits = (features - features.mean(axis=0)) / features.std(axis=0) @ rng.normal(size=(width, classes)) * 0.3
    targets = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return torch.from_numpy(features).float(), torch.from_numpy(targets)


@pytest.mark.parametrize(("items", "width"), [(60, 200), (400, 30)], ids=["more features", "more items"])
@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_a_logistic_regression_of_standardised_features(items: int, width: int, classes: int) -> None:
    """Of all strengths, the one that was chosen gives the same outputs as scikit-learn on the features themselves."""
    features, targets = drawn(items, width, classes, seed=3)
    found = outputs(features, regression(features, targets, Classification(classes), seed=0))
    scaled = StandardScaler().fit_transform(features.double().numpy())
    theirs = [
        LogisticRegression(C=strength, max_iter=3000, tol=1e-8).fit(scaled, targets).predict_proba(scaled)
        for strength in STRENGTHS
    ]
    mine = torch.from_numpy(found).softmax(dim=1).numpy()
    assert min(np.abs(mine - each).max() for each in theirs) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_the_strength_is_nearly_the_best_on_unseen_items(seed: int) -> None:
    features, targets = drawn(700, 60, 4, seed)
    found = regression(features[:200], targets[:200], Classification(4), seed)
    scaler = StandardScaler().fit(features[:200].double().numpy())
    known, unseen = (scaler.transform(each.double().numpy()) for each in (features[:200], features[200:]))
    best = min(
        log_loss(
            targets[200:],
            LogisticRegression(C=strength, max_iter=3000).fit(known, targets[:200]).predict_proba(unseen),
        )
        for strength in STRENGTHS
    )
    mine = torch.from_numpy(outputs(features[200:], found)).softmax(dim=1).numpy()
    assert log_loss(targets[200:], mine) < 1.05 * best


def test_the_same_seed_gives_the_same_weights() -> None:
    features, targets = drawn(80, 20, 3, seed=1)
    first, second = (regression(features, targets, Classification(3), seed=5) for _ in range(2))
    assert np.array_equal(first.weight, second.weight)


def test_classes_without_items_are_never_answered() -> None:
    features, targets = drawn(50, 8, 2, seed=0)
    found = regression(features, 2 * targets, Classification(4), seed=0)
    answers = outputs(features, found).argmax(axis=1)
    assert set(answers.tolist()) <= {0, 2}
    assert found.bias[1] == pytest.approx(NEVER)


@pytest.mark.parametrize("items", [1, 2, 5])
def test_few_items_are_enough(items: int) -> None:
    """Of one class, or one item of each."""
    features = torch.eye(items, 8)
    found = regression(features, torch.arange(items), Classification(items), seed=0)
    assert outputs(features, found).argmax(axis=1).tolist() == list(range(items))


def test_an_item_that_is_surely_wrong_costs_no_more_than_the_most() -> None:
    """Its probability is 0 in rounding, whose logarithm must not warn."""
    targets = np.repeat([0, 1], 10)
    fitted = LogisticRegression(C=100).fit(np.linspace(-1, 1, 20)[:, None], targets)
    far = np.full((1, 1), 1e6)
    assert _cross_entropy(fitted, far, targets, np.array([0])) == -NEVER


def test_constant_features_change_nothing() -> None:
    features, targets = drawn(60, 6, 3, seed=2)
    wide = torch.cat([features, torch.full((60, 2), 7.0)], dim=1)
    found = regression(wide, targets, Classification(3), seed=0)
    assert np.allclose(found.weight[:, 6:], 0)
    assert np.isfinite(outputs(wide, found)).all()


def test_labels_have_a_regression_each() -> None:
    features, targets = drawn(300, 12, 2, seed=4)
    both = torch.stack([targets, 1 - targets], dim=1).float()
    found = outputs(features, regression(features, both, MultiLabel(2), seed=0))
    assert ((found[:, 0] > 0) == (targets.numpy() == 1)).mean() > 0.6
    assert np.allclose(found[:, 0], -found[:, 1], atol=0.05)


def test_numbers_are_those_of_a_ridge() -> None:
    known, wanted = load_diabetes(return_X_y=True)
    features = torch.from_numpy(known).float()
    targets = torch.from_numpy((wanted - wanted.mean()) / wanted.std()).float()
    found = outputs(features, regression(features, targets[:, None], Regression(), seed=0))[:, 0]
    scaled = StandardScaler().fit_transform(known)
    theirs = [Ridge(alpha=10.0**power).fit(scaled, targets).predict(scaled) for power in range(-2, 6)]
    assert min(np.abs(found - each).max() for each in theirs) < 1e-3


def test_pixels_of_digits_are_told_apart() -> None:
    known, wanted = load_digits(return_X_y=True)
    features, targets = torch.from_numpy(known).float(), torch.from_numpy(wanted)
    found = regression(features[:1000], targets[:1000], Classification(10), seed=0)
    assert (outputs(features[1000:], found).argmax(axis=1) == wanted[1000:]).mean() > 0.9


def test_there_is_none_for_tokens() -> None:
    assert not can_regress(NextToken(4, (1, 1, 1, 1)))
    with pytest.raises(TypeError, match="no regression for next-token"):
        regression(torch.ones(2, 2), torch.ones(2), NextToken(4, (1, 1, 1, 1)), seed=0)


def test_time_is_checked_between_fits() -> None:
    features, targets = drawn(60, 6, 3, seed=2)

    def check() -> None:
        raise CandidateError("timeout", "too long")

    with pytest.raises(CandidateError, match="too long"):
        regression(features, targets, Classification(3), seed=0, check_time=check)


def test_a_regression_that_does_not_converge_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still used. One that converges, and other warnings, are told as ever."""
    features, targets = drawn(60, 5, 3, seed=0)
    notes: list[str] = []
    with noting_convergence(notes):
        regression(features, targets, Classification(3), 0)
    assert notes == []
    monkeypatch.setattr("nas.training.regressions.MOST_STEPS", 1)
    with noting_convergence(notes):
        found = regression(features, targets, Classification(3), 0)
    assert notes == [NOT_CONVERGED]
    assert np.isfinite(found.weight).all()
    with pytest.warns(UserWarning, match="something else"), noting_convergence(notes):
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert notes == [NOT_CONVERGED]
