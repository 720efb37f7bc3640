"""A search on this machine and on a board, where nothing is real and the ranks of networks are opposite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fake_bench import FakeBench, FakeClock, latency_ms
from quick_runs import BASE, OneChoice

import nas
from nas.errors import CandidateError
from nas.hardware.runtimes.runtime import ExportedModel
from nas.results.front import Front
from nas.searching.instruments import Instruments
from nas.space.architecture import Architecture, Choice
from nas.values.measurement import Measurement

PI = "pi/onnxruntime-cpu:int8:batch=1:threads=1"
QUICK: Mapping[str, Any] = {
    **BASE,
    "target": ["onnxruntime-cpu", PI],
    "limits": ["latency_ms <= 2.5ms", "pi/latency_ms <= 80ms"],
    "trials": 4,
    "rounds": 1,
    "measuring": {"initial": 8, "per_round": 2},
    "training": {"epochs": 1, "subset": 0.1},
    "retraining": {"epochs": 1, "winners": 2},
}


class Wide(OneChoice):
    """So many networks that not all of them are measured. The limits leave widths from 7 to 16."""

    choices = (Choice("width", tuple(range(2, 26))),)


def on_pi_ms(architecture: Architecture) -> float:
    """Return a latency that falls with the width, so that the ranks on both targets are opposite."""
    return 100.0 / latency_ms(architecture)


class Pi(FakeBench):
    """A bench with latencies of its own, that refuses some widths."""

    def __init__(self, refused: Sequence[int] = (), fingerprint: str = "pi-1") -> None:
        super().__init__(Wide(), fingerprint=fingerprint)
        self._refused = refused

    def deploy(self, models: Sequence[ExportedModel], folders: Sequence[Path], *rest: Any) -> list[Any]:
        found = super().deploy(models, folders, *rest)
        widths = [self._by_id[identity]["width"] for identity in self.deployed[-len(models) :]]
        refusal = CandidateError("measure", "the board does not take it")
        return [refusal if width in self._refused else each for width, each in zip(widths, found, strict=True)]

    def _measurement(self, name: str, architecture: Architecture, rng: np.random.Generator) -> Measurement:
        found = replace(super()._measurement(name, architecture, rng), target=PI)
        factor = on_pi_ms(architecture) / latency_ms(architecture) if name == "latency_ms" else 1.0
        return replace(found, rounds=tuple(tuple(factor * each for each in samples) for samples in found.rounds))


def tools(refused: Sequence[int] = ()) -> Instruments:
    """Return instruments with a bench for either target."""
    benches = {"fp32": FakeBench(Wide(), fingerprint="here-1"), "pi/int8": Pi(refused)}
    return Instruments(benches=benches, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())


def search(runs: Path, refused: Sequence[int] = (), progress: Any = None, **changes: Any) -> Front:
    recipe = {**QUICK, **changes}
    return nas.search(recipe, space=Wide(), runs=runs, instruments=tools(refused), progress=progress)
