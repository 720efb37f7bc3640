"""What deploys exported models on a target and measures them, as a search sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from nas.errors import CandidateError
from nas.hardware.runtimes.runtime import Deployed, Float32Array
from nas.values.measurement import Measurement
from nas.values.target import ModelFormat

Outcome = dict[str, Measurement] | CandidateError


def target_part(fingerprint: str) -> str:
    """What identifies a target's hardware and versions, without when its reference speed was found."""
    return fingerprint.rpartition("-")[0] or fingerprint


class Bench(Protocol):
    """Deploys exported models on a target, and measures them together, so that comparing them is fair."""

    @property
    def model_format(self) -> ModelFormat:
        """What models are exported as."""

    @property
    def rounds(self) -> int:
        """How often ``advance`` is called for each model that is measured."""

    @property
    def fingerprint(self) -> str | None:
        """What identifies the target with its hardware and versions, and after a dash the find of its reference speed.

        None where nothing measured may be kept.
        """

    @property
    def device_s(self) -> float:
        """Seconds for which the device was held so far."""

    def can_measure(self, metric: str) -> bool:
        """Whether a measured metric can be measured here."""

    def deploy(
        self, models: Sequence[Path], folders: Sequence[Path], advance: Callable[[], None] = lambda: None
    ) -> list[Deployed | CandidateError]:
        """What the runtime makes of each exported model, in a new folder for each, or why it refuses it."""

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        """For each model its measurements by metric, or why it has none."""

    def outputs(self, model: Deployed, images: Float32Array) -> Float32Array:
        """Outputs, shape (N, classes), for images, shape (N, channels, height, width). Raises CandidateError."""
