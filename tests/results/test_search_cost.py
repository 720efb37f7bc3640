"""The cost of a search: laps, counters that fail, resumed parts, and energy as an objective of a whole search."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import evaluations_of
from fake_bench import FakeClock

import nas
from nas.errors import CandidateError, TargetError
from nas.hardware.energy.counters import Reading
from nas.reports.report import render_report
from nas.results.run_folder import load_run
from nas.results.search_cost import SEARCH, WINNERS, SearchCost, search_counter, total_cost
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Cost

ACTING_METER = """
import os, time
fields = open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()
busy_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
print(5 * time.monotonic() + 20 * busy_s)
"""
"""A meter whose truth is known: 5 W at idle, and 20 W more while the parent process computes."""


class ListedCounter:
    """A counter that shows the given joules one after the other, and then the last for ever. None is a failure."""

    name = "listed"
    poll_s = 0.0

    def __init__(self, *joules: float | None) -> None:
        self._joules = list(joules)
        self.readings = 0
        self.third = threading.Event()

    def read(self) -> Reading:
        value = self._joules.pop(0) if len(self._joules) > 1 else self._joules[0]
        self.readings += 1
        if self.readings == 3:
            self.third.set()
        if value is None:
            raise CandidateError("energy", "the cable came off")
        return (value,)

    def joules(self, before: Reading, after: Reading) -> float:
        if after < before:
            raise CandidateError("energy", f"went backwards from {before[0]} to {after[0]}")
        return after[0] - before[0]


def laps(counter: ListedCounter | None, count: int, device_s: Sequence[float] = ()) -> list[Cost]:
    held = iter(device_s or [0.0] * (count + 1))
    with SearchCost(counter, "there is no meter", FakeClock(), lambda: next(held)) as cost:
        return [cost.lap(SEARCH) for _ in range(count)]


def test_laps_add_up_to_the_whole() -> None:
    """Each has the time, the device's time and the energy since the lap before."""
    found = laps(ListedCounter(100, 103, 103, 110), 3, [2, 3, 3.5, 7])
    assert [lap.joules for lap in found] == [3, 0, 7]
    assert [lap.device_s for lap in found] == [1, 0.5, 3.5]
    assert [lap.wall_s for lap in found] == pytest.approx([0.001] * 3)
    assert {(lap.meter, lap.of) for lap in found} == {("listed", SEARCH)}


def test_without_a_counter_time_is_still_recorded() -> None:
    """The energy is None, with the reason."""
    (lap,) = laps(None, 1, [0, 4])
    assert (lap.joules, lap.meter, lap.device_s) == (None, "there is no meter", 4)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ((None,), "the cable came off"),
        ((1, 2, None, 4, 5), "the cable came off"),
        ((10, 12, 3, 5, 9), "went backwards from 12 to 3"),
    ],
    ids=["at first", "in the middle", "backwards"],
)
def test_a_counter_that_fails_leaves_the_energy_unknown(readings: tuple[float | None, ...], reason: str) -> None:
    """From then on no lap has an energy, and the total is "not measured", with the reason."""
    found = laps(ListedCounter(*readings), 4)
    failed = next(number for number, lap in enumerate(found) if lap.joules is None)
    assert all(lap.joules is None for lap in found[failed:])
    assert found[-1].meter == reason
    total = total_cost(found, 400)
    assert total["energy"] == "not measured"
    assert reason in total["meter"]
    assert "carbon" not in total


def test_the_counter_is_also_read_between_laps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does not wrap around unseen; energy that is read meanwhile belongs to the next lap."""
    monkeypatch.setattr("nas.results.search_cost.POLL_S", 0.001)
    counter = ListedCounter(0, 5, 6, 8)
    with SearchCost(counter, "", FakeClock(), lambda: 0.0) as cost:
        assert counter.third.wait(30)
        lap = cost.lap(SEARCH)
    assert lap.joules is not None
    assert 6 <= lap.joules <= 8
    assert counter.readings >= 4


def part(wall_s: float, joules: float | None, meter: str = "RAPL", of: str = SEARCH) -> Cost:
    return Cost(wall_s, wall_s / 10, joules, meter, of)


def test_parts_of_a_resumed_run_make_one_cost() -> None:
    """Times and energies are sums, and the carbon follows where its intensity is given."""
    parts = [part(100, 1.8e6), part(500, 1.8e6)]
    total = total_cost(parts, 390)
    assert total == {
        "time": "10 min 00 s",
        "time of the device": "1 min 00 s",
        "energy": "3600 kJ, measured",
        "meter": "RAPL",
        "carbon": "390 g CO2e at 390 g/kWh",
    }
    assert "carbon" not in total_cost(parts, None)
    assert total_cost([], 390) == {}


def test_the_time_for_winners_is_shown_apart() -> None:
    """It is a part of the whole time."""
    total = total_cost([part(100, 1.0), part(20, 1.0, of=WINNERS), part(40, 1.0, of=WINNERS)], None)
    assert (total["time"], total["time for winners"]) == ("2 min 40 s", "1 min 00 s")


def test_one_unmetered_part_leaves_the_whole_unknown() -> None:
    """A part of the energy is never shown as if it were all."""
    total = total_cost([part(100, 5000.0), part(100, None, "only root may read it")], 390)
    assert total["energy"] == "not measured"
    assert total["meter"] == "RAPL; only root may read it"
    assert "carbon" not in total


def test_settings_name_the_counter_or_why_there_is_none(tmp_path: Path) -> None:
    """A missing meter does not stop a search without energy among its objectives and limits."""
    counter, why = search_counter({"kind": "command", "command": ["my-meter"]})
    assert counter is not None
    assert (counter.name, why) == ("command my-meter", "")
    assert search_counter({"kind": "none"}) == (None, "the recipe names no meter.")
    assert "log of power" in search_counter({"kind": "command", "command": ["my-meter"], "format": "csv"})[1]
    for kind in ("auto", "rapl"):
        counter, why = search_counter({"kind": kind, "root": str(tmp_path)})
        assert counter is None
        assert str(tmp_path) in why


@pytest.mark.usefixtures("onnx_profile")
@pytest.mark.parametrize("asked", [{"objectives": ["error", "energy_mj"]}, {"limits": ["energy_mj <= 1mJ"]}])
def test_energy_without_a_meter_is_refused_before_any_work(tmp_path: Path, asked: dict[str, Any]) -> None:
    """The message says what to choose instead, and no folder is made."""
    with pytest.raises(TargetError, match=r"energy_mj needs a meter.*modelled_energy_mj instead, or name a command"):
        nas.search({"name": "run", "energy": {"meter": "none"}, **asked}, runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the acting meter reads /proc")
@pytest.mark.usefixtures("onnx_profile")
def test_a_search_minimises_energy_that_a_command_meters(tmp_path: Path) -> None:
    """Winners have a measured energy near the truth, with meter, idle power and window; the search has a cost."""
    script = tmp_path / "meter.py"
    script.write_text(ACTING_METER)
    front = nas.search(
        {
            "name": "run",
            "data": "digits",
            "space": "fault_spaces:Faulty",
            "objectives": ["error", "energy_mj"],
            "trials": 2,
            "rounds": 1,
            "measuring": {
                "initial": 5, "per_round": 1, "rounds": 2, "max_rounds": 2, "seconds_per_round": 0.02, "reuse": False,
            },
            "training": {"epochs": 1, "subset": 0.2},
            "retraining": {"epochs": 1, "winners": 1},
            "execution": {"executor": "inline"},
            "energy": {
                "meter": "command",
                "command": [sys.executable, "-I", "-S", str(script)],
                "gco2e_per_kwh": 390,
            },
        },
        runs=tmp_path,
    )  # fmt: skip
    (winner,) = front
    energy = winner.measurements["energy_mj"]
    name = f"command {Path(sys.executable).name}"
    assert energy.conditions["meter"] == name
    assert energy.conditions["window_s"] >= 2
    # 5 W, and more for the meter itself and for the clock of a busy machine
    assert 4.5 < energy.conditions["idle_w"] < 15
    assert len(energy.rounds) == 3
    assert 0.3 < energy.median / (20 * winner.measurements["latency_ms"].median) < 3
    (shown,) = json.loads(json.dumps(front.to_json()))["winners"]
    assert shown["measured"]["energy_mj"]["median"] == energy.median
    assert shown["gco2e"] == pytest.approx(energy.median / 1000 / 3.6e6 * 390)
    rows = [row for row in evaluations_of(tmp_path / "run", "measure") if not row.failed]
    assert all(set(row.measurements) == {"energy_mj"} for row in rows)
    costs = read_rows(tmp_path / "run", Cost)
    assert sum(cost.joules or 0 for cost in costs) > 5 * sum(cost.wall_s for cost in costs) * 0.9
    record = load_run(tmp_path / "run")
    assert "CO2e" in record.notes["cost of the search"]["carbon"]
    assert "Energy, measured" in render_report(record)
