"""Small recordings for tests of signals: WAV files of every type, and folders of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import wavfile

RATE = 1000


def tone(frequency: float, samples: int, seed: int = 0, channels: int = 1) -> npt.NDArray[np.float32]:
    """Return a quiet tone under noise, shape (channels, samples)."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(samples) / RATE
    found = 0.5 * np.sin(2 * np.pi * frequency * time_s) + rng.normal(0, 0.05, (channels, samples))
    return found.clip(-1, 1).astype(np.float32)


def write_wav(path: Path, samples: npt.NDArray[Any], rate: int = RATE) -> Path:
    """Write samples, shape (channels, samples), with the type that they have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, samples.T if len(samples) > 1 else samples[0])
    return path


def write_24_bits(path: Path, samples: npt.NDArray[np.int32], rate: int = RATE) -> Path:
    """Write whole numbers of 24 bits, shape (samples,), which scipy does not write."""
    data = np.frombuffer(samples.astype("<i4").tobytes(), np.uint8).reshape(-1, 4)[:, :3].tobytes()
    head = b"WAVEfmt " + (16).to_bytes(4, "little") + (1).to_bytes(2, "little") + (1).to_bytes(2, "little")
    head += rate.to_bytes(4, "little") + (3 * rate).to_bytes(4, "little") + (3).to_bytes(2, "little")
    head += (24).to_bytes(2, "little") + b"data" + len(data).to_bytes(4, "little")
    path.write_bytes(b"RIFF" + (len(head) + len(data)).to_bytes(4, "little") + head + data)
    return path


def write_classes(root: Path, files: int = 10, samples: int = 300, channels: int = 1) -> Path:
    """Write a folder with two classes of 16-bit WAV files, a low and a high tone."""
    for number in range(files):
        for name, frequency in (("low", 20), ("high", 150)):
            made = tone(frequency, samples, seed=number + frequency, channels=channels)
            write_wav(root / name / f"{number}.wav", np.rint(made * 32767).astype(np.int16))
    return root
