"""``python -m experiments.rocket_study`` compares the space ``rocket`` with aeon's MiniRocket and with ``conv1d``.

    python -m experiments.rocket_study --seeds 3 --out experiments/results/rocket.json

The sets and the reference come with aeon: ``pip install aeon``. On each set, and for each seed:

- The largest network of ``rocket`` is fitted to training and validation windows, exported, and tested.
- The reference is aeon's MiniRocket of as many features with RidgeClassifierCV, on the same windows.
- The network gets the reference's channels and biases, and its features are compared with the reference's.
- With the first seed, a search of ``conv1d`` has the latency of that network as its limit, and minimises the error. Its
  winner, that network, a smaller one, and two other forms of that network are measured in one session.

The other forms count values that are above a bias by comparisons. One of them also adds the kernels up, as the authors
do: a kernel is the sum of -1 times nine values and of 3 times three.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

import nas
from experiments.command_line import heading, line, names, parser_of, positive
from experiments.signals_study import latencies_ms, recipe_of, wrong_of
from nas.formats.export import export_onnx
from nas.tasks.batches import in_order
from nas.tasks.data_source import DataSource
from search_spaces.rocket import HALF, KERNELS, LENGTH, SHARPNESS, TAPS, HalfOfKernels, MiniRocket, Rocket

SETS = ("OSULeaf", "JapaneseVowels_eq", "ArrowHead")
LARGEST = {"features": 9996, "dilations": 32, "pool": 1}
SMALLER = {"features": 2016, "dilations": 8, "pool": 1}
FEATURES = 9996
Array = npt.NDArray[Any]


class ComparedSteps(nn.Module):
    """A network of ``rocket`` that compares outputs of kernels with biases. With ``adds``, it also adds kernels up."""

    def __init__(self, network: MiniRocket, adds: bool) -> None:
        super().__init__()
        self.signals, self.kernels, self.head, self._adds = network.signals, network.kernels, network.head, adds
        if adds and any(half.kernels.shape[1] > 1 for half in halves_of(network)):
            raise ValueError("kernels are added up for signals of one channel only, but these have several.")

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        maps = self.signals(signals)
        features = []
        for half in self.kernels:
            assert isinstance(half, HalfOfKernels)
            outputs = added(half, maps) if self._adds else convolved(half, maps)
            biases = (-0.5 - half.offsets) / half.slopes.flatten()
            above = outputs[:, :, None] > biases.reshape(1, HALF, -1, 1, 1)
            features.append(above.float().mean((3, 4)).flatten(1))
        logits: torch.Tensor = self.head(torch.cat(features, dim=1))
        return logits


def convolved(half: HalfOfKernels, maps: torch.Tensor) -> torch.Tensor:
    """Return outputs of kernels, shape (N, 42, 1, samples), by a convolution."""
    return F.conv2d(maps, half.kernels, dilation=(1, half.dilation.size), padding=(0, half.padding))


def added(half: HalfOfKernels, maps: torch.Tensor) -> torch.Tensor:
    """Return the same outputs by adding -1 times the sum of nine values and 3 times three of them."""
    weights = torch.cat([3 * torch.eye(LENGTH), -torch.ones(1, LENGTH)])[:, None, None]
    values = F.conv2d(maps, weights, dilation=(1, half.dilation.size), padding=(0, half.padding))
    places = torch.tensor([TAPS[number] for number in half.numbers])
    return values[:, LENGTH:] + values[:, places[:, 0]] + values[:, places[:, 1]] + values[:, places[:, 2]]


def halves_of(network: MiniRocket) -> list[HalfOfKernels]:
    """Return the halves of kernels, by dilation."""
    return [half for half in network.kernels if isinstance(half, HalfOfKernels)]


@dataclass(frozen=True)
class Compared:
    """Networks on one set with one seed.

    Attributes:
        wrong: the test windows that the network, the reference and the winner of ``conv1d`` classify wrongly.
        ms: the latencies of models, where they were measured.
        features_equal: the share of features of test windows that differ from the reference's by at most 1e-6.
        features_apart: the mean difference of those features.
    """

    data: str
    seed: int
    tested: int
    wrong: dict[str, int]
    ms: dict[str, float]
    features_equal: float
    features_apart: float


def windows_of(task: nas.Task, *splits: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the inputs and the targets of all items of some splits."""
    parts = [batch for split in splits for batch in in_order(split, 1000)]
    signals = [torch.from_numpy(task.prepared(batch.raw)[0]) for batch in parts]
    return torch.cat(signals), torch.cat([batch.targets for batch in parts])


def take_parameters(network: MiniRocket, parameters: Sequence[Array]) -> Array:
    """Give a network the channels and the biases of aeon's MiniRocket; return where that has the network's features."""
    counts, channels, _, per_dilation, biases = parameters
    chosen = np.split(channels, np.cumsum(counts)[:-1])
    order = []
    for place, half in enumerate(halves_of(network)):
        number, features = place // 2, int(per_dilation[place // 2])
        weights = np.zeros(half.kernels.shape, dtype=np.float32)
        for row, kernel in zip(weights, half.numbers, strict=True):
            used = chosen[number * KERNELS + kernel]
            row[used] = -1
            row[used[:, None], 0, TAPS[kernel]] = 2
        starts = KERNELS * int(per_dilation[:number].sum()) + half.numbers * features
        places = (starts[:, None] + np.arange(features)).ravel()
        half.kernels.copy_(torch.from_numpy(weights))
        half.slopes.fill_(SHARPNESS)
        half.offsets.copy_(torch.from_numpy(-SHARPNESS * biases[places].astype(np.float64) - 0.5))
        order.append(places)
    return np.concatenate(order)


def compare(path: Path, seed: int, trials: int, folder: Path) -> Compared:
    """Fit a network and the reference, and compare them; with seed 0 search and measure too."""
    from aeon.transformations.collection.convolution_based import MiniRocket as Reference
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    task = DataSource(name=str(path), task="signals").load()
    signals, labels = windows_of(task, task.train, task.validation)
    tested, known = windows_of(task, task.test)
    space = Rocket(task.signature.inputs[0].shape, task.signature.classes)  # type: ignore[arg-type]
    network = space.build(nas.Architecture(LARGEST)).eval()
    reference = Reference(n_kernels=FEATURES, random_state=seed)
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-3, 3, 10)))
    classifier.fit(reference.fit_transform(signals.numpy()), labels.numpy())
    expected = reference.transform(tested.numpy())
    with torch.no_grad():
        order = take_parameters(network, reference.parameters)
        apart = (
            np.concatenate([network.features(part).numpy() for part in torch.split(tested, 20)]) - expected[:, order]
        )
    network.fit((signals,), labels, seed)
    model = folder / "rocket.onnx"
    export_onnx(network, task.signature.inputs, 1, model)
    wrong = {"rocket": wrong_of(model, task), "reference": int((classifier.predict(expected) != known.numpy()).sum())}
    ms: dict[str, float] = {}
    if seed == 0:
        smaller = space.build(nas.Architecture(SMALLER)).eval()
        winner, ms = measured(path, task, (network, smaller), trials, folder)
        wrong["conv1d"] = wrong_of(winner, task)
    return Compared(
        data=path.name.removesuffix("_TRAIN.ts"),
        seed=seed,
        tested=len(task.test),
        wrong=wrong,
        ms=ms,
        features_equal=float((np.abs(apart) <= 1e-6).mean()),
        features_apart=float(np.abs(apart).mean()),
    )


def measured(
    path: Path, task: nas.Task, networks: tuple[MiniRocket, MiniRocket], trials: int, folder: Path
) -> tuple[Path, dict[str, float]]:
    """Search ``conv1d`` with the larger network's latency as limit; return its winner and the latencies of all."""
    largest, smaller = networks
    forms: dict[str, nn.Module] = {"rocket": largest, "smaller": smaller, "compared": ComparedSteps(largest, False)}
    if task.signature.inputs[0].shape[0] == 1:
        forms["added"] = ComparedSteps(largest, True)
    models = {name: folder / f"{name}.onnx" for name in forms}
    for name, form in forms.items():
        export_onnx(form.eval(), task.signature.inputs, 1, models[name])
    (limit_ms,) = latencies_ms(recipe_of(path, 0, trials, 1), [models["rocket"]], folder / "alone")
    recipe = recipe_of(path, 0, trials, limit_ms)
    winner = nas.search(recipe, runs=folder / "runs", progress=None).winners[0]
    assert winner.bundle is not None
    models["conv1d"] = winner.bundle / "model.onnx"
    found = latencies_ms(recipe, list(models.values()), folder / "together")
    return models["conv1d"], dict(zip(models, found, strict=True))


def summary(found: Sequence[Compared]) -> list[str]:
    """Return a Markdown table with a row for each set. Latencies are relative to that of the largest network."""
    titles = [
        "set",
        "test windows × seeds",
        "error of `rocket`",
        "error of aeon",
        "error of `conv1d`",
        "equal features",
    ]
    lines = heading([*titles, "`conv1d`", "2,016 features", "compared", "added"])
    for data in dict.fromkeys(each.data for each in found):
        part = [each for each in found if each.data == data]
        cells = [f"{part[0].tested} × {len(part)}"]
        for name in ("rocket", "reference", "conv1d"):
            shares = [100 * each.wrong[name] / each.tested for each in part if name in each.wrong]
            cells.append(f"{min(shares):.1f}–{max(shares):.1f} %" if len(shares) > 1 else f"{shares[0]:.1f} %")
        cells.append(f"{100 * np.mean([each.features_equal for each in part]):.1f} %")
        ms = next(each.ms for each in part if each.ms)
        cells += [
            f"{ms[name] / ms['rocket']:.2f}" if name in ms else "–"
            for name in ("conv1d", "smaller", "compared", "added")
        ]
        lines.append(line([data, *cells]))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare on each set with each seed, keep the results, and print the table."""
    parser = parser_of("rocket_study", __doc__)
    parser.add_argument("--sets", type=names, default=SETS, help="names of sets of aeon, separated by commas")
    parser.add_argument("--seeds", type=positive, default=3, help="seeds of each set")
    parser.add_argument("--trials", type=positive, default=6, help="candidates of each search of conv1d")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file of results, which is added to")
    options = parser.parse_args(arguments)
    spec = find_spec("aeon")
    if spec is None or spec.origin is None:
        parser.error("the sets and the reference come with aeon: pip install aeon.")
    folder = Path(spec.origin).parent / "datasets" / "data"
    torch.set_num_threads(1)
    found = [Compared(**each) for each in json.loads(options.out.read_text())] if options.out.exists() else []
    for data in options.sets:
        for seed in range(options.seeds):
            if any((each.data, each.seed) == (data, seed) for each in found):
                continue
            with tempfile.TemporaryDirectory() as made:
                path = folder / data.removesuffix("_eq") / f"{data}_TRAIN.ts"
                found.append(compare(path, seed, options.trials, Path(made)))
            print(found[-1], file=sys.stderr)
            options.out.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    print("\n".join(summary(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
