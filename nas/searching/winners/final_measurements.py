"""The final measurements of winners: those of one precision together, and for comparison the same weights in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.hardware.bench import Bench, Outcome, ProfilingBench
from nas.hardware.runtimes.runtime import Deployed
from nas.searching.state import RunState
from nas.searching.winners.bundles import BundleMaker
from nas.space.architecture import Architecture
from nas.space.parts.training_parts import PLAIN, PRECISION
from nas.storage.scratch import temporary_folder
from nas.values.layer_times import LayerTimes
from nas.values.measurement import Measurement

ENERGY = "energy_mj"
FINAL_METRICS = ("latency_ms", "peak_memory_mib", "model_bytes", "weight_bytes", ENERGY)
"""Every winner is measured by these, as far as the target allows, and by the metrics that were asked for."""


@final
class FinalMeasurements:
    """Measures deployed winners. Those whose precision was chosen are compared with their own weights in fp32."""

    def __init__(self, state: RunState, bundles: BundleMaker) -> None:
        self._state = state
        self._bundles = bundles
        self._precision_of = state.beliefs.training_parts.precision_of
        self._plain: dict[Architecture, Mapping[str, Measurement]] = {}
        self._layer_times: dict[Architecture, LayerTimes] = {}

    def take(self, deployed: Mapping[Architecture, Deployed]) -> dict[Architecture, Outcome]:
        """Return the outcome of each winner, and keep those of the same weights in fp32 for ``plain_of``."""
        state = self._state
        rng = np.random.default_rng((state.recipe.seed, 2))
        state.check_bench()
        with temporary_folder("plain") as scratch:
            models = {**deployed, **self._plain_models(deployed, scratch)}
            outcomes: dict[Architecture, Outcome] = {}
            rounds = state.resolved.bench.rounds
            state.progress.stage("sessions of measuring winners", len(models) * rounds)
            for precision in dict.fromkeys(map(self._precision_of, models)):
                group = {a: model for a, model in models.items() if self._precision_of(a) == precision}
                bench = state.resolved.bench_of(next(iter(group)))
                outcomes |= zip(group, self._measured(bench, list(group.values()), rng), strict=True)
        sound = {a: each for a, each in outcomes.items() if not isinstance(each, CandidateError)}
        self._plain |= {a: each for a, each in sound.items() if self._precision_of(a) == PLAIN}
        self._profile({a: model for a, model in deployed.items() if a in sound})
        return {architecture: outcomes[architecture] for architecture in deployed}

    def plain_of(self, winner: Architecture) -> Mapping[str, Measurement]:
        """Return the measurements of a winner's weights in fp32; none where precision is no choice, or it is fp32."""
        if self._precision_of(winner) in (None, PLAIN):
            return {}
        plain = self._in_fp32(winner)
        earlier = self._state.beliefs.winners.get(plain)
        return self._plain.get(plain, {} if earlier is None else earlier.measurements)

    def layer_details(self, winner: Architecture) -> dict[str, Any]:
        """Return the detail of a winner's row that tells its latency by layer; none if its bench cannot profile."""
        found = self._layer_times.get(winner)
        return {} if found is None else {"layer_times": found.shortened().to_json()}

    def _profile(self, deployed: Mapping[Architecture, Deployed]) -> None:
        """Note each winner's latency by layer, or why it is not known: no winner is lost for lack of it."""
        say, advance = self._state.progress.say, self._state.progress.advance
        for precision in dict.fromkeys(map(self._precision_of, deployed)):
            group = {a: model for a, model in deployed.items() if self._precision_of(a) == precision}
            bench = self._state.resolved.bench_of(next(iter(group)))
            if not isinstance(bench, ProfilingBench):
                continue
            self._state.progress.stage("profiling winners", len(group))
            try:
                found = bench.layer_times(list(group.values()), advance)
            except TargetError as error:
                say(f"winners have no latency by layer, because they could not be profiled: {error}")
                found = [LayerTimes(reason=str(error))] * len(group)
            self._layer_times |= zip(group, found, strict=True)

    def _in_fp32(self, architecture: Architecture) -> Architecture:
        siblings = self._state.beliefs.training_parts.siblings(architecture)
        return next(each for each in siblings if each[PRECISION] == PLAIN)

    def _plain_models(self, deployed: Mapping[Architecture, Deployed], scratch: Path) -> dict[Architecture, Deployed]:
        """Return models in fp32 that are measured for comparison only, one for each training that lacks it."""
        found: dict[Architecture, Deployed] = {}
        for winner in deployed:
            if self._precision_of(winner) in (None, PLAIN) or self.plain_of(winner):
                continue
            plain = self._in_fp32(winner)
            if plain not in deployed and plain not in found:
                model = self._bundles.deployed_in(plain, winner, scratch / plain.id)
                if not isinstance(model, CandidateError):
                    found[plain] = model
        return found

    def _measured(self, bench: Bench, models: Sequence[Deployed], rng: np.random.Generator) -> list[Outcome]:
        state = self._state
        possible = (name for name in FINAL_METRICS if name != ENERGY and bench.can_measure(name))
        metrics = tuple(dict.fromkeys((*possible, *state.beliefs.measured_metrics)))
        outcomes = bench.measure(models, metrics, rng, state.progress.advance)
        return outcomes if ENERGY in metrics else self._with_energy(bench, models, outcomes, rng)

    def _with_energy(
        self, bench: Bench, models: Sequence[Deployed], outcomes: Sequence[Outcome], rng: np.random.Generator
    ) -> list[Outcome]:
        """Return the outcomes with energies. Energy is optional: a winner without a meter reading is still a winner."""
        say, found = self._state.progress.say, list(outcomes)
        sound = [place for place, outcome in enumerate(found) if not isinstance(outcome, CandidateError)]
        try:
            if not bench.can_measure(ENERGY):
                return found
            energies = bench.measure([models[place] for place in sound], [ENERGY], rng)
        except TargetError as error:
            say(f"winners have no energy, because it could not be measured: {error}")
            return found
        for place, energy in zip(sound, energies, strict=True):
            known = found[place]
            assert not isinstance(known, CandidateError)
            if isinstance(energy, CandidateError):
                say(f"a winner has no energy, because it could not be measured: {energy.reason}")
            else:
                found[place] = {**known, **energy}
        return found
