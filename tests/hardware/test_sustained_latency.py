"""Sustained latencies: when they are steady, what they are corrected by, and what is doubted."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_heat
import numpy as np
import pytest
from acting_models import QUICK, as_they_are, failure_of, models_of
from made_up_heat import SLOWING, VOLTAGE, put
from own_runtime import slow_down

from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.disturbances import DOUBTFUL_REFERENCE
from nas.hardware.runtimes import heat, sustaining
from nas.hardware.runtimes.heat import Heat
from nas.hardware.runtimes.stopwatch import Presence, Sample
from nas.hardware.runtimes.sustaining import LAST, LEAST, MOST_SAMPLES, WINDOWS, Course, sustain
from nas.storage.home import home
from nas.values.measurement import Measurement
from nas.values.metric import SUSTAINED
from nas.values.paired_comparison import compared
from nas.values.target import Target

STATED_S = 36.0


def ran(ms: Callable[[int], float], celsius: Callable[[int], float | None], samples: int = 3) -> dict[str, object]:
    """Return what a run tells whose latency and temperature follow from the number of the window."""
    window = -1

    def run_for(seconds: float, presence: Presence) -> list[Sample]:
        nonlocal window
        assert seconds == STATED_S / WINDOWS
        window += 1
        return [Sample(ms(window))] * samples

    return sustain(run_for, STATED_S, lambda: Heat(celsius(window)), "", [])


class TestARun:
    def test_ends_once_latency_and_temperature_are_steady(self) -> None:
        found = ran(lambda window: 2.0, lambda window: min(60.0, 40 + window))
        assert found["is_steady"]
        assert found["medians_ms"] == [2.0] * len(found["temperatures_c"])
        assert found["temperatures_c"][-1] == 60.0
        assert len(found["medians_ms"]) == 20 + LEAST - 1, "the median of the early windows is within a degree by then"
        assert len(found["windows"]) == LAST

    @pytest.mark.parametrize("tau", [40, 80, 160])
    def test_goes_on_while_the_device_becomes_hot_slowly(self, tau: float) -> None:
        """It goes from 45 to 75 °C. After ``tau`` windows it is a third of that away."""
        found = ran(lambda window: 2.0, lambda window: 75 - 30 * math.exp(-(window + 1) / tau))
        assert not found["is_steady"]
        assert len(found["medians_ms"]) == WINDOWS

    def test_takes_a_third_of_the_time_at_least(self) -> None:
        assert len(ran(lambda window: 2.0, lambda window: 40.0)["medians_ms"]) == LEAST

    def test_goes_on_while_the_latency_grows(self) -> None:
        found = ran(lambda window: 2.0 * 1.02**window, lambda window: 40.0)
        assert not found["is_steady"]
        assert len(found["medians_ms"]) == WINDOWS

    def test_takes_the_whole_time_without_a_thermometer(self) -> None:
        """A latency may be steady for a minute, until the device is hot."""
        found = ran(lambda window: 2.0, lambda window: None)
        assert found["is_steady"]
        assert len(found["medians_ms"]) == WINDOWS

    def test_keeps_few_inferences_of_each_window(self) -> None:
        windows = ran(lambda window: 2.0, lambda window: 40.0, samples=10_001)["windows"]
        assert all(MOST_SAMPLES / 2 < len(window["samples"]) <= MOST_SAMPLES for window in windows)

    def test_is_not_steady_where_the_temperature_alone_rises(self) -> None:
        course = Course([2.0] * LEAST, [40.0 + window for window in range(LEAST)])
        assert not course.is_steady
        assert not course.is_over


class TestMeasurements:
    @pytest.fixture
    def sys(self, acting: Target) -> Iterator[Path]:
        yield made_up_heat.pi(home() / "sys")
        shutil.rmtree(home() / "sys")
        slow_down(1.0)

    def measured(
        self, target: Target, folder: Path, deeds: dict[str, str], *metrics: str, stated_s: float = 0.36, **known: Any
    ) -> list[Outcome]:
        bench = DeviceBench(target, replace(QUICK, sustained_s=stated_s, cooling_s=0))
        bench.compared_with = lambda profile: replace(profile, **known)
        models, steps = as_they_are(models_of(folder, deeds)), itertools.count()
        found = bench.measure(models, metrics or [SUSTAINED], np.random.default_rng(0), lambda: next(steps))
        assert next(steps) == len(models) * bench.rounds
        return found

    def sustained(self, outcome: Outcome) -> Measurement:
        assert isinstance(outcome, dict), outcome
        return outcome[SUSTAINED]

    @pytest.mark.slow
    def test_are_of_the_last_part(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        """A model becomes half as slow again while the board is heated by 20 degrees. Its throttling is no doubt."""
        put(sys, {f"{SLOWING}/cur_state": 1})
        (outcome,) = self.measured(acting, tmp_path, {"w": "warm 2 1.5 0.2 20"}, stated_s=1.0)
        found = self.sustained(outcome)
        assert found.median == pytest.approx(3.0)
        assert found.interval.lower < 0.98 * 3 < 1.02 * 3 < found.interval.upper, "other processes differ"
        told = found.conditions
        assert told["is_steady"]
        assert told["course_ms"][0] < 3
        assert told["course_c"][-1] >= 65.0, "the short session before it heats the board too"
        assert told["burst_ms"] < 3
        assert told["ran_s"] <= told["stated_s"] + 0.5
        assert told["held_down"] == [heat.SLOWED_TO_COOL]
        assert found.flags == ()
        assert len(found.rounds) == LAST

    @pytest.mark.slow
    def test_that_still_change_are_doubted(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        """And a weak power supply is, which is no heat."""
        put(sys, {VOLTAGE: 1})
        (outcome,) = self.measured(acting, tmp_path, {"w": "warm 2 100 30 0"})
        voltage, change = sorted(self.sustained(outcome).flags, reverse=True)
        assert voltage == f"{heat.LOW_VOLTAGE} in {LAST} of {LAST} sessions"
        assert change.startswith("after 0.")
        assert "the latency or the temperature still changed: from 2" in change

    def test_are_corrected_for_what_was_slow_before(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        """The whole machine is 4 % slower than recorded, before and during the run."""
        slow_down(1.04)
        (outcome,) = self.measured(acting, tmp_path, {"a": "clock 2"})
        found = self.sustained(outcome)
        assert found.raw_median == pytest.approx(2.08)
        assert found.median == pytest.approx(2.0)
        assert found.conditions["burst_ms"] == pytest.approx(2.0)

    @pytest.mark.parametrize(
        ("known", "slower", "doubt", "said"),
        [
            ({"reference_doubt": 0.02}, 1.0, 0.02, []),
            ({"reference_doubt": 0.02}, 1.25, 0.02, ["the machine was slower by 25 % than when"]),
            (
                {"doubtful": "it was busy"},
                1.25,
                DOUBTFUL_REFERENCE,
                ["because it was busy; so sustained"],
            ),
        ],
    )
    def test_are_as_doubtful_as_the_reference_speed(
        self,
        acting: Target,
        sys: Path,
        tmp_path: Path,
        known: dict[str, Any],
        slower: float,
        doubt: float,
        said: list[str],
    ) -> None:
        slow_down(slower)
        (outcome,) = self.measured(acting, tmp_path, {"a": "clock 2"}, **known)
        found = self.sustained(outcome)
        assert found.reference_doubt == doubt
        assert len(found.flags) == len(said)
        assert all(words in flag for words, flag in zip(said, found.flags, strict=True))

    @pytest.mark.slow
    def test_come_beside_other_metrics_and_failures(self, acting: Target, sys: Path, tmp_path: Path) -> None:
        deeds = {"a": "clock 2", "r": "refuse", "b": "clock 4"}
        first, refused, second = self.measured(acting, tmp_path, deeds, "latency_ms", SUSTAINED, "weight_bytes")
        assert failure_of(refused)[0] == "measure"
        one, other = self.sustained(first), self.sustained(second)
        assert isinstance(first, dict)
        assert set(first) == {"latency_ms", SUSTAINED, "weight_bytes"}
        verdict = compared(SUSTAINED, ("a", one), ("b", other), together=True)
        assert verdict.rounds == 0, "they did not run in turns"
        assert verdict.interval.lower < 2 < verdict.interval.upper


def test_the_last_part_has_enough_windows_for_an_interval() -> None:
    """Six readings or more have order statistics, which one disturbed window does not widen."""
    assert sustaining.LAST >= 6
    assert 2 * sustaining.LAST <= sustaining.LEAST
