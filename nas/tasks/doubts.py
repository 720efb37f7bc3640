"""Reasons to doubt results that lie in the splits of any data: unequal or untested classes, and groups."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set as AbstractSet

import numpy as np
import numpy.typing as npt

from nas.errors import first_few

FEW = 5
"""Classes with fewer training items are told."""
FEW_GROUPS = 3
"""Fewer groups in the test split are told."""
UNEQUAL = 10
"""Classes are told to be unequal if the largest has this many times the items of the smallest."""
FAR_SHARE = 1.5
"""A split is told if it has this many times the share that was wanted, or that part of it."""


def imbalance_warnings(counts: npt.NDArray[np.integer], classes: Sequence[str], noun: str) -> list[str]:
    """Return a sentence if classes are unequal. ``counts`` holds the number of training items of each class."""
    if not counts.max() >= UNEQUAL * counts.min():
        return []
    most, least, total = int(counts.argmax()), int(counts.argmin()), int(counts.sum())
    return [
        f"classes are unequal: {classes[most]} has {100 * counts[most] / total:.1f} % of the training {noun}, and "
        f"{classes[least]} {100 * counts[least] / total:.1f} %. Always answering {classes[most]} has an error of "
        f"{100 * (1 - counts[most] / total):.1f} % there. Look at balanced_error, or minimise it."
    ]


def far_share_warnings(
    sizes: Mapping[str, int], wanted: Mapping[str, float], noun: str, why: str, *, tell_small: bool = True
) -> list[str]:
    """Return a sentence for each split that is far from the share ``wanted`` of what it is from, and ``why``.

    ``sizes`` are those of all splits. Small ones are told if ``tell_small``.
    """
    whole = {"validation": sizes["train"] + sizes["validation"], "test": sum(sizes.values())}
    return [
        f"the {title} split has {100 * sizes[title] / whole[title]:.0f} % of the {noun} instead of "
        f"{100 * share:.0f} %, because {why}."
        for title, share in wanted.items()
        if sizes[title] > FAR_SHARE * share * whole[title]
        or (tell_small and FAR_SHARE * sizes[title] < share * whole[title] - 1)  # one item is rounding
    ]


def missing_warnings(present: Mapping[str, AbstractSet[int]], classes: Sequence[str], item: str) -> list[str]:
    """Return a sentence for each split without items of some class. ``present`` holds the numbers of its classes."""
    found = []
    for title, numbers in present.items():
        missing = [name for number, name in enumerate(classes) if number not in numbers]
        if missing:
            found.append(
                f"no {title} {item} is of {first_few(missing)}, so errors there are not seen. Add some, or leave the "
                "classes out."
            )
    return found


def few_warnings(counts: npt.NDArray[np.integer], classes: Sequence[str], noun: str) -> list[str]:
    """Return a sentence if classes have few training items. ``counts`` holds the number of each class."""
    least = int(counts.argmin())
    few = int((counts < FEW).sum())
    if not few:
        return []
    which = f"{few} of {len(classes)} classes have" if few > 1 else f"{classes[least]} has"
    such = f", such as {classes[least]} with {counts[least]}" if few > 1 else f", {counts[least]}"
    return [
        f"{which} fewer than {FEW} training {noun}{such}: models learn little from so few, and errors depend on "
        f"chance. Bring more {noun}."
    ]


_HARM = {
    "validation": "so candidates that memorise look better than they are",
    "test": "so test errors look better than they are",
}


def group_warnings(
    groups: Mapping[str, npt.NDArray[np.integer] | None],
    noun: str,
    what: str = "share a group with",
    remedy: str = "Keep groups in one split.",
) -> list[str]:
    """Return a sentence for each split with items that share a group with items of an earlier one.

    ``groups`` number the group of each item, by the title of the split. ``what`` says so in words.
    """
    known, found = np.empty(0, dtype=np.int64), []
    for title in ("train", "validation", "test"):
        own = groups.get(title)
        if own is None:
            continue
        torn = int(np.isin(own, known).sum())
        if torn:
            found.append(
                f"{torn:,} of {len(own):,} {title} {noun} {what} {noun} of an earlier split, {_HARM[title]}. {remedy}"
            )
        known = np.union1d(known, own)
    return found


def copy_warnings(keys: Mapping[str, Sequence[Hashable]], noun: str) -> list[str]:
    """Return a sentence for each split with items that equal items of an earlier one; equal items have equal keys."""
    numbers: dict[Hashable, int] = {}
    groups = {
        title: np.array([numbers.setdefault(key, len(numbers)) for key in each], dtype=np.int64)
        for title, each in keys.items()
    }
    return group_warnings(groups, noun, "equal", "Remove the copies.")


def few_groups_warnings(tested: npt.NDArray[np.integer] | None) -> list[str]:
    """Return a sentence if the test split has few groups. ``tested`` numbers that of each item; None without groups."""
    count = FEW_GROUPS if tested is None else len(np.unique(tested))
    if count >= FEW_GROUPS:
        return []
    return [
        f"the test split has only {count} of the groups, and intervals of test errors are for other groups, so they "
        "are wide. Bring more groups."
    ]


def contradiction_warnings(items: Sequence[Hashable], labels: Sequence[Hashable], item: str, how: str) -> list[str]:
    """Return a sentence if the same item has different labels."""
    labels_of: dict[Hashable, set[Hashable]] = {}
    for each, label in zip(items, labels, strict=True):
        labels_of.setdefault(each, set()).add(label)
    count = sum(len(each) > 1 for each in labels_of.values())
    if not count:
        return []
    items_are = f"1 {item} is" if count == 1 else f"{count} {item}s are"
    return [f"{items_are} in more than one class{how}, so not every label can be right. Leave each in one class."]
