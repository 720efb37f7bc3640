"""An executor whose workers and time are made up, for searches with thousands of workers on one core.

What is asked, told, stopped and kept is real; only the trainings are not. Times of trainings are log-normal. Some
workers crash, some are lost with their node, some are slow, and some reports come late or twice.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

from nas.errors import CandidateError
from nas.jobs.execution import Job, JobSource, Report, Work, as_failure, reports_of
from nas.jobs.relay import Outcome, Relay, hard_limit_of

SPREAD = 0.5
"""The spread of trainings' times: the standard deviation of their logarithms."""


class KilledError(Exception):
    """The driver was killed, in the middle of whatever it did."""


@dataclass(frozen=True)
class Faults:
    """How often things go wrong, as shares: of trainings that crash, are slow, or hang, and of reports sent twice.

    ``loss_s`` is the mean time in seconds after which one of the nodes is lost, with ``node`` workers at once.
    """

    crashes: float = 0.01
    stragglers: float = 0.01
    slower: float = 5.0
    twice: float = 0.01
    loss_s: float = 600.0
    node: int = 8


@dataclass
class Spent:
    """What was spent: seconds of the made-up clock that workers trained, and of the real processor by the driver.

    ``idle_share`` is the share of the workers' time without a training, until no new one is left.
    """

    busy_s: float = 0.0
    driver_s: float = 0.0
    idle_share: float = 0.0
    crashes: int = 0
    lost_workers: int = 0
    repeated: int = 0


@dataclass(order=True)
class _Event:
    at_s: float
    number: int
    trial: str = field(compare=False)
    outcome: Outcome | None = field(compare=False)
    is_repeated: bool = field(default=False, compare=False)


class VirtualCluster:
    """Runs jobs on ``workers`` made-up workers, by a clock that only events and the driver's own work move.

    A training takes ``mean_s`` seconds in the mean. ``kill_at_s`` ends the driver at a time of that clock.

    Attributes:
        waits_for_driver: True if the driver's own time counts on the clock.
        now_s: the time of the clock, in seconds.
        first_job_s: the seconds of the real processor at which the first job began; 0 before that.
        spent: what was spent so far.
    """

    machines = (None,)

    def __init__(
        self,
        workers: int,
        rng: np.random.Generator,
        *,
        mean_s: float = 60.0,
        spread: float = SPREAD,
        faults: Faults | None = None,
        waits_for_driver: bool = True,
    ) -> None:
        """Without ``waits_for_driver`` its own time counts nothing, and a seed decides everything."""
        self._workers = workers
        self._rng = rng
        self._mean_s = mean_s
        self.waits_for_driver = waits_for_driver
        self._spread = spread
        self._faults = faults or Faults()
        self._numbered = 0
        self._events: list[_Event] = []
        self._begun_s = 0.0  # the sum over all that run
        self._is_dry = False
        self._running: dict[str, tuple[Iterator[Report], float, float]] = {}
        self._next_loss_s = self._after(self._faults.loss_s)
        self.kill_at_s = float("inf")
        self.now_s = 0.0
        self.first_job_s = 0.0
        self.spent = Spent()

    def clock(self) -> float:
        """Return the seconds of the made-up clock."""
        return self.now_s

    def forget(self) -> None:
        """Let all trainings end without a word, as when the driver was killed."""
        for trial in list(self._running):
            self._end(trial)
        self._events.clear()
        self.first_job_s = 0.0

    def run(self, work: Work, source: JobSource, *, time_limit_s: float) -> None:
        """Do ``work`` for each job of ``source``."""
        relay = Relay(source, time_limit_s, hard_limit_of(time_limit_s), self.clock)
        while True:
            self._is_dry = False
            relay.begin_pass()
            self._fill(work, relay)
            while self._running:
                self._happen(work, relay)
                self._fill(work, relay)
            self._events.clear()
            if relay.error is not None:
                raise relay.error
            if relay.is_over:
                return

    def _fill(self, work: Work, relay: Relay) -> None:
        """Give every idle worker a job, while there are some."""
        while len(self._running) < self._workers:
            trial = f"trial {self._next_number()}"
            with self._driver():
                job = relay.next_job(trial)
            if job is None:
                if self._is_dry:
                    return
                self._is_dry = True
                trained_s = self.spent.busy_s + len(self._running) * self.now_s - self._begun_s
                self.spent.idle_share = 1 - trained_s / max(1e-9, self._workers * self.now_s)
                return
            self._begin(trial, work, job)

    def _begin(self, trial: str, work: Work, job: Job) -> None:
        self.first_job_s = self.first_job_s or time.process_time()
        took_s = self._mean_s * float(self._rng.lognormal(-(self._spread**2) / 2, self._spread))
        if self._rng.random() < self._faults.stragglers:
            took_s *= self._faults.slower
        self._running[trial] = reports_of(work, job), took_s, self.now_s
        self._begun_s += self.now_s
        if self._rng.random() < self._faults.crashes:
            self._tell(trial, self.now_s + took_s * self._rng.random(), None)
        self._go_on(trial)

    def _go_on(self, trial: str) -> None:
        """Let a training report next; some reports are sent again later."""
        reports, took_s, _ = self._running[trial]
        outcome: Outcome
        try:
            outcome = next(reports)
            share = outcome["share"]
        except CandidateError as error:
            outcome, share = error, 1.0
        except Exception as error:  # a candidate may raise anything
            outcome, share = as_failure(error), 1.0
        at_s = self.now_s + took_s * share
        self._tell(trial, at_s, outcome)
        if self._rng.random() < self._faults.twice:
            self._tell(trial, at_s + self._after(self._mean_s), outcome, is_repeated=True)

    def _tell(self, trial: str, at_s: float, outcome: Outcome | None, *, is_repeated: bool = False) -> None:
        heapq.heappush(self._events, _Event(at_s, self._next_number(), trial, outcome, is_repeated))

    def _next_number(self) -> int:
        self._numbered += 1
        return self._numbered

    def _happen(self, work: Work, relay: Relay) -> None:
        """Let the next event happen: a report, an end, a crash, or the loss of a node."""
        event = heapq.heappop(self._events)
        if event.at_s >= self._next_loss_s:
            heapq.heappush(self._events, event)
            self._lose_node(relay)
            return
        self.now_s = max(self.now_s, event.at_s)
        if self.now_s >= self.kill_at_s:
            raise KilledError
        is_running, outcome = event.trial in self._running and not event.is_repeated, event.outcome
        if outcome is None:
            if is_running:
                self.spent.crashes += 1
                self._lose(event.trial, relay)
            return
        self.spent.repeated += not is_running
        with self._driver():
            if isinstance(outcome, Exception) or outcome.get("done"):
                relay.end(event.trial, outcome)
                goes_on = False
            else:
                goes_on = relay.goes_on(event.trial, outcome)
                if not goes_on and is_running:
                    relay.end(event.trial, outcome)
        if is_running and goes_on:
            self._go_on(event.trial)
        elif is_running:
            self._end(event.trial)

    def _lose_node(self, relay: Relay) -> None:
        self.now_s = max(self.now_s, self._next_loss_s)
        self._next_loss_s = self.now_s + self._after(self._faults.loss_s)
        for trial in list(self._running)[: self._faults.node]:
            self.spent.lost_workers += 1
            self._lose(trial, relay)

    def _lose(self, trial: str, relay: Relay) -> None:
        began_s = self._running[trial][2]
        self._end(trial)
        with self._driver():
            relay.die(trial, self.now_s - began_s, None)

    def _end(self, trial: str) -> None:
        began_s = self._running.pop(trial)[2]
        self._begun_s -= began_s
        self.spent.busy_s += self.now_s - began_s

    def _after(self, mean_s: float) -> float:
        return float(self._rng.exponential(mean_s))

    def _driver(self) -> _DriversWork:
        return _DriversWork(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _DriversWork:
    """Adds the real time of the processor in a block to the clock: meanwhile workers that have ended wait."""

    def __init__(self, cluster: VirtualCluster) -> None:
        self._cluster = cluster

    def __enter__(self) -> None:
        self._began_s = time.process_time()

    def __exit__(self, *_: object) -> None:
        spent_s = time.process_time() - self._began_s
        self._cluster.spent.driver_s += spent_s
        if self._cluster.waits_for_driver:
            self._cluster.now_s += spent_s
