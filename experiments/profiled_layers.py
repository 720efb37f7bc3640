"""``python -m experiments.profiled_layers`` tells how many measurements the profiles of networks spare.

    python -m experiments.profiled_layers --out profiled.json --networks 100
        --spaces mobilenet:1x28x28,timm-vit:3x64x64 --precisions fp32,int8 --samples 5,10,20,30 --seeds 10

It measures random networks of each space on this machine, as a search does, with the profile of each. Then the default
predictor learns from some of them, and predicts those that are never among its samples:

- without profiles,
- with those of its samples, as in a search,
- with those of its samples and of ``--earlier`` others, as if an earlier search of this space had measured these,
- with those of its samples, and of all networks of the spaces named before, as if they had been searched first.

All get the same samples. With several precisions, there are also lines for each space in which the precision is a
choice: samples are then drawn from the networks of all precisions. The script prints a Markdown table of means over
seeds. ``--out`` takes the measurements; what it has already is not measured again. Nothing else should run meanwhile. A
network takes two to three seconds.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import nas
from experiments.command_line import heading, line, names, parser_of, positive
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.machine import processor_name
from nas.hardware.measuring import Surroundings, measure_architectures
from nas.prediction.layers.profiled_costs import profiled_costs
from nas.prediction.operator_fusion import as_executed
from nas.prediction.predictor import load_predictor
from nas.progress import NullProgress
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.space.parts.candidate import PRECISION
from nas.space.parts.device_parts import with_precisions
from nas.space.search_space import sample
from nas.values.measurement import Measurement
from nas.values.profiled_network import ProfiledNetwork, profiled_network
from nas.values.rank_correlation import rank_correlation
from nas.values.target import Target

CLASSES = 10
LATENCY = "latency_ms"
Measured = dict[Architecture, Measurement]


@dataclass(frozen=True)
class Place:
    """A space, the shape of its images, and the precision in which its networks run, or those that they choose from."""

    space: str
    shape: tuple[int, int, int]
    precisions: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{self.space}, {'×'.join(map(str, self.shape))}, {' or '.join(self.precisions)}"

    def load(self) -> nas.SearchSpace:
        """Return the space without a choice of precision."""
        return nas.load_space(self.space, input_shape=self.shape, classes=CLASSES)

    @property
    def signature(self) -> nas.Signature:
        """The signature of its models."""
        return nas.image_signature(self.shape, CLASSES)

    def describer(self) -> Describer:
        """Return what describes its networks, with a choice of precision if there are several."""
        space = self.load()
        plain = nas.describer_of(space, self.signature)
        if len(self.precisions) == 1:
            return plain
        return Describer(with_precisions(space, self.precisions), lambda a: plain.layers(a.without([PRECISION])))


def measured(place: Place, count: int, settings: BenchSettings) -> Measured:
    """Return so many random networks with their latencies on this machine; those that failed are left out.

    The place has one precision.
    """
    space = place.load()
    rng = np.random.default_rng(0)
    drawn = list(dict.fromkeys(sample(space, rng) for _ in range(4 * count)))[:count]
    target = Target.parse(f"onnxruntime-cpu:{place.precisions[0]}")
    surroundings = Surroundings(space, DeviceBench(target, settings), place.signature, target.batch)
    rows = measure_architectures(
        surroundings, drawn, [LATENCY], round_number=0, rng=np.random.default_rng(1), progress=NullProgress()
    )
    return {row.architecture: row.measurements[LATENCY] for row in rows if not row.failed}


def scores(
    place: Place, found: Measured, before: Sequence[ProfiledNetwork], samples: Sequence[int], earlier: int, seeds: int
) -> list[dict[str, Any]]:
    """Return for each number of samples, and each kind of knowledge, the means over seeds."""
    plain = place.describer()
    architectures, values = list(found), np.array([each.median for each in found.values()])
    networks = {a: network for a, each in found.items() if (network := profiled_network(each, a, is_of_run=True))}
    fit, told = load_predictor("stacked"), []
    for count in samples:
        by_kind: dict[str, list[tuple[float, ...]]] = {}
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(architectures))
            seen, others, fresh = order[:count], order[max(samples) :][:earlier], order[max(samples) + earlier :]
            chosen = [architectures[index] for index in seen.tolist()]
            describer = as_executed(plain, {a: {LATENCY: found[a]} for a in chosen})
            own = [networks[a] for a in chosen if a in networks]
            kinds = {"none": [], "own": own}
            if len(place.precisions) == 1:
                ran = [networks[a] for index in others.tolist() if (a := architectures[index]) in networks]
                kinds[f"own and {earlier} earlier"] = [*own, *(replace(each, is_of_run=False) for each in ran)]
            if before:
                kinds["own and other spaces"] = [*own, *before]
            for kind, known in kinds.items():
                predictor = fit(
                    describer,
                    chosen,
                    values[seen],
                    target=place.name,
                    given=profiled_costs(describer, chosen, known),
                    seed=seed,
                )
                prediction = predictor.predict([architectures[index] for index in fresh.tolist()])
                by_kind.setdefault(kind, []).append(_figures(prediction, values[fresh]))
        means = {kind: np.mean(each, axis=0).tolist() for kind, each in by_kind.items()}
        told += [
            {"place": place.name, "samples": count, "profiles": kind, "means": each} for kind, each in means.items()
        ]
    return told


def _figures(prediction: nas.Prediction, truths: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, ...]:
    """Return Spearman, the share within ±10 %, and the share of truths within the 90 % bounds."""
    ranks = rank_correlation(prediction.mean.tolist(), truths.tolist())
    assert ranks is not None
    close = np.abs(prediction.mean / truths - 1) <= 0.1
    within = (prediction.lower <= truths) & (truths <= prediction.upper)
    return ranks.spearman, float(close.mean()), float(within.mean())


def table(told: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table with a row for each number of samples and kind of knowledge."""
    lines = heading(["networks", "samples", "profiles", "Spearman", "within ±10 %", "90 % bounds hold"])
    for each in told:
        spearman, close, within = each["means"]
        cells = [each["place"], each["samples"], each["profiles"], f"{spearman:.3f}", f"{close:.1%}", f"{within:.1%}"]
        lines.append(line(cells))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the file does not have, and print the table."""
    parser = parser_of("profiled_layers", __doc__)
    parser.add_argument("--spaces", type=_spaces, default=_spaces("mobilenet:1x28x28,timm-vit:3x64x64"))
    parser.add_argument("--precisions", type=names, default=("fp32", "int8"))
    parser.add_argument("--networks", type=positive, default=100, help="networks to measure of each (default: 100)")
    parser.add_argument("--samples", type=_counts, default=(5, 10, 20, 30), help="such as 5,10,20,30")
    parser.add_argument("--earlier", type=positive, default=30, help="networks of an earlier search (default: 30)")
    parser.add_argument("--seeds", type=positive, default=10, help="draws of samples (default: 10)")
    parser.add_argument("--rounds", type=positive, default=15, help="most sessions of each network (default: 15)")
    parser.add_argument("--out", type=Path, required=True, help="the file of measurements, as JSON")
    given = parser.parse_args(arguments)
    apart = max(given.samples) + given.earlier
    if given.networks <= apart:
        parser.error(
            f"--networks must be more than the most samples and earlier networks, {apart}, but got {given.networks}."
        )
    kept: dict[str, Any] = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    kept.setdefault("processor", processor_name())
    settings = BenchSettings(max_rounds=given.rounds, rounds=min(given.rounds, BenchSettings().rounds))
    told = []
    by_choice: dict[Place, Measured] = {}
    for precision in given.precisions:
        before: list[ProfiledNetwork] = []
        for space, shape in given.spaces:
            place = Place(space, shape, (precision,))
            if place.name not in kept:
                new = measured(place, given.networks, settings)
                kept[place.name] = [[dict(a), each.to_json()] for a, each in new.items()]
                nas.write_aside(given.out, json.dumps(kept).encode())
            found = {Architecture(choices): Measurement.from_json(each) for choices, each in kept[place.name]}
            told += scores(place, found, before, given.samples, given.earlier, given.seeds)
            elsewhere = (profiled_network(each, None, is_of_run=False) for each in found.values())
            before += [network for network in elsewhere if network is not None]
            chosen = {Architecture({**a, PRECISION: precision}): each for a, each in found.items()}
            by_choice.setdefault(Place(space, shape, tuple(given.precisions)), {}).update(chosen)
    if len(given.precisions) > 1:
        for place, found in by_choice.items():
            told += scores(place, found, [], given.samples, given.earlier, given.seeds)
    print(table(told))


def _spaces(text: str) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(.+):([1-9][0-9]*)x([1-9][0-9]*)x([1-9][0-9]*)", part.strip())
        if match is None:
            raise argparse.ArgumentTypeError(
                f"must be spaces with shapes, such as mobilenet:1x28x28, but got {text!r}."
            )
        found.append((match[1], (int(match[2]), int(match[3]), int(match[4]))))
    return tuple(found)


def _counts(text: str) -> tuple[int, ...]:
    if re.fullmatch(r"[0-9]+(,[0-9]+)*", text) is None or min(map(int, text.split(","))) < nas.MIN_SAMPLES:
        raise argparse.ArgumentTypeError(
            f"must be numbers of at least {nas.MIN_SAMPLES}, such as 5,10, but got {text!r}."
        )
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
