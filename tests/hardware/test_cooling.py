"""A device cools down before it measures, for a bounded time, and measurements of a warm one are doubted."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import made_up_heat
import numpy as np
import pytest
from acting_models import QUICK, as_they_are, latency_of, models_of
from made_up_heat import PI_TEMPERATURE, PI_WORD, put

from nas.errors import CandidateError
from nas.hardware import cooling
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.cooling import CHECK_S, COOL_C, STEADY_S, Cooling, warmth_of
from nas.hardware.energy_rounds import add_energies
from nas.hardware.kept_sessions import KeptSessions
from nas.hardware.measuring_process import MeasuringProcess
from nas.storage.home import home
from nas.values.target import Target

MOST_S = 60.0


class Device:
    """A process of a device whose temperature follows from the time."""

    def __init__(self, celsius: Callable[[float], float | None]) -> None:
        self.celsius = celsius
        self.now_s = 0.0
        self.asked = 0
        self.said: list[str] = []

    def ask(self, op: str) -> dict[str, Any]:
        assert op == "heat"
        self.asked += 1
        return {"heat": {"temperature_c": self.celsius(self.now_s)}}

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def cooling(self, most_s: float = MOST_S) -> Cooling:
        return Cooling("pi", most_s, self.said.append, lambda: self.now_s, self.sleep)

    @property
    def process(self) -> MeasuringProcess:
        return cast(MeasuringProcess, self)


def test_a_warm_device_is_waited_for() -> None:
    """It cools by a degree in two seconds, and began at 40."""
    device = Device(lambda now_s: 40.0)
    found = device.cooling()
    found.before_session(device.process)
    device.celsius = lambda now_s: 60 - now_s / 2
    found.before_session(device.process)
    assert device.now_s == 2 * (60 - 40 - COOL_C)
    assert device.said == ["waiting until pi cools down: it is 60 °C warm, and began at 40"]
    assert not found.doubt


def test_one_that_stays_warm_is_doubted_and_not_waited_for_again() -> None:
    """The wait ends early where it cools no further, and a later one only begins where it is warmer still."""
    device = Device(lambda now_s: 40.0)
    found = device.cooling()
    found.before_session(device.process)
    device.celsius = lambda now_s: 60.0
    found.before_session(device.process)
    assert device.now_s == STEADY_S
    assert (
        found.doubt
        == "pi was 60 °C warm while this was measured, 20 °C more than at first, and did not cool down in time"
    )
    found.before_session(device.process)
    assert device.now_s == STEADY_S
    assert found.doubt
    device.celsius = lambda now_s: 41.0
    found.before_session(device.process)
    assert not found.doubt, "it has cooled down since"


def test_a_wait_is_bounded() -> None:
    device = Device(lambda now_s: 40.0)
    found = device.cooling()
    found.before_session(device.process)
    device.celsius = lambda now_s: 90 - now_s / 10
    found.before_session(device.process)
    assert device.now_s == MOST_S
    assert found.doubt


@pytest.mark.parametrize(("most_s", "in_time"), [(0.0, True), (MOST_S, False)])
def test_nothing_is_waited_for_where_time_is_short(most_s: float, in_time: bool) -> None:
    device = Device(lambda now_s: 40.0)
    found = device.cooling(most_s)
    found.before_session(device.process, lambda: in_time)
    device.celsius = lambda now_s: 60.0
    found.before_session(device.process, lambda: in_time)
    assert device.now_s == 0
    assert found.doubt


def test_a_device_without_a_thermometer_is_neither_waited_for_nor_doubted() -> None:
    device = Device(lambda now_s: None)
    found = device.cooling()
    for _ in range(3):
        found.before_session(device.process)
        found.between_models(device.process)
    assert device.asked == 3
    assert device.now_s == 0
    assert not device.said
    assert not found.doubt


@pytest.mark.parametrize("unread", [0, 1])
def test_a_temperature_that_cannot_be_read_once_ends_nothing(unread: int) -> None:
    """Neither the first nor a later one. A session without it is doubted once the device has told one."""
    readings = [None, 40.0] if unread == 0 else [40.0, None]
    device = Device(lambda now_s: readings[device.asked - 1] if device.asked <= 2 else 60 - now_s / 2)
    found = device.cooling()
    doubts = []
    for _ in range(3):
        found.before_session(device.process)
        doubts.append(found.doubt)
    assert [bool(doubt) for doubt in doubts] == [False, unread == 1, False]
    assert doubts[unread] in (
        "",
        "the temperature of pi could not be read while this was measured, as it could at first",
    )
    assert device.now_s == 2 * (60 - 40 - COOL_C)


def test_within_a_session_a_look_is_taken_now_and_then() -> None:
    device = Device(lambda now_s: 40.0)
    found = device.cooling()
    found.before_session(device.process)
    found.between_models(device.process)
    assert device.asked == 1
    device.now_s += CHECK_S + 1
    found.between_models(device.process)
    assert device.asked == 2


def test_a_process_that_dies_meanwhile_tells_no_temperature() -> None:
    class Dying(Device):
        def ask(self, op: str) -> dict[str, Any]:
            raise CandidateError("measure", "the measuring process ended")

    device = Dying(lambda now_s: 40.0)
    device.cooling().before_session(device.process)


class Metered(Device):
    """Tells energies too. It stands for the whole device, which gives it as its process."""

    conditions: ClassVar[dict[str, Any]] = {}

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        return {"energy_mj": 3.0, "conditions": {}} if op == "energy" else super().ask(op)

    def __call__(self, target: Target, timeout_s: float) -> AbstractContextManager[Metered]:
        return contextlib.nullcontext(self)


@pytest.mark.parametrize(("least_c", "flags"), [(44.0, 0), (60.0, 1)])
def test_energies_wait_too(tmp_path: Path, acting: Target, least_c: float, flags: int) -> None:
    """Those of winners follow sustained runs, which heat the device. Of one that stays hot they are doubted."""
    metered = Metered(lambda now_s: 40.0)
    found = metered.cooling()
    found.before_session(metered.process)
    metered.celsius = lambda now_s: max(least_c, 70 - now_s)
    device, rng = cast(Any, SimpleNamespace(process=metered)), np.random.default_rng(0)
    models = as_they_are(models_of(tmp_path, {"a": "clock 1"}))
    (outcome,) = add_energies([{}], models, device, acting, {}, 1.0, rng, found, lambda: True)
    assert isinstance(outcome, dict), outcome
    assert outcome["energy_mj"].median == 3.0
    assert len(outcome["energy_mj"].flags) == flags
    assert len(metered.said) == 1


class TestMeasurements:
    @pytest.fixture
    def sys(self, acting: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """What the measuring processes of the acting runtime take for ``/sys``."""
        monkeypatch.setattr(cooling, "POLL_S", 0.01)
        yield made_up_heat.pi(home() / "sys")
        shutil.rmtree(home() / "sys")

    @pytest.mark.slow
    def test_tell_temperatures_and_what_held_the_clock_down(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        """A model that heats the board is doubted, and the next is waited for, which the bench tells."""
        said: list[str] = []
        bench = DeviceBench(acting, replace(QUICK, cooling_s=0.05), say=said.append)
        cool, hot = models_of(tmp_path, {"a": "clock 1", "h": "clock 1"})
        (first,) = bench.measure(as_they_are([cool]), ["latency_ms"], np.random.default_rng(0))
        assert latency_of(first).conditions["temperature_c"] == [45.0, 45.0]
        assert latency_of(first).flags == ()
        put(sys, {PI_TEMPERATURE: 82_000, PI_WORD: "e0008"})
        (second,) = bench.measure(as_they_are([hot]), ["latency_ms"], np.random.default_rng(0))
        assert latency_of(second).conditions["temperature_c"] == [82.0, 82.0]
        held, warm = latency_of(second).flags
        assert held == "the firmware's soft limit of temperature was reached in 2 of 2 sessions"
        assert warm.startswith("this machine was 82 °C warm while this was measured, 37 °C more than at first, and did")
        assert said == ["waiting until this machine cools down: it is 82 °C warm, and began at 45"]

    def test_of_layers_wait_too(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        """Winners are profiled after sustained runs, which heat the device."""
        said: list[str] = []
        bench = DeviceBench(Target("own_runtime:Profiling"), replace(QUICK, cooling_s=0.01), say=said.append)
        models = as_they_are(models_of(tmp_path, {"a": "clock 1"}))
        for celsius in (45, 82):
            put(sys, {PI_TEMPERATURE: 1000 * celsius})
            bench.layer_times(models)
        assert said == ["waiting until this machine cools down: it is 82 °C warm, and began at 45"]

    @pytest.mark.slow
    def test_compare_with_the_first_one_on_any_bench(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        """Two targets of one device heat the same device."""
        for name, celsius, count in (("a", 45, 0), ("b", 82, 1)):
            put(sys, {PI_TEMPERATURE: 1000 * celsius})
            bench = DeviceBench(acting, replace(QUICK, cooling_s=0.0))
            models = as_they_are(models_of(tmp_path, {name: "clock 1"}))
            (found,) = bench.measure(models, ["latency_ms"], np.random.default_rng(0))
            assert len(latency_of(found).flags) == count, latency_of(found).flags

    @pytest.mark.slow
    def test_compare_with_the_first_one_before_a_stop(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        """The first process stops in its second session. Another one finds the device hot, and a third one cool."""
        models = as_they_are(models_of(tmp_path, {"a": "clock 1"}))

        def measured(celsius: int, advance: Callable[[], object]) -> tuple[str, ...]:
            warmth_of.cache_clear()
            put(sys, {PI_TEMPERATURE: 1000 * celsius})
            bench = DeviceBench(acting, replace(QUICK, cooling_s=0.0))
            bench.sessions = KeptSessions(tmp_path / "sessions.jsonl")
            (found,) = bench.measure(models, ["latency_ms"], np.random.default_rng(0), advance)
            return latency_of(found).flags

        rest = iter([None])
        with pytest.raises(StopIteration):
            measured(45, lambda: next(rest))
        (flag,) = measured(82, lambda: None)
        assert "37 °C more than at first" in flag
        assert measured(45, lambda: None) == (flag,), "a session of before was hot"
