"""``python -m experiments.part_heads`` compares tuning of a parent's parts with fitted heads, on folders of photos.

    python -m experiments.part_heads --photos stamps=runs/desk/photos/stamps --sides 96

An EfficientNet-Lite0 with its weights from ImageNet becomes the parent as in ``nas shrink``. Parts of it then learn the
photos in three ways: tuned from the head that they inherit, also on the parent's answers; tuned from a fitted head; and
with a fitted head alone. With each seed a part is trained once in each way.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nas
from experiments.command_line import heading, line, parser_of, positive
from experiments.desk.__main__ import named_folder
from experiments.pretrained import PARENT, weights_in
from nas.recipe.ways import HEADS
from nas.results.data_of_run import source_of
from nas.searching.evaluating.parents import parent_settings
from nas.searching.shrinking import shrinking_recipe
from nas.space.architecture import Architecture
from nas.space.search_space import settle
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked
from nas.training.fitted_heads import from_fitted_head
from nas.training.inheriting import Inheritance, inheritance_of

RESULTS = Path(__file__).parent / "results" / "part_heads.jsonl"
SHARES = (0.75, 0.5)
TIME_S = 600.0
WHOLE = "the parent"


@dataclass(frozen=True)
class Row:
    """The test errors of one part on one set with one seed, by the way in which it learned."""

    photos: str
    items: int
    seed: int
    part: str
    side: int
    errors: Mapping[str, float]


def ways_of(settings: nas.TrainingSettings) -> dict[str, tuple[nas.TrainingSettings, bool]]:
    """Return by way the settings, and if a part learns from the parent too."""
    return {
        "tuned from its parent's head": (settings, True),
        "tuned from a fitted head": (replace(settings, fit_head=True), False),
        "fitted head alone": (replace(settings, **HEADS), False),
    }


def parts_of(space: Any) -> dict[str, Architecture]:
    """Return parts by name: all of the parent on smaller pictures, and fewer channels everywhere."""
    own = max(next((each.options for each in space.choices if each.name == "image_size"), (0,)))
    smaller = {f"all, {each['image_size']} of {own} px": each for each in space.first[1:] if each["image_size"] != own}

    def narrower(share: float) -> Architecture:
        is_whole = {"image_size", "features"}
        return settle(
            space,
            lambda choice: (
                choice.options[-1]
                if choice.name in is_whole or choice.name.endswith(".blocks")
                else min(choice.options, key=lambda option: abs(float(option) - share))
            ),
        )

    return smaller | {f"{share:.0%} of the channels": narrower(share) for share in SHARES}


def rows_of(name: str, folder: Path, weights: Path, side: int, seed: int) -> Iterator[Row]:
    """Make the parent, and yield a row for it and for each part."""
    keys = {"data": {"name": f"folder:{folder.absolute()}", "image_size": side}, "seed": seed, "search_time_s": TIME_S}
    recipe = shrinking_recipe(keys, f"timm:{PARENT}", weights / f"{PARENT}.safetensors")
    task = source_of(recipe, None).load()
    space: Any = nas.load_space(recipe.space.name, recipe.space.options, task.signature)
    wishes = nas.wishes_of(space, space.parent)
    settings, view = nas.training_settings(recipe), task.prepared_for(wishes)
    threads = torch.get_num_threads()

    def error_of(module: torch.nn.Module, seen: nas.Task, trainer: nas.Trainer) -> float:
        with torch_with(threads, seed):
            for _ in trainer.train(module, seen, seed):
                pass
            return nas.error_of(module.eval(), seen.test, seen)

    tuned, fitted = space.parent_module(), space.parent_module()
    as_tuned = replace(parent_settings(recipe, recipe.retraining.epochs), threads=threads, fit_head=True)
    errors = {
        "tuned from a fitted head": error_of(tuned, view, nas.Trainer(from_fitted_head(as_tuned, tuned, view))),
        "fitted head alone": error_of(fitted, view, nas.Trainer(replace(settings, **HEADS))),
    }
    yield Row(name, len(view.train), seed, WHOLE, side, errors)
    validated = [nas.error_of(each, view.validation, view) for each in (tuned, fitted)]
    parent = fitted if validated[1] <= validated[0] else tuned
    inheritance = Inheritance(space, inheritance_of(space, parent, view, wishes))
    for part, architecture in parts_of(space).items():
        seen, errors = task.prepared_for(nas.wishes_of(space, architecture)), {}
        for way, (how, is_taught) in ways_of(settings).items():
            module = build_checked(space, architecture, seen.signature)
            inheritance(architecture, module)
            teacher = inheritance.teacher() if is_taught else None
            errors[way] = error_of(
                module, seen, nas.Trainer(from_fitted_head(replace(how, threads=threads), module, seen), teacher)
            )
        yield Row(name, len(view.train), seed, part, side, errors)


def summary(rows: Sequence[Row]) -> list[str]:
    """Return a Markdown table of the mean errors over seeds."""
    ways = list(dict.fromkeys(way for row in reversed(rows) for way in row.errors))
    lines = heading(["photos", "to learn from", "part", *ways])
    for photos, items, part in dict.fromkeys((row.photos, row.items, row.part) for row in rows):
        alike = [row for row in rows if (row.photos, row.items, row.part) == (photos, items, part)]
        cells = [
            f"{100 * np.mean([row.errors[way] for row in alike]):.1f} %" if way in alike[0].errors else "–"
            for way in ways
        ]
        lines.append(line([photos, f"{items:,}", part, *cells]))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Train all parts in all ways, add a line to the results for each, and print the table."""
    parser = parser_of("part_heads", __doc__)
    parser.add_argument("--photos", nargs="+", type=named_folder, required=True, metavar="NAME=FOLDER")
    parser.add_argument("--weights", type=Path, default=Path("runs/desk/weights"), help="the folder of the weights")
    parser.add_argument("--sides", nargs="+", type=positive, required=True, help="the side of the photos of each set")
    parser.add_argument("--seeds", type=positive, default=2, help="seeds (default: 2)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file that rows are added to")
    given: argparse.Namespace = parser.parse_args(arguments)
    if len(given.sides) != len(given.photos):
        parser.error(f"--sides needs one side for each of {len(given.photos)} sets, but got {len(given.sides)}.")
    weights_in(given.weights)
    rows = []
    for (name, folder), side in zip(given.photos, given.sides, strict=True):
        for seed in range(given.seeds):
            for row in rows_of(name, folder, given.weights, side, seed):
                rows.append(row)
                with given.out.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(asdict(row)) + "\n")
                print(row, flush=True)
    print("\n".join(summary(rows)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
