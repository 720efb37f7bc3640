"""``python -m experiments.retrained_winners`` trains winners as people would ship them, and tells their accuracies.

    NAS_DATA=/usr/share/datasets python -m experiments.retrained_winners --out retrained.json
    NAS_DATA=/usr/share/datasets python -m experiments.retrained_winners --run runs/fashion --top 1 --out one.json

The first command searches with ``experiments/retrained_fashion_mnist.toml``, whose section ``[retraining]`` has the
schedule and the number of seeds. The second one takes a run on the same data that has ended, and retrains its winners
by that section. Either goes on where it was stopped, and loses one epoch at most.

The script prints a table of the winners, and the accuracy of the best one beside the aim. ``--epochs`` and ``--seeds``
take the place of the recipe's: on two cores without a GPU an epoch of the largest network takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nas
from experiments.command_line import heading, line, parser_of, positive

RECIPE = Path(__file__).with_name("retrained_fashion_mnist.toml")
NAME = "retrained-fashion-mnist"
AIM = 0.94
"""The test accuracy that the best winner should reach."""


def searched(runs: Path, changes: Sequence[str]) -> nas.Front:
    """Return the front of the recipe's search, which goes on if it was stopped."""
    folder = runs / NAME
    if (folder / "recipe.toml").exists():
        return nas.resume(folder)
    values = nas.read_recipe(RECIPE).model_dump(exclude_unset=True)
    return nas.search(nas.apply_overrides({**values, "name": NAME}, changes), runs=runs)


def retrained(folder: Path, top: int | None, epochs: int | None, seeds: int | None) -> nas.Front:
    """Return the front of a run whose winners were retrained by the recipe's section of retraining."""
    section = nas.read_recipe(RECIPE).retraining
    return nas.retrain(
        folder,
        top=top,
        epochs=epochs or section.epochs,
        seeds=seeds or section.seeds,
        training=section.training,
        teacher=section.teacher,
    )


def facts_of(front: nas.Front) -> list[dict[str, Any]]:
    """Return what is told of each winner, as plain data."""
    return [
        {
            "id": winner.architecture.id,
            "architecture": dict(winner.architecture),
            "params": winner.values.get("params"),
            "latency_ms": winner.value("latency_ms") if winner.has("latency_ms") else None,
            "test_error": winner.test_error,
            "test_error_interval_95": [winner.test_interval.lower, winner.test_interval.upper],
            "seeds": None if winner.seeds is None else winner.seeds.to_json(),
        }
        for winner in front
    ]


def summary(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a Markdown table of the winners, and a sentence on the best one."""
    lines = heading(["winner", "parameters", "latency", "test accuracy", "over seeds", "seeds"])
    for each in sorted(facts, key=lambda each: float(each["test_error"])):
        low, high = (1 - bound for bound in reversed(each["test_error_interval_95"]))
        latency = "–" if each["latency_ms"] is None else f"{each['latency_ms']:.3f} ms"
        cells = [
            each["id"],
            f"{each['params']:,.0f}",
            latency,
            f"{1 - each['test_error']:.2%} ({low:.2%} to {high:.2%})",
        ]
        over = each["seeds"]
        if over is None:
            cells += ["–", "1"]
        else:
            bounds = [max(0.0, 1 - bound) for bound in reversed(over["interval_95"])]
            cells += [f"{1 - over['mean']:.2%} ({bounds[0]:.2%} to {min(1.0, bounds[1]):.2%})", str(over["count"])]
        lines.append(line(cells))
    best = min(facts, key=_mean_error)
    accuracy = 1 - _mean_error(best)
    reached = "reaches" if accuracy >= AIM else "does not reach"
    lines += ["", f"The best winner, {best['id']}, has {accuracy:.2%}, which {reached} {AIM:.0%}."]
    return lines


def _mean_error(facts: Mapping[str, Any]) -> float:
    """Return the mean over seeds, or the only error."""
    return float(facts["test_error"] if facts["seeds"] is None else facts["seeds"]["mean"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Search or retrain, keep the results, and print the table."""
    parser = parser_of("retrained_winners", __doc__)
    parser.add_argument("--run", type=Path, help="a run that has ended; without it, the recipe is searched")
    parser.add_argument("--top", type=positive, help="retrain so many of its winners (default: all)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of a new run (default: runs)")
    parser.add_argument("--epochs", type=positive, help="epochs of each training (default: the recipe's)")
    parser.add_argument("--seeds", type=positive, help="trainings of each network (default: the recipe's)")
    parser.add_argument("--set", nargs="*", default=[], help="further keys of the recipe for a new run, as key=value")
    parser.add_argument("--out", type=Path, help="the file of results, as JSON")
    given = parser.parse_args(arguments)
    named = {"retraining.epochs": given.epochs, "retraining.seeds": given.seeds}
    changes = [*(f"{key}={value}" for key, value in named.items() if value is not None), *given.set]
    if given.run is None:
        front = searched(given.runs, changes)
    else:
        front = retrained(given.run, given.top, given.epochs, given.seeds)
    facts = facts_of(front)
    if given.out is not None:
        found = {"recipe": (front.run_folder / "recipe.toml").read_text(encoding="utf-8"), "winners": facts}
        nas.write_aside(given.out, (json.dumps(found, indent=1) + "\n").encode())
    print("\n".join(summary(facts)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
