"""``python -m experiments.weight_sharing`` checks how well shared weights and zero-cost scores rank architectures.

    python -m experiments.weight_sharing --architectures 12 --seeds 2 --json OUT.json

For each seed, random architectures of a space that shares weights are trained alone, as candidates are. They are also
evaluated by a supernet that was trained with this seed, and scored untrained. Each way's ranking is compared with that
of the trainings of the same seed. Trainings with two seeds do not agree fully either; their correlation is the ceiling.
The numbers of parameters and of multiply-accumulates are baselines that a score has to beat. Seconds are CPU time, so
other users of the machine do not count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr

from experiments.command_line import heading, line, parser_of, positive
from nas.hardware.machine import processor_name
from nas.space.architecture import Architecture
from nas.space.layer import total_macs, total_params
from nas.space.search_space import SearchSpace, load_space, sample
from nas.space.tracing import build_checked, layers_of
from nas.storage.journal import write_aside
from nas.tasks.batches import items_at
from nas.tasks.data_source import DataSource
from nas.training.settings import TrainingSettings
from nas.training.supernet import SharedEvaluation, SharedWeights
from nas.training.supernet_training import SupernetTraining
from nas.training.training import CandidateTraining
from nas.training.zero_cost import naswot, snip, synflow

ERRORS = {"supernet": "shared weights", "alone": "another seed's training (the ceiling)"}
SCORES = {
    "snip": "SNIP",
    "naswot": "NASWOT",
    "synflow": "synflow",
    "params": "parameters",
    "macs": "multiply-accumulates",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and score the architectures, print the rank correlations, and write the JSON file."""
    options = _parser().parse_args(arguments)
    size = options.image_size
    source = DataSource(name=options.data, options="{}" if size is None else f'{{"image_size": {size}}}')
    data = source.load()
    space = load_space(options.space, {}, signature=data.signature)
    rng = np.random.default_rng(0)
    architectures: dict[str, Architecture] = {}
    while len(architectures) < options.architectures:
        drawn = sample(space, rng)
        architectures[drawn.id] = drawn
    settings = TrainingSettings(
        epochs=options.epochs,
        subset=options.subset,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=0.05,
        label_smoothing=0.05,
        augment=True,
        device="cpu",
        time_limit_s=float("inf"),
        threads=1,
    )
    results = [
        _of_seed(seed, list(architectures.values()), space, source, settings, options.supernet_epochs, options.per_step)
        for seed in range(options.seeds)
    ]
    figures = _figures(results)
    figures |= {
        "options": {name: str(value) for name, value in vars(options).items() if name != "json"},
        "training_images": len(data.part(options.subset)),
        "processor": processor_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "seeds": results,
    }
    print("\n".join(_lines(figures)))
    if options.json is not None:
        write_aside(options.json, json.dumps(figures, indent=1).encode())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("weight_sharing", __doc__)
    parser.add_argument("--data", default="fashion-mnist", help="data set")
    parser.add_argument("--image-size", type=positive, help="pixels; default: the size of the data set")
    parser.add_argument("--space", default="mobilenet", help="a space that shares weights")
    parser.add_argument("--architectures", type=positive, default=12, help="number of random architectures")
    parser.add_argument("--seeds", type=positive, default=2, help="number of seeds, counted from 0")
    parser.add_argument("--subset", type=float, default=0.1, help="share of the training images")
    parser.add_argument("--epochs", type=positive, default=4, help="epochs of a training alone")
    parser.add_argument("--supernet-epochs", type=positive, default=12, help="epochs of the supernet")
    parser.add_argument("--per-step", type=positive, default=4, help="architectures in each step of the supernet")
    parser.add_argument("--batch-size", type=positive, default=64, help="of all trainings")
    parser.add_argument("--learning-rate", type=float, default=1e-2, help="of all trainings")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file for all figures")
    return parser


def _of_seed(
    seed: int,
    architectures: Sequence[Architecture],
    space: SearchSpace,
    source: DataSource,
    settings: TrainingSettings,
    supernet_epochs: int,
    per_step: int,
) -> dict[str, Any]:
    """Return the errors, scores and seconds of one seed, in the order of the architectures."""
    data = source.load()
    clock = time.process_time
    training = SupernetTraining(space, source, replace(settings, epochs=supernet_epochs), per_step, clock=clock)
    for report in training({"id": "supernet", "seed": seed}):
        print(f"seed {seed}: supernet after {report['epoch']} epochs, loss {report['loss']:.3f}, "
              f"{report['seconds']:.0f} s", file=sys.stderr)  # fmt: skip
    found: dict[str, Any] = {"supernet_s": report["seconds"]}
    evaluation = SharedEvaluation(space, source, SharedWeights(space, report["weights"]), 512, "cpu", 1, clock)
    alone = CandidateTraining(space, source, settings, clock)
    columns: dict[str, list[float]] = {}
    for number, architecture in enumerate(architectures):
        start = 1000 * seed + number
        job = {"id": architecture.id, "architecture": dict(architecture), "seed": start}
        *_, shared = evaluation(job)
        *_, trained = alone(job)
        layers = layers_of(space, architecture, data.signature)
        began = clock()
        batch = items_at(data.train, slice(0, 64))
        inputs = data.inputs_of(batch.raw)
        row = {"snip": snip(_built(space, architecture, source, start), inputs, batch.targets, data.criterion.loss)}
        score_s = clock() - began
        row |= {
            "naswot": naswot(_built(space, architecture, source, start), inputs),
            "synflow": synflow(_built(space, architecture, source, start), data.signature),
            "supernet": shared["error"],
            "alone": trained["error"],
            "params": total_params(layers),
            "macs": total_macs(layers),
            "evaluation_s": shared["seconds"],
            "training_s": trained["seconds"],
            "score_s": score_s,
        }
        print(f"seed {seed}: {architecture.id}, alone {row['alone']:.3f}, shared {row['supernet']:.3f}, "
              f"{row['training_s']:.0f} s and {row['evaluation_s']:.2f} s", file=sys.stderr)  # fmt: skip
        for name, value in row.items():
            columns.setdefault(name, []).append(float(value))
    return found | columns


def _built(space: SearchSpace, architecture: Architecture, source: DataSource, seed: int) -> torch.nn.Module:
    data = source.load()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_checked(space, architecture, data.signature)


def _figures(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rank correlations with trainings alone for each seed and, for trainings, between each pair of seeds."""
    ranks: dict[str, list[tuple[float, float]]] = {}
    for name in ("supernet", *SCORES):
        sign = 1 if name in ERRORS else -1
        ranks[name] = [_correlations(sign * np.array(each[name]), each["alone"]) for each in results]
    ranks["alone"] = [_correlations(a["alone"], b["alone"]) for a, b in itertools.combinations(results, 2)]
    return {
        "spearman": {name: [first for first, _ in pairs] for name, pairs in ranks.items()},
        "kendall": {name: [second for _, second in pairs] for name, pairs in ranks.items()},
        "supernet_s": [each["supernet_s"] for each in results],
        "evaluation_s": float(np.mean([each["evaluation_s"] for each in results])),
        "training_s": float(np.mean([each["training_s"] for each in results])),
        "score_s": float(np.mean([each["score_s"] for each in results])),
    }


def _correlations(first: Sequence[float] | np.ndarray, second: Sequence[float]) -> tuple[float, float]:
    """Return the correlations of Spearman and Kendall, or 0 if a sequence is constant."""
    if len(set(first)) == 1 or len(set(second)) == 1:
        return 0.0, 0.0
    return float(spearmanr(first, second).statistic), float(kendalltau(first, second).statistic)


def _lines(figures: Mapping[str, Any]) -> list[str]:
    supernet_s = ", ".join(f"{seconds:.0f}" for seconds in figures["supernet_s"])
    lines = [
        f"supernet: {supernet_s} s of training; an evaluation {figures['evaluation_s']:.2f} s, "
        f"a training alone {figures['training_s']:.1f} s, a SNIP score {figures['score_s']:.2f} s",
        "",
        *heading(["ranked by", "Spearman, each seed", "Kendall, each seed"]),
    ]
    for name, title in {**ERRORS, **SCORES}.items():
        cells = (", ".join(f"{value:.2f}" for value in figures[which][name]) for which in ("spearman", "kendall"))
        lines.append(line([title, *cells]))
    return lines


if __name__ == "__main__":
    sys.exit(main())
