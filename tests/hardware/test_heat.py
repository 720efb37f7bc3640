"""How warm a machine is, and what holds its clock down, read from folders like those of Linux."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import made_up_heat
import pytest
from made_up_heat import CAP, COUNT, FAN, PI_TEMPERATURE, PI_WORD, SLOWING, VOLTAGE, put

from nas.hardware import machine
from nas.hardware.disturbances import heat_doubts, heat_of
from nas.hardware.runtimes import heat
from nas.hardware.runtimes.heat import DENIED, Heat, Thermometer, between


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    return made_up_heat.pi(tmp_path)


def thermometer(root: Path) -> Thermometer:
    return Thermometer(root, [0])


class TestTemperatures:
    def test_are_those_of_the_warmest_sensor_of_the_processor(self, tmp_path: Path) -> None:
        """The wireless network and the battery do not count, however warm they are."""
        root = put(
            tmp_path,
            {
                "class/thermal/thermal_zone0/type": "iwlwifi_1",
                "class/thermal/thermal_zone0/temp": 90_000,
                "class/hwmon/hwmon0/name": "coretemp",
                "class/hwmon/hwmon0/temp1_label": "Package id 0",
                "class/hwmon/hwmon0/temp1_input": 51_000,
                "class/hwmon/hwmon0/temp2_label": "Core 0",
                "class/hwmon/hwmon0/temp2_input": 53_500,
                "class/hwmon/hwmon1/name": "nvme",
                "class/hwmon/hwmon1/temp1_input": 88_000,
            },
        )
        assert thermometer(root).read().temperature_c == 53.5

    def test_of_unknown_sensors_count_where_no_other_is_there(self, tmp_path: Path) -> None:
        root = put(
            tmp_path,
            {
                "class/thermal/thermal_zone0/type": "acpitz",
                "class/thermal/thermal_zone0/temp": 41_000,
                "class/hwmon/hwmon1/name": "nvme",
                "class/hwmon/hwmon1/temp1_input": 88_000,
            },
        )
        assert thermometer(root).read().temperature_c == 41.0

    @pytest.mark.parametrize("told", ["", "N/A", "-274000", "255000"])
    def test_of_a_broken_sensor_are_left_out(self, pi: Path, told: str) -> None:
        put(pi, {PI_TEMPERATURE: told})
        assert thermometer(pi).read().temperature_c == 44.5, "of the other sensor"

    def test_are_unknown_where_there_is_no_sensor(self, tmp_path: Path) -> None:
        """As in most virtual machines: nothing is said, and nothing is added to a measurement."""
        found = thermometer(tmp_path).read()
        assert found == Heat(cores=tuple(machine.allowed_cores()))
        assert between(found, found) == {}
        assert heat_of([{"heat": {}}]) == {}
        assert list(heat_doubts({}, [{"heat": {}}])) == []


class TestWhatHoldsTheClockDown:
    @pytest.mark.parametrize(
        ("changed", "sign"),
        [
            ({f"{SLOWING}/cur_state": 1}, heat.SLOWED_TO_COOL),
            ({VOLTAGE: 1}, heat.LOW_VOLTAGE),
            ({PI_WORD: "4"}, "the firmware throttled the processor"),
            ({PI_WORD: "1"}, heat.LOW_VOLTAGE),
            ({PI_WORD: "80000"}, "the firmware's soft limit of temperature was reached"),
            ({"class/hwmon/hwmon0/temp1_crit_alarm": 1}, heat.ALARM),
        ],
    )
    def test_is_told_and_a_doubt(self, pi: Path, changed: dict[str, Any], sign: str) -> None:
        """What is so at either moment, and what a sticky bit says has happened between them."""
        put(pi, {name: 0 for name in changed if name.startswith("class/hwmon/hwmon0")})
        quiet = thermometer(pi)
        before = quiet.read()
        assert between(before, quiet.read()) == {"temperature_c": [45.0, 45.0]}
        put(pi, changed)
        reply = {"heat": between(before, quiet.read())}
        assert reply["heat"]["held_down"] == [sign]
        told = heat_of([{"heat": {}}, reply])
        assert told == {"temperature_c": [45.0, 45.0], "held_down": [sign]}
        assert list(heat_doubts(told, [{"heat": {}}, reply])) == [f"{sign} in 1 of 2 sessions"]

    def test_is_counted_by_some_processors(self, tmp_path: Path) -> None:
        put(tmp_path, {COUNT: 7})
        found = thermometer(tmp_path)
        before = found.read()
        assert "held_down" not in between(before, found.read())
        put(tmp_path, {COUNT: 9})
        assert between(before, found.read())["held_down"] == [heat.SLOWED_ITSELF]

    def test_before_is_recorded_and_no_doubt(self, pi: Path) -> None:
        """A sticky bit that was set before does not say when."""
        put(pi, {PI_WORD: "50000"})
        found = thermometer(pi)
        told = heat_of([{"heat": between(found.read(), found.read())}])
        assert told["held_down_before"] == ["the firmware throttled the processor", heat.LOW_VOLTAGE]
        assert "held_down" not in told
        assert list(heat_doubts(told, [])) == []

    def test_is_no_fan(self, pi: Path) -> None:
        put(pi, {f"{FAN}/cur_state": 4})
        assert thermometer(pi).read().signs == ()

    def test_comes_from_the_program_where_there_is_no_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A word that cannot be read says nothing."""
        program = tmp_path / "bin" / "vcgencmd"
        for printed, signs in (("throttled=0x50005", 2), ("error=1", None), ("throttled=0x0", 0)):
            put(tmp_path, {"bin/vcgencmd": f'#!/bin/sh\ntest "$1" = get_throttled && echo {printed}'})
            program.chmod(0o755)
            monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
            found = thermometer(tmp_path / "nothing").read()
            assert len(found.signs) == (signs or 0)
            assert bool(found.events) == (signs is not None)


class TestCaps:
    def test_that_stay_are_recorded(self, pi: Path) -> None:
        put(pi, {CAP: 1_500_000})
        found = thermometer(pi)
        replies = [{"heat": between(found.read(), found.read())}] * 2
        told = heat_of(replies)
        assert told["clock_cap_mhz"] == 1500
        assert list(heat_doubts(told, replies)) == []

    def test_that_change_are_a_doubt(self, pi: Path) -> None:
        found = thermometer(pi)
        before = found.read()
        put(pi, {CAP: 1_500_000})
        replies = [{"heat": between(before, before)}, {"heat": between(before, found.read())}]
        told = heat_of(replies)
        assert list(heat_doubts(told, replies)) == ["the system capped the clock at 1500 MHz for a while"]


class TestCoreMask:
    def test_that_leaves_out_faster_cores_is_a_doubt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clocks = {0: 1_500_000, 1: 1_500_000, 2: 2_400_000, 3: 2_400_000}
        monkeypatch.setattr(machine, "_top_clock", clocks.__getitem__)
        monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
        monkeypatch.setattr(machine, "allowed_cores", lambda: [0, 1])
        denied = machine.faster_cores_denied(1)
        assert denied == [2, 3]
        assert list(heat_doubts({DENIED: denied}, [])) == [
            "the core mask of this process leaves out faster cores: 2, 3"
        ]
        monkeypatch.setattr(machine, "allowed_cores", lambda: [0, 3])
        assert machine.faster_cores_denied(1) == []

    def test_that_changes_meanwhile_is_a_doubt(self) -> None:
        found = between(Heat(cores=(0,)), Heat(cores=(0, 1)))
        assert found == {"held_down": [heat.OTHER_CORES]}
