"""Finding pictures that are in several splits, or in several classes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

Known = tuple[list[bytes], Sequence[Hashable]]
"""The digests of a split's pictures, and their labels."""


def duplicate_warnings(train: Known, validation: Known, test: Known) -> list[str]:
    """Return a sentence for each kind of duplicates among splits."""
    found = []
    copies, seen = _count(test[0], {*train[0], *validation[0]}), len(test[0])
    if copies:
        found.append(
            f"{copies} of {seen} test pictures are also in the training or validation split, pixel by pixel, so test "
            "errors look better than they are. Remove the copies."
        )
    copies, seen = _count(validation[0], set(train[0])), len(validation[0])
    if copies:
        found.append(
            f"{copies} of {seen} validation pictures are also in the training split, pixel by pixel, so candidates "
            "that memorise pictures are preferred. Remove the copies."
        )
    labels_of: dict[bytes, set[Hashable]] = {}
    for digests, labels in (train, validation, test):
        for digest, label in zip(digests, labels, strict=True):
            labels_of.setdefault(digest, set()).add(label)
    contradicted = sum(len(each) > 1 for each in labels_of.values())
    if contradicted:
        pictures = "1 picture is" if contradicted == 1 else f"{contradicted} pictures are"
        found.append(
            f"{pictures} in more than one class, pixel by pixel, so not every label can be right. Leave each in one "
            "class."
        )
    return found


def _count(digests: list[bytes], others: set[bytes]) -> int:
    return sum(digest in others for digest in digests)
