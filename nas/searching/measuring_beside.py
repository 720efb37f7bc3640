"""Measuring candidates on a device that does not train, while others train elsewhere.

The device would wait for the trainings of a round otherwise, and all workers for the device after it.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, final

from nas.errors import JournalError, TargetError
from nas.hardware.devices.named import interrupted, is_apart_from, is_here
from nas.hardware.machine import physical_cores
from nas.hardware.measuring import Surroundings
from nas.jobs.execution import Executor, InlineExecutor, Job, JobSource, Report
from nas.progress import NullProgress
from nas.searching.fitting import Fitting
from nas.searching.selection import judged, worth_measuring
from nas.searching.state import RunState, lost_text
from nas.signals import deferred
from nas.space.parts.candidate import Candidate
from nas.values.evaluation import Evaluation

POLL_S = 0.2
ENDING_S = 2.0
"""How long the session under way may take to end after an interruption, before the connection is closed."""
CLOSED_S = 10.0
"""How long the thread may take to notice that."""
LOOK_S = 0.5
"""No further model is exported at once after so many seconds, for trainings that have ended wait."""
BESIDE_THE_SEARCH = {"latency_ms", "item_ms", "peak_memory_mib", "model_bytes", "weight_bytes"}
"""What may be measured on the machine of the search while it proposes, where there are cores for both. Beside one
program of arithmetic, latencies are as right as on an idle machine (``experiments/protocols/busy_desk.md``). A meter
would count the energy of the search too, and its heat would slow sustained runs."""
MORE_SHARE = 0.05
"""What is worth measuring is asked again once proposals have grown by this share, if nothing was the last time."""


@final
class MeasuringBeside:
    """Measures the candidates that would most change the front, while others train.

    A thread does what the device does. All else is done where an executor asks for jobs and reports on them: candidates
    are chosen and exported one by one, and their rows are taken up. Rounds do not wait for it, unless they find no
    candidates. The end of the ``with`` block waits; an exception there ends what is being measured.

    Attributes:
        is_on: True if candidates are measured while others train, and so not between rounds.
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
        self._is_new = False
        self.is_on = False
        self._decide()

    def _decide(self) -> None:
        """Decide whether candidates are measured while others train: not where that may disturb measurements."""
        self.is_on = self._may_be_on()
        self._state.schedule.measures_beside = self.is_on

    def _may_be_on(self) -> bool:
        state = self._state
        if isinstance(self._executor, InlineExecutor) or not self._trains:  # a seed decides the order of its rows
            return False
        if not isinstance(state.resolved.measurer, Surroundings) or not state.beliefs.measured_metrics:
            return False
        device = state.resolved.device
        with contextlib.suppress(TargetError):
            return is_apart_from(device, self._executor.machines) and (not is_here(device) or self._may_be_busy())
        return False

    def _may_be_busy(self) -> bool:
        """Return True if the search itself, on this machine, leaves a core to measurements that it does not disturb."""
        state = self._state
        spare = physical_cores() - state.recipe.parsed_target.threads
        return spare > 0 and set(state.beliefs.measured_metrics) <= BESIDE_THE_SEARCH

    def joined(self, source: JobSource, number: int, ends_s: float) -> JobSource:
        """Return a source of the same jobs that also lets candidates be measured, until round ``number`` ends.

        ``ends_s`` is the time of the run's own clock at which the round ends.
        """
        self._number = number
        self._decide()
        return _Both(source, lambda: self._look(ends_s)) if self.is_on else source

    def wait(self) -> None:
        """Wait for what is being measured, so that others can be measured after the round, and take it up."""
        self.is_on = False
        if self._measuring is None:
            return
        self._state.progress.say("waiting for what is being measured")
        with self._losing():
            self._measuring.prepare_rest()
        while self._measuring is not None and not self._measuring.has_ended:
            self._measuring.thread.join(POLL_S)  # Windows does not interrupt a longer one
        self._is_new = self._take_up() or self._is_new

    def take_up(self) -> bool:
        """Add the rows of a measuring that has ended. Return True if any were added since the last time."""
        is_new, self._is_new = self._take_up() or self._is_new, False
        return is_new

    def _take_up(self) -> bool:
        measuring = self._measuring
        if measuring is None or not measuring.has_ended:
            return False
        with deferred():  # a signal must not come between the rows in memory and those on disk
            self._forget()
            for text in measuring.progress.said:
                self._state.progress.say(text)
            if isinstance(measuring.error, TargetError):
                self._lose(measuring.error)
                return False
            if measuring.error is not None:
                raise measuring.error
            self._state.take_measured(measuring.rows, measuring.took_s)
            count, where = len(measuring.rows), self._state.resolved.device.name
            self._state.progress.say(f"measured {count} candidate{'s' * (count != 1)} on {where}, while others trained")
            return True

    def _lose(self, error: TargetError) -> None:
        self._lost = error
        self._state.progress.say(f"nothing more is measured in this round: {error}")

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """Take note of a device that is lost in the block: trainings go on to the end of their round."""
        try:
            yield
        except TargetError as error:
            self._forget()
            self._lose(error)

    def _forget(self) -> None:
        """Let go of what was measured, or never will be."""
        if self._measuring is not None:
            self._measuring.leave()
        self._measuring, self._state.measures_beside = None, False

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
                self.wait()
                if self.take_up():
                    self._fitting.fit(self._number)
                self.check()
        except BaseException as raised:
            error = raised
            raise
        finally:
            if error is not None:
                self._end(error)
            self._state.schedule.measures_beside = self._state.measures_beside = False

    def _end(self, error: BaseException) -> None:
        """End what is being measured, because of an error. What has ended is kept, if it can be."""
        measuring = self._measuring
        if measuring is not None and measuring.is_begun and not measuring.has_ended:
            measuring.stop()
            measuring.thread.join(ENDING_S)
            if not measuring.has_ended:
                with interrupted(self._state.resolved.device):
                    measuring.thread.join(CLOSED_S)
        if measuring is not None and measuring.has_ended and measuring.error is None:
            if not isinstance(error, JournalError):
                self._keep(error)
        elif measuring is not None:
            if isinstance(error, KeyboardInterrupt):
                error.add_note(lost_text(measuring.models, self._state.beliefs.measured_metrics))
            self._forget()

    def _keep(self, error: BaseException) -> None:
        """Add the rows of a measuring that has ended, though an error ends the run."""
        try:
            with deferred():
                self._take_up()
        except KeyboardInterrupt:  # the one that ends the run
            return
        except Exception as another:  # the error that ended the run matters more
            error.add_note(f"What was measured could not be kept: {another}")

    def _look(self, ends_s: float) -> None:
        """Take the next step: take up what was measured, export the next model, or begin to measure others."""
        with self._losing():
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
        chosen = worth_measuring(state.beliefs, judged(state.beliefs), state.screening.near_limits, count)
        if not chosen:
            self._again_at = proposals + math.ceil(MORE_SHARE * max(1, proposals))
            return
        self._measuring = _Measuring(state, chosen, self._number)
        state.measures_beside = True


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
        took_s: the seconds that exports and measurements took, at the end.
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
        self.took_s = 0.0
        self._steps = state.measuring_in_steps(measurer, chosen, number, self.progress)
        self._bench, self._in_time = measurer.bench, measurer.bench.in_time
        until_s = state.stopwatch() + state.schedule.left_to_repeat_s
        self._bench.in_time = lambda: self._stopwatch() < until_s  # the schedule belongs to the main thread

    @property
    def is_begun(self) -> bool:
        """True once all models are exported."""
        return self.thread.ident is not None

    @property
    def has_ended(self) -> bool:
        """True once the rows are there, or the error."""
        return self.is_begun and not self.thread.is_alive()

    def prepare(self, most_s: float = LOOK_S) -> None:
        """Export further models, for so many seconds. After the last one, the thread begins."""
        began_s = self._stopwatch()
        is_exported = next(self._steps)
        while not is_exported and self._stopwatch() - began_s < most_s:
            is_exported = next(self._steps)
        self.took_s += self._stopwatch() - began_s
        if is_exported:
            self.thread.start()

    def prepare_rest(self) -> None:
        """Export all models that are left."""
        if not self.is_begun:
            self.prepare(math.inf)

    def leave(self) -> None:
        """Let the bench ask again whoever it asked before. What has not begun is given up."""
        self._bench.in_time = self._in_time
        if not self.is_begun:
            self._steps.close()

    def stop(self) -> None:
        """End the measuring after the session under way."""
        self.progress.is_stopped = True

    def _run(self) -> None:
        began_s = self._stopwatch()
        try:
            next(self._steps)
        except StopIteration as ended:
            self.rows = ended.value
        except BaseException as error:
            self.error = error
        finally:
            self.took_s += self._stopwatch() - began_s


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
