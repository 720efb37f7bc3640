"""Jobs, who has them done, and who does them: they are asked for and their results told one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, final

from nas.errors import CandidateError, NasError

Job = Mapping[str, Any]
"""Plain JSON data with an ``id``, and whatever the task takes."""
Report = Mapping[str, Any]
Task = Callable[[Job], Iterator[Report]]
"""Does a job and reports as it goes; the last report holds ``done``. A CandidateError, and whatever else is no
NasError, ends the job, and it alone; any other NasError ends the run."""

OUT_OF_MEMORY = ("OutOfMemoryError", "can't allocate memory")
"""What tells such errors of torch's from others: the class on GPUs, the message on CPUs."""


class JobSource(Protocol):
    """Who has jobs done. Its methods are called one at a time, in the driver."""

    def next_job(self) -> Job | None:
        """A job, or None when there are no more."""

    def on_report(self, job: Job, report: Report) -> bool:
        """Take note of a report that is not the last, and say whether the job goes on."""

    def on_restart(self, job: Job) -> None:
        """The job's process was lost, so it begins anew: what it reported before will be reported again."""

    def on_end(self, job: Job, report: Report) -> None:
        """The job has ended: with its last report, which holds ``done``, or with the one at which it was stopped."""

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """The job has failed."""


class Executor(Protocol):
    """Has jobs done until their source has no more. A context manager: it may hold processes.

    An exception from the source, or one of a task's that is no candidate's failure, ends the run and is raised
    from ``run``.
    """

    def run(self, task: Task, source: JobSource, *, time_limit_s: float) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@final
class InlineExecutor:
    """One job after the other in this process. A task's time limit is as hard as the task's own checks."""

    def run(self, task: Task, source: JobSource, *, time_limit_s: float) -> None:
        while (job := source.next_job()) is not None:
            with contextlib.closing(reports_of(task, job)) as reports:
                outcome = self._outcome(job, reports, source)
            if isinstance(outcome, CandidateError):
                source.on_failure(job, outcome)
            else:
                source.on_end(job, outcome)

    def _outcome(self, job: Job, reports: Iterator[Report], source: JobSource) -> Report | CandidateError:
        while True:
            try:
                report = next(reports)
            except Exception as error:  # whatever a candidate raises is its own failure
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
    """The failure that an exception of a task stands for. Raises NasErrors that are no candidate's failure."""
    if isinstance(error, CandidateError):
        return error
    if isinstance(error, NasError):
        raise error
    if isinstance(error, MemoryError) or any(sign in repr(error) for sign in OUT_OF_MEMORY):
        return CandidateError("memory", f"training must fit into memory, but raised {type(error).__name__}: {error}")
    return CandidateError("exception", f"training raised {type(error).__name__}: {error}")


def reports_of(task: Task, job: Job) -> Generator[Report]:
    """A task's reports. None of its code runs but while the next one is asked for, however it is written."""
    yield from task(job)
    raise AssertionError("a task's last report must hold done")
