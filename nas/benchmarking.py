"""Measuring exported models on a target: rounds in random order, sessions rebuilt, in a process of its own."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.measurement import Measurement
from nas.runtimes import load_runtime
from nas.target import Target

BUSY_SHARE = 0.1
"""A round is repeated when tasks waited for a processor for more than this share of it."""
ROUND_REPEATS = 2
START_LIMIT_S = 120.0
"""A measuring process that has not loaded its runtime by then never will."""

Outcome = dict[str, Measurement] | CandidateError


class Bench(Protocol):
    """Measures model files together, so that comparing them is fair."""

    @property
    def rounds(self) -> int:
        """How often each model is measured for one measurement."""

    def measure(
        self,
        models: Sequence[Path],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        """For each model its measurements by metric, or why it has none.

        ``advance`` is called after each round of each model.
        """


@dataclass(frozen=True)
class BenchSettings:
    """``rounds`` sessions of each model, each sampled for ``seconds_per_round`` and at least ``min_samples`` times.

    A model that takes more than ``timeout_s`` for one round counts as hung.
    """

    rounds: int = 5
    seconds_per_round: float = 0.2
    min_samples: int = 10
    timeout_s: float = 60.0


@final
class DeviceBench:
    """The bench on this machine. Nothing else should run on it meanwhile.

    Raises:
        RecipeError: the target's runtime is unknown.
        TargetError: the target cannot be measured here.
    """

    def __init__(self, target: Target, settings: BenchSettings) -> None:
        unavailable = load_runtime(target.runtime).why_unavailable(target)
        if unavailable is not None:
            raise TargetError(unavailable)
        self._target = target
        self._settings = settings

    @property
    def rounds(self) -> int:
        return self._settings.rounds

    def measure(
        self,
        models: Sequence[Path],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = [{} for _ in models]
        if "latency_ms" in metrics:
            outcomes = self._latencies(models, rng, advance)
        for name, measure_one in (("peak_memory_mib", self._peak_memory), ("model_bytes", self._size)):
            if name in metrics:
                outcomes = [_with(known, measure_one, m) for known, m in zip(outcomes, models, strict=True)]
        return outcomes

    def _latencies(
        self, models: Sequence[Path], rng: np.random.Generator, advance: Callable[[], None]
    ) -> list[Outcome]:
        rounds: list[list[tuple[float, ...]]] = [[] for _ in models]
        flags: list[set[str]] = [set() for _ in models]
        failures: dict[int, CandidateError] = {}
        found: list[dict[str, Any]] = [{} for _ in models]
        with _Worker(self._target, self._settings.timeout_s) as worker:
            for _ in range(self._settings.rounds):
                for index in rng.permutation(len(models)).tolist():
                    if index not in failures:
                        try:
                            reply = self._one_round(worker, models[index])
                        except CandidateError as error:
                            failures[index] = error
                        else:
                            rounds[index].append(tuple(reply["samples"]))
                            found[index] = reply["conditions"]
                            if (reply["pressure"] or 0.0) > BUSY_SHARE:
                                flags[index].add("the machine was busy with other work while this was measured")
                    advance()
            common = worker.conditions
        return [
            failures.get(index)
            or {
                "latency_ms": Measurement(
                    "latency_ms",
                    str(self._target),
                    tuple(rounds[index]),
                    {**common, **found[index]},
                    tuple(sorted(flags[index])),
                )
            }
            for index in range(len(models))
        ]

    def _one_round(self, worker: _Worker, model: Path) -> dict[str, Any]:
        """The quietest of up to three tries: a round on a busy machine is repeated before it is flagged."""
        request = {
            "op": "time",
            "model": str(model),
            "seconds": self._settings.seconds_per_round,
            "min_samples": self._settings.min_samples,
        }
        replies = []
        for _ in range(1 + ROUND_REPEATS):
            replies.append(worker.ask(request))
            if (replies[-1]["pressure"] or 0.0) <= BUSY_SHARE:
                break
        return min(replies, key=lambda reply: reply["pressure"] or 0.0)

    def _peak_memory(self, model: Path) -> Measurement:
        samples = []
        for _ in range(3):
            with _Worker(self._target, self._settings.timeout_s) as worker:
                reply = worker.ask({"op": "memory", "model": str(model)})
                conditions = {**worker.conditions, **reply["conditions"]}
            samples.append((float(reply["samples"][0]),))
        return Measurement("peak_memory_mib", str(self._target), tuple(samples), conditions)

    def _size(self, model: Path) -> Measurement:
        return Measurement("model_bytes", str(self._target), ((float(model.stat().st_size),),))


def _with(known: Outcome, measure_one: Callable[[Path], Measurement], model: Path) -> Outcome:
    """What is known of a model with one measurement more, or why it failed, before or now."""
    if isinstance(known, CandidateError):
        return known
    try:
        found = measure_one(model)
    except CandidateError as error:
        return error
    return {**known, found.metric: found}


@final
class _Worker:
    """A measuring process, started again after it had to be ended."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self.conditions: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The worker's reply.

        Raises:
            CandidateError: the runtime refused the model, its process died, or it took too long.
            TargetError: the process had to be started again, and cannot be.
        """
        if self._process is None:
            self._start()
        reply = self._exchange(request, self._timeout_s)
        if not reply.pop("ok"):
            raise CandidateError("measure", f"{self._target.runtime} refused the model: {reply['reason']}")
        return reply

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nas.runtimes.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_forward, args=(self._process, self._replies), daemon=True).start()
        try:
            reply = self._exchange({"op": "conditions"}, START_LIMIT_S)
        except CandidateError as error:
            raise TargetError(f"{self._target} cannot be measured here: {error}") from error
        if not reply.pop("ok"):
            self._end()
            raise TargetError(f"{self._target} cannot be measured here: {reply['reason']}")
        self.conditions = reply

    def _exchange(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({**request, "target": str(self._target)}) + "\n")
            self._process.stdin.flush()
            line = self._replies.get(timeout=timeout_s)
        except queue.Empty:
            self._end()
            raise CandidateError(
                "timeout",
                f"the measuring process must answer within {timeout_s:g} s, but did not; it was ended.",
            ) from None
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            self._end()
            raise CandidateError("measure", f"the measuring process ended with exit code {code} before it answered.")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:  # what was not flushed has no reader any more
                continue
        self._process = None


def _forward(process: subprocess.Popen[str], replies: queue.Queue[str]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            replies.put(line)
    except ValueError:  # closed by _end while it waited
        return
    replies.put("")
