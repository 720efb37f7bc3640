"""Nested states as one safetensors file, and back. Nothing is pickled: a file holds tensors, and JSON for the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

STRUCTURE = "structure"
"""The name of the tensor whose bytes are the JSON; the others have numbers for names."""


def packed(state: Mapping[str, Any]) -> bytes:
    """Return a state of dictionaries, lists, tuples, tensors, numbers, texts and None as a safetensors file.

    Raises:
        TypeError: a part of it is something else, such as an object of an optimizer's own, or a sparse tensor.
    """
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_described(state, tensors))
    structure = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
    return save({**tensors, STRUCTURE: structure})


def unpacked(content: bytes) -> dict[str, Any]:
    """Return the state that ``packed`` wrote.

    Raises:
        ValueError: the content is something else, or damaged.
    """
    try:
        tensors = load(content)
        found = _rebuilt(json.loads(bytes(tensors.pop(STRUCTURE).numpy())), tensors)
    except (SafetensorError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no checkpoint ({type(error).__name__}: {error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"a checkpoint holds a table of keys, but this one a {type(found).__name__}")
    return found


def _described(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return a value as JSON, in which a tensor is the number of one that is added to ``tensors``."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided:
            raise TypeError(f"a {value.layout} tensor cannot be kept")
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        strange = [key for key in value if not isinstance(key, str | int)]
        if strange:
            raise TypeError(f"a key of type {type(strange[0]).__name__} cannot be kept")
        return {"items": [[key, _described(each, tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_described(each, tensors) for each in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"an object of type {type(value).__name__} cannot be kept")


def _rebuilt(found: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    ((kind, inner),) = found.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "items":
        return {key: _rebuilt(each, tensors) for key, each in inner}
    if kind in ("list", "tuple"):
        parts = [_rebuilt(each, tensors) for each in inner]
        return parts if kind == "list" else tuple(parts)
    if kind == "value":
        return inner
    raise KeyError(kind)
