"""``python -m experiments.signals_study`` compares winners of ten-second searches with a plain network for signals.

    python -m experiments.signals_study --seeds 3 --out experiments/results/signals.json

The network is FCN (Wang et al., 2016, arXiv:1611.06455): convolutions of 128, 256 and 128 channels with kernels 8, 5
and 3, batch norms, and the mean over time. It is trained as winners are retrained, by the same settings on the same
windows, and exported and measured in the same session as the winner of its seed. Its convolutions are two-dimensional,
over maps of height 1, as those of ``conv1d`` are: so it is a fifth faster in ONNX Runtime than with one dimension.

A search of ``conv1d`` has half of FCN's latency as its limit, and minimises the error. Its only winner is retrained on
training and validation windows together, and tested once. The sets come with aeon, whose ``.ts`` files are read.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import nn

import nas
from experiments.beside_winners import measured_in_turns, tested, train_like_winners
from experiments.command_line import heading, line, names, parser_of, positive
from nas.hardware.latency_rounds import BenchSettings
from nas.recipe.recipe import Recipe
from nas.tasks.data_source import DataSource

SETS = ("ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand")
WIDTHS, KERNELS = (128, 256, 128), (8, 5, 3)


class Fcn:
    """The fully convolutional network of Wang et al. (2016, arXiv:1611.06455), as a space of one architecture."""

    choices = (nas.Choice("width", (WIDTHS[0],)),)

    def __init__(self, input_shape: tuple[int, int], classes: int) -> None:
        self._shape, self._classes = input_shape, classes

    def build(self, architecture: nas.Architecture) -> nn.Module:
        """Return the torch module, with weights drawn from torch's global random state."""
        channels = self._shape[0]
        parts: list[nn.Module] = [nn.Unflatten(1, (channels, 1))]
        for width, kernel in zip(WIDTHS, KERNELS, strict=True):
            convolution = nn.Conv2d(channels, width, (1, kernel), padding=(0, kernel // 2), bias=False)
            parts += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, self._classes))


@dataclass(frozen=True)
class Compared:
    """A winner and FCN on one set with one seed: wrong test windows, latencies in ms, and sizes in bytes."""

    data: str
    seed: int
    tested: int
    winner_wrong: int
    fcn_wrong: int
    winner_ms: float
    fcn_ms: float
    winner_bytes: int
    fcn_bytes: int
    search_wall_s: float
    search_cpu_s: float
    choices: dict[str, Any]


def recipe_of(path: Path, seed: int, trials: int, limit_ms: float) -> Recipe:
    """Return the recipe of a search in one set."""
    return Recipe.from_mapping(
        {
            "data": {"task": "signals", "name": str(path)},
            "space": "conv1d",
            "objectives": ["error"],
            "limits": [f"latency_ms <= {limit_ms:.6g}ms"],
            "trials": trials,
            "rounds": 1,
            "seed": seed,
            "measuring": {"initial": 5, "per_round": 1, "rounds": 2, "max_rounds": 2},
            "training": {"epochs": 30, "batch_size": 16},
            "retraining": {"winners": 1, "epochs": 80},
            "execution": {"executor": "inline"},
        }
    )


def latencies_ms(recipe: Recipe, models: Sequence[Path], folder: Path) -> list[float]:
    """Return the latencies of models, which are measured together."""
    return [each.median for each in measured_in_turns(models, recipe, BenchSettings(rounds=3, max_rounds=5), folder)]


def wrong_of(model: Path, task: nas.Task) -> int:
    """Return how many test windows an exported model classifies wrongly."""
    return round(tested(model, task)["error"].value * len(task.test))


def compare(path: Path, seed: int, trials: int, folder: Path) -> Compared:
    """Search, train FCN, and measure and test both."""
    source = DataSource(name=str(path), task="signals")
    task = source.load()
    first = recipe_of(path, seed, trials, 1)
    fcn = folder / "fcn.onnx"
    space = Fcn(task.signature.inputs[0].shape, task.signature.classes)  # type: ignore[arg-type]
    train_like_winners(first, space, nas.Architecture({"width": WIDTHS[0]}), source, fcn, seed)
    (alone_ms,) = latencies_ms(first, [fcn], folder / "alone")
    recipe = recipe_of(path, seed, trials, alone_ms / 2)
    began, cpu = time.monotonic(), _cpu_s()
    front = nas.search(recipe, runs=folder / "runs", progress=None)
    wall_s, cpu_s = time.monotonic() - began, _cpu_s() - cpu
    winner = front.nearest  # a simple model may be a winner beside the one asked for
    assert winner.bundle is not None
    model = winner.bundle / "model.onnx"
    winner_ms, fcn_ms = latencies_ms(recipe, [model, fcn], folder / "together")
    return Compared(
        data=path.parent.name,
        seed=seed,
        tested=len(task.test),
        winner_wrong=wrong_of(model, task),
        fcn_wrong=wrong_of(fcn, task),
        winner_ms=winner_ms,
        fcn_ms=fcn_ms,
        winner_bytes=model.stat().st_size,
        fcn_bytes=fcn.stat().st_size,
        search_wall_s=wall_s,
        search_cpu_s=cpu_s,
        choices=dict(winner.architecture),
    )


def _cpu_s() -> float:
    """Return the processor time of this process and of those that it has started and that have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in parts)


def summary(found: Sequence[Compared]) -> list[str]:
    """Return a Markdown table with a row for each set: mean errors with 95 % intervals of one seed, and latencies."""
    lines = heading(["set", "test windows × seeds", "error of winners", "error of FCN", "latency", "size", "search"])
    for data in dict.fromkeys(each.data for each in found):
        part = [each for each in found if each.data == data]
        tested = sum(each.tested for each in part)
        errors = []
        for wrong in (sum(each.winner_wrong for each in part), sum(each.fcn_wrong for each in part)):
            once = part[0].tested  # all seeds are tested on the same windows
            low, high = binomtest(round(wrong / len(part)), once).proportion_ci(method="wilson")
            errors.append(f"{100 * wrong / tested:.1f} % ({100 * low:.1f}–{100 * high:.1f})")
        ratios = [each.winner_ms / each.fcn_ms for each in part]
        sizes = [each.winner_bytes / each.fcn_bytes for each in part]
        lines.append(
            line(
                [
                    data,
                    f"{part[0].tested} × {len(part)}",
                    *errors,
                    f"{100 * np.median(ratios):.0f} % of FCN's (at most {100 * max(ratios):.0f} %)",
                    f"{100 * np.median(sizes):.1f} %",
                    f"{np.median([each.search_cpu_s for each in part]):.0f} s of processor time",
                ]
            )
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare on each set with each seed, keep the results, and print the table."""
    parser = parser_of("signals_study", __doc__)
    parser.add_argument("--sets", type=names, default=SETS, help="names of sets, separated by commas")
    parser.add_argument("--folder", type=Path, help="the folder of the sets; by default that of the installed aeon")
    parser.add_argument("--seeds", type=positive, default=3, help="seeds of each set")
    parser.add_argument("--trials", type=positive, default=6, help="candidates of each search")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file of results, which is added to")
    options = parser.parse_args(arguments)
    spec = None if options.folder else find_spec("aeon")
    if options.folder is None and (spec is None or spec.origin is None):
        parser.error("the sets come with aeon: pip install aeon, or name their folder by --folder.")
    folder = options.folder or Path(str(spec.origin)).parent / "datasets" / "data"  # type: ignore[union-attr]
    torch.set_num_threads(1)
    found = [Compared(**each) for each in json.loads(options.out.read_text())] if options.out.exists() else []
    for seed in range(options.seeds):
        for data in options.sets:
            if any((each.data, each.seed) == (data, seed) for each in found):
                continue
            with tempfile.TemporaryDirectory() as made:
                path = folder / data / f"{data}_TRAIN.ts"
                found.append(compare(path, seed, options.trials, Path(made)))
            print(found[-1], file=sys.stderr)
            options.out.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    print("\n".join(summary(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
