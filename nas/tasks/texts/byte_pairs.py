"""Learning which pairs of tokens to merge (Sennrich et al., 2016, arXiv:1508.07909), starting from single bytes.

Deployed models encode without a library, by ``nas.tasks.deployed.texts``, so learning needs none either.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable

from nas.progress import Progress
from nas.tasks.deployed.texts import BYTES, joined, pieces

Pair = tuple[int, int]
MOST_BYTES = 4_000_000
"""The most text from which merges are learned. More changes little."""


def learned_merges(parts: Iterable[bytes], count: int, progress: Progress) -> tuple[Pair, ...]:
    """Return up to ``count`` merges: each time the most frequent pair, of equals the one of lower tokens.

    There are fewer if no pair comes twice.
    """
    words = [(list(piece), number) for piece, number in Counter(pieces(_first(parts))).items()]
    pairs: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = defaultdict(set)
    for place, (tokens, number) in enumerate(words):
        for pair in itertools.pairwise(tokens):
            pairs[pair] += number
            places[pair].add(place)
    merges: list[Pair] = []
    progress.stage("learning byte pairs", count)
    while pairs and len(merges) < count:
        best = max(pairs, key=lambda pair: (pairs[pair], -pair[0], -pair[1]))
        if pairs[best] < 2:
            break
        for place in sorted(places[best]):
            tokens, number = words[place]
            after = joined(tokens, best, BYTES + len(merges))
            for pair in itertools.pairwise(tokens):
                pairs[pair] -= number
            for pair in itertools.pairwise(after):
                pairs[pair] += number
                places[pair].add(place)
            words[place] = (after, number)
        pairs.pop(best, None)
        merges.append(best)
        progress.advance()
    progress.close()
    return tuple(merges)


def _first(parts: Iterable[bytes]) -> Iterable[bytes]:
    left = MOST_BYTES
    for part in parts:
        if left <= 0:
            return
        yield part[:left]
        left -= len(part)
