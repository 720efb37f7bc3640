"""The search space that people would pick for models of a signature."""

from __future__ import annotations

from nas.space.signature import Signature

_BY_RANK = {1: "mlp", 2: "conv1d", 3: "mobilenet"}
"""The space for one input of floats, by the number of its sizes: columns, a signal of channels, an image."""


def usual_space(signature: Signature) -> str | None:
    """Return the name of the space that suits inputs of these shapes; None if no space is known for them."""
    ranks = [len(each.shape) for each in signature.inputs]
    tokens = [each.dtype == "int64" for each in signature.inputs]
    if len(signature.output) == 2:
        return "gpt" if tokens == [True] and ranks == [1] else None
    if set(ranks) == {1}:
        return _BY_RANK[1]
    return _BY_RANK.get(ranks[0]) if tokens == [False] else None
