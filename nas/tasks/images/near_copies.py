"""Pictures of one split that look like copies of those of another: encoded or scaled anew, or slightly changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from nas.tasks.images.decoded.pixel_statistics import Thumbnails

LARGEST_DISTANCE = 0.01
"""Thumbnails of copies are at most so far apart: 1 minus their correlation.

Of 120 photos, encoded anew as JPEG of quality 20 to 90, halved or doubled, 98 % are nearer. Of 598 different ones, one
pair is: a drawing with two letters.
"""
NEAREST, SHARE = 10, 1 / 30
"""A copy is also nearer than this share of the distance at which pictures usually have their tenth neighbour.

Garments and digits are alike without being copies: without it, 31 % of Fashion-MNIST's test pictures would be named,
and with it 0.14 %, of which nearly half are the same garment.
"""
LEAST_CONTRAST = 8.0
"""Thumbnails of a smaller standard deviation, in levels, show nothing that could be compared."""
MOST_PAIRS = 50_000_000
"""So many pairs are compared, about a second. Of more pictures, some of the tested ones are looked at."""
_AT_ONCE, _OTHERS_AT_ONCE = 500, 20_000
"""So many tested pictures are compared with so many others at a time, which takes about 100 MB."""
MOST_SHOWN = 3
Name = Callable[[int], str]
"""Gives what a picture is called, by its place in its split."""


def near_copies(tested: Thumbnails, others: Thumbnails) -> tuple[list[tuple[int, int]], int]:
    """Return the places of pictures that look like copies, with the place of the nearest other one, and their number.

    The last is the number of tested pictures that were looked at.
    """
    looked_at = _spread(len(tested), max(1, MOST_PAIRS // max(1, len(others))))
    mine, my_places = _directions(tested[looked_at])
    likeness, places, compared = _nearest(mine, others)
    if not len(mine) or not compared:
        return [], len(looked_at)
    distances = 1 - likeness[:, : math.ceil(compared / 2)]
    limit = min(LARGEST_DISTANCE, SHARE * float(distances[:, -1].median()))
    copies = torch.nonzero(distances[:, 0] <= limit).flatten().tolist()
    return [(int(looked_at[my_places[at]]), int(places[at, 0])) for at in copies], len(looked_at)


def _nearest(mine: torch.Tensor, others: Thumbnails) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return how alike the ``NEAREST`` others of each are, best first, their places, and how many show something."""
    likeness, places, compared = torch.empty(len(mine), 0), torch.empty(len(mine), 0, dtype=torch.int64), 0
    for start in range(0, len(others), _OTHERS_AT_ONCE):
        other, other_places = _directions(others[start : start + _OTHERS_AT_ONCE])
        compared += len(other)
        count = min(NEAREST, len(other))
        found = [(part @ other.T).topk(count, dim=1) for part in torch.split(mine, _AT_ONCE)]
        indices = torch.cat([each.indices for each in found])
        likeness = torch.cat([likeness, torch.cat([each.values for each in found])], dim=1)
        places = torch.cat([places, start + torch.from_numpy(other_places)[indices]], dim=1)
        likeness, order = likeness.topk(min(NEAREST, likeness.shape[1]), dim=1)
        places = places.gather(1, order)
    return likeness, places, compared


def _spread(count: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the places of at most ``most`` of ``count`` items, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _directions(thumbnails: Thumbnails) -> tuple[torch.Tensor, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return thumbnails without their mean and contrast, float32 of shape (N, values), and the places of these.

    Those that show nothing are left out. The product of two is their correlation.
    """
    values = torch.from_numpy(thumbnails.reshape(len(thumbnails), -1).astype(np.float32))
    centred = values.sub_(values.mean(dim=1, keepdim=True))
    places = np.flatnonzero((centred.std(dim=1, correction=0) >= LEAST_CONTRAST).numpy())
    chosen = centred[torch.from_numpy(places)]
    return chosen.div_(chosen.norm(dim=1, keepdim=True)), places


def near_copy_warnings(
    title: str, tested: tuple[Thumbnails, Sequence[bytes], Name], others: tuple[Thumbnails, Sequence[bytes], Name]
) -> list[str]:
    """Return a sentence if pictures of the split called ``title`` look like copies of others.

    Each split is given by thumbnails, digests of all pixels, and names. Equal pixels are left to ``copy_warnings``.
    """
    (mine, my_digests, my_name), (rest, other_digests, other_name) = tested, others
    known = set(other_digests)
    found, looked_at = near_copies(mine, rest)
    pairs = [(one, other) for one, other in found if my_digests[one] not in known]
    if not pairs:
        return []
    shown = ", ".join(f"{my_name(one)} of {other_name(other)}" for one, other in pairs[:MOST_SHOWN])
    seen = f"{looked_at:,}" if looked_at == len(mine) else f"{looked_at:,} (of {len(mine):,})"
    are = "looks like a copy" if len(pairs) == 1 else "look like copies"
    where, harm = _HARM[title]
    return [
        f"{len(pairs)} of {seen} {title} pictures {are} of pictures in the {where}, though not pixel by pixel, such as "
        f"{shown}. So {harm}. Look at them, and remove copies, or put them into one split."
    ]


_HARM = {
    "test": ("training or validation split", "test errors look better than they are"),
    "validation": ("training split", "candidates that memorise pictures are preferred"),
}
