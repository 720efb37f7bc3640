"""Sizes that a user gives to inputs whose sizes an ONNX file leaves open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, final

import onnx

from nas.errors import RecipeError
from nas.formats.model_inputs import Input, shape_text
from nas.formats.onnx_file import inputs_of

OPTION = "--input-shape"
_SIZES = r"[1-9][0-9]{0,6}(?:x[1-9][0-9]{0,6})*"


@final
@dataclass(frozen=True)
class InputSizes:
    """Sizes of inputs, without the batch.

    Attributes:
        of_any: sizes that all inputs get which they fit; None for none.
        named: sizes by the name of an input, or by the name of one open size, such as ``sequence``.
    """

    of_any: tuple[int, ...] | None = None
    named: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def parse(cls, texts: Sequence[str]) -> InputSizes:
        """Return the sizes in texts such as ``3x224x224``, ``tokens=128`` and ``image=3x224x224``.

        Raises:
            RecipeError: another text, or two texts about the same input.
        """
        of_any: tuple[int, ...] | None = None
        named: dict[str, tuple[int, ...]] = {}
        for text in texts:
            name, equals, sizes = text.strip().rpartition("=")
            if not re.fullmatch(_SIZES, sizes) or (equals and not name):
                raise RecipeError(
                    f"{OPTION} is the sizes of one input, without the batch, such as 3x32x32, or with the name of an "
                    f"input or of a size, such as tokens=128, but got {text[:60]!r}."
                )
            if name in named or (not name and of_any is not None):
                raise RecipeError(f"{OPTION} gives the sizes of an input once, but got those of {name or 'any'} twice.")
            found = tuple(int(size) for size in sizes.split("x"))
            if name:
                named[name] = found
            else:
                of_any = found
        return cls(of_any, MappingProxyType(named))

    @classmethod
    def of(cls, given: Sequence[int] | Mapping[str, int | Sequence[int]]) -> InputSizes:
        """Return the sizes that a caller in Python gives: those of any input, or a mapping by name."""
        if not isinstance(given, Mapping):
            return cls(tuple(map(int, given)))
        named = {name: (sizes,) if isinstance(sizes, int) else tuple(sizes) for name, sizes in given.items()}
        return cls(None, MappingProxyType(named))

    def fix(self, model: onnx.ModelProto, batch: int) -> bool:
        """Give the sizes to the inputs of ``model``. Return True if any changed.

        Raises:
            ValueError: no input can have these sizes, or none has such a name.
        """
        try:
            known = inputs_of(model, batch)
        except KeyError:
            raise ValueError(
                f"{OPTION} is for inputs of numbers, but an input of the model is something else."
            ) from None
        weights = {tensor.name for tensor in model.graph.initializer}
        declared = [each for each in model.graph.input if each.name not in weights]
        has_changed = False
        for name, sizes in self.named.items():
            has_changed |= _fix_named(declared, known, name, sizes)
        if self.of_any is not None:
            has_changed |= _fix_any(declared, known, batch, self.of_any, self.named)
        return has_changed


def _fix_any(
    declared: Sequence[Any], known: Sequence[Input], batch: int, sizes: Sequence[int], named: Mapping[str, Any]
) -> bool:
    """Give sizes to all inputs that they fit. Raises ValueError if there is none."""
    fits = has_changed = False
    for each, found in zip(declared, known, strict=True):
        if each.name in named or not _fit(found.shape[1:], sizes):
            continue
        fits = True
        has_changed |= _set(_sizes_of(each)[1:], sizes)
    if not fits:
        has = ", ".join(f"{each.name} {shape_text(each.shape)}" for each in known)
        raise ValueError(f"{OPTION} must fit an input of the model, but got {shape_text((batch, *sizes))} for {has}.")
    return has_changed


def _fix_named(declared: Sequence[Any], known: Sequence[Input], name: str, sizes: Sequence[int]) -> bool:
    """Give sizes to the input of a name, or one size to all open sizes of that name. Raises ValueError."""
    for each, found in zip(declared, known, strict=True):
        if each.name == name:
            if not _fit(found.shape[1:], sizes):
                raise ValueError(
                    f"{OPTION} must fit the input {name}, but got {shape_text(sizes)} for "
                    f"{shape_text(found.shape[1:])}."
                )
            return _set(_sizes_of(each)[1:], sizes)
    open_sizes = [size for each in declared for size in _sizes_of(each) if size.dim_param == name]
    if not open_sizes:
        names = dict.fromkeys((*(each.name for each in declared), *open_names(declared)))
        raise ValueError(f"{OPTION} names an input or an open size of the model, but got {name!r} for "
                         f"{', '.join(names)}.")  # fmt: skip
    if len(sizes) != 1:
        raise ValueError(f"{OPTION} gives one number to the open size {name}, but got {shape_text(sizes)}.")
    return _set(open_sizes, [*sizes] * len(open_sizes))


def open_names(declared: Sequence[Any]) -> Iterator[str]:
    """Yield the names of the sizes that inputs leave open, apart from the first one, which is the batch."""
    for each in declared:
        for size in _sizes_of(each)[1:]:
            if size.dim_param:
                yield size.dim_param


def _sizes_of(declared: Any) -> list[Any]:
    return list(declared.type.tensor_type.shape.dim)


def _fit(shape: Sequence[int | None], sizes: Sequence[int]) -> bool:
    return len(shape) == len(sizes) and all(known in (None, wished) for known, wished in zip(shape, sizes, strict=True))


def _set(dimensions: Sequence[Any], sizes: Sequence[int]) -> bool:
    """Set sizes, and return True if one was open before."""
    has_changed = False
    for dimension, size in zip(dimensions, sizes, strict=True):
        if not dimension.HasField("dim_value"):
            dimension.dim_value = size
            has_changed = True
    return has_changed
