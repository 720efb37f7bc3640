"""The relay between a source of jobs and the trials of Ray Tune: retries, time limits and exceptions.

It needs no Ray. A trial runs one job in one process, which may be lost.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import final

from nas.errors import CandidateError, NasError
from nas.jobs.execution import Job, JobSource, Report, as_failure
from nas.jobs.workers_now import Doing

Outcome = Report | NasError
"""The latest result of a job: a report, or the exception that ended it."""

HARD_LIMIT_FACTOR = 1.2
HARD_LIMIT_GRACE_S = 5.0
TRIES = 2
"""A job whose process is lost starts once more, because the job may not be the cause. The second loss fails it."""
DEATH_TEXT = (
    f"the worker's process died in each of {TRIES} tries; it may have been killed, have run out of memory or crashed."
)


def hard_limit_of(time_limit_s: float) -> float:
    """Seconds after which the process of a job is ended; before that, the work checks its time limit itself."""
    return HARD_LIMIT_FACTOR * time_limit_s + HARD_LIMIT_GRACE_S


@final
class Relay:
    """Assigns the jobs of a source to trials, and passes outcomes back to the source.

    The first exception that must end the run is kept in ``error``; from then on the source is not called any more.

    A job whose process was lost is handed out again, before any new job. Tune's own retries would not inform the
    source. When a node runs out of memory, Tune ends every trial, and the culprit is unknown. All of them start again,
    one after the other.
    """

    def __init__(
        self,
        source: JobSource,
        time_limit_s: float,
        hard_limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` never jumps, as that of the day may do."""
        self._source = source
        self._clock = clock
        self._handed_out_s: dict[str, float] = {}
        self._time_limit_s = time_limit_s
        self._hard_limit_s = hard_limit_s
        self._jobs: dict[str, Job] = {}
        self._epochs: dict[str, int] = {}
        self._began_at: dict[str, float] = {}
        self._nodes: dict[str, str] = {}
        self._lost: deque[Job] = deque()
        self._deaths: Counter[str] = Counter()
        self._one_by_one = self._is_dry = False
        self.error: Exception | None = None

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        """Leave nothing in a pickle: Tune pickles its searcher to restore it later, but only the journal is used."""
        return object, ()

    @property
    def is_over(self) -> bool:
        """True if no further pass is needed. A pass asks the source for no more jobs after it once got none."""
        return self.error is not None or not (self._lost or self._one_by_one)

    @property
    def running(self) -> int:
        """The number of jobs that are handed out.

        As long as there are any, another one may come: whose process is lost starts again at once.
        """
        return len(self._jobs)

    def doing(self) -> list[Doing]:
        """Return what runs, and where as far as that is known."""
        return [
            Doing(job["id"], self._nodes.get(trial, ""), self._epochs.get(trial), self._began_at[trial])
            for trial, job in self._jobs.items()
        ]

    def place(self, trial_id: str, node: str) -> None:
        """Note on which node a trial runs."""
        if trial_id in self._jobs:
            self._nodes[trial_id] = node

    def begin_pass(self) -> None:
        """Prepare for a run of Tune: jobs run side by side again, unless lost ones still have to run alone."""
        self._is_dry = False
        self._one_by_one = self._one_by_one and bool(self._lost)

    def next_job(self, trial_id: str) -> Job | None:
        """Return the job for a new trial, or None when this pass has no more."""
        if self.error is not None or (self._one_by_one and (self._jobs or not self._lost)):
            return None
        try:
            job = self._lost.popleft() if self._lost else None if self._is_dry else self._source.next_job()
            self._is_dry = self._is_dry or job is None
            if job is not None and job["id"] in self._deaths:
                self._source.on_restart(job)
        except Exception as error:
            self.error = error
            return None
        if job is not None:
            self._jobs[trial_id] = job
            self._handed_out_s[trial_id], self._began_at[trial_id] = self._clock(), time.time()
        return job

    def goes_on(self, trial_id: str, outcome: Outcome) -> bool:
        """Pass a report to the source. Return whether the trial continues.

        A report of a trial that is over, which came late, stops nothing but that trial. One that came before is not
        passed on again.
        """
        job = self._jobs.get(trial_id)
        if self.error is not None or isinstance(outcome, Exception) or job is None:
            return False
        if self._is_known(trial_id, outcome):
            return True
        try:
            return self._source.on_report(job, outcome)
        except Exception as error:
            self.error = error
            return False

    def _is_known(self, trial_id: str, report: Report) -> bool:
        """Return True for a report of an epoch that is not after those that this trial has reported.

        A job of many candidates reports each once, whatever its epoch.
        """
        epoch = report.get("epoch")
        if not isinstance(epoch, int) or "architecture" in report:
            return False
        if epoch <= self._epochs.get(trial_id, -1):
            return True
        self._epochs[trial_id] = epoch
        return False

    def end(self, trial_id: str, outcome: Outcome) -> None:
        """Pass the last outcome of a trial to the source."""
        job = self._take(trial_id)
        if self.error is not None or job is None:
            return
        try:
            if not isinstance(outcome, Exception):
                self._source.on_end(job, outcome)
            else:
                self._source.on_failure(job, as_failure(outcome))
        except Exception as error:
            self.error = error

    def run_short_of_memory(self) -> None:
        """Tune has ended every trial. Jobs with a try left will run one after the other."""
        self._one_by_one = True
        for trial_id in list(self._jobs):
            self.die(trial_id, 0.0, None)

    def die(self, trial_id: str, lasted_s: float, error: Exception | None) -> None:
        """A trial's process died after ``lasted_s`` seconds, or ``error`` arose before its work could begin.

        It has lasted no longer than since its job was handed out, whatever the clock of the day says.
        """
        lasted_s = min(lasted_s, self._clock() - self._handed_out_s.get(trial_id, -math.inf))
        if error is not None:
            self.end(trial_id, as_failure(error))
        elif lasted_s >= self._hard_limit_s:
            self.end(trial_id, CandidateError("timeout", self._timeout_text(lasted_s)))
        elif (job := self._jobs.get(trial_id)) is not None:
            self._deaths[job["id"]] += 1
            if self._deaths[job["id"]] < TRIES:
                self._take(trial_id)
                self._lost.append(job)
            else:
                self.end(trial_id, CandidateError("worker", DEATH_TEXT))

    def refuse(self, trial_id: str) -> None:
        """A node could not begin a trial's work. The job is not to blame, and starts on another one."""
        job = self._take(trial_id)
        if job is not None:
            self._lost.append(job)

    def _take(self, trial_id: str) -> Job | None:
        """Return the job of a trial, of which nothing more is expected; None if there is none."""
        for known in (self._handed_out_s, self._began_at, self._epochs, self._nodes):
            known.pop(trial_id, None)
        return self._jobs.pop(trial_id, None)

    def _timeout_text(self, lasted_s: float) -> str:
        return (
            f"a training must take at most {self._time_limit_s:g} s, "
            f"but hung; its process was ended after {lasted_s:.0f} s."
        )
