"""Measuring models of bundles together, with all that their target can measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.bench import Bench, Outcome
from nas.hardware.bench_request import BenchRequest
from nas.hardware.runtimes.runtime import Deployed
from nas.progress import Progress
from nas.results.bundle import Bundle
from nas.results.bundled.manifest import why_outside
from nas.results.bundled.writing import read_measured
from nas.values.measurement import WEIGHT_BYTES, Measurement
from nas.values.metric import SUSTAINED, bare_name, target_in
from nas.values.target import Target

ENERGY = "energy_mj"
METRICS = ("latency_ms", "peak_memory_mib", "model_bytes", "weight_bytes")
"""What is measured of every model where the target allows it; the energy too where there is a meter."""
MEASURE_SUSTAINED = "Say --sustained, or Effort(sustained=True) in Python, to measure them too."
OpenBench = Callable[[Target], Bench]


@dataclass(frozen=True)
class Effort:
    """How precisely models are measured, and the seed of their order. ``bench`` replaces the device, for tests.

    Sessions end when half of the 95 % interval is at most ``within`` of the median, or after ``max_rounds``. With
    ``sustained``, sustained latencies that were measured before are measured again, which takes minutes each.
    """

    within: float = 0.01
    max_rounds: int = 15
    seed: int = 0
    bench: OpenBench | None = None
    sustained: bool = False

    def open(self, target: Target, progress: Progress, sustained_s: float = BenchRequest.sustained_s) -> Bench:
        """Return the bench of a target, on which a model runs for at most ``sustained_s`` for its sustained latency.

        Raises:
            RecipeError: the runtime is unknown, or the effort is none.
            TargetError: the target cannot be measured here; the message says what to install.
        """
        if self.bench is not None:
            return self.bench(target)
        if self.max_rounds < 2 or not self.within >= 0:
            raise RecipeError(
                f"models are measured in at least 2 sessions, to within a share of at least 0, but got "
                f"max_rounds={self.max_rounds} and within={self.within}."
            )
        return BenchRequest(target, self.within, self.max_rounds, sustained_s=sustained_s).open(progress.say)

    def again(self, recorded: Iterable[str]) -> list[str]:
        """Return which of the metrics that were measured before are measured again, each once."""
        return [name for name in dict.fromkeys(recorded) if name != SUSTAINED or self.sustained]

    def measure(
        self, bench: Bench, models: Sequence[Deployed], progress: Progress, metrics: Sequence[str] | None = None
    ) -> list[Outcome]:
        """Return each model's measurements. They take turns, so that they compare.

        ``metrics`` are those wanted; of these, what the target cannot measure is left out.
        """
        rng = np.random.default_rng(self.seed)
        wanted = [name for name in metrics or (*METRICS, ENERGY) if bench.can_measure(name)]
        plain = [name for name in wanted if name != ENERGY]
        _ = bench.fingerprint  # before the stage: its first use measures the target, which takes a while
        progress.stage(
            f"sessions of measuring {len(models)} model{'s' * (len(models) != 1)}", len(models) * bench.rounds
        )
        outcomes = bench.measure(models, plain, rng, progress.advance) if plain else [{} for _ in models]
        progress.close()
        return _with_energy(bench, models, outcomes, rng, progress) if ENERGY in wanted else outcomes


def measured_on(measured: Mapping[str, Measurement], on: str) -> dict[str, Measurement]:
    """Return what was measured on the target of a name, by bare names; the first target has an empty name."""
    return {bare_name(name): each for name, each in measured.items() if target_in(name) == on}


def sustained_s_of(recorded: Iterable[Mapping[str, Measurement]]) -> float:
    """Return the seconds for which models ran at most for their sustained latencies; the usual ones if none did."""
    stated = [each[SUSTAINED].conditions.get("stated_s") for each in recorded if SUSTAINED in each]
    return max((float(each) for each in stated if each is not None), default=BenchRequest.sustained_s)


def _with_energy(
    bench: Bench, models: Sequence[Deployed], outcomes: list[Outcome], rng: np.random.Generator, progress: Progress
) -> list[Outcome]:
    """Return outcomes with energies where the meter gives one. Energy is optional."""
    found = list(outcomes)
    sound = [place for place, outcome in enumerate(found) if not isinstance(outcome, CandidateError)]
    try:
        energies = bench.measure([models[place] for place in sound], [ENERGY], rng)
    except TargetError as error:
        progress.say(f"the energy could not be measured: {error}")
        return found
    for place, energy in zip(sound, energies, strict=True):
        known = found[place]
        if isinstance(energy, CandidateError):
            progress.say(f"the energy could not be measured: {energy.reason}")
        elif not isinstance(known, CandidateError):
            found[place] = {**known, **energy}
    return found


def deployed_model(bundle: Bundle, file: str, on: str) -> Deployed | None:
    """Return the model of a bundle for the target of a name, with the size of its weights as they were measured there.

    ``file`` is its path within the bundle. Returns None if it does not lie there.
    """
    path = (bundle.folder / file).absolute()
    if why_outside(path, bundle.folder) is not None or not path.exists():
        return None
    measured = measured_on(read_measured(bundle.folder), on)
    sizes = [measured[WEIGHT_BYTES].median] if WEIGHT_BYTES in measured else []
    sizes += [float(each.conditions[WEIGHT_BYTES]) for each in measured.values() if WEIGHT_BYTES in each.conditions]
    return Deployed(path, int(next(iter(sizes), 0)))
