"""Jobs by script for the tests of executors, and a way to run code in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from commands import path_with_the_tests

from nas.errors import CandidateError
from nas.jobs.execution import Job, Report
from nas.jobs.ray_environment import LOCAL_RAY_VARIABLES
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources

ENOUGH_S = 60.0


class Script:
    """A source with a list of jobs that records every call. It stops a job at its ``stop_at`` epoch."""

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self._jobs = [{"id": f"j{number}", **job} for number, job in enumerate(jobs)]
        self.heard: dict[str, list[tuple[str, Any]]] = {}
        self.asked = 0

    def next_job(self) -> Job | None:
        if self.asked == len(self._jobs):
            return None
        job = self._jobs[self.asked]
        self.asked += 1
        self.heard[job["id"]] = []
        return job

    def on_report(self, job: Job, report: Report) -> bool:
        self.heard[job["id"]].append(("report", report))
        return "stop_at" not in job or report["epoch"] != job["stop_at"]

    def on_restart(self, job: Job) -> None:
        self.heard[job["id"]].append(("restart", None))

    def on_end(self, job: Job, report: Report) -> None:
        self.heard[job["id"]].append(("end", report))

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        self.heard[job["id"]].append(("failure", (failure.kind, failure.reason)))

    @property
    def kinds(self) -> list[str | None]:
        """The kind of each job's failure; None for a job that ended well."""
        ends = [self.heard[job["id"]][-1] for job in self._jobs]
        return [what[0] if event == "failure" else None for event, what in ends]


def counting(epochs: int, **more: Any) -> dict[str, Any]:
    """A job that reports ``epochs`` epochs."""
    return {"do": "count", "epochs": epochs, **more}


def two_workers() -> RayExecutor:
    """An executor with a local Ray and two workers."""
    return RayExecutor(2, Resources(cpus=1))


def run_apart(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the code in a process that can import the tests' modules but does not know any Ray of this process."""
    environment = {name: value for name, value in os.environ.items() if name not in LOCAL_RAY_VARIABLES}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env={**environment, "PYTHONPATH": path_with_the_tests()},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
