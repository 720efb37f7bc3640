"""Counting, smoothing and pruning of n-grams: sequences of tokens, and what each tells of its last token.

N-grams of one length lie in arrays, in the order of their contexts and then of their last tokens. A context is the
number of an n-gram that is one token shorter, so that no key grows with the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

WITTEN_BELL, KNESER_NEY = "witten-bell", "kneser-ney"
STRENGTHS = {WITTEN_BELL: (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0), KNESER_NEY: (0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4)}
"""The factors that are tried of what the published formulas leave to shorter n-grams."""
HELD_OUT = 10
"""One window of so many, the last ones, tells the best strength. Of fewer windows the published formulas are taken."""
UNKNOWN = -1
"""What stands behind the end of a text, for tokens that are not to be told, and for n-grams that were not counted."""
LEAST_DISCOUNT, MOST_DISCOUNT = 0.05, 0.98
"""The bounds of what is taken from a count, for each unit of it. Counts of few different n-grams may leave none."""
LEAST_LEFT = 1e-9
"""The probability that is at least left to tokens that do not follow a context, before it is divided."""


@final
@dataclass(frozen=True)
class Level:
    """The different n-grams of one length.

    Attributes:
        contexts: the number of each n-gram's context among those that are one token shorter; a token for pairs.
        following: the last token of each.
        shorter: the number of each n-gram without its first token; a token for pairs.
        counts: how often each comes.
        beginning: how many of them begin a window, or follow an ``UNKNOWN`` token.
    """

    contexts: IntArray
    following: IntArray
    shorter: IntArray
    counts: IntArray
    beginning: IntArray


@final
@dataclass(frozen=True)
class Smoothed:
    """Probabilities of n-grams, by length.

    Attributes:
        of_tokens: the probability of each token without a context.
        of_ngrams: for each length from 2, the probability of the last token of each n-gram after its context.
        left: for each length from 2, what each context leaves to shorter ones; 1 for a context that nothing follows.
    """

    of_tokens: FloatArray
    of_ngrams: tuple[FloatArray, ...]
    left: tuple[FloatArray, ...]


@final
@dataclass(frozen=True)
class Kept:
    """N-grams that were kept, as a tree of contexts. Its first nodes are its roots, and n-grams follow by length.

    Attributes:
        of_roots: the log-probability of each token, shape (tokens,), if the tokens are the roots. If all pairs are,
            that of each token after each, shape (tokens, tokens).
        following: the last token of each n-gram. Those of one context lie together.
        log_probabilities: that of each n-gram's last token after its context.
        log_left: of each node, the logarithm of the factor for tokens that do not follow it.
        first: of each node, the place of the first n-gram that continues it; it ends where the next node's begin.
    """

    of_roots: FloatArray
    following: IntArray
    log_probabilities: FloatArray
    log_left: FloatArray
    first: IntArray


def fit_ngrams(
    tokens: IntArray,
    vocabulary: int,
    order: int,
    smoothing: str,
    widths: Sequence[int],
    entries: int,
    *,
    all_pairs: bool = False,
) -> Kept:
    """Return the n-grams of up to ``order`` tokens that tell most of windows of tokens, shape (N, tokens).

    At most ``entries`` are kept, and of each context of k tokens at most ``widths[k - 1]``. With ``all_pairs`` all
    pairs are kept too. The strength of the smoothing has the best likelihood on windows that are left out of the counts
    at first.
    """
    strength = best_strength(tokens, vocabulary, order, smoothing)
    levels = count_ngrams(tokens, vocabulary, order)
    smoothed = smooth(tokens, levels, vocabulary, smoothing, strength)
    return _packed(levels, smoothed, _chosen(levels, smoothed, widths, entries, all_pairs=all_pairs))


def with_table_of_pairs(kept: Kept) -> Kept:
    """Return n-grams of which all pairs are kept as a tree whose roots are the pairs of tokens, seen or not.

    Pair (a, b) has the number a × tokens + b.
    """
    tokens, pairs = len(kept.of_roots), int(kept.first[len(kept.of_roots)])
    contexts = np.repeat(np.arange(tokens), np.diff(kept.first[: tokens + 1]))
    following = kept.following[:pairs]
    table = kept.log_left[:tokens, None] + kept.of_roots
    table[contexts, following] = kept.log_probabilities[:pairs]
    numbers = contexts * tokens + following
    continued, left = np.zeros(tokens**2, dtype=np.int64), np.zeros(tokens**2)
    counts = np.diff(kept.first[tokens:])
    continued[numbers], left[numbers] = counts[:pairs], kept.log_left[tokens : tokens + pairs]
    return Kept(
        table,
        kept.following[pairs:],
        kept.log_probabilities[pairs:],
        np.concatenate([left, kept.log_left[tokens + pairs :]]),
        np.concatenate([[0], np.cumsum(np.concatenate([continued, counts[pairs:]]))]),
    )


# Counts


def count_ngrams(tokens: IntArray, vocabulary: int, order: int) -> tuple[Level, ...]:
    """Return the n-grams of 2 to ``order`` tokens in windows, shape (N, tokens). ``UNKNOWN`` tokens are in none."""
    levels, numbers = [], tokens
    is_first = np.ones(tokens.shape, dtype=np.bool_)
    is_first[:, 1:] = tokens[:, :-1] < 0
    for length in range(2, order + 1):
        contexts, following, shorter = numbers[:, :-1], tokens[:, length - 1 :], numbers[:, 1:]
        is_there = (contexts >= 0) & (following >= 0)
        keys = contexts[is_there] * vocabulary + following[is_there]
        found, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        numbers = np.full(contexts.shape, UNKNOWN)
        numbers[is_there] = inverse
        beginning = np.bincount(numbers[is_there & is_first[:, : following.shape[1]]], minlength=len(found))
        levels.append(Level(found // vocabulary, found % vocabulary, shorter[is_there][first], counts, beginning))
    return tuple(levels)


# Smoothing


def smooth(tokens: IntArray, levels: Sequence[Level], vocabulary: int, smoothing: str, strength: float) -> Smoothed:
    """Return smoothed probabilities, each interpolated with those of the n-gram that is one token shorter.

    Witten-Bell (1991): a context with T different followers among N leaves T / (N + T), here with T times the strength.
    Kneser-Ney (1995) as Chen and Goodman modified it (1999, section 3.1): each count loses one of three discounts, here
    times the strength, and a shorter n-gram counts the different tokens before it. Single tokens are interpolated with
    equal probabilities by Witten-Bell's formula.
    """
    uses_continuations = smoothing == KNESER_NEY
    followed = tokens[:, 1:]
    seen = levels[0].following if uses_continuations else followed[followed >= 0]
    counts = np.bincount(seen, minlength=vocabulary).astype(np.float64)
    kinds = max(int(np.count_nonzero(counts)), 1)
    of_tokens = (counts + kinds / vocabulary) / (counts.sum() + kinds)
    probabilities, left, nodes = [of_tokens], [], vocabulary
    for place, level in enumerate(levels):
        counts = level.counts.astype(np.float64)
        if uses_continuations and place + 1 < len(levels):
            counts = _continuations(level, levels[place + 1])
        totals = np.bincount(level.contexts, counts, minlength=nodes)
        if uses_continuations:
            taken = _discounts(counts, strength)
            share = np.bincount(level.contexts, taken, minlength=nodes) / np.maximum(totals, 1)
        else:
            kinds_after = strength * np.bincount(level.contexts, minlength=nodes)
            taken = counts * (kinds_after / np.maximum(totals + kinds_after, 1))[level.contexts]
            share = kinds_after / np.maximum(totals + kinds_after, LEAST_LEFT)
        share[totals == 0] = 1
        own = (counts - taken) / totals[level.contexts]
        probabilities.append(own + share[level.contexts] * probabilities[-1][level.shorter])
        left.append(share)
        nodes = len(level.counts)
    return Smoothed(of_tokens, tuple(probabilities[1:]), tuple(left))


def _continuations(level: Level, longer: Level) -> FloatArray:
    """Return how many different tokens precede each n-gram; nothing known before it counts as another one."""
    counts = np.bincount(longer.shorter, minlength=len(level.counts)) + (level.beginning > 0)
    return counts.astype(np.float64)


def _discounts(counts: FloatArray, strength: float) -> FloatArray:
    """Return what each count loses: one amount for 1, one for 2, and one for more (Chen and Goodman, 1999)."""
    ones, twos, threes, fours = (float(np.count_nonzero(counts == number)) for number in (1, 2, 3, 4))
    share = ones / max(ones + 2 * twos, 1)
    found = (
        1 - 2 * share * twos / max(ones, 1),
        2 - 3 * share * threes / max(twos, 1),
        3 - 4 * share * fours / max(threes, 1),
    )
    bounded = [
        min(max(strength * each, LEAST_DISCOUNT), MOST_DISCOUNT * number) for number, each in enumerate(found, start=1)
    ]
    return np.array(bounded)[np.minimum(counts, 3).astype(np.int64) - 1]


def best_strength(tokens: IntArray, vocabulary: int, order: int, smoothing: str) -> float:
    """Return the strength that gives the last windows the best likelihood, when the others are counted.

    Of fewer than ``HELD_OUT`` windows it is 1, as in the published formulas.
    """
    count = len(tokens) // HELD_OUT
    counted, left_out = tokens[: len(tokens) - count], tokens[len(tokens) - count :]
    if not count or not (left_out[:, 1:] >= 0).any():
        return 1.0
    levels = count_ngrams(counted, vocabulary, order)
    found = _Found.of(levels, left_out, vocabulary)
    bits = [found.bits(smooth(counted, levels, vocabulary, smoothing, strength)) for strength in STRENGTHS[smoothing]]
    return STRENGTHS[smoothing][int(np.argmin(bits))]


@final
@dataclass(frozen=True)
class _Found:
    """The n-grams of some windows among those that were counted in others: for each length, numbers or ``UNKNOWN``."""

    tokens: IntArray
    contexts: tuple[IntArray, ...]
    ngrams: tuple[IntArray, ...]

    @classmethod
    def of(cls, levels: Sequence[Level], tokens: IntArray, vocabulary: int) -> _Found:
        contexts, ngrams, numbers = [], [], tokens
        for length, level in enumerate(levels, start=2):
            before, following = numbers[:, :-1], tokens[:, length - 1 :]
            known, wanted = level.contexts * vocabulary + level.following, before * vocabulary + following
            places = np.searchsorted(known, wanted)
            is_there = (before >= 0) & (following >= 0) & (np.append(known, UNKNOWN)[places] == wanted)
            numbers = np.where(is_there, places, UNKNOWN)
            contexts.append(before)
            ngrams.append(numbers)
        return cls(tokens, tuple(contexts), tuple(ngrams))

    def bits(self, smoothed: Smoothed) -> float:
        """Return the mean bits of the tokens that follow another one."""
        is_there = self.tokens[:, 1:] >= 0
        found = smoothed.of_tokens[np.where(is_there, self.tokens[:, 1:], 0)]
        for place, (contexts, ngrams) in enumerate(zip(self.contexts, self.ngrams, strict=True)):
            left = np.append(smoothed.left[place], 1.0)[contexts]  # UNKNOWN is the last place
            own = np.append(smoothed.of_ngrams[place], 1.0)[ngrams]
            found[:, place:] = np.where(ngrams >= 0, own, left * found[:, place:])
        return float(-np.log2(found[is_there]).mean())


# Pruning


def _chosen(
    levels: Sequence[Level], smoothed: Smoothed, widths: Sequence[int], entries: int, *, all_pairs: bool
) -> list[BoolArray]:
    """Return a mask of each length: the n-grams to keep, whose contexts are kept too. ``all_pairs`` need no entry.

    An n-gram is worth what it adds to the likelihood of the counted text beside the shorter one (the weighted
    difference of Seymore and Rosenfeld, 1996), or what the best n-gram that goes on from it is worth.
    """
    worths, shorter = [], smoothed.of_tokens
    for level, own, left in zip(levels, smoothed.of_ngrams, smoothed.left, strict=True):
        without = left[level.contexts] * shorter[level.shorter]
        worths.append(level.counts * np.log(own / without))
        shorter = own
    for place in range(len(levels) - 1, 0, -1):
        np.maximum.at(worths[place - 1], levels[place].contexts, worths[place])
    if all_pairs:
        worths[0][:] = np.inf
        entries += len(worths[0])
    is_above = np.ones(0, dtype=np.bool_)
    for place, (level, worth, width) in enumerate(zip(levels, worths, widths, strict=True)):
        if place:
            worth[~is_above[level.contexts]] = -np.inf
        order = np.lexsort((-worth, level.contexts))
        starts = np.searchsorted(level.contexts, level.contexts)  # contexts are in order
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        worth[ranks - starts >= width] = -np.inf
        is_above = worth > -np.inf
    # Where worths are equal, the shorter n-gram comes first, so that no n-gram is kept without its context.
    order = np.argsort(-np.concatenate(worths), kind="stable")[:entries]
    is_kept = np.zeros(sum(map(len, worths)), dtype=np.bool_)
    is_kept[order] = True
    is_kept &= np.concatenate(worths) > -np.inf
    return np.split(is_kept, np.cumsum([len(worth) for worth in worths])[:-1])


def _packed(levels: Sequence[Level], smoothed: Smoothed, kept: Sequence[BoolArray]) -> Kept:
    """Return the kept n-grams as a tree. What a context leaves to others makes its probabilities add up to 1."""
    nodes = np.arange(len(smoothed.of_tokens))  # the node of each n-gram of the last length
    shorter, following, owns, lefts, parents = smoothed.of_tokens, [], [], [], []
    total = len(nodes)
    for level, own, is_kept in zip(levels, smoothed.of_ngrams, kept, strict=True):
        below = shorter[level.shorter]
        told = np.bincount(level.contexts[is_kept], own[is_kept], minlength=len(nodes))
        covered = np.bincount(level.contexts[is_kept], below[is_kept], minlength=len(nodes))
        left = np.maximum(1 - told, LEAST_LEFT) / np.maximum(1 - covered, LEAST_LEFT)
        lefts.append(np.log(left)[nodes >= 0])
        parents.append(nodes[level.contexts[is_kept]])
        following.append(level.following[is_kept])
        owns.append(np.log(own[is_kept]))
        shorter = np.where(is_kept, own, left[level.contexts] * below)
        nodes = np.full(len(own), UNKNOWN)
        nodes[is_kept] = total + np.arange(np.count_nonzero(is_kept))
        total += int(np.count_nonzero(is_kept))
    lefts.append(np.zeros(np.count_nonzero(nodes >= 0)))
    return Kept(
        np.log(smoothed.of_tokens),
        np.concatenate(following),
        np.concatenate(owns),
        np.concatenate(lefts),
        np.searchsorted(np.concatenate(parents), np.arange(total + 1)),
    )
