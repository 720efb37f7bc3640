"""Sustained latencies: those of models that run without a pause until the device is as warm as it becomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np

from nas.errors import CandidateError
from nas.hardware.bench import Outcome
from nas.hardware.cooling import Cooling
from nas.hardware.devices.device import Device
from nas.hardware.disturbances import (
    clock_doubt,
    disturbances,
    heat_doubts,
    heat_of,
    reference_doubt,
    reference_flags,
    waited,
)
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import Deployed
from nas.hardware.target_profile import TargetProfile
from nas.progress import duration_text
from nas.values.measurement import CLOCK, THREAD, WALL, WEIGHT_BYTES, Measurement
from nas.values.metric import SUSTAINED
from nas.values.target import Target

ONE_PROCESS = 0.03
"""Half of a 95 % interval: how far the latency of one process is from that of others, which open the file anew."""


@final
class SustainedLatencies:
    """Measures models one after the other, each in one process, which runs it without a pause.

    Heat is what is looked for, so nothing that changes during a run is corrected. Only how much slower the machine was
    before it is, as the small reference model tells then.
    """

    def __init__(
        self,
        device: Device,
        target: Target,
        settings: BenchSettings,
        profile: TargetProfile,
        cooling: Cooling,
    ) -> None:
        self._device, self._target, self._settings = device, target, settings
        self._profile, self._cooling = profile, cooling

    def add(
        self,
        outcomes: Sequence[Outcome],
        models: Sequence[Deployed],
        rng: np.random.Generator,
        advance: Callable[[], None],
    ) -> list[Outcome]:
        """Return the outcomes with sustained latencies added. A model that failed before is not run.

        ``advance`` is called as often as the bench says, as if each model had its rounds.
        """
        found = list(outcomes)
        for index in rng.permutation(len(models)).tolist():
            for _ in range(self._settings.max_rounds):
                advance()
            known = found[index]
            if not isinstance(known, CandidateError):
                try:
                    found[index] = {**known, SUSTAINED: self._measured(models[index])}
                except CandidateError as error:
                    found[index] = error
        return found

    def _measured(self, model: Deployed) -> Measurement:
        settings = self._settings
        with self._device.process(self._target, settings.timeout_s) as process:
            self._cooling.before_session(process)
            burst = self._burst(process, model)
            reply = process.ask(
                "sustain",
                timeout_s=settings.timeout_s + settings.sustained_s,
                model=model.path,
                stated_s=settings.sustained_s,
            )
            shared = process.conditions
        windows, drift = reply["windows"], self._drift(burst)
        is_by_thread = any(window["clock"] == THREAD for window in windows)
        course = [float(f"{each:.4g}") for each in reply["medians_ms"]]
        told = {
            CLOCK: THREAD if is_by_thread else WALL,
            **shared,
            **reply["conditions"],
            **waited(windows),
            **heat_of(windows),
            **model.details,
            WEIGHT_BYTES: model.weight_bytes,
            "is_steady": reply["is_steady"],
            "ran_s": round(reply["took_s"], 1),
            "stated_s": settings.sustained_s,
            "burst_ms": float(f"{np.median(burst['samples']) / drift:.6g}"),
            "course_ms": course,
            "course_c": [each for each in reply["temperatures_c"] if each is not None],
        }
        return Measurement(
            SUSTAINED,
            str(self._target),
            tuple(tuple(window["samples"]) for window in windows),
            told,
            flags=tuple(sorted(self._doubts(reply, told, drift))),
            drifts=(drift,) * len(windows),
            walls=tuple(tuple(window["walls"] or window["samples"]) for window in windows) if is_by_thread else (),
            unseen=float(f"{math.hypot(ONE_PROCESS, clock_doubt(windows)):.4g}"),
            reference_doubt=reference_doubt(self._profile),
        )

    def _burst(self, process: MeasuringProcess, model: Deployed) -> dict[str, Any]:
        """Return a short session before the run, with the reference model's time."""
        return process.ask(
            "time",
            model=model.path,
            reference=self._profile.reference,
            seconds=self._settings.seconds_per_round,
            min_samples=self._settings.min_samples,
            describe=False,
        )

    def _drift(self, burst: Mapping[str, Any]) -> float:
        """Return how many times slower the machine was before the run than when its reference speed was recorded."""
        read_ms = burst["reference_ms"] or burst["reference_cold_ms"]
        if self._profile.doubtful or read_ms is None:
            return 1.0
        return float(f"{read_ms / self._profile.reference_ms:.6g}")

    def _doubts(self, reply: Mapping[str, Any], told: Mapping[str, Any], drift: float) -> set[str]:
        """Return doubts. That heat holds the clock down is none: the value tells by how much."""
        windows = reply["windows"]
        doubts = {*disturbances(windows), *filter(None, [self._cooling.doubt])}
        doubts |= {*heat_doubts(told, windows, is_sustained=True)}
        doubts |= {*reference_flags(self._profile, drift, "sustained latencies are not corrected")}
        if not reply["is_steady"]:
            first, last, took = reply["medians_ms"][0], reply["medians_ms"][-1], duration_text(reply["took_s"])
            change = f"from {first:.4g} ms at first to {last:.4g} ms"
            doubts.add(f"after {took} the latency or the temperature still changed: {change}")
        return doubts
