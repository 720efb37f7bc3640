"""``python -m experiments.int8_accuracy`` shows what networks of several kinds lose in int8 by ONNX Runtime.

    python -m experiments.int8_accuracy --photos clothes=runs/desk/photos/clothes --side 48 --text book.txt

Each network is trained from scratch, exported once, and quantised twice: as ``nas`` does it, and by default, with all
operators in int8 and ranges for all values. All of them answer for the same test items, and are measured in turns.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import timm
import torch

import nas
from experiments.beside_winners import MEASURING, measured_in_turns, tested
from experiments.command_line import heading, line, parser_of, positive
from experiments.desk.__main__ import named_folder
from experiments.shrink_study import calibration_items
from nas.formats.export import export_onnx
from nas.hardware.runtimes import onnx_runtime
from nas.hardware.runtimes.runtime import ExportedModel
from nas.results.data_of_run import source_of
from nas.space.search_space import sample
from nas.space.torch_settings import torch_with
from nas.space.tracing import build_checked
from nas.training.settings import retraining_settings

NETWORKS = (
    "test_efficientnet", "mobilenetv3_small_050", "lcnet_035", "hardcorenas_a", "test_convnext", "test_vit", "test_vit3"
)  # fmt: skip
"""Models of timm: five that convolve, of which one normalises layers, and two vision transformers."""
EPOCHS_OF_PHOTOS, EPOCHS_OF_TEXT, SHARE_OF_TEXT = 8, 1, 0.3
INT8 = nas.Target("onnxruntime-cpu", "int8")
AS_NAS, ALL = "as nas does", "by default"


@dataclass(frozen=True)
class Row:
    """One network with one seed: test errors and latencies in ms, in fp32 and in both int8 forms."""

    data: str
    network: str
    seed: int
    tested: int
    errors: tuple[float, float, float]
    latencies_ms: tuple[float, float, float]


def of_photos(folder: Path, side: int, seed: int, epochs: int) -> Iterator[tuple[str, torch.nn.Module, nas.Task]]:
    """Yield each model of timm, trained on a folder of photos."""
    recipe = nas.Recipe.from_mapping(
        {"seed": seed, "data": {"name": f"folder:{folder.absolute()}", "image_size": side}}
    )
    task = source_of(recipe, None).load()
    classes = task.signature.classes
    for name in NETWORKS:
        with torch_with(1, seed):
            options: dict[str, Any] = {"img_size": side} if "vit" in name else {}
            module = timm.create_model(name, num_classes=classes, **options)
            module = trained(module, task, replace(retraining_settings(recipe), epochs=epochs), seed)
        yield name, module, task


def of_text(path: Path, seed: int, count: int) -> Iterator[tuple[str, torch.nn.Module, nas.Task]]:
    """Yield small language models of the space ``gpt``, drawn at random and trained on a text."""
    recipe = nas.Recipe.from_mapping({"seed": seed, "data": {"task": "text", "name": str(path)}, "space": "gpt"})
    task = source_of(recipe, None).load()
    space, rng = nas.load_space("gpt", {}, task.signature), np.random.default_rng(seed)
    settings = replace(retraining_settings(recipe), epochs=EPOCHS_OF_TEXT, subset=SHARE_OF_TEXT)
    for _ in range(count):
        architecture = sample(space, rng)
        with torch_with(1, seed):
            module = trained(build_checked(space, architecture, task.signature), task, settings, seed)
        yield f"gpt {architecture.id} ({architecture['norm']} norm)", module, task


def trained(module: torch.nn.Module, task: nas.Task, settings: Any, seed: int) -> torch.nn.Module:
    """Train a module on training and validation items, as winners are."""
    for _ in nas.Trainer(settings).train(module, task, seed):
        pass
    return module.eval()


def rows_of(data: str, seed: int, networks: Iterator[tuple[str, torch.nn.Module, nas.Task]]) -> Iterator[Row]:
    """Export, quantise, test and measure each network."""
    recipe = nas.Recipe.from_mapping({"seed": seed, "target": "onnxruntime-cpu"})
    for name, module, task in networks:
        with tempfile.TemporaryDirectory(prefix="nas-") as name_of_folder:
            folder = Path(name_of_folder)
            export_onnx(module, task.signature.inputs, 1, folder / "model.onnx")
            models = [folder / "model.onnx", *quantised(folder, task)]
            errors = [tested(model, task)["error"].value for model in models]
            measured = measured_in_turns(models, recipe, MEASURING, folder / "measured")
            yield Row(data, name, seed, len(task.test), of_three(errors), of_three([each.median for each in measured]))


def of_three(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the values in fp32, in int8 as nas does, and in int8 by default."""
    first, second, third = values
    return first, second, third


def quantised(folder: Path, task: nas.Task) -> Iterator[Path]:
    """Yield the exported model in int8: as nas does, and by default."""
    items, kind = partial(calibration_items, task), task.criterion.kind
    exported = ExportedModel(folder / "model.onnx", items, classifies=lambda: kind == "classification")
    runtime = onnx_runtime.OnnxRuntimeCpu()
    (folder / AS_NAS).mkdir()
    yield runtime.convert(exported, INT8, folder / AS_NAS).path
    (folder / ALL).mkdir()
    everything = mock.patch.multiple(onnx_runtime, is_transformer=lambda model: False, light_heads=lambda *of: [])
    with everything, np.errstate(invalid="ignore"):  # the range of an attention mask is infinite
        yield runtime.convert(exported, INT8, folder / ALL).path


def summary(rows: Sequence[Row]) -> list[str]:
    """Return a Markdown table: for each network the mean error in fp32, what int8 adds to it, and its share of time."""
    lines = heading(
        ["data", "network", "seeds", "error in fp32", f"{AS_NAS}: added", "time", f"{ALL}: added", "time beside fp32"]
    )
    for data, network in dict.fromkeys((row.data, row.network) for row in rows):
        of = [row for row in rows if (row.data, row.network) == (data, network)]
        cells = [data, network, str(len(of)), f"{statistics.mean(row.errors[0] for row in of):.1%}"]
        for form in (1, 2):
            added = statistics.mean(row.errors[form] - row.errors[0] for row in of)
            took = statistics.geometric_mean(row.latencies_ms[form] / row.latencies_ms[0] for row in of)
            cells += [f"{100 * added:+.1f} points", f"{took:.2f}"]
        lines.append(line(cells))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Train all networks, keep a row for each, and print the table."""
    parser = parser_of("int8_accuracy", __doc__)
    parser.add_argument("--photos", type=named_folder, metavar="NAME=FOLDER", help="a folder of photos, and its name")
    parser.add_argument("--side", type=positive, default=48, help="the side of photos in pixels (default: 48)")
    parser.add_argument("--epochs", type=positive, default=EPOCHS_OF_PHOTOS, help="epochs of photos (default: 8)")
    parser.add_argument("--text", type=Path, help="a file of text")
    parser.add_argument("--models", type=positive, default=3, help="language models for each seed (default: 3)")
    parser.add_argument("--seeds", type=positive, default=2, help="seeds (default: 2)")
    parser.add_argument("--out", type=Path, help="the file of results, a line of JSON for each network")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    for seed in range(given.seeds):
        if given.photos is not None:
            name, folder = given.photos
            rows += rows_of(name, seed, of_photos(folder, given.side, seed, given.epochs))
        if given.text is not None:
            rows += rows_of(given.text.stem, seed, of_text(given.text, seed, given.models))
    if given.out is not None:
        nas.write_aside(given.out, "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode())
    print("\n".join(summary(rows)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
