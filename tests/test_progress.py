"""Plain progress: few lines, without control characters."""

from __future__ import annotations

import io
import time

import pytest

from nas.progress import NullProgress, PlainProgress, Progress, duration_text, one_line


class Clock:
    """A clock that a test sets by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_stage_has_a_line_at_its_start_and_its_end() -> None:
    """The first line has the total; the last one has the count, the time taken and the best result."""
    stream, clock = io.StringIO(), Clock()
    progress: Progress = PlainProgress(stream, clock=clock)
    progress.stage("Training", 3)
    for _ in range(3):
        clock.now_s += 1
        progress.advance(best="97.80 % at 0.21 ms")
    progress.close()
    progress.close()
    assert stream.getvalue().splitlines() == [
        "Training: 3 to do.",
        "Training: 3 of 3 done in 3.0 s, best 97.80 % at 0.21 ms.",
    ]


def test_lines_between_are_limited_in_number() -> None:
    """A thousand quick steps in ten seconds add two lines to the first, each with the time left."""
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, every_s=5.0, clock=clock)
    progress.stage("Measuring", 2000)
    for _ in range(1000):
        clock.now_s += 0.01001
        progress.advance()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1] == "Measuring: 500 of 2000 done, about 15 s left."


def test_the_time_left_never_exceeds_the_time_limit() -> None:
    """A time limit bounds the estimate, however many steps remain."""
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, every_s=5.0, clock=clock)
    progress.stage("Training", 2000, most_s=20.0)
    for _ in range(3):
        clock.now_s += 7.5
        progress.advance()
    assert stream.getvalue().splitlines() == [
        "Training: 2000 to do, time limit 20 s.",
        "Training: 1 of 2000 done, about 12 s left.",
        "Training: 2 of 2000 done, about 5.0 s left.",
        "Training: 3 of 2000 done, about 0.0 s left.",
    ]


def test_a_stage_without_a_total_shows_the_rest_of_its_time_limit() -> None:
    """The number of steps is open, so that only the time limit tells how long it takes."""
    stream, clock = io.StringIO(), Clock()
    progress = PlainProgress(stream, every_s=5.0, clock=clock)
    progress.stage("Training", most_s=20.0)
    clock.now_s += 6
    progress.advance(3)
    clock.now_s += 15
    progress.close()
    assert stream.getvalue().splitlines() == [
        "Training, time limit 20 s.",
        "Training: 3 done, about 14 s left.",
        "Training: 3 done in 21 s.",
    ]


def test_a_new_stage_ends_the_one_before() -> None:
    """The next stage closes the last one, and resets the count and the best result."""
    stream = io.StringIO()
    progress = PlainProgress(stream, clock=Clock())
    progress.stage("Measuring")
    progress.advance(2, best="0.1 ms")
    progress.stage("Training", 1)
    progress.close()
    assert stream.getvalue().splitlines() == [
        "Measuring.",
        "Measuring: 2 done in 0.0 s, best 0.1 ms.",
        "Training: 1 to do.",
        "Training: 0 of 1 done in 0.0 s.",
    ]


def test_news_is_one_line_without_control_characters() -> None:
    """Escape sequences, carriage returns and line breaks never reach the stream."""
    stream = io.StringIO()
    PlainProgress(stream, clock=Clock()).say("failed:\r\n\x1b[31mloss\x1b[0m\x07 is \x1b]0;title\x07NaN\x00\u2028now")
    assert stream.getvalue() == "failed: loss is NaN now\n"


@pytest.mark.parametrize("text", ["", "\x1b", "a\x1b[2Jb", "\x9b31m", "ä µs ≤ 2"])
def test_one_line_is_printable(text: str) -> None:
    """The result is printable for any input."""
    assert one_line(text).isprintable()


def test_the_null_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """It accepts every call and prints nothing."""
    progress: Progress = NullProgress()
    progress.stage("Training", 3)
    progress.advance(best="x")
    progress.say("x")
    progress.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (12_000, "3 h 20 min"),
        (-1, "0.0 s"),
        (1e308, "3.17e+300 years"),
        (float("inf"), "an unknown time"),
        (float("nan"), "an unknown time"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    """The unit grows with the duration, and minutes and seconds stay below sixty."""
    assert duration_text(seconds) == text


def test_a_stage_that_an_exception_ends_is_said_to_be_stopped() -> None:
    """After Ctrl-C the last line does not read as if the stage had ended. A caller's ``except`` changes nothing."""
    stream = io.StringIO()
    progress = PlainProgress(stream, clock=Clock())
    try:
        progress.stage("Training", 3)
        progress.advance()
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        progress.close()
        progress.stage("Measuring", 1)
        progress.advance()
        progress.close()
    assert stream.getvalue().splitlines() == [
        "Training: 3 to do.",
        "Training: stopped, 1 of 3 done in 0.0 s.",
        "Measuring: 1 to do.",
        "Measuring: 1 of 1 done in 0.0 s.",
    ]


def test_a_long_step_gives_signs_of_life() -> None:
    """A stage in which no step ends says for how long it has been running, and nothing after its end."""
    stream = io.StringIO()
    progress = PlainProgress(stream, quiet_s=0.02)
    progress.stage("retraining winners", 2)
    deadline_s = time.monotonic() + 10
    while stream.getvalue().count("so far") < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    progress.close()
    text = stream.getvalue()
    assert "retraining winners: 0 of 2 done, 0.0 s so far.\n" in text
    assert text.count("so far") >= 2
    time.sleep(0.1)
    assert stream.getvalue() == text
    assert text.endswith(".\n")


def test_a_reader_who_left_ends_the_signs_of_life(capfd: pytest.CaptureFixture[str]) -> None:
    """The thread ends without a traceback."""
    stream = io.StringIO()
    progress = PlainProgress(stream, quiet_s=0.02)
    progress.stage("retraining winners", 2)
    stream.close()
    time.sleep(0.2)
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(ValueError, match="closed file"):
        progress.close()
