"""Generated tones: an example that needs no files."""

from __future__ import annotations

import numpy as np

from nas.tasks.deployed.recordings import Float32Array
from nas.tasks.signals.targets import LabelArray

RATE = 1024
SAMPLES = 256
CLASSES = ("falling", "rising", "steady", "trembling")
FOR_EACH_CLASS = 500
_NOISE = 0.4
"""The standard deviation of the noise: about that of a tone, so that small networks are not always right."""


def made_tones(seed: int = 0) -> tuple[Float32Array, LabelArray]:
    """Return tones of 0.25 s, shape (N, 1, SAMPLES), and the numbers of their classes; the same ones for a seed.

    Frequency, phase and loudness vary.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CLASSES)), FOR_EACH_CLASS)
    count = len(labels)
    time_s = np.arange(SAMPLES) / RATE
    start, change = rng.uniform(80, 160, count), rng.uniform(30, 60, count)
    slope = np.select([labels == 0, labels == 1], [-change, change], 0.0)
    frequency = start[:, None] + slope[:, None] * time_s / time_s[-1]
    depth = np.where(labels == 3, change / 2, 0.0)
    frequency += depth[:, None] * np.sin(
        2 * np.pi * (rng.uniform(8, 14, count)[:, None] * time_s + rng.random((count, 1)))
    )
    phase = 2 * np.pi * (np.cumsum(frequency, axis=1) / RATE + rng.random((count, 1)))
    tones = rng.uniform(0.5, 1.0, (count, 1)) * np.sin(phase)
    noisy = tones + rng.normal(0, _NOISE, tones.shape)
    return noisy[:, None].astype(np.float32), labels.astype(np.int64)
