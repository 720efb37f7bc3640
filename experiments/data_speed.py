"""``python -m experiments.data_speed`` measures what a folder of photos costs: memory, and time beside the training.

    python -m experiments.data_speed --folder /tmp/photos --count 20000 --image-size 128

The script writes photos of mixed sizes into the folder, unless they are there. It reads them once, as the start of a
search does. Then ``--workers`` processes at once load them, look at each, and train an architecture of the
``mobilenet`` space for two epochs on a share of them, by one thread each. It prints

- the time to decode all photos, and the time until a worker has its first batch once they are decoded;
- the memory of all workers beyond that of the same workers with 200 photos, where shared pages count once (PSS);
- the share of the second epoch's time that goes into reading, augmenting and preparing batches.

It needs Linux, which tells the PSS.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from experiments.command_line import heading, line, parser_of, positive
from nas.hardware.machine import processor_name
from nas.recipe.recipe import Recipe
from nas.space.architecture import Architecture
from nas.space.layer import total_macs
from nas.space.search_space import load_space, sample
from nas.space.tracing import describer_of
from nas.storage.journal import write_aside
from nas.tasks.batches import Items, items_at
from nas.tasks.data_source import DataSource
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data
from nas.tasks.images.splits import Split
from nas.training.settings import training_settings
from nas.training.training import CandidateTraining

CLASSES = 10
FEW = 200
"""The photos of the workers that show how much memory everything but the data takes."""
SIDES = (160, 240, 320, 400, 512, 640)
SHAPES = (1.0, 4 / 3, 3 / 2, 3 / 4, 2 / 3)
SAMPLED_S = 0.2
DRAWN = 20
"""Random architectures, of which the one with the fewest multiply-accumulates is trained."""
MOST_MIB, MOST_SHARE, MOST_READY_S = 1536.0, 0.15, 2.0
"""The goals: memory of two workers, the data's share of an epoch, and the time until a candidate's data are ready."""
Result = TypeVar("Result")
Tensors = tuple[torch.Tensor, ...]


# Photos


def write_photos(folder: Path, count: int, seed: int) -> None:
    """Write ``count`` JPEG files of mixed sizes in ``CLASSES`` classes, unless they are there."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for label in range(CLASSES):
            (folder / f"class{label}").mkdir(parents=True, exist_ok=True)
        for _ in pool.map(lambda number: _write_photo(folder, number, seed), range(count)):
            pass


def _write_photo(folder: Path, number: int, seed: int) -> None:
    path = folder / f"class{number % CLASSES}" / f"{number:06}.jpg"
    if path.exists():
        return
    rng = np.random.default_rng([seed, number])
    height = int(rng.choice(SIDES))
    size = (round(height * float(rng.choice(SHAPES))), height)
    of_class = np.random.default_rng([seed, -1 % 2**31, number % CLASSES]).integers(0, 256, (6, 6, 3))
    coarse = (0.5 * of_class + 0.5 * rng.integers(0, 256, (6, 6, 3))).astype(np.uint8)
    fine = Image.fromarray(rng.integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8))
    smooth = Image.fromarray(coarse).resize(fine.size, Image.Resampling.BICUBIC)
    Image.blend(smooth, fine, 0.15).resize(size, Image.Resampling.BILINEAR).save(path, quality=85)


# Timing


@dataclass
class Stopwatch:
    """Seconds in each part of the way from a file to a model's inputs."""

    read_s: float = 0.0
    augment_s: float = 0.0
    prepare_s: float = 0.0

    def timed(self, part: str, work: Callable[[], Result]) -> Result:
        """Do the work, and add its time to a part."""
        began_s = time.perf_counter()
        result = work()
        setattr(self, part, getattr(self, part) + time.perf_counter() - began_s)
        return result


STOPWATCH = Stopwatch()


class TimedSplit(Split):
    """A split that tells how long reading takes."""

    def items_at(self, places: Any) -> Items:
        """Return the images at ``places``."""
        return STOPWATCH.timed("read_s", lambda: super(TimedSplit, self).items_at(places))


class TimedImages(Images):
    """Images that tell how long augmenting and preparing take."""

    def augmented(self, raw: Tensors, generator: torch.Generator) -> Tensors:
        """Return a batch, changed at random."""
        return STOPWATCH.timed("augment_s", lambda: super(TimedImages, self).augmented(raw, generator))

    def inputs_of(self, raw: Tensors) -> Tensors:
        """Return a batch as the model's inputs."""
        return STOPWATCH.timed("prepare_s", lambda: super(TimedImages, self).inputs_of(raw))


def timed(data: Images) -> TimedImages:
    """Return the same images with stopwatches."""
    values: dict[str, Any] = {field.name: getattr(data, field.name) for field in fields(data)}
    splits = {name: TimedSplit(each.images, each.labels) for name, each in values.items() if isinstance(each, Split)}
    return TimedImages(**{**values, **splits})


# A worker


def work(folder: Path, image_size: int, architecture: Architecture, share: float) -> dict[str, Any]:
    """Load the data, read each image once, and train for two epochs. Return what that took."""
    name = f"folder:{folder}"
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    data = DataSource(name=name, options=json.dumps({"image_size": image_size})).load()
    assert isinstance(data, Images)
    items_at(data.train, np.arange(min(128, len(data.train))))
    ready_s, ready_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    for split in (data.train, data.validation, data.test):
        for start in range(0, len(split), 128):
            items_at(split, slice(start, min(start + 128, len(split))))
    recipe = Recipe.from_mapping({"data": {"name": name}})
    settings = training_settings(recipe, epochs=2, subset=share, time_limit_s=1e6)
    settings = dataclasses.replace(settings, threads=1, device="cpu")
    task = timed(data)
    training = CandidateTraining(load_space("mobilenet", {}, data.signature), DataSource(given=task), settings)
    epochs, before, ended_s = [], Stopwatch(), 0.0
    for report in training({"architecture": dict(architecture), "seed": 0}):
        now = dataclasses.replace(STOPWATCH)
        parts = {part.name: getattr(now, part.name) - getattr(before, part.name) for part in fields(now)}
        epochs.append({"seconds": report["seconds"] - ended_s, **parts})
        before, ended_s = now, report["seconds"]
    return {"ready_s": ready_s, "ready_cpu_s": ready_cpu_s, "epochs": epochs, "trained_on": len(task.part(share))}


# Workers together


def pss_mib(process: int) -> float:
    """Return the memory of a process, in which pages that n processes share count as 1/n; 0 if it has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(row.split()[1]) for row in text.splitlines() if row.startswith("Pss:")) / 1024


def together(workers: int, arguments: Sequence[str]) -> tuple[list[dict[str, Any]], float]:
    """Run workers at once. Return what they measured, and the most memory that they held together, in MiB."""
    command = [sys.executable, "-m", "experiments.data_speed", "--as-worker", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env=environment)  # noqa: S603 this script
        for _ in range(workers)
    ]
    peak, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(SAMPLED_S):
            peak = max(peak, sum(pss_mib(process.pid) for process in processes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        printed = [process.communicate()[0] for process in processes]
    finally:
        ended.set()
        watcher.join()
    if any(process.returncode for process in processes):
        raise SystemExit("a worker failed: its message is above.")
    return [json.loads(text.splitlines()[-1]) for text in printed], peak


def summary(found: dict[str, Any]) -> list[str]:
    """Return the lines of a Markdown table with the goals."""
    second = [worker["epochs"][1] for worker in found["workers"]]
    names = [part.name for part in fields(Stopwatch)]
    parts = {part: max(epoch[part] / epoch["seconds"] for epoch in second) for part in names}
    share = max(sum(epoch[part] for part in names) / epoch["seconds"] for epoch in second)
    ready_s, ready_cpu_s = (max(worker[key] for worker in found["workers"]) for key in ("ready_s", "ready_cpu_s"))
    ready = f"{ready_s:.2f} s, of which {ready_cpu_s:.2f} s on a processor"
    beyond = found["peak_mib"] - found["peak_of_few_mib"]
    listed = ", ".join(f"{part.removesuffix('_s')} {value:.1%}" for part, value in parts.items())
    return [
        *heading(["of the data", "measured", "goal"]),
        line(["memory of all workers beyond the models", f"{beyond:.0f} MiB", f"at most {MOST_MIB:.0f} MiB"]),
        line(["share of the second epoch", f"{share:.1%} ({listed})", f"at most {MOST_SHARE:.0%}"]),
        line(["ready once decoded", ready, f"under {MOST_READY_S:g} s"]),
        line(["decoding once", f"{found['decoding_s']:.0f} s", ""]),
    ]


def measure(folder: Path, count: int, image_size: int, workers: int, share: float, seed: int) -> dict[str, Any]:
    """Write photos, decode them, and let workers train on them. Return what that took."""
    write_photos(folder / "all", count, seed)
    write_photos(folder / "few", FEW, seed)
    began_s = time.perf_counter()
    data = load_data(f"folder:{folder / 'all'}", image_size=image_size)
    decoding_s = time.perf_counter() - began_s
    load_data(f"folder:{folder / 'few'}", image_size=image_size)
    space = load_space("mobilenet", {}, data.signature)
    rng, describer = np.random.default_rng(seed), describer_of(space, data.signature)
    random = {each: total_macs(describer.layers(each)) for each in (sample(space, rng) for _ in range(DRAWN))}
    architecture, macs = min(random.items(), key=lambda item: item[1])  # the faster the training, the more data count
    given = ["--image-size", str(image_size), "--architecture", json.dumps(dict(architecture))]
    _, peak_of_few = together(workers, ["--folder", str(folder / "few"), *given, "--share", "1"])
    found, peak = together(workers, ["--folder", str(folder / "all"), *given, "--share", str(share)])
    return {
        "processor": processor_name(),
        "photos": count,
        "image_size": image_size,
        "architecture": dict(architecture),
        "macs": macs,
        "decoding_s": decoding_s,
        "peak_of_few_mib": peak_of_few,
        "peak_mib": peak,
        "workers": found,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = parser_of("data_speed", __doc__)
    parser.add_argument("--folder", type=Path, help="the folder of the photos; by default a temporary one")
    parser.add_argument("--count", type=positive, default=20_000, help="the number of photos")
    parser.add_argument("--image-size", type=positive, default=128, help="the side to which they are scaled")
    parser.add_argument("--workers", type=positive, default=2)
    parser.add_argument("--share", type=float, default=0.2, help="the share of the images that an epoch takes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write everything that was measured into this file")
    parser.add_argument("--architecture", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--as-worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.as_worker:
        print(json.dumps(work(given.folder, given.image_size, Architecture(given.architecture), given.share)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        found = measure(folder, given.count, given.image_size, given.workers, given.share, given.seed)
    print(f"{found['photos']} photos at {given.image_size} px, {given.workers} workers, {found['processor']},")
    print(f"an architecture of {found['macs'] / 1e6:.1f} million multiply-accumulates.\n")
    print("\n".join(summary(found)))
    if given.json is not None:
        write_aside(given.json, (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
