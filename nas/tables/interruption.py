"""How to continue a command that was interrupted while it measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noting_how_to_continue(fresh: bool) -> Iterator[None]:
    """Add a note to a KeyboardInterrupt that tells how to continue; ``fresh`` says if kept measurements are ignored."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(how_to_continue(fresh))
        raise


def how_to_continue(fresh: bool) -> str:
    """Return the advice for an interrupted command, which finds its finished measurements unless it ignores them."""
    without = ", without --fresh-measurements," if fresh else ""
    return f"Run the same command again{without} to continue."
