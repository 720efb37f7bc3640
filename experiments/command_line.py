"""What the benchmarks' command lines share: types of arguments, and lines of Markdown."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence


def names(text: str) -> tuple[str, ...]:
    """Different names with commas between them."""
    found = tuple(part.strip() for part in text.split(","))
    if "" in found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"must be different names with commas between them, but got {text!r}.")
    return found


def names_or_none(text: str) -> tuple[str, ...]:
    """The same, or nothing at all."""
    return names(text) if text.strip() else ()


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if re.fullmatch(r"0*[1-9][0-9]*", text) is None:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, but got {text!r}.")
    return int(text)


def image_shape(text: str) -> tuple[int, int, int]:
    """Channels, height and width, such as 3x32x32."""
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)x([1-9][0-9]*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be channels, height and width, such as 3x32x32, but got {text!r}.")
    return int(match[1]), int(match[2]), int(match[3])


def heading(titles: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [line(titles), "|" + "---|" * len(titles)]


def line(cells: Iterable[object]) -> str:
    """A line of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"
