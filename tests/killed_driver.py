"""A driver that tests kill: it measures models on the pool ``pis``, and appends a row of each to a journal.

``python -m killed_driver FOLDER ROUNDS`` goes on where an earlier one ended. It ends at the file ``enough`` in FOLDER.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.hardware.devices import board as boards
from nas.hardware.devices.pool import Pool
from nas.hardware.devices.registry import known
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import PoolBench
from nas.hardware.runtimes.runtime import Deployed
from nas.space.architecture import Architecture
from nas.storage.journal import RECIPE, Journal
from nas.values.evaluation import Evaluation, Failure
from nas.values.target import Target

TARGET = Target("own_runtime:OnBoard", device="pis")
TOGETHER = 3
"""The models of a round."""
LEAST, NO_BOARD = 2 * TOGETHER, 3
"""The fewest rows, and the exit status of a driver that a user would start again."""


def main(folder: Path, rounds: int) -> None:
    """Measure further models until there are enough."""
    boards.MOST_LOST = 1000  # a model may be unlucky several times
    run = folder / "run"
    opened = Journal.resume if (run / RECIPE).exists() else lambda run, clock: Journal.start(run, "", clock=clock)
    with opened(run, clock=time.time) as journal:
        settings = BenchSettings(rounds, rounds, seconds_per_round=0.001, min_samples=1)
        bench = PoolBench(TARGET, settings, Pool(known("pis")), say=lambda text: print(text, flush=True))
        while (first := len(journal.rows(Evaluation))) < LEAST or not (folder / "enough").exists():
            numbers = range(first, first + TOGETHER)
            models = [Deployed(_model(folder, number), weight_bytes=1) for number in numbers]
            outcomes = bench.measure(models, ["latency_ms"], np.random.default_rng(first))
            journal.append(*(_row(number, outcome) for number, outcome in zip(numbers, outcomes, strict=True)))


def _row(number: int, outcome: object) -> Evaluation:
    model = Architecture({"number": number})
    if isinstance(outcome, CandidateError):
        return Evaluation("measure", model, 0, failure=Failure(outcome.kind, outcome.reason))
    assert isinstance(outcome, dict)
    return Evaluation("measure", model, 0, measurements=outcome)


def _model(folder: Path, number: int) -> Path:
    path = folder / f"m{number}" / "a.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"clock {1 + number}")
    return path


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except TargetError as error:  # no board could be reached for minutes, or when it began
        print(error, flush=True)
        sys.exit(NO_BOARD)
