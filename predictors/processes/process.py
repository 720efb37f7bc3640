"""A Gaussian process over features of the graph and the options: smooth costs from few samples (Rasmussen & Williams).

Hyperparameters are optimised under the prior of ``predictors.processes.kernel``, once from each of three beliefs. The
results are mixed by their evidence. The process is fitted to square roots of relative values. Sums of costs are nearly
linear in them, as products are in logarithms, and no very fast or very slow architecture dominates the fit. Where
numbers are known in the place of layers, it is fitted to logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from nas.prediction.one_thread import one_thread
from nas.prediction.predictor import FloatArray
from nas.space.description import Describer
from nas.space.listing import HasNumbers
from predictors.conformal import split_folds
from predictors.processes.kernel import FloatingArray, Hyperparameters, Inputs, Products, hypotheses

_PRIOR_PRECISION = 0.5
"""Prior precision of the logarithms of hyperparameters: each may well be six times larger or smaller than expected."""
_TEMPERED = 0.5
"""Power of the evidence by which beliefs are mixed; the model is not exactly right, so the power is below 1."""
_LEAST_SHARE = 0.02
_MOST_FOR_FITTING, _MOST_FOR_FOLDS = 400, 200
"""Most samples, drawn at random, that hyperparameters are fitted to; predictions use all samples.

Up to the second number of samples, each fold gets hyperparameters of its own.
"""
_STEPS = 40
_FARTHEST = 8.0
_EVENNESS = 0.7
_JITTER = 1e-6
_OUTLIER, _FEWEST_FOR_OUTLIERS = 2.5, 12
"""Samples whose held-out residual exceeds this many standard deviations get more noise, if there are enough samples."""
_NOISE = Hyperparameters._fields.index("noise")
_SMALLEST_ROOT = 0.05
_DEVIATIONS = 1.4826
"""Standard deviations in the median absolute deviation of normal values."""


@final
@dataclass(frozen=True)
class Roots:
    """A scale for positive values: square roots relative to the median, centred and divided by their deviation.

    With ``are_logs`` it is one of logarithms, in the place of roots.
    """

    log_median: float
    mean: float
    scale: float
    are_logs: bool = False

    @classmethod
    def of(cls, values: FloatArray, *, are_logs: bool = False) -> Roots:
        """Return the scale of positive values, shape (N,)."""
        log_median = float(np.median(np.log(values)))
        roots = _root(np.log(values) - log_median, are_logs)
        return cls(log_median, float(roots.mean()), max(float(roots.std()), 1e-9), are_logs)

    @classmethod
    def robust(cls, values: FloatArray, *, are_logs: bool = False) -> Roots:
        """Return the scale of positive values, shape (N,), by medians, which a few extreme ones leave as they are."""
        log_median = float(np.median(np.log(values)))
        roots = _root(np.log(values) - log_median, are_logs)
        middle = float(np.median(roots))
        return cls(log_median, middle, max(_DEVIATIONS * float(np.median(np.abs(roots - middle))), 1e-3), are_logs)

    def __call__(self, values: FloatArray) -> FloatArray:
        """Return the scaled roots of values, shape (N,)."""
        scaled: FloatArray = (_root(np.log(values) - self.log_median, self.are_logs) - self.mean) / self.scale
        return scaled

    def logs(self, means: FloatArray, deviations: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Convert means and deviations of scaled roots into log-values and their deviations."""
        roots = means * self.scale + self.mean
        if self.are_logs:
            return roots + self.log_median, self.scale * deviations
        roots = np.maximum(roots, _SMALLEST_ROOT)
        return 2 * np.log(roots) + self.log_median, 2 * np.log1p(self.scale * deviations / roots)


def _root(logs: FloatArray, are_logs: bool) -> FloatArray:
    roots: FloatArray = logs if are_logs else np.exp(0.5 * logs)
    return roots


def are_products(space: Describer) -> bool:
    """Return True if costs multiply, so that logarithms suit them: numbers are known in the place of layers.

    On a table of detectors with a family, a depth, a width and a resolution, 20 samples of five devices give an error
    of 7.7 to 11.4 % with logarithms, and 10.5 to 13.6 % with roots; on the device that is hardest, 26 and 27 %.
    """
    return isinstance(space.space, HasNumbers) and not space.layers(space.population()[0])


@final
@dataclass(frozen=True)
class Belief:
    """A process with fixed hyperparameters, whose logarithms are ``logs``, and its ``share`` of the mixture.

    ``weights`` of the samples give the mean. ``whitening`` is the inverse of the Cholesky factor of the samples'
    covariance.
    """

    logs: FloatArray
    share: float
    weights: FloatArray
    whitening: FloatArray


@final
@dataclass(frozen=True)
class Process:
    """A mixture of beliefs over the same samples, with its held-out predictions of them."""

    inputs: Inputs
    beliefs: tuple[Belief, ...]
    held_out_means: FloatArray
    held_out_deviations: FloatArray

    @one_thread()
    def predict(self, inputs: Inputs, *, noisy: bool = True) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation, each of shape (N,), of a measurement, with or without its noise."""
        found = [self._predict(part, noisy) for part in inputs.split(len(self.inputs))]
        return np.concatenate([mean for mean, _ in found]), np.concatenate([deviation for _, deviation in found])

    @one_thread()
    def means(self, inputs: Inputs) -> FloatArray:
        """Return the means alone, shape (N,), which takes a fraction of the time."""
        shares = np.array([belief.share for belief in self.beliefs])[:, None]
        parts = [Products(part, self.inputs) for part in inputs.split(len(self.inputs))]
        found = [np.array([_mean(part.covariance(belief.logs), belief) for belief in self.beliefs]) for part in parts]
        means: FloatArray = np.concatenate([(shares * each).sum(axis=0) for each in found])
        return means

    def _predict(self, inputs: Inputs, noisy: bool) -> tuple[FloatArray, FloatArray]:
        products = Products(inputs, self.inputs)
        means, variances = [], []
        for belief in self.beliefs:
            covariance = products.covariance(belief.logs)
            means.append(_mean(covariance, belief))
            # With the inverse in place of the factor, deviations were wrong by half at 300 samples in single precision.
            explained = ((covariance @ belief.whitening.astype(covariance.dtype).T) ** 2).sum(axis=1)
            noise = np.exp(belief.logs[_NOISE]) if noisy else 0.0
            variances.append(np.maximum(inputs.variances(belief.logs) - explained, 0.0) + noise)
        return _mix([belief.share for belief in self.beliefs], means, variances)


def _mean(covariance: FloatingArray, belief: Belief) -> FloatArray:
    mean: FloatArray = (covariance @ belief.weights.astype(covariance.dtype)).astype(np.float64)
    return mean


def fit_process(
    inputs: Inputs, targets: FloatArray, rng: np.random.Generator, priors: Sequence[Hyperparameters]
) -> Process:
    """Fit a mixture of beliefs, one for each of ``priors``, to N samples with standardised values, shape (N,)."""
    fitting = _for_fitting(len(targets), rng)
    products = Products(inputs, inputs)
    some = products if len(targets) == len(fitting) else Products(inputs.take(fitting), inputs.take(fitting))
    settled = [_settle(some, targets[fitting, None], belief) for belief in priors]
    evidence = np.array([value for _, value in settled])
    shares = np.exp(_TEMPERED * (evidence - evidence.max()))
    shares /= shares.sum()
    kept = shares >= _LEAST_SHARE
    shares = np.where(kept, shares, 0.0) / shares[kept].sum()
    beliefs, means, variances = [], [], []
    for (logs, _), share in zip(settled, shares, strict=True):
        if share > 0:
            belief, held_out_means, held_out_variances = _learn(products, targets, logs, float(share))
            beliefs.append(belief)
            means.append(held_out_means)
            variances.append(held_out_variances)
    held_out = _mix([belief.share for belief in beliefs], means, variances)
    return Process(inputs.as_type(np.float32), tuple(beliefs), *held_out)


def settle_shared(inputs: Inputs, targets: FloatArray, belief: Hyperparameters, rng: np.random.Generator) -> FloatArray:
    """Return logarithms of the hyperparameters that best explain several targets of N samples, shape (N, targets)."""
    fitting = _for_fitting(len(targets), rng)
    some = inputs.take(fitting)
    return _settle(Products(some, some), targets[fitting], belief)[0]


@one_thread()
def learn(
    inputs: Inputs,
    targets: FloatArray,
    belief: Hyperparameters,
    noise: FloatArray,
    *,
    logs: FloatArray | None,
    settle: bool,
) -> Process:
    """Fit the process of one belief to N samples with standardised values, shape (N,).

    ``noise``, shape (N,), is the variance of each sample's noise relative to the usual one. ``logs`` are logarithms of
    the hyperparameters so far. They are optimised again only with ``settle``, which takes a hundred times as long as
    learning from another sample.
    """
    products = Products(inputs, inputs)
    if settle or logs is None:
        logs, _ = _settle(products, targets[:, None], belief, noise, logs)
    learned, means, variances = _learn(products, targets, logs, 1.0, noise)
    return Process(inputs.as_type(np.float32), (learned,), means, np.sqrt(variances))


@final
@dataclass(frozen=True)
class FittedValues:
    """A process for positive values, with held-out log-means and spreads of its samples, each of shape (N,)."""

    process: Process
    roots: Roots
    held_out_logs: FloatArray
    held_out_spreads: FloatArray
    usual_spread: float

    def logs(self, inputs: Inputs) -> tuple[FloatArray, FloatArray]:
        """Return log-means and spreads, each of shape (N,)."""
        means, deviations = self.roots.logs(*self.process.predict(inputs))
        return means, _tempered(deviations, self.usual_spread)

    def log_means(self, inputs: Inputs) -> FloatArray:
        """Return log-means alone, shape (N,)."""
        means = self.process.means(inputs)
        return self.roots.logs(means, np.zeros(len(means)))[0]


def fit_values(
    inputs: Inputs,
    values: FloatArray,
    seed: int,
    priors: Sequence[Hyperparameters] = hypotheses(),
    *,
    are_logs: bool = False,
) -> FittedValues:
    """Fit a process to N samples with positive values, shape (N,), to their roots or, with ``are_logs``, logarithms.

    Each fold gets hyperparameters of its own while there are few samples. Hyperparameters fitted to all samples make
    held-out residuals too small: at 20 samples, bounds from them held 77 % of what they should. With many samples the
    hyperparameters no longer depend on one fold.
    """
    process, roots = _fit(inputs, values, seed, priors, are_logs)
    if len(values) > _MOST_FOR_FOLDS:
        logs, deviations = roots.logs(process.held_out_means, process.held_out_deviations)
    else:
        logs, deviations = np.empty(len(values)), np.empty(len(values))
        for fold in split_folds(len(values), seed):
            seen = np.setdiff1d(np.arange(len(values)), fold)
            without, scale = _fit(inputs.take(seen), values[seen], seed, priors, are_logs)
            logs[fold], deviations[fold] = scale.logs(*without.predict(inputs.take(fold).as_type(np.float32)))
    usual = float(np.median(deviations))
    return FittedValues(process, roots, logs, _tempered(deviations, usual), usual)


def _tempered(deviations: FloatArray, usual: float) -> FloatArray:
    """Return deviations moved towards the usual one, because a process is overconfident near its samples."""
    spreads: FloatArray = np.sqrt((1 - _EVENNESS) * deviations**2 + _EVENNESS * usual**2)
    return spreads


def _fit(
    inputs: Inputs, values: FloatArray, seed: int, priors: Sequence[Hyperparameters], are_logs: bool
) -> tuple[Process, Roots]:
    roots = Roots.of(values, are_logs=are_logs)
    return fit_process(inputs, roots(values), np.random.default_rng(seed), priors), roots


def _for_fitting(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the indexes of the samples, out of ``count``, that hyperparameters are fitted to."""
    return np.arange(count) if count <= _MOST_FOR_FITTING else rng.choice(count, _MOST_FOR_FITTING, replace=False)


def _settle(
    products: Products,
    targets: FloatArray,
    belief: Hyperparameters,
    relative_noise: FloatArray | None = None,
    start: FloatArray | None = None,
) -> tuple[FloatArray, float]:
    """Return the most probable hyperparameters, as logarithms, and their log-probability up to a constant.

    ``targets``, shape (N, T), are T independent draws of the same process. The search begins at ``start``, or at
    ``belief`` without it.
    """
    count, draws = targets.shape
    identity, prior = np.eye(count), np.log(np.array(belief))
    noisy = np.ones(count) if relative_noise is None else relative_noise

    def loss(logs: FloatArray) -> tuple[float, FloatArray]:
        covariance, slopes = products.covariance_and_slopes(logs)
        noise = np.exp(logs[_NOISE])
        jitter = _JITTER * np.trace(covariance) / count
        factor = linalg.cholesky(covariance + np.diag(noise * noisy + jitter), lower=True, check_finite=False)
        inverse = linalg.cho_solve((factor, True), identity, check_finite=False)
        weights = inverse @ targets
        value = 0.5 * np.vdot(targets, weights) + draws * np.log(np.diag(factor)).sum()
        pull = weights @ weights.T - draws * inverse
        slope = np.zeros_like(logs)
        for index, derivative in slopes:
            slope[index] = -0.5 * np.vdot(pull, derivative)
        slope[_NOISE] = -0.5 * noise * np.vdot(noisy, np.diag(pull))
        away = logs - prior
        return float(value + 0.5 * _PRIOR_PRECISION * away @ away), slope + _PRIOR_PRECISION * away

    bounds = optimize.Bounds(prior - _FARTHEST, prior + _FARTHEST)
    options = {"maxiter": _STEPS}
    found = optimize.minimize(
        loss, prior if start is None else start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return found.x, -float(found.fun)


def _learn(
    products: Products, targets: FloatArray, logs: FloatArray, share: float, relative_noise: FloatArray | None = None
) -> tuple[Belief, FloatArray, FloatArray]:
    """Return the belief with its weights, and the held-out mean and variance of each sample.

    Leaving one out has a closed form (Rasmussen & Williams 2006, section 5.4.2).
    """
    covariance = products.covariance(logs)
    noisy = np.ones(len(targets)) if relative_noise is None else relative_noise
    noise = np.exp(logs[_NOISE]) * noisy + _JITTER * np.trace(covariance) / len(targets)
    for attempt in range(3):
        factor = linalg.cholesky(covariance + np.diag(noise), lower=True, check_finite=False)
        inverse = linalg.cho_solve((factor, True), np.eye(len(targets)), check_finite=False)
        weights = inverse @ targets
        variances = 1 / np.diag(inverse)
        means = targets - weights * variances
        scores = np.abs(targets - means) / np.sqrt(variances)
        if attempt == 2 or len(targets) < _FEWEST_FOR_OUTLIERS or not (scores > _OUTLIER).any():
            break
        noise = noise * np.maximum(1.0, scores / _OUTLIER) ** 2
    # A new sample has the usual noise, not that of an outlier.
    usual = variances - noise + noise.min()
    whitening = linalg.solve_triangular(factor, np.eye(len(targets)), lower=True, check_finite=False)
    return Belief(logs, share, weights, whitening), means, np.maximum(usual, noise.min())


def _mix(
    shares: Sequence[float], means: Sequence[FloatArray], variances: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of a mixture, each of shape (N,)."""
    share = np.array(shares)[:, None]
    mean = (share * np.array(means)).sum(axis=0)
    variance = (share * (np.array(variances) + (np.array(means) - mean) ** 2)).sum(axis=0)
    return mean, np.sqrt(variance)
