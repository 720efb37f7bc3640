"""Measuring candidates while others train, where the device that measures does not train: a board, or an idle driver.

The device would wait for the trainings of a round otherwise, and all workers for the device after it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, final

from nas.hardware.devices.named import is_elsewhere
from nas.jobs.execution import Executor, InlineExecutor, Job, JobSource, Report
from nas.progress import NullProgress
from nas.searching.fitting import Fitting
from nas.searching.selection import worth_measuring
from nas.searching.state import RunState, lost_text
from nas.values.evaluation import Evaluation

POLL_S = 0.2
ENDING_S = 10.0
"""How long a device may take to end the session under way after an interruption."""
MORE_SHARE = 0.05
"""What is worth measuring is asked again once candidates have grown by this share, if nothing was the last time."""


def may_measure_beside(state: RunState, executor: Executor) -> bool:
    """Return True if trainings do not disturb measurements, and the order of trainings is no seed's anyway."""
    recipe = state.recipe
    if isinstance(executor, InlineExecutor) or not state.beliefs.measured_metrics:
        return False
    if not state.resolved.backend.takes_time or len({each.device for each in recipe.measured_targets.values()}) > 1:
        return False
    return not executor.works_here or is_elsewhere(state.resolved.device)


@final
class MeasuringBeside:
    """Measures, in a thread, the candidates that would most change the front, while others train.

    It chooses them and takes up their rows where an executor asks for jobs and reports on them, so that nothing but the
    measurer works beside the rest. Rounds do not wait for it; the end of the ``with`` block does. An exception there
    ends what is being measured.

    Attributes:
        is_on: False where trainings would disturb measurements. Then nothing is measured, and jobs go their usual way.
    """

    def __init__(self, state: RunState, fitting: Fitting, executor: Executor) -> None:
        self._state = state
        self._fitting = fitting
        self._again_at: float = 0
        self._measuring: _Measuring | None = None
        self.is_on = may_measure_beside(state, executor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._wait()
                self.take_up()
        except BaseException as stopped:
            error = stopped
            raise
        finally:
            if self._measuring is not None:
                if isinstance(error, KeyboardInterrupt):
                    error.add_note(lost_text(self._measuring.models, self._state.beliefs.measured_metrics))
                self._measuring.stop()
            self._state.measures_beside = False

    def joined(self, source: JobSource, number: int, ends_s: float) -> JobSource:
        """Return a source of the same jobs that also lets candidates be measured, until round ``number`` ends.

        ``ends_s`` is the time of the run's own clock at which the round ends.
        """
        return _Both(source, lambda: self._look(number, ends_s)) if self.is_on else source

    def take_up(self) -> bool:
        """Add the rows of a measuring that has ended, and say so. Return False if there is none."""
        measuring = self._measuring
        if measuring is None or measuring.is_alive():
            return False
        self._measuring, self._state.measures_beside = None, False
        for text in measuring.progress.said:
            self._state.progress.say(text)
        if measuring.error is not None:
            raise measuring.error
        self._state.take_measured(measuring.rows, self._state.spent_s - measuring.began_s)
        count = len(measuring.rows)
        where = self._state.resolved.device.name
        self._state.progress.say(f"measured {count} candidate{'s' * (count != 1)} on {where}, while others trained")
        return True

    def _look(self, number: int, ends_s: float) -> None:
        """Take up what was measured, and begin to measure others if that is worth it."""
        if self.take_up():
            self._fitting.fit(number)
        if self._measuring is None:
            self._begin(number, ends_s)

    def _begin(self, number: int, ends_s: float) -> None:
        state = self._state
        if state.beliefs.trials < self._again_at:
            return
        count = state.schedule.count_between()
        if state.spent_s + state.durations.pace.measuring_s(count) > ends_s:
            return
        chosen = worth_measuring(state.beliefs, state.beliefs.candidates, state.screening.near_limits, count)
        if not chosen:
            self._again_at = state.beliefs.trials + math.ceil(MORE_SHARE * max(1, state.beliefs.trials))
            return
        state.measures_beside = True
        self._measuring = _Measuring(state.measuring_of(chosen, number), len(chosen), state.spent_s)
        self._measuring.start()

    def _wait(self) -> None:
        """Wait until what is being measured has been measured."""
        if self._measuring is None or not self._measuring.is_alive():
            return
        self._state.progress.say("waiting for what is being measured")
        while self._measuring.is_alive():
            self._measuring.join(POLL_S)  # Windows does not interrupt a longer one


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
class _Measuring(threading.Thread):
    """Measures once. Its rows, or what it raised, are there at its end."""

    def __init__(self, measure: Callable[..., list[Evaluation]], models: int, began_s: float) -> None:
        super().__init__(name="nas-measuring", daemon=True)
        self._measure = measure
        self.models = models
        self.began_s = began_s
        self.progress = _Unshown()
        self.rows: list[Evaluation] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.rows = self._measure(progress=self.progress)
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        """End the measuring after the session under way, and wait for that."""
        self.progress.is_stopped = True
        self.join(ENDING_S)


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
