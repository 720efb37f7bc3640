"""The drift of a machine's speed, estimated from repeated readings of one reference model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

SIGNAL_TO_NOISE = (0.0, *(10.0**power for power in np.arange(-4.0, 2.1, 0.5)))
"""Candidate ratios of the variance of one step of the drift to the variance of one reading's noise."""
OUTLIER = 8.0
"""A reading is an outlier if its distance from its neighbours' median is above this multiple of the median distance."""
NEIGHBOURS = 5
MOST_RESPONSE = 2.0
"""The largest response that is believed."""
SMALLEST_NOISE = 0.01
"""The smallest deviation of a reading by chance, in logarithms."""


def smoothed(readings_N: FloatArray) -> FloatArray:
    """Return the level behind noisy readings in the order of time, shape (N,), modelled as a random walk with noise.

    This is the local level model with Kalman's filter and the fixed-interval smoother (Durbin & Koopman, "Time Series
    Analysis by State Space Methods", 2012, chapter 2). The size of the level's steps is found by maximum likelihood.
    So readings that only scatter give their mean, and a real drift is followed.
    """
    if len(readings_N) < 3:
        return np.full(len(readings_N), readings_N.mean() if len(readings_N) else 0.0)
    readings_N = _without_outliers(readings_N)
    best = max(SIGNAL_TO_NOISE, key=lambda ratio: _filtered(readings_N, ratio)[0])
    _, levels, variances, predicted_levels, predicted_variances = _filtered(readings_N, best)
    smooth = levels.copy()
    for k in range(len(readings_N) - 2, -1, -1):
        gain = variances[k] / predicted_variances[k + 1]
        smooth[k] = levels[k] + gain * (smooth[k + 1] - predicted_levels[k + 1])
    return smooth


def response(readings_N: FloatArray, cause_N: FloatArray, usual: float, deviation: float) -> tuple[float, float]:
    """Return by how much readings change with a cause: 1 is as much as the cause. The second value is its uncertainty.

    Both series are logarithms in the order of time. The slope is found by least squares with a normal prior, whose mean
    and standard deviation are ``usual`` and ``deviation``. So it stays near the usual one where the cause hardly
    changed, and readings decide where it did. The uncertainty is the standard deviation that is left.
    """
    readings_N, cause_N = readings_N - readings_N.mean(), cause_N - cause_N.mean()
    together, size = float(cause_N @ readings_N), float(cause_N @ cause_N)
    left_N = readings_N - (together / size if size > 0 else 0.0) * cause_N
    strength = max(float(left_N @ left_N) / max(len(left_N) - 2, 1), SMALLEST_NOISE**2) / deviation**2
    slope = min(max((together + strength * usual) / (size + strength), 0.0), MOST_RESPONSE)
    return slope, deviation * float(np.sqrt(strength / (size + strength)))


def _without_outliers(readings_N: FloatArray) -> FloatArray:
    """Replace outliers by the medians of their neighbours (Hampel's filter). Steps and slopes stay unchanged."""
    if len(readings_N) < NEIGHBOURS:
        return readings_N
    padded = np.pad(readings_N, NEIGHBOURS // 2, mode="reflect")
    medians_N = np.median(np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS), axis=1)
    distances_N = np.abs(readings_N - medians_N)
    return np.where(distances_N > OUTLIER * np.median(distances_N), medians_N, readings_N)


def _filtered(readings_N: FloatArray, ratio: float) -> tuple[float, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the log likelihood of a signal-to-noise ratio, and filtered and predicted levels with their variances.

    Variances are in units of the noise's variance, which is set to its own maximum-likelihood value.
    """
    count = len(readings_N)
    levels, variances = np.empty(count), np.empty(count)
    predicted_levels, predicted_variances = np.empty(count), np.empty(count)
    level, variance = readings_N[0], 1.0
    levels[0], variances[0] = level, variance
    predicted_levels[0], predicted_variances[0] = level, np.inf
    squares, log_scales = 0.0, 0.0
    for k in range(1, count):
        predicted_levels[k], predicted_variances[k] = level, variance + ratio
        surprise = readings_N[k] - level
        scale = predicted_variances[k] + 1.0
        squares += surprise**2 / scale
        log_scales += float(np.log(scale))
        gain = predicted_variances[k] / scale
        level = level + gain * surprise
        variance = predicted_variances[k] * (1 - gain)
        levels[k], variances[k] = level, variance
    noise = max(squares / (count - 1), 1e-300)
    log_likelihood = -0.5 * ((count - 1) * (np.log(noise) + 1) + log_scales)
    return float(log_likelihood), levels, variances, predicted_levels, predicted_variances
