"""``python -m experiments.precision_study`` compares a search in fp32 alone with one that also chooses the precision.

    python -m experiments.precision_study --seeds 2 --out experiments/results/precision.json

Both searches have the same space, target, seed and number of trainings. One has ``precisions = ["fp32", "int8"]``, so
that each training gives two candidates. Fronts are compared by the hypervolume of error and latency, below a reference
of 1.1 times the largest values on both fronts: that of all candidates, by their errors on validation items and by the
best known latencies, and that of the winners, as tested and measured.

A search that was interrupted goes on in its folder, and one that is over is read from it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import nas
from experiments.command_line import heading, line, names, parser_of, positive
from nas.recipe.recipe import Recipe
from nas.results.front import Front
from nas.results.run import Run
from nas.values import pareto

LATENCY = "latency_ms"
MARKS = ("gains no time", "costs accuracy")
Points = list[tuple[float, float]]
"""An error and a latency in ms for each model."""


@dataclass(frozen=True)
class Compared:
    """Two searches with one seed on one target.

    ``candidates`` and ``winners`` are the hypervolumes with the choice, relative to fp32 alone. ``within`` is that of
    all candidates of the search with the choice, relative to its own in fp32: the same trainings. ``slower`` counts the
    winners in another precision that are no faster than in fp32, and ``marked`` those of them that a note says so of.
    """

    target: str
    seed: int
    trainings: int
    candidates: float
    within: float
    winners: float
    chosen: int
    slower: int
    marked: int
    wall_s: float
    wall_alone_s: float


def recipe_of(target: str, seed: int, trials: int, precisions: Sequence[str], space: str, data: str) -> Recipe:
    """Return the recipe of one search; without ``precisions`` it is in fp32 alone."""
    chosen = "-".join(precisions) or "fp32"
    return Recipe.from_mapping(
        {
            "name": f"{target.replace(':', '-')}-{chosen}-seed{seed}",
            "data": data,
            "space": space,
            "target": target,
            **({"precisions": list(precisions)} if precisions else {}),
            "trials": trials,
            "rounds": 2,
            "seed": seed,
            "measuring": {"initial": 10, "per_round": 4, "rounds": 3, "max_rounds": 6},
            "training": {"epochs": 5},
            "early_stopping": {"enabled": False},
            "retraining": {"epochs": 10, "winners": 4},
            "execution": {"executor": "inline"},
        }
    )


def searched(recipe: Recipe, runs: Path) -> Run:
    """Return the finished run of a recipe, which begins, goes on, or is read."""
    folder = runs / recipe.name
    if not folder.exists():
        nas.search(recipe, runs=runs)
    elif not nas.load_run(folder).is_over:
        nas.resume(folder)
    return nas.load_run(folder)


def candidate_points(run: Run, precision: str | None = None) -> Points:
    """Return the candidates of a run, or those in one precision. A latency that was not measured is the predicted."""
    measured = {row.architecture: row.measurements[LATENCY].median for row in run.rows if LATENCY in row.measurements}
    points = []
    for row in run.rows:
        if (
            row.stage == "train"
            and row.reached_full_fidelity
            and precision in (None, row.architecture.get("precision"))
        ):
            predicted = row.predicted.get(LATENCY)
            latency_ms = measured.get(row.architecture, None if predicted is None else predicted.mean)
            if latency_ms is not None:
                points.append((row.values["error"], latency_ms))
    return points


def winner_points(front: Front) -> Points:
    """Return the winners of a run, as tested and measured."""
    return [(winner.test_error, winner.value(LATENCY)) for winner in front]


def relative_hypervolume(ours: Points, theirs: Points) -> float:
    """Return the hypervolume of some points relative to that of others, below a reference that both fronts set."""
    fronts = [points[pareto.non_dominated(points)] for points in (np.array(ours), np.array(theirs))]
    reference = 1.1 * np.concatenate(fronts).max(axis=0)
    return pareto.hypervolume(fronts[0], reference) / pareto.hypervolume(fronts[1], reference)


def marks_of(front: Front) -> tuple[int, int, int]:
    """Return how many winners chose another precision than fp32, are no faster there, and are marked for that."""
    chosen = [
        (winner, notes)
        for winner, notes in zip(front.winners, front.notes, strict=True)
        if winner.architecture.get("precision") not in (None, "fp32")
    ]
    slower = [notes for winner, notes in chosen if winner.value(LATENCY) >= winner.fp32[LATENCY].median]
    return len(chosen), len(slower), sum(any(MARKS[0] in note for note in notes) for notes in slower)


def compared(target: str, seed: int, alone: Run, chosen: Run) -> Compared:
    """Return the comparison of two runs."""
    trainings = {sum(row.stage == "train" and not row.is_shared for row in run.rows) for run in (alone, chosen)}
    if len(trainings) != 1:
        raise ValueError(f"both searches must have as many trainings, but had {sorted(trainings)}.")
    every = candidate_points(chosen)
    counts = marks_of(chosen.front)
    return Compared(
        target,
        seed,
        trainings.pop(),
        relative_hypervolume(every, candidate_points(alone)),
        relative_hypervolume(every, candidate_points(chosen, "fp32")),
        relative_hypervolume(winner_points(chosen.front), winner_points(alone.front)),
        *counts,
        *(wall_s(run) for run in (chosen, alone)),
    )


def wall_s(run: Run) -> float:
    """Return the seconds that the trainings and the deploying of candidates took, one after the other."""
    return float(sum(row.details.get("seconds", 0.0) for row in run.rows if row.stage == "train"))


def table_of(found: Sequence[Compared]) -> list[str]:
    """Return the comparisons as a table in Markdown."""
    titles = ("target", "seed", "trainings", "candidates", "same trainings", "winners", "int8 winners", "not faster")
    rows = [
        (
            each.target,
            each.seed,
            each.trainings,
            f"{100 * each.candidates:.1f} %",
            f"{100 * each.within:.1f} %",
            f"{100 * each.winners:.1f} %",
            each.chosen,
            f"{each.slower}, {each.marked} marked",
        )
        for each in found
    ]
    return [*heading(titles), *map(line, rows)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the searches, print the table, and write the figures."""
    parser = parser_of("precision_study", __doc__)
    parser.add_argument("--targets", type=names, default=("onnxruntime-cpu", "openvino-cpu"), metavar="A,B")
    parser.add_argument("--precisions", type=names, default=("fp32", "int8"), metavar="A,B")
    parser.add_argument("--space", default="mobilenet", metavar="NAME")
    parser.add_argument("--data", default="digits", metavar="NAME")
    parser.add_argument("--seeds", type=positive, default=2, metavar="N")
    parser.add_argument("--trials", type=positive, default=12, metavar="N")
    parser.add_argument("--runs", type=Path, default=Path("runs/precision"), metavar="FOLDER")
    parser.add_argument("--out", type=Path, metavar="FILE")
    given = parser.parse_args(arguments)
    found = []
    for target in given.targets:
        for seed in range(given.seeds):
            alone, chosen = (
                searched(recipe_of(target, seed, given.trials, precisions, given.space, given.data), given.runs)
                for precisions in ((), given.precisions)
            )
            found.append(compared(target, seed, alone, chosen))
            print("\n".join(table_of(found)), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
