"""One bad input: what a user types and has, and what the command must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def nothing(folder: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class BadInput:
    """A mistake, and the sentence that must answer it. ``{here}`` stands for the empty folder in which it is made.

    Attributes:
        arguments: what follows ``nas`` on the command line.
        says: words that the error must contain; among them the rule, the value, or what to do.
        prepare: puts the files there that the command finds.
        status: the exit status: 2 if the request is refused, 1 if a run stopped, 0 for what only deserves a warning.
        variables: environment variables.
        most_lines: the most lines that the error may have.
    """

    arguments: tuple[str, ...]
    says: tuple[str, ...]
    prepare: Callable[[Path], object] = nothing
    status: int = 2
    variables: dict[str, str] = field(default_factory=dict)
    most_lines: int = 3
