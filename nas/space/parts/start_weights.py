"""Weights from which training begins: trained on other data, or inherited from another network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from nas.errors import CandidateError, NasError, raised_text
from nas.space.architecture import Architecture
from nas.space.own_code import own_code
from nas.space.search_space import SearchSpace

if TYPE_CHECKING:
    import torch


@runtime_checkable
class HasStart(Protocol):
    """A space that gives its modules the weights from which training begins.

    Its ``build`` loads nothing, so describing and measuring need no weights. If the space also has a method
    ``check_start``, it is called before a search trains anything, and may raise RecipeError: weights are missing.
    """

    def start(self, architecture: Architecture, module: torch.nn.Module) -> None:
        """Load weights into the module that ``build`` returned for this architecture."""
        ...


@runtime_checkable
class HasOrigin(Protocol):
    """A space that knows where the weights come from with which it begins, so that model cards can tell."""

    def origin(self, architecture: Architecture) -> Mapping[str, str]:
        """Return what is known of the weights, in words, such as "model", "source" and "licence"; nothing for none."""
        ...


def origin_of(space: SearchSpace, architecture: Architecture) -> dict[str, str]:
    """Return what is known of the weights from which training begins; nothing where it begins from random ones.

    A space that loads weights but does not tell their origin gives "model": unknown. If telling it raised an exception,
    that is said beside it, because a winner is worth more than its card.
    """
    if isinstance(space, HasOrigin):
        try:
            with own_code():
                return {str(key): str(value) for key, value in space.origin(architecture).items()}
        except Exception as error:  # a space of a user's own raises anything
            return {"model": "unknown", "reason": f"telling their origin raised {raised_text(error)}"}
    return {"model": "unknown"} if isinstance(space, HasStart) else {}


def check_start(space: SearchSpace) -> None:
    """Let a space check that its weights can be loaded, before anything runs. Raises RecipeError if they cannot."""
    check = getattr(space, "check_start", None)
    if callable(check):
        check()


def load_start(space: SearchSpace, architecture: Architecture, module: torch.nn.Module) -> None:
    """Load the weights from which training begins, if the space has some.

    Raises:
        CandidateError: of kind build; the space cannot load them.
    """
    if not isinstance(space, HasStart):
        return
    try:
        with own_code():
            space.start(architecture, module)
    except NasError:
        raise
    except Exception as error:
        raise CandidateError("build", f"start raised {raised_text(error)}") from error
