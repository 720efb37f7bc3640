"""Measuring model files of any origin: one result for each file, with the error where there is no number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import CandidateError, RecipeError
from nas.formats.onnx_file import inputs_of, multiply_accumulates, read_onnx
from nas.hardware.bench import Bench, Outcome
from nas.hardware.roofline import Throughput, throughput_of
from nas.hardware.runtimes.runtime import Deployed
from nas.progress import Progress
from nas.storage.scratch import temporary_folder
from nas.values.target import Target


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
    paths: Sequence[Path], target: Target, bench: Bench, metrics: Sequence[str], seed: int, progress: Progress
) -> list[MeasuredFile]:
    """Deploy and measure ONNX files together.

    A file that the runtime refuses, crashes on or hangs on gets the error as its outcome.

    Raises:
        RecipeError: the target's runtime takes no ONNX files.
        TargetError: the target cannot be measured here.
    """
    if bench.model_format != "onnx":
        raise RecipeError(
            f"ONNX files need a runtime that takes them, but {target.runtime} takes torch programs; "
            "choose onnxruntime-cpu or openvino-cpu, or measure a search space with --space."
        )
    found: dict[int, MeasuredFile] = {}
    sound: list[int] = []
    counts: dict[int, tuple[int | None, int | None]] = {}
    for index, path in enumerate(paths):
        try:
            counts[index] = _counts(path, target.batch)
            sound.append(index)
        except ValueError as error:
            found[index] = MeasuredFile(path, CandidateError("measure", str(error)))
    with temporary_folder("files") as folder:
        progress.stage("deploying models", len(sound))
        folders = [folder / str(index) for index in sound]
        answers = bench.deploy([paths[index].resolve() for index in sound], folders, progress.advance)
        deployed: dict[int, Deployed] = {}
        for index, answer in zip(sound, answers, strict=True):
            if isinstance(answer, CandidateError):
                found[index] = MeasuredFile(paths[index], answer)
            else:
                deployed[index] = answer
        progress.stage("measuring models", len(deployed) * bench.rounds)
        rng = np.random.default_rng(seed)
        outcomes = bench.measure(list(deployed.values()), metrics, rng, progress.advance)
        for (index, model_file), outcome in zip(deployed.items(), outcomes, strict=True):
            macs, moved = counts[index]
            least_bytes = None if moved is None else moved + model_file.weight_bytes
            found[index] = MeasuredFile(paths[index], outcome, macs, least_bytes)
    progress.close()
    return [found[index] for index in range(len(paths))]


def _counts(path: Path, batch: int) -> tuple[int | None, int | None]:
    """Return the multiply-accumulates of one inference and the bytes of its inputs, each None where unknown.

    Raises:
        ValueError: the file is not ONNX, or its external data lies outside its folder.
    """
    model = read_onnx(path)
    try:
        moved: int | None = 0
        for each in inputs_of(model, batch):
            sizes = [size for size in each.shape if size is not None]
            known = moved is not None and len(sizes) == len(each.shape)
            moved = (moved or 0) + math.prod(sizes) * each.dtype.itemsize if known else None
    except KeyError:  # an input that is no tensor: the runtime decides whether it runs
        moved = None
    for declared in model.graph.input:
        sizes_of = declared.type.tensor_type.shape.dim
        if sizes_of and not sizes_of[0].HasField("dim_value"):
            sizes_of[0].dim_value = batch
    try:
        return multiply_accumulates(model), moved
    except RuntimeError:  # shapes that contradict each other: the runtime decides here too
        return None, moved
