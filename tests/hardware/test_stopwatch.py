"""Which of two clocks counts, and which inferences, when other programs take the core away."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from nas.hardware.runtimes import stopwatch
from nas.hardware.runtimes.stopwatch import (
    COMPUTES_ELSEWHERE,
    LEAST_WARM,
    LOST_MS,
    WAITS,
    WARM_MS,
    Presence,
    Sample,
    Stopwatch,
    Work,
    has_thread_clock,
    undisturbed,
    why_wall_clock,
    work_of,
)
from nas.values.measurement import THREAD, WALL

WARM = 2 * WARM_MS


class Plain:
    """A session without a clock of its own."""

    def run(self) -> None:
        """Return at once."""

    def outputs(self, inputs: object) -> np.ndarray:
        return np.zeros(1, np.float32)

    def conditions(self) -> dict[str, object]:
        return {}


class OnDevice(Plain):
    """A session with a clock of its own."""

    def timed_run_ms(self) -> float:
        return 3.0


class TestInferencesThatCount:
    def test_are_all_by_the_wall_clock_where_nothing_waited(self) -> None:
        """The thread's clock differs a little on an idle machine, because reading it takes time."""
        found = undisturbed([Sample(1.0, 1.001), Sample(1.1, 1.101)])
        assert found.times_ms == (1.0, 1.1)
        assert found.clock == WALL
        assert found.is_warm
        assert found.waited == 0.0

    def test_a_short_interruption_counts_by_the_threads_clock(self) -> None:
        """An interrupt doubles the time of a short inference, and takes no core away."""
        found = undisturbed([Sample(0.03, 0.03), Sample(0.06, 0.031), Sample(0.03, 0.03)])
        assert found.times_ms == (0.03, 0.031, 0.03)
        assert found.clock == WALL

    def test_a_threads_clock_that_stood_still_is_no_time(self) -> None:
        """Such inferences are left out, or count by the wall clock where there are no others."""
        stood = Sample(0.04, 0.0)
        assert undisturbed([Sample(0.03, 0.03), stood, Sample(0.031, 0.031)]).times_ms == (0.03, 0.031)
        assert undisturbed([stood, stood]).times_ms == (0.04, 0.04)

    def test_a_core_that_was_lost_for_a_moment_leaves_the_wall_clock(self) -> None:
        """One of two hundred inferences lost its core; it and those soon after are left out."""
        some = [Sample(1.0, 1.0)] * 100
        found = undisturbed(
            [*some, Sample(2.0, 1.5, is_lost=True), Sample(1.3, 1.3, 0.0), *[Sample(1.01, 1.01, WARM)] * 98]
        )
        assert found.times_ms == (1.0,) * 100 + (1.01,) * 98
        assert found.clock == WALL
        assert found.is_warm

    def test_begin_with_warm_caches(self) -> None:
        """Inferences that lost the core, and those soon after, are left out where others are enough."""
        cold = [Sample(13.0, 1.5, is_lost=True), Sample(1.4, 1.4, 0.0), Sample(1.2, 1.2, 0.9 * WARM_MS)]
        warm = [Sample(1.0 + 0.001 * number, 1.0, WARM) for number in range(LEAST_WARM)]
        found = undisturbed([*cold, *warm])
        assert found.times_ms == tuple(sample.wall_ms for sample in warm)
        assert found.clock == THREAD
        assert found.is_warm
        assert found.waited == pytest.approx(11.5 / (13 + 1.4 + 1.2 + sum(sample.wall_ms for sample in warm)))

    def test_are_all_by_the_threads_clock_where_a_model_is_slow(self) -> None:
        """Each inference of 6 ms loses its core, so none begins and ends with warm caches."""
        found = undisturbed([Sample(30.0, 6.2, 1.0, True), Sample(28.0, 6.1, 0.5, True), Sample(31.0, 6.3, 0.7, True)])
        assert found.times_ms == (6.2, 6.1, 6.3)
        assert found.clock == THREAD
        assert not found.is_warm
        assert found.waited == pytest.approx(1 - 18.6 / 89)

    def test_that_are_timed_together_lose_the_core_together(self) -> None:
        """Ten short inferences in one sample waited for 1 ms, which is .1 ms for each."""
        some = [Sample(0.01, 0.01)] * 30
        found = undisturbed([*some, Sample(0.11, 0.012, is_lost=True), *[Sample(0.013, 0.013, 0.1)] * 5])
        assert found.times_ms == (0.01,) * 30
        assert found.waited > 0.2
        assert found.clock == THREAD

    def test_half_of_few_inferences_are_enough(self) -> None:
        """One of four slow inferences was disturbed: the others count, and caches are warm."""
        found = undisturbed([Sample(13.0, 13.0), Sample(20.0, 13.4, is_lost=True), *[Sample(13.1, 13.1, WARM)] * 2])
        assert found.times_ms == (13.0, 13.1, 13.1)
        assert found.is_warm

    def test_of_a_reference_are_those_of_the_model_beside_it(self) -> None:
        """A reference model is read with warm caches or with all inferences, as the model was."""
        samples = [Sample(1.4, 1.4, 0.0), *[Sample(1.0, 1.0, WARM)] * 2]
        assert undisturbed(samples, warm=True).times_ms == (1.0, 1.0)
        assert undisturbed(samples, warm=False).times_ms == (1.4, 1.0, 1.0)
        assert undisturbed([Sample(1.4, 1.4, 0.0)], warm=True).times_ms == ()

    def test_without_a_threads_clock_are_all_by_the_wall(self) -> None:
        """Nothing can be told about waiting then."""
        found = undisturbed([Sample(2.0), Sample(9.0)])
        assert found.times_ms == (2.0, 9.0)
        assert found.clock == WALL


def test_presence_knows_when_the_core_came_back() -> None:
    """A gap between the clocks means that another program had the core; a short one is an interrupt."""
    presence, wall, own = Presence(), 7_000_000_000, 2_000_000_000
    presence._waited_ns = wall - own  # both clocks are read at once, whatever this machine does meanwhile
    assert presence.warm_ms(wall, own) == math.inf
    assert presence.warm_ms(wall + 1_000_000 + int(LOST_MS * 4e5), own + 1_000_000) == math.inf
    assert presence.warm_ms(wall + 9_000_000, own + 2_000_000) == 0.0
    assert presence.warm_ms(wall + 10_500_000, own + 3_500_000) == 1.5


@pytest.mark.parametrize(("step_s", "is_fine"), [(3e-7, True), (0.0156, False)])
def test_a_threads_clock_must_be_fine(monkeypatch: pytest.MonkeyPatch, step_s: float, *, is_fine: bool) -> None:
    """That of Windows counts in steps of 16 ms, and says that they are finer."""
    now_s = itertools.count(0.0, 1e-7)
    monkeypatch.setattr(time, "perf_counter", lambda: next(now_s))
    monkeypatch.setattr(time, "thread_time", lambda: next(now_s) // step_s * step_s)
    has_thread_clock.cache_clear()
    assert has_thread_clock() == is_fine
    has_thread_clock.cache_clear()


def test_a_system_without_a_threads_clock_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python then lacks the function."""
    monkeypatch.delattr(time, "thread_time")
    has_thread_clock.cache_clear()
    assert not has_thread_clock()
    has_thread_clock.cache_clear()


class TestTheWallClockAlone:
    @pytest.fixture(autouse=True)
    def a_fine_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """This system may have none."""
        monkeypatch.setattr(stopwatch, "has_thread_clock", lambda: True)

    def test_is_read_for_a_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Several threads, a runtime that computes in threads of its own, a device's clock, or no clock of a thread."""
        took = {"work": Work(1.0, 1.01, 0.1)}
        monkeypatch.setattr(stopwatch, "work_of", lambda session, least_s: took["work"])
        assert why_wall_clock(Plain(), 1, 0.0) == ""
        assert why_wall_clock(Plain(), 2, 0.0).startswith("several threads compute together")
        for own_s in (1.0, 0.0):
            took["work"] = Work(own_s, 1.5, 0.0)
            assert why_wall_clock(Plain(), 1, 0.0) == COMPUTES_ELSEWHERE
        took["work"] = Work(1.0, 1.0, 1.0)
        assert why_wall_clock(Plain(), 1, 0.0) == WAITS
        assert why_wall_clock(OnDevice(), 1, 0.0) == "the device has a clock of its own"
        monkeypatch.setattr(stopwatch, "has_thread_clock", lambda: False)
        assert why_wall_clock(Plain(), 1, 0.0).startswith("this system has no clock")

    def test_gives_samples_without_the_other(self) -> None:
        """The thread's time is then not a number, and never taken for one."""
        sample = Stopwatch(Plain(), 2, "no other clock").sample(Presence())
        assert sample.wall_ms > 0
        assert math.isnan(sample.own_ms)
        assert Stopwatch(OnDevice(), 1, "the device has a clock of its own").sample(Presence()) == Sample(3.0)


class Sleeping(Plain):
    """A session whose work is done elsewhere, such as on a device."""

    def run(self) -> None:
        time.sleep(0.003)


class Elsewhere(Plain):
    """A session that computes in a thread of its own."""

    def run(self) -> None:
        thread = threading.Thread(target=lambda: sum(range(300_000)))
        thread.start()
        thread.join()


FINE = pytest.mark.skipif(not has_thread_clock(), reason="this system has no clock of a thread")


@FINE
def test_what_inferences_took_tells_who_worked() -> None:
    """A session that waits for a device, and one that lets another thread compute. They run in a process of their own,
    as all that is measured, because threads that other tests have left may compute in this one.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        sleeping, elsewhere = (alone.submit(work_of, session(), 0.01).result() for session in (Sleeping, Elsewhere))
        assert sleeping.waits >= 1
        assert elsewhere.process_s > 2 * elsewhere.own_s
        assert alone.submit(why_wall_clock, Sleeping(), 1, 0.01).result() == WAITS
        assert alone.submit(why_wall_clock, Elsewhere(), 1, 0.01).result() == COMPUTES_ELSEWHERE


@FINE
def test_sleeping_is_no_work_of_the_thread() -> None:
    """A session that sleeps for 3 ms takes hardly any processor time, and its thread has lost the core."""
    presence = Presence()
    watch = Stopwatch(Sleeping(), 1, "")
    first, second = watch.sample(presence), watch.sample(presence)
    assert first.wall_ms >= 3
    assert first.own_ms < 0.5 * first.wall_ms
    assert first.is_lost
    assert second.warm_ms < 1.0
