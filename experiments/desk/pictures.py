"""``python -m experiments.desk.pictures`` makes folders of photos, which this project does not contain.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb unpacked
    python -m experiments.desk.pictures stamps unpacked/usr/share/tuxpaint/stamps runs/desk/photos/stamps
    python -m experiments.desk.pictures cells BCCD runs/desk/photos/cells
    python -m experiments.desk.pictures clothes /usr/share/datasets runs/desk/photos/clothes

``stamps`` are pictures of eight folders, a class each, on white. ``cells`` are cut from the photos of BCCD, a folder
with ``JPEGImages`` and ``Annotations``, by their boxes: white cells, platelets and a part of the red cells, a class
each. Cells of every fifth photo are for the test, so that no photo is in both splits. ``clothes`` are 3,000 photos of
Fashion-MNIST, which lies in a folder such as that of Debian's package ``dataset-fashion-mnist``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

import nas
from experiments.command_line import parser_of

CLASSES = ("animals", "clothes", "food", "household", "plants", "seasonal", "town", "vehicles")
SIDE = 200
"""The longer side of a stamp in pixels."""
LEAST_SIDE = 16
"""Boxes with a shorter side are left out, and those that touch the edge."""
MOST_OF_A_CLASS = 600
TEST_EVERY = 5
CLOTHES, TESTED_CLOTHES = 2000, 1000

Box = tuple[int, int, int, int]


def make_stamps(source: Path, out: Path) -> int:
    """Write the stamps as JPEG files, a folder for each class, and return their number."""
    count = 0
    for name in CLASSES:
        (out / name).mkdir(parents=True)
        for number, path in enumerate(sorted((source / name).rglob("*.png"))):
            with Image.open(path) as found:
                stamp = found.convert("RGBA")
            white = Image.new("RGBA", stamp.size, "white")
            white.alpha_composite(stamp)
            white.thumbnail((SIDE, SIDE))
            white.convert("RGB").save(out / name / f"{number:03}.jpg", quality=95)
            count += 1
    return count


def make_cells(source: Path, out: Path) -> int:
    """Write the cells as JPEG files, below train and test a folder for each class, and return their number."""
    found: dict[str, list[tuple[Path, Box]]] = {}
    for path in sorted((source / "Annotations").glob("*.xml")):
        for name, box in _boxes(path):
            found.setdefault(name, []).append((path, box))
    tested = set(sorted((source / "Annotations").glob("*.xml"))[::TEST_EVERY])
    count = 0
    for name, boxes in found.items():
        kept = boxes[:: -(-len(boxes) // MOST_OF_A_CLASS)]
        for number, (path, box) in enumerate(kept):
            folder = out / ("test" if path in tested else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            with Image.open(source / "JPEGImages" / f"{path.stem}.jpg") as photo:
                photo.convert("RGB").crop(box).save(folder / f"{number:03}.jpg", quality=95)
        count += len(kept)
    return count


def make_clothes(source: Path, out: Path) -> int:
    """Write random photos of clothes in three channels, below train and test a folder for each class."""
    whole = nas.load_data("fashion-mnist", root=source)
    for title, split, most in (("train", whole.train, CLOTHES), ("test", whole.test, TESTED_CLOTHES)):
        for number in np.sort(np.random.default_rng(0).permutation(len(split))[:most]).tolist():
            folder = out / title / whole.classes[split.labels[number]].replace("/", " or ")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.images[number][0]).convert("RGB").save(folder / f"{number:05}.png")
    return min(CLOTHES, len(whole.train)) + min(TESTED_CLOTHES, len(whole.test))


MAKERS = {"stamps": make_stamps, "cells": make_cells, "clothes": make_clothes}
NEEDED = {"stamps": CLASSES[0], "cells": "Annotations", "clothes": ""}
"""The folder that the source must have."""


def _boxes(path: Path) -> Iterator[tuple[str, Box]]:
    """Yield the class and the box of each cell that is whole and not tiny."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 the user's own file
    width, height = (int(root.findtext(f"size/{name}", "0")) for name in ("width", "height"))
    for each in root.iter("object"):
        left, top, right, bottom = (
            int(each.findtext(f"bndbox/{name}", "0")) for name in ("xmin", "ymin", "xmax", "ymax")
        )
        is_whole = min(left, top) > 1 and right < width - 1 and bottom < height - 1
        if is_whole and min(right - left, bottom - top) >= LEAST_SIDE:
            yield each.findtext("name", ""), (left, top, right, bottom)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one of the folders."""
    parser = parser_of("desk.pictures", __doc__)
    parser.add_argument("kind", choices=tuple(MAKERS))
    parser.add_argument("source", type=Path, help="the folder stamps, that of BCCD, or that of data sets")
    parser.add_argument("out", type=Path, help="the folder to make")
    options = parser.parse_args(arguments)
    wanted = options.source / NEEDED[options.kind]
    if not wanted.is_dir():
        parser.error(f"the source must have the folder {wanted.name}, but {options.source} has none.")
    if options.out.exists():
        parser.error(f"the folder must be new, but {options.out} is there. Remove it, or name another.")
    try:
        count = MAKERS[options.kind](options.source, options.out)
    except nas.DataError as error:
        parser.error(str(error))
    print(f"{count} pictures in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
