"""Weights from which training begins: trained on other data, or inherited from another network."""

from __future__ import annotations

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
