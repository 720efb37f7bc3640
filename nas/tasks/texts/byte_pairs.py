"""Learning which pairs of tokens to merge (Sennrich et al., 2016, arXiv:1508.07909), starting from single bytes.

Deployed models encode without a library, by ``nas.tasks.deployed.texts``, so learning needs none either.
"""

from __future__ import annotations

import heapq
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
    # The first entry of the heap with its pair's present number is the best pair. Looking at all pairs takes longer.
    heap = [(-number, pair) for pair, number in pairs.items()]
    heapq.heapify(heap)
    while heap and len(merges) < count:
        negative, best = heapq.heappop(heap)
        if pairs.get(best) != -negative:
            continue
        if negative > -2:
            break
        changed: set[Pair] = set()
        for place in sorted(places[best]):
            tokens, number = words[place]
            after = joined(tokens, best, BYTES + len(merges))
            for pair in itertools.pairwise(tokens):
                pairs[pair] -= number
                changed.add(pair)
            for pair in itertools.pairwise(after):
                pairs[pair] += number
                places[pair].add(place)
                changed.add(pair)
            words[place] = (after, number)
        del pairs[best], places[best]
        for pair in changed - {best}:
            heapq.heappush(heap, (-pairs[pair], pair))
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
