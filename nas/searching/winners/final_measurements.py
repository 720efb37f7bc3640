"""The final measurements of winners: those of one precision together, and for comparison the same weights in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.hardware.bench import Bench, Outcome, ProfilingBench
from nas.hardware.runtimes.runtime import Deployed
from nas.searching.state import RunState, told_what_is_lost
from nas.searching.winners.bundles import BundleMaker
from nas.space.parts.candidate import PLAIN, Candidate
from nas.storage.scratch import temporary_folder
from nas.values.layer_times import LayerTimes
from nas.values.measurement import Measurement
from nas.values.metric import SUSTAINED, bare_name, on_target, target_in

ENERGY = "energy_mj"
SIZES = ("model_bytes", "weight_bytes")
FINAL_METRICS = ("latency_ms", "peak_memory_mib", *SIZES, ENERGY)
"""Every winner is measured by these, as far as the target allows, and by the metrics that were asked for."""


@final
class FinalMeasurements:
    """Measures deployed winners. Those whose precision was chosen are compared with their own weights in fp32."""

    def __init__(self, state: RunState, bundles: BundleMaker) -> None:
        self._state = state
        self._bundles = bundles
        self._plain: dict[Candidate, Mapping[str, Measurement]] = {}
        self._layer_times: dict[Candidate, LayerTimes] = {}

    def take(
        self, deployed: Mapping[Candidate, Deployed], elsewhere: Mapping[str, Mapping[Candidate, Deployed]]
    ) -> dict[Candidate, Outcome]:
        """Return the outcome of each winner, and keep those of the same weights in fp32 for ``plain_of``.

        ``elsewhere`` has the models for further targets, by the targets' names.
        """
        state = self._state
        rng = np.random.default_rng((state.recipe.seed, 2))
        state.check_bench()
        with temporary_folder("plain") as scratch:
            models = {**deployed, **self._plain_models(deployed, scratch)}
            outcomes: dict[Candidate, Outcome] = {}
            rounds = state.resolved.bench.rounds
            count = len(models) + sum(map(len, elsewhere.values()))
            state.progress.stage("sessions of measuring winners", count * rounds)
            for bench, group in self._by_bench(models):
                outcomes |= zip(group, self._measured(bench, list(group.values()), rng), strict=True)
            for on, there in elsewhere.items():
                self._measure_on(on, there, outcomes, rng)
        sound = {a: each for a, each in outcomes.items() if not isinstance(each, CandidateError)}
        self._plain |= {a: each for a, each in sound.items() if a.precision == PLAIN}
        self._profile({a: model for a, model in deployed.items() if a in sound})
        return {architecture: outcomes[architecture] for architecture in deployed}

    def plain_of(self, winner: Candidate) -> Mapping[str, Measurement]:
        """Return the measurements of a winner's weights in fp32; none where precision is no choice, or it is fp32."""
        plain = winner.in_fp32
        if plain is None:
            return {}
        earlier = self._state.beliefs.winners.get(plain)
        return self._plain.get(plain, {} if earlier is None else earlier.measurements)

    def layer_details(self, winner: Candidate) -> dict[str, Any]:
        """Return the detail of a winner's row that tells its latency by layer; none if its bench cannot profile."""
        found = self._layer_times.get(winner)
        return {} if found is None else {"layer_times": found.shortened().to_json()}

    def _profile(self, deployed: Mapping[Candidate, Deployed]) -> None:
        """Note each winner's latency by layer, or why it is not known: no winner is lost for lack of it."""
        say, advance = self._state.progress.say, self._state.progress.advance
        for bench, group in self._by_bench(deployed):
            if not isinstance(bench, ProfilingBench):
                continue
            self._state.progress.stage("profiling winners", len(group))
            try:
                found = bench.layer_times(list(group.values()), advance)
            except TargetError as error:
                say(f"winners have no latency by layer, because they could not be profiled: {error}")
                found = [LayerTimes(reason=str(error))] * len(group)
            self._layer_times |= zip(group, found, strict=True)

    def _measure_on(
        self,
        on: str,
        models: Mapping[Candidate, Deployed],
        outcomes: dict[Candidate, Outcome],
        rng: np.random.Generator,
    ) -> None:
        """Add what is measured on a further target to the outcomes of models that did not fail before."""
        sound = {a: model for a, model in models.items() if not isinstance(outcomes[a], CandidateError)}
        for bench, group in self._by_bench(sound, on):
            for candidate, found in zip(group, self._measured(bench, list(group.values()), rng, on), strict=True):
                known = outcomes[candidate]
                assert not isinstance(known, CandidateError)
                outcomes[candidate] = (
                    CandidateError(found.kind, f"on {on}: {found.reason}")
                    if isinstance(found, CandidateError)
                    else {**known, **{on_target(on, name): each for name, each in found.items()}}
                )

    def _by_bench(
        self, models: Mapping[Candidate, Deployed], on: str = ""
    ) -> Iterator[tuple[Bench, dict[Candidate, Deployed]]]:
        """Yield the models of each precision together, with the bench that measures them on the target of a name."""
        for precision in dict.fromkeys(candidate.precision for candidate in models):
            group = {candidate: model for candidate, model in models.items() if candidate.precision == precision}
            yield self._state.resolved.bench_of(next(iter(group)), on), group

    def _plain_models(self, deployed: Mapping[Candidate, Deployed], scratch: Path) -> dict[Candidate, Deployed]:
        """Return models in fp32 that are measured for comparison only, one for each training that lacks it."""
        found: dict[Candidate, Deployed] = {}
        for winner in deployed:
            plain = winner.in_fp32
            if plain is not None and not self.plain_of(winner) and plain not in deployed and plain not in found:
                model = self._bundles.deployed_in(plain, winner, scratch / plain.id)
                if not isinstance(model, CandidateError):
                    found[plain] = model
        return found

    def _measured(
        self, bench: Bench, models: Sequence[Deployed], rng: np.random.Generator, on: str = ""
    ) -> list[Outcome]:
        """Return what a bench measures; on a further target sizes only if they are asked for, which seldom differ."""
        state = self._state
        asked = (bare_name(name) for name in state.beliefs.measured_metrics if target_in(name) == on)
        usual = (name for name in FINAL_METRICS if name != ENERGY and not (on and name in SIZES))
        sustained = (SUSTAINED,) if state.recipe.measuring.sustain_winners and bench.can_measure(SUSTAINED) else ()
        metrics = tuple(dict.fromkeys((*filter(bench.can_measure, usual), *asked, *sustained)))
        with told_what_is_lost(len(models), metrics):
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
