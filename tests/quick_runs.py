"""Runs that take seconds, in this process: a fake bench and clock, and few epochs on few images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands import evaluations_of
from fake_bench import FakeBench, FakeClock
from fault_spaces import Faulty
from torch import nn

import nas
from nas.results.front import Front
from nas.searching.instruments import Instruments
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import SearchSpace

BASE: Mapping[str, Any] = {
    "name": "run",
    "data": "digits",
    "trials": 6,
    "rounds": 2,
    "measuring": {"initial": 6, "per_round": 2},
    "training": {"epochs": 2, "subset": 0.2},
    "retraining": {"epochs": 1, "winners": 2},
    "execution": {"executor": "inline"},
}
EXPORT = "nas.hardware.measuring.export_model"
"""The function that exports candidates."""


def write_any_model(module: nn.Module, shape: tuple[int, ...], batch: int, path: Path, form: str) -> None:
    """Take the place of ``EXPORT``: the fake bench does not open candidates. Winners are exported in full."""
    path.write_bytes(b"model")


class Diary:
    """A progress that keeps the names of stages in ``stages``, messages in ``news``, and the best in ``best``."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.news: list[str] = []
        self.best: list[str] = []

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        self.stages.append(name)

    def advance(self, best: str | None = None) -> None:
        self.best += [] if best is None else [best]

    def say(self, text: str) -> None:
        self.news.append(text)

    def close(self) -> None:
        """Keep nothing."""


class Stopping(Diary):
    """Ctrl-C where a stage begins, the ``time``-th time."""

    def __init__(self, stage: str, time: int = 1) -> None:
        super().__init__()
        self._stage = stage
        self._time = time

    def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
        super().stage(name, total, most_s)
        if name == self._stage and self.stages.count(name) == self._time:
            raise KeyboardInterrupt


class OneChoice:
    """A space of six networks with one layer each."""

    choices = (Choice("width", (2, 3, 4, 5, 6, 8)),)

    def build(self, architecture: Architecture) -> nn.Module:
        width = int(architecture["width"])
        return nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(16 * width, 10))


def instruments(space: SearchSpace, fingerprint: str | None = None) -> Instruments:
    bench = FakeBench(space, fingerprint=fingerprint)
    return Instruments(bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())


def search(
    runs: Path,
    space: SearchSpace | None = None,
    data: Any = None,
    progress: Any = None,
    train: Any = None,
    **changes: Any,
) -> Front:
    """Search in ``Faulty``, or another space, with a new bench and clock. The run is named ``run``."""
    space = Faulty() if space is None else space
    recipe = {**BASE, **changes}
    tools = instruments(space)
    return nas.search(recipe, space=space, data=data, train=train, runs=runs, progress=progress, instruments=tools)


def resume(run: Path, space: SearchSpace | None = None, progress: Any = None, train: Any = None) -> Front:
    space = Faulty() if space is None else space
    return nas.resume(run, space=space, train=train, progress=progress, instruments=instruments(space))


def trained(run: Path) -> list[Architecture]:
    return [row.architecture for row in evaluations_of(run, "train")]
