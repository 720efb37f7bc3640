"""A bench as the command line asks for it: the target, how precise its latencies must be, and its energy meter."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from nas.errors import RecipeError
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import PoolBench, bench_on
from nas.values.metric import MEASURED_METRICS, metric_named
from nas.values.target import Target

FIRST_ROUNDS = 5
"""Each model gets this many rounds before its interval is looked at, or ``max_rounds`` if that is less."""


@final
@dataclass(frozen=True)
class BenchRequest:
    """The target to measure on, and how precisely.

    Measuring a model ends when half of its 95 % interval is at most ``within`` of the median, or after ``max_rounds``
    rounds. ``meter_command`` is a program with its arguments, written as in a shell, that prints the joules used so
    far. Without one, the bench looks for a meter of this machine. With ``paired`` models are measured round by round,
    so that they can be compared. A model runs for at most ``sustained_s`` for its sustained latency.
    """

    target: Target
    within: float
    max_rounds: int
    meter_command: str | None = None
    paired: bool = False
    sustained_s: float = BenchSettings.sustained_s

    @property
    def settings(self) -> BenchSettings:
        """The effort and precision of the bench."""
        return BenchSettings(
            rounds=min(FIRST_ROUNDS, self.max_rounds),
            max_rounds=self.max_rounds,
            precision=self.within,
            paired=self.paired,
            sustained_s=self.sustained_s,
        )

    def open(self, say: Callable[[str], None]) -> DeviceBench | PoolBench:
        """Return the bench; ``say`` receives its messages.

        Raises:
            RecipeError: an unknown runtime, or a meter command with an open quotation.
            TargetError: the target cannot be measured on this machine.
        """
        meter: dict[str, Any] = {"kind": "auto"}
        if self.meter_command is not None:
            meter = {"kind": "command", "command": split_command(self.meter_command)}
        return bench_on(self.target, self.settings, meter=meter, say=say)


def measured_metric(name: str) -> str:
    """Return ``name`` if it is a metric that a bench measures.

    Raises:
        RecipeError: an unknown metric, or one that is trained, counted or modelled.
    """
    metric = metric_named(name)
    if metric.source != "measured":
        raise RecipeError(
            f"a metric to measure on a target must be a measured one, but {name} is {metric.source}. "
            f"Known: {', '.join(MEASURED_METRICS)}."
        )
    return metric.name


def split_command(command: str) -> list[str]:
    """Split a command into its program and arguments as a shell does. On Windows a backslash is part of a path.

    Raises:
        RecipeError: an open quotation.
    """
    words = shlex.shlex(command, posix=True)
    words.whitespace_split, words.commenters = True, ""
    if sys.platform == "win32":
        words.escape, words.quotes = "", '"'
    try:
        return list(words)
    except ValueError as error:
        raise RecipeError(f"--meter-command is a program and its arguments, but got {command!r}: {error}.") from error
