"""Groups and times of files, from a part of their names or their folders."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nas.errors import DataError, RecipeError

SUBFOLDER = "folder"
"""The pattern that stands for the folder in which a file lies, below that of its class."""


def parts_of_files(paths: Sequence[str], pattern: str, option: str) -> list[str]:
    """Return the part of each path that a pattern finds; ``option`` is the key that holds it, in messages.

    Paths are those below the folder of a class, with slashes. The pattern ``folder`` stands for the first folder there.
    Any other is a regular expression: its first parentheses hold the part, or all of it does.

    Raises:
        RecipeError: the pattern is no regular expression.
        DataError: a path has no such part.
    """
    if pattern == SUBFOLDER:
        found = [path.partition("/")[0] if "/" in path else None for path in paths]
    else:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise RecipeError(
                f"{option} must be {SUBFOLDER!r} or a regular expression such as '(.*)_[0-9]+', but {pattern!r} is "
                f"none: {error}."
            ) from error
        matches = [expression.search(path) for path in paths]
        number = min(1, expression.groups)
        found = [match and match[number] for match in matches]
    lacking = [path for path, part in zip(paths, found, strict=True) if not part]
    if lacking:
        what = "lie in a folder below that of its class" if pattern == SUBFOLDER else f"have a part like {pattern!r}"
        raise DataError(
            f"each file must {what}, because {option} says so, but {len(lacking)} of {len(paths)} do not, such as "
            f"{lacking[0]}."
        )
    return [part for part in found if part]
