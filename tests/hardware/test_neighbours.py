"""What other programs, quotas and sleep did while something was timed, and how people are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.hardware.disturbances import COLD_DOUBT, OFTEN, WARM_DOUBT, clock_doubt, disturbances, slept, waited
from nas.hardware.runtimes import neighbours
from nas.hardware.runtimes.neighbours import Moment, between, moment, waiting_s
from nas.hardware.runtimes.stopwatch import COMPUTES_ELSEWHERE
from nas.values.measurement import THREAD, WALL

BEFORE = Moment(10.0, 1.0, 0.1, 0.5, 100.0, {0: 5.0, 1: 7.0, 2: 1.0})


def reply_with(**changes: Any) -> dict[str, Any]:
    """Return a quiet session's reply with changes."""
    quiet = {
        "clock": WALL,
        "is_warm": True,
        "waited": 0.0,
        "pressure": 0.0,
        "stolen": None,
        "throttled": None,
        "sibling_busy": None,
        "asleep_s": 0.0,
        "why_wall": "",
    }
    return {**quiet, **changes}


def test_shares_are_of_the_time_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """The busiest of the other cores counts, and a hyper-thread of the measured core for itself."""
    listed = {neighbours.SIBLINGS.format(1): [1, 2], neighbours.SHARING.format(1): [0, 1, 2]}
    monkeypatch.setattr(neighbours, "_listed", listed.__getitem__)
    after = Moment(12.0, 1.5, 0.3, 0.7, 100.0, {0: 6.5, 1: 9.0, 2: 1.4})
    found = between(BEFORE, after, [1])
    assert found["elapsed_s"] == 2.0
    assert found["pressure"] == pytest.approx(0.25)
    assert found["stolen"] == pytest.approx(0.1)
    assert found["throttled"] == pytest.approx(0.1)
    assert found["others_busy"] == pytest.approx(0.75)
    assert found["sibling_busy"] == pytest.approx(0.2)
    assert found["asleep_s"] == 0.0


def test_what_is_unknown_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux nothing of this can be read."""
    monkeypatch.setattr(neighbours, "_listed", lambda path: [])
    nothing = Moment(10.0, None, None, None, None, {})
    found = between(nothing, replace(nothing, at_s=11.0), [0])
    assert {name for name, value in found.items() if value is None} == set(found) - {"elapsed_s"}
    assert list(disturbances([reply_with(pressure=None, asleep_s=None)])) == []


def test_a_moment_can_be_read_here() -> None:
    """Every system has a clock, and time goes on."""
    first, second = moment(), moment()
    assert second.at_s > first.at_s
    assert waiting_s(2**30) == 0.0, "no such process"


def test_cores_that_share_something_are_listed(tmp_path: Path) -> None:
    """As Linux writes them; without the file, or with another text, nothing is known."""
    (tmp_path / "list").write_text("0-2,5\n")
    assert neighbours._listed(str(tmp_path / "list")) == [0, 1, 2, 5]
    (tmp_path / "list").write_text("all\n")
    assert neighbours._listed(str(tmp_path / "list")) == neighbours._listed(str(tmp_path / "none")) == []


def test_a_quota_is_read_from_either_version_of_control_groups(tmp_path: Path) -> None:
    """Version 2 counts microseconds, version 1 nanoseconds; a file without the line tells nothing."""
    assert neighbours._throttled_s(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.stat").write_text("nr_periods 3\nthrottled_time 2500000000\n")
    assert neighbours._throttled_s(tmp_path) == 2.5
    (tmp_path / "cpu.stat").write_text("usage_usec 3\nthrottled_usec 1500000\n")
    assert neighbours._throttled_s(tmp_path) == 1.5
    (tmp_path / "cpu.stat").write_text("throttled_usec many\n")
    assert neighbours._throttled_s(tmp_path) == 2.5


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clock": THREAD, "waited": 0.78}, "for 78 % of the time, so the processor time of the thread counts"),
        ({"why_wall": "several threads", "pressure": 0.2}, "the machine was busy with other work while this was"),
        ({"stolen": 0.2}, "the machine was busy with other work while this was measured"),
        (
            {"throttled": 0.3},
            "the processor quota of this container stopped the measurement for 30 % of the time",
        ),
        ({"sibling_busy": 0.9}, "other programs used the other hyper-thread of the measured core for 90 %"),
        ({"asleep_s": 40.0}, "the machine slept while this was measured"),
        ({"why_wall": COMPUTES_ELSEWHERE}, COMPUTES_ELSEWHERE),
    ],
)
def test_each_disturbance_is_a_doubt(changes: dict[str, Any], told: str) -> None:
    """A quiet session gives none, and each kind of disturbance gives one."""
    assert list(disturbances([reply_with()])) == []
    (doubt,) = disturbances([reply_with(**changes)])
    assert told in doubt


def test_waiting_is_no_doubt_where_the_threads_clock_sees_through() -> None:
    """Programs that had the core for a moment leave no doubt, but are told."""
    replies = [reply_with(clock=THREAD, waited=0.04, pressure=0.5), reply_with(), reply_with(clock=THREAD, waited=0.06)]
    assert list(disturbances(replies)) == []
    assert waited(replies) == {"waited_share": 0.04, "warm_caches": True}
    assert waited([reply_with()]) == {}


def test_the_clocks_doubt_grows_with_the_waiting() -> None:
    """It is whole where other programs often have the core, and larger where caches were cold."""
    assert clock_doubt([reply_with()]) == 0.0
    assert clock_doubt([reply_with(waited=OFTEN / 2)]) == pytest.approx(WARM_DOUBT / 2)
    assert clock_doubt([reply_with(waited=0.8)]) == WARM_DOUBT
    assert clock_doubt([reply_with(waited=0.8, is_warm=False)]) == COLD_DOUBT


def test_sleep_is_longer_than_a_hiccup() -> None:
    """The clocks that tell it differ by a little at any time."""
    assert not slept(reply_with(asleep_s=0.01))
    assert slept(reply_with(asleep_s=3.0))
