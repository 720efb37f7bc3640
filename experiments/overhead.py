"""``python -m experiments.overhead`` measures what a search costs in addition to its trainings.

    python -m experiments.overhead --candidates 2000 --workers 2 --seconds 1 --json OUT.json

It reports the time over the ideal, the time of a proposal, and the memory of the driver. A sampler proposes candidates
of the ``mobilenet`` space, Ray Tune runs them as in a search, and a journal on disk keeps them. A worker sleeps
``--seconds`` for each candidate. The ideal is candidates × seconds ÷ workers. The start of Ray is reported separately.
The errors are made up: they fall with the multiply-accumulates and vary a little between networks.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from experiments.command_line import parser_of
from nas.errors import CandidateError
from nas.hardware.machine import processor_name
from nas.jobs.execution import Job, Report
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from nas.searching.proposer import Beforehand, Proposer, Told
from nas.searching.screening import Verdict
from nas.space.architecture import Architecture
from nas.space.layer import total_macs
from nas.space.plug_ins import plug_in_names
from nas.space.search_space import load_space
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.storage.journal import Journal, write_aside
from nas.values.evaluation import Evaluation

INPUT_SHAPE, CLASSES = (1, 28, 28), 10
LAST = 100
"""The last proposals, whose mean time is reported separately."""


class Sleep:
    """Work that sleeps and then reports the error in its job."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, job: Job) -> Iterator[Report]:
        """Sleep, then yield the only report."""
        time.sleep(self._seconds)
        yield {"done": True, "error": job["error"]}


class Candidates:
    """The source of jobs, in the role of a round of a search."""

    def __init__(self, candidates: int, sampler: str, journal: Journal) -> None:
        self._space = load_space("mobilenet", {}, input_shape=INPUT_SHAPE, classes=CLASSES)
        self._describer = describer_of(self._space, image_signature(INPUT_SHAPE, CLASSES))
        beforehand = Beforehand(self._describer, {1: self._macs})
        self._proposer = Proposer(self._space, 2, sampler, seed=0, history=(), beforehand=beforehand)
        self._journal = journal
        self._left = candidates
        self.proposing_s: list[float] = []
        self.ended = 0

    def next_job(self) -> Job | None:
        """Return the job of the next candidate, or None after the last one."""
        if self._left == 0:
            return None
        self._left -= 1
        began_s = time.perf_counter()
        architecture = self._proposer.propose(lambda architecture: Verdict()).architecture
        self.proposing_s.append(time.perf_counter() - began_s)
        assert architecture is not None, "the space is far larger than the budget"
        return {"id": architecture.id, "architecture": dict(architecture), "error": self._error(architecture)}

    def on_report(self, job: Job, report: Report) -> bool:
        """Let every candidate continue."""
        return True

    def on_restart(self, job: Job) -> None:
        """Do nothing, because nothing of a candidate is kept before its end."""

    def on_end(self, job: Job, report: Report) -> None:
        """Append the evaluation to the journal and tell the sampler."""
        architecture = Architecture(job["architecture"])
        self._journal.append(Evaluation("train", architecture, values={"error": report["error"]}))
        losses = (float(report["error"]), float(self._macs([architecture])[0]))
        self._proposer.tell(Told(architecture, losses, {}))
        self.ended += 1

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """Raise the failure, because no candidate should fail here."""
        raise failure

    def _macs(self, architectures: Sequence[Architecture]) -> npt.NDArray[np.float64]:
        return np.array([float(total_macs(self._describer.layers(each))) for each in architectures])

    def _error(self, architecture: Architecture) -> float:
        wobble = int(architecture.id[:4], 16) / 16**4
        return float(0.05 + 0.5 * (self._macs([architecture])[0] / 1e5) ** -0.4 * (1 + 0.1 * wobble))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the candidates, print the figures, and write the JSON file."""
    parser = parser_of("overhead", __doc__)
    parser.add_argument("--candidates", type=int, default=2000, help="number of candidates")
    parser.add_argument("--workers", type=int, default=2, help="candidates at a time")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each candidate")
    parser.add_argument("--sampler", choices=plug_in_names("nas.samplers"), default="gp", help="default: gp")
    parser.add_argument("--json", type=Path, metavar="OUT", help="file for all figures")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.start(Path(folder) / "run", "", clock=time.time)
        source = Candidates(options.candidates, options.sampler, journal)
        before_s = time.perf_counter()
        with RayExecutor(options.workers, Resources()) as executor:
            began_s = time.perf_counter()
            executor.run(Sleep(options.seconds), source, time_limit_s=60 + 10 * options.seconds)
            took_s = time.perf_counter() - began_s
        journal.close()
    ideal_s = options.candidates * options.seconds / options.workers
    proposing_ms = 1e3 * np.array(source.proposing_s)
    figures = {
        "candidates": source.ended,
        "ideal_s": ideal_s,
        "took_s": took_s,
        "over_the_ideal": took_s / ideal_s - 1,
        "starting_ray_s": began_s - before_s,
        "proposing_ms_mean": float(proposing_ms.mean()),
        "proposing_ms_of_the_last_100": float(proposing_ms[-LAST:].mean()),
        "proposing_ms_largest": float(proposing_ms.max()),
        "driver_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "sampler": options.sampler,
        "workers": options.workers,
        "processor": processor_name(),
        "python": platform.python_version(),
    }
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
    if options.json is not None:
        write_aside(options.json, json.dumps(figures, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
