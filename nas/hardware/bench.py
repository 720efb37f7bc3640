"""The protocol of a bench, which deploys exported models on a target and measures them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from nas.errors import CandidateError
from nas.formats.onnx_session import Arrays
from nas.hardware.kept_sessions import KeptSessions
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array
from nas.values.layer_times import LayerTimes
from nas.values.measurement import Measurement
from nas.values.target import ModelFormat

Outcome = dict[str, Measurement] | CandidateError
"""A model's measurements by metric, or the error that stopped them."""


def target_part(fingerprint: str) -> str:
    """Return the part of a bench's fingerprint that identifies the target's hardware and versions."""
    return fingerprint.rpartition("-")[0] or fingerprint


class Bench(Protocol):
    """Deploys exported models on a target, and measures them together, so that they compare fairly."""

    @property
    def model_format(self) -> ModelFormat:
        """The format in which models are exported."""

    @property
    def rounds(self) -> int:
        """The number of calls of ``advance`` for each measured model."""

    @property
    def fingerprint(self) -> str | None:
        """An identifier of the target with its hardware and versions, a dash, and one of its recorded reference speed.

        None means that measurements must not be kept for later runs.
        """

    @property
    def device_s(self) -> float:
        """Seconds for which the bench has held the device so far."""

    in_time: Callable[[], bool]
    """Returns False once time is short: then models get the fewest sessions, however wide their intervals."""

    sessions: KeptSessions
    """Keeps finished sessions where measuring may be stopped and go on; by default it keeps none."""

    def can_measure(self, metric: str) -> bool:
        """Return True if a metric can be measured on the target."""

    def check(self, metrics: Sequence[str]) -> None:
        """Check that all of ``metrics`` can be measured. Raises TargetError, which says why one cannot."""

    def check_meter(self) -> None:
        """Check that the energy meter that is asked for can be used. Raises TargetError."""

    def deploy(
        self,
        models: Sequence[ExportedModel],
        folders: Sequence[Path],
        advance: Callable[[], None] = lambda: None,
    ) -> list[Deployed | CandidateError]:
        """Return each exported model in the runtime's form, or the runtime's error.

        Each model gets a folder of ``folders``, which must not exist yet.
        """

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        """Return each model's measurements by metric, or the error that stopped them."""

    def outputs(self, model: Deployed, inputs: Arrays) -> Float32Array:
        """Return the outputs for an array for each input. Their first axis is that of the items.

        Raises:
            CandidateError: the runtime fails on the model.
        """


@runtime_checkable
class ProfilingBench(Protocol):
    """A bench that can also tell the latency by layer. A bench that models a device cannot."""

    @property
    def profiles_layers(self) -> bool:
        """True if the target's runtime has a profiler."""

    def layer_times(self, models: Sequence[Deployed], advance: Callable[[], None] = lambda: None) -> list[LayerTimes]:
        """Return how an inference of each model divides among its operators, or why this is not known."""
