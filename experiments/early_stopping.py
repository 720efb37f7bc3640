"""How much training early stopping saves, and what it costs: on real trainings, replayed.

    python -m experiments.early_stopping train --out SET.jsonl

trains candidates of the ``mobilenet`` space on a subset of Fashion-MNIST to their end and keeps their error curves, a
line each; interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.architecture import Architecture
from nas.data_source import DataSource, load_data
from nas.dataset import DataSet
from nas.early_stopping import rung_subsets
from nas.layer import total_macs, total_params
from nas.machine import processor_name
from nas.proposer import Beforehand, Proposer, Told
from nas.search_space import load_space
from nas.tracing import describer_of
from nas.training import CandidateTraining, TrainingSettings

@dataclass(frozen=True)
class Data:
    """What a set of trainings is made of: shares of the images, and the limit of the search that it stands for."""

    validation_share: float
    subset: float
    batch_size: int
    most_macs: float


DATA = {"fashion-mnist": Data(0.03, 0.03, 32, 1e6), "digits": Data(0.5, 1.0, 16, 1e6)}
RANDOM = 30
"""Candidates before those that the sampler proposes."""
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


def train(out: Path, name: str, candidates: int, seed: int, growth: int | None, like: Path | None) -> None:
    """Add trainings to ``out`` until it holds so many: drawn at random first, then proposed as a search would.

    With ``growth`` the images that an epoch sees grow by this factor at each rung. ``like`` is another set, whose
    candidates are trained in its order instead.
    """
    made_of = DATA[name]
    subsets = () if growth is None else rung_subsets(SETTINGS.epochs, growth, made_of.subset)
    settings = dataclasses.replace(
        SETTINGS, subset=made_of.subset, batch_size=made_of.batch_size, subsets=subsets
    )
    data = load_data(name, validation_share=made_of.validation_share)
    space = load_space("mobilenet", {}, input_shape=data.input_shape, classes=data.class_count)
    describer = describer_of(space, data.input_shape, data.class_count)
    given = [] if like is None else [(row["architecture"], row["sampler"]) for row in read_set(like)[1]][:candidates]

    def macs(architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        return np.array([float(total_macs(describer.layers(each))) for each in architectures])

    def proposed(sampler: Any, told: Sequence[Told]) -> Architecture:
        beforehand = Beforehand(describer, {1: macs})
        proposer = Proposer(space, 2, sampler, seed=seed, history=told, beforehand=beforehand)
        architecture = proposer.propose(lambda each: bool(macs([each])[0] <= made_of.most_macs))
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
        row = {
            "architecture": dict(architecture),
            "sampler": sampler,
            "macs": total_macs(layers),
            "params": total_params(layers),
            "seconds": round(time.perf_counter() - began_s, 1),
            "curve": curve,
        }
        rows = read_set(out)[1]
        if row["architecture"] not in [other["architecture"] for other in rows]:  # another process may share the set
            _append(out, row)
        shown = f"{sampler}, {row['macs'] / 1e6:.2f} MMACs, {row['seconds']} s, error {curve[-1]:.4f}"
        print(f"{len(rows) + 1}: {shown}", flush=True)


def read_set(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What a set of trainings is made of, and its trainings in order."""
    head, *rows = (json.loads(line) for line in path.read_text().splitlines())
    return head, rows


def _header(data: DataSet, made_of: Data, settings: TrainingSettings, seed: int) -> dict[str, Any]:
    return {
        "data": data.name,
        "space": "mobilenet",
        "images": len(data.train_subset(made_of.subset)),
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.early_stopping", description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    training = parts.add_parser("train", help="train candidates to their end and keep their curves")
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--data", choices=list(DATA), default="fashion-mnist")
    training.add_argument("--candidates", type=int, default=72)
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--growth", type=int, metavar="FACTOR", help="images of an epoch grow so at each rung")
    training.add_argument("--like", type=Path, metavar="SET", help="train another set's candidates, in its order")
    options = parser.parse_args(arguments)
    train(options.out, options.data, options.candidates, options.seed, options.growth, options.like)
    return 0


if __name__ == "__main__":
    sys.exit(main())
