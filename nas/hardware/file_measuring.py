"""Measuring model files of any origin: one result for each file, with the error where there is no number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from nas.errors import CandidateError, RecipeError
from nas.formats.input_sizes import InputSizes
from nas.formats.model_inputs import check_fixed, shape_text
from nas.formats.onnx_file import inputs_of, multiply_accumulates, read_onnx
from nas.hardware.bench import Bench, Outcome
from nas.hardware.machine import check_inputs_fit
from nas.hardware.roofline import Throughput, throughput_of
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.progress import Progress
from nas.storage.scratch import temporary_folder
from nas.values.target import Target

LARGEST_IN_ONE_FILE = 2**31 - 2**20
"""Protobuf takes no file of two GiB; larger models keep their weights in a file beside it."""
BUNDLED = "model.onnx"
"""The exported model in the folder of a bundle."""


@dataclass(frozen=True)
class MeasuredFile:
    """The result of one file. ``macs`` are of one inference of the whole batch, or None where they are unknown.

    ``least_bytes`` are the bytes of its weights and inputs, the least that an inference moves.
    """

    path: Path
    outcome: Outcome
    macs: int | None = None
    least_bytes: int | None = None

    @property
    def throughput(self) -> Throughput | None:
        """Throughput and shares of the peak, or None if the latency was not measured."""
        if isinstance(self.outcome, CandidateError) or "latency_ms" not in self.outcome:
            return None
        latency = self.outcome["latency_ms"]
        batch = int(latency.conditions.get("batch", 1))
        return throughput_of(latency, None if self.macs is None else self.macs / batch, self.least_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        known: dict[str, Any] = {"path": str(self.path), "macs": self.macs}
        if isinstance(self.outcome, CandidateError):
            return {**known, "failure": {"kind": self.outcome.kind, "reason": self.outcome.reason}}
        throughput = self.throughput
        return {
            **known,
            "measured": {name: measurement.to_json() for name, measurement in self.outcome.items()},
            "throughput_per_s": None if throughput is None else throughput.items_per_s,
            "share_of_peak": None if throughput is None else throughput.share_of_peak,
            "share_of_roofline": None if throughput is None else throughput.share_of_roofline,
            "beyond_bound": None if throughput is None else throughput.beyond_bound,
        }


def measure_files(
    paths: Sequence[Path],
    target: Target,
    bench: Bench,
    metrics: Sequence[str],
    seed: int,
    progress: Progress,
    sizes: InputSizes | None = None,
) -> list[MeasuredFile]:
    """Deploy and measure ONNX files together.

    A file that cannot be read, or that the runtime refuses, crashes on or hangs on gets the error as its outcome.
    ``sizes`` are for inputs whose sizes a file leaves open. A folder stands for the exported model of its bundle.

    Raises:
        RecipeError: the target's runtime takes no ONNX files.
        TargetError: the target cannot be measured here.
    """
    if bench.model_format != "onnx":
        raise RecipeError(
            f"ONNX files need a runtime that takes them, but {target.runtime} takes torch programs; "
            "choose onnxruntime-cpu, or measure a search space with --space."
        )
    found: dict[int, MeasuredFile] = {}
    with temporary_folder("files") as folder:
        sound: dict[int, _Sound] = {}
        for index, path in enumerate(paths):
            try:
                sound[index] = _look_at(model_in(path), target.batch, sizes, folder / f"fixed-{index}")
            except (ValueError, OSError, RecipeError, onnx.checker.ValidationError) as error:
                found[index] = MeasuredFile(path, CandidateError("measure", str(error)))
        if sound:
            measured = _measure(paths, sound, folder, bench, metrics, np.random.default_rng(seed), progress)
            found |= measured
    progress.close()
    return [found[index] for index in range(len(paths))]


def model_in(path: Path) -> Path:
    """Return the model of a bundle where ``path`` is the bundle's folder, and else ``path`` itself."""
    return path / BUNDLED if (path / BUNDLED).is_file() else path


@dataclass(frozen=True)
class _Sound:
    """A file that can be deployed, at ``path``, with its work and the bytes of its inputs, None where unknown."""

    path: Path
    macs: int | None
    moved_bytes: int | None


def _measure(
    paths: Sequence[Path],
    sound: Mapping[int, _Sound],
    folder: Path,
    bench: Bench,
    metrics: Sequence[str],
    rng: np.random.Generator,
    progress: Progress,
) -> dict[int, MeasuredFile]:
    found: dict[int, MeasuredFile] = {}
    progress.stage("deploying models", len(sound))
    folders = [folder / str(index) for index in sound]
    answers = bench.deploy([ExportedModel(each.path) for each in sound.values()], folders, progress.advance)
    deployed: dict[int, Deployed] = {}
    for index, answer in zip(sound, answers, strict=True):
        if isinstance(answer, CandidateError):
            found[index] = MeasuredFile(paths[index], answer)
        else:
            deployed[index] = answer
    if not deployed:
        return found
    progress.close()
    _ = bench.fingerprint  # before the next stage: its first use measures the target, which takes a while
    progress.stage(
        f"sessions of measuring {len(deployed)} model{'s' * (len(deployed) != 1)}", len(deployed) * bench.rounds
    )
    outcomes = bench.measure(list(deployed.values()), metrics, rng, progress.advance)
    for (index, model_file), outcome in zip(deployed.items(), outcomes, strict=True):
        moved = sound[index].moved_bytes
        least_bytes = None if moved is None else moved + model_file.weight_bytes
        found[index] = MeasuredFile(paths[index], outcome, sound[index].macs, least_bytes)
    return found


def _look_at(path: Path, batch: int, sizes: InputSizes | None, folder: Path) -> _Sound:
    """Return what is known of a file before it is deployed. If sizes were open, it is written to ``folder`` with them.

    Raises:
        ValueError: the file is not ONNX, its external data lies outside its folder, or a size stays open.
    """
    model = read_onnx(path)
    has_changed = sizes is not None and sizes.fix(model, batch)
    moved_bytes: int | None
    try:
        inputs = inputs_of(model, batch)
    except KeyError:  # an input that is no tensor: the runtime decides whether it runs
        moved_bytes = None
    else:
        for each in inputs:
            check_fixed(each)
            size = math.prod(size or 0 for size in each.shape) * each.dtype.itemsize
            check_inputs_fit(size, shape_text(each.shape))
        moved_bytes = sum(math.prod(size or 0 for size in each.shape) * each.dtype.itemsize for each in inputs)
    if has_changed:
        folder.mkdir()
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
        onnx.save(model, folder / path.name, save_as_external_data=model.ByteSize() > LARGEST_IN_ONE_FILE)
    for declared in model.graph.input:
        sizes_of = declared.type.tensor_type.shape.dim
        if sizes_of and not sizes_of[0].HasField("dim_value"):
            sizes_of[0].dim_value = batch
    place = folder / path.name if has_changed else path.resolve()
    return _Sound(place, multiply_accumulates(model), moved_bytes)
