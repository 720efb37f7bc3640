"""``python -m experiments.compare_end_to_end`` compares whole searches, from images to measured models.

    python -m experiments.compare_end_to_end --time 15min --seeds 3 --out FOLDER --json OUT --plot OUT.svg

For each seed four methods search one after another. ``ours`` runs the recipe without its limits. ``nsga2`` is Ray Tune
with Optuna's NSGA-II on trained error and timed latency, without a predictor or early stopping. ``random`` is random
search. ``scaled`` trains a family of the same space, scaled by a width and a depth multiplier.

Ours begins no training after the time limit, but then measures its front. So the others may begin trainings for as long
as ours took with measuring. The winners of every method are chosen, retrained, exported, measured and tested in the
same way. The winners of a seed are measured together.

The script prints each front and the hypervolumes of test error and measured latency. The reference point is 1.1 times
the worst winner of the seed, and the unit is per cent of the hypervolume of all winners together. ``--plot`` draws the
fronts.

The script skips what FOLDER already holds, so it may be interrupted. With ``--search-only`` it leaves retraining and
measuring for a later start. Run all searches of a seed on one machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from experiments.command_line import names, parser_of, positive
from experiments.end_to_end.fronts import plot, report
from experiments.end_to_end.measuring import MeasuredWinner, measure
from experiments.end_to_end.searching import METHODS, Chosen, choices_of
from experiments.end_to_end.seed_folder import SeedFolder
from nas.errors import RecipeError
from nas.hardware.machine import processor_name
from nas.recipe.recipe import Recipe, read_recipe
from nas.storage.journal import write_aside


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, retrain and measure for each seed, then print the fronts and write the files."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = set(options.methods) - set(METHODS)
    if unknown:
        parser.error(f"--methods must be among {', '.join(METHODS)}, but got {unknown.pop()!r}.")
    try:
        # The time ends every search. With this many trials, measuring has the defaults of large searches.
        recipe = read_recipe(options.recipe, ["trials=10000", f"search_time_s={json.dumps(options.time)}"])
    except RecipeError as error:
        parser.error(str(error))
    by_seed: dict[int, tuple[list[Chosen], list[MeasuredWinner]]] = {}
    for seed in range(options.seeds):
        seeded = Recipe.from_mapping({**recipe.model_dump(exclude_none=True), "seed": seed})
        try:
            setting = SeedFolder(seeded, options.out / f"seed{seed}")
        except RecipeError as error:
            parser.error(str(error))
        choices = choices_of(setting, options.methods)
        if options.search_only:
            continue
        by_seed[seed] = (choices, measure(setting, choices))
    if options.search_only:
        return 0
    print("\n".join(report(by_seed)))
    if options.json is not None:
        write_aside(options.json, json.dumps(_figures(recipe, by_seed), indent=1).encode())
    if options.plot is not None:
        plot(by_seed, options.plot)
    return 0


def _figures(
    recipe: Recipe, by_seed: Mapping[int, tuple[Sequence[Chosen], Sequence[MeasuredWinner]]]
) -> dict[str, object]:
    """Return the content of the JSON file."""
    return {
        "time_s": recipe.search_time_s,
        "recipe": recipe.to_toml(),
        "processor": processor_name(),
        "python": platform.python_version(),
        "seeds": {
            seed: {"choices": [asdict(c) for c in choices], "measured": [asdict(m) for m in measured]}
            for seed, (choices, measured) in by_seed.items()
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("compare_end_to_end", __doc__)
    parser.add_argument(
        "--recipe",
        type=Path,
        default=Path("experiments/end_to_end.toml"),
        help="the recipe of ours; default: experiments/end_to_end.toml",
    )
    parser.add_argument("--time", default="15min", help="time of each search; default: 15min")
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds, counted from 0")
    parser.add_argument(
        "--methods", type=names, default=METHODS, help=f"names from {', '.join(METHODS)}, separated by commas"
    )
    parser.add_argument("--search-only", action="store_true", help="leave retraining and measuring for a later start")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for searches and models")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file for all results")
    parser.add_argument("--plot", type=Path, metavar="OUT.svg", help="file for the plot of the fronts")
    return parser


if __name__ == "__main__":
    sys.exit(main())
