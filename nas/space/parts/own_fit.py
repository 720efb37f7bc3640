"""Modules that fit themselves to items in one go, such as a ridge on fixed kernels or a forest of trees."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable

from nas.errors import CandidateError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

FIT = ("inputs", "targets", "seed")
"""The arguments of a module's own ``fit``, by name."""


@runtime_checkable
class FitsItself(Protocol):
    """A torch module that is fitted once, in the place of epochs of gradient steps.

    A space whose ``build`` returns such modules is searched like any other. Settings of optimizers, epochs and
    augmentation have no use for them. A module may have an attribute ``most_items``: see ``share_to_fit``. Its ``fit``
    may take ``groups`` too: see ``fit_to``.
    """

    def fit(self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int) -> None:
        """Fit the weights and buffers to all items: ``inputs`` as ``forward`` takes them, and their ``targets``.

        The first axis of each is that of the items. ``inputs`` are on the module's device, ``targets`` in main memory.
        What is drawn at random depends on ``seed`` alone.
        """
        ...


def fits_itself(module: object) -> TypeGuard[FitsItself]:
    """Return True if a module has a method ``fit`` with these arguments; one of the same name may be something else.

    Raises:
        CandidateError: of kind build; it takes a seed and other arguments, or the inputs and targets without one.
    """
    if not isinstance(module, FitsItself):
        return False
    try:
        parameters = inspect.signature(module.fit).parameters
    except (TypeError, ValueError):
        return False
    if parameters.keys() >= set(FIT):
        return True
    # Gradient steps in the place of such a fit would be a poor result that nothing explains.
    if parameters.keys() & {"seed", "random_state"} or parameters.keys() >= set(FIT[:2]):
        raise CandidateError(
            "build",
            f"the method fit of a module that fits itself takes ({', '.join(FIT)}), but that of "
            f"{type(module).__name__} takes ({', '.join(parameters)}). Name its arguments so, or rename the method if "
            "the module is to be trained by gradient steps.",
        )
    return False


def fit_to(
    module: FitsItself,
    inputs: tuple[torch.Tensor, ...],
    targets: torch.Tensor,
    seed: int,
    groups: npt.NDArray[np.int64] | None,
) -> None:
    """Let a module fit itself to items; if its ``fit`` takes ``groups``, it gets the number of each item's group.

    Items of one group, such as the rows of a patient, tell of each other: what a module chooses by items that it leaves
    out, it should choose by whole groups. ``groups`` have the shape (N,), and are None if each item stands alone.
    """
    takes = "groups" in inspect.signature(module.fit).parameters
    module.fit(inputs, targets, seed, **({"groups": groups} if takes else {}))


def share_to_fit(module: FitsItself, items: int, subset: float) -> float:
    """Return the share of the training items to which a module fits itself: ``subset``, as other candidates.

    A module with an attribute ``most_items`` takes up to so many instead, because its fit costs less than an epoch.

    Raises:
        CandidateError: of kind build; the attribute is no whole number above 0.
    """
    most: object = getattr(module, "most_items", None)
    if most is None:
        return subset
    if type(most) is not int or most < 1:
        raise CandidateError("build", f"most_items of a module must be a whole number of at least 1, but got {most!r}.")
    return min(1.0, most / max(items, 1))
