"""Commands as instruments: every way in which one can fail gives a reason and no number."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import CandidateError
from nas.hardware.energy.instrument import REAL_TIME, integrate_power, power_log, printed_number


def python_command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_number_is_read() -> None:
    """With the white space around it taken off."""
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
    """The error says what the command did."""
    with pytest.raises(CandidateError, match=message) as caught:
        printed_number("meter", python_command(code), "joules", 0.5 if "sleep" in code else 30)
    assert caught.value.kind == "energy"


def test_a_program_that_is_not_there_is_said() -> None:
    """The name is run as it stands: no shell looks into it."""
    for arguments in (["no-such-meter"], ["echo 12; echo"], ["a\0b"]):
        with pytest.raises(CandidateError, match="meter must be a program that can be started"):
            printed_number("meter", arguments, "joules", 10)


@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes")
def test_children_do_not_outlast_the_timeout(tmp_path: Path) -> None:
    """A child that holds the output open is ended with its parent, and nobody waits for it."""
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
    """At the first line that is no sample."""
    command = python_command(f"print('{lines}')")
    with pytest.raises(CandidateError, match=message), power_log("meter", command, REAL_TIME) as log:
        log.read_until(lambda: len(log.times_s) > 2, 30)


def test_a_silent_log_is_not_waited_for_for_ever() -> None:
    """Its line never ends."""
    command = python_command("import time; print('0,5', end='', flush=True); time.sleep(60)")
    with (
        pytest.raises(CandidateError, match=r"no sample came for 0\.3 s \(lines must be printed as they come\)"),
        power_log("meter", command, REAL_TIME) as log,
    ):
        log.read_until(lambda: bool(log.times_s), 0.3)


def test_its_clock_is_tied_to_ours_by_the_line_that_came_fastest() -> None:
    """The second of three lines is printed 0.2 s late, by its own time: the others say what the time is."""
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
    """A ramp from 0 to 10 W over ten seconds: from 1.5 to 8.5 s it takes 7 s of 5 W."""
    times = np.arange(0.0, 10.5, 0.5)
    assert integrate_power(times.tolist(), times.tolist(), 1.5, 8.5) == pytest.approx(35)


@given(st.floats(0.0, 1.0), st.floats(4.0, 5.0), st.integers(0, 2**32 - 1))
def test_neighbouring_windows_add_up(start_s: float, end_s: float, seed: int) -> None:
    """The energy up to a moment and that from it on is that of both, wherever the samples lie."""
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
        (np.r_[np.arange(0.0, 4.0, 0.1), np.arange(6.0, 10.0, 0.1)], "silent for a fifth of the window, 1.61 s, but"),
    ],
)
def test_nothing_is_extrapolated(times: np.ndarray, message: str) -> None:
    """Samples lie around the window and all over it, or there is no energy."""
    with pytest.raises(CandidateError, match=message):
        integrate_power(times.tolist(), np.full(len(times), 5.0).tolist(), 0.95, 9.0)
