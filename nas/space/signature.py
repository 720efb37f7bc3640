"""The signature of a model: its inputs and its output, by name, shape and type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

DType = Literal["float32", "int64"]
_NAMES = {1: "values", 2: "signals", 3: "images"}
"""The usual name of an input by the number of its sizes."""


@final
@dataclass(frozen=True)
class TensorType:
    """One input of a model, without the batch.

    Attributes:
        name: its name, which exported models keep.
        shape: its sizes, such as (channels, height, width), (channels, samples), (columns,) or (tokens,).
        dtype: "float32", or "int64" for whole numbers from 0.
        counts: of whole numbers, how many values there are: one count for all, or one for each column.

    Raises:
        ValueError: a size below 1, another type, or counts that do not fit the type and the shape.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType = "float32"
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"the sizes of the input {self.name} must be at least 1, but got {self.shape}.")
        if self.dtype not in get_args(DType):
            known = " or ".join(get_args(DType))
            raise ValueError(f"values of the input {self.name} must be {known}, but got {self.dtype!r:.40}.")
        if (self.dtype == "int64") != bool(self.counts) or len(self.counts) not in (0, 1, self.shape[-1]):
            raise ValueError(
                f"whole numbers in the input {self.name} need one count, or one for each of {self.shape[-1]} columns, "
                f"and other numbers none, but got {self.counts} for {self.dtype}."
            )
        if self.counts and min(self.counts) < 1:
            raise ValueError(f"counts of the input {self.name} must be at least 1, but got {self.counts}.")

    @property
    def elements(self) -> int:
        """The number of values in one input."""
        return math.prod(self.shape)

    @property
    def item_bytes(self) -> int:
        """The memory of one value."""
        return 4 if self.dtype == "float32" else 8

    def __str__(self) -> str:
        return f"{self.name} ({self.dtype}, {'×'.join(map(str, self.shape))})"

    def to_json(self) -> dict[str, Any]:
        """Return the type as plain data."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype, "counts": list(self.counts)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> TensorType:
        """Return the type from what ``to_json`` gave. Raises KeyError, TypeError or ValueError if it is none."""
        return cls(str(stored["name"]), tuple(map(int, stored["shape"])), stored["dtype"], tuple(stored["counts"]))


@final
@dataclass(frozen=True)
class Signature:
    """What goes into a model and what comes out, without the batch.

    A module takes one tensor for each of ``inputs``, in this order, and returns one float32 tensor of shape
    (N, \\*``output``): logits of shape (N, classes), values of shape (N, targets), or, for text, logits of shape
    (N, tokens, vocabulary).

    >>> image_signature((3, 32, 32), 10).output
    (10,)
    """

    inputs: tuple[TensorType, ...]
    output: tuple[int, ...]

    def __post_init__(self) -> None:
        names = [each.name for each in self.inputs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a model must have inputs with different names, but got {names}.")
        if not self.output or min(self.output) < 1:
            raise ValueError(f"the sizes of an output must be at least 1, but got {self.output}.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the only input. Raises ValueError if there are several."""
        if len(self.inputs) != 1:
            raise ValueError(f"this model must have one input, but it has {len(self.inputs)}: {self}.")
        return self.inputs[0].shape

    @property
    def classes(self) -> int:
        """The size of the output's last axis: the number of classes, values or tokens."""
        return self.output[-1]

    @property
    def item_bytes(self) -> int:
        """The memory of the inputs and the output of one item."""
        return sum(each.elements * each.item_bytes for each in self.inputs) + 4 * math.prod(self.output)

    def together(self, most: int, most_bytes: int = 2**25) -> int:
        """Return how many items to run at once: ``most``, or as many fewer as fit into ``most_bytes``, at least one.

        The logits of one window of text may take as much memory as a thousand small images.
        """
        return max(1, min(most, most_bytes // self.item_bytes))

    def wanted(self, batch: int = 1) -> str:
        """Return the shapes that a module maps, with the batch, such as "(1, 3, 32, 32) to (1, 10)"."""
        shapes = ", ".join(str((batch, *each.shape)) for each in self.inputs)
        return f"{shapes} to {(batch, *self.output)}"

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.inputs))} → {'×'.join(map(str, self.output))}"

    def to_json(self) -> dict[str, Any]:
        """Return the signature as plain data."""
        return {"inputs": [each.to_json() for each in self.inputs], "output": list(self.output)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Signature:
        """Return the signature from what ``to_json`` gave. Raises KeyError, TypeError or ValueError if it is none."""
        return cls(tuple(map(TensorType.from_json, stored["inputs"])), tuple(map(int, stored["output"])))

    @property
    def key(self) -> list[Any]:
        """Return plain data that differ for signatures that build different models."""
        first = self.inputs[0]
        if len(self.inputs) == len(self.output) == 1 and first.dtype == "float32":
            return [list(first.shape), self.output[0]]  # as stored measurements of earlier versions are keyed
        return [[[list(each.shape), each.dtype, list(each.counts)] for each in self.inputs], list(self.output)]


@final
@dataclass(frozen=True)
class Accepts:
    """The inputs that models of a space take. A space's class has it as ``accepts``, and other data are refused by it.

    Attributes:
        noun: what such inputs are called, such as "images".
        axes: the names of their sizes, such as ("channels", "height", "width").
        dtype: the type of their values; None for any.
        several: a model may have several such inputs.
        output_axes: the number of sizes of the output: 1 for classes and values, 2 for text.
    """

    noun: str
    axes: tuple[str, ...]
    dtype: DType | None = "float32"
    several: bool = False
    output_axes: int = 1

    def fits(self, signature: Signature) -> bool:
        """Return True if models of this signature take such inputs and give such an output."""
        return (
            (self.several or len(signature.inputs) == 1)
            and len(signature.output) == self.output_axes
            and all(len(each.shape) == len(self.axes) for each in signature.inputs)
            and all(self.dtype in (None, each.dtype) for each in signature.inputs)
        )

    def check(self, space: str, signature: Signature) -> None:
        """Check that ``space``, as it is called, can build models of this signature. Raises ValueError."""
        if not self.fits(signature):
            data = ", ".join(f"{each.name}, {each.dtype} of shape {each.shape}" for each in signature.inputs)
            output = "" if len(signature.output) == self.output_axes else f", and outputs of shape {signature.output}"
            raise ValueError(f"{space} takes {self}, but the data have {data}{output}.")

    def __str__(self) -> str:
        sizes = f"({', '.join(self.axes)}{',' if len(self.axes) == 1 else ''})"
        return f"{self.noun}, {'' if self.dtype is None else f'{self.dtype} '}of shape {sizes}"


def image_inputs(shape: Sequence[int]) -> tuple[TensorType, ...]:
    """Return the only input of a model of images, shape (channels, height, width), or of other numbers."""
    return (TensorType(_NAMES.get(len(shape), "inputs"), tuple(shape)),)


def image_signature(shape: Sequence[int], classes: int) -> Signature:
    """Return the signature of a classifier of images, shape (channels, height, width), or of other numbers."""
    return Signature(image_inputs(shape), (classes,))
