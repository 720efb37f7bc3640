"""``python -m experiments.early_stopping_taskset`` finds out what stopping by one objective saves and loses on TaskSet.

    python -m experiments.early_stopping_taskset --table TABLE --seeds 3

The table has the validation losses of trainings of text classifiers, each with other settings of the optimiser. For
each task and seed they begin in another order, one after the other. The script prints for each rule how many times
fewer steps it needs than all whole trainings, how far the best last loss that it sees is above the best of all, and in
how many cases that is more than 1 %. The rules are that of a search without costs, Hyperband of Optuna, and ASHA of
Syne Tune where it is installed.
"""

from __future__ import annotations

import csv
import gzip
import math
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import optuna

from experiments.command_line import heading, line, parser_of, positive
from experiments.early_stopping_replay import HalvingRule, ProductRule, Rule, Training, replay
from nas.recipe.toml_text import apply_overrides
from nas.recipe.training_sections import EarlyStoppingRecipe
from nas.training.early_stopping import RungTrust

NOT_FINITE = 10.0
"""What stands for a loss that is not finite: more than that of guessing, which is 0.7."""
MUCH = 0.01
"""The share above the best last loss from which a case counts as lost."""


class HyperbandRule:
    """Hyperband of Optuna, with its defaults."""

    trust: RungTrust | None = None

    def __init__(self, steps: int) -> None:
        pruner = optuna.pruners.HyperbandPruner(1, steps)
        sampler = optuna.samplers.RandomSampler(0)
        # Brackets follow from the name.
        self._study = optuna.create_study(sampler=sampler, pruner=pruner, study_name="taskset")
        self._trials: dict[int, optuna.Trial] = {}

    def report(self, index: int, training: Training, epoch: int) -> bool:
        """Take the error after a step, and return True if the training continues."""
        if index not in self._trials:
            self._trials[index] = self._study.ask()
        trial = self._trials[index]
        trial.report(training.curve[epoch - 1], epoch)
        last = epoch == len(training.curve)
        if last:
            self._study.tell(trial, training.curve[-1])
        elif trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return False
        return True

    def end(self, training: Training) -> None:
        """Learn nothing: the study has been told."""


def read_curves(path: Path) -> dict[str, list[Training]]:
    """Return the trainings of each task of a table with the columns ``task`` and ``valid_loss_0``, ``valid_loss_1``, …

    The first loss, before any step, is left out.
    """
    found: dict[str, list[Training]] = {}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            texts = [text for name, text in row.items() if name.startswith("valid_loss_")][1:]
            losses = [float(text or "nan") for text in texts]
            curve = tuple(loss if math.isfinite(loss) else NOT_FINITE for loss in losses)
            found.setdefault(row["task"], []).append(Training(curve, 1.0, 1.0))
    return found


def scored(trainings: Sequence[Training], rule: Rule, seed: int) -> tuple[float, float]:
    """Return how many times fewer steps a rule needs, and how far its best last loss is above that of all, as a share.

    The order of the trainings follows from the seed.
    """
    order = np.random.default_rng(seed).permutation(len(trainings)).tolist()
    epochs = replay(trainings, order, 1, rule).epochs
    steps = len(trainings[0].curve)
    lasts = [training.curve[-1] for training, reached in zip(trainings, epochs, strict=True) if reached == steps]
    best = min(training.curve[-1] for training in trainings)
    return steps * len(trainings) / sum(epochs), min(lasts, default=NOT_FINITE) / best - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each rule."""
    parser = parser_of("early_stopping_taskset", __doc__)
    parser.add_argument("--table", type=Path, required=True, help="the table, a CSV file compressed by gzip")
    parser.add_argument("--seeds", type=positive, default=3, help="orders of each task")
    parser.add_argument("--first", type=positive, help="only the first trainings of each task")
    parser.add_argument("--early-stopping", action="append", default=[], metavar="KEY=VALUE", help="a key of the rule")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = EarlyStoppingRecipe(**apply_overrides({}, options.early_stopping))
    tasks = {task: trainings[: options.first] for task, trainings in read_curves(options.table).items()}
    steps = len(next(iter(tasks.values()))[0].curve)
    rules: dict[str, Callable[[], Rule]] = {
        "early_stopping": lambda: ProductRule(settings, steps, costs=False),
        "Hyperband of Optuna": lambda: HyperbandRule(steps),
    }
    if find_spec("syne_tune"):
        rules["ASHA of Syne Tune"] = lambda: HalvingRule(steps, costs=False)
    print("\n".join(heading(["rule", "times fewer steps", "above the best, %", "more than 1 %", "at a fifth or less"])))
    for name, rule in rules.items():
        cases = [scored(trainings, rule(), seed) for trainings in tasks.values() for seed in range(options.seeds)]
        ratios, above = (np.array(column) for column in zip(*cases, strict=True))
        cells = (
            f"{np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})",
            f"{100 * above.mean():.2f} (at most {100 * above.max():.1f})",
            f"{(above > MUCH).sum()} of {len(cases)}",
            f"{(ratios >= 5).sum()} of {len(cases)}",
        )
        print(line((name, *cells)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
