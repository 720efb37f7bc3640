"""Pictures that lie in two splits are told, also if they were encoded or scaled anew, unless they are merely alike."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from small_bundle import colours

from nas.tasks.images import near_copies as module
from nas.tasks.images.decoded.pixel_statistics import thumbnails_of
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data
from nas.tasks.images.near_copies import near_copies


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], str, int]] = {
    "encoded anew": (lambda picture: picture, "jpg", 40),
    "halved": (halved, "jpg", 75),
    "in another format": (lambda picture: picture, "webp", 60),
    "doubled": (lambda picture: picture.resize((picture.width * 2, picture.height * 2)), "png", 0),
}


def photos(root: Path, count: int = 24) -> Path:
    """Write different photos into splits, a few of each class."""
    for seed in range(count):
        split = ("test", "val", "train", "train")[seed % 4]
        path = root / split / ("cat", "dog")[seed // 4 % 2] / f"{seed:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colours((96 + seed, 90), seed).save(path, quality=90)
    return root


def told(data: Images) -> list[str]:
    return [warning for warning in data.warnings if "cop" in warning]


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_of_a_training_picture_in_the_test_is_named(tmp_path: Path, kind: str) -> None:
    """The sentence says how many there are, of what, and what to do."""
    root = photos(tmp_path)
    assert told(load_data(f"folder:{root}")) == []
    change, ending, quality = COPIES[kind]
    with Image.open(root / "train" / "cat" / "02.jpg") as picture:
        change(picture).save(root / "test" / "dog" / f"again.{ending}", quality=quality)
    assert told(load_data(f"folder:{root}")) == [
        f"1 of 7 test pictures looks like a copy of pictures in the training or validation split, though not pixel by "
        f"pixel, such as test/dog/again.{ending} of train/cat/02.jpg. So test errors look better than they are. Look "
        "at them, and remove copies, or put them into one split."
    ]


def test_copies_in_the_validation_split_are_told_too(tmp_path: Path) -> None:
    root = photos(tmp_path)
    for number in ("02", "10", "18"):
        with Image.open(root / "train" / "cat" / f"{number}.jpg") as picture:
            picture.save(root / "val" / "cat" / f"{number}-again.jpg", quality=30)
    (sentence,) = told(load_data(f"folder:{root}"))
    assert sentence.startswith("3 of 9 validation pictures look like copies of pictures in the training split")
    assert "val/cat/02-again.jpg of train/cat/02.jpg, val/cat/10-again.jpg of" in sentence
    assert "So candidates that memorise pictures are preferred." in sentence


def test_equal_pixels_are_told_once(tmp_path: Path) -> None:
    root = photos(tmp_path)
    (root / "test" / "cat" / "same.jpg").write_bytes((root / "train" / "cat" / "02.jpg").read_bytes())
    (sentence,) = told(load_data(f"folder:{root}"))
    assert sentence.startswith("1 of 7 test pictures are also in the training or validation split, pixel by pixel")


def test_digits_that_are_alike_are_no_copies(digits: Images) -> None:
    """They are as alike as digits are, so nothing is told of them."""
    assert told(digits) == []


def garments(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return grey pictures of 28 pixels that are alike as garments are: one outline, moved and shaded a little."""
    rng = np.random.default_rng(seed)
    outline = np.zeros((28, 28))
    outline[4:25, 9:20] = 200
    outline[6:12, 4:24] = 180
    shades = gaussian_filter(rng.normal(0, 120, (count, 28, 28)), (0, 4, 4))
    return np.clip(outline + shades * (outline > 0), 0, 255).astype(np.uint8)


def test_garments_of_one_outline_are_no_copies() -> None:
    """All are nearer to each other than photos and their copies are; at most one in two hundred is told."""
    tested, others = garments(400, 1)[:, None], garments(2000, 2)[:, None]
    found, looked_at = near_copies(thumbnails_of(tested), thumbnails_of(others))
    assert looked_at == 400
    assert len(found) <= 2
    mine = np.concatenate([tested, np.clip(others[:3].astype(int) + 1, 0, 255).astype(np.uint8)])
    again, _ = near_copies(thumbnails_of(mine), thumbnails_of(others))
    assert [pair for pair in again if pair[0] >= 400] == [(400, 0), (401, 1), (402, 2)]


def test_blank_pictures_are_no_copies() -> None:
    """Nor are those that show next to nothing, as of a camera with its lid on."""
    rng = np.random.default_rng(0)
    blank = np.repeat(rng.integers(0, 256, (40, 3, 1, 1)), 32, axis=2).repeat(32, axis=3)
    dark = rng.integers(0, 3, (40, 3, 32, 32))
    for images in (blank[:, :1], dark):
        thumbnails = thumbnails_of(images.astype(np.uint8))
        assert near_copies(thumbnails[:20], thumbnails[20:])[0] == []


def test_ten_thousand_pictures_take_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many more, some are looked at, and the sentence says how many."""
    rng = np.random.default_rng(0)
    others, tested = (rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8) for count in (8000, 2000))
    tested[::2] = others[:1000]
    began = time.process_time()
    found, looked_at = near_copies(tested, others)
    assert time.process_time() - began < 8
    assert (len(found), looked_at) == (1000, 2000)
    monkeypatch.setattr(module, "MOST_PAIRS", 8000 * 500)
    found, looked_at = near_copies(tested, others)
    assert looked_at == 500
    assert 150 < len(found) < 350
    assert all(others[there].tobytes() == tested[here].tobytes() for here, there in found)


def test_parts_of_the_others_give_what_all_at_once_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank pictures fill some parts, and the last one is not full."""
    rng = np.random.default_rng(0)
    others = rng.integers(0, 256, (95, 3, 8, 8), dtype=np.uint8)
    others[20:45] = 7
    tested = np.concatenate([others[10:60], rng.integers(0, 256, (30, 3, 8, 8), dtype=np.uint8)])
    wanted = near_copies(tested, others)
    assert wanted == ([(at, 10 + at) for at in (*range(10), *range(35, 50))], 80)
    monkeypatch.setattr(module, "_OTHERS_AT_ONCE", 10)
    assert near_copies(tested, others) == wanted


MANY = """
import resource
import numpy as np
from nas.tasks.images.near_copies import near_copies
others = np.random.default_rng(0).integers(0, 256, (200_000, 3, 8, 8), dtype=np.uint8)
near_copies(others[:20], others[:20])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found, looked_at = near_copies(others[::100], others)
assert looked_at == 250 and found and all(there == 100 * here for here, there in found), found
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count the memory in other units")
def test_two_hundred_thousand_pictures_take_little_memory() -> None:
    """All of them in floats would take 150 MB, and each step on them as much again."""
    found = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 200
