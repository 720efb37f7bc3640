"""A target on which the networks of ``fault_spaces`` take longer than on the fake bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fake_bench import FakeBench, FakeClock, latency_ms
from fault_spaces import Faulty

import nas
from nas.hardware.bench import Outcome
from nas.hardware.machine import processor_name
from nas.results.bundle import GIVEN
from nas.space.search_space import choices_hash, enumerate_space
from nas.storage.journal import Journal
from nas.storage.journal_rows import Began, RecipeText, RoundEnded
from nas.values.evaluation import Evaluation, PredictedValue
from nas.values.measurement import Measurement

OTHER = "onnxruntime-cpu:fp16"
SLOWER = 2.5
OWN_MJ = 7.0
"""The modelled energy of every network on the run's own target; it is none of a real one."""


class OtherBench(FakeBench):
    """Another target, on which every latency is 2.5 times as long; ``broken`` models cannot run there."""

    def __init__(self, fingerprint: str | None = "other-1", broken: int = 0) -> None:
        super().__init__(Faulty(), fingerprint=fingerprint)
        self._broken = broken

    def measure(self, models: Any, metrics: Any, rng: Any, advance: Any = lambda: None) -> list[Outcome]:
        outcomes = super().measure(models, metrics, rng, advance)
        found: list[Outcome] = [
            {name: _slower(each) if name == "latency_ms" else each for name, each in outcome.items()}
            for outcome in outcomes
            if isinstance(outcome, dict)
        ]
        for place in range(min(self._broken, len(found))):
            found[place] = nas.CandidateError("run", "no kernel for this model")
        self._broken -= min(self._broken, len(found))
        return found


def _slower(found: Measurement) -> Measurement:
    rounds = tuple(tuple(SLOWER * sample for sample in samples) for samples in found.rounds)
    return Measurement(found.metric, OTHER, rounds)


def write_run(folder: Path, count: int = 12) -> Path:
    """Write the journal of a finished run in ``Faulty`` with so many candidates, half of them measured."""
    space = Faulty()
    recipe = nas.Recipe.from_mapping(
        {
            "name": folder.name,
            "space": {"name": GIVEN, "class": "Faulty"},
            "predictor": "quick_predictor:fit_quick",
            "trials": count,
            "rounds": 1,
        }
    )
    candidates = [a for a in enumerate_space(space) if a["depth"] != 1][:count]
    rng = np.random.default_rng(0)
    bench = FakeBench(space)
    rows = [
        Evaluation(
            "train",
            architecture,
            1,
            values={
                "error": 0.5 / latency_ms(architecture),
                "params": 10.0 * latency_ms(architecture),
                "macs": 1e3,
                "modelled_energy_mj": OWN_MJ,
            },
            predicted={"latency_ms": _predicted(latency_ms(architecture))},
            details={"epochs": 2, "seconds": 3.0},
        )
        for architecture in candidates
    ]
    rows += [
        Evaluation("measure", each, measurements={"latency_ms": bench._measurement("latency_ms", each, rng)})
        for each in candidates[::2]
    ]
    machine = {"processor": processor_name(), "system": "made up"}
    began = Began(
        {"name": GIVEN, "choices": choices_hash(space)}, machine, {}, {"image shape": [1, 8, 8], "classes": 10}
    )
    ended = [RoundEnded(number) for number in range(recipe.rounds + 2)]
    with Journal.start(folder, recipe.to_toml(), clock=FakeClock()) as journal:
        journal.append(RecipeText(recipe.to_toml()), began, *rows, *ended)
    return folder


def _predicted(latency: float) -> PredictedValue:
    return PredictedValue(latency, 0.9 * latency, 1.1 * latency, 1.1 * latency)
