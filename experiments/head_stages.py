"""Heads on frozen features: of the last features alone, and of the means of all stages.

For each folder of photos and each side, all photos are divided ten times, a fifth is tested, and both heads are fitted
to the rest. The table gives both mean errors, and their difference with its standard error over the divisions.
With ``--parts``, the same for parts of the model at the highest side, which inherit its weights as in ``nas shrink``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import StratifiedShuffleSplit
from threadpoolctl import threadpool_limits

import nas
from experiments.command_line import parser_of
from experiments.desk.__main__ import named_folder
from experiments.desk.data_sets import SIZES
from experiments.desk.simple_models import prepared_items
from experiments.part_heads import WHOLE, parts_of
from experiments.pretrained import PARENT, weights_in
from nas.recipe.ways import HEADS
from nas.results.data_of_run import source_of
from nas.searching.shrinking import shrinking_recipe
from nas.space.parts.own_inputs import wishes_of
from nas.space.tracing import build_checked
from nas.tasks.criteria import Classification
from nas.training.fitted_heads import features_of as seen_by_head
from nas.training.inheriting import Inheritance, inheritance_of
from nas.training.regressions import regression
from search_spaces.timm_stages import WithStages
from search_spaces.timm_zoo import TimmZoo

RESULTS = Path(__file__).parent / "results" / "head_stages.jsonl"
DIVISIONS, SHARE, SEED = 10, 0.2, 2
TOGETHER = 64
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """The mean errors of both heads on one set at one side, their difference, and its standard error.

    With parts, the side is that of all photos, and a part may see them smaller.
    """

    photos: str
    side: int
    last: float
    stages: float
    difference: float
    standard_error: float
    part: str = WHOLE


def main() -> None:
    """Fit all heads, and add a line to the results for each set and side."""
    parser = parser_of("head_stages", __doc__)
    parser.add_argument("--photos", nargs="+", type=named_folder, required=True, metavar="NAME=FOLDER")
    parser.add_argument("--weights", type=Path, default=Path("runs/desk/weights"), help="the folder of the weights")
    parser.add_argument("--sides", nargs="+", type=int, default=SIZES, help="sides of photos in pixels")
    parser.add_argument("--parts", action="store_true", help="compare heads of parts instead, at the highest side")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file that rows are added to")
    options: argparse.Namespace = parser.parse_args()
    weights_in(options.weights)
    print("| photos | side | part | last features | all stages | difference |\n|---|---|---|---|---|---|")
    for name, folder in options.photos:
        if options.parts:
            rows = rows_of_parts(name, folder, options.weights, max(options.sides))
        else:
            rows = rows_of(name, folder, options.weights, options.sides)
        for row in rows:
            with options.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
            percent = [f"{100 * value:.2f} %" for value in (row.last, row.stages)]
            difference = f"{100 * row.difference:+.2f} ± {100 * row.standard_error:.2f}"
            print(f"| {name} | {row.side} | {row.part} | {' | '.join(percent)} | {difference} |", flush=True)


def rows_of(name: str, folder: Path, weights: Path, sides: list[int]) -> Iterator[Row]:
    """Yield a row for each side."""
    task = nas.DataSource(name=f"folder:{folder.absolute()}", task="images").load()
    channels, height, width = task.signature.inputs[0].shape
    space = TimmZoo(
        (channels, height, width),
        task.signature.classes,
        models=[PARENT],
        weights=str(weights),
        resolutions=list(sides),
    )
    for architecture in [each for each in space.first if each["features"] == "stages"]:
        module = space.build(architecture)
        space.start(architecture, module)
        assert isinstance(module, WithStages)
        prepared = task.prepared_for(wishes_of(space, architecture))
        pictures, labels = prepared_items(prepared, prepared.train, prepared.validation, prepared.test)
        features, targets = features_of(module.eval(), torch.from_numpy(pictures)), torch.from_numpy(labels).long()
        before = features.shape[1] - maps_of(module, torch.from_numpy(pictures[:1]))
        errors = np.array([errors_of_heads(features, before, targets, number) for number in range(DIVISIONS)])
        last, stages = errors.mean(axis=0)
        spread = float((errors[:, 1] - errors[:, 0]).std(ddof=1) / DIVISIONS**0.5)
        yield Row(name, int(architecture["resolution"]), float(last), float(stages), float(stages - last), spread)


def rows_of_parts(name: str, folder: Path, weights: Path, side: int) -> Iterator[Row]:
    """Yield a row for the parent of ``nas shrink``, and for each part. A form with a head of each kind has its own."""
    keys = {"data": {"name": f"folder:{folder.absolute()}", "image_size": side}, "seed": SEED}
    recipe = shrinking_recipe(keys, f"timm:{PARENT}", weights / f"{PARENT}.safetensors")
    task = source_of(recipe, None).load()
    errors: dict[str, dict[str, FloatArray]] = {}
    for features in ("last", "stages"):
        options = {**recipe.space.options, "features": features}
        space: Any = nas.load_space(recipe.space.name, options, task.signature)
        wishes = nas.wishes_of(space, space.parent)
        parent, view = space.parent_module(), task.prepared_for(wishes)
        for _ in nas.Trainer(replace(nas.training_settings(recipe), **HEADS)).train(parent, view, SEED):
            pass
        inheritance = Inheritance(space, inheritance_of(space, parent, view, wishes))
        for part, architecture in {WHOLE: space.parent, **parts_of(space)}.items():
            seen = task.prepared_for(nas.wishes_of(space, architecture))
            module = build_checked(space, architecture, seen.signature)
            inheritance(architecture, module)
            found = [
                seen_by_head(module, items, seen, torch.device("cpu"))
                for items in (seen.train, seen.validation, seen.test)
            ]
            seen_features, targets = (torch.cat(each) for each in zip(*filter(None, found), strict=True))
            of_part = [errors_of_heads(seen_features, None, targets, number)[0] for number in range(DIVISIONS)]
            errors.setdefault(part, {})[features] = np.array(of_part)
    for part, (last, stages) in ((part, each.values()) for part, each in errors.items()):
        difference = stages - last
        spread = float(difference.std(ddof=1) / DIVISIONS**0.5)
        yield Row(name, side, float(last.mean()), float(stages.mean()), float(difference.mean()), spread, part)


def features_of(module: WithStages, pictures: torch.Tensor) -> torch.Tensor:
    """Return what the head sees, (N, features)."""
    with torch.inference_mode():
        return torch.cat([module.features(pictures[at : at + TOGETHER]) for at in range(0, len(pictures), TOGETHER)])


def maps_of(module: WithStages, pictures: torch.Tensor) -> int:
    """Return how many of the features are means of stages; they come last."""
    with torch.inference_mode():
        _, maps = module.body.forward_intermediates(pictures)  # type: ignore[operator]
    return sum(each.shape[1] for each in maps)


def errors_of_heads(features: torch.Tensor, width: int | None, targets: torch.Tensor, number: int) -> list[float]:
    """Return the test errors of heads in the division of a number: of the first ``width`` features if given, of all."""
    divided = StratifiedShuffleSplit(DIVISIONS, test_size=SHARE, random_state=SEED).split(targets, targets)
    fitted, tested = list(divided)[number]
    errors = []
    for seen in (*([] if width is None else [features[:, :width]]), features):
        with threadpool_limits(1):
            head = regression(seen[fitted], targets[fitted], Classification(int(targets.max()) + 1), number)
        answers = head(seen[tested].double().numpy()).argmax(axis=1)
        errors.append(float((answers != targets[tested].numpy()).mean()))
    return errors


if __name__ == "__main__":
    main()
