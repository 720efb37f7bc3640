"""From architectures to measured rows: build, export, and measure together while nothing else runs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nas.architecture import Architecture
from nas.benchmarking import Bench, Outcome
from nas.errors import CandidateError
from nas.evaluation import Evaluation, Failure
from nas.export import export_onnx
from nas.progress import Progress
from nas.search_space import SearchSpace
from nas.tracing import build_checked


def measure_architectures(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    metrics: Sequence[str],
    bench: Bench,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    batch: int,
    round_number: int,
    rng: np.random.Generator,
    progress: Progress,
) -> list[Evaluation]:
    """One ``measure`` row for each architecture, with untrained weights: latency does not depend on them.

    What cannot be built, exported or run is a failed row.
    """
    found: dict[Architecture, Outcome] = {}
    models: dict[Architecture, Path] = {}
    with tempfile.TemporaryDirectory(prefix="nas-models-") as folder:
        progress.stage("exporting models", len(architectures))
        for architecture in architectures:
            path = Path(folder) / f"{architecture.id}.onnx"
            try:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    module = build_checked(space, architecture, input_shape, classes)
                    export_onnx(module, input_shape, batch, path)
                models[architecture] = path
            except CandidateError as error:
                found[architecture] = error
            progress.advance()
        progress.stage(f"measuring {len(models)} model{'s' * (len(models) != 1)}", len(models) * bench.rounds)
        outcomes = bench.measure(list(models.values()), metrics, rng, progress.advance)
        found |= zip(models, outcomes, strict=True)
    progress.close()
    return [_row(architecture, found[architecture], round_number) for architecture in architectures]


def _row(architecture: Architecture, outcome: Outcome, round_number: int) -> Evaluation:
    if isinstance(outcome, CandidateError):
        return Evaluation("measure", architecture, round_number, failure=Failure(outcome.kind, outcome.reason))
    return Evaluation("measure", architecture, round_number, measurements=outcome)
