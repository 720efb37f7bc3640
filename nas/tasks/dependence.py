"""Items that depend on each other, found from what shows it: copies, names that share a stem, columns, neighbours.

Where two views of one object, two visits of one patient or two frames of one film are in different splits, a model is
tested on what it has seen, and its error looks lower than it is (Kapoor and Narayanan, "Leakage and the reproducibility
crisis in machine-learning-based science", 2023). Names and columns alone prove little, because files are often merely
numbered. So each grouping that they suggest is checked against what the items hold: it counts if the nearest neighbours
of items belong to their own group far more often than chance would have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nas.tasks.batches import IntArray

NONE = "none"
"""The value of ``data.group`` that keeps items apart, whatever they look like."""
SAMPLED = 600
"""Items whose neighbours are looked at."""
MOST_COMPARED = 4000
"""Items among which each one's neighbours are sought."""
LEAST_ODDS = 3.0
"""A grouping counts if its odds of holding the nearest neighbour are this many times those by chance."""
LEAST_DEVIATIONS = 5.0
"""The same must be so many standard deviations above chance."""
LARGEST_SHARE, MOST_IN_LARGE = 1 / 3, 0.05
"""A grouping does not count if more than the second share of all items is in groups of more than the first of a class:
then it tells kinds of items, or merely how files are called."""
NEIGHBOURS = 2
"""Places to each side at which the next item of a series lies."""
BLOCKS = 10
"""A series without breaks becomes at least so many groups a class."""
FEW_WORDS, LEAST_STEMS = 10, 20
"""Names of at most so many last words behind at least so many stems tell views of one thing, whatever these show."""

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
NO_PAIRS: IntArray = np.empty((0, 2), dtype=np.int64)
Mates = Callable[[int, IntArray], BoolArray]
"""Says which of some items a grouping puts together with an item."""


@final
@dataclass(frozen=True)
class Signs:
    """What may show that N items depend on each other.

    Attributes:
        classes: the class of each, shape (N,); zeros if there are none.
        contents: what each looks like, shape (N, values): items that are nearer are more alike. NaN shows nothing.
        names: the path or the name of each; empty if they have none.
        copies: pairs of equal items, shape (P, 2).
        alike: pairs of items that are copies, or nearly so, shape (P, 2).
        columns: values of each that may name what it comes from, by their title.
        said: how an item is called in messages, by its place.
    """

    classes: IntArray
    contents: FloatArray
    names: Sequence[str] = ()
    copies: IntArray = field(default_factory=lambda: NO_PAIRS)
    alike: IntArray = field(default_factory=lambda: NO_PAIRS)
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    said: Callable[[int], str] = str


@final
@dataclass(frozen=True)
class Dependence:
    """The group of each item, shape (N,), the reasons with which items were joined, and the columns that told it."""

    groups: IntArray
    reasons: tuple[str, ...]
    columns: tuple[str, ...] = ()

    def told(self, noun: str) -> str:
        """Return the sentence about them; ``noun`` is that of the items."""
        sizes = np.bincount(self.groups)
        several = sizes[sizes > 1]
        return (
            f"{several.sum():,} of {len(self.groups):,} {noun} depend on others and form {len(several):,} groups, each "
            f"of which stays in one split: {'; '.join(self.reasons)}. If they are independent, set data.group={NONE}."
        )


def copies_of(keys: Sequence[Hashable]) -> IntArray:
    """Return each item that equals an earlier one, with the first such, shape (P, 2)."""
    first: dict[Hashable, int] = {}
    pairs = [(first.setdefault(key, place), place) for place, key in enumerate(keys)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)


def dependence(signs: Signs) -> Dependence | None:
    """Return the groups of items that depend on each other; None if none do."""
    groups, reasons, columns = np.arange(len(signs.classes)), list[str](), list[str]()

    def take(found: IntArray, reason: str) -> None:
        nonlocal groups
        one, other = _example(found, groups)
        groups = found
        reasons.append(f"{reason}, such as {signs.said(one)} and {signs.said(other)}")

    for pairs, reason in ((signs.copies, "copies"), (signs.alike, "near copies")):
        found = _joined(groups, pairs)
        # Chains of items that are nearly alike may join a whole class: then they are of a kind.
        if _joins(found, groups) and _are_small(found, signs.classes):
            take(found, reason)
    for title, values in signs.columns.items():
        found = _together(groups, _numbers(values))
        if _counts(found, groups, signs):
            columns.append(title)
            take(found, f"equal {title}")
    is_named = False
    for stems in _stems(signs.names, signs.classes) if signs.names else ():
        found = _together(groups, _numbers(stems))
        if _joins(found, groups) and (_are_views(signs.names, stems, signs.classes) or _counts(found, groups, signs)):
            is_named = True
            take(found, "names with one stem")
    if not is_named and signs.names:
        series = _Series.of(signs)
        if series is not None and _stands_out(series.mates, groups, signs):
            found = _together(groups, series.groups())
            if _joins(found, groups):
                take(found, "neighbours in a series")
    return Dependence(_numbers(groups), tuple(reasons), tuple(columns)) if reasons else None


def _example(found: IntArray, before: IntArray) -> tuple[int, int]:
    """Return the places of two items that are together now, and were not before."""
    order = np.argsort(found, kind="stable")
    are_new = (found[order][1:] == found[order][:-1]) & (before[order][1:] != before[order][:-1])
    place = int(np.flatnonzero(are_new)[0])
    return int(order[place]), int(order[place + 1])


def _numbers(values: Any) -> IntArray:
    """Return the number of each different value."""
    return np.unique(np.asarray(values), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _joined(groups: IntArray, pairs: IntArray) -> IntArray:
    """Return the groups once those of each pair of items are one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = int(groups.max()) + 1
    edges = coo_array((np.ones(len(pairs)), (groups[pairs[:, 0]], groups[pairs[:, 1]])), shape=(size, size))
    found: IntArray = connected_components(edges, directed=False)[1][groups].astype(np.int64)
    return found


def _together(groups: IntArray, others: IntArray) -> IntArray:
    """Return the groups once items that another grouping puts together are together too."""
    first = np.unique(others, return_index=True)[1]
    return _joined(groups, np.stack([np.arange(len(groups)), first[others]], axis=1))


def _are_small(groups: IntArray, classes: IntArray) -> bool:
    """Return True if hardly any items are in groups that hold a large part of a class."""
    in_group = np.unique(np.stack([classes, groups]), axis=1, return_inverse=True, return_counts=True)
    sizes, of_class = in_group[2][in_group[1].reshape(-1)], np.bincount(classes)[classes]
    is_large = (sizes > 1) & (sizes > LARGEST_SHARE * of_class)
    return bool(is_large.mean() <= MOST_IN_LARGE)


def _joins(found: IntArray, before: IntArray) -> bool:
    """Return True if a grouping joins more than was joined before."""
    return len(np.unique(found)) < len(np.unique(before))


def _counts(found: IntArray, before: IntArray, signs: Signs) -> bool:
    """Return True if a grouping joins more than was joined before, and does so rightly."""
    if not _joins(found, before) or not _are_small(found, signs.classes):
        return False
    return _stands_out(lambda item, others: found[others] == found[item], before, signs)


def _stands_out(mates: Mates, before: IntArray, signs: Signs) -> bool:
    """Return True if the nearest neighbours of items are their mates more often than by chance.

    A neighbour is of the same class, and of another group than those known ``before``.
    """
    rng = np.random.default_rng(0)
    shows = np.flatnonzero(np.isfinite(signs.contents).all(axis=1))
    hits = expected = variance = count = 0.0
    for item in rng.permutation(shows)[:SAMPLED].tolist():
        others = shows[(signs.classes[shows] == signs.classes[item]) & (before[shows] != before[item])]
        together = mates(item, others)
        if not together.any() or together.all():
            continue
        if len(others) > MOST_COMPARED:  # all mates stay, because few of many would be drawn
            others = np.union1d(others[together], rng.choice(others, MOST_COMPARED, replace=False))
            together = mates(item, others)
        distances = np.square(signs.contents[others] - signs.contents[item]).sum(axis=1)
        chance = float(together.mean())
        hits += float(together[distances == distances.min()].mean())
        expected, variance, count = expected + chance, variance + chance * (1 - chance), count + 1
    if not count or hits - expected < LEAST_DEVIATIONS * np.sqrt(variance):
        return False
    return hits * (count - expected) >= LEAST_ODDS * expected * (count - hits)


# Names

_WORDS = re.compile(r"[^\W\d_]+|\d+")


def _words(name: str) -> tuple[str, ...]:
    """Return the words and numbers of a name, without its ending.

    >>> _words("cats/IMG_0012 (2).jpg")
    ('cats', 'IMG', '0012', '2')
    """
    path = PurePosixPath(name)
    return tuple(_WORDS.findall(path.with_suffix("").as_posix()))


def _stems(names: Sequence[str], classes: IntArray) -> list[list[str]]:
    """Return groupings of items by the beginnings of their names, the narrowest first.

    The first joins names with those that they continue, as in "a.jpg" and "a (2).jpg". Others leave out more and more
    of the last words, all of them within a class. The last are the folders below that of the class.
    """
    words = [(str(label), *_words(name)) for name, label in zip(names, classes.tolist(), strict=True)]
    known = set(words)
    shortest = [next(each[:end] for end in range(1, len(each) + 1) if each[:end] in known) for each in words]
    found = [shortest, *([each[: max(1, len(each) - left)] for each in words] for left in (1, 2, 3))]
    folders = [PurePosixPath(name).parent.parts for name in names]
    found += [[each[:depth] for each in folders] for depth in range(max(map(len, folders), default=0), 0, -1)]
    return [[" ".join(each) for each in stems] for stems in found]


def _are_views(names: Sequence[str], stems: Sequence[str], classes: IntArray) -> bool:
    """Return True if names are many stems with the same few last words, as in 001_front, 001_back, 002_front."""
    last = [_words(name)[stem.count(" ") :] for name, stem in zip(names, stems, strict=True)]
    numbers = _numbers(stems)
    sizes = np.bincount(numbers)
    is_plain = 1 < len(set(last)) <= FEW_WORDS and (sizes[sizes > 1].sum() >= 0.8 * len(names))
    return bool(is_plain and len(sizes) >= LEAST_STEMS and _are_small(numbers, classes))


@final
@dataclass(frozen=True)
class _Series:
    """Items in the order of the numbers in their names, class by class: ``order`` are their places, (N,)."""

    order: IntArray
    at: IntArray
    signs: Signs

    @classmethod
    def of(cls, signs: Signs) -> _Series | None:
        """Return the series, unless names have no numbers."""
        words = list(map(_words, signs.names))
        if not any(word.isdigit() for each in words for word in each):
            return None

        def key(place: int) -> tuple[Any, ...]:
            split = [(word.isdigit(), int(word) if word.isdigit() else 0, word) for word in words[place]]
            return int(signs.classes[place]), split

        order = np.array(sorted(range(len(words)), key=key), dtype=np.int64)
        return cls(order, np.argsort(order), signs)

    def mates(self, item: int, others: IntArray) -> BoolArray:
        """Return which of others are next to an item."""
        found: BoolArray = np.abs(self.at[others] - self.at[item]) <= NEIGHBOURS
        return found

    def groups(self) -> IntArray:
        """Return the group of each item: a series is cut where it changes most, and into blocks where it does not.

        It changes where two neighbours are more than half as far apart as items of their class usually are.
        """
        groups, last = np.zeros(len(self.order), dtype=np.int64), 0
        for label in np.unique(self.signs.classes):
            members = self.order[self.signs.classes[self.order] == label]
            contents = self.signs.contents[members]
            apart = partial(np.linalg.norm, axis=1)
            usual = np.nanmedian(apart(contents - np.random.default_rng(0).permutation(contents)))
            is_break = ~(apart(contents[1:] - contents[:-1]) <= usual / 2)
            runs = np.concatenate([[0], np.cumsum(is_break)])
            most = max(1, -(-len(members) // BLOCKS))
            starts = np.unique(runs, return_index=True)[1]
            within = np.arange(len(members)) - starts[runs]
            groups[members] = last + _numbers(
                [f"{run} {place}" for run, place in zip(runs, within // most, strict=True)]
            )
            last = int(groups.max()) + 1
        return groups
