"""Windows of energy, on a machine whose power is known and whose clock takes no real time."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st

from nas.errors import CandidateError, TargetError
from nas.hardware.energy.counters import CounterMeter, Reading
from nas.hardware.energy.metering import (
    MIN_WINDOW_S,
    NoMeter,
    Timer,
    Window,
    energy_mj,
    grams_co2e,
    measure_idle_w,
    measure_window,
)

IDLE_W = 20.0
BUSY_W = 70.0


@dataclass
class FakeMachine:
    """Draws known power, more while it works. Only its own sleeping and working move its clock."""

    now_s: float = 100.0
    joules: float = 5000.0
    history: list[tuple[float, float]] = field(default_factory=lambda: [(100.0, 5000.0)])

    @property
    def timer(self) -> Timer:
        return Timer(lambda: self.now_s, lambda seconds: self.spend(seconds, IDLE_W))

    def spend(self, seconds: float, watts: float) -> None:
        self.now_s += seconds
        self.joules += seconds * watts
        self.history.append((self.now_s, self.joules))

    def work(self, seconds: float) -> Callable[[], None]:
        return lambda: self.spend(seconds, BUSY_W)


@dataclass
class FakeCounter:
    """Shows the joules that a machine had used at the last update. ``change`` alters the shown value."""

    machine: FakeMachine
    period_s: float
    change: Callable[[float], float] = float
    name: str = "fake"
    poll_s: float = 1e-4

    def read(self) -> Reading:
        updated_s = math.floor(self.machine.now_s / self.period_s + 1e-9) * self.period_s
        history = self.machine.history
        index = max(1, bisect(history, (updated_s, math.inf)))
        (t0, j0), (t1, j1) = history[index - 1], history[min(index, len(history) - 1)]
        share = (updated_s - t0) / (t1 - t0) if t1 > t0 else 0.0
        return (self.change(j0 + share * (j1 - j0)),)

    def joules(self, before: Reading, after: Reading) -> float:
        if after < before:
            raise CandidateError("energy", f"fake must not go backwards, but went from {before} to {after}.")
        return after[0] - before[0]


@pytest.mark.slow
@settings(deadline=None)
@given(st.floats(2e-4, 0.5), st.sampled_from((1e-3, 0.02, 0.1)))
def test_energy_of_an_inference_is_found_whatever_the_period(inference_s: float, period_s: float) -> None:
    """The energy at 50 W above idle power is found within 3 %, wherever updates fall within inferences."""
    machine = FakeMachine()
    meter = CounterMeter(FakeCounter(machine, period_s), machine.timer)
    idle_w = measure_idle_w(meter)
    window = measure_window(meter, machine.work(inference_s))
    assert idle_w == pytest.approx(IDLE_W, rel=1e-3)
    assert window.seconds >= MIN_WINDOW_S
    expected_mj = (BUSY_W - IDLE_W) * inference_s * 1000
    assert energy_mj(window, idle_w) == pytest.approx(expected_mj, rel=0.03)


def test_a_naive_window_would_be_wrong_where_ours_is_not() -> None:
    """Two reads two seconds apart can miss an update of 100 ms, or 5 %. Ours err by less than 1 %."""
    machine = FakeMachine(now_s=100.0)
    counter = FakeCounter(machine, 0.1)
    meter = CounterMeter(counter, machine.timer)
    assert meter.update_period_s == pytest.approx(0.1, rel=0.02)
    machine.spend(0.099 - machine.now_s % 0.1, IDLE_W)
    before = counter.read()
    for _ in range(199):
        machine.spend(0.01, BUSY_W)
    naive_w = counter.joules(before, counter.read()) / 1.99
    window = measure_window(meter, machine.work(0.001))
    assert abs(naive_w / BUSY_W - 1) > 0.02
    assert window.watts == pytest.approx(BUSY_W, rel=0.01)


def test_slow_meters_get_longer_windows() -> None:
    """A window lasts for twelve updates, two seconds or the requested time, whichever is longest."""
    machine = FakeMachine()
    slow = CounterMeter(FakeCounter(machine, 0.5), machine.timer)
    assert measure_window(slow, machine.work(0.01)).seconds == pytest.approx(6.25, abs=0.3)
    fast = CounterMeter(FakeCounter(machine, 0.001), machine.timer)
    assert measure_window(fast, machine.work(0.01), seconds=3).seconds == pytest.approx(3, abs=0.02)
    assert measure_window(fast, machine.work(0.01), seconds=0.1).seconds >= MIN_WINDOW_S


def test_inferences_are_all_counted() -> None:
    """The window also counts inferences that run while the last update is awaited."""
    machine, done = FakeMachine(), 0
    meter = CounterMeter(FakeCounter(machine, 0.1), machine.timer)

    def work() -> None:
        nonlocal done
        done += 1
        machine.spend(0.003, BUSY_W)

    assert measure_window(meter, work).inferences == done > 600


def test_a_counter_that_never_moves_is_no_instrument() -> None:
    """The counter is watched for half a minute and then refused, with the requirement."""
    machine = FakeMachine()
    meter = CounterMeter(FakeCounter(machine, 0.01, change=lambda joules: 7.0), machine.timer)
    with pytest.raises(TargetError, match=r"fake must move while it is watched, but stays at \(7\.0,\)"):
        measure_window(meter, machine.work(0.01))
    assert 130 <= machine.now_s <= 131


def test_a_counter_that_gets_stuck_gives_no_number() -> None:
    """The counter moves while its period is found, but no longer at the end of the window."""
    machine = FakeMachine()
    meter = CounterMeter(FakeCounter(machine, 0.01, change=lambda joules: min(joules, 5060.0)), machine.timer)
    with pytest.raises(CandidateError, match="fake must move while it is watched") as caught:
        measure_window(meter, machine.work(0.01))
    assert caught.value.kind == "energy"


def test_a_counter_that_goes_backwards_gives_no_number() -> None:
    """A counter that is reset within the window raises an error."""
    machine = FakeMachine()
    change = lambda joules: joules if joules < 5060 else joules - 5000  # noqa: E731
    meter = CounterMeter(FakeCounter(machine, 0.01, change=change), machine.timer)
    with pytest.raises(CandidateError, match="must not go backwards"):
        measure_window(meter, machine.work(0.01))


def test_energy_below_idle_power_is_no_energy() -> None:
    """Noise can make a window cheaper than the idle machine. That raises an error and gives no number."""
    assert energy_mj(Window(joules=30.0, seconds=2.0, inferences=100), idle_w=10.0) == pytest.approx(100.0)
    for idle_w in (15.0, 20.0, math.nan):
        with pytest.raises(CandidateError, match="energy must be above that of the idle machine, but 100 inferences"):
            energy_mj(Window(joules=30.0, seconds=2.0, inferences=100), idle_w)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_window_without_a_length_is_refused(seconds: float) -> None:
    """A window's length must be finite and positive."""
    machine = FakeMachine()
    with pytest.raises(ValueError, match="seconds must be finite and positive"):
        measure_window(CounterMeter(FakeCounter(machine, 0.01), machine.timer), machine.work(0.01), seconds)


def test_emissions_follow_from_energy_and_the_users_intensity() -> None:
    """One kilowatt-hour at 380 g/kWh gives 380 g. Negative or infinite values are refused."""
    assert grams_co2e(3.6e6, 380) == pytest.approx(380)
    for joules, intensity in ((-1, 380), (1, -380), (math.nan, 380), (1, math.inf)):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            grams_co2e(joules, intensity)


def test_no_meter_says_why() -> None:
    """Every use of a missing meter raises an error with the reason."""
    meter = NoMeter("nothing is connected.")
    for use in (lambda: meter.update_period_s, meter.span, lambda: measure_idle_w(meter)):
        with pytest.raises(TargetError, match=r"energy cannot be measured here: nothing is connected\."):
            use()
