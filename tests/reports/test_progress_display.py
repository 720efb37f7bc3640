"""The progress display: which one is chosen, the bars of a terminal, and the line of a notebook."""

from __future__ import annotations

import builtins
import contextlib
import io
import sys
import time

import pytest
from fake_notebook import Display, enter_notebook
from rich.console import Console

from nas.progress import NullProgress, PlainProgress, Progress
from nas.reports.progress_display import NotebookProgress, RichProgress, choose_progress, chosen_progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test sets by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def outside_of_any_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a test independent of the session in which pytest runs."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    monkeypatch.delattr(sys, "ps1", raising=False)
    monkeypatch.delattr(builtins, "get_ipython", raising=False)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Display:
    """Put the test into a notebook, and return its display."""
    return enter_notebook(monkeypatch)


# The choice


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for a stream that is passed and for standard output."""
    assert isinstance(choose_progress(Terminal()), RichProgress)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert isinstance(choose_progress(), RichProgress)


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot move its cursor."""
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose_progress(Terminal()), PlainProgress)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert isinstance(choose_progress(), PlainProgress)


def test_a_stream_that_is_no_terminal_gets_plain_lines() -> None:
    """The caller asked for the stream, so that it is never left empty."""
    stream = io.StringIO()
    choose_progress(stream).say("hello")
    assert stream.getvalue() == "hello\n"


def test_json_sends_plain_lines_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output holds nothing but the JSON, even if it is a terminal."""
    errors, output = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(sys, "stdout", output)
    for progress in (choose_progress(output, as_json=True), choose_progress(as_json=True)):
        assert isinstance(progress, PlainProgress)
        progress.say("hello")
    assert (output.getvalue(), errors.getvalue()) == ("", "hello\nhello\n")


def test_a_notebook_gets_a_line_that_is_updated(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its standard output is no terminal; a stream that is passed still gets plain lines."""
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert isinstance(choose_progress(), NotebookProgress)
    assert isinstance(choose_progress(io.StringIO()), PlainProgress)
    assert display.lines == []


def test_an_interactive_session_with_redirected_output_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session with a prompt has somebody who waits."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    choose_progress().say("hello")
    assert output.getvalue() == "hello\n"


def test_a_program_with_redirected_output_gets_its_display_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output belongs to the program that calls the search, and nobody waits for hours without a word."""
    output, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", errors)
    choose_progress().say("hello")
    assert (output.getvalue(), errors.getvalue()) == ("", "hello\n")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(choose_progress(), RichProgress)
    assert isinstance(chosen_progress(None), NullProgress)


# Bars


def test_bars_leave_news_and_one_line_for_each_stage() -> None:
    """News stays, markup and escape sequences have no effect, and closing twice is harmless."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80, record=True)
    progress = RichProgress(console)
    progress.advance()
    progress.stage("Training [x]", 2)
    progress.advance(best="97.80 % at 0.21 ms")
    progress.say("measured [bold]3[/bold]\x1b[2J more")
    progress.stage("Measuring")
    progress.advance(3)
    progress.close()
    progress.close()
    text = console.export_text()
    assert "measured [bold]3[/bold] more\n" in text
    assert "✓ Training [x]  1 done in" in text
    assert "best 97.80 % at 0.21 ms" in text
    assert "✓ Measuring  3 done in" in text


# Notebooks


def test_a_notebook_has_one_line_for_each_stage(display: Display, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps update the line, at most twice a second; news is printed; the last version stays."""
    clock = Clock()
    progress = NotebookProgress(clock=clock)
    progress.advance()
    progress.stage("Training <x>", 4)
    for _ in range(3):
        clock.now_s += 0.25
        progress.advance(best="97.80 %")
    progress.say("one\nfailed")
    progress.stage("Measuring")
    progress.close()
    progress.close()
    training, measuring = display.lines
    assert [data["text/plain"] for data in training] == [
        "Training <x>: 4 to do.",
        "Training <x>: 2 of 4 done, best 97.80 %, about 0.5 s left.",
        "✓ Training <x>: 3 of 4 done in 0.8 s, best 97.80 %.",
    ]
    assert [data["text/plain"] for data in measuring] == ["Measuring.", "✓ Measuring: 0 done in 0.0 s."]
    assert capsys.readouterr().out == "one failed\n"


def test_a_notebook_shows_a_bar_while_a_stage_with_a_total_runs(display: Display) -> None:
    """The HTML has a bar and escapes every text; a stage without a total has no bar."""
    progress = NotebookProgress(every_s=0.0)
    progress.stage("Training <x>", 2)
    progress.advance(best="<b>")
    progress.stage("Measuring")
    progress.close()
    training, measuring = ([data["text/html"] for data in versions] for versions in display.lines)
    assert training[0] == '<div><progress max="2" value="0"></progress> Training &lt;x&gt;: 2 to do.</div>'
    assert training[1].startswith('<div><progress max="2" value="1"></progress> Training &lt;x&gt;: 1 of 2 done')
    assert "best &lt;b&gt;" in training[1]
    assert training[2].startswith("<div>✓ Training")
    assert not any("<progress" in text for text in measuring)


# Interruptions


def two_stages(progress: Progress) -> None:
    """Show a stage that ends, and one that Ctrl-C stops."""
    with contextlib.closing(progress):
        progress.stage("Measuring", 1)
        progress.advance()
        progress.stage("Training", 3)
        progress.advance()
        raise KeyboardInterrupt


def test_no_tick_stands_before_a_stage_that_was_stopped(display: Display) -> None:
    """After Ctrl-C the line has another mark, in a terminal and in a notebook."""
    console = Console(file=io.StringIO(), force_terminal=True, force_jupyter=False, width=80, record=True)
    for progress in (RichProgress(console), NotebookProgress()):
        with pytest.raises(KeyboardInterrupt):
            two_stages(progress)
    text = console.export_text()
    assert "✓ Measuring  1 done in" in text
    assert "■ Training  stopped, 1/3, 2 to go" in text
    assert "✓ Training" not in text
    measuring, training = display.lines
    assert measuring[-1]["text/plain"].startswith("✓ Measuring: 1 of 1 done in")
    assert training[-1]["text/plain"].startswith("■ Training: stopped, 1 of 3 done in")


def test_a_line_in_a_notebook_gives_signs_of_life(display: Display) -> None:
    """A step of minutes must not look like a search that hangs."""
    progress = NotebookProgress(quiet_s=0.02)
    progress.stage("retraining winners", 2)
    deadline_s = time.monotonic() + 10
    while len(display.lines[0]) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    progress.close()
    texts = [version["text/plain"] for version in display.lines[0]]
    assert texts[1].startswith("retraining winners: 0 of 2 done, 0.")
    assert texts[1].endswith(" s so far.")
    assert texts[-1].startswith("✓ retraining winners: 0 of 2 done in ")
