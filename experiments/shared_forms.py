"""``python -m experiments.shared_forms`` shows what one tuning for all forms of a parent costs, and how it ranks them.

    python -m experiments.shared_forms timm:tf_efficientnet_lite0 --weights WEIGHTS --data folder:photos --folder OUT

For each seed, ``nas shrink --evaluate supernet`` tunes weights that all forms of the parent share, tunes a few forms
alone, and scores many. The few are tuned once more by another seed. Kendall's tau compares the shared errors with those
of both seeds; that of the two seeds is the ceiling. The best of the many are tuned on from the shared weights, for a
few epochs, and tested beside the few: which hypervolume of error and MACs do they have?
A parent without weights is trained first with ``--parent-epochs``, on the same training items.
Times are core-seconds: those of all cores together. A run that is in the folder already goes on, or is read.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

import nas
from experiments.beside_winners import volume_shares
from experiments.command_line import heading, line, parser_of, positive
from nas.hardware.machine import usable_cores
from nas.results.data_of_run import source_of
from nas.searching.shrinking import shrinking_recipe
from nas.space.architecture import Architecture
from nas.space.tracing import build_checked
from nas.storage.journal import RECIPE, JournalReader
from nas.storage.journal_rows import SupernetTrained
from nas.storage.run_files import PARENT_WEIGHTS, SUPERNET_WEIGHTS
from nas.tasks.batches import in_order
from nas.training.inheriting import Inheritance
from nas.training.modules import metrics_on
from nas.training.settings import training_seed
from nas.values.evaluation import Evaluation
from nas.values.pareto import non_dominated
from nas.values.rank_correlation import rank_correlation

ANOTHER_SEED = 7919
"""Added to the seed of a training, so that the same form is tuned once more."""
MOST_WINNERS, TUNED_ON_EPOCHS = 8, 3
LOSSES_TOGETHER = 128
ALONE, SHARED = "alone", "shared"
RANKS = ("seed", "forms tuned alone", "τ with them", "with another seed", "of both seeds", "τ of losses")


@dataclass(frozen=True)
class Found:
    """What was found with one seed.

    Errors are those of the same forms, in the same order: with shared weights, tuned alone, and once more. So are the
    mean losses of the validation items with shared weights, which tell forms of equal errors apart. Times are in
    core-seconds: of the shared tuning, of scoring all forms, of the trainings alone, and of tuning the best ones on
    from the shared weights. ``forms`` were scored. Points are test errors with MACs: of the forms tuned alone, and of
    the best ones.
    """

    seed: int
    shared: tuple[float, ...]
    losses: tuple[float, ...]
    alone: tuple[float, ...]
    again: tuple[float, ...]
    tuning_s: float
    scoring_s: float
    alone_s: float
    tuning_on_s: float
    forms: int
    points_alone: tuple[tuple[float, float], ...]
    points_shared: tuple[tuple[float, float], ...]

    @property
    def volume(self) -> float:
        """The hypervolume of the best forms with shared weights, as a share of that of the forms tuned alone."""
        methods = [ALONE] * len(self.points_alone) + [SHARED] * len(self.points_shared)
        shares = volume_shares(methods, np.array([*self.points_alone, *self.points_shared]))
        return shares[SHARED] / shares[ALONE]

    @property
    def taus(self) -> tuple[float, float, float]:
        """Kendall's tau of shared errors with those of each seed, and of these two with each other."""
        return kendall(self.shared, self.alone), kendall(self.shared, self.again), kendall(self.alone, self.again)

    @property
    def tau_of_losses(self) -> float:
        """Kendall's tau of losses with the errors of a seed: the mean of both seeds."""
        return (kendall(self.losses, self.alone) + kendall(self.losses, self.again)) / 2


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Kendall's tau, or NaN if there are too few values for one."""
    found = rank_correlation(first, second)
    return float("nan") if found is None else found.kendall


def recipe_of(seed: int, data: Mapping[str, Any], alone: int, epochs: tuple[int, int], forms: int) -> dict[str, Any]:
    """Return the keys of a run without measurements. ``epochs`` are those of the shared tuning, and of one alone."""
    return {
        "name": f"seed{seed}",
        "seed": seed,
        "data": data,
        "objectives": ["error", "macs"],
        "precisions": [],
        "evaluate": "supernet",
        "trials": forms,
        "rounds": 1,
        "training": {"epochs": epochs[1]},
        "supernet": {"epochs": epochs[0], "check": alone},
        "retraining": {"winners": 1, "epochs": TUNED_ON_EPOCHS},
        "execution": {"executor": "inline"},
    }


def trained_first(keys: Mapping[str, Any], parent: str, epochs: int, path: Path) -> Path:
    """Train a parent from random weights, with the rates of a search from scratch, and return the file of its weights.

    What is in the file already is not made again.
    """
    if path.is_file():
        return path
    recipe = shrinking_recipe({**keys, "space": {"features": "last"}}, parent)
    task = source_of(recipe, None).load()
    space: Any = nas.load_space(recipe.space.name, recipe.space.options, task.signature)
    view = task.prepared_for(nas.wishes_of(space, space.parent))
    settings = replace(nas.training_settings(nas.Recipe.from_mapping({"data": keys["data"]})), epochs=epochs)
    module = space.parent_module()
    for report in nas.Trainer(settings).train(module, view, recipe.seed):
        print(f"parent, epoch {report['epoch']} of {epochs}: error {report['error']:.1%}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    nas.write_aside(path, save({name: each.contiguous() for name, each in module.state_dict().items()}))
    return path


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
    scoring = nas.SharedEvaluation(space, source, shared, images, "cpu", 1, keeps_weights=True)
    training = nas.CandidateTraining(
        space, source, nas.training_settings(recipe, keep_weights=True), inheritance=inheritance
    )
    tuning_on = replace(
        training, settings=replace(training.settings, epochs=TUNED_ON_EPOCHS, fit_head=False), start=shared
    )
    few = [row for row in rows if row.stage == "check" and not row.failed]
    scored = [row for row in rows if row.stage == "train" and row.by == "supernet" and not row.failed]

    def last_report(work: Any, architecture: Architecture) -> Mapping[str, Any]:
        seed = training_seed(recipe, architecture) + ANOTHER_SEED
        *_, report = work({"id": architecture.id, "architecture": dict(architecture), "seed": seed})
        return dict(report)

    def test_error(architecture: Architecture, weights: bytes) -> float:
        module, task = made(scoring, architecture, weights)
        return float(metrics_on(module, task.test, task, torch.device("cpu"))["error"])

    best = best_of(scored)
    of_few = [last_report(scoring, row.architecture) for row in few]
    again, tuned_on = (
        [last_report(work, each.architecture) for each in of] for work, of in ((training, few), (tuning_on, best))
    )

    def points(of: Sequence[Evaluation], reports: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float], ...]:
        tested = zip(of, reports, strict=True)
        return tuple((test_error(row.architecture, each["weights"]), row.values["macs"]) for row, each in tested)

    return Found(
        seed=recipe.seed,
        shared=tuple(float(each["error"]) for each in of_few),
        losses=tuple(
            mean_loss(*made(scoring, row.architecture, each["weights"])) for row, each in zip(few, of_few, strict=True)
        ),
        alone=tuple(row.values["error"] for row in few),
        again=tuple(float(each["error"]) for each in again),
        tuning_s=trained.seconds * usable_cores(),
        scoring_s=sum(row.details["seconds"] for row in scored),
        alone_s=sum(row.details["seconds"] for row in few),
        tuning_on_s=sum(each["seconds"] for each in tuned_on),
        forms=len(scored),
        points_alone=points(few, again),
        points_shared=points(best, tuned_on),
    )


def made(scoring: nas.SharedEvaluation, architecture: Architecture, weights: bytes) -> tuple[torch.nn.Module, nas.Task]:
    """Return the module of an architecture with its weights, and the task as it wishes to see it."""
    task = scoring.source.load().prepared_for(nas.wishes_of(scoring.space, architecture))
    module = build_checked(scoring.space, architecture, task.signature)
    module.load_state_dict(load(weights))
    return module.eval(), task


def mean_loss(module: torch.nn.Module, task: nas.Task) -> float:
    """Return the mean loss of the validation items."""
    total = 0.0
    with torch.inference_mode():
        for batch in in_order(task.validation, LOSSES_TOGETHER):
            outputs = module(*task.inputs_of(batch.raw))
            total += len(batch.targets) * task.criterion.loss(outputs, batch.targets, 0.0).item()
    return total / len(task.validation)


def best_of(scored: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the forms on the front of error and MACs; of more than eight, as many that are spread over it."""
    is_best = non_dominated(np.array([(row.values["error"], row.values["macs"]) for row in scored]))
    front = sorted((row for row, best in zip(scored, is_best, strict=True) if best), key=lambda row: row.values["macs"])
    places = np.unique(np.linspace(0, len(front) - 1, min(MOST_WINNERS, len(front))).round().astype(int))
    return [front[place] for place in places]


def summary(found: Sequence[Found]) -> list[str]:
    """Return Markdown tables of the times and of the ranks."""
    lines = heading(["seed", "forms scored", "shared tuning", "scoring", "scoring / tuning", "a training alone"])
    for each in found:
        share, alone_s = each.scoring_s / each.tuning_s, each.alone_s / max(1, len(each.alone))
        times = (f"{each.tuning_s:.0f} s", f"{each.scoring_s:.0f} s", f"{share:.2f}", f"{alone_s:.1f} s")
        lines.append(line([str(each.seed), str(each.forms), *times]))
    lines += ["", *heading(RANKS)]
    for each in found:
        taus = (f"{tau:.2f}" for tau in (*each.taus, each.tau_of_losses))
        lines.append(line([str(each.seed), str(len(each.alone)), *taus]))
    lines += [
        "",
        *heading(["seed", "forms tuned on", "their hypervolume beside those alone", "their time beside theirs"]),
    ]
    for each in found:
        took = (each.tuning_s + each.scoring_s + each.tuning_on_s) / each.alone_s
        lines.append(line([str(each.seed), str(len(each.points_shared)), f"{each.volume:.1%}", f"{took:.0%}"]))
    shares = [(first + second) / 2 / ceiling for first, second, ceiling in (each.taus for each in found) if ceiling > 0]
    if shares:
        by_losses = statistics.mean(each.tau_of_losses / each.taus[2] for each in found if each.taus[2] > 0)
        told = f"Shared errors reach {statistics.mean(shares):.0%} of the τ that two seeds have"
        lines += ["", f"{told}, and losses {by_losses:.0%}."]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all seeds, keep what was found, and print the tables."""
    parser = parser_of("shared_forms", __doc__)
    parser.add_argument("parent", help="the parent, as nas shrink takes it")
    parser.add_argument("--weights", type=Path, help="the file of its weights")
    parser.add_argument("--parent-epochs", type=positive, help="train the parent first, for so many epochs")
    parser.add_argument("--data", default="digits", help="the data (default: digits)")
    parser.add_argument("--image-size", type=positive, help="the side of pictures in pixels")
    parser.add_argument("--alone", type=positive, default=20, help="forms that are tuned alone (default: 20)")
    parser.add_argument("--epochs", type=positive, default=12, help="epochs of the shared tuning (default: 12)")
    parser.add_argument("--alone-epochs", type=positive, default=12, help="epochs of a form alone (default: 12)")
    parser.add_argument("--forms", type=positive, default=1000, help="forms to score (default: 1000)")
    parser.add_argument("--seeds", type=positive, default=2, help="seeds (default: 2)")
    parser.add_argument("--folder", type=Path, required=True, help="keep the runs here, and go on with what is there")
    parser.add_argument("--out", type=Path, help="the file of results, as JSON")
    given = parser.parse_args(arguments)
    if given.weights is not None and given.parent_epochs is not None:
        parser.error("--parent-epochs trains a parent without weights, but --weights gives it some. Leave out one.")
    size = {} if given.image_size is None else {"image_size": given.image_size}
    data, found = {"name": given.data, **size}, []
    for seed in range(given.seeds):
        keys = recipe_of(seed, data, given.alone, (given.epochs, given.alone_epochs), given.forms)
        weights = given.weights
        if given.parent_epochs is not None:
            path = given.folder / f"parent-seed{seed}.safetensors"
            weights = trained_first(keys, given.parent, given.parent_epochs, path)
            keys["space"] = {"preparation": {}}  # pictures as that training saw them, and not as timm's weights do
        found.append(of_seed(keys, given.parent, weights, given.folder))
    if given.out is not None:
        nas.write_aside(given.out, (json.dumps([asdict(each) for each in found], indent=1) + "\n").encode())
    print("\n".join(summary(found)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
