"""Tones in WAV files, high and low ones, in a folder for each."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np


def write_tones(folder: Path, each: int = 50, samples: int = 400, rate: int = 8000) -> None:
    """Write ``each`` tones of both classes, of random heights, phases and loudness, with some noise."""
    rng = np.random.default_rng(0)
    for name, (lowest, highest) in {"high": (900, 1800), "low": (150, 500)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            time_s = np.arange(samples) / rate
            tone = np.sin(2 * np.pi * (rng.uniform(lowest, highest) * time_s + rng.uniform()))
            values = rng.uniform(0.3, 0.8) * tone + rng.normal(0, 0.05, samples)
            with wave.open(str(folder / name / f"{number:02}.wav"), "wb") as file:
                file.setparams((1, 2, rate, samples, "NONE", ""))
                file.writeframes((values.clip(-1, 1) * 32767).astype("<i2").tobytes())
