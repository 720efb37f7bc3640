"""Twenty lines for series: MiniRocket in numpy, and scikit-learn's ridge.

The transform is that of Dempster, Schmidt and Webb ("MiniRocket", KDD 2021, https://arxiv.org/abs/2012.08791).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nas
from experiments.desk.simple_models import Fitted, prepared_items, thread_ms
from nas.formats.export import export_onnx
from nas.values.pareto import FloatArray
from search_spaces.rocket import Rocket

LENGTH = 9
TAPS = tuple(combinations(range(LENGTH), 3))
FEATURES = (504, 2016, 9996)
MOST_DILATIONS, MOST_CHANNELS = 32, 9
STRENGTHS = np.logspace(-3, 3, 10)
FOLDS = 5


def fit_series(task: nas.Task, seed: int, folder: Path) -> list[Fitted]:
    """Return MiniRocket with a ridge for each number of features, chosen by cross-validation.

    ``model`` is the network of the space ``rocket`` with as many features. It computes the same kinds of features, so
    that its latency stands for that of the pipeline. The errors are the pipeline's own.
    """
    series, labels = prepared_items(task, task.train, task.validation)
    tested, known = prepared_items(task, task.test)
    found = []
    for features in FEATURES:
        transform = MiniRocket.of(series, features, np.random.default_rng(seed))
        ridge = make_pipeline(StandardScaler(), RidgeClassifierCV(STRENGTHS))
        folds = folds_of(labels, seed)
        given = transform(series)
        right = float(cross_val_score(ridge, given, labels, cv=folds).mean())
        ridge.fit(given, labels)
        wrong = (ridge.predict(transform(tested)) != known).astype(np.float64)
        pipeline_ms = thread_ms(lambda: ridge.predict(transform(tested[:1])))  # noqa: B023 called at once
        model = folder / f"rocket-{features}.onnx"
        write_network(task, features, series, labels, model)
        found.append(Fitted(f"MiniRocket of {features:,} features, ridge", 1 - right, wrong, model, pipeline_ms))
    return found


def folds_of(labels: Any, seed: int) -> Any:
    """Return folds with all classes alike, where each class has enough series."""
    kind = StratifiedKFold if np.bincount(labels).min() >= FOLDS else KFold
    return kind(FOLDS, shuffle=True, random_state=seed)


def write_network(task: nas.Task, features: int, series: Any, labels: Any, path: Path) -> None:
    """Export the network of the space ``rocket`` with as many features and dilations, fitted to the same series."""
    import torch

    (given,) = task.signature.inputs
    space = Rocket(given.shape, task.signature.classes)  # type: ignore[arg-type]
    network = space.build(nas.Architecture({"features": features, "dilations": MOST_DILATIONS, "pool": 1})).eval()
    network.fit((torch.from_numpy(series),), torch.from_numpy(labels), 0)
    export_onnx(network, task.signature.inputs, 1, path)


@dataclass(frozen=True)
class Kernel:
    """A kernel at a dilation: the places of its weights of 2, its channels, its biases, and whether it is padded."""

    taps: tuple[int, ...]
    dilation: int
    channels: FloatArray
    biases: FloatArray
    is_padded: bool

    def outputs(self, series: Any) -> FloatArray:
        """Return the outputs for series of shape (N, channels, samples), shape (N, samples)."""
        reach = (LENGTH // 2) * self.dilation
        summed = series[:, self.channels].sum(axis=1, dtype=np.float64)
        padded = np.pad(summed, ((0, 0), (reach, reach)))
        samples = summed.shape[1]
        parts = [padded[:, tap * self.dilation : tap * self.dilation + samples] for tap in range(LENGTH)]
        outputs: FloatArray = 3 * np.sum([parts[tap] for tap in self.taps], axis=0) - np.sum(parts, axis=0)
        return outputs if self.is_padded else outputs[:, reach : samples - reach]


@dataclass(frozen=True)
class MiniRocket:
    """The transform: the shares of the outputs of kernels that are above biases."""

    kernels: tuple[Kernel, ...]

    @classmethod
    def of(cls, series: Any, features: int, rng: np.random.Generator) -> MiniRocket:
        """Return the transform whose biases are quantiles of the outputs for random ones of ``series``."""
        channels, samples = series.shape[1:]
        of_kernel = features // len(TAPS)
        quantiles = (np.arange(1, features + 1) * ((np.sqrt(5) + 1) / 2)) % 1
        kernels: list[Kernel] = []
        used = 0
        for number, (dilation, count) in enumerate(dilations_of(samples, of_kernel)):
            for place, taps in enumerate(TAPS):
                size = min(channels, int(2 ** rng.uniform(0, np.log2(min(channels, MOST_CHANNELS) + 1))))
                some = np.sort(rng.choice(channels, size, replace=False))
                kernel = Kernel(taps, dilation, some, np.zeros(0), (number + place) % 2 == 0)
                example = kernel.outputs(series[rng.integers(len(series))][None])[0]
                biases = np.quantile(example, quantiles[used : used + count])
                kernels.append(Kernel(taps, dilation, some, biases, kernel.is_padded))
                used += count
        return cls(tuple(kernels))

    def __call__(self, series: Any) -> FloatArray:
        """Return the features of series of shape (N, channels, samples), shape (N, features)."""
        columns = []
        for kernel in self.kernels:
            outputs = kernel.outputs(series)
            columns += [(outputs > bias).mean(axis=1) for bias in kernel.biases]
        return np.stack(columns, axis=1)


def dilations_of(samples: int, of_kernel: int) -> list[tuple[int, int]]:
    """Return the dilations, and how many features each kernel has there: on a scale of powers of two."""
    count = min(of_kernel, MOST_DILATIONS)
    most = np.log2(max(samples - 1, LENGTH - 1) / (LENGTH - 1))
    sizes, times = np.unique(np.logspace(0, most, count, base=2).astype(np.int64), return_counts=True)
    shares = (times * of_kernel / count).astype(np.int64)
    for place in range(of_kernel - int(shares.sum())):
        shares[place % len(shares)] += 1
    return list(zip(sizes.tolist(), shares.tolist(), strict=True))
