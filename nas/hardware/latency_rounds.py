"""Repeatable latencies of several models: interleaved rounds, corrected for drift, until intervals are narrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.errors import CandidateError
from nas.hardware.cooling import Cooling
from nas.hardware.devices.device import Device
from nas.hardware.disturbances import (
    ROUND_REPEATS,
    clock_doubt,
    disturbances,
    heat_doubts,
    heat_of,
    is_disturbed,
    reference_doubt,
    reference_flags,
    slept,
    waited,
)
from nas.hardware.drift import FloatArray, response
from nas.hardware.kept_sessions import NOT_KEPT, KeptSessions, Visit
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.references import QUICK_SHARE, References, usual_response
from nas.hardware.runtimes.runtime import Deployed, load_runtime
from nas.hardware.target_probing import EVER_MS
from nas.hardware.target_profile import TargetProfile
from nas.values.measurement import CLOCK, THREAD, WALL, WEIGHT_BYTES, Measurement
from nas.values.metric import readable
from nas.values.paired_comparison import paired
from nas.values.target import Target

MUCH_SPREAD = 0.015
"""Rounds that differ by more than this standard deviation differ for a reason, which a flag names."""
HOPELESS, SURELY_HOPELESS = 2.0, 9
"""Rounds end if so many times the most rounds would be needed for the interval that was asked for.

Whether that is so is asked from nine rounds on: with six, an interval by order statistics reaches from the lowest to
nearly the highest one.
"""
DURING = "latencies are corrected only for changes during the measurement"
DOUBTFUL_CACHE = 0.1
"""Half of a 95 % interval: how far latencies of models that share a cache are from those of an idle machine.

It is for those that no larger reference corrects, because the larger references' speeds are doubtful.
"""
MUCH_UNSEEN = 0.03
"""A doubt about what no clock and no reference sees is told if it is larger."""
UNREAD_CACHE = 0.05
"""The least doubt about such models if other programs had the core so often that no larger reference could be read."""


@dataclass(frozen=True)
class BenchSettings:
    """The effort and precision of latency measurements.

    Each model gets at least ``rounds`` rounds and at most ``max_rounds``. Rounds end when half of the 95 % interval,
    relative to the median, is within ``precision``. A round samples for ``seconds_per_round`` and at least
    ``min_samples`` times. A model that takes more than ``timeout_s`` for one round counts as hung. Waiting for the
    device does not count. With ``paired`` all models get the same rounds, so that they can be compared round by round,
    and rounds go on until the ratios to the first model are within ``precision`` too. A device that has become warm
    gets up to ``cooling_s`` to cool down. A sustained latency is that after ``sustained_s`` of running, or less where
    the device is steady earlier.
    """

    rounds: int = 5
    max_rounds: int = 15
    precision: float = 0.01
    seconds_per_round: float = 0.06
    min_samples: int = 8
    timeout_s: float = 60.0
    paired: bool = False
    cooling_s: float = 60.0
    sustained_s: float = 180.0

    def __post_init__(self) -> None:
        if not 2 <= self.rounds <= self.max_rounds:
            raise ValueError(
                f"rounds must be at least 2 and at most max_rounds, got {self.rounds} of {self.max_rounds}."
            )


@dataclass
class _Gathered:
    """The results of one model's rounds so far. ``visits`` are the positions of its rounds among all visits.

    ``warm`` says that the device was warm in one of them.
    """

    rounds: list[tuple[float, ...]] = field(default_factory=list)
    walls: list[tuple[float, ...]] = field(default_factory=list)
    visits: list[int] = field(default_factory=list)
    replies: list[Mapping[str, Any]] = field(default_factory=list)
    conditions: dict[str, Any] = field(default_factory=dict)
    sampling_s: float = 0.0
    warm: str = ""
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

    ``profile`` holds the references' recorded speeds. Doubtful ones correct nothing: then the fastest readings of these
    rounds take their part.
    """

    def __init__(
        self,
        models: Sequence[Deployed],
        device: Device,
        target: Target,
        settings: BenchSettings,
        profile: TargetProfile,
        rng: np.random.Generator,
        advance: Callable[[], None],
        in_time: Callable[[], bool] = lambda: True,
        sessions: KeptSessions = NOT_KEPT,
        fingerprint: str = "",
        cooling: Cooling | None = None,
    ) -> None:
        """``in_time`` returns False once no more than the fewest sessions are wanted, and no session is repeated.

        ``sessions`` gives those that were finished before a stop, under the bench's ``fingerprint``, and keeps others.
        ``cooling`` remembers how warm the device was before earlier models.
        """
        self._in_time = in_time
        self._sessions, self._fingerprint = sessions, fingerprint
        self._names = self._sessions.names(models)
        self._visits: list[Visit] = []
        self._models = models
        self._device = device
        self._target = target
        self._settings = settings
        self._profile = profile
        self._rng = rng
        self._advance = advance
        self._cooling = cooling or Cooling(device.name, settings.cooling_s, lambda text: None)
        self._gathered = [_Gathered() for _ in models]
        self._readings = References()
        caches = device.facts.cache_bytes
        own, self._shared_cache_bytes = caches.get("L2"), max(caches.values(), default=0)
        in_cache = load_runtime(target.runtime, target.options).gpu is None and profile.large_reference is not None
        self._own_cache_bytes = own if in_cache else None

    def measure(self) -> list[Measurement | CandidateError]:
        """Return each model's latency, or the error that stopped it."""
        self._take_earlier()
        visits = sum(len(each.rounds) for each in self._gathered)
        for _ in range(self._settings.max_rounds):
            # All models are checked again: a later round changes the drift, and with it intervals that were narrow.
            pending = self._pending()
            fewest = min((len(self._gathered[index].rounds) for index in pending), default=0)
            if not pending or (fewest >= self._settings.rounds and not self._in_time()):
                break
            with self._device.process(self._target, self._settings.timeout_s) as process:
                self._cooling.before_session(process, self._in_time)
                for index in self._rng.permutation(pending).tolist():
                    self._cooling.between_models(process, self._in_time)
                    self._visit(process, index)
                    self._advance()
            visits += len(pending)
            self._readings.settle(self._profile)
            self._sessions.add(self._fingerprint, self._visits)
            self._visits.clear()
        for _ in range(len(self._models) * self._settings.max_rounds - visits):
            self._advance()
        return [self._result(index) for index in range(len(self._models))]

    def _take_earlier(self) -> None:
        """Take the sessions that were finished before a stop."""
        places = {name: index for index, name in enumerate(self._names)}
        for visits in self._sessions.of(self._fingerprint):
            for visit in visits:
                if visit.model in places:
                    self._cooling.recall(visit.began_c)
                    self._take(places[visit.model], visit)
                    self._advance()
        self._readings.settle(self._profile)

    def _pending(self) -> list[int]:
        """Return the models that need a further round. Paired ones go on together, until all of them are settled."""
        sound = [index for index, each in enumerate(self._gathered) if each.failure is None]
        pending = [index for index in sound if not self._is_settled(index)]
        if not self._settings.paired or len(sound) < 2:
            return pending
        if not pending:
            first, *others = (self._so_far(index) for index in sound)
            found, count = [paired(first, other) for other in others], len(first.rounds)
            pending = [0] if any(self._is_wide(each.scatter, each.unseen, count) for each in found) else []
        return sound if pending else []

    def _visit(self, process: MeasuringProcess, index: int) -> None:
        gathered = self._gathered[index]
        try:
            reply = self._quietest(process, index, describe=not gathered.conditions)
        except CandidateError as error:
            gathered.failure = error
            return
        warmth = self._cooling.began_c, self._cooling.doubt
        self._visits.append(Visit(self._names[index], reply, dict(process.conditions), *warmth))
        self._take(index, self._visits[-1])

    def _take(self, index: int, visit: Visit) -> None:
        gathered, reply = self._gathered[index], visit.reply
        gathered.rounds.append(tuple(reply["samples"]))
        gathered.walls.append(tuple(reply["walls"] or reply["samples"]))
        gathered.sampling_s += reply["elapsed_s"]
        gathered.replies.append(reply)
        gathered.warm = visit.doubt or gathered.warm
        gathered.visits.append(self._readings.add(reply))
        gathered.conditions = gathered.conditions or {**visit.conditions, **reply["conditions"]}

    def _shares_cache(self, index: int) -> bool:
        """Return True for a model whose weights are known not to fit the core's own cache."""
        return self._own_cache_bytes is not None and self._models[index].weight_bytes > self._own_cache_bytes

    def _quietest(self, process: MeasuringProcess, index: int, *, describe: bool) -> dict[str, Any]:
        """Return the quietest of up to three tries.

        A round is repeated if no clock sees through what disturbed it.
        ``describe`` requests the conditions too, which cost some runtimes a further session.
        """
        replies = []
        larger = self._larger_references(index) if self._shares_cache(index) else {}
        for _ in range(1 + ROUND_REPEATS):
            replies.append(
                process.ask(
                    "time",
                    model=self._models[index].path,
                    reference=self._profile.reference,
                    larger=larger,
                    seconds=self._settings.seconds_per_round,
                    min_samples=self._settings.min_samples,
                    describe=describe,
                )
            )
            if not is_disturbed(replies[-1]) or not self._in_time():
                break
        return min(replies, key=lambda reply: (slept(reply), reply["pressure"] or 0.0))

    def _larger_references(self, index: int) -> dict[str, tuple[Path | None, float]]:
        """Return the larger reference models, each with the time of models below which it is read.

        The one that was read beside a model at first is read beside it in all rounds.
        """
        profile, replies = self._profile, self._gathered[index].replies
        assert profile.large_reference_ms is not None
        found = {
            "medium": (profile.medium_reference, QUICK_SHARE * profile.large_reference_ms),
            "large": (profile.large_reference, EVER_MS),
        }
        return {name: (found[name][0], EVER_MS) for name in [replies[0]["larger_reference"]]} if replies else found

    def _is_settled(self, index: int) -> bool:
        """Return True for a model that needs no further round."""
        gathered = self._gathered[index]
        if gathered.failure is not None or len(gathered.rounds) >= self._settings.max_rounds:
            return True
        if len(gathered.rounds) < self._settings.rounds:
            return False
        found = self._so_far(index)
        return not self._is_wide(found.scatter, found.unseen, len(found.rounds))

    def _is_wide(self, scatter: float, unseen: float, count: int) -> bool:
        """Return True if further rounds would make an interval narrow that should be.

        They do not where what no clock sees counts for more than their scatter, nor where far more of them would be
        needed than there may be: an interval becomes narrower with the square root of their number. From nine rounds
        on, a single disturbed one does not count.
        """
        goal = max(self._settings.precision, unseen)
        needed = count * (scatter / goal) ** 2
        is_hopeless = count >= SURELY_HOPELESS and needed > HOPELESS * self._settings.max_rounds
        return scatter > goal and not is_hopeless

    def _result(self, index: int) -> Measurement | CandidateError:
        gathered = self._gathered[index]
        if gathered.failure is not None:
            return gathered.failure
        found = self._so_far(index)
        flags = {*disturbances(gathered.replies), *heat_doubts(found.conditions, gathered.replies)}
        flags |= {*reference_flags(self._profile, found.drift, DURING), *filter(None, [gathered.warm])}
        if found.scatter > max(self._settings.precision, found.unseen):
            why = f": {self._why_varying(index, found.spread)}" if found.spread > MUCH_SPREAD else ""
            flags.add(
                f"the interval is wider than the requested ±{100 * self._settings.precision:g} %, "
                f"after {len(found.rounds)} sessions{why}"
            )
        elif found.unseen > MUCH_UNSEEN:
            flags.add(
                f"the interval is wider by ±{100 * found.unseen:.0f} %, because it is not fully known how much other "
                "programs leave of caches and memory"
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
        drifts, told, unseen = self._drifts_of(index)
        of_larger = told.get("response_to_it", 0.0) * self._profile.larger_doubt
        is_by_thread = any(reply["clock"] == THREAD for reply in gathered.replies)
        return Measurement(
            "latency_ms",
            str(self._target),
            tuple(gathered.rounds),
            {
                CLOCK: THREAD if is_by_thread else WALL,
                **gathered.conditions,
                **waited(gathered.replies),
                **heat_of(gathered.replies),
                **told,
                **self._models[index].details,
                WEIGHT_BYTES: self._models[index].weight_bytes,
                **self._profile.told_with_latencies,
                "sampling_s": round(gathered.sampling_s, 3),
            },
            drifts=tuple(float(f"{drift:.6g}") for drift in np.exp(drifts)),
            walls=tuple(gathered.walls) if is_by_thread else (),
            unseen=float(f"{unseen:.4g}"),
            reference_doubt=reference_doubt(self._profile, of_larger),
        )

    def _drifts_of(self, index: int) -> tuple[FloatArray, dict[str, Any], float]:
        """Return the logarithm of the drift of each round, what is known of the shared cache, and the doubt left."""
        gathered = self._gathered[index]
        log_drifts = self._readings.log_drifts[gathered.visits]
        unseen = clock_doubt(gathered.replies)
        if self._profile.large_doubtful and self._shares_cache(index):
            unseen = math.hypot(unseen, DOUBTFUL_CACHE)
        larger = self._readings.log_largers[gathered.visits]
        if np.isnan(larger).any():
            return log_drifts, {}, math.hypot(unseen, self._unread(index))
        medians = np.array([float(np.median(samples)) for samples in gathered.rounds])
        further = larger - log_drifts
        typical_ms = float(np.median(medians / np.exp(log_drifts)))
        weight_bytes = self._models[index].weight_bytes
        shared = self._shared_cache_bytes
        usual = usual_response(weight_bytes, typical_ms, self._profile, gathered.replies[-1], shared)
        found, doubt = response(np.log(medians) - log_drifts, further, *usual)
        told = {"shared_cache_drift": float(np.exp(np.median(further))), "response_to_it": found}
        unseen = math.hypot(unseen, 2 * doubt * abs(float(np.median(further))))
        return log_drifts + found * further, {name: float(f"{value:.4g}") for name, value in told.items()}, unseen

    def _unread(self, index: int) -> float:
        """Return the doubt about a model that shares a cache, beside which no larger reference had warm caches.

        By how much that reference was slower with cold caches is the most that the model may be.
        """
        logs = [
            math.log(reply["larger_cold_ms"] / recorded_ms)
            for reply in self._gathered[index].replies
            if reply["larger_cold_ms"] and (recorded_ms := self._profile.larger_ms(reply["larger_reference"]))
        ]
        return max(UNREAD_CACHE, float(np.median(logs))) if logs else 0.0
