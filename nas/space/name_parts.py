"""Names of models as the parts that they share: ``resnet50d.a1_in1k`` and ``resnet101.a1_in1k`` are alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nas.space.architecture import MOST_NAMES, Choice

MOST_CATEGORIES = 24
"""A choice of more texts than these is one of names, of which hardly two architectures have the same."""
MOST_PARTS = 400
"""The most parts that become columns: those that most names share."""
_COMMON = 0.9
"""Parts that a larger share of the names has tell nothing."""


def is_of_names(choice: Choice) -> bool:
    """Return True if the options are so many texts that they name architectures, and are no categories."""
    return len(choice.options) > MOST_CATEGORIES and all(isinstance(option, str) for option in choice.options)


@lru_cache(maxsize=2 * MOST_NAMES)
def parts_of(name: str) -> frozenset[str]:
    """Return the parts of a name: its words, its words cut after each number, and the letters before a number.

    >>> sorted(parts_of("yolo3d1w25_160"))
    ['160', 'd1', 'w25', 'yolo', 'yolo3', 'yolo3d1w25']
    """
    found: set[str] = set()
    for word in re.findall(r"[^\W_]+", name.lower()):
        found.add(word)
        for letters, number in re.findall(r"([^\W\d_]*)(\d*)", word):
            found.update(part for part in (letters, letters + number) if len(part) > 1 or part.isdigit())
    return frozenset(found)


def likeness(name: str, others: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the share of its parts that a name has in common with each of N others, shape (N,), from 0 to 1."""
    own = parts_of(name)
    each = (parts_of(other) for other in others)
    return np.array([len(own & parts) / max(1, len(own | parts)) for parts in each])


def part_columns(names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return one column for each part that some of N names share, shape (N, parts); each row has the length 1.

    A name that shares nothing has zeros. Rare parts tell more, so they count more.
    """
    parts = [parts_of(name) for name in names]
    counts = Counter(part for each in parts for part in each)
    shared = [(part, n) for part, n in counts.items() if 2 <= n <= _COMMON * len(names)]
    kept = sorted(shared, key=lambda found: (-found[1], found[0]))[:MOST_PARTS]
    place = {part: column for column, (part, _) in enumerate(kept)}
    columns = np.zeros((len(names), len(kept)))
    for row, each in enumerate(parts):
        columns[row, [place[part] for part in each if part in place]] = 1.0
    columns *= np.sqrt(np.log(len(names) / np.array([n for _, n in kept]))) if kept else 1.0
    lengths = np.sqrt((columns**2).sum(axis=1, keepdims=True))
    scaled: npt.NDArray[np.float64] = columns / np.where(lengths > 0, lengths, 1.0)
    return scaled
