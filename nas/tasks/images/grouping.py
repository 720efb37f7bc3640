"""The groups of pictures that stay in one split: those that are named, or those that depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from nas.tasks.batches import IntArray
from nas.tasks.dependence import NONE, Signs, copies_of, dependence
from nas.tasks.doubts import group_warnings
from nas.tasks.images.decoded.pixel_statistics import digests_of, thumbnails_of
from nas.tasks.images.decoded.stored_images import THUMBNAIL
from nas.tasks.images.splits import Split
from nas.tasks.images.twins import contents_of, twins

NAMED_GROUPS, FOUND_GROUPS = "groups", "groups that were found"
"""How pictures are split."""


@final
@dataclass(frozen=True)
class Grouped:
    """Splits with groups, what a user should know of these, and how pictures are split; empty for at random."""

    splits: dict[str, Split]
    notes: tuple[str, ...] = ()
    split_by: str = ""


def with_groups(
    splits: Mapping[str, Split],
    groups: Any,
    names: Sequence[str] = (),
    said: Callable[[int], str] = str,
    places: Mapping[str, IntArray] | None = None,
) -> Grouped:
    """Return splits with the number of each picture's group.

    ``groups`` names that of each training picture, or of all pictures at their ``places``. It is None to find out which
    pictures depend on each other, and "none" to keep all apart. ``names`` are those of the pictures of
    all splits below the folders of their classes, and ``said`` what messages call each.
    """
    if isinstance(groups, str) and groups == NONE:
        return Grouped(dict(splits))
    if groups is None:
        found = dependence(replace(_signs(splits), names=names, said=said))
        if found is None:
            return Grouped(dict(splits))
        numbers, told, how = found.groups, [found.told("pictures")], FOUND_GROUPS
    else:
        everything = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
        if places is None:  # pictures of a given test are groups of their own
            return Grouped({**splits, "train": replace(splits["train"], groups=everything)}, (), NAMED_GROUPS)
        numbers = everything[np.concatenate(list(places.values()))]
        told, how = [], NAMED_GROUPS
    ends = np.cumsum([len(each) for each in splits.values()])[:-1]
    parts = dict(zip(splits, np.split(numbers, ends), strict=True))
    told += group_warnings(parts, "pictures")
    return Grouped({title: replace(each, groups=parts[title]) for title, each in splits.items()}, tuple(told), how)


def _signs(splits: Mapping[str, Split]) -> Signs:
    """Return what may show that pictures of some splits depend on each other."""
    digests = [digest for each in splits.values() for digest in digests_of(each.images)]
    thumbnails = np.concatenate([thumbnails_of(each.images) for each in splits.values()])
    classes = np.concatenate([each.strata for each in splits.values()])
    copies = copies_of(digests)
    if min(next(iter(splits.values())).images.shape[2:]) >= THUMBNAIL:
        first = np.setdiff1d(np.arange(len(digests)), copies[:, 1])
        copies = np.concatenate([copies, first[twins(thumbnails[first])]])
    numbers = np.unique(classes, return_inverse=True)[1].reshape(-1)
    return Signs(numbers, contents_of(thumbnails), copies=copies)
