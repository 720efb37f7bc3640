"""The bench on this machine: deploys models and measures latency, memory, energy and size while it holds the device."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.formats.onnx_session import Arrays
from nas.hardware.bench import Outcome
from nas.hardware.cooling import Cooling, warmth_of
from nas.hardware.devices.device import Device, why_not_measured
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.devices.named import device_of
from nas.hardware.energy_rounds import add_energies
from nas.hardware.kept_profiles import DOUBTFUL_FOR_S, profile_of
from nas.hardware.kept_sessions import NOT_KEPT
from nas.hardware.latency_rounds import BenchSettings, Latencies
from nas.hardware.measuring_process import MeasuringProcess, converting
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array, ProfilingRuntime, load_runtime
from nas.hardware.sustained_latency import SustainedLatencies
from nas.hardware.target_profile import TargetProfile
from nas.progress import duration_text
from nas.values.layer_times import LayerTimes
from nas.values.measurement import Measurement
from nas.values.metric import SUSTAINED, bare_name, target_in
from nas.values.target import ModelFormat, Target

MEMORY_ROUNDS = 3
BY_THE_PROCESS = ("peak_memory_mib", SUSTAINED)
"""Metrics that only a measuring process on the device can tell."""
SENT_WHOLE_BYTES, SAMPLE = 2**23, 64
"""More inputs of a model than so many bytes are not all sent to a device elsewhere, but only so many items."""
SAME = 1e-4
"""Outputs are the same if they differ by at most this share of the largest one: kernels sum in different orders."""


@final
class DeviceBench:
    """The bench of a device, by default the one that the target names. It leases the device while it measures.

    ``meter`` are the settings of ``energy.choosing.meter_from``. ``renew`` measures the target's profile again.

    Raises:
        RecipeError: the target's runtime is unknown.
        TargetError: the target cannot be measured here.
    """

    def __init__(
        self,
        target: Target,
        settings: BenchSettings,
        *,
        say: Callable[[str], None] = lambda text: None,
        meter: Mapping[str, Any] = MappingProxyType({"kind": "auto"}),
        renew: bool = False,
        device: Device | None = None,
    ) -> None:
        runtime = load_runtime(target.runtime, target.options)
        self._device = device or device_of(target)
        unavailable = why_not_measured(target, self._device)
        if unavailable is not None:
            raise TargetError(unavailable)
        self.model_format: ModelFormat = runtime.model_format
        self.profiles_layers = isinstance(runtime, ProfilingRuntime) and not self._device.facts.times_alone
        self.device_s = 0.0
        self._target = target
        self._settings = settings
        self._say = say
        self._renew = renew
        known = warmth_of(self._device.name, self._device.facts.machine_id)
        self._cooling = Cooling(self._device.name, settings.cooling_s, say, known=known)
        self._meter = {**meter, "gpu": runtime.gpu}
        self._is_here = isinstance(self._device, LocalDevice)
        self._answers_alike: dict[tuple[Path, int], bool] = {}
        self._asked_bytes: dict[tuple[Path, int], int] = {}
        self._profile: TargetProfile | None = None
        self._profile_read_s = 0.0
        self.in_time: Callable[[], bool] = lambda: True
        """Returns False once time is short: then models get the fewest sessions, however wide their intervals."""
        self.sessions = NOT_KEPT
        """Keeps finished sessions where measuring may be stopped and go on."""
        self.compared_with: Callable[[TargetProfile], TargetProfile] = lambda profile: profile
        """Returns the profile with the reference speeds that latencies are corrected to, such as those of a pool."""

    @property
    def rounds(self) -> int:
        """The largest number of rounds that a model can get."""
        return self._settings.max_rounds

    @property
    def fingerprint(self) -> str:
        """An identifier of the target and of its recorded reference speed, which corrects latencies for drift."""
        return _fingerprint_of(self.profile)

    @property
    def profile(self) -> TargetProfile:
        """The target's reference speed and peaks, measured when they are first needed. Doubtful ones last an hour."""
        is_old = time.monotonic() - self._profile_read_s > DOUBTFUL_FOR_S
        if self._profile is None or (self._profile.doubtful and is_old):
            with self._holding_the_device():
                self._profile = profile_of(self._target, self._say, device=self._device, renew=self._renew)
            self._profile_read_s = time.monotonic()
        return self._profile

    def can_measure(self, metric: str) -> bool:
        if metric in BY_THE_PROCESS and self._device.facts.times_alone:
            return False
        if metric == "peak_memory_mib":
            return not self._device.facts.system.startswith("Windows") and self._meter["gpu"] is None
        return metric != "energy_mj" or self._device.why_no_meter(self._meter) is None

    def check(self, metrics: Sequence[str]) -> None:
        """Check that all of ``metrics`` can be measured here.

        Raises:
            TargetError: energy has no meter, or peak memory is requested on a GPU.
        """
        elsewhere = [name for name in metrics if target_in(name)]
        if elsewhere:
            raise TargetError(
                f"one target measures metrics without the name of a target, such as {bare_name(elsewhere[0])}, but got "
                f"{elsewhere[0]}. Leave out what stands before the slash."
            )
        unknown = [name for name in metrics if name in BY_THE_PROCESS]
        if unknown and self._device.facts.times_alone:
            raise TargetError(
                f"{unknown[0]} needs a device with Python, but {self._device.name} tells the time of an inference "
                "alone: choose latency_ms, weight_bytes or model_bytes."
            )
        if "peak_memory_mib" in metrics and self._meter["gpu"] is not None:
            raise TargetError(
                "peak_memory_mib measures main memory, not a GPU's memory, but the target is "
                f"{self._target}: choose weight_bytes or model_bytes."
            )
        if "energy_mj" in metrics:
            reason = self._device.why_no_meter(self._meter)
            if reason is not None:
                raise TargetError(
                    f"energy_mj needs a meter, but there is none: {reason.rstrip('.')}. Choose "
                    "modelled_energy_mj instead, or name a command that prints joules: in a recipe under [energy], "
                    "for nas measure with --meter-command."
                )

    def check_meter(self) -> None:
        """Check that the meter named in the settings can be used. Raises TargetError."""
        self._device.why_no_meter(self._meter)

    def deploy(
        self,
        models: Sequence[ExportedModel],
        folders: Sequence[Path],
        advance: Callable[[], None] = lambda: None,
    ) -> list[Deployed | CandidateError]:
        found: list[Deployed | CandidateError] = []
        narrow = self._device.facts.adds_bytes_in_16_bits
        with converting(self._target) as process:
            for model, folder in zip(models, folders, strict=True):
                folder.mkdir(parents=True)
                try:
                    found.append(process.convert(replace(model, narrow=narrow), folder))
                except CandidateError as error:
                    found.append(error)
                advance()
        return found

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = [{} for _ in models]
        self.check(metrics)
        own = self.profile  # read before the device is held: a doubtful one is measured again, which holds it too
        profile = self.compared_with(own)
        with self._holding_the_device():
            if {"latency_ms", "item_ms"} & set(metrics):
                latencies = Latencies(
                    models,
                    self._device,
                    self._target,
                    self._settings,
                    profile,
                    rng,
                    advance,
                    self.in_time,
                    self.sessions,
                    _fingerprint_of(own),
                    self._cooling,
                ).measure()
                outcomes = [self._of_latency(found, metrics) for found in latencies]
            if "peak_memory_mib" in metrics:
                outcomes = [_with(known, self._peak_memory, m) for known, m in zip(outcomes, models, strict=True)]
            if "energy_mj" in metrics:
                outcomes = add_energies(
                    outcomes,
                    models,
                    self._device,
                    self._target,
                    self._meter,
                    self._settings.timeout_s,
                    rng,
                    self._cooling,
                    self.in_time,
                )
            if SUSTAINED in metrics:  # the last one, because it heats the device
                is_alone = not {"latency_ms", "item_ms"} & set(metrics)
                outcomes = self._with_sustained(outcomes, models, profile, rng, advance if is_alone else lambda: None)
        for name, read in (("model_bytes", attrgetter("file_bytes")), ("weight_bytes", attrgetter("weight_bytes"))):
            if name in metrics:
                # Only models that run have a size: the path of a failed one may not exist.
                outcomes = [
                    known
                    if isinstance(known, CandidateError)
                    else {**known, name: Measurement(name, str(self._target), ((float(read(model)),),))}
                    for known, model in zip(outcomes, models, strict=True)
                ]
        return outcomes

    def outputs(self, model: Deployed, inputs: Arrays) -> Float32Array:
        """Return the outputs, as ``Bench`` says. Of many inputs only some are sent to a device elsewhere.

        If the same runtime gives the same outputs for those here, it answers for the others too. A device that tells
        times alone has its outputs computed here by itself, so nothing could be compared.
        """
        if self._is_here or self._device.facts.times_alone:
            return self._outputs(self._device, model, inputs)
        state = model.path, model.path.stat().st_mtime_ns
        self._asked_bytes[state] = self._asked_bytes.get(state, 0) + sum(each.nbytes for each in inputs)
        if self._asked_bytes[state] <= SENT_WHOLE_BYTES:
            return self._outputs(self._device, model, inputs)
        if state not in self._answers_alike:
            self._answers_alike[state] = self._answers_here_too(model, [each[:SAMPLE] for each in inputs])
        return self._outputs(LocalDevice() if self._answers_alike[state] else self._device, model, inputs)

    def _answers_here_too(self, model: Deployed, inputs: Arrays) -> bool:
        """Return True if the target's runtime gives the same outputs on this machine as on the device."""
        if LocalDevice().why_unavailable(self._target) is not None:
            return False
        there = self._outputs(self._device, model, inputs)
        try:
            here = self._outputs(LocalDevice(), model, inputs)
        except CandidateError:
            return False
        alike = here.shape == there.shape and float(np.abs(here - there).max()) <= SAME * float(np.abs(there).max())
        where = "computed here" if alike else f"all computed on {self._device.name}, which takes longer"
        same = "the same outputs" if alike else "other outputs"
        self._say(f"{SAMPLE} items have {same} on {self._device.name} and here, so those of further items are {where}")
        return alike

    def _outputs(self, device: Device, model: Deployed, inputs: Arrays) -> Float32Array:
        """Return the outputs. A board is held: what runs beside a measurement of another run would disturb that."""
        is_board = device is self._device and not (self._is_here or device.facts.times_alone)
        held = self._holding_the_device() if is_board else contextlib.nullcontext()
        with held, device.process(self._target, self._settings.timeout_s) as process:
            return process.outputs(model.path, inputs)

    def layer_times(self, models: Sequence[Deployed], advance: Callable[[], None] = lambda: None) -> list[LayerTimes]:
        """Return how an inference of each model divides among its operators, or why this is not known."""
        if not self.profiles_layers:
            who = self._device.name if self._device.facts.times_alone else self._target.runtime
            reason = f"{who} does not tell how long each operator takes."
            return [LayerTimes(reason=reason)] * len(models)
        found = []
        with self._holding_the_device(), self._process() as process:
            self._cooling.before_session(process, self.in_time)
            for model in models:
                self._cooling.between_models(process, self.in_time)
                try:
                    found.append(LayerTimes.of(process.layer_times(model.path)))
                except CandidateError as error:
                    found.append(LayerTimes(reason=error.reason))
                advance()
        return found

    def _of_latency(self, found: Measurement | CandidateError, metrics: Sequence[str]) -> Outcome:
        if isinstance(found, CandidateError):
            return found
        wanted = {"latency_ms": found} if "latency_ms" in metrics else {}
        if "item_ms" in metrics:
            rounds = tuple(tuple(sample / self._target.batch for sample in samples) for samples in found.rounds)
            walls = tuple(tuple(sample / self._target.batch for sample in samples) for samples in found.walls)
            wanted["item_ms"] = replace(found, metric="item_ms", rounds=rounds, walls=walls)
        return wanted

    def _with_sustained(
        self,
        outcomes: Sequence[Outcome],
        models: Sequence[Deployed],
        profile: TargetProfile,
        rng: np.random.Generator,
        advance: Callable[[], None],
    ) -> list[Outcome]:
        count = sum(not isinstance(outcome, CandidateError) for outcome in outcomes)
        most_s = self._settings.sustained_s
        each = "a model runs" if count == 1 else f"{count} models run, one after the other,"
        self._say(f"{each} for up to {duration_text(most_s)}, until the latency no longer changes")
        found = SustainedLatencies(self._device, self._target, self._settings, profile, self._cooling)
        return found.add(outcomes, models, rng, advance)

    def _peak_memory(self, model: Deployed) -> Measurement:
        samples = []
        for _ in range(MEMORY_ROUNDS):
            with self._process() as process:
                reply = process.ask("memory", model=model.path)
                conditions = {**process.conditions, **reply["conditions"]}
            samples.append((float(reply["samples"][0]),))
        return Measurement("peak_memory_mib", str(self._target), tuple(samples), conditions)

    def _process(self) -> MeasuringProcess:
        return self._device.process(self._target, self._settings.timeout_s)

    @contextlib.contextmanager
    def _holding_the_device(self) -> Iterator[None]:
        with self._device.leased(self._say):
            began = time.monotonic()
            try:
                yield
            finally:
                self.device_s += time.monotonic() - began


def _fingerprint_of(profile: TargetProfile) -> str:
    recorded = hashlib.sha256(profile.recorded.encode()).hexdigest()[:8]
    return f"{profile.fingerprint}-{recorded}"


def _with(known: Outcome, measure_one: Callable[[Deployed], Measurement], model: Deployed) -> Outcome:
    """Return a model's outcome with one measurement added, or the error of an earlier or of this measurement."""
    if isinstance(known, CandidateError):
        return known
    try:
        found = measure_one(model)
    except CandidateError as error:
        return error
    return {**known, found.metric: found}
