"""Recordings with their labels, and which of them depend on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.batches import IntArray
from nas.tasks.dependence import Signs, copies_of, dependence
from nas.tasks.deployed.recordings import Float32Array, Recording

SPECTRUM = 4096
"""The samples of a recording by whose spectrum it is compared."""


@dataclass(frozen=True)
class Labelled:
    """A recording with its label.

    Attributes:
        recording: its samples.
        label: its class, its value, or an array with a value for each sample; windows get the mean of theirs.
        path: the file that it comes from.
        split: the split that it belongs to, if that is given.
        group: recordings of one group are never in two splits; None for a group of its own.
        moments: a whole number for each sample, or one for all, which grows with time; None if no time is known.
        place: where in the file it lies, if that holds several, such as " from line 7".
        within: the path of its file below the folder of its class; empty if files have no such folders.
    """

    recording: Recording
    label: Any
    path: Path
    split: str | None = None
    group: str | None = None
    moments: IntArray | None = None
    place: str = ""
    within: str = ""

    @property
    def name(self) -> str:
        """Its file, and where in it."""
        return f"{self.path}{self.place}"


def grouped(recordings: Sequence[Labelled], told: list[str]) -> list[Labelled]:
    """Return the recordings, those that depend on each other in groups, which is told."""
    keys = [each.recording.samples.tobytes() for each in recordings]
    classes = np.unique(list(map(class_of, recordings)), return_inverse=True)[1].reshape(-1)
    names = [each.within for each in recordings]
    contents = np.stack([spectrum_of(each.recording.samples) for each in recordings])
    scaled = contents / np.maximum(contents.std(axis=0), 1e-9)
    signs = Signs(classes, scaled, names if all(names) else (), copies_of(keys))
    found = dependence(replace(signs, said=lambda place: recordings[place].within or recordings[place].name))
    if found is None:
        return list(recordings)
    told.append(found.told("recordings"))
    sizes = np.bincount(found.groups)
    pairs = zip(recordings, found.groups.tolist(), strict=True)
    return [replace(each, group=f"found {number}") if sizes[number] > 1 else each for each, number in pairs]


def spectrum_of(samples: Float32Array) -> npt.NDArray[np.float64]:
    """Return what a recording, shape (channels, samples), sounds like: its level, and its power in bands.

    Bands are an octave wide, and the powers are logarithms: cuts of one recording have about the same.
    """
    values = samples.astype(np.float64).mean(axis=0)
    power = np.square(np.abs(np.fft.rfft(values - values.mean(), SPECTRUM)))
    edges = 2 ** np.arange(int(np.log2(SPECTRUM)) - 1)
    bands = np.log(np.add.reduceat(power[1:], edges - 1) + 1e-9)
    return np.array([values.mean(), np.log(values.std() + 1e-9), *bands])


def class_of(recording: Labelled) -> str:
    """Return the class of a recording as text; no text if it has values."""
    return "" if isinstance(recording.label, (float, np.ndarray)) else str(recording.label)
