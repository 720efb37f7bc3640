"""A target's profile on this machine, measured once and kept: its hardware, reference speed and peaks."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import CandidateError, TargetError
from nas.hardware.machine import cache_bytes, machine_id, memory_bytes
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import Deployed, load_runtime
from nas.space.signature import TensorType, image_inputs
from nas.storage.home import home
from nas.storage.journal import write_aside
from nas.values.target import Target

BUSY_SHARE = 0.1
"""A round is repeated when the measuring process waited for a processor for more than this share of it."""
ROUND_REPEATS = 2
TIMEOUT_S = 120.0
DEPLOY_TIMEOUT_S = 900.0
MIN_STREAM_BYTES, MAX_STREAM_BYTES = 64 * 2**20, 512 * 2**20
L2_BYTES = 2 * 2**20
"""The size of a second-level cache where the system does not tell it."""
PROFILE = "profile.json"
LEFTOVER_S = 3600.0
"""The age of an unfinished profile after which nobody can still be measuring it."""
DIGEST = "reference_sha256"


@dataclass(frozen=True)
class ProfileSettings:
    """The effort of measuring a profile.

    The reference model runs for ``reference_seconds`` in each of ``rounds`` processes, and each probe runs for
    ``probe_seconds``. A profile is kept unless a process waited for its core for more than ``busy_share`` of a round.
    The memory probe moves at most ``max_stream_bytes`` each way. If that fits into a cache, it measures the cache.
    """

    rounds: int = 7
    reference_seconds: float = 0.2
    probe_seconds: float = 0.3
    busy_share: float = BUSY_SHARE
    max_stream_bytes: int = MAX_STREAM_BYTES


@dataclass(frozen=True)
class TargetProfile:
    """A target's hardware and versions, and its speed when it was first used here.

    ``fingerprint`` identifies target, hardware and versions together: measurements with the same one compare.
    ``reference`` is the deployed reference model, and ``reference_ms`` its latency at the time ``recorded``. So is
    ``large_reference``, whose weights do not fit a core's own cache; it is None if the runtime refuses it. The peaks
    are the highest rates of the target's runtime at its precision and threads. They are None where the runtime refuses
    the probes, and ``why_no_peaks`` says why. ``cache_bandwidth_bytes_per_s`` bounds models that fit into the largest
    cache: their weights are still there at the next inference.
    """

    fingerprint: str
    target: str
    hardware: Mapping[str, Any]
    reference: Path
    reference_ms: float
    recorded: str
    large_reference: Path | None
    large_reference_ms: float | None
    peak_macs_per_s: float | None = None
    bandwidth_bytes_per_s: float | None = None
    cache_bandwidth_bytes_per_s: float | None = None
    why_no_peaks: str = ""

    @property
    def references(self) -> tuple[Path, ...]:
        """The deployed reference models."""
        return (self.reference, *(() if self.large_reference is None else (self.large_reference,)))

    @property
    def ridge_macs_per_byte(self) -> float | None:
        """The arithmetic intensity above which computation is the bound, and below which memory is."""
        if self.peak_macs_per_s is None or self.bandwidth_bytes_per_s is None:
            return None
        return self.peak_macs_per_s / self.bandwidth_bytes_per_s


def profile_of(
    target: Target,
    say: Callable[[str], None] = lambda text: None,
    *,
    renew: bool = False,
    settings: ProfileSettings = ProfileSettings(),
) -> TargetProfile:
    """Return the profile of ``target`` on this machine. A new one takes about ten seconds to measure.

    Nothing else should run meanwhile. A profile from a busy machine is used but not kept. ``renew`` measures it again.

    Raises:
        TargetError: the target cannot be measured here.
    """
    single = replace(target, batch=1)
    with MeasuringProcess(single, TIMEOUT_S) as process:
        hardware = hardware_of(process.conditions)
    fingerprint = fingerprint_of(target, hardware)
    folder = home() / "targets" / fingerprint_of(single, hardware)
    _remove_leftovers(folder.parent)
    if not renew:
        known = _read(folder, fingerprint)
        if known is not None:
            return known
    say(f"measuring the reference speed and peaks of {single}, once for this machine")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        profile, busy = _find(single, hardware, made, settings)
        if busy:
            say("the machine was busy, so the reference speed is doubtful and will be measured again next time")
        else:
            write_aside(made / PROFILE, _to_json(profile, made))
        kept = _put_in_place(made, folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    large = profile.large_reference
    return replace(
        profile,
        fingerprint=fingerprint,
        reference=kept / profile.reference.relative_to(made),
        large_reference=None if large is None else kept / large.relative_to(made),
    )


def _remove_leftovers(targets: Path) -> None:
    """Remove the folders of profiles that killed processes did not finish."""
    for pattern in (".new-*", ".old-*"):
        for path in targets.glob(pattern):
            with contextlib.suppress(OSError):  # another process may be removing it too
                if time.time() - path.stat().st_mtime > LEFTOVER_S:
                    shutil.rmtree(path)


def hardware_of(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a measuring process's conditions, and of this machine, that latencies depend on."""
    parts = ("processor", "cores", "runtime", "threads", "governor", "device")
    return {
        **{name: conditions[name] for name in parts if name in conditions},
        "architecture": platform.machine(),
        "memory_bytes": memory_bytes(),
        "cache_bytes": dict(cache_bytes()),
        "machine": machine_id(),
        "exporter": [f"{name} {version(name)}" for name in ("torch", "onnxscript")],  # they shape the exported models
    }


def fingerprint_of(target: Target, hardware: Mapping[str, Any]) -> str:
    """Return a short hash of a target and its hardware."""
    text = json.dumps([str(target), hardware], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _find(
    target: Target, hardware: Mapping[str, Any], folder: Path, settings: ProfileSettings
) -> tuple[TargetProfile, bool]:
    from nas.hardware.reference_models import REFERENCE_SHAPE, large_reference_model, reference_model

    inputs = image_inputs(REFERENCE_SHAPE)

    try:
        with MeasuringProcess(target, TIMEOUT_S) as process:
            deployed = [_deploy(process, target, reference_model(), inputs, folder / "reference")]
            with contextlib.suppress(CandidateError):  # then the small one alone corrects latencies
                large = _deploy(process, target, large_reference_model(), inputs, folder / "large")
                _time(process, large, 0.0)  # some runtimes refuse a model only when they open it
                deployed.append(large)
        (reference_ms, *large_ms), busy = _speeds(target, deployed, settings)
    except CandidateError as error:
        raise TargetError(f"{target} must run its reference model, but: {error}") from error
    peaks = _peaks(target, folder / "probes", settings)
    shutil.rmtree(folder / "probes", ignore_errors=True)
    profile = TargetProfile(
        fingerprint=fingerprint_of(target, hardware),
        target=str(target),
        hardware=hardware,
        reference=deployed[0].path,
        reference_ms=reference_ms,
        recorded=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        large_reference=deployed[1].path if large_ms else None,
        large_reference_ms=large_ms[0] if large_ms else None,
        **peaks,
    )
    return profile, busy


def _speeds(target: Target, models: Sequence[Deployed], settings: ProfileSettings) -> tuple[list[float], bool]:
    """Return the models' median latencies over fresh processes, and whether the machine was busy meanwhile."""
    rounds, busy = [], False
    for _ in range(settings.rounds):
        for _ in range(1 + ROUND_REPEATS):
            with MeasuringProcess(target, TIMEOUT_S) as process:
                replies = [_time(process, model, settings.reference_seconds) for model in models]
            if max(reply["pressure"] or 0.0 for reply in replies) <= settings.busy_share:
                break
        else:
            busy = True
        rounds.append([float(np.median(reply["samples"])) for reply in replies])
    return np.median(rounds, axis=0).tolist(), busy


def _peaks(target: Target, folder: Path, settings: ProfileSettings) -> dict[str, Any]:
    """Measure the roofline's two peaks in this runtime (Williams et al., "Roofline", 2009)."""
    from nas.hardware.reference_models import cached_probe, multiplying_probes, streaming_probe

    caches = cache_bytes()
    stream_bytes = min(max(2 * max(caches.values(), default=0), MIN_STREAM_BYTES), settings.max_stream_bytes)
    whole = replace(target, precision="fp32")  # memory bandwidth does not depend on precision
    streaming = whole if load_runtime(target.runtime, target.options).why_unavailable(whole) is None else target
    probes = [(target, probe) for probe in multiplying_probes()]
    probes += [(streaming, streaming_probe(stream_bytes)), (streaming, cached_probe(caches.get("L2", L2_BYTES) // 2))]
    rates = [0.0] * len(probes)
    try:
        for one in dict.fromkeys(probed for probed, _ in probes):
            numbers = [number for number, (probed, _) in enumerate(probes) if probed == one]
            deployed = []
            with MeasuringProcess(one, TIMEOUT_S) as process:
                for number in numbers:
                    probe = probes[number][1]
                    deployed.append(
                        _deploy(process, one, probe.module, image_inputs(probe.input_shape), folder / str(number))
                    )
            with MeasuringProcess(one, TIMEOUT_S) as process:
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


def _deploy(
    process: MeasuringProcess, target: Target, module: Any, inputs: Sequence[TensorType], folder: Path
) -> Deployed:
    from nas.formats.export import export_model

    folder.mkdir(parents=True)
    (folder / "deployed").mkdir()
    exported = folder / "exported"
    export_model(module, inputs, 1, exported, load_runtime(target.runtime, target.options).model_format)
    return process.deploy(exported, None, folder / "deployed", DEPLOY_TIMEOUT_S)


def _time(process: MeasuringProcess, model: Deployed, seconds: float) -> dict[str, Any]:
    return process.ask("time", model=str(model.path), reference=None, seconds=seconds, min_samples=5, describe=False)


def _put_in_place(made: Path, folder: Path) -> Path:
    """Move a finished profile's folder to its final name. Another process may still read the older one there."""
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
        os.replace(folder, old / "profile")
        os.replace(made, folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(made, folder)
    return folder


def _to_json(profile: TargetProfile, folder: Path) -> bytes:
    values = {**asdict(profile), "reference": profile.reference.relative_to(folder).as_posix()}
    if profile.large_reference is not None:
        values["large_reference"] = profile.large_reference.relative_to(folder).as_posix()
    values[DIGEST] = _digest(profile.references)
    return (json.dumps(values, indent=2) + "\n").encode()


def _read(folder: Path, fingerprint: str) -> TargetProfile | None:
    """Return the kept profile, or None if there is none, it is damaged, or an older version wrote it.

    It is then measured again.
    """
    try:
        values = json.loads((folder / PROFILE).read_text(encoding="utf-8"))
        digest = values.pop(DIGEST)
        paths = {key: folder / values[key] for key in ("reference", "large_reference") if values[key] is not None}
        profile = TargetProfile(**{**values, **paths, "fingerprint": fingerprint})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    inside = folder.resolve()
    if not all(path.exists() and path.resolve().is_relative_to(inside) for path in paths.values()):
        return None
    return profile if _is_sound(profile) and digest == _digest(profile.references) else None


def _is_sound(profile: TargetProfile) -> bool:
    """Return True if all values of a profile that was read are of the kinds that they should be."""
    peaks = [rate for rate in (profile.peak_macs_per_s, profile.bandwidth_bytes_per_s) if rate is not None]
    others = (profile.large_reference_ms, profile.cache_bandwidth_bytes_per_s)
    rates = [profile.reference_ms, *peaks, *(rate for rate in others if rate is not None)]
    texts = (profile.target, profile.recorded, profile.why_no_peaks)
    return (
        all(isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate < math.inf for rate in rates)
        and all(isinstance(text, str) for text in texts)
        and isinstance(profile.hardware, Mapping)
        and isinstance(profile.reference, Path)
        and (profile.large_reference is None) == (profile.large_reference_ms is None)
        and len(peaks) != 1
    )


def _digest(references: Iterable[Path]) -> str:
    """Return a hash of the reference models, each a file, or a folder with its files."""
    found = hashlib.sha256()
    for reference in references:
        for file in sorted(reference.rglob("*")) if reference.is_dir() else [reference]:
            if file.is_file():
                found.update(file.relative_to(reference.parent).as_posix().encode())
                found.update(file.read_bytes())
    return found.hexdigest()
