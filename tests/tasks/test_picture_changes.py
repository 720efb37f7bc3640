"""Pictures as training sees them: shifted, mirrored, or a random part of each."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from nas.tasks.images.images import Images
from nas.tasks.images.splits import Split


def colourful(*, flip: bool, shift: int) -> Images:
    images = np.random.default_rng(0).integers(1, 256, (200, 3, 5, 7), dtype=np.uint8)
    split = Split(images, np.arange(200) % 2)
    return Images("colourful", split, split, split, ("a", "b"), flip=flip, shift=shift)


def test_shifts_move_whole_images() -> None:
    """Each image keeps shape and type, moves by at most the given shift, and is padded with black."""
    data = colourful(flip=False, shift=1)
    images = torch.from_numpy(data.train.images)
    moved = data.augmented((images,), torch.Generator().manual_seed(0))[0]
    assert moved.shape == images.shape
    assert moved.dtype == images.dtype
    found = set()
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    for index, image in enumerate(moved):
        places = [
            (row, column)
            for row, column in itertools.product(range(3), range(3))
            if torch.equal(image, padded[index, :, row : row + 5, column : column + 7])
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) == 9


def test_flips_mirror_half_of_the_images() -> None:
    """About half of the images are mirrored left to right; the others do not change."""
    data = colourful(flip=True, shift=0)
    images = torch.from_numpy(data.train.images)
    flipped = data.augmented((images,), torch.Generator().manual_seed(0))[0]
    mirrored = [torch.equal(new, old.flip(2)) for new, old in zip(flipped, images, strict=True)]
    same = [torch.equal(new, old) for new, old in zip(flipped, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, same, strict=True))
    assert 70 <= sum(mirrored) <= 130


def photos_of(side: int) -> Images:
    """Return photos whose level grows to the right, so that a part of one shows where it was cut out."""
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    images = np.ascontiguousarray(np.broadcast_to(ramp, (60, 3, side, side)))
    split = Split(images, np.arange(60) % 2)
    return Images("photos", split, split, split, ("cat", "dog"), random_parts=True, shift=2)


def test_training_sees_random_parts_of_photos() -> None:
    """Each is a part of its picture, of at least a third of the area, scaled to the whole's size. Seeds repeat it."""
    data = photos_of(64)
    images = torch.from_numpy(data.train.images)
    before = torch.get_rng_state()
    (seen,) = data.augmented((images,), torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert (seen.shape, seen.dtype) == (images.shape, images.dtype)
    widths = (seen[:, 0, 0, -1].float() - seen[:, 0, 0, 0].float()) / 255  # shares of the whole's
    assert 0.45 < float(widths.min()) < 0.7
    assert float(widths.max()) > 0.85
    assert len({int(level) for level in seen[:, 0, 0, 0]}) > 10
    assert torch.equal(data.augmented((images,), torch.Generator().manual_seed(3))[0], seen)
    assert not torch.equal(data.augmented((images,), torch.Generator().manual_seed(4))[0], seen)


def test_small_images_stay_whole() -> None:
    """They are shifted, as without random parts."""
    data = photos_of(32)
    images = torch.from_numpy(data.train.images)
    (seen,) = data.augmented((images,), torch.Generator().manual_seed(3))
    (shifted,) = replace(data, random_parts=False).augmented((images,), torch.Generator().manual_seed(3))
    assert torch.equal(seen, shifted)
    assert not torch.equal(seen, images)


def test_images_do_not_change_without_augmentation() -> None:
    """Without flip and shift the images do not change."""
    data = colourful(flip=False, shift=0)
    images = torch.from_numpy(data.train.images)
    assert torch.equal(data.augmented((images,), torch.Generator())[0], images)
