"""Linear models and boosted trees for tables, as torch modules that scikit-learn fits in seconds.

Trees are those of scikit-learn's HistGradientBoosting. All of them run at once as matrix products, the strategy "GEMM"
of Hummingbird (Nakandala et al., "A tensor compiler for unified machine learning prediction serving", OSDI 2020,
arXiv:2010.04804): every node compares, and a product with the paths to the leaves finds the leaf of each tree. Its few
operators exist in every runtime. For one row in ONNX Runtime, walking down the trees by gathers was no faster up to 320
trees of depth 4 (22 µs and 21 µs), and with depth 5 took 25 µs instead of 40 µs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nas.space.architecture import Architecture, Choice
from nas.space.signature import Signature
from nas.tasks.criteria import Classification, Regression
from nas.training.regressions import IntArray, regression
from search_spaces.accepted import TABLES, category_counts
from search_spaces.boosting_fits import encode_categories, fit_trees

ITERATIONS = (10, 20, 40, 80, 160, 320)
DEPTHS = (1, 2, 3, 4, 5)
MOST_TREES = 1280
"""The most trees of a model. With more than two classes, an iteration has a tree for each class."""
FIRST = ((10, 2), (40, 3), (160, 4))
"""The iterations and depths of the trees with which a search begins, after the linear model."""
MOST_VALUES = 2**26
"""A linear model is fitted to so many values at most, of some 28 bytes each. A category is one for each text."""
LINEAR, TREES = "linear", "trees"


class Boosted:
    """Linear models, and boosted trees as matrix products (Hummingbird, OSDI 2020, arXiv:2010.04804), fitted at once.

    The modules have a method ``fit``, which takes the place of epochs. Inputs are numbers, categories, or one of each.

    >>> space = Boosted(nas.Signature((nas.TensorType("numbers", (13,)),), output=(3,)))
    >>> model = space.build(nas.sample(space, np.random.default_rng(0)))
    """

    accepts = TABLES

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        groups = _groups(signature.classes)
        iterations = tuple(each for each in ITERATIONS if each * groups <= MOST_TREES) or ITERATIONS[:1]
        trees = ("model", (TREES,))
        self.choices = (
            Choice("model", (LINEAR, TREES)),
            Choice("iterations", iterations, when=trees),
            Choice("depth", DEPTHS, when=trees),
        )

    @property
    def first(self) -> list[Architecture]:
        """The linear model, and trees from few and flat to many and deep. Each takes seconds to fit."""
        most = max(map(int, self.choices[1].options))
        pairs = dict.fromkeys((min(iterations, most), depth) for iterations, depth in FIRST)
        trees = [Architecture({"model": TREES, "iterations": each, "depth": depth}) for each, depth in pairs]
        return [Architecture({"model": LINEAR}), *trees]

    def build(self, architecture: Architecture) -> LinearModel | TreeModel:
        """Return the torch module, with weights drawn from torch's global random state until it is fitted."""
        if architecture["model"] == LINEAR:
            return LinearModel(self._signature)
        return TreeModel(self._signature, int(architecture["iterations"]), int(architecture["depth"]))


class LinearModel(nn.Module):
    """A linear model of numbers and of a weight for each category, fitted by logistic regression or ridge."""

    offsets: torch.Tensor

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        numbers, counts = _columns(signature)
        self._outputs, self._counts = signature.classes, counts
        self.number_weights = nn.Parameter(0.1 * torch.randn(self._outputs, numbers)) if numbers else None
        self.category_weights = nn.Parameter(0.1 * torch.randn(sum(counts), self._outputs)) if counts else None
        self.bias = nn.Parameter(torch.zeros(self._outputs))
        self.register_buffer("offsets", _offsets(counts), persistent=False)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return logits of classes or standardised numbers, shape (N, outputs)."""
        numbers, codes = _split(inputs)
        found = self.bias if self.number_weights is None else F.linear(numbers, self.number_weights, self.bias)
        if self.category_weights is not None:
            found = found + F.embedding(codes + self.offsets, self.category_weights).sum(1)
        return found

    @torch.no_grad()
    def fit(
        self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int, groups: IntArray | None = None
    ) -> None:
        """Fit the weights to training rows. The regularisation is chosen by cross-validation with ``seed``.

        ``targets`` are class numbers, int64 of shape (N,), or one number for each row, shape (N, 1). Rows of one of the
        ``groups``, numbers of shape (N,), are left out together. It is fitted to a random sample if all rows have more
        than ``MOST_VALUES`` values.

        Raises:
            ValueError: targets of another kind.
        """
        _check_targets(targets, self._outputs)
        numbers, codes = _split(tuple(each.cpu() for each in inputs))
        width = numbers.shape[1] + sum(self._counts)
        if len(targets) > (most := max(2, MOST_VALUES // width)):
            warnings.warn(
                f"the linear model of {width:,} values for each row is fitted to {most:,} random rows of "
                f"{len(targets):,}, to save memory. Trees use all rows.",
                stacklevel=2,
            )
            chosen = np.random.default_rng(seed).choice(len(targets), most, replace=False)
            numbers, codes, targets = numbers[chosen], codes[chosen], targets[chosen]
            groups = None if groups is None else groups[chosen]
        features = numbers
        if self._counts:
            columns = zip(codes.T, self._counts, strict=True)
            features = torch.cat([numbers, *(F.one_hot(column, count).float() for column, count in columns)], dim=1)
        criterion = Classification(self._outputs) if self._outputs > 1 else Regression()
        fitted = regression(features, targets.cpu(), criterion, seed, groups=groups)
        weight = torch.from_numpy(np.ascontiguousarray(fitted.weight))
        if self.number_weights is not None:
            self.number_weights.copy_(weight[:, : numbers.shape[1]])
        if self.category_weights is not None:
            self.category_weights.copy_(weight[:, numbers.shape[1] :].T)
        self.bias.copy_(torch.from_numpy(np.array(fitted.bias)))


class TreeModel(nn.Module):
    """Boosted trees of one depth. Each tree is perfect: ended branches repeat their value in all leaves below.

    Attributes:
        node_features: by node, the column that it compares. Nodes of a tree are in the order of a heap.
        node_thresholds: by tree and node, what the column must exceed to go right.
        leaf_values: by output and leaf of its trees, what is added.
        category_means: by category of each column, the numbers that stand for it.
    """

    node_features: torch.Tensor
    offsets: torch.Tensor
    paths: torch.Tensor
    turns: torch.Tensor
    signs: torch.Tensor

    def __init__(self, signature: Signature, iterations: int, depth: int) -> None:
        super().__init__()
        numbers, counts = _columns(signature)
        self._outputs, self._counts, self._iterations, self._depth = signature.classes, counts, iterations, depth
        self._groups = _groups(self._outputs)
        nodes, leaves, trees = 2**depth - 1, 2**depth, iterations * self._groups
        width = numbers + len(counts) * self._groups
        self.category_means = nn.Parameter(torch.randn(sum(counts), self._groups)) if counts else None
        self.node_thresholds = nn.Parameter(torch.randn(trees, nodes))
        self.leaf_values = nn.Parameter(0.1 * torch.randn(self._groups, iterations * leaves))
        self.bias = nn.Parameter(torch.zeros(self._groups))
        self.register_buffer("node_features", torch.randint(width, (trees * nodes,)))
        self.register_buffer("offsets", _offsets(counts), persistent=False)
        paths, turns = _paths(depth)
        self.register_buffer("paths", paths, persistent=False)
        self.register_buffer("turns", turns, persistent=False)
        self.register_buffer("signs", torch.tensor([-0.5, 0.5]), persistent=False)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return logits of classes or standardised numbers, shape (N, outputs)."""
        columns = self._encoded(*_split(inputs))
        compared = columns[:, self.node_features].view(-1, *self.node_thresholds.shape) > self.node_thresholds
        # One for the only leaf to which all turns lead, and zero for others: exact, as all are small whole numbers.
        reached = F.relu(F.linear(compared.to(columns.dtype), self.paths, self.turns))
        added = reached.view(-1, *self.leaf_values.shape) * self.leaf_values
        found: torch.Tensor = added.sum(2) + self.bias
        return found * self.signs if self._outputs == 2 else found

    def _encoded(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        if self.category_means is None:
            return numbers
        encoded = F.embedding(codes + self.offsets, self.category_means).flatten(1)
        return torch.cat([numbers, encoded], dim=1) if numbers.shape[1] else encoded

    @torch.no_grad()
    def fit(
        self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int, groups: IntArray | None = None
    ) -> None:
        """Fit the trees to training rows, by scikit-learn.

        ``targets`` are class numbers, int64 of shape (N,), or one number for each row, shape (N, 1). The learning rate
        and the number of iterations, at most that of the choice, are chosen on left-out rows that ``seed`` draws. Rows
        of one of the ``groups``, numbers of shape (N,), are left out together.

        Raises:
            ValueError: targets of another kind.
        """
        _check_targets(targets, self._outputs)
        numbers, codes = _split(tuple(each.cpu() for each in inputs))
        wanted = targets.cpu().reshape(len(targets)).numpy()
        columns = numbers.numpy()
        if self.category_means is not None:
            encoded = encode_categories(codes.numpy(), wanted, self._counts, self._groups, seed, groups)
            self.category_means.copy_(torch.from_numpy(encoded.tables))
            columns = np.concatenate([columns, encoded.columns], axis=1)
        ensemble = fit_trees(columns, wanted, self._outputs, self._iterations, self._depth, seed, groups)
        self.node_features.copy_(torch.from_numpy(ensemble.features.reshape(-1)))
        self.node_thresholds.copy_(torch.from_numpy(ensemble.thresholds.reshape(self.node_thresholds.shape)))
        self.leaf_values.copy_(torch.from_numpy(ensemble.values.reshape(self.leaf_values.shape)))
        self.bias.copy_(torch.from_numpy(ensemble.bias))


def _groups(outputs: int) -> int:
    """Return the number of trees in an iteration: one tells two classes apart, or gives a number."""
    return outputs if outputs > 2 else 1


def _columns(signature: Signature) -> tuple[int, tuple[int, ...]]:
    """Return the number of columns of numbers, and the counts of all columns of categories."""
    numbers = sum(each.elements for each in signature.inputs if not each.counts)
    return numbers, tuple(count for each in signature.inputs for count in category_counts(each))


def _offsets(counts: Sequence[int]) -> torch.Tensor:
    """Return the row at which each column of categories begins in a table of all, shape (columns,)."""
    return torch.tensor([sum(counts[:place]) for place in range(len(counts))], dtype=torch.int64)


def _split(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the numbers and the categories of inputs, each of shape (N, columns), perhaps without columns."""
    numbers = [each for each in inputs if each.is_floating_point()]
    codes = [each for each in inputs if not each.is_floating_point()]
    nothing = inputs[0][:, :0]
    return (
        torch.cat(numbers, dim=1) if len(numbers) > 1 else (numbers or [nothing.float()])[0],
        torch.cat(codes, dim=1) if len(codes) > 1 else (codes or [nothing.long()])[0],
    )


def _paths(depth: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the matrix and the biases that find the leaf to which the nodes of a perfect tree lead.

    The matrix, shape (leaves, nodes), holds 1 where the path to a leaf turns right, -1 where it turns left, and 0 off
    the path. With 1 for nodes that lead right, the product less the right turns of a leaf is 0 where all turns agree,
    and at most -1 elsewhere. So the biases, shape (leaves,), are 1 less the right turns.
    """
    leaves = 2**depth
    paths = torch.zeros(leaves, leaves - 1)
    for leaf in range(leaves):
        node = leaf + leaves - 1
        while node:
            parent = (node - 1) // 2
            paths[leaf, parent] = 1.0 if node == 2 * parent + 2 else -1.0
            node = parent
    return paths, 1 - paths.clamp(min=0).sum(1)


def _check_targets(targets: torch.Tensor, outputs: int) -> None:
    """Check that targets are classes, or one number for each row. Raises ValueError."""
    are_classes = targets.ndim == 1 and not targets.is_floating_point()
    if not (are_classes if outputs > 1 else targets.numel() == len(targets)):
        raise ValueError(
            f"the space boosted learns classes or one number for each row, but got targets of shape "
            f"{tuple(targets.shape)} and type {targets.dtype} for {outputs} outputs. Take another space, such as mlp."
        )
