"""The progress display: bars in a terminal, or plain lines."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TaskID, TextColumn
from rich.text import Text

from nas.progress import PlainProgress, Progress, duration_text, one_line, seconds_left


class RichProgress:
    """A bar for the running stage, with what is done and left; news and finished stages stand above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, style="bright_black", complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[counted]}", markup=False, style="cyan"),
            TextColumn("{task.fields[best]}", markup=False, style="green"),
            TextColumn("{task.fields[left]}", markup=False, style="bright_black"),
            console=console,
            expand=True,
            transient=True,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._total: int | None = None
        self._most_s: float | None = None
        self._done = 0
        self._best = ""
        self._started_s = 0.0

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self.close()
        self._name, self._total, self._done, self._best = one_line(name), total, 0, ""
        self._most_s = most_s
        self._started_s = time.monotonic()
        self._bars.start()
        self._task = self._bars.add_task(self._name, total=total, counted=self._counted(), best="", left="")

    def advance(self, count: int = 1, best: str | None = None) -> None:
        if self._task is None:
            return
        self._done += count
        self._best = self._best if best is None else f"best {one_line(best)}"
        left_s = seconds_left(self._done, self._total, time.monotonic() - self._started_s, self._most_s)
        left = "" if left_s is None else f"{duration_text(left_s)} left"
        self._bars.update(self._task, completed=self._done, counted=self._counted(), best=self._best, left=left)

    def say(self, text: str) -> None:
        self._console.print(Text(one_line(text)))

    def close(self) -> None:
        if self._task is None:
            return
        self._bars.remove_task(self._task)
        self._bars.stop()
        self._task = None
        parts = [f"{self._done} done in {duration_text(time.monotonic() - self._started_s)}", self._best]
        line = Text.assemble(("✓ ", "green"), self._name, (f"  {', '.join(filter(None, parts))}", "bright_black"))
        self._console.print(line)

    def _counted(self) -> str:
        if self._total is None:
            return f"{self._done} done"
        return f"{self._done}/{self._total}, {max(self._total - self._done, 0)} to go"


def choose_progress(stream: TextIO, json: bool = False) -> Progress:
    """Bars on a terminal, plain lines elsewhere; plain lines on standard error where ``json`` goes to the output."""
    if json:
        return PlainProgress(sys.stderr)
    console = Console(file=stream)
    if stream.isatty() and not console.is_dumb_terminal:
        return RichProgress(console)
    return PlainProgress(stream)
