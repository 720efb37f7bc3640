"""Modules that fit themselves to items in one go, such as a ridge on fixed kernels or a forest of trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch


@runtime_checkable
class FitsItself(Protocol):
    """A torch module that is fitted once, in the place of epochs of gradient steps.

    A space whose ``build`` returns such modules is searched like any other. Settings of optimizers, epochs and
    augmentation have no use for them.
    """

    def fit(self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int) -> None:
        """Fit the weights and buffers to all items: ``inputs`` as ``forward`` takes them, and their ``targets``.

        The first axis of each is that of the items. What is drawn at random depends on ``seed`` alone.
        """
        ...
