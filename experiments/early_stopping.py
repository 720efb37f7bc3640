"""``python -m experiments.early_stopping`` finds out what early stopping saves and loses, on recorded trainings.

    python -m experiments.early_stopping train --out SET.jsonl
    python -m experiments.early_stopping replay --set SET.jsonl --json OUT.json

``train`` trains candidates of the ``mobilenet`` space to their end on a subset of Fashion-MNIST and writes their error
curves, one a line. After an interruption it continues. ``replay`` gives the recorded curves to the classes that stop
trainings in a search. Without ``--set`` it takes the set beside this file. Rules that are "foreseeing" know each last
error after the first epoch, or after the second.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.command_line import parser_of
from experiments.early_stopping_replay import (
    ForeseeingRule,
    HalvingRule,
    MedianRankRule,
    ProductRule,
    RandomRule,
    Replay,
    Rule,
    Training,
    orders,
    replay,
    score,
)
from nas.hardware.machine import processor_name
from nas.recipe.toml_text import apply_overrides
from nas.recipe.training_sections import EarlyStoppingRecipe
from nas.searching.proposer import Beforehand, Proposer, Told
from nas.searching.screening import Verdict
from nas.space.architecture import Architecture
from nas.space.layer import total_macs, total_params
from nas.space.search_space import load_space
from nas.space.tracing import describer_of
from nas.storage.journal import write_aside
from nas.tasks.data_source import DataSource
from nas.tasks.images.images import Images
from nas.tasks.images.loading import load_data
from nas.training.early_stopping import rung_epochs, rung_subsets, trust_in_rungs
from nas.training.settings import TrainingSettings
from nas.training.training import CandidateTraining
from nas.values import pareto


@dataclass(frozen=True)
class Making:
    """The making of a set of trainings: shares of the images, batch size, and the limit on multiply-accumulates."""

    validation_share: float
    subset: float
    batch_size: int
    most_macs: float


DATA = {"fashion-mnist": Making(0.03, 0.03, 32, 1e6), "digits": Making(0.5, 1.0, 16, 1e6)}
KEPT = Path(__file__).with_name("early_stopping_fashion_mnist.jsonl")
BEFORE = EarlyStoppingRecipe(reduction=2, keep=0.5, min_peers=4, neighbours=10**6, margin=0, least_correlation=0.5)
"""The rule until version 0.4, which compared a training with all others that reached the rung."""
RANDOM = 30
"""Random candidates before the sampler proposes."""
SETTINGS = TrainingSettings(
    epochs=18,
    subset=1.0,
    batch_size=128,
    learning_rate=5e-3,
    weight_decay=0.05,
    label_smoothing=0.05,
    augment=True,
    device="cpu",
    time_limit_s=3600.0,
    threads=1,
)


def train(out: Path, name: str, epochs: int, candidates: int, seed: int, growth: int | None, like: Path | None) -> None:
    """Add trainings to ``out`` until it holds ``candidates``: random ones first, then proposals as in a search.

    With ``growth`` the images of an epoch grow by this factor at each rung. With ``like``, another set, the candidates
    of that set are trained in its order instead.
    """
    made_of = DATA[name]
    subsets = () if growth is None else rung_subsets(epochs, growth, made_of.subset)
    settings = dataclasses.replace(
        SETTINGS, epochs=epochs, subset=made_of.subset, batch_size=made_of.batch_size, subsets=subsets
    )
    data = load_data(name, validation_share=made_of.validation_share)
    space = load_space("mobilenet", {}, signature=data.signature)
    describer = describer_of(space, data.signature)
    given = [] if like is None else [(row["architecture"], row["sampler"]) for row in read_set(like)[1]][:candidates]

    def macs(architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        return np.array([float(total_macs(describer.layers(each))) for each in architectures])

    def judge(architecture: Architecture) -> Verdict:
        return Verdict(None if macs([architecture])[0] <= made_of.most_macs else "macs")

    def proposed(sampler: Any, told: Sequence[Told]) -> Architecture:
        beforehand = Beforehand(describer, {1: macs})
        proposer = Proposer(space, 2, sampler, seed=seed, history=told, beforehand=beforehand)
        architecture = proposer.propose(judge).architecture
        assert architecture is not None, "the space is far larger than the set"
        return architecture

    if not out.exists():
        _append(out, _header(data, made_of, settings, seed))
    task = CandidateTraining(space, DataSource(given=data), settings)
    while len(rows := read_set(out)[1]) < (candidates if like is None else len(given)):
        if like is None:
            sampler = "random" if len(rows) < RANDOM else "gp"
            told = [Told(Architecture(row["architecture"]), (row["curve"][-1], row["macs"]), {}) for row in rows]
            architecture = proposed(sampler, told)
        else:
            values, sampler = given[len(rows)]
            architecture = Architecture(values)
        job = {"architecture": dict(architecture), "seed": int(architecture.id[:7], 16)}
        began_s = time.perf_counter()
        curve = [round(float(report["error"]), 6) for report in task(job)]
        layers = describer.layers(architecture)
        row: dict[str, Any] = {
            "architecture": dict(architecture),
            "sampler": sampler,
            "macs": total_macs(layers),
            "params": total_params(layers),
            "seconds": round(time.perf_counter() - began_s, 1),
            "curve": curve,
        }
        _append(out, row)
        shown = f"{sampler}, {row['macs'] / 1e6:.2f} MMACs, {row['seconds']} s, error {curve[-1]:.4f}"
        print(f"{len(rows) + 1}: {shown}", flush=True)


def read_set(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header of a set of trainings, and its trainings in order."""
    head, *rows = (json.loads(line) for line in path.read_text().splitlines())
    return head, rows


def trainings_of(rows: Sequence[dict[str, Any]]) -> list[Training]:
    """Return the trainings of a set, with their latencies as costs where they have some, else multiply-accumulates."""
    return [
        Training(tuple(row["curve"]), float(row.get("latency_ms", row["macs"])), row["seconds"] / len(row["curve"]))
        for row in rows
    ]


def _header(data: Images, made_of: Making, settings: TrainingSettings, seed: int) -> dict[str, Any]:
    return {
        "data": data.name,
        "space": "mobilenet",
        "images": len(data.part(made_of.subset)),
        "validation_images": len(data.validation),
        "most_macs": made_of.most_macs,
        "seed": seed,
        "settings": dataclasses.asdict(settings),
        "processor": processor_name(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def _replays(
    trainings: Sequence[Training], sequences: Sequence[Sequence[int]], workers: int, settings: EarlyStoppingRecipe
) -> dict[str, list[Replay]]:
    """Return the replays of all orders by each rule."""
    epochs = len(trainings[0].curve)
    rules: dict[str, Callable[[], Rule]] = {
        "early_stopping": lambda: ProductRule(settings, epochs),
        "before 0.5": lambda: ProductRule(BEFORE, epochs),
        "error alone": lambda: ProductRule(settings, epochs, costs=False),
        "median of ranks": MedianRankRule,
        "foreseeing, 1": lambda: ForeseeingRule(1),
        "foreseeing, 2": lambda: ForeseeingRule(2),
    }
    if find_spec("syne_tune"):
        rules["MOASHA"] = lambda: HalvingRule(epochs)
        rules["MOASHA, released"] = lambda: HalvingRule(epochs, as_released=True)
    else:
        print("without MOASHA, which needs: pip install 'nas[compare-peers]'")
    found = {name: [replay(trainings, order, workers, rule()) for order in sequences] for name, rule in rules.items()}
    by_chance = [RandomRule(each.decisions, seed) for seed, each in enumerate(found["early_stopping"])]
    found["by chance"] = [
        replay(trainings, order, workers, rule) for order, rule in zip(sequences, by_chance, strict=True)
    ]
    return found | {"none": [replay(trainings, sequences[0], workers, RandomRule({}, 0))]}


def compare(
    path: Path, settings: EarlyStoppingRecipe, workers: int, shuffles: int, first: int | None = None
) -> dict[str, Any]:
    """Print and return what rules save and lose on a set, over its recorded order and shuffles of it.

    ``first`` limits the comparison to the first trainings of the set.
    """
    head, rows = read_set(path)
    rows = rows[:first]
    trainings = trainings_of(rows)
    epochs = head["settings"]["epochs"]
    shares = [share / head["settings"]["subset"] for share in head["settings"]["subsets"]] or [1.0] * epochs
    sequences = orders(len(trainings), shuffles)
    losses = np.array([(training.curve[-1], training.cost) for training in trainings])
    print(
        f"{head['data']}: {len(rows)} trainings of {head['images']} images for {epochs} epochs ({head['processor']}), "
        f"{pareto.non_dominated(losses).sum()} of them on the front; {workers} workers, "
        f"{len(sequences)} orders: the recorded one and shuffles"
    )
    found = _replays(trainings, sequences, workers, settings)
    ours = found["early_stopping"]
    figures: dict[str, Any] = {"set": path.name, "workers": workers, "orders": len(sequences), "rules": {}}
    titles = ("times fewer epochs", "hypervolume lost, %", "the same, near, %", "front stopped")
    print(f"{'':16} {titles[0]:>22} {titles[1]:>22} {titles[2]:>22} {titles[3]:>14}")
    for name, replays in found.items():
        scores = [score(trainings, each.epochs, shares) for each in replays]
        columns: dict[str, list[float]] = {
            "ratio": [each.ratio for each in scores],
            "lost_percent": [100 * each.lost for each in scores],
            "lost_near_percent": [100 * each.lost_near for each in scores],
            "front_stopped": [each.front_stopped for each in scores],
            "whole": [each.whole for each in scores],
        }
        figures["rules"][name] = columns
        texts = [_spread(columns[key]) for key in ("ratio", "lost_percent", "lost_near_percent")]
        stopped = f"{np.median(columns['front_stopped']):g}"
        print(f"{name:16} {texts[0]:>22} {texts[1]:>22} {texts[2]:>22} {stopped:>14}")
    trusts = [each.trust for each in ours if each.trust is not None]
    figures["trust"] = [{"correlations": dict(t.correlations), "relied_on": list(t.relied_on)} for t in trusts]
    curves = [training.curve for training in trainings]
    whole = trust_in_rungs(rung_epochs(epochs, settings.reduction), curves, settings.least_correlation)
    figures["correlations"] = dict(whole.correlations)
    shown = ", ".join(f"{value:.2f} after {epoch}" for epoch, value in whole.correlations.items())
    print(f"Spearman of errors with the last ones, all {len(curves)} trainings: {shown}")
    return figures


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train candidates, or replay a set of trainings."""
    parser = parser_of("early_stopping", __doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    training = parts.add_parser("train", help="train candidates to their end and record their error curves")
    training.add_argument("--out", type=Path, required=True, help="the set of trainings, a JSON Lines file")
    training.add_argument("--data", choices=list(DATA), default="fashion-mnist", help="data set")
    training.add_argument("--epochs", type=int, default=SETTINGS.epochs, help="of each training")
    training.add_argument("--candidates", type=int, default=200, help="size of the set")
    training.add_argument("--seed", type=int, default=0, help="of the sampler")
    training.add_argument("--growth", type=int, metavar="FACTOR", help="growth of the images of an epoch at each rung")
    training.add_argument("--like", type=Path, metavar="SET", help="train the candidates of this set, in its order")
    replaying = parts.add_parser("replay", help="give a set of trainings to the rules that stop trainings")
    replaying.add_argument("--set", type=Path, default=KEPT, dest="kept", help="default: the set beside this script")
    replaying.add_argument("--first", type=int, metavar="N", help="only the first N trainings of the set")
    replaying.add_argument("--workers", type=int, default=2, help="trainings at a time")
    replaying.add_argument("--shuffles", type=int, default=19, help="shuffled orders beside the recorded one")
    replaying.add_argument(
        "--early-stopping",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the recipe table early_stopping",
    )
    replaying.add_argument("--json", type=Path, metavar="OUT", help="file for all figures")
    options = parser.parse_args(arguments)
    if options.part == "train":
        train(options.out, options.data, options.epochs, options.candidates, options.seed, options.growth, options.like)
        return 0
    settings = EarlyStoppingRecipe(**apply_overrides({}, options.early_stopping))
    figures = compare(options.kept, settings, options.workers, options.shuffles, options.first)
    if options.json is not None:
        write_aside(options.json, json.dumps(figures, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
