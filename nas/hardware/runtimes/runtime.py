"""The protocol of a runtime, which deploys, opens and runs models on a target, and functions that runtimes share."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError, raised_text
from nas.formats.onnx_session import Arrays
from nas.hardware.runtimes.environments import Environment
from nas.space.own_code import own_code
from nas.space.plug_ins import check_options, load_plug_in
from nas.values.layer_times import LayerTime
from nas.values.target import ModelFormat, Target

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Deployed:
    """A model in the form that a runtime loads: quantised, compiled, or unchanged from the export.

    ``path`` is a file, or a folder whose files all belong to the model. ``weight_bytes`` is the size of its weights.
    ``details`` describe how it was made, as plain JSON data, such as the images it was calibrated on. ``beside`` are
    further files that the file at ``path`` refers to.
    """

    path: Path
    weight_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()

    @property
    def file_bytes(self) -> int:
        """Bytes of the file and the files beside it, or of all files in the folder."""
        if self.path.is_dir():
            return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in (self.path, *self.beside))


class Session(Protocol):
    """An opened model with fixed pseudo-random inputs in place."""

    def run(self) -> None:
        """Run one inference and return when its outputs are ready."""

    def outputs(self, inputs: Arrays) -> Float32Array:
        """Return the outputs of one batch, for an array for each input. Their first axis is the batch."""

    def conditions(self) -> Mapping[str, Any]:
        """Return what really runs, as plain JSON data.

        ``executed_precision`` is read back from the runtime, or else from the loaded model. It is never copied from the
        target. ``input_shape`` includes the batch.
        """


@runtime_checkable
class TimedSession(Protocol):
    """A session with a clock of its own. A GPU's events time the work itself, without the wait for its submission."""

    def timed_run_ms(self) -> float:
        """Run one inference to its end and return its milliseconds."""


class Runtime(Protocol):
    """Deploys and opens models for a target. Its class is called without arguments.

    ``version``, ``deploy`` and ``open`` are called in the measuring process, the rest in the process that searches.
    A runtime of your own inherits from this class. By default it takes exported ONNX files unchanged and runs in this
    Python.
    """

    model_format: ClassVar[ModelFormat] = "onnx"
    environment: ClassVar[Environment | None] = None
    gpu: ClassVar[int | None] = None
    """The GPU that the runtime runs on and whose energy is metered, or None for the processor."""

    def why_unavailable(self, target: Target) -> str | None:
        """Return why ``target`` cannot be measured here and what to do about it, or None when it can.

        This is called in the process that searches, so it must not load the runtime.
        """

    def version(self) -> str:
        """Return the runtime's name and version."""

    def deploy(self, model: Path, target: Target, calibration: Arrays | None, folder: Path) -> Deployed:
        """Bring an exported model into the form that ``open`` takes. New files go into the empty ``folder``.

        ``calibration`` holds the model's inputs for training items, an array for each input, or None. Any exception
        means that the runtime refuses the model.
        """
        return Deployed(model, weight_bytes=model.stat().st_size)

    def open(self, path: Path, target: Target) -> Session:
        """Open the path that ``deploy`` returned. Any exception means that the runtime refuses the model."""


@runtime_checkable
class ProfilingRuntime(Protocol):
    """A runtime that can also tell the latency by layer. This is optional: winners of others have none."""

    def layer_times(self, path: Path, target: Target) -> Sequence[LayerTime]:
        """Return the operators that run in an inference of a deployed model, in their order, with their times.

        It is called in the measuring process, once for each winner, and should take about a second. Any exception is
        recorded as the reason why the times are not known.
        """


def load_runtime(name: str, options: Iterable[tuple[str, str]] = ()) -> Runtime:
    """Return the runtime registered as ``name``, or found at ``module:Name``, made with a target's ``options``.

    Raises:
        RecipeError: no such runtime, no class of a runtime, or an option that it does not take or refuses.
    """
    maker: Any = load_plug_in("nas.runtimes", name, "runtime")
    methods = ("why_unavailable", "version", "deploy", "open")
    missing = [method for method in methods if not callable(getattr(maker, method, None))]
    if not inspect.isclass(maker) or missing:
        raise RecipeError(
            f"a runtime must be a class with the methods of nas.Runtime, but {name!r} is {maker!r:.80}, "
            f"without {', '.join(missing) or 'being a class'}."
        )
    given = dict(options)
    check_options(maker, given, name, "the runtime", own=("batch", "threads"))
    try:
        with own_code():
            made: Any = maker(**given)
    except Exception as error:
        raise RecipeError(f"the runtime {name!r} cannot be made with {given}: {raised_text(error)}.") from None
    runtime: Runtime = made
    return runtime


def random_images(shape: tuple[int, ...]) -> Float32Array:
    """Return the fixed inputs for measuring latency: standard normal values, always the same."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def check_batch(shape: tuple[int, ...], target: Target) -> None:
    """Check that a model's input begins with the target's batch size. Raises ValueError otherwise."""
    if not shape or shape[0] != target.batch:
        raise ValueError(f"the model's input must have the batch size {target.batch} of {target}, but has {shape}.")


def calibration_text(calibration: Arrays | None) -> str:
    """Describe the items that an int8 model's static ranges were calibrated on."""
    return "random inputs" if calibration is None else f"{len(calibration[0])} training items"


def in_batches(items: Arrays, batch: int) -> list[list[npt.NDArray[Any]]]:
    """Return items in full batches, an array for each input. A last incomplete batch is left out.

    Fewer items than one batch are repeated.
    """
    count = max(batch, len(items[0]) // batch * batch)
    whole = [np.resize(each, (count, *each.shape[1:])) for each in items]
    return [[each[start : start + batch] for each in whole] for start in range(0, count, batch)]


def only(calibration: Arrays | None) -> npt.NDArray[Any] | None:
    """Return the array of a model's only input. Raises ValueError if there are several."""
    if calibration is None:
        return None
    if len(calibration) != 1:
        raise ValueError(f"this runtime calibrates models with one input, but this one has {len(calibration)}.")
    return calibration[0]


@contextlib.contextmanager
def without_logged_warnings() -> Iterator[None]:
    """Silence quantisers, which log advice about their own use, and warnings of what they import."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def most_common(counts: Mapping[str, int]) -> str:
    """Return the commonest precision of a model's products, with its share if the model has several."""
    if not counts:
        return "fp32"
    most = max(counts, key=lambda name: counts[name])
    return most if len(counts) == 1 else f"{most} in {counts[most]} of {sum(counts.values())} products"
