"""``python -m experiments.shrink_study`` sets fronts of ``nas shrink`` beside what one does by hand.

    python -m experiments.shrink_study --photos stamps=runs/desk/photos/stamps --sides 96 --folder runs/shrink_study

The parent is an EfficientNet-Lite0 with its weights from ImageNet. For each folder of photos, each seed and each time,
``nas shrink`` searches four times: in fp32, where it chooses among ways of evaluating forms of the parent, so with each
form tuned alone (``--evaluate train``), so with forms that share one tuning (``--evaluate supernet``), and in fp32 and
int8, as it does by default. ``--ways`` chooses some of them. By hand one gets from the same photos

- heads on frozen features: the parent with a logistic regression, at the photos' side and at lower resolutions,
- the parent tuned at each of these resolutions from a fitted head,
- both of them in int8.

All are tested on the same photos, and measured one after the other in every session. The search, or the models by
hand, that are in ``--folder`` already are not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nas
from experiments.beside_winners import MEASURING, measured_in_turns, tested, tested_by, volume_shares
from experiments.command_line import heading, line, parser_of, positive
from experiments.desk.__main__ import named_folder
from experiments.desk.photos import fit_head, frozen_parent, preparation_of
from experiments.pretrained import PARENT, weights_in
from nas.errors import CandidateError
from nas.formats.export import export_onnx
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.runtimes.runtime import ExportedModel
from nas.results.bundle import Bundle
from nas.results.data_of_run import source_of
from nas.searching.evaluating.parents import parent_settings
from nas.searching.shrinking import shrinking_recipe
from nas.space.torch_settings import torch_with
from nas.storage.journal import JournalReader
from nas.storage.journal_rows import WayChosen
from nas.training.fitted_heads import from_fitted_head

RESULTS = Path(__file__).parent / "results" / "shrinking.jsonl"
WAYS: Mapping[str, Mapping[str, Any]] = {
    "nas shrink in fp32": {"precisions": []},
    "each form tuned alone": {"precisions": [], "evaluate": "train"},
    "forms share one tuning": {"precisions": [], "evaluate": "supernet"},
    "nas shrink in fp32 and int8": {"precisions": ["fp32", "int8"]},
}
OURS, IN_BOTH = "nas shrink in fp32", "nas shrink in fp32 and int8"
HEADS, TUNED, INT8 = "heads on frozen features", "parent tuned at lower resolutions", "in int8"
LOWER = (1.0, 5 / 6, 2 / 3, 1 / 2)
"""The sides of the parent by hand, relative to that of the photos."""
SESSIONS_DIFFER = 0.05
"""Latencies that differ by no more than this share are those of models that are as fast as each other."""
CALIBRATION = 256
BY_HAND, ALL_BY_HAND = 0.0, "all by hand"


@dataclass(frozen=True)
class Point:
    """A model: the share of ``tested`` photos that it classifies wrongly, and its latency in ms, measured beside all.

    ``minutes`` are those of the search, and 0 for a model by hand. ``took_s`` is the time of the whole search, or of
    all models by hand. ``evaluated`` are the ways in which the search has evaluated candidates, one after the other.
    ``together`` are the minutes of all searches with which it was measured, so that their latencies can be compared.
    """

    photos: str
    seed: int
    minutes: float
    method: str
    name: str
    error: float
    tested: int
    latency_ms: float
    took_s: float
    evaluated: str = ""
    together: str = ""

    @property
    def standard_error(self) -> float:
        """The standard error of the test error."""
        return float(np.sqrt(self.error * (1 - self.error) / self.tested))


@dataclass(frozen=True)
class Made:
    """An exported model before it is measured."""

    method: str
    name: str
    error: float
    model: Path


@dataclass(frozen=True)
class Photos:
    """A folder of photos with a side in pixels and a seed, which also divides the photos, and the parent's weights."""

    name: str
    folder: Path
    side: int
    seed: int
    weights: Path

    def recipe(self, minutes: float, way: str) -> dict[str, Any]:
        """Return the keys of a search."""
        return {
            "name": f"{self.name}-seed{self.seed}-{minutes:g}min-{way.replace(' ', '-')}",
            "seed": self.seed,
            "data": {"name": f"folder:{self.folder.absolute()}", "image_size": self.side},
            "search_time_s": 60 * minutes,
            **WAYS[way],
        }


# What the searches find


def searched(photos: Photos, minutes: float, way: str, runs: Path) -> tuple[list[Made], float, str]:
    """Search, or read the finished search; return its winners, the wall time in seconds, and how it evaluated."""
    keys = photos.recipe(minutes, way)
    run = runs / keys["name"]
    kept = run / "took_s.json"
    if not kept.exists():
        shutil.rmtree(run, ignore_errors=True)  # the rest of a start that was killed, whose time nobody knows
        began = time.monotonic()
        nas.shrink(f"timm:{PARENT}", keys, weights=photos.weights, runs=runs)
        nas.write_aside(kept, json.dumps(time.monotonic() - began).encode())
    made = [
        Made(way, winner.architecture.short, winner.test_error, deployed_in(winner.bundle))
        for winner in nas.load_run(run).front
        if winner.bundle is not None
    ]
    with JournalReader(run) as journal:
        ways = [row.evaluate for row in journal.rows(WayChosen)] or [str(WAYS[way].get("evaluate", "train"))]
    return made, json.loads(kept.read_text()), ", then ".join(dict.fromkeys(ways))


def deployed_in(bundle: Path) -> Path:
    """Return the model that the search measured, which is in int8 for some winners."""
    _, model = Bundle.read(bundle).targets[""]
    return bundle / model


# What one does by hand


def by_hand(photos: Photos, folder: Path) -> tuple[list[Made], float]:
    """Fit and tune the parent at all resolutions, or read what was made; return the models and the seconds."""
    kept = folder / "models.json"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        rows = [{**asdict(each), "model": each.model.name} for each in _made_by_hand(photos, folder)]
        took = {"models": rows, "took_s": time.monotonic() - began}
        nas.write_aside(kept, (json.dumps(took, indent=1) + "\n").encode())
    found = json.loads(kept.read_text())
    return [Made(**{**each, "model": folder / each["model"]}) for each in found["models"]], found["took_s"]


def _made_by_hand(photos: Photos, folder: Path) -> Iterator[Made]:
    recipe = recipe_of(photos)
    task = source_of(recipe, None).load()
    frozen = frozen_parent(photos.weights, task.signature.classes)
    space: Any = nas.load_space(recipe.space.name, recipe.space.options, task.signature)
    for side in sides_of(photos.side):
        head = fit_head(frozen, task.prepared_for(preparation_of(frozen, side)), side, photos.seed, folder)
        assert head.model is not None
        yield Made(HEADS, f"{side} px", float(head.errors.mean()), head.model)
        view = task.prepared_for({**nas.wishes_of(space, space.parent), "image_size": side})
        module = tuned(space.parent_module(), view, recipe, photos.seed)
        path = folder / f"tuned-{side}.onnx"
        export_onnx(module, view.signature.inputs, 1, path)
        yield Made(TUNED, f"{side} px", tested(path, view)["error"].value, path)


def recipe_of(photos: Photos) -> nas.Recipe:
    """Return the recipe of a search, with the parent's usual head."""
    keys = {**photos.recipe(10.0, OURS), "space": {"features": "last"}}
    return shrinking_recipe(keys, f"timm:{PARENT}", photos.weights)


def sides_of(side: int) -> list[int]:
    """Return the resolutions of the parent by hand, from the side of the photos down."""
    return [round(side * share) for share in LOWER]


def tuned(module: torch.nn.Module, task: nas.Task, recipe: nas.Recipe, seed: int) -> torch.nn.Module:
    """Tune the parent with a fitted head as winners are tuned without sharing, on all photos but those of the test."""
    settings = replace(parent_settings(recipe, recipe.retraining.epochs), fit_head=True, use_validation=True)
    with torch_with(torch.get_num_threads(), seed):
        for _ in nas.Trainer(from_fitted_head(settings, module, task)).train(module, task, seed):
            pass
    return module.eval()


def in_int8(made: Sequence[Made], photos: Photos, folder: Path) -> Iterator[Made]:
    """Deploy the models by hand at the photos' own side in int8, and test them so."""
    recipe = recipe_of(photos)
    task = source_of(recipe, None).load()
    space: Any = nas.load_space(recipe.space.name, recipe.space.options, task.signature)
    views = {
        HEADS: task.prepared_for(preparation_of(frozen_parent(photos.weights, task.signature.classes), photos.side)),
        TUNED: task.prepared_for(nas.wishes_of(space, space.parent)),
    }
    target = nas.Recipe.from_mapping({**recipe.model_dump(exclude_none=True), "target": "onnxruntime-cpu:int8"})
    bench = DeviceBench(target.parsed_target, MEASURING)
    for each in (each for each in made if each.name == f"{photos.side} px"):
        view = views[each.method]
        exported = ExportedModel(each.model, partial(calibration_items, view), classifies=lambda: True)
        (deployed,) = bench.deploy([exported], [folder / each.model.stem])
        if isinstance(deployed, CandidateError):
            raise deployed
        scores = tested_by(partial(bench.outputs, deployed), view)
        error = scores["error"].value
        yield Made(f"{each.method}, {INT8}", f"{each.name} {INT8}", error, deployed.path)


def calibration_items(task: nas.Task) -> Any:
    """Return items as a model takes them, for quantising it."""
    return task.prepared(task.sample(CALIBRATION).raw)


def points_of(photos: Photos, times: Sequence[float], folder: Path, ways: Sequence[str] = tuple(WAYS)) -> list[Point]:
    """Search for each of the times in each way, make the models by hand, and measure all of them together."""
    found: list[tuple[float, float, str, Made]] = []
    for minutes in times:
        for way in ways:
            winners, took_s, evaluated = searched(photos, minutes, way, folder / "runs")
            found += [(minutes, took_s, evaluated, each) for each in winners]
    here = folder / f"{photos.name}-seed{photos.seed}"
    for earlier in ("together", "int8"):  # of a start whose models are measured again, beside new ones
        shutil.rmtree(here / earlier, ignore_errors=True)
    hand, took_s = by_hand(photos, here)
    found += [(BY_HAND, took_s, "", each) for each in (*hand, *in_int8(hand, photos, here / "int8"))]
    recipe = recipe_of(photos)
    tested_items = len(source_of(recipe, None).load().test)
    latencies = measured_in_turns([each.model for *_, each in found], recipe, MEASURING, here / "together")

    def point(minutes: float, took_s: float, evaluated: str, made: Made, latency_ms: float) -> Point:
        model = (made.method, made.name, made.error, tested_items, latency_ms)
        return Point(photos.name, photos.seed, minutes, *model, took_s, evaluated, " ".join(f"{t:g}" for t in times))

    return [point(*each, latency.median) for each, latency in zip(found, latencies, strict=True)]


# What they are beside each other


def shares(points: Sequence[Point]) -> dict[str, float]:
    """Return the hypervolume of each method's points, as a share of that of all points together."""
    return volume_shares([p.method for p in points], np.array([(p.error, p.latency_ms) for p in points]))


def behind(points: Sequence[Point], other: Point) -> float:
    """Return by how much the least error of ``points`` that are as fast as another is above the other's.

    It is infinite if none of them is as fast, but for what sessions of one model differ by.
    """
    within = [each.error for each in points if each.latency_ms <= (1 + SESSIONS_DIFFER) * other.latency_ms]
    return min(within, default=float("inf")) - other.error


def summary(points: Sequence[Point]) -> list[str]:
    """Return Markdown lines: for each time and seed the fronts, hypervolumes, and where ours is below another's."""
    lines: list[str] = []
    for study, minutes in dict.fromkeys((study_of(p), p.minutes) for p in points if p.minutes != BY_HAND):
        beside = [p for p in points if study_of(p) == study and p.minutes in (minutes, BY_HAND)]
        volumes = shares(beside)
        compared = [each for each in (OURS, IN_BOTH) if each in volumes]
        lines += ["", f"{study[0]}, seed {study[1]}, {minutes:g} minutes, {beside[0].tested:,} photos tested:", ""]
        columns = ["method", "took", "hypervolume", "test accuracy at latency"]
        lines += heading([*columns, *(f"where {each} is below" for each in compared)])
        for method, volume in volumes.items():
            own = sorted((p for p in beside if p.method == method), key=lambda p: p.latency_ms)
            shown = "; ".join(f"{1 - p.error:.1%} {p.latency_ms:.2f} ms" for p in own)
            ways = f" ({own[0].evaluated})" if own[0].evaluated else ""
            cells = [
                f"{method}{ways}",
                f"{own[0].took_s:.0f} s",
                f"{volume:.1%}",
                shown,
                *(where_below(beside, own, each) for each in compared),
            ]
            lines.append(line(cells))
        hand = shares([replace(p, method=ALL_BY_HAND) if p.minutes == BY_HAND else p for p in beside])
        lines += ["", f"All models by hand together: {hand[ALL_BY_HAND]:.1%} of the hypervolume."]
    return lines[1:]


def study_of(point: Point) -> tuple[str, int, str]:
    """Return what points have in common that were measured together: photos, seed, and times of the searches."""
    return point.photos, point.seed, point.together


def where_below(points: Sequence[Point], others: Sequence[Point], method: str) -> str:
    """Return where one of ``others`` is better than all of a method's that take no longer, and by how much."""
    ours, found = [each for each in points if each.method == method], []
    if others[0] in ours:
        return "–"
    for other in others:
        difference = behind(ours, other)
        if difference == float("inf"):
            found.append(f"none is as fast as {other.latency_ms:.2f} ms")
        elif difference > 0:
            found.append(
                f"by {100 * difference:.1f} ± {100 * other.standard_error:.1f} points at {other.latency_ms:.2f} ms"
            )
    return "; ".join(found) or "nowhere"


def kept_in(path: Path) -> list[Point]:
    """Return the points in the file of results, if there is one."""
    return [Point(**json.loads(row)) for row in path.read_text().splitlines()] if path.exists() else []


def keep(path: Path, points: Sequence[Point]) -> None:
    """Write points to the file of results, in place of earlier ones of the same photos, seed and times."""
    made_again = set(map(study_of, points))
    others = [each for each in kept_in(path) if study_of(each) not in made_again]
    nas.write_aside(path, "".join(json.dumps(asdict(each)) + "\n" for each in (*others, *points)).encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, keep a line for each model, and print the tables."""
    parser = parser_of("shrink_study", __doc__)
    parser.add_argument("--photos", nargs="+", type=named_folder, default=[], metavar="NAME=FOLDER")
    parser.add_argument("--sides", nargs="+", type=positive, default=[], help="the side of the photos of each set")
    parser.add_argument("--table", action="store_true", help="print the tables of the file of results, and run nothing")
    parser.add_argument("--minutes", nargs="+", type=float, default=[10.0, 20.0, 40.0], help="times of each search")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="how nas shrink searches")
    parser.add_argument("--seeds", type=positive, default=2, help="seeds (default: 2)")
    parser.add_argument("--weights", type=Path, default=Path("runs/desk/weights"), help="the folder of the weights")
    parser.add_argument("--folder", type=Path, default=Path("runs/shrink_study"), help="the folder of runs and models")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    given: argparse.Namespace = parser.parse_args(arguments)
    if given.table:
        print("\n".join(summary(kept_in(given.out))))
        return 0
    if not given.photos:
        parser.error("--photos needs a folder of photos, as NAME=FOLDER; --table prints what was found before.")
    if len(given.sides) != len(given.photos):
        parser.error(f"--sides needs one side for each of {len(given.photos)} sets, but got {len(given.sides)}.")
    weights = weights_in(given.weights)
    for (name, folder), side in zip(given.photos, given.sides, strict=True):
        for seed in range(given.seeds):
            found = points_of(Photos(name, folder, side, seed, weights), given.minutes, given.folder, given.ways)
            keep(given.out, found)
            print("\n".join(summary(found)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
