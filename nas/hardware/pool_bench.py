"""The bench of a pool: each model is measured on one of its devices, all devices at once."""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar, final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.formats.onnx_session import Arrays
from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices import board as boards
from nas.hardware.devices.board import Board
from nas.hardware.devices.device import Device
from nas.hardware.devices.named import device_of
from nas.hardware.devices.pool import Pool
from nas.hardware.disturbances import MUCH_DRIFT
from nas.hardware.kept_sessions import NOT_KEPT
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_likeness import alike, common_profile, identity_of, median_profile, why_unlike, with_speeds_of
from nas.hardware.pool_reference import are_measured_again, recorded_digest, reference_members
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array, load_runtime
from nas.hardware.target_profile import TargetProfile
from nas.values.layer_times import LayerTimes
from nas.values.target import ModelFormat, Target

Found = TypeVar("Found")
MEMBER = "pool_device"
"""The condition that names the device of a pool on which a model was measured."""
POLL_S = 0.2
ENDING_S = 10.0
"""How long threads may take to end after an interruption."""


@dataclass
class _Share(Generic[Found]):
    """The models of one device, by position, and what became of them: results, or the error that ended it."""

    board: Board
    positions: list[int]
    found: list[Found] | None = None
    error: BaseException | None = None


@final
class PoolBench:
    """The bench of several devices that are alike. It leases each of them while that measures its share of the models.

    All sessions of a model are on one device. Latencies are corrected to the median reference speeds of the devices, so
    that one that is slower by little counts as drift. A device that fails or drifts is set aside, and others measure
    its models.

    Raises:
        RecipeError: the target's runtime is unknown.
        TargetError: no device of the pool can measure the target, or they are not alike.
    """

    def __init__(
        self,
        target: Target,
        settings: BenchSettings,
        pool: Pool,
        *,
        say: Callable[[str], None] = lambda text: None,
        meter: Mapping[str, Any] = MappingProxyType({"kind": "auto"}),
        renew: bool = False,
    ) -> None:
        load_runtime(target.runtime, target.options)  # a user's own one is imported here, outside of threads
        self._pool, self._target, self._settings = pool, target, settings
        self._one_at_a_time = threading.RLock()
        self._say = self._in_turn(say)
        self._open = partial(DeviceBench, target, settings, say=self._say, meter=meter, renew=renew)
        self._benches: dict[str, DeviceBench] = {}
        self._common: TargetProfile | None = None
        self._members: Mapping[str, TargetProfile] = {}
        self._profiles: dict[str, TargetProfile] = {}
        self.in_time: Callable[[], bool] = lambda: True
        """Returns False once time is short: then models get the fewest sessions, however wide their intervals."""
        self.sessions = NOT_KEPT
        """Keeps finished sessions where measuring may be stopped and go on, those of each device for itself."""
        self._on_each(lambda board: [self._bench_of(board)])
        if not self._benches:
            raise pool.none_left()

    @property
    def model_format(self) -> ModelFormat:
        """The format in which models are exported."""
        return self._any.model_format

    @property
    def profiles_layers(self) -> bool:
        """True if the target's runtime has a profiler."""
        return self._any.profiles_layers

    @property
    def rounds(self) -> int:
        """The largest number of rounds that a model can get."""
        return self._settings.max_rounds

    @property
    def device_s(self) -> float:
        """Seconds for which the bench has held devices so far: those of all of them together."""
        return sum(bench.device_s for bench in self._benches.values())

    @property
    def fingerprint(self) -> str:
        """An identifier of the target, of its kind of device, and of the reference speeds that correct latencies."""
        identity = identity_of(self._target, self.profile)
        return f"{identity}-{recorded_digest(self._members)}"

    @property
    def profile(self) -> TargetProfile:
        """The profile that the devices have in common, found when it is first needed. Raises TargetError if none is.

        It is found again when a doubtful one of a device was measured again.
        """
        asked = self._pool.awake()
        if self._common is not None:
            asked = [board for board in asked if board.name in self._profiles and self._profiles[board.name].doubtful]
        self._on_each(self._profile_of, asked)
        if self._common is None or are_measured_again(self._members, self._profiles):
            self._agree()
        assert self._common is not None
        return self._common

    def _agree(self) -> None:
        """Find what the devices have in common. Later on, those that are no longer alike are left out."""
        names = [board.name for board in self._pool.boards]
        found = {name: self._profiles[name] for name in names if name in self._profiles}  # not as their threads ended
        if not found:
            raise self._pool.none_left()
        if self._common is not None:
            found = alike(found, median_profile(found)) or found
        common_profile(self._pool.name, found)
        left_out = self._profiles.keys() - found.keys()
        counted = [name for name in names if name not in left_out]
        self._members = reference_members(self._target, self._pool.name, counted, found)
        self._common = median_profile(self._members)

    @property
    def _any(self) -> DeviceBench:
        return next(iter(self._benches.values()))

    def can_measure(self, metric: str) -> bool:
        return all(self._asked(lambda bench: bench.can_measure(metric)))

    def check(self, metrics: Sequence[str]) -> None:
        """Check that all of ``metrics`` can be measured. Raises TargetError if no device can; some are set aside."""
        self._asked(lambda bench: bench.check(metrics))

    def check_meter(self) -> None:
        """Check that the meter named in the settings can be used. Raises TargetError as ``check`` does."""
        self._asked(lambda bench: bench.check_meter())

    def deploy(
        self,
        models: Sequence[ExportedModel],
        folders: Sequence[Path],
        advance: Callable[[], None] = lambda: None,
    ) -> list[Deployed | CandidateError]:
        return self._any.deploy(models, folders, advance)

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        common = self.profile
        advance = self._at_most(len(models) * self.rounds, advance)
        streams = dict(zip((board.name for board in self._pool.boards), rng.spawn(len(self._pool.boards)), strict=True))

        def measured(board: Board, positions: list[int]) -> list[Outcome]:
            bench = self._like_the_others(board, common)
            found = bench.measure([models[i] for i in positions], metrics, streams[board.name], advance)
            return [_marked(outcome, board.name) for outcome in found]

        return self._spread(len(models), measured, together=self._settings.paired, why_unsound=_drift_text)

    def outputs(self, model: Deployed, inputs: Arrays) -> Float32Array:
        return self._spread(1, lambda board, _: [self._bench_of(board).outputs(model, inputs)])[0]

    def layer_times(self, models: Sequence[Deployed], advance: Callable[[], None] = lambda: None) -> list[LayerTimes]:
        """Return how an inference of each model divides among its operators, or why this is not known."""
        advance = self._at_most(len(models), advance)

        def profiled(board: Board, positions: list[int]) -> list[LayerTimes]:
            return self._bench_of(board).layer_times([models[i] for i in positions], advance)

        return self._spread(len(models), profiled)

    def _bench_of(self, board: Board) -> DeviceBench:
        """Return the bench of a device, which is opened at first. Raises TargetError if it cannot measure."""
        if board.name not in self._benches:
            self._benches[board.name] = self._open(device=board)
        bench = self._benches[board.name]
        bench.in_time, bench.sessions = self.in_time, self.sessions
        return bench

    def _profile_of(self, board: Board) -> list[TargetProfile]:
        self._profiles[board.name] = self._bench_of(board).profile
        return [self._profiles[board.name]]

    def _like_the_others(self, board: Board, common: TargetProfile) -> DeviceBench:
        """Return the bench of a device that measures as the others do. Raises TargetError if it is not like them."""
        bench = self._bench_of(board)
        unlike = why_unlike(board.name, bench.profile, self._pool.name, common)
        if unlike:
            raise TargetError(unlike)
        self._profiles[board.name] = bench.profile
        bench.compared_with = partial(with_speeds_of, common)
        return bench

    def _spread(
        self,
        count: int,
        work: Callable[[Board, list[int]], list[Found]],
        *,
        together: bool = False,
        why_unsound: Callable[[Sequence[Found]], str] = lambda found: "",
    ) -> list[Found]:
        """Return what ``work`` finds for each of ``count`` models on a device, ``together`` on a single one.

        What a device has found that is set aside as unsound counts if no other device is left.
        """
        found: dict[int, Found] = {}
        unsound: dict[int, Found] = {}
        pauses = iter(boards.PAUSES_S)
        while waiting := [i for i in range(count) if i not in found]:
            awake = self._pool.awake()
            if not awake:
                if set(waiting) <= set(unsound):
                    found |= {i: unsound[i] for i in waiting}
                    break
                self._wait(next(pauses, None))
                continue
            shares = [_Share[Found](b, waiting[i :: 1 if together else len(awake)]) for i, b in enumerate(awake)]
            done = self._at_once([each for each in shares if each.positions][: 1 if together else None], work)
            if any(share.board.is_interrupted for share in done):
                raise self._pool.none_left()
            for share in done:
                if share.found is None:
                    self._pool.set_aside(share.board, str(share.error), self._say)
                    continue
                reason = why_unsound(share.found)
                (unsound if reason else found).update(zip(share.positions, share.found, strict=True))
                if reason:
                    self._pool.set_aside(share.board, reason, self._say)
                else:
                    self._pool.has_measured(share.board, self._say)
        return [found[i] for i in range(count)]

    def _wait(self, pause_s: float | None) -> None:
        """Try all devices again after a pause. Raises TargetError if there is none left."""
        if pause_s is None:
            raise self._pool.none_left()
        self._say(f"no device of {self._pool.name} answers. They are tried again in {pause_s:.0f} s")
        time.sleep(pause_s)
        self._pool.wake()

    def _asked(self, ask: Callable[[DeviceBench], Found]) -> list[Found]:
        """Return the answers of the devices that are open. Those that fail are set aside, unless all of them do.

        Raises:
            TargetError: that of the first device if all fail, or no device is left.
        """
        boards = [board for board in self._pool.awake() if board.name in self._benches]
        shares = [_Share[Found](board, []) for board in boards]
        self._at_once(shares, lambda board, _: [ask(self._benches[board.name])])
        answers = [share.found[0] for share in shares if share.found is not None]
        if not answers:
            raise next((share.error for share in shares if share.error is not None), self._pool.none_left())
        self._set_aside_failed(shares)
        return answers

    def _on_each(self, work: Callable[[Board], list[Found]], asked: Sequence[Board] | None = None) -> None:
        """Let devices work once, by default all. Those that fail are set aside."""
        shares = [_Share[Found](board, []) for board in (self._pool.awake() if asked is None else asked)]
        self._set_aside_failed(self._at_once(shares, lambda board, _: work(board)))

    def _set_aside_failed(self, shares: Sequence[_Share[Found]]) -> None:
        for share in shares:
            if share.found is None:
                self._pool.set_aside(share.board, str(share.error), self._say)

    def _at_once(
        self, shares: list[_Share[Found]], work: Callable[[Board, list[int]], list[Found]]
    ) -> list[_Share[Found]]:
        """Work on all shares, each in a thread of its own. Raises what is neither a result nor a device's failure."""

        def run(share: _Share[Found]) -> None:
            try:
                share.found = work(share.board, share.positions)
            except BaseException as error:
                share.error = error

        threads = [threading.Thread(target=run, args=(share,), daemon=True) for share in shares]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(POLL_S)  # Windows does not interrupt a longer one
        except BaseException:  # Ctrl-C
            self._interrupt(shares, threads)
            raise
        for share in shares:
            if share.error is not None and not isinstance(share.error, TargetError):
                raise share.error
        return shares

    def _interrupt(self, shares: Sequence[_Share[Found]], threads: Sequence[threading.Thread]) -> None:
        """End what runs on all devices, and wait until their threads have seen it."""
        with contextlib.ExitStack() as ending:
            for share in shares:
                ending.enter_context(share.board.interrupted())
            until_s = time.monotonic() + ENDING_S
            for thread in threads:
                thread.join(max(0.0, until_s - time.monotonic()))

    def _in_turn(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Return ``say`` for several threads."""

        def tell(text: str) -> None:
            with self._one_at_a_time:
                say(text)

        return tell

    def _at_most(self, count: int, advance: Callable[[], None]) -> Callable[[], None]:
        """Return ``advance`` for several threads. It counts no further than ``count``, whatever is measured again."""
        left = iter(range(count))

        def step() -> None:
            with self._one_at_a_time:
                if next(left, None) is not None:
                    advance()

        return step


def bench_on(
    target: Target,
    settings: BenchSettings,
    *,
    say: Callable[[str], None] = lambda text: None,
    meter: Mapping[str, Any] = MappingProxyType({"kind": "auto"}),
    renew: bool = False,
    device: Device | None = None,
) -> DeviceBench | PoolBench:
    """Return the bench of a device or of a pool, by default that which the target names. Raises as they do."""
    device = device or device_of(target)
    if isinstance(device, Pool):
        return PoolBench(target, settings, device, say=say, meter=meter, renew=renew)
    return DeviceBench(target, settings, say=say, meter=meter, renew=renew, device=device)


def _marked(outcome: Outcome, name: str) -> Outcome:
    """Return a model's measurements with the name of the device."""
    if isinstance(outcome, CandidateError):
        return outcome
    return {metric: replace(found, conditions={**found.conditions, MEMBER: name}) for metric, found in outcome.items()}


def _drift_text(outcomes: Sequence[Outcome]) -> str:
    """Return by how much a device was slower or faster than its pool, if that is much; else nothing.

    The metric that tells the most of it counts.
    """
    drifts: defaultdict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for metric, found in outcome.items() if not isinstance(outcome, CandidateError) else ():
            drifts[metric] += [found.drift] if found.drifts else []
    medians = [statistics.median(each) for each in drifts.values() if each]
    drift = max(medians, key=lambda each: abs(math.log(each)), default=1.0)
    if abs(math.log(drift)) <= MUCH_DRIFT:
        return ""
    return f"it was {'slower' if drift > 1 else 'faster'} than its pool by {100 * abs(drift - 1):.0f} %"
