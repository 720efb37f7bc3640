"""``python -m experiments.dependent_items`` measures how well items that depend on each other are found.

    python -m experiments.desk.pictures cells BCCD runs/desk/photos/cells
    python -m experiments.dependent_items --photos cells=runs/desk/photos/cells --folder runs/dependent_items

From photos it makes folders in which it is known which pictures depend on each other, and from tables of scikit-learn
such tables. It prints for each the share of the true pairs that are in one group, the share of pairs in one group that
are not true, the largest share of a class in one group, and the seconds for the whole loading and without the groups.
``--count 50000`` times as many different pictures of noise, a hundred of them twice. Pictures that were alike already
in the photos count as not true.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from PIL import Image, ImageEnhance, ImageOps
from sklearn import datasets

import nas
from experiments.command_line import heading, line as line_of, parser_of
from experiments.desk.__main__ import named_folder

MOST = 400
"""Photos of each folder that are used."""
VIEWS = 3
TITLES = "data", "items", "true pairs found", "not true among those found", "largest group of a class", "s", "s without"
Item = tuple[str, str, Any, int]
"""The class, the name, the picture, and the number of what it shows."""


def opened(folder: Path, rng: np.random.Generator) -> list[tuple[str, Image.Image]]:
    """Return some photos with their classes, which are the names of their folders."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    chosen = [files[place] for place in np.sort(rng.permutation(len(files))[:MOST]).tolist()]
    return [(path.parent.name, Image.open(path).convert("RGB")) for path in chosen]


def changed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture as people augment it: a part of it, perhaps mirrored, in other light, and encoded anew."""
    share = rng.uniform(0.8, 0.95)
    width, height = (int(share * side) for side in picture.size)
    left, top = int(rng.integers(0, picture.width - width + 1)), int(rng.integers(0, picture.height - height + 1))
    part = picture.crop((left, top, left + width, top + height))
    part = ImageOps.mirror(part) if rng.random() < 0.5 else part
    return encoded(ImageEnhance.Brightness(part).enhance(rng.uniform(0.8, 1.2)), rng)


def encoded(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a picture that was stored as JPEG."""
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=int(rng.integers(40, 90)))
    return Image.open(stored).convert("RGB")


def hidden(rng: np.random.Generator) -> str:
    """Return a name that tells nothing."""
    return f"{rng.integers(10**12):012}"


def independent(photos: list[tuple[str, Image.Image]], rng: np.random.Generator) -> Iterator[Item]:
    """Yield photos that are merely numbered."""
    for number, (title, picture) in enumerate(photos):
        yield title, f"img_{number:05}", picture, number


def augmented(photos: list[tuple[str, Image.Image]], rng: np.random.Generator) -> Iterator[Item]:
    """Yield photos with changed ones, under names that tell it."""
    for number, (title, picture) in enumerate(photos):
        yield title, f"img_{number:05}", picture, number
        for view in range(1, VIEWS):
            yield title, f"img_{number:05}_aug{view}", changed(picture, rng), number


def augmented_under_random_names(photos: list[tuple[str, Image.Image]], rng: np.random.Generator) -> Iterator[Item]:
    """Yield the same under names that tell nothing."""
    for title, _, picture, number in augmented(photos, rng):
        yield title, hidden(rng), picture, number


def encoded_anew(photos: list[tuple[str, Image.Image]], rng: np.random.Generator) -> Iterator[Item]:
    """Yield each photo twice, once smaller and stored as JPEG, under names that tell nothing."""
    for number, (title, picture) in enumerate(photos):
        smaller = picture.resize(tuple(max(16, int(0.7 * side)) for side in picture.size))  # type: ignore[arg-type]
        yield title, hidden(rng), picture, number
        yield title, hidden(rng), encoded(smaller, rng), number


def two_views(photos: list[tuple[str, Image.Image]], rng: np.random.Generator) -> Iterator[Item]:
    """Yield each photo and a turned part of it, as two views of one object are called."""
    for number, (title, picture) in enumerate(photos):
        yield title, f"object{number:04}_a", picture, number
        yield title, f"object{number:04}_b", changed(picture.rotate(float(rng.uniform(-30, 30))), rng), number


def bursts(photos: list[tuple[str, Image.Image]], rng: np.random.Generator) -> Iterator[Item]:
    """Yield bursts of five pictures of a scene by a hand that shakes, numbered on from burst to burst."""
    count = 0
    for number, (title, picture) in enumerate(photos[: MOST // 2]):
        for _ in range(5):
            left, top = rng.integers(0, 1 + np.array(picture.size) // 12)
            right, bottom = picture.size[0] - left // 2, picture.size[1] - top // 2
            yield title, f"DSC{count:05}", picture.crop((int(left), int(top), int(right), int(bottom))), number
            count += 1


MAKERS: tuple[Callable[..., Iterator[Item]], ...] = (
    independent,
    augmented,
    augmented_under_random_names,
    encoded_anew,
    two_views,
    bursts,
)


def written(items: Iterator[Item], folder: Path) -> dict[str, int]:
    """Write pictures into a folder, and return what each shows, by the path of its file."""
    shows = {}
    for title, name, picture, number in items:
        path = folder / title / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        shows[f"{title}/{name}.png"] = number
    return shows


def groups_in(folder: Path, shows: dict[str, int], side: int) -> tuple[Any, Any, Any, float, float]:
    """Return the found groups, the true ones, classes, and the seconds with and without looking for groups."""
    began = time.perf_counter()
    nas.load_data(f"folder:{folder}", image_size=side, group="none")
    apart_s = time.perf_counter() - began
    began = time.perf_counter()
    task = nas.load_data(f"folder:{folder}", image_size=side)
    together_s = time.perf_counter() - began
    source: Any = None if task.originals is None else task.originals.source
    found, true, classes, free = [], [], [], -1
    for split in (task.train, task.validation, task.test):
        stored: Any = split.images
        for place, number in enumerate(stored.numbers.tolist()):
            true.append(shows[source.name(number)])
            classes.append(int(split.labels[place]))
            found.append(free if split.groups is None else int(split.groups[place]))
            free -= 1
    return np.array(found), np.array(true), np.array(classes), together_s, apart_s


def pairs(groups: Any) -> int:
    """Return the number of pairs that are in one group."""
    counts = np.unique(groups, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def line(name: str, found: Any, true: Any, classes: Any, seconds: tuple[float, float]) -> str:
    """Return the row of the table about a data set."""
    both = pairs(np.unique(np.stack([found, true]), axis=1, return_inverse=True)[1].reshape(-1))
    recall = f"{100 * both / pairs(true):.1f} %" if pairs(true) else "–"
    wrong = f"{100 * (pairs(found) - both) / max(1, pairs(found)):.1f} % ({pairs(found) - both:,})"
    largest = max(
        np.unique(found[classes == label], return_counts=True)[1].max() / (classes == label).sum()
        for label in np.unique(classes)
    )
    shares = f"{len(found):,}", recall, wrong, f"{100 * largest:.0f} %"
    return line_of((name, *shares, *(f"{each:.1f}" for each in seconds)))


def tables() -> Iterator[tuple[str, pandas.DataFrame, Any]]:
    """Yield tables of scikit-learn as they are, with repeated rows, and with visits of patients."""
    rng = np.random.default_rng(0)
    for name in ("breast_cancer", "wine", "diabetes", "iris"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        yield name, frame, np.arange(len(frame))
        again = rng.integers(0, len(frame), len(frame) // 2)
        places = np.concatenate([np.arange(len(frame)), again])
        yield f"{name}, rows repeated", frame.iloc[places], places
        visits = np.repeat(np.arange(len(frame)), 3)
        near = frame.iloc[visits].drop(columns="target")
        near = near + rng.normal(size=near.shape) * frame.drop(columns="target").std().to_numpy() / 5
        order = rng.permutation(len(visits))
        near = near.assign(patient_id=visits, target=frame["target"].to_numpy()[visits]).iloc[order]
        yield f"{name}, three visits each", near, visits[order]


def of_table(name: str, frame: pandas.DataFrame, true: Any) -> str:
    """Return the row of the report about a table, whose rows belong together where ``true`` is equal."""
    frame = frame.reset_index(drop=True)
    began = time.perf_counter()
    nas.Tabular.from_frame(frame, target="target", group="none")
    apart_s = time.perf_counter() - began
    began = time.perf_counter()
    task = nas.Tabular.from_frame(frame, target="target")
    together_s = time.perf_counter() - began
    from nas.tasks.dependence import dependence
    from nas.tasks.tabular.columns import raw_columns
    from nas.tasks.tabular.depending import identifying_columns, signs_of_rows
    from nas.tasks.tabular.targets import target_of

    columns = raw_columns(frame.drop(columns="target"), (), name)
    target = target_of(frame["target"], "auto", name)
    found = dependence(signs_of_rows(frame, columns, target, identifying_columns(frame, "target")))
    assert (found is None) == (task.train.groups is None), "the task has the same groups"
    groups = np.arange(len(frame)) if found is None else found.groups
    classes = target.values if target.is_classes else np.zeros(len(frame))
    return line(name, groups, true, classes, (together_s, apart_s))


def many(count: int) -> str:
    """Return the seconds for so many pictures, which are soft noise of two classes."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 3, 6, 6), dtype=np.uint8)
    small[count - 100 :] = small[:100]
    images = small.repeat(6, axis=2).repeat(6, axis=3)
    labels = np.arange(count) % 2
    began = time.perf_counter()
    task = nas.Images.from_arrays(images, labels)
    seconds = time.perf_counter() - began
    groups = [split.groups for split in (task.train, task.validation, task.test) if split.groups is not None]
    found = pairs(np.concatenate(groups)) if groups else 0
    return f"{count:,} pictures, 100 of them twice: {found} pairs found, {seconds:.0f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = parser_of("dependent_items", __doc__)
    parser.add_argument("--photos", nargs="*", type=named_folder, default=[], metavar="NAME=FOLDER")
    parser.add_argument("--folder", type=Path, default=Path("runs/dependent_items"), help="where pictures are made")
    parser.add_argument("--side", type=int, default=96, help="the side of pictures in pixels")
    parser.add_argument("--count", type=int, default=0, help="so many pictures are timed")
    options = parser.parse_args(arguments)
    print("\n".join(heading(TITLES)))
    for name, folder in options.photos:
        photos = opened(folder, np.random.default_rng(0))
        for maker in MAKERS:
            title = maker.__name__.replace("_", " ")
            out = options.folder / f"{name}-{maker.__name__}"
            if out.exists():
                parser.error(f"the folder must be new, but {out} is there. Remove it, or name another --folder.")
            shows = written(maker(photos, np.random.default_rng(1)), out)
            found, true, classes, *seconds = groups_in(out, shows, options.side)
            print(line(f"{name}, {title}", found, true, classes, (seconds[0], seconds[1])), flush=True)
    for name, frame, true in tables():
        print(of_table(name, frame, true), flush=True)
    if options.count:
        print(many(options.count))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
