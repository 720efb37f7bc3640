"""Regressions with their strength chosen: what a linear layer on fixed features is best at, found without steps.

Numbers are regressed by ridge, classes and labels by logistic regression, all by scikit-learn. It is slow to import, so
that is done where it is used: most processes train networks alone.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt
import torch

from nas.tasks.criteria import Classification, Criterion, MultiLabel, Regression

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
Check = Callable[[], None]

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-9, 4))
"""scikit-learn's C, the inverse of a regularisation's strength, for standardised features; strongest first."""
USUAL_STRENGTH = 1e-2
"""C where items are too few to choose it."""
ALPHAS = tuple(10.0**power for power in range(-2, 6))
FOLDS = 5
FEWEST_TO_CHOOSE = 2 * FOLDS
MOST_TO_CHOOSE = 4000
"""Items by which a strength is chosen at most: it hardly depends on more."""
MOST_STEPS = 200
TOLERANCE = 1e-3
NOT_CONVERGED = "its regression stopped before it had converged, so it is smoother than the best one"
NEVER = -12.0
"""The logit of a class that no item has, when another class is at 0."""


@final
@dataclass(frozen=True)
class Linear:
    """A linear map, ``features @ weight.T + bias``. ``weight`` is (outputs, features), ``bias`` (outputs,).

    ``strengths`` are those that were chosen for classes or labels, which further fits to like items can take.
    """

    weight: FloatArray
    bias: FloatArray
    strengths: tuple[float, ...] = ()

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return the outputs for features, (N, features)."""
        found: FloatArray = features @ self.weight.T + self.bias
        return found


def load_scikit_learn() -> None:
    """Import what fits, before a clock runs and before threads are limited: limits hold for loaded libraries alone."""
    import sklearn.linear_model  # noqa: F401


@contextlib.contextmanager
def noting_convergence(notes: list[str]) -> Iterator[None]:
    """Add a note to ``notes`` if a model of scikit-learn that is fitted inside has not converged.

    Other warnings pass through.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield
    for each in caught:
        if not issubclass(each.category, ConvergenceWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if any(issubclass(each.category, ConvergenceWarning) for each in caught):
        notes.append(NOT_CONVERGED)


def can_regress(criterion: Criterion) -> bool:
    """Return True if there is a regression for what a model is trained for."""
    return isinstance(criterion, Classification | MultiLabel | Regression)


def regression(
    features: torch.Tensor,
    targets: torch.Tensor,
    criterion: Criterion,
    seed: int,
    check_time: Check = lambda: None,
    strengths: tuple[float, ...] = (),
    groups: IntArray | None = None,
) -> Linear:
    """Return the linear map from features, (N, features), to outputs whose loss it makes small on unseen items.

    The strength of the regularisation is chosen by cross-validation with ``seed``, unless ``strengths`` of an earlier
    fit are given. Items of one of the ``groups``, numbers of shape (N,), are left out together. ``check_time`` is
    called between fits, and may raise.

    Raises:
        TypeError: there is no regression for the criterion.
    """
    known, wanted = features.double().numpy(), targets.numpy()
    centre, spread = known.mean(axis=0), known.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    scaled, back = _rotated((known - centre) / spread)
    if isinstance(criterion, Classification):
        parts = parts_left_out(len(wanted), FOLDS, seed, groups, MOST_TO_CHOOSE, wanted)
        found = _classes(scaled, wanted.astype(np.int64), criterion.classes, parts, check_time, strengths)
    elif isinstance(criterion, MultiLabel):
        parts = parts_left_out(len(wanted), FOLDS, seed, groups, MOST_TO_CHOOSE)
        found = _labels(scaled, wanted, parts, check_time, strengths)
    elif isinstance(criterion, Regression):
        parts = [] if groups is None else parts_left_out(len(wanted), FOLDS, seed, groups, MOST_TO_CHOOSE)
        found = _numbers(scaled, wanted.reshape(len(wanted), -1), parts, check_time)
    else:
        raise TypeError(f"there is no regression for {criterion.kind}")
    weight = (found.weight if back is None else found.weight @ back) / spread
    return Linear(weight, found.bias - weight @ centre, found.strengths)


def parts_left_out(
    items: int,
    count: int,
    seed: int,
    groups: IntArray | None = None,
    most: int | None = None,
    classes: npt.NDArray[np.generic] | None = None,
) -> list[IntArray]:
    """Return the places of items in ``count`` parts, each of which is to be left out once.

    They are drawn by ``seed``, ``most`` in all. Those of one group are in one part, so there may be fewer parts, of
    which the first is the most usual one in size. Groups do not count where a part would hold all items of a class.
    """
    chosen = np.random.default_rng(seed).permutation(items)[:most]
    several = 0 if groups is None else len(np.unique(groups[chosen]))
    if groups is not None and several > 1:
        from sklearn.model_selection import GroupKFold

        folds = GroupKFold(min(count, several), shuffle=True, random_state=seed).split(chosen, groups=groups[chosen])
        parts = sorted((chosen[left] for _, left in folds), key=lambda part: abs(len(part) - len(chosen) / count))
        if classes is None or keep_classes(classes[chosen], [classes[part] for part in parts]):
            return parts
    return np.array_split(chosen, count)


def keep_classes(whole: npt.NDArray[np.generic], parts: Sequence[npt.NDArray[np.generic]]) -> bool:
    """Return True if no part holds all items of a class."""
    names, counts = np.unique(whole, return_counts=True)
    known = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return all(known[name] > n for part in parts for name, n in zip(*np.unique(part, return_counts=True), strict=True))


def without(parts: Sequence[IntArray], place: int) -> IntArray:
    """Return the items of all parts but the one at ``place``."""
    return np.concatenate([*parts[:place], *parts[place + 1 :]])


def _rotated(features: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Return features in as many dimensions as there are items, and the way back, (items, features).

    Fewer items than features span no more, and a rotation changes neither a loss nor a sum of squares of weights.
    """
    items, width = features.shape
    if items >= width:
        return features, None
    left, lengths, back = np.linalg.svd(features, full_matrices=False)
    return left * lengths, back


def _classes(
    features: FloatArray,
    targets: IntArray,
    classes: int,
    parts: Sequence[IntArray],
    check: Check,
    strengths: tuple[float, ...] = (),
) -> Linear:
    """Return the logistic regression of classes, of which some may have no item."""
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, NEVER)
    seen = np.unique(targets)
    if len(seen) == 1:
        bias[seen] = 0.0
        return Linear(weight, bias, (USUAL_STRENGTH,))
    from sklearn.exceptions import ConvergenceWarning

    strength = strengths[0] if strengths else _strength(features, targets, parts, check)
    with warnings.catch_warnings():
        warnings.simplefilter("always", ConvergenceWarning)
        fitted = _logistic(features, targets, strength)
    if len(seen) == 2:  # one row, for the second class
        weight[seen] = np.outer((-0.5, 0.5), fitted.coef_[0])
        bias[seen] = np.multiply((-0.5, 0.5), fitted.intercept_[0])
    else:
        weight[seen], bias[seen] = fitted.coef_, fitted.intercept_
    return Linear(weight, bias, (strength,))


def _labels(
    features: FloatArray,
    targets: FloatArray,
    parts: Sequence[IntArray],
    check: Check,
    strengths: tuple[float, ...] = (),
) -> Linear:
    """Return a logistic regression for each label."""
    rows = [
        _classes(features, column.astype(np.int64), 2, parts, check, strengths[label : label + 1])
        for label, column in enumerate(targets.T)
    ]
    weight = np.stack([row.weight[1] - row.weight[0] for row in rows])
    bias = np.array([row.bias[1] - row.bias[0] for row in rows])
    return Linear(weight, bias, tuple(row.strengths[0] for row in rows))


def _numbers(features: FloatArray, targets: FloatArray, parts: Sequence[IntArray], check: Check) -> Linear:
    """Return the ridge of each value. Its strength is chosen by leaving out ``parts``, or without any, single items."""
    from sklearn.linear_model import Ridge, RidgeCV

    if not parts:
        fitted = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(features, targets)
        return Linear(fitted.coef_.reshape(targets.shape[1], -1), np.broadcast_to(fitted.intercept_, targets.shape[1]))
    losses = np.zeros((len(ALPHAS), targets.shape[1]))
    for place, left in enumerate(parts):
        fitted = without(parts, place)
        for row, alpha in enumerate(ALPHAS):
            found = Ridge(alpha).fit(features[fitted], targets[fitted]).predict(features[left])
            losses[row] += np.square(found.reshape(targets[left].shape) - targets[left]).sum(axis=0)
            check()
    whole = Ridge(np.array(ALPHAS)[losses.argmin(axis=0)]).fit(features, targets)
    return Linear(whole.coef_.reshape(targets.shape[1], -1), np.broadcast_to(whole.intercept_, targets.shape[1]))


def _strength(features: FloatArray, targets: IntArray, parts: Sequence[IntArray], check: Check) -> float:
    """Return the C whose cross-entropy on left-out items is the lowest. Others are tried until it has risen twice."""
    if len(targets) < FEWEST_TO_CHOOSE:
        return USUAL_STRENGTH
    folds = [(without(parts, place), left) for place, left in enumerate(parts)]
    folds = [(fitted, left) for fitted, left in folds if len(np.unique(targets[fitted])) > 1]
    if not folds:
        return USUAL_STRENGTH
    from sklearn.exceptions import ConvergenceWarning

    losses: list[float] = []
    for strength in STRENGTHS:
        total = 0.0
        for fitted, left in folds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = _logistic(features[fitted], targets[fitted], strength)
            total += _cross_entropy(model, features, targets, left)
            check()
        losses.append(total)
        if len(losses) >= 3 and losses[-1] > losses[-2] > losses[-3]:
            break
    return float(STRENGTHS[int(np.argmin(losses))])


def _logistic(features: FloatArray, targets: IntArray, strength: float) -> LogisticRegression:
    """Return a logistic regression. One that has not converged after ``MOST_STEPS`` is still a sound, smoother one.

    It warns of that by a ConvergenceWarning.
    """
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=MOST_STEPS, tol=TOLERANCE).fit(features, targets)


def _cross_entropy(
    fitted: LogisticRegression, features: FloatArray, targets: IntArray, left: npt.NDArray[np.int64]
) -> float:
    """Return the sum of the cross-entropies of items that were left out. A class that was not seen costs ``NEVER``."""
    with np.errstate(divide="ignore"):  # a probability may be 0 in rounding, and then costs ``NEVER`` too
        logs = fitted.predict_log_proba(features[left])
    columns = np.searchsorted(fitted.classes_, targets[left]).clip(max=len(fitted.classes_) - 1)
    found = logs[np.arange(len(left)), columns]
    return -float(np.maximum(np.where(fitted.classes_[columns] == targets[left], found, NEVER), NEVER).sum())
