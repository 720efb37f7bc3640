"""The groups of pictures that stay in one split: those that are named, or those that depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from nas.tasks.dependence import NO_PAIRS, Signs, copies_of, dependence
from nas.tasks.images.decoded.pixel_statistics import digests_of, thumbnails_of
from nas.tasks.images.decoded.stored_images import THUMBNAIL
from nas.tasks.images.splits import Split
from nas.tasks.images.twins import contents_of, kept_twins

NAMED_GROUPS, FOUND_GROUPS = "groups", "groups that were found"
"""How pictures are split."""


class Grouped(NamedTuple):
    """Splits with groups, what a user should know of these, and how pictures are split; empty for at random."""

    splits: dict[str, Split]
    notes: tuple[str, ...] = ()
    split_by: str = ""


def with_groups(
    splits: Mapping[str, Split],
    groups: Mapping[str, Any] | str | None,
    names: Sequence[str] = (),
    said: Callable[[int], str] = str,
) -> Grouped:
    """Return splits with the number of each picture's group.

    ``groups`` are the names of groups by the title of the split. They are None to find out which pictures depend on
    each other, and "none" to keep all apart. ``names`` are those of the pictures of all splits, below the folders of
    their classes, and ``said`` gives what messages call a picture by its place among all.
    """
    if isinstance(groups, str):
        return Grouped(dict(splits))
    if groups is None:
        found = dependence(_signs(splits, names, said))
        if found is None:
            return Grouped(dict(splits))
        titles, numbers, notes, how = list(splits), found.groups, [found.told("pictures")], FOUND_GROUPS
    else:
        together = np.concatenate([np.asarray(each) for each in groups.values()])
        numbers = np.unique(together, return_inverse=True)[1].astype(np.int64)
        titles, notes, how = list(groups), [], NAMED_GROUPS
    sizes = [len(splits[title]) if groups is None else len(groups[title]) for title in titles]
    parts = np.split(numbers, np.cumsum(sizes)[:-1])
    own = {title: replace(splits[title], groups=part) for title, part in zip(titles, parts, strict=True)}
    return Grouped({**splits, **own}, tuple(notes), how)


def _signs(splits: Mapping[str, Split], names: Sequence[str], said: Callable[[int], str]) -> Signs:
    """Return what may show that pictures of some splits depend on each other."""
    digests = [digest for each in splits.values() for digest in digests_of(each.images)]
    thumbnails = np.concatenate([thumbnails_of(each.images) for each in splits.values()])
    classes = np.unique(np.concatenate([each.strata for each in splits.values()]), return_inverse=True)[1]
    copies, alike = copies_of(digests), NO_PAIRS
    if min(next(iter(splits.values())).images.shape[2:]) >= THUMBNAIL:
        first = np.setdiff1d(np.arange(len(digests)), copies[:, 1])
        alike = first[kept_twins(thumbnails[first])]
    return Signs(classes.reshape(-1), contents_of(thumbnails), names, copies, alike, said=said)
