"""The progress display that suits a place: bars in a terminal, one line in a notebook, or plain lines."""

from __future__ import annotations

import html
import importlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from nas.errors import RecipeError
from nas.progress import NullProgress, PlainProgress, Progress, Steps, Ticker, duration_text, one_line

ProgressChoice = Progress | Literal["auto"] | None
"""Where progress is shown: ``auto`` chooses bars in a terminal and lines elsewhere; None shows nothing."""


def chosen_progress(choice: ProgressChoice) -> Progress:
    """Return the progress display that a caller in Python chose. Raises RecipeError if it is none."""
    if choice == "auto":
        return choose_progress()
    if choice is not None and not callable(getattr(choice, "stage", None)):
        raise RecipeError(f'progress=… takes a nas.Progress, "auto" or None, but got {choice!r:.80}.')
    return NullProgress() if choice is None else choice


def choose_progress(stream: TextIO | None = None, as_json: bool = False) -> Progress:
    """Return the progress display that suits the place where it is read.

    A terminal gets bars, and any other ``stream`` gets plain lines. Without ``stream`` the display goes to standard
    output: in a Jupyter notebook each stage has one line that is updated in place, and an interactive session whose
    output is redirected gets plain lines. The redirected output of any other program is its own, so its display goes
    to standard error: bars where that is a terminal, else plain lines.

    With ``as_json`` standard output is left to the JSON, and plain lines go to standard error.
    """
    if as_json:
        return PlainProgress(sys.stderr)
    output = sys.stdout if stream is None else stream
    if stream is None and not output.isatty():
        if Console(file=output).is_jupyter:
            return NotebookProgress()
        output = output if _is_interactive() else sys.stderr
    console = Console(file=output)
    is_dumb = console.is_dumb_terminal or not output.isatty()
    return PlainProgress(output) if is_dumb else RichProgress(console)


def _is_interactive() -> bool:
    """Return True in a session with a prompt, such as ``python -i`` or IPython."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)


class RichProgress:
    """A bar for the running stage; news and finished stages stand above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, style="bright_black", complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[counted]}", markup=False, style="cyan"),
            TextColumn("{task.fields[best]}", markup=False, style="green"),
            TextColumn("{task.fields[left]}", markup=False, style="bright_black"),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            transient=True,
        )
        self._task: TaskID | None = None
        self._steps = Steps("", None, None, 0.0)

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self.close()
        self._steps = Steps(one_line(name), total, most_s, time.monotonic())
        self._bars.start()
        self._task = self._bars.add_task(self._steps.name, total=total, counted=self._counted(), best="", left="")

    def advance(self, count: int = 1, best: str | None = None) -> None:
        if self._task is None:
            return
        self._steps.add(count, best)
        left_s = self._steps.seconds_left(time.monotonic())
        left = "" if left_s is None else f"{duration_text(left_s)} left"
        self._bars.update(self._task, completed=self._steps.done, counted=self._counted(), best=self._best(), left=left)

    def say(self, text: str) -> None:
        self._console.print(Text(one_line(text)))

    def close(self) -> None:
        if self._task is None:
            return
        self._bars.remove_task(self._task)
        self._bars.stop()
        self._task = None
        steps = self._steps
        parts = [f"{steps.done} done in {duration_text(time.monotonic() - steps.started_s)}", self._best()]
        mark = ("✓ ", "green")
        if steps.is_cut_off:
            mark, parts = ("■ ", "yellow"), ["stopped", self._counted(), *parts[1:]]
        line = Text.assemble(mark, steps.name, (f"  {', '.join(filter(None, parts))}", "bright_black"))
        self._console.print(line)

    def _counted(self) -> str:
        done, total = self._steps.done, self._steps.total
        return f"{done} done" if total is None else f"{done}/{total}, {max(total - done, 0)} to go"

    def _best(self) -> str:
        return "" if self._steps.best is None else f"best {self._steps.best}"


class NotebookProgress:
    """One line per stage in a Jupyter notebook, updated in place at most every ``every_s`` seconds.

    If no step ends for ``quiet_s``, the line says for how long the stage has been running.

    It uses the updatable displays of IPython. The bars of rich would need ipywidgets, in the kernel and in the browser;
    without them they warn and draw nothing.
    """

    def __init__(
        self, *, every_s: float = 0.5, quiet_s: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._quiet_s = quiet_s
        self._clock = clock
        self._steps: Steps | None = None
        self._shown_s = 0.0
        self._line: Any = None
        self._ticker: Ticker | None = None
        self._lock = threading.Lock()  # the ticker's thread updates the line too

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self.close()
        self._shown_s = self._clock()
        self._steps = Steps(one_line(name), total, most_s, self._shown_s)
        display = importlib.import_module("IPython.display").display
        self._line = display(_line_data(self._steps.start_text(), self._steps), raw=True, display_id=True)
        self._ticker = Ticker(self._tick, self._quiet_s)

    def advance(self, count: int = 1, best: str | None = None) -> None:
        with self._lock:
            if self._steps is None:
                return
            self._steps.add(count, best)
            now_s = self._clock()
            if now_s - self._shown_s < self._every_s:
                return
            self._shown_s = now_s
            self._line.update(_line_data(self._steps.running_text(now_s), self._steps), raw=True)

    def _tick(self) -> None:
        with self._lock:
            now_s = self._clock()
            if self._steps is not None and now_s - self._shown_s >= self._quiet_s:
                self._line.update(_line_data(self._steps.waiting_text(now_s), self._steps), raw=True)

    def say(self, text: str) -> None:
        print(one_line(text), flush=True)

    def close(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._steps is None:
            return
        mark = "■" if self._steps.is_cut_off else "✓"
        self._line.update(_line_data(f"{mark} {self._steps.end_text(self._clock())}"), raw=True)
        self._steps = None


def _line_data(text: str, running: Steps | None = None) -> dict[str, str]:
    """Return a line as MIME data, with a bar if it is about steps that are ``running`` and their total is known."""
    bar = ""
    if running is not None and running.total:
        bar = f'<progress max="{running.total}" value="{running.done}"></progress> '
    return {"text/plain": text, "text/html": f"<div>{bar}{html.escape(text)}</div>"}
