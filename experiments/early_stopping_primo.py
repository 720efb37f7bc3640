"""``python -m experiments.early_stopping_primo`` finds out what PriMO loses that trains as much as a rule that stops.

    NAS_PRIMO_PYTHON=primo/bin/python python -m experiments.early_stopping_primo --set SET.jsonl

PriMO of NePS (Basu et al. 2025) is no rule for the trainings of another search: it begins with multi-objective
successive halving of random candidates, whose trainings pause and go on, and then proposes whole trainings itself. So
it searches among the recorded trainings of a set. Each of its proposals becomes the nearest of them that it has not
had, by the number of choices that differ. The script prints the hypervolume that its whole trainings lack with
3, 4 and 5 times fewer epochs than all of the set take, beside the rule of a search in shuffled orders.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.command_line import heading, line, parser_of, positive
from experiments.early_stopping import KEPT, read_set, trainings_of
from experiments.early_stopping_replay import ProductRule, Training, orders, replay, score
from experiments.searchers.by_name import PRIMO_PYTHON, check_searcher
from experiments.searchers.primo_searcher import PrimoProcess
from nas.errors import RecipeError
from nas.recipe.training_sections import EarlyStoppingRecipe

FEWER = (3.0, 4.0, 5.0)
"""How many times fewer epochs than all trainings of a set take."""


class Candidates:
    """The recorded architectures as indexes of options. A choice that an architecture lacks has an option for that."""

    def __init__(self, architectures: Sequence[dict[str, Any]]) -> None:
        names = list(dict.fromkeys(name for each in architectures for name in each))
        options = {name: list(dict.fromkeys(each.get(name) for each in architectures)) for name in names}
        self.options = {name: found for name, found in options.items() if len(found) > 1}
        self._indexes = np.array(
            [[found.index(each.get(name)) for name, found in self.options.items()] for each in architectures]
        )
        self._of: dict[tuple[int, ...], int] = {}

    def nearest(self, config: dict[str, int]) -> int | None:
        """Return the place of the training for a proposal: that of before, or the nearest one that nothing has had."""
        wanted = tuple(config[name] for name in self.options)
        if wanted not in self._of:
            free = [place for place in range(len(self._indexes)) if place not in self._of.values()]
            if not free:
                return None
            differences = (self._indexes[free] != np.array(wanted)).sum(axis=1)
            self._of[wanted] = free[int(differences.argmin())]
        return self._of[wanted]


def primo(
    trainings: Sequence[Training], architectures: Sequence[dict[str, Any]], seed: int, python: str, most: int
) -> Iterator[tuple[int, ...]]:
    """Yield the epochs of each training after each proposal, until they are more than ``most`` in all.

    PriMO adds objectives as they are, so costs are the logarithm, scaled to 0 to 1 over the set. A training goes on
    where it paused.
    """
    candidates = Candidates(architectures)
    last = len(trainings[0].curve)
    choices = {name: len(options) for name, options in candidates.options.items()}
    process = PrimoProcess(python, seed, choices, epochs=last)
    logarithms = np.log([each.cost for each in trainings])
    costs = (logarithms - logarithms.min()) / np.ptp(logarithms)
    epochs = [0] * len(trainings)
    while sum(epochs) <= most:
        asked = process.ask()
        place = candidates.nearest(asked["config"])
        if place is None:
            return
        epochs[place] = max(epochs[place], asked["epochs"])
        process.tell(asked["trial"], [trainings[place].curve[asked["epochs"] - 1], float(costs[place])])
        yield tuple(epochs)


def lost_by_primo(trainings: Sequence[Training], steps: Sequence[tuple[int, ...]]) -> list[float]:
    """Return the share of the hypervolume that PriMO's whole trainings lack, by how many times fewer epochs it had."""
    last = len(trainings[0].curve)
    lost = []
    for fewer in FEWER:
        most = last * len(trainings) / fewer
        epochs = [each for each in steps if sum(each) <= most][-1]
        lost.append(score(trainings, epochs, [1.0] * last).lost)
    return lost


def lost_by_ours(trainings: Sequence[Training], shuffles: int) -> tuple[list[float], list[float]]:
    """Return how many times fewer epochs the rule of a search has, and what it loses, in the recorded and other orders.

    It knows two workers.
    """
    last = len(trainings[0].curve)
    found = [
        score(trainings, replay(trainings, order, 2, ProductRule(EarlyStoppingRecipe(), last)).epochs, [1.0] * last)
        for order in orders(len(trainings), shuffles)
    ]
    return [each.ratio for each in found], [each.lost for each in found]


def main(arguments: Sequence[str] | None = None) -> int:
    """Let PriMO search among recorded trainings, and print a table of what it and the rule of a search lose."""
    parser = parser_of("early_stopping_primo", __doc__)
    parser.add_argument("--set", type=Path, default=KEPT, dest="kept", help="default: the set beside this script")
    parser.add_argument("--seeds", type=positive, default=3, help="of PriMO")
    parser.add_argument("--shuffles", type=positive, default=19, help="shuffled orders of the rule beside the recorded")
    options = parser.parse_args(arguments)
    try:
        check_searcher("primo")
    except RecipeError as error:
        parser.error(str(error))
    rows = read_set(options.kept)[1]
    trainings = trainings_of(rows)
    most = int(len(trainings) * len(trainings[0].curve) / min(FEWER))
    architectures = [row["architecture"] for row in rows]
    lost = []
    for seed in range(options.seeds):
        steps = list(primo(trainings, architectures, seed, os.environ[PRIMO_PYTHON], most))
        lost.append(lost_by_primo(trainings, steps))
        print(f"PriMO, seed {seed}: {', '.join(f'{each:.2%}' for each in lost[-1])}", file=sys.stderr)
    print("\n".join(heading(["", "times fewer epochs", "hypervolume lost, in per cent"])))
    for fewer, column in zip(FEWER, zip(*lost, strict=True), strict=True):
        print(line(["PriMO", f"{fewer:.2f}", _spread(column)]))
    ratios, ours = lost_by_ours(trainings, options.shuffles)
    print(line(["`[early_stopping]`", f"{statistics.median(ratios):.2f}", _spread(ours)]))
    return 0


def _spread(shares: Sequence[float]) -> str:
    return f"{100 * statistics.median(shares):.2f} ({100 * min(shares):.2f} to {100 * max(shares):.2f})"


if __name__ == "__main__":
    sys.exit(main())
