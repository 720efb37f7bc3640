"""The protocols of jobs: a source hands them out, an executor runs them, and work reports on each as it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, final

from nas.errors import CandidateError, NasError, raised_text
from nas.hardware.machine import machine_id
from nas.space.own_code import own_code

Job = Mapping[str, Any]
"""Plain JSON data: an ``id``, and the arguments of the work."""
Report = Mapping[str, Any]
Work = Callable[[Job], Iterator[Report]]
"""Does a job and yields its reports; the last one holds ``done``.

A CandidateError fails its job alone, and so does every exception that is not a NasError. Any other NasError ends the
run.
"""

OUT_OF_MEMORY = ("OutOfMemoryError", "can't allocate memory")
"""Signs of torch's memory errors: the class on GPUs, the message on CPUs."""


class JobSource(Protocol):
    """Hands out jobs and receives their results. An executor calls one method at a time, in the driver."""

    def next_job(self) -> Job | None:
        """Return a job, or None when there are no more."""

    def on_report(self, job: Job, report: Report) -> bool:
        """Receive a report before the last one. Return False to stop the job."""

    def on_restart(self, job: Job) -> None:
        """The job starts again, because its process was lost. It will repeat its earlier reports."""

    def on_end(self, job: Job, report: Report) -> None:
        """The job has ended. ``report`` is its last one, which holds ``done``, or the one at which it was stopped."""

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """The job has failed."""


class Executor(Protocol):
    """Runs jobs until their source has no more. It is a context manager, because it may hold processes.

    An exception of the source ends the run, and so does a NasError of the work other than a CandidateError. ``run``
    raises either.
    """

    @property
    def machines(self) -> Collection[str | None]:
        """The identifiers of the machines on which jobs run, as ``machine.machine_id`` has them."""

    def run(self, work: Work, source: JobSource, *, time_limit_s: float) -> None:
        """Do ``work`` for each job of ``source``; a job should take at most ``time_limit_s`` seconds."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@final
class InlineExecutor:
    """Runs one job after the other in this process. Only the work itself checks the time limit."""

    @property
    def machines(self) -> Collection[str | None]:
        """This machine."""
        return [machine_id()]

    def run(self, work: Work, source: JobSource, *, time_limit_s: float) -> None:
        """Do ``work`` for each job of ``source``. Does not enforce ``time_limit_s``."""
        while (job := source.next_job()) is not None:
            with contextlib.closing(reports_of(work, job)) as reports:
                outcome = self._outcome(job, reports, source)
            if isinstance(outcome, CandidateError):
                source.on_failure(job, outcome)
            else:
                source.on_end(job, outcome)

    def _outcome(self, job: Job, reports: Iterator[Report], source: JobSource) -> Report | CandidateError:
        while True:
            try:
                with own_code():
                    report = next(reports)
            except Exception as error:  # a candidate may raise anything
                return as_failure(error)
            if report.get("done") or not source.on_report(job, report):
                return report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def as_failure(error: Exception) -> CandidateError:
    """Convert an exception of the work into the failure of its job.

    Raises:
        NasError: ``error`` itself, if it is a NasError but no CandidateError.
    """
    if isinstance(error, CandidateError):
        return error
    if isinstance(error, NasError):
        raise error
    if isinstance(error, MemoryError) or any(sign in raised_text(error) for sign in OUT_OF_MEMORY):
        return CandidateError("memory", f"training must fit into memory, but raised {type(error).__name__}: {error}")
    return CandidateError("exception", f"training raised {raised_text(error)}")


def reports_of(work: Work, job: Job) -> Generator[Report]:
    """Yield the reports of a job. The work runs only during ``next``, even if it is no generator."""
    yield from work(job)
    raise AssertionError("the last report of a job must hold done")
