"""Inputs of an architecture's own: what it asks of the preparation of a task, and the signature that follows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from nas.errors import CandidateError, raised_text
from nas.space.architecture import Architecture, Choice
from nas.space.own_code import own_code
from nas.space.search_space import SearchSpace, ends, with_options
from nas.space.signature import Signature

IMAGE_SIZE = "image_size"
"""The wish for square images of this side in pixels; it is the only one that changes a model's signature."""


@runtime_checkable
class HasInputs(Protocol):
    """A space whose architectures want inputs of their own, such as a resolution or the scaling of trained weights."""

    def inputs(self, architecture: Architecture) -> Mapping[str, Any]:
        """Return what an architecture asks of the task's preparation, as plain data; nothing means as the task is.

        Images know ``image_size`` (the side in pixels), ``mean`` and ``std`` (of each channel, on a scale from 0 to 1),
        ``crop`` (the share of the picture's side that is kept) and ``interpolation``.
        """
        ...


def wishes_of(space: SearchSpace, architecture: Architecture) -> dict[str, Any]:
    """Return what an architecture asks of the task's preparation; nothing if its space has no method ``inputs``.

    Raises:
        CandidateError: of kind build; the method raises, or does not return plain data by name.
    """
    if not isinstance(space, HasInputs):
        return {}
    try:
        with own_code():
            found: object = space.inputs(architecture)
    except Exception as error:
        raise CandidateError("build", f"inputs raised {raised_text(error)}") from error
    try:
        if isinstance(found, Mapping) and all(isinstance(name, str) for name in found):
            plain: dict[str, Any] = json.loads(json.dumps(dict(found)))
            return plain
    except (TypeError, ValueError):
        pass
    raise CandidateError("build", f"inputs must return plain data by name, such as {{'image_size': 96}}: {found!r:.80}")


def choices_of_inputs(space: SearchSpace) -> tuple[Choice, ...]:
    """Return the choices that change what architectures ask of the preparation, such as that of a resolution."""
    if not isinstance(space, HasInputs):
        return ()
    _, largest = ends(space)
    usual = wishes_of(space, largest)
    return tuple(
        choice
        for choice in space.choices
        if any(wishes_of(space, with_options(space, largest, {choice.name: each})) != usual for each in choice.options)
    )


def signature_of(space: SearchSpace, architecture: Architecture, signature: Signature) -> Signature:
    """Return the signature of an architecture's model, for data whose own signature is ``signature``.

    Raises:
        CandidateError: of kind build; as ``wishes_of``, or the image size is none, or not for these inputs.
    """
    size = wishes_of(space, architecture).get(IMAGE_SIZE)
    if size is None:
        return signature
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise CandidateError("build", f"image_size must be a whole number of pixels, at least 1, but got {size!r:.80}.")
    if len(signature.inputs) != 1 or len(signature.inputs[0].shape) != 3:
        raise CandidateError("build", f"image_size is for models of images alone, but the data have {signature}.")
    (only,) = signature.inputs
    return replace(signature, inputs=(replace(only, shape=(only.shape[0], size, size)),))
