"""Pictures that show the same: encoded, scaled, mirrored, cut or turned anew, or with other light.

Each picture's thumbnail, and those of its mirrored and its smaller parts, are compared with the thumbnails of all
others. The nearest are aligned by gradient descent on an affine map, as images are registered by their correlation
(Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation coefficient maximization", 2008).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

from nas.storage.home import home
from nas.storage.journal import write_aside
from nas.tasks.batches import IntArray
from nas.tasks.dependence import FloatArray
from nas.tasks.images.decoded.pixel_statistics import Thumbnails

LARGEST_DISTANCE, SHARE, REFERENCE = 0.02, 0.1, 12
"""Twins are at most so far apart, 1 minus their correlation, and at most this share of the distance of the neighbour
of this rank, once that is aligned too: garments and digits are alike without being copies.

``python -m experiments.dependent_items`` measures how many twins are found, and how many pairs are none.
"""
LARGEST_TO_ALIGN, ALIGNED = 0.2, 3
"""Pictures are aligned with so many others that are at most so far apart."""
MOST_ALIGNED = 6000
"""So many pairs are aligned, the nearest ones, which takes a few seconds."""
STEPS, RATE = 20, 0.02
SIDE, FINE_SIDE = 6, 12
"""The sides of what is compared first, and of what is aligned."""
SCALES = 1.0, 0.9, 0.8, 0.7
MOST_VIEWED = 6000
"""Of more pictures, only whole ones are compared first, also mirrored."""
LEAST_CONTRAST = 8.0
"""Thumbnails of a smaller standard deviation, in levels, show nothing that could be compared."""
_AT_ONCE = 500


def twins(thumbnails: Thumbnails) -> IntArray:
    """Return the places of pictures that show the same, shape (P, 2), given square thumbnails of N pictures."""
    small = torch.from_numpy(thumbnails.astype(np.float32))
    if len(small) < 2:
        return np.empty((0, 2), dtype=np.int64)
    views = torch.tensor(list(_views(SCALES if len(small) <= MOST_VIEWED else SCALES[:1])))
    near, distances, shows = _near(small, views)
    pairs = near[:, :ALIGNED].flatten(0, 1)
    distances = distances[:, :ALIGNED].flatten()
    kept = (distances <= LARGEST_TO_ALIGN) & shows[pairs[:, 0]] & shows[pairs[:, 1]]
    pairs = pairs[kept][distances[kept].argsort()[:MOST_ALIGNED]]
    if not len(pairs):
        return np.empty((0, 2), dtype=np.int64)
    usual = torch.zeros(len(small))
    some = torch.unique(pairs[:, 0])
    usual[some] = _aligned(small, near[some, -1], views)
    limits = (SHARE * usual[pairs[:, 0]]).clamp(max=LARGEST_DISTANCE)
    found: IntArray = pairs[_aligned(small, pairs, views) <= limits, :2].numpy()
    return found


def kept_twins(thumbnails: Thumbnails) -> IntArray:
    """Return the same as ``twins``, which is found once on a machine: each process that trains loads the pictures."""
    about = f"{LARGEST_DISTANCE} {SHARE} {REFERENCE} {SIDE} {STEPS} {thumbnails.shape}"
    digest = hashlib.sha256(about.encode() + np.ascontiguousarray(thumbnails).data)
    file = home() / "twins" / f"{digest.hexdigest()[:32]}.npy"
    try:
        kept: IntArray = np.load(file, allow_pickle=False)
    except (OSError, EOFError, ValueError):  # it is not there, or damaged
        kept = twins(thumbnails)
        content = io.BytesIO()
        np.save(content, kept, allow_pickle=False)
        with contextlib.suppress(OSError):  # a shared home may be read-only
            file.parent.mkdir(parents=True, exist_ok=True)
            write_aside(file, content.getvalue())
    return kept


def contents_of(thumbnails: Thumbnails) -> FloatArray:
    """Return what pictures show, shape (N, values); NaN for those that show nothing."""
    seen = _directions(F.adaptive_avg_pool2d(torch.from_numpy(thumbnails.astype(np.float32)), SIDE)).double()
    seen[~seen.any(dim=1)] = torch.nan
    found: FloatArray = seen.numpy()
    return found


def _views(scales: tuple[float, ...]) -> Iterator[list[list[float]]]:
    """Yield affine maps to the parts of a picture that are compared, each also mirrored."""
    for scale in scales:
        places = (0.0,) if scale == 1 else (scale - 1, 0.0, 1 - scale)
        for down in places:
            for right in places:
                for side in (1, -1):
                    yield [[side * scale, 0.0, right], [0.0, scale, down]]


def _near(small: torch.Tensor, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return each picture, its nearest others and the best views of the first, shape (N, neighbours, 3).

    How far they are apart, (N, neighbours), and which pictures show something, (N,), come with them.
    """
    whole = _directions(_seen(small, views[:1].expand(len(small), 2, 3), SIDE))
    count = min(REFERENCE, max(ALIGNED, len(small) // 4), len(small) - 1)
    found = []
    for start in range(0, len(small), _AT_ONCE):
        some = small[start : start + _AT_ONCE]
        seen_VPC = torch.stack([_directions(_seen(some, view.expand(len(some), 2, 3), SIDE)) for view in views])
        best = seen_VPC[0] @ whole.T
        for seen in seen_VPC[1:]:
            torch.maximum(best, seen @ whole.T, out=best)
        own = torch.arange(len(some))
        best[own, start + own] = -2.0
        top = best.topk(count, dim=1)
        number = torch.einsum("vpc,pnc->vpn", seen_VPC, whole[top.indices]).argmax(dim=0)
        mine = (start + own)[:, None].expand_as(number)
        found.append((torch.stack([mine, top.indices, number], dim=2), 1 - top.values))
    near, distances = (torch.cat(each) for each in zip(*found, strict=True))
    return near, distances, whole.any(dim=1)


def _aligned(small: torch.Tensor, pairs: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    """Return how far pairs of pictures, (P, 3) as of ``_near``, are apart once the first is aligned with the second."""
    found = []
    for one, other, view in (some.T for some in torch.split(pairs, _AT_ONCE)):
        maps = views[view].clone().requires_grad_()
        wanted = _directions(F.interpolate(small[other], size=FINE_SIDE, mode="bilinear", antialias=True))
        optimizer, least = torch.optim.Adam([maps], lr=RATE), torch.full((len(one),), 2.0)
        for _ in range(STEPS):
            distances = 1 - (_directions(_seen(small[one], maps, FINE_SIDE)) * wanted).sum(dim=1)
            least = torch.minimum(least, distances.detach())
            optimizer.zero_grad()
            distances.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found.append(least)
    return torch.cat(found)


def _seen(small: torch.Tensor, maps: torch.Tensor, side: int) -> torch.Tensor:
    """Return the parts of pictures that affine maps tell, of this side."""
    grid = F.affine_grid(maps, [*small.shape[:2], 2 * side, 2 * side], align_corners=False)
    return F.avg_pool2d(F.grid_sample(small, grid, padding_mode="border", align_corners=False), 2)


def _directions(pictures: torch.Tensor) -> torch.Tensor:
    """Return pictures without their mean and contrast, shape (N, values); zeros where channels show nothing.

    The product of two is their correlation.
    """
    values = pictures.flatten(1)
    centred = values - values.mean(dim=1, keepdim=True)
    shows = pictures.var(dim=(2, 3), correction=0).mean(dim=1).sqrt() >= LEAST_CONTRAST
    return torch.where(shows[:, None], centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-6), 0.0)
