"""The protocol of a runtime, which converts models here and opens them on a device, and functions that runtimes share.

A device may have neither torch nor the toolkits that convert models. So ``open``, and all that a module of a runtime
imports at its top, needs the runtime alone; ``convert`` imports its toolkits itself.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nas.errors import RecipeError, raised_text
from nas.formats.model_inputs import Input, random_inputs
from nas.formats.onnx_session import Arrays
from nas.hardware.runtimes.environments import Environment, why_missing
from nas.space.own_code import own_code
from nas.space.plug_ins import check_options, load_plug_in
from nas.values.layer_times import LayerTime
from nas.values.target import ModelFormat, Target

Float32Array = npt.NDArray[np.float32]
MOST_OF_HEAD = 0.05
"""A head with at most so much of the weights stays in fp32, where it takes no time that can be told. In int8 the fitted
head of a tuned EfficientNet-Lite0 answered twice as often wrongly: its weights are large, and cancel each other."""

RANDOM_CALIBRATION = 32
"""A model without items of its own is calibrated on so many random ones."""


@dataclass(frozen=True)
class ExportedModel:
    """A model as it was exported, and the items on which an int8 form of it finds its ranges.

    ``calibration`` returns the model's inputs for training items, prepared as this model takes them: an array for each
    input. It is called for int8 alone. Models with the same function share its items. Without one, random inputs take
    their place. ``narrow`` is True where weights of int8 must keep to 7 bits, as on some x86 processors; None for what
    this machine needs. ``classifies`` tells if outputs are those of classes, so that large values may be cut off. It is
    called for int8 alone, and without it they are kept.
    """

    path: Path
    calibration: Callable[[], Arrays] | None = field(default=None, repr=False)
    narrow: bool | None = None
    classifies: Callable[[], bool] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Deployed:
    """A model in the form that a runtime opens: quantised, compiled, or unchanged from the export.

    ``path`` is a file, or a folder whose files all belong to the model. ``weight_bytes`` is the size of its weights.
    ``details`` describe how it was made, as plain JSON data, such as the images it was calibrated on. ``beside`` are
    further files that the file at ``path`` refers to.
    """

    path: Path
    weight_bytes: int
    details: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a device needs: the file and the files beside it, or all files in the folder."""
        if self.path.is_dir():
            return tuple(sorted(file for file in self.path.rglob("*") if file.is_file()))
        return (self.path, *self.beside)

    @property
    def file_bytes(self) -> int:
        """Bytes of all ``files``."""
        return sum(file.stat().st_size for file in self.files)


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
    """Converts models for a target where its toolkits are, and opens them where they run, which may be elsewhere.

    Its class is called without arguments. A runtime of your own inherits from this class. By default it runs exported
    ONNX files unchanged in fp32, in this Python.
    """

    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    model_format: ClassVar[ModelFormat] = "onnx"
    form: ClassVar[str] = ""
    """The format of a winner's copy for this runtime, as ``nas bundle export`` names it; empty if it makes none."""
    opens_batch: ClassVar[bool] = False
    """True if a converted model may leave the size of its batch open."""
    environment: ClassVar[Environment | None] = None
    """The Python of its own in which it converts and opens models on this machine, or None for ours."""
    device_packages: ClassVar[tuple[str, ...]] = ()
    """The packages with which a device can open converted models, the runtime's own first; none if only this machine
    can."""
    here_alone: ClassVar[str] = "it names no packages that another device could have."
    """Why no other device can run it, and what to do; told where ``device_packages`` are none."""
    conversions: ClassVar[Mapping[str, int]] = {}
    """By precision, how often ``convert`` has changed what it makes of a file: measurements of before are not used."""
    gpu: ClassVar[int | None] = None
    """The GPU that the runtime runs on and whose energy is metered, or None for the processor."""

    def why_unavailable(self, target: Target) -> str | None:
        """Return why ``target`` cannot run on this machine and what to do about it, or None when it can.

        This is called in the process that searches, so it must not load the runtime. By default the precision must be
        one of ``precisions``, and the environment be installed.
        """
        if target.precision not in self.precisions:
            return (
                f"{target.runtime} runs {', '.join(self.precisions)}, but {target} asks for {target.precision}; "
                f"write {target.runtime}:fp32, or choose another runtime of nas target list."
            )
        return None if self.environment is None else why_missing(self.environment, target)

    def why_not_converted(self, target: Target) -> str | None:
        """Return why models cannot be converted for ``target`` on this machine, or None when they can.

        It is called as ``why_unavailable`` is, and names toolkits that only ``convert`` needs. By default the
        environment must be installed, also where another device runs the models.
        """
        return None if self.environment is None else why_missing(self.environment, target)

    def convert(self, model: ExportedModel, target: Target, folder: Path) -> Deployed:
        """Bring a model into the form that ``open`` takes. New files go into the empty ``folder``.

        A process of the machine that searches calls this. Any exception means that the runtime refuses the model.
        """
        return Deployed(model.path, weight_bytes=model.path.stat().st_size)

    def version(self) -> str:
        """Return the runtime's name and version. The process that measures calls this, on the device."""

    def open(self, path: Path, target: Target) -> Session:
        """Open the path that ``convert`` returned. Any exception means that the runtime refuses the model.

        The process that measures calls this, on the device, where no toolkit of ``convert`` need be.
        """


@runtime_checkable
class ProfilingRuntime(Protocol):
    """A runtime that can also tell the latency by layer. This is optional: winners of others have none."""

    def layer_times(self, path: Path, target: Target) -> Sequence[LayerTime]:
        """Return the operators that run in an inference of a converted model, in their order, with their times.

        It is called in the measuring process, once for each winner, and should take about a second. Any exception is
        recorded as the reason why the times are not known.
        """


def load_runtime(name: str, options: Iterable[tuple[str, str]] = ()) -> Runtime:
    """Return the runtime registered as ``name``, or found at ``module:Name``, made with a target's ``options``.

    Raises:
        RecipeError: no such runtime, no class of a runtime, one for an earlier version of this protocol, or an option
            that it does not take or refuses.
    """
    maker: Any = load_plug_in("nas.runtimes", name, "runtime")
    if callable(getattr(maker, "deploy", None)) and getattr(maker, "convert", None) in (None, Runtime.convert):
        raise RecipeError(
            f"a runtime must have convert(model, target, folder), but {name!r} has deploy(model, target, calibration, "
            'folder), which nas called until version 0.8; docs/plug-ins.md shows under "A runtime" what to change.'
        )
    methods = ("why_unavailable", "version", "convert", "open")
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


def check_batch(shape: Sequence[int | None], target: Target) -> None:
    """Check that a model's input begins with the target's batch size. Raises ValueError otherwise."""
    if not shape or shape[0] != target.batch:
        raise ValueError(f"the model's input must have the batch size {target.batch} of {target}, but has {shape}.")


def told_shape(shapes: Iterable[Sequence[int]]) -> list[Any]:
    """Return the ``input_shape`` of a session's conditions: that of the only input, or a list of all."""
    found = [list(shape) for shape in shapes]
    return found[0] if len(found) == 1 else found


def calibration_of(
    model: ExportedModel, inputs: Sequence[Input], batch: int
) -> tuple[list[list[npt.NDArray[Any]]], dict[str, Any]]:
    """Return the items on which an int8 model's static ranges are set, in batches, and a description for its details.

    A batch is an array for each of ``inputs``. Fewer items than one batch are repeated, and a last incomplete batch is
    left out.
    """
    if model.calibration is None:
        several = tuple(replace(each, shape=(RANDOM_CALIBRATION, *each.shape[1:])) for each in inputs)
        items: Arrays = list(random_inputs(several).values())
        described = "random inputs"
    else:
        items = model.calibration()
        described = f"{len(items[0])} training items"
    count = max(batch, len(items[0]) // batch * batch)
    whole = [np.resize(each, (count, *each.shape[1:])) for each in items]
    batches = [[each[start : start + batch] for each in whole] for start in range(0, count, batch)]
    return batches, {"calibrated_on": described}


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
