"""Measuring a target's profile: the speeds of the reference models, and the peaks of the roofline."""

from __future__ import annotations

import contextlib
import datetime
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.hardware.devices.device import Device, why_not_measured
from nas.hardware.disturbances import ROUND_REPEATS, is_disturbed
from nas.hardware.measuring_process import MeasuringProcess, converting
from nas.hardware.runtimes.neighbours import BUSY_SHARE
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, load_runtime
from nas.hardware.target_profile import LAYERS, TargetProfile, fingerprint_of
from nas.space.signature import TensorType, image_inputs
from nas.values.measurement import THREAD, WALL
from nas.values.target import Target

EVER_MS = 1e12
"""Longer than any model takes."""
OTHERS_BUSY = 0.3
"""Other programs fill the shared cache if they keep another core busy for more than this share of the time."""
TIMEOUT_S = 120.0
MIN_STREAM_BYTES, MAX_STREAM_BYTES = 64 * 2**20, 512 * 2**20
DEVIATION, MEDIAN_EFFICIENCY = 1.4826, 1.2533
"""Of a normal distribution: its deviation by its median distance, and a median's deviation by that of a mean."""
L2_BYTES = 2 * 2**20
"""The size of a second-level cache where the system does not tell it."""


@dataclass(frozen=True)
class ProfileSettings:
    """The effort of measuring a profile.

    The reference model runs for ``reference_seconds`` in each of ``rounds`` processes, before the probes and again
    after them, and each probe runs for ``probe_seconds``. A profile is doubtful if a process waited for its core for
    more than ``busy_share`` of a round, and no clock sees through that. Its larger references are doubtful too if
    others kept another core busy for more than ``others_busy`` of the time. A speed is also doubtful if it is not known
    to ``unsteady``, as a logarithm. The memory probe moves at most ``max_stream_bytes`` each way. If that fits into a
    cache, it measures the cache.
    """

    rounds: int = 5
    reference_seconds: float = 0.06
    probe_seconds: float = 0.3
    busy_share: float = BUSY_SHARE
    others_busy: float = OTHERS_BUSY
    unsteady: float = 0.05
    max_stream_bytes: int = MAX_STREAM_BYTES


def find_profile(
    target: Target, device: Device, hardware: Mapping[str, Any], folder: Path, settings: ProfileSettings
) -> TargetProfile:
    """Measure a target's profile on a device. Its reference models are converted here, and go into ``folder``.

    Raises:
        TargetError: the target cannot run the small reference model.
    """
    from nas.hardware.reference_models import (
        BESIDE,
        REFERENCE_SHAPE,
        larger_reference_model,
        reference_model,
    )

    inputs = image_inputs(REFERENCE_SHAPE)
    larger: dict[str, Deployed] = {}
    try:
        with converting(target) as process, device.process(target, TIMEOUT_S) as there:
            small = beside = _converted(process, target, reference_model(), inputs, folder / "reference")
            with _refused_by_the_runtime():  # then the small one alone corrects latencies
                _check_caches_are_known(device)
                found = {
                    name: _converted(process, target, larger_reference_model(layers), inputs, folder / name)
                    for name, layers in LAYERS.items()
                }
                other = _converted(process, target, larger_reference_model(BESIDE), inputs, folder / "beside")
                for model in (*found.values(), other):
                    _time(there, model, 0.0)  # some runtimes refuse a model only when they open it
                larger, beside = found, other
        before = _read(target, device, small, larger, beside, settings)
        few = {"why_no_peaks": f"{device.name} tells the time of an inference alone"}
        peaks = few if device.facts.times_alone else _peaks(target, device, folder / "probes", settings)
        speeds = _speeds(target, (before, _read(target, device, small, larger, beside, settings)), settings)
    except CandidateError as error:
        raise TargetError(f"{target} must run its reference model, but: {error}") from error
    shutil.rmtree(folder / "probes", ignore_errors=True)
    if beside is small:
        shutil.rmtree(folder / "beside", ignore_errors=True)
    known: dict[str, Any] = dict.fromkeys(f"{name}_reference{unit}" for name in LAYERS for unit in ("", "_ms"))
    for name, model in larger.items():
        known |= {f"{name}_reference": model.path, f"{name}_reference_ms": speeds.larger_ms[name]}
    return TargetProfile(
        fingerprint=fingerprint_of(target, hardware),
        target=str(target),
        hardware=hardware,
        reference=small.path,
        reference_ms=speeds.small_ms,
        recorded=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        clock=speeds.clock,
        doubtful=speeds.doubtful,
        large_doubtful=speeds.large_doubtful if larger else "",
        beside=None if beside is small else beside.path,
        reference_doubt=speeds.small_doubt,
        larger_doubt=speeds.larger_doubt,
        **known,
        **peaks,
    )


@contextlib.contextmanager
def _refused_by_the_runtime() -> Iterator[None]:
    """End the context where a model fails, unless it could not be exported: that is a failure of this machine."""
    try:
        yield
    except CandidateError as error:
        if error.kind == "export":
            raise


def _check_caches_are_known(device: Device) -> None:
    """Check that larger reference models are of use. Raises CandidateError: where caches are unknown they are not."""
    if device.facts.times_alone:
        raise CandidateError("measure", f"the caches of {device.name} are not known")


_Replies = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was read beside each of the larger reference models; where there are none, the name is empty."""


@dataclass(frozen=True)
class _Speeds:
    """The reference models' median latencies, halves of their intervals, and the reasons to doubt them."""

    small_ms: float
    small_doubt: float
    larger_ms: Mapping[str, float]
    larger_doubt: float
    clock: str
    doubtful: str
    large_doubtful: str


def _read(
    target: Target,
    device: Device,
    small: Deployed,
    larger: Mapping[str, Deployed],
    beside: Deployed,
    settings: ProfileSettings,
) -> _Replies:
    """Read the reference models in fresh processes. Rounds that no clock sees through are repeated.

    They are read as in every later measurement: between the blocks of another model, here ``beside``.
    """
    replies: dict[str, list[dict[str, Any]]] = {name: [] for name in [*larger] or [""]}
    for _ in range(settings.rounds):
        for _ in range(1 + ROUND_REPEATS):
            with device.process(target, TIMEOUT_S) as process:
                found = {
                    name: _time(
                        process, beside, settings.reference_seconds, small, {name: larger[name]} if name else {}
                    )
                    for name in replies
                }
            if not any(is_disturbed(reply, settings.busy_share) for reply in found.values()):
                break
        for name, reply in found.items():
            replies[name].append(reply)
    return replies


def _speeds(target: Target, sittings: Sequence[_Replies], settings: ProfileSettings) -> _Speeds:
    """Return the speeds that were read in the faster of the sittings: others only ever slow a machine down."""
    larger = [name for name in sittings[0] if name]
    together = [[reply for replies in sitting.values() for reply in replies] for sitting in sittings]
    every = [reply for replies in together for reply in replies]
    is_read = all(reply["reference_ms"] is not None for reply in every)
    is_busy = not is_read or any(is_disturbed(reply, settings.busy_share) for reply in every)
    others = float(np.median([reply["others_busy"] or 0.0 for reply in every]))
    is_crowded = load_runtime(target.runtime, target.options).gpu is None and others > settings.others_busy
    is_cold = any(
        reply["larger_reference_ms"] is None for sitting in sittings for name in larger for reply in sitting[name]
    )
    small_ms, small_doubt = _fastest([_latencies(replies, "reference") for replies in together])
    of_larger = {
        name: _fastest([_latencies(sitting[name], "larger_reference", "larger") for sitting in sittings])
        for name in larger
    }
    larger_doubt = max((doubt for _, doubt in of_larger.values()), default=0.0)
    busy = "the machine was busy with other work while it was measured"
    doubtful = busy if is_busy else _why_unsteady(small_doubt, settings)
    return _Speeds(
        small_ms,
        small_doubt,
        {name: each_ms for name, (each_ms, _) in of_larger.items()},
        larger_doubt,
        THREAD if any(reply["clock"] == THREAD for reply in every) else WALL,
        doubtful,
        doubtful or (busy if is_crowded or is_cold else _why_unsteady(larger_doubt, settings)),
    )


def _why_unsteady(doubt: float, settings: ProfileSettings) -> str:
    is_unsteady = doubt > settings.unsteady
    return f"the machine's speed changed by {100 * doubt:.0f} % while it was measured" if is_unsteady else ""


def _latencies(replies: Sequence[Mapping[str, Any]], name: str, cold: str | None = None) -> list[float]:
    """Return the latencies of a reference model, with warm caches where it could be read so."""
    warm = [reply[f"{name}_ms"] for reply in replies if reply[f"{name}_ms"] is not None]
    return warm or [reply[f"{cold or name}_cold_ms"] for reply in replies]


def _fastest(sittings: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the median of the fastest sitting, and half of its 95 % interval as a logarithm.

    That follows from the median distance of all readings from their sitting's median, so that a single disturbed one
    does not count. It is at least by how much the sittings differ.
    """
    medians = [float(np.median(read)) for read in sittings]
    distances = [abs(math.log(each / median)) for read, median in zip(sittings, medians, strict=True) for each in read]
    deviation = DEVIATION * float(np.median(distances))
    reach = 2 * MEDIAN_EFFICIENCY * deviation / math.sqrt(min(map(len, sittings)))
    return min(medians), float(f"{max(reach, math.log(max(medians) / min(medians))):.3g}")


def speeds_now(target: Target, profile: TargetProfile, process: MeasuringProcess) -> dict[str, float]:
    """Return how many times slower each reference model is now than a profile tells, by its field's name.

    It is empty if that cannot be told for sure: on a GPU, and where it is not known if a process waits, other programs
    may be the reason.
    """
    if load_runtime(target.runtime, target.options).gpu is not None:
        return {}
    small = Deployed(profile.reference, 0)
    beside = small if profile.beside is None else Deployed(profile.beside, 0)
    larger = {name: getattr(profile, f"{name}_reference") for name in LAYERS if profile.beside is not None}
    found = {}
    try:
        for name in [*larger] or [""]:
            models = {name: Deployed(larger[name], 0)} if name else {}
            reply = _time(process, beside, ProfileSettings.reference_seconds, small, models)
            is_unknown = bool(reply["why_wall"]) and reply["pressure"] is None
            if is_unknown or is_disturbed(reply) or reply["reference_ms"] is None:
                return {}
            found["reference"] = float(reply["reference_ms"]) / profile.reference_ms
            if name and reply["larger_reference_ms"] is not None:
                found[f"{name}_reference"] = reply["larger_reference_ms"] / getattr(profile, f"{name}_reference_ms")
    except CandidateError:
        return {}
    return found


def _peaks(target: Target, device: Device, folder: Path, settings: ProfileSettings) -> dict[str, Any]:
    """Measure the roofline's two peaks in this runtime (Williams et al., "Roofline", 2009)."""
    from nas.hardware.reference_models import cached_probe, multiplying_probes, streaming_probe

    caches = device.facts.cache_bytes
    stream_bytes = min(max(2 * max(caches.values(), default=0), MIN_STREAM_BYTES), settings.max_stream_bytes)
    whole = replace(target, precision="fp32")  # memory bandwidth does not depend on precision
    streaming = whole if why_not_measured(whole, device) is None else target
    probes = [(target, probe) for probe in multiplying_probes()]
    probes += [(streaming, streaming_probe(stream_bytes)), (streaming, cached_probe(caches.get("L2", L2_BYTES) // 2))]
    rates = [0.0] * len(probes)
    try:
        for one in dict.fromkeys(probed for probed, _ in probes):
            numbers = [number for number, (probed, _) in enumerate(probes) if probed == one]
            deployed = []
            with converting(one) as process:
                for number in numbers:
                    probe = probes[number][1]
                    deployed.append(
                        _converted(process, one, probe.module, image_inputs(probe.input_shape), folder / str(number))
                    )
            with device.process(one, TIMEOUT_S) as process:
                for number, model in zip(numbers, deployed, strict=True):
                    probe = probes[number][1]
                    reply = _time(process, model, settings.probe_seconds)
                    rates[number] = probe.work / (min(reply["samples"]) / 1000)
    except CandidateError as error:
        return {"why_no_peaks": f"{probe.name}: {error}"}
    *products, memory, cache = rates
    return {
        "peak_macs_per_s": max(products),
        "bandwidth_bytes_per_s": memory,
        "cache_bandwidth_bytes_per_s": max(memory, cache),  # on a GPU, starting the small probe takes longest
    }


def _converted(
    process: MeasuringProcess, target: Target, module: Any, inputs: Sequence[TensorType], folder: Path
) -> Deployed:
    from nas.formats.export import export_model

    folder.mkdir(parents=True)
    (folder / "deployed").mkdir()
    exported = folder / "exported"
    export_model(module, inputs, 1, exported, load_runtime(target.runtime, target.options).model_format)
    return process.convert(ExportedModel(exported), folder / "deployed")


def _time(
    process: MeasuringProcess,
    model: Deployed,
    seconds: float,
    reference: Deployed | None = None,
    larger: Mapping[str, Deployed] = MappingProxyType({}),
) -> dict[str, Any]:
    return process.ask(
        "time",
        model=model.path,
        reference=None if reference is None else reference.path,
        larger={name: (each.path, EVER_MS) for name, each in larger.items()},
        seconds=seconds,
        min_samples=5,
        describe=False,
        warm=True,
    )
