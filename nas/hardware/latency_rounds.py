"""Repeatable latencies of several models: interleaved rounds, corrected for drift, until intervals are narrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np

from nas.errors import CandidateError
from nas.hardware.drift import FloatArray, response, smoothed
from nas.hardware.machine import cache_bytes
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import Deployed, load_runtime
from nas.hardware.target_profile import BUSY_SHARE, ROUND_REPEATS, TargetProfile
from nas.values.measurement import Measurement
from nas.values.metric import readable
from nas.values.paired_comparison import paired
from nas.values.target import Target

MUCH_SPREAD = 0.015
"""Rounds that differ by more than this standard deviation differ for a reason, which a flag names."""
MUCH_DRIFT = 0.1
"""A measurement is flagged when the machine is slower or faster than recorded by more than this share."""


@dataclass(frozen=True)
class BenchSettings:
    """The effort and precision of latency measurements.

    Each model gets at least ``rounds`` rounds and at most ``max_rounds``. Rounds end when half of the 95 % interval,
    relative to the median, is within ``precision``. A round samples for ``seconds_per_round`` and at least
    ``min_samples`` times. A model that takes more than ``timeout_s`` for one round counts as hung. Waiting for the
    device does not count. With ``paired`` all models get the same rounds, so that they can be compared round by round,
    and rounds go on until the ratios to the first model are within ``precision`` too.
    """

    rounds: int = 5
    max_rounds: int = 15
    precision: float = 0.01
    seconds_per_round: float = 0.06
    min_samples: int = 8
    timeout_s: float = 60.0
    paired: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.rounds <= self.max_rounds:
            raise ValueError(
                f"rounds must be at least 2 and at most max_rounds, got {self.rounds} of {self.max_rounds}."
            )


@dataclass
class _Gathered:
    """The results of one model's rounds so far. ``visits`` are the positions of its rounds among all visits."""

    rounds: list[tuple[float, ...]] = field(default_factory=list)
    visits: list[int] = field(default_factory=list)
    conditions: dict[str, Any] = field(default_factory=dict)
    sampling_s: float = 0.0
    flags: set[str] = field(default_factory=set)
    failure: CandidateError | None = None


@final
class Latencies:
    """Measures the latencies of several models together.

    Each round visits the models in random order, like google/benchmark's random interleaving. Each round has a process
    of its own, because processes that run one file differ by more than their samples do. During each visit of a model,
    the reference model runs before, between and after its samples. The reference's slowness, smoothed over the visits,
    is the drift.

    A model whose weights do not fit a core's own cache also depends on how much of the shared cache others leave. For
    such models a second, larger reference runs too. Its further slowness counts as drift, as far as the model's own
    rounds respond to it.
    """

    def __init__(
        self,
        models: Sequence[Deployed],
        target: Target,
        settings: BenchSettings,
        profile: TargetProfile,
        rng: np.random.Generator,
        advance: Callable[[], None],
        in_time: Callable[[], bool] = lambda: True,
    ) -> None:
        """``in_time`` returns False once no more than the fewest sessions are wanted, and no session is repeated."""
        self._in_time = in_time
        self._models = models
        self._target = target
        self._settings = settings
        self._profile = profile
        self._rng = rng
        self._advance = advance
        self._gathered = [_Gathered() for _ in models]
        self._log_references: list[float] = []
        self._log_larges: dict[int, float] = {}  # by visit, of models that share a cache
        self._log_drifts = np.empty(0)
        self._log_large_drifts: dict[int, float] = {}
        own = cache_bytes().get("L2")
        in_cache = load_runtime(target.runtime, target.options).gpu is None and profile.large_reference is not None
        self._own_cache_bytes = own if in_cache else None

    def measure(self) -> list[Measurement | CandidateError]:
        """Return each model's latency, or the error that stopped it."""
        visits = 0
        for session in range(self._settings.max_rounds):
            # All models are checked again: a later round changes the drift, and with it intervals that were narrow.
            pending = self._pending()
            if not pending or (session >= self._settings.rounds and not self._in_time()):
                break
            with MeasuringProcess(self._target, self._settings.timeout_s) as process:
                for index in self._rng.permutation(pending).tolist():
                    self._visit(process, index)
                    self._advance()
            visits += len(pending)
            self._log_drifts = smoothed(np.array(self._log_references))
            smooth = smoothed(np.array(list(self._log_larges.values())))
            self._log_large_drifts = dict(zip(self._log_larges, smooth.tolist(), strict=True))
        for _ in range(len(self._models) * self._settings.max_rounds - visits):
            self._advance()
        return [self._result(index) for index in range(len(self._models))]

    def _pending(self) -> list[int]:
        """Return the models that need a further round. Paired ones go on together, until all of them are settled."""
        sound = [index for index, each in enumerate(self._gathered) if each.failure is None]
        pending = [index for index in sound if not self._is_settled(index)]
        if not self._settings.paired or len(sound) < 2:
            return pending
        if not pending:
            first, *others = (self._so_far(index) for index in sound)
            ratios = (paired(first, other) for other in others)
            pending = [0] if any(each.scatter > self._settings.precision for each in ratios) else []
        return sound if pending else []

    def _visit(self, process: MeasuringProcess, index: int) -> None:
        gathered = self._gathered[index]
        try:
            reply = self._quietest(process, index, describe=not gathered.conditions)
        except CandidateError as error:
            gathered.failure = error
            return
        gathered.rounds.append(tuple(reply["samples"]))
        gathered.sampling_s += reply["elapsed_s"]
        visit = len(self._log_references)
        gathered.visits.append(visit)
        if reply["large_reference_ms"]:
            assert self._profile.large_reference_ms is not None
            large_ms = float(np.median(reply["large_reference_ms"]))
            self._log_larges[visit] = math.log(large_ms / self._profile.large_reference_ms)
        gathered.conditions = gathered.conditions or {**process.conditions, **reply["conditions"]}
        self._log_references.append(float(np.log(np.median(reply["reference_ms"]) / self._profile.reference_ms)))
        if (reply["pressure"] or 0.0) > BUSY_SHARE:
            gathered.flags.add("the machine was busy with other work while this was measured")

    def _shares_cache(self, index: int) -> bool:
        """Return True for a model whose weights are known not to fit the core's own cache."""
        return self._own_cache_bytes is not None and self._models[index].weight_bytes > self._own_cache_bytes

    def _quietest(self, process: MeasuringProcess, index: int, *, describe: bool) -> dict[str, Any]:
        """Return the quietest of up to three tries. A round on a busy machine is repeated before it is flagged.

        ``describe`` requests the conditions too, which cost some runtimes a further session.
        """
        replies = []
        large = str(self._profile.large_reference) if self._shares_cache(index) else None
        for _ in range(1 + ROUND_REPEATS):
            replies.append(
                process.ask(
                    "time",
                    model=str(self._models[index].path),
                    reference=str(self._profile.reference),
                    large=large,
                    seconds=self._settings.seconds_per_round,
                    min_samples=self._settings.min_samples,
                    describe=describe,
                )
            )
            if (replies[-1]["pressure"] or 0.0) <= BUSY_SHARE or not self._in_time():
                break
        return min(replies, key=lambda reply: reply["pressure"] or 0.0)

    def _is_settled(self, index: int) -> bool:
        """Return True for a model that needs no further round."""
        gathered = self._gathered[index]
        if gathered.failure is not None:
            return True
        return len(gathered.rounds) >= self._settings.rounds and self._so_far(index).scatter <= self._settings.precision

    def _result(self, index: int) -> Measurement | CandidateError:
        gathered = self._gathered[index]
        if gathered.failure is not None:
            return gathered.failure
        found = self._so_far(index)
        flags = set(gathered.flags)
        if found.scatter > self._settings.precision:
            why = f": {self._why_varying(index, found.spread)}" if found.spread > MUCH_SPREAD else ""
            flags.add(
                f"the interval is wider than the requested ±{100 * self._settings.precision:g} %, "
                f"after {len(found.rounds)} sessions{why}"
            )
        if abs(np.log(found.drift)) > MUCH_DRIFT:
            flags.add(
                f"the machine was {'slower' if found.drift > 1 else 'faster'} by {100 * abs(found.drift - 1):.0f} % "
                "than when the target's reference speed was recorded"
            )
        return replace(found, flags=tuple(sorted(flags)))

    def _why_varying(self, index: int, spread: float) -> str:
        """Return what is known of the reason why a model's rounds differ."""
        differ = f"sessions differ by {100 * spread:.1f} %, and a later measurement may differ as much"
        if not self._shares_cache(index):
            return differ
        sizes = self._models[index].weight_bytes, self._own_cache_bytes or 0
        weights, cache = (readable(size, "B", smallest="") for size in sizes)
        return (
            f"{differ}: {weights} of weights do not fit the core's own cache of {cache}, so it matters how busy the "
            "shared cache and the memory are"
        )

    def _so_far(self, index: int) -> Measurement:
        gathered = self._gathered[index]
        log_drifts, cache = self._drifts_of(gathered)
        return Measurement(
            "latency_ms",
            str(self._target),
            tuple(gathered.rounds),
            {
                **gathered.conditions,
                **cache,
                **self._models[index].details,
                **_peaks(self._profile),
                "sampling_s": round(gathered.sampling_s, 3),
            },
            drifts=tuple(float(f"{drift:.6g}") for drift in np.exp(log_drifts)),
        )

    def _drifts_of(self, gathered: _Gathered) -> tuple[FloatArray, dict[str, Any]]:
        """Return the logarithm of the drift of each round, and what is known of the shared cache."""
        log_drifts = self._log_drifts[gathered.visits]
        if not all(visit in self._log_large_drifts for visit in gathered.visits):
            return log_drifts, {}
        medians = np.array([float(np.median(samples)) for samples in gathered.rounds])
        further = np.array([self._log_large_drifts[visit] for visit in gathered.visits]) - log_drifts
        found = response(np.log(medians) - log_drifts, further)
        told = {"shared_cache_drift": float(np.exp(np.median(further))), "response_to_it": found}
        return log_drifts + found * further, {name: float(f"{value:.4g}") for name, value in told.items()}


def _peaks(profile: TargetProfile) -> dict[str, Any]:
    """Return the reference speed and the roofline's peaks, which are recorded with each latency."""
    return {
        "reference_ms": profile.reference_ms,
        "large_reference_ms": profile.large_reference_ms,
        "reference_recorded": profile.recorded,
        "peak_macs_per_s": profile.peak_macs_per_s,
        "bandwidth_bytes_per_s": profile.bandwidth_bytes_per_s,
        "cache_bandwidth_bytes_per_s": profile.cache_bandwidth_bytes_per_s,
        "cache_bytes": max(profile.hardware.get("cache_bytes", {}).values(), default=None),
    }
