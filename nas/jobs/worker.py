"""The part of an executor that runs inside a worker's process."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import time
from collections.abc import Generator, Iterator
from typing import final

from nas.errors import NasError
from nas.jobs.execution import Job, Report, Work, as_failure, reports_of
from nas.jobs.relay import Outcome
from nas.space.own_code import own_code


@final
class Worker:
    """Does one job after the other, and ends its own process when a job exceeds ``hard_limit_s`` seconds."""

    def __init__(self, work: Work, hard_limit_s: float) -> None:
        self._work = work
        self._hard_limit_s = hard_limit_s
        self._left_s = hard_limit_s
        self._reports: Generator[Report] | None = None
        self._sink = open(os.devnull, "w")  # noqa: SIM115 (it must stay open during every call)

    def begin(self, job: Job) -> None:
        """Close the job before this one, and prepare the reports of ``job``."""
        self._left_s = self._hard_limit_s
        if self._reports is not None:
            with self._watched():
                self._reports.close()
        self._left_s = self._hard_limit_s
        self._reports = reports_of(self._work, job)

    def next_outcome(self) -> Outcome:
        """Continue the job until its next report or failure."""
        assert self._reports is not None
        try:
            with self._watched(), own_code():
                return next(self._reports)
        except NasError as error:
            return error
        except Exception as error:  # a candidate may raise anything
            return as_failure(error)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """End this process when the job has used up its time; waiting for the driver or a job does not count.

        The thread that ends it needs no interpreter, so code that hangs cannot prevent it.
        """
        began_s = time.monotonic()
        faulthandler.dump_traceback_later(max(0.001, self._left_s), exit=True, file=self._sink)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._left_s -= time.monotonic() - began_s
