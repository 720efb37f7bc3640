"""Commands as energy instruments: every way to fail gives a reason and no number."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nas.errors import CandidateError, TargetError
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.commands import CommandLogMeter, integrate_power, power_log, printed_number
from nas.hardware.energy.counters import CommandCounter, CounterMeter
from nas.hardware.energy.metering import MIN_WINDOW_S, REAL_TIME, Timer, measure_window

FAST = 20
"""Tests with real commands let time run faster by this factor."""
FAST_TIME = Timer(lambda: FAST * time.perf_counter(), lambda seconds: time.sleep(seconds / FAST))

STEADY_LOG = f"""
import sys, time
print("time_s,watts", flush=True)
for _ in range(100_000):
    print(f"{{{FAST} * time.monotonic() - 1e6}},{{12.5}}", flush=True)
    time.sleep(0.002)
"""


def python_command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_number_is_read() -> None:
    """The printed number is returned without the white space around it."""
    assert printed_number("meter", python_command("print(' 12.5 ')"), "joules", 10) == 12.5


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("pass", "it printed nothing"),
        ("print('twelve')", "joules of meter must be a finite number, but it printed 'twelve'"),
        ("print('12 J')", "must be a finite number, but it printed '12 J'"),
        ("print('nan')", "must be a finite number, but it printed 'nan'"),
        ("print('inf')", "must be a finite number, but it printed 'inf'"),
        ("print(1); print(2)", "must be a finite number"),
        ("print(12); raise SystemExit('no device')", "it ended with exit code 1: no device"),
        ("import time; print(12, flush=True); time.sleep(60)", "it did not end within 0.5 s"),
    ],
)
def test_commands_that_fail_give_no_number(code: str, message: str) -> None:
    """The error says how the command failed."""
    with pytest.raises(CandidateError, match=message) as caught:
        printed_number("meter", python_command(code), "joules", 0.5 if "sleep" in code else 30)
    assert caught.value.kind == "energy"


def test_a_program_that_is_not_there_is_said() -> None:
    """A missing program raises an error, and no shell interprets its name."""
    for arguments in (["no-such-meter"], ["echo 12; echo"], ["a\0b"]):
        with pytest.raises(CandidateError, match="meter must be a program that can be started"):
            printed_number("meter", arguments, "joules", 10)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes")
def test_children_do_not_outlast_the_timeout(tmp_path: Path) -> None:
    """A child that holds the output open is ended with its parent, without waiting for the child."""
    note = tmp_path / "pid"
    child = "import time; time.sleep(60)"
    code = (
        "import subprocess, sys, pathlib\n"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(p.pid))\np.wait()"
    )
    began = time.monotonic()
    with pytest.raises(CandidateError, match="did not end within 2 s"):
        printed_number("meter", python_command(code), "joules", 2)
    assert time.monotonic() - began < 30
    pid = int(note.read_text())
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(pid, 9)
        pytest.fail("the child still runs")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0.0,5\\n0.1,5,9", "must print lines time_s,watts, but printed"),
        ("0.0 5", "must print lines time_s,watts, but printed"),
        ("0.0,5\\ntime_s,watts", "time_s of meter must be a finite number"),
        ("0.0,nan", "watts of meter must be a finite number, but it printed 'nan'"),
        ("0.0,-1", "watts of meter must not be negative, but got -1.0"),
        ("0.0,5\\n0.0,6", "time_s of meter must increase, but 0.0 follows 0.0"),
        ("", "it ended early, with exit code 0"),
    ],
)
def test_logs_that_make_no_sense_are_refused(lines: str, message: str) -> None:
    """The first line that is not a sample raises an error."""
    command = python_command(f"print('{lines}')")
    with pytest.raises(CandidateError, match=message), power_log("meter", command, REAL_TIME) as log:
        log.read_until(lambda: len(log.times_s) > 2, 30)


def test_a_silent_log_is_not_waited_for_for_ever() -> None:
    """A line that never ends raises an error after the timeout."""
    command = python_command("import time; print('0,5', end='', flush=True); time.sleep(60)")
    with (
        pytest.raises(CandidateError, match=r"no sample came for 0\.3 s \(lines must be printed as they come\)"),
        power_log("meter", command, REAL_TIME) as log,
    ):
        log.read_until(lambda: bool(log.times_s), 0.3)


def test_its_clock_is_tied_to_ours_by_the_line_that_came_fastest() -> None:
    """One line of three is printed 0.2 s late by its own clock. The other two set the offset between the clocks."""
    code = (
        "import time\nbegan = time.monotonic()\n"
        "for at, late in ((0.0, 0), (0.01, 0.2), (0.3, 0)):\n"
        "    time.sleep(max(0, began + at + late - time.monotonic()))\n"
        "    print(f'{at},5', flush=True)\n"
    )
    with power_log("meter", python_command(code), REAL_TIME) as log:
        log.read_until(lambda: len(log.times_s) == 3, 30)
        late_s = REAL_TIME.now() - (log.times_s[-1] + log.offset_s)
    assert 0 <= late_s < 0.15


def test_power_is_integrated_by_trapezoids() -> None:
    """A ramp from 0 to 10 W over ten seconds gives 7 s of 5 W, or 35 J, from 1.5 to 8.5 s."""
    times = np.arange(0.0, 10.5, 0.5)
    assert integrate_power(times.tolist(), times.tolist(), 1.5, 8.5) == pytest.approx(35)


@given(st.floats(0.0, 1.0), st.floats(4.0, 5.0), st.integers(0, 2**32 - 1))
def test_neighbouring_windows_add_up(start_s: float, end_s: float, seed: int) -> None:
    """The energies of two neighbouring windows add up to that of both together, wherever the samples lie."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.05, 0.1, 120)) - 0.1
    watts = rng.uniform(0, 50, 120)
    whole = integrate_power(times.tolist(), watts.tolist(), start_s, end_s)
    parts = [integrate_power(times.tolist(), watts.tolist(), *part) for part in ((start_s, 2.5), (2.5, end_s))]
    assert sum(parts) == pytest.approx(whole)
    assert 0 <= whole <= 50 * (end_s - start_s)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.arange(1.0, 11.0, 0.1), "must cover the window, 0.95 to 9 s, but covers 1 to 10.9 s"),
        (np.arange(0.0, 8.95, 0.1), "must cover the window, 0.95 to 9 s, but covers 0 to 8.9 s"),
        (np.array([]), "covers nothing"),
        (np.array([0.0, 2, 4, 6, 8, 10]), "must have 10 samples in the window, but has 4"),
        (np.r_[np.arange(0.0, 4.0, 0.1), np.arange(6.0, 10.0, 0.1)], "silent for at most a fifth of the window, 1.61"),
    ],
)
def test_nothing_is_extrapolated(times: np.ndarray, message: str) -> None:
    """Samples must lie before, after and all over the window. Otherwise an error is raised."""
    with pytest.raises(CandidateError, match=message):
        integrate_power(times.tolist(), np.full(len(times), 5.0).tolist(), 0.95, 9.0)


def test_a_command_that_counts_is_a_meter() -> None:
    """The command's joules follow a clock at 40 W, so two readings differ by 40 W times the seconds."""
    code = "import time; print(40 * time.monotonic())"
    machine_time = Timer(time.monotonic, time.sleep)
    counter = CommandCounter(python_command(code))
    before, began = counter.read(), machine_time.now()
    time.sleep(0.05)
    after, ended = counter.read(), machine_time.now()
    assert counter.joules(before, after) == pytest.approx(40 * (ended - began), rel=0.5)
    assert isinstance(meter_from({"kind": "command", "command": python_command(code)}), CounterMeter)


def test_a_command_that_logs_power_is_a_meter() -> None:
    """The window has the logged 12.5 W, wherever the command's clock starts and with a header line."""
    meter = CommandLogMeter(python_command(STEADY_LOG), FAST_TIME, timeout_s=10 * FAST)
    assert 0.02 < meter.update_period_s < 5
    window = measure_window(meter, lambda: FAST_TIME.sleep(0.01))
    assert window.watts == pytest.approx(12.5)
    assert window.seconds >= MIN_WINDOW_S
    assert window.inferences > 10


def test_a_log_that_ends_within_the_window_gives_no_number() -> None:
    """The log works while its period is found, and then the instrument is unplugged."""
    code = STEADY_LOG.replace("100_000", "10") + "\nsys.exit('unplugged')"
    meter = CommandLogMeter(python_command(code), FAST_TIME, timeout_s=10 * FAST)
    assert meter.update_period_s > 0
    with pytest.raises(CandidateError, match="it ended early, with exit code 1: unplugged"):
        measure_window(meter, lambda: FAST_TIME.sleep(1.0), seconds=10)


def test_a_command_that_cannot_log_is_no_instrument() -> None:
    """The error gives the command's failure and then the requirement."""
    meter = CommandLogMeter(python_command("print('time_s,watts')"), FAST_TIME)
    with pytest.raises(TargetError, match=r"it ended early, with exit code 0.*time_s,watts"):
        measure_window(meter, lambda: None)


def test_work_that_fails_ends_the_log(tmp_path: Path) -> None:
    """The command is stopped when an inference raises."""
    mark = tmp_path / "closed"
    closing = f"import signal\nsignal.signal(signal.SIGTERM, lambda *_: (open({str(mark)!r}, 'w').close(), sys.exit()))"
    meter = CommandLogMeter(
        python_command(STEADY_LOG.replace("print(", f"{closing}\nprint(", 1)), FAST_TIME, timeout_s=10 * FAST
    )

    def fail() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        measure_window(meter, fail)
    assert mark.exists()
