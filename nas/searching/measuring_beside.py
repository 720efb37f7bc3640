"""Measuring candidates on a board while others train elsewhere.

The board would wait for the trainings of a round otherwise, and all workers for the board after it.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, final

from nas.errors import JournalError, TargetError
from nas.hardware.devices.named import interrupted, is_apart_from
from nas.hardware.measuring import Surroundings
from nas.jobs.execution import Executor, InlineExecutor, Job, JobSource, Report
from nas.progress import NullProgress
from nas.searching.fitting import Fitting
from nas.searching.selection import worth_measuring
from nas.searching.state import RunState, lost_text
from nas.signals import deferred
from nas.space.parts.candidate import Candidate
from nas.values.evaluation import Evaluation

POLL_S = 0.2
ENDING_S = 2.0
"""How long the session under way may take to end after an interruption, before the connection is closed."""
CLOSED_S = 10.0
"""How long the thread may take to notice that."""
MORE_SHARE = 0.05
"""What is worth measuring is asked again once proposals have grown by this share, if nothing was the last time."""


@final
class MeasuringBeside:
    """Measures the candidates that would most change the front, while others train.

    A thread does what the device does. All else is done where an executor asks for jobs and reports on them: candidates
    are chosen and exported one by one, and their rows are taken up. Rounds do not wait for it, unless they find no
    candidates. The end of the ``with`` block waits; an exception there ends what is being measured.
    """

    def __init__(self, state: RunState, fitting: Fitting, executor: Executor, *, trains: bool = True) -> None:
        """Measure nothing yet. Without ``trains``, candidates are scored instead, and nothing is measured meanwhile."""
        self._state = state
        self._fitting = fitting
        self._executor = executor
        self._trains = trains
        self._again_at: float = 0
        self._number = 0
        self._measuring: _Measuring | None = None
        self._lost: TargetError | None = None
        self._waits = False
        self._tell_schedule()

    @property
    def is_on(self) -> bool:
        """True if candidates are measured while others train, and so not between rounds.

        False where trainings may disturb measurements, and where a seed decides the order of all rows.
        """
        state = self._state
        if isinstance(self._executor, InlineExecutor) or not self._trains or self._waits:
            return False
        if not isinstance(state.resolved.measurer, Surroundings) or not state.beliefs.measured_metrics:
            return False
        with contextlib.suppress(TargetError):
            return is_apart_from(state.resolved.device, self._executor.machines)
        return False

    def joined(self, source: JobSource, number: int, ends_s: float) -> JobSource:
        """Return a source of the same jobs that also lets candidates be measured, until round ``number`` ends.

        ``ends_s`` is the time of the run's own clock at which the round ends.
        """
        self._number, self._waits = number, False
        self._tell_schedule()
        return _Both(source, lambda: self._look(ends_s)) if self.is_on else source

    def wait(self) -> None:
        """Wait for what is being measured, because the round found no candidates, and let others be measured after it.

        Raises:
            TargetError: the device was lost.
        """
        self._finish()
        self._waits = True

    def take_up(self) -> bool:
        """Add the rows of a measuring that has ended, and say so. Return False if there is none."""
        measuring = self._measuring
        if measuring is None or not measuring.has_ended:
            return False
        self._measuring, self._state.measures_beside = None, False
        measuring.leave_bench()
        for text in measuring.progress.said:
            self._state.progress.say(text)
        if isinstance(measuring.error, TargetError):
            self._lost = measuring.error
            self._state.progress.say(f"nothing more is measured in this round: {measuring.error}")
            return False
        if measuring.error is not None:
            raise measuring.error
        self._state.take_measured(measuring.rows, measuring.took_s)
        count = len(measuring.rows)
        where = self._state.resolved.device.name
        self._state.progress.say(f"measured {count} candidate{'s' * (count != 1)} on {where}, while others trained")
        return True

    def check(self) -> None:
        """Raise the TargetError of a device that was lost while others trained. They have ended by now."""
        if self._lost is not None:
            raise self._lost

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as raised:
            error = raised
            raise
        finally:
            if error is not None:
                self._end(error)
            self._state.schedule.measures_beside = self._state.measures_beside = False

    def _finish(self) -> None:
        """Wait for what is being measured, take it up, and fit again if there was something."""
        if self._measuring is not None:
            self._state.progress.say("waiting for what is being measured")
            self._measuring.prepare_rest()
            while not self._measuring.has_ended:
                self._measuring.thread.join(POLL_S)  # Windows does not interrupt a longer one
        if self.take_up():
            self._fitting.fit(self._number)
        self.check()

    def _end(self, error: BaseException) -> None:
        """End what is being measured, because of an error. What has ended is kept, if it can be."""
        measuring = self._measuring
        if measuring is None:
            return
        if not measuring.is_begun:
            measuring.forget()
            return
        if measuring.has_ended:
            if measuring.error is None and not isinstance(error, JournalError):
                with contextlib.suppress(KeyboardInterrupt), deferred():
                    self.take_up()
            return
        if isinstance(error, KeyboardInterrupt):
            error.add_note(lost_text(measuring.models, self._state.beliefs.measured_metrics))
        measuring.stop()
        measuring.leave_bench()
        measuring.thread.join(ENDING_S)
        if not measuring.has_ended:
            with interrupted(self._state.resolved.device):
                measuring.thread.join(CLOSED_S)

    def _look(self, ends_s: float) -> None:
        """Take the next step: take up what was measured, export the next model, or begin to measure others."""
        if self._measuring is not None and not self._measuring.is_begun:
            self._measuring.prepare()
        if self.take_up():
            self._fitting.fit(self._number)
        if self._measuring is None and self._lost is None and self.is_on:
            self._begin(ends_s)

    def _begin(self, ends_s: float) -> None:
        state = self._state
        proposals = state.beliefs.trials + len(state.screening.near_limits)
        if proposals < self._again_at:
            return
        count = state.schedule.count_between()
        if state.spent_s + state.durations.pace.measuring_s(count) > ends_s:
            return
        chosen = worth_measuring(state.beliefs, state.beliefs.candidates, state.screening.near_limits, count)
        if not chosen:
            self._again_at = proposals + math.ceil(MORE_SHARE * max(1, proposals))
            return
        state.measures_beside = True
        self._measuring = _Measuring(state, chosen, self._number)

    def _tell_schedule(self) -> None:
        self._state.schedule.measures_beside = self.is_on


@final
class _Both:
    """Passes everything on to ``source``, and calls ``look`` before each job and each report."""

    def __init__(self, source: JobSource, look: Callable[[], None]) -> None:
        self._look = look
        self._source = source
        self.on_restart, self.on_end, self.on_failure = source.on_restart, source.on_end, source.on_failure

    def next_job(self) -> Job | None:
        self._look()
        return self._source.next_job()

    def on_report(self, job: Job, report: Report) -> bool:
        self._look()
        return self._source.on_report(job, report)


@final
class _Measuring:
    """Measures once: first it exports model after model, and then a thread measures them together.

    Attributes:
        models: their number.
        rows: what was found, at the end.
        error: what the thread raised, at the end.
    """

    def __init__(self, state: RunState, chosen: list[Candidate], number: int) -> None:
        measurer = state.resolved.measurer
        assert isinstance(measurer, Surroundings)
        self.models = len(chosen)
        self.progress = _Unshown()
        self.rows: list[Evaluation] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="nas-measuring", daemon=True)
        self._stopwatch = state.stopwatch
        self._began_s = self._ended_s = state.stopwatch()
        self._steps = state.measuring_in_steps(measurer, chosen, number, self.progress)
        self._bench, self._in_time = measurer.bench, measurer.bench.in_time
        until_s = self._began_s + state.schedule.left_to_repeat_s
        self._bench.in_time = lambda: self._stopwatch() < until_s  # the schedule belongs to the main thread

    @property
    def is_begun(self) -> bool:
        """True once all models are exported."""
        return self.thread.ident is not None

    @property
    def has_ended(self) -> bool:
        """True once the rows are there, or the error."""
        return self.is_begun and not self.thread.is_alive()

    @property
    def took_s(self) -> float:
        """The seconds from the first model's export to the last measurement."""
        return self._ended_s - self._began_s

    def prepare(self) -> None:
        """Export the next model. After the last one, the thread begins."""
        if next(self._steps):
            self.thread.start()

    def prepare_rest(self) -> None:
        """Export all models that are left."""
        while not self.is_begun:
            self.prepare()

    def leave_bench(self) -> None:
        """Let the bench ask again whoever it asked before."""
        self._bench.in_time = self._in_time

    def forget(self) -> None:
        """Give up what has not begun."""
        self._steps.close()
        self.leave_bench()

    def stop(self) -> None:
        """End the measuring after the session under way."""
        self.progress.is_stopped = True

    def _run(self) -> None:
        try:
            next(self._steps)
        except StopIteration as ended:
            self.rows = ended.value
        except BaseException as error:
            self.error = error
        finally:
            self._ended_s = self._stopwatch()


class _StoppedError(BaseException):
    """The search was interrupted."""


@final
class _Unshown(NullProgress):
    """Shows no steps, for those of trainings are shown, and keeps what was said. A step may end the measuring."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.is_stopped = False

    def advance(self, count: int = 1, best: str | None = None) -> None:
        if self.is_stopped:
            raise _StoppedError

    def say(self, text: str) -> None:
        self.said.append(text)
