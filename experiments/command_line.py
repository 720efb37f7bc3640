"""Shared parts of the scripts' command lines: the parser, types of arguments, and lines of Markdown tables."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence


def parser_of(script: str, docstring: str | None) -> argparse.ArgumentParser:
    """Return the parser of ``python -m experiments.SCRIPT``, whose ``--help`` shows the docstring of the script."""
    return argparse.ArgumentParser(
        prog=f"python -m experiments.{script}",
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def names(text: str) -> tuple[str, ...]:
    """Parse distinct names that are separated by commas."""
    found = tuple(part.strip() for part in text.split(","))
    if "" in found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"must be distinct names, separated by commas, but got {text!r}.")
    return found


def names_or_none(text: str) -> tuple[str, ...]:
    """Parse distinct names that are separated by commas, or an empty text."""
    return names(text) if text.strip() else ()


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if re.fullmatch(r"0*[1-9][0-9]*", text) is None:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, but got {text!r}.")
    return int(text)


def counts(text: str) -> tuple[int, ...]:
    """Parse ascending whole numbers of at least 1 that are separated by commas."""
    found = tuple(map(positive, names(text)))
    if list(found) != sorted(set(found)):
        raise argparse.ArgumentTypeError(f"must be ascending numbers, separated by commas, but got {text!r}.")
    return found


def image_shape(text: str) -> tuple[int, int, int]:
    """Parse channels, height and width, such as 3x32x32."""
    match = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)x([1-9][0-9]*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be channels, height and width, such as 3x32x32, but got {text!r}.")
    return int(match[1]), int(match[2]), int(match[3])


def heading(titles: Sequence[str]) -> list[str]:
    """Return the first two lines of a Markdown table."""
    return [line(titles), "|" + "---|" * len(titles)]


def line(cells: Iterable[object]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"
