"""Fitting boosted trees by scikit-learn, and their nodes as arrays of fixed shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.tasks.tabular.boosting import floored
from nas.training.regressions import parts_left_out, without

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Targets = npt.NDArray[Any]

RATES = (0.03, 0.1, 0.3)
USUAL_RATE = 0.1
"""The learning rate where rows are too few to choose it."""
FOLDS = 5
FEWEST_TO_CHOOSE = 4 * FOLDS
FOLDED_ROWS = 2_000
"""With more rows, one left-out fifth tells enough."""
MOST_TO_CHOOSE = 20_000
"""Rows by which the learning rate and the iterations are chosen at most."""
MOST_LEAF_ROWS = 20
"""A leaf needs a twentieth of the rows, and at most so many, which is scikit-learn's default."""
LEAST_PROBABILITY = 1e-5
NEVER = -12.0
"""The logit of a class that no row has, when another class is at 0."""


@final
@dataclass(frozen=True)
class EncodedCategories:
    """Categories as numbers.

    Attributes:
        columns: the numbers of the training rows, shape (N, columns × groups).
        tables: the number of each category, shape (sum of the counts, groups).
    """

    columns: Float32Array
    tables: Float32Array


@final
@dataclass(frozen=True)
class Ensemble:
    """Perfect trees of one depth, in the order of iterations within groups. Nodes are in the order of a heap.

    Attributes:
        features: the column that each node compares, shape (trees, nodes).
        thresholds: what the column must exceed to go right, shape (trees, nodes).
        values: what each leaf adds, shape (groups, iterations, leaves).
        bias: what is added to each group, shape (groups,).
    """

    features: IntArray
    thresholds: Float32Array
    values: Float32Array
    bias: Float32Array


def encode_categories(
    codes: IntArray,
    targets: Targets,
    counts: Sequence[int],
    groups: int,
    seed: int,
    together: IntArray | None = None,
) -> EncodedCategories:
    """Return categories as means of the targets, or as shares of each class where there are several groups of trees.

    Ordered by such means, categories are split best by one threshold (Breiman et al., "Classification and regression
    trees", 1984, section 4.2.2), which all runtimes can compare, and a category of few rows is drawn to the mean of
    all. Training rows get the means of other rows, so that no row tells its own target, nor that of another one with
    the same number in ``together``, shape (N,). ``codes`` have the shape (N, columns).
    """
    wanted = (targets[:, None] == np.arange(groups) if groups > 1 else targets[:, None]).astype(np.float64)
    starts = np.cumsum([0, *counts[:-1]])

    def looked_up(table: FloatArray, rows: IntArray) -> FloatArray:
        found: FloatArray = table[codes[rows] + starts].reshape(len(rows), -1)
        return found

    everyone = np.arange(len(codes))
    table = _means(codes, wanted, counts)
    columns = looked_up(table, everyone)
    if len(codes) >= FEWEST_TO_CHOOSE:
        for left in parts_left_out(len(codes), FOLDS, seed, together):
            others = np.setdiff1d(everyone, left)
            columns[left] = looked_up(_means(codes[others], wanted[others], counts), left)
    return EncodedCategories(columns.astype(np.float32), table.astype(np.float32))


def _means(codes: IntArray, targets: FloatArray, counts: Sequence[int]) -> FloatArray:
    """Return the smoothed mean of each target, shape (N, groups), for each category: (sum of the counts, groups)."""
    from sklearn.preprocessing import TargetEncoder  # here, because scikit-learn is slow to import

    encoder = TargetEncoder(categories=[np.arange(count) for count in counts], target_type="continuous")
    return np.stack([np.concatenate(encoder.fit(codes, target).encodings_) for target in targets.T], axis=1)


def fit_trees(
    columns: Float32Array,
    targets: Targets,
    outputs: int,
    iterations: int,
    depth: int,
    seed: int,
    together: IntArray | None = None,
) -> Ensemble:
    """Return boosted trees for columns, shape (N, columns), and targets, shape (N,): classes or numbers.

    With more than one output, targets are class numbers, of which some may have no row. The learning rate and the
    number of trees, at most ``iterations`` of each group, have the smallest loss on left-out rows. Those with the same
    number in ``together``, shape (N,), are left out together.
    """
    groups = outputs if outputs > 2 else 1
    empty = Ensemble(
        np.zeros((iterations * groups, 2**depth - 1), dtype=np.int64),
        np.zeros((iterations * groups, 2**depth - 1), dtype=np.float32),
        np.zeros((groups, iterations, 2**depth), dtype=np.float32),
        np.zeros(groups, dtype=np.float32),
    )
    if outputs == 1:
        seen = np.zeros(1, dtype=np.int64)
    else:
        seen = np.unique(targets)
        if outputs > 2:
            empty.bias[:] = NEVER
            empty.bias[seen] = 0
        else:
            empty.bias[:] = 0 if len(seen) == 2 else -NEVER if seen[0] else NEVER
        if len(seen) == 1:
            return empty
    fitter = _Fitter(columns, targets, outputs > 1, depth, seed, together)
    model = fitter.fitted(*fitter.chosen(iterations), np.arange(len(targets)))
    # Of two classes that are seen, scikit-learn's trees give the logit of the second, as the first one is at 0.
    _copy(model, np.zeros(1, dtype=np.int64) if outputs <= 2 else seen[1:] if len(seen) == 2 else seen, empty)
    return empty


@final
@dataclass(frozen=True)
class _Fitter:
    columns: Float32Array
    targets: Targets
    is_classifier: bool
    depth: int
    seed: int
    together: IntArray | None

    def fitted(self, rate: float, iterations: int, rows: IntArray) -> Any:
        """Return scikit-learn's model of some rows."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        maker = HistGradientBoostingClassifier if self.is_classifier else HistGradientBoostingRegressor
        return maker(
            learning_rate=rate,
            max_iter=iterations,
            max_depth=self.depth,
            max_leaf_nodes=2**self.depth,
            min_samples_leaf=max(1, min(MOST_LEAF_ROWS, len(self.targets) // 20)),
            early_stopping=False,
            random_state=self.seed,
        ).fit(self.columns[rows], self.targets[rows])

    def chosen(self, most: int) -> tuple[float, int]:
        """Return the learning rate and the iterations, at most ``most``, whose loss on left-out rows is the lowest."""
        folds = list(self._folds())
        if not folds:
            return USUAL_RATE, most
        losses = np.array(
            [
                np.sum([self._losses(self.fitted(rate, most, fitted), left) for fitted, left in folds], axis=0)
                for rate in RATES
            ]
        )
        rate, last = np.unravel_index(np.argmin(losses), losses.shape)
        return RATES[int(rate)], int(last) + 1

    def _folds(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield rows to fit and rows to leave out, as often as it takes. None are left out of very few."""
        if len(self.targets) < FEWEST_TO_CHOOSE:
            return
        classes = self.targets if self.is_classifier else None
        parts = parts_left_out(len(self.targets), FOLDS, self.seed, self.together, MOST_TO_CHOOSE, classes)
        for place in range(len(parts) if sum(map(len, parts)) <= FOLDED_ROWS else 1):
            fitted = without(parts, place)
            if not self.is_classifier or len(np.unique(self.targets[fitted])) > 1:
                yield fitted, parts[place]

    def _losses(self, model: Any, rows: IntArray) -> FloatArray:
        """Return the summed loss of some rows after each iteration, shape (iterations,)."""
        columns, targets = self.columns[rows], self.targets[rows]
        if not self.is_classifier:
            return np.array([np.square(found - targets).sum() for found in model.staged_predict(columns)])
        places = np.searchsorted(model.classes_, targets).clip(max=len(model.classes_) - 1)
        known = model.classes_[places] == targets  # a class may be in left-out rows alone
        everyone = np.arange(len(rows))
        shares = (np.where(known, found[everyone, places], 0) for found in model.staged_predict_proba(columns))
        return np.array([-np.log(np.maximum(found, LEAST_PROBABILITY)).sum() for found in shares])


def _copy(model: Any, groups: IntArray, ensemble: Ensemble) -> None:
    """Write the trees of a model into an ensemble that has at least as many. ``groups`` are those of its trees."""
    for iteration, trees in enumerate(model._predictors):
        for group, tree in zip(groups.tolist(), trees, strict=True):
            place = group * ensemble.values.shape[1] + iteration
            _copy_tree(
                tree.nodes,
                ensemble.features[place],
                ensemble.thresholds[place],
                ensemble.values[group, iteration],
            )
    ensemble.bias[groups] += model._baseline_prediction.reshape(-1).astype(np.float32)


def _copy_tree(nodes: Any, features: IntArray, thresholds: Float32Array, values: Float32Array) -> None:
    """Write a tree as a perfect one, shapes (nodes,), (nodes,) and (leaves,)."""
    limits = floored(nodes["num_threshold"])
    waiting = [(0, 0)]
    while waiting:
        number, place = waiting.pop()
        node = nodes[number]
        if node["is_leaf"]:
            values[_leaves_below(place, len(values))] = node["value"]
        else:
            features[place], thresholds[place] = node["feature_idx"], limits[number]
            waiting += [(int(node["left"]), 2 * place + 1), (int(node["right"]), 2 * place + 2)]


def _leaves_below(place: int, leaves: int) -> slice:
    """Return the leaves below a place of a heap, a leaf itself included."""
    first = last = place
    while first < leaves - 1:
        first, last = 2 * first + 1, 2 * last + 2
    return slice(first - leaves + 1, last - leaves + 2)
