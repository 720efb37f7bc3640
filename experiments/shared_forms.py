"""``python -m experiments.shared_forms`` shows what one tuning for all forms of a parent costs, and how it ranks them.

    python -m experiments.shared_forms timm:tf_efficientnet_lite0 --weights WEIGHTS --data folder:photos --folder OUT

For each seed, ``nas shrink --evaluate supernet`` tunes weights that all forms of the parent share, tunes a few forms
alone, and scores many. The few are tuned once more by another seed. Kendall's tau compares the shared errors with those
of both seeds; that of the two seeds is the ceiling. Times are core-seconds: those of all cores together.
A run that is in the folder already goes on, or is read.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nas
from experiments.command_line import heading, line, parser_of, positive
from nas.hardware.machine import usable_cores
from nas.results.data_of_run import source_of
from nas.space.architecture import Architecture
from nas.storage.journal import RECIPE, JournalReader
from nas.storage.journal_rows import SupernetTrained
from nas.storage.run_files import PARENT_WEIGHTS, SUPERNET_WEIGHTS
from nas.training.inheriting import Inheritance
from nas.training.settings import training_seed
from nas.values.evaluation import Evaluation
from nas.values.rank_correlation import rank_correlation

ANOTHER_SEED = 7919
"""Added to the seed of a training, so that the same form is tuned once more."""


@dataclass(frozen=True)
class Found:
    """What was found with one seed.

    Errors are those of the same forms, in the same order: with shared weights, tuned alone, and once more. Times are in
    core-seconds: of the shared tuning, of scoring all forms, and of the trainings alone. ``forms`` were scored.
    """

    seed: int
    shared: tuple[float, ...]
    alone: tuple[float, ...]
    again: tuple[float, ...]
    tuning_s: float
    scoring_s: float
    alone_s: float
    forms: int

    @property
    def taus(self) -> tuple[float, float, float]:
        """Kendall's tau of shared errors with those of each seed, and of these two with each other."""
        pairs = (self.shared, self.alone), (self.shared, self.again), (self.alone, self.again)
        found = [rank_correlation(*pair) for pair in pairs]
        first, second, ceiling = (float("nan") if each is None else each.kendall for each in found)
        return first, second, ceiling


def recipe_of(seed: int, data: str, image_size: int | None, alone: int, epochs: int, forms: int) -> dict[str, Any]:
    """Return the keys of the run of one seed. Nothing is measured: sizes are counted."""
    size = {} if image_size is None else {"image_size": image_size}
    return {
        "name": f"seed{seed}",
        "seed": seed,
        "data": {"name": data, **size},
        "objectives": ["error", "macs"],
        "evaluate": "supernet",
        "trials": forms,
        "rounds": 1,
        "supernet": {"epochs": epochs, "check": alone},
        "retraining": {"winners": 1, "epochs": 3},
        "execution": {"executor": "inline"},
    }


def of_seed(keys: Mapping[str, Any], parent: str, weights: Path | None, folder: Path) -> Found:
    """Run, go on with, or read the run of a seed, and tune its few forms once more."""
    run = folder / str(keys["name"])
    if (run / RECIPE).is_file():
        nas.resume(run)
    else:
        nas.shrink(parent, dict(keys), weights=weights, runs=folder)
    with JournalReader(run) as journal:
        rows, (trained, *_) = journal.rows(Evaluation), journal.rows(SupernetTrained)
    recipe = nas.read_recipe(run / RECIPE)
    source = source_of(recipe, None)
    space = nas.load_space(recipe.space.name, recipe.space.options, source.load().signature)
    inheritance = Inheritance(space, (run / PARENT_WEIGHTS).read_bytes())
    shared = nas.SharedWeights(space, (run / SUPERNET_WEIGHTS).read_bytes(), inheritance)
    images = recipe.supernet.recalibration_images
    scoring = nas.SharedEvaluation(space, source, shared, images, "cpu", 1)
    training = nas.CandidateTraining(space, source, nas.training_settings(recipe), inheritance=inheritance)
    few = [row for row in rows if row.stage == "check" and not row.failed]
    scored = [row for row in rows if row.stage == "train" and row.by == "supernet" and not row.failed]

    def last_error(work: Any, architecture: Architecture) -> float:
        seed = training_seed(recipe, architecture) + ANOTHER_SEED
        *_, report = work({"id": architecture.id, "architecture": dict(architecture), "seed": seed})
        return float(report["error"])

    return Found(
        recipe.seed,
        tuple(last_error(scoring, row.architecture) for row in few),
        tuple(row.values["error"] for row in few),
        tuple(last_error(training, row.architecture) for row in few),
        trained.seconds * usable_cores(),
        sum(row.details["seconds"] for row in scored),
        sum(row.details["seconds"] for row in few),
        len(scored),
    )


def summary(found: Sequence[Found]) -> list[str]:
    """Return Markdown tables of the times and of the ranks."""
    lines = heading(["seed", "forms scored", "shared tuning", "scoring", "scoring / tuning", "a training alone"])
    for each in found:
        share, alone_s = each.scoring_s / each.tuning_s, each.alone_s / max(1, len(each.alone))
        times = (f"{each.tuning_s:.0f} s", f"{each.scoring_s:.0f} s", f"{share:.2f}", f"{alone_s:.1f} s")
        lines.append(line([str(each.seed), str(each.forms), *times]))
    lines += ["", *heading(["seed", "forms tuned alone", "τ with them", "with another seed", "of both seeds"])]
    for each in found:
        lines.append(line([str(each.seed), str(len(each.alone)), *(f"{tau:.2f}" for tau in each.taus)]))
    shares = [(first + second) / 2 / ceiling for first, second, ceiling in (each.taus for each in found) if ceiling > 0]
    if shares:
        lines += ["", f"Shared errors reach {statistics.mean(shares):.0%} of the τ that two seeds have."]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds, keep what was found, and print the tables."""
    parser = parser_of("shared_forms", __doc__)
    parser.add_argument("parent", help="the parent, as nas shrink takes it")
    parser.add_argument("--weights", type=Path, help="the file of its weights")
    parser.add_argument("--data", default="digits", help="the data (default: digits)")
    parser.add_argument("--image-size", type=positive, help="the side of pictures in pixels")
    parser.add_argument("--alone", type=positive, default=20, help="forms that are tuned alone (default: 20)")
    parser.add_argument("--epochs", type=positive, default=12, help="epochs of the shared tuning (default: 12)")
    parser.add_argument("--forms", type=positive, default=1000, help="forms to score (default: 1000)")
    parser.add_argument("--seeds", type=positive, default=2, help="seeds (default: 2)")
    parser.add_argument("--folder", type=Path, required=True, help="keep the runs here, and go on with what is there")
    parser.add_argument("--out", type=Path, help="the file of results, as JSON")
    given = parser.parse_args(arguments)
    found = []
    for seed in range(given.seeds):
        keys = recipe_of(seed, given.data, given.image_size, given.alone, given.epochs, given.forms)
        found.append(of_seed(keys, given.parent, given.weights, given.folder))
    if given.out is not None:
        nas.write_aside(given.out, (json.dumps([asdict(each) for each in found], indent=1) + "\n").encode())
    print("\n".join(summary(found)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
