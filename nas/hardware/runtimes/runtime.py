"""Runtimes: how a model is brought into deployable form, opened, and run once on a target; one file each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nas.hardware.runtimes.environments import Environment
from nas.space.plug_ins import load_plug_in
from nas.values.target import ModelFormat, Target

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Deployed:
    """A model as a runtime loads it: quantised, compiled, or just as it was exported.

    ``path`` is a file, or a folder whose files all belong to the model. ``weight_bytes`` is what its weights take
    in it. ``details`` say how it was made: plain JSON data, such as what it was calibrated on. ``beside`` are files
    that the one at ``path`` points to.
    """

    path: Path
    weight_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()

    @property
    def file_bytes(self) -> int:
        """Bytes of the file and of those that it takes its weights from, or of all files in the folder."""
        if self.path.is_dir():
            return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in (self.path, *self.beside))


class Session(Protocol):
    """A deployed model, opened, with fixed pseudo-random inputs in place."""

    def run(self) -> None:
        """One inference, returning when its outputs are there."""

    def outputs(self, images: Float32Array) -> Float32Array:
        """Outputs, shape (batch, classes), for images of the model's input shape, (batch, channels, height, width)."""

    def conditions(self) -> Mapping[str, Any]:
        """What really runs: plain JSON data.

        ``executed_precision`` is read back from the runtime where it tells, else found in what it loaded, and never
        what was asked for. ``input_shape`` includes the batch.
        """


@runtime_checkable
class TimedSession(Protocol):
    """A session with a clock of its own: a GPU's events see the work itself, not the wait for it to be handed over."""

    def timed_run_ms(self) -> float:
        """Milliseconds of one inference, which has ended."""


class Runtime(Protocol):
    """Deploys and opens models for a target. Made without arguments; all but the first two in the measuring process.

    A runtime of one's own inherits from this class and leaves out what the defaults do: it takes ONNX files as they
    were exported, in this Python.
    """

    model_format: ClassVar[ModelFormat] = "onnx"
    environment: ClassVar[Environment | None] = None
    gpu: ClassVar[int | None] = None
    """The GPU that it runs on, whose energy is metered; None for the processor."""

    def why_unavailable(self, target: Target) -> str | None:
        """Why ``target`` cannot be measured here and what to do about it, or None when it can.

        Asked in the process that searches, so it must not load the runtime.
        """

    def version(self) -> str:
        """The runtime's name and version."""

    def deploy(self, model: Path, target: Target, calibration: Float32Array | None, folder: Path) -> Deployed:
        """Bring an exported model into the form that ``open`` takes, writing into the empty ``folder`` what is new.

        ``calibration`` are training images as the model sees them, shape (N, channels, height, width), or None.
        Any exception means that the runtime refuses the model.
        """
        return Deployed(model, weight_bytes=model.stat().st_size)

    def open(self, path: Path, target: Target) -> Session:
        """A session for what ``deploy`` gave. Any exception means that the runtime refuses the model."""


def load_runtime(name: str) -> Runtime:
    """The runtime registered as ``name``, or found at ``module:Name``. Raises RecipeError when unknown."""
    maker = load_plug_in("nas.runtimes", name, "target's runtime")
    assert callable(maker)
    runtime: Runtime = maker()
    return runtime


def random_images(shape: tuple[int, ...]) -> Float32Array:
    """The fixed inputs that latencies are measured on: from a standard normal distribution, always the same."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def check_batch(shape: tuple[int, ...], target: Target) -> None:
    """Raises ValueError unless a model's input begins with the target's batch size."""
    if not shape or shape[0] != target.batch:
        raise ValueError(f"the model's input must have the batch size {target.batch} of {target}, but has {shape}.")


def calibration_text(calibration: Float32Array | None) -> str:
    """What an int8 model's static ranges were found on, for people."""
    return "random inputs" if calibration is None else f"{len(calibration)} training images"


def most_common(counts: Mapping[str, int]) -> str:
    """The commonest of the precisions in which a model's products run, and their share where they are not one."""
    if not counts:
        return "fp32"
    most = max(counts, key=lambda name: counts[name])
    return most if len(counts) == 1 else f"{most} in {counts[most]} of {sum(counts.values())} products"
