"""A target's profile on a machine: its hardware, reference speeds and peaks, as a value and as JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nas.hardware.devices.device import DeviceFacts
from nas.hardware.runtimes.runtime import load_runtime
from nas.values.target import Target

PROFILE = "profile.json"
LAYERS, LAYER_BYTES = {"medium": 4, "large": 8}, 2**20
"""The layers of the two larger reference models, and the bytes of each layer's weights."""
DIGEST = "reference_sha256"
REFERENCES = ("reference", "medium_reference", "large_reference")
MODELS = (*REFERENCES, "beside")
"""The fields of the reference models, and of all models that are kept with a profile."""


@dataclass(frozen=True)
class TargetProfile:
    """A target's hardware and versions, and its speed when it was first used here.

    ``fingerprint`` identifies target, hardware and versions together: measurements with the same one compare.
    ``reference`` is the deployed reference model, and ``reference_ms`` its latency at the time ``recorded``, read by
    ``clock``. So are ``medium_reference`` and ``large_reference``, whose weights do not fit a core's own cache; both
    are None if the runtime refuses one. ``beside`` is the model between whose blocks they were read; None if that was
    the reference itself. ``doubtful`` says why the speeds cannot be trusted, and ``large_doubtful`` why those of the
    two larger ones alone cannot; both are empty if they can. ``reference_doubt`` and ``larger_doubt`` are halves of 95
    % intervals of these speeds, as logarithms.

    The peaks are the highest rates of the target's runtime at its precision and threads. They are None where the
    runtime refuses the probes, and ``why_no_peaks`` says why. ``cache_bandwidth_bytes_per_s`` bounds models that fit
    into the largest cache: their weights are still there at the next inference.
    """

    fingerprint: str
    target: str
    hardware: Mapping[str, Any]
    reference: Path
    reference_ms: float
    recorded: str
    medium_reference: Path | None
    medium_reference_ms: float | None
    large_reference: Path | None
    large_reference_ms: float | None
    clock: str
    doubtful: str
    large_doubtful: str
    peak_macs_per_s: float | None = None
    bandwidth_bytes_per_s: float | None = None
    cache_bandwidth_bytes_per_s: float | None = None
    why_no_peaks: str = ""
    beside: Path | None = None
    reference_doubt: float = 0.0
    larger_doubt: float = 0.0

    @property
    def references(self) -> tuple[Path, ...]:
        """The deployed models that are kept with the profile."""
        return tuple(path for path in (getattr(self, name) for name in MODELS) if path is not None)

    def larger_ms(self, name: str) -> float | None:
        """Return the latency of the ``medium`` or the ``large`` reference, if that can be trusted."""
        return getattr(self, f"{name}_reference_ms") if self.is_sound else None

    @property
    def told_with_latencies(self) -> dict[str, Any]:
        """The reference speeds and the roofline's peaks, which are recorded with each latency."""
        return {
            "reference_ms": self.reference_ms,
            "large_reference_ms": self.large_reference_ms,
            "reference_recorded": self.recorded,
            "peak_macs_per_s": self.peak_macs_per_s,
            "bandwidth_bytes_per_s": self.bandwidth_bytes_per_s,
            "cache_bandwidth_bytes_per_s": self.cache_bandwidth_bytes_per_s,
            "cache_bytes": max(self.hardware.get("cache_bytes", {}).values(), default=None),
        }

    @property
    def is_sound(self) -> bool:
        """True if nothing about the references' speeds is doubtful."""
        return not self.doubtful and not self.large_doubtful

    @property
    def ridge_macs_per_byte(self) -> float | None:
        """The arithmetic intensity above which computation is the bound, and below which memory is."""
        if self.peak_macs_per_s is None or self.bandwidth_bytes_per_s is None:
            return None
        return self.peak_macs_per_s / self.bandwidth_bytes_per_s


def hardware_of(conditions: Mapping[str, Any], facts: DeviceFacts) -> dict[str, Any]:
    """Return the parts of a measuring process's conditions, and of its device's facts, that latencies depend on."""
    parts = ("processor", "cores", "runtime", "threads", "governor", "device")
    return {
        **{name: conditions[name] for name in parts if name in conditions},
        "architecture": facts.architecture,
        "memory_bytes": facts.memory_bytes,
        "cache_bytes": dict(facts.cache_bytes),
        "machine": facts.machine_id,
        "exporter": [f"{name} {version(name)}" for name in ("torch", "onnxscript")],  # they shape the exported models
    }


def fingerprint_of(target: Target, hardware: Mapping[str, Any]) -> str:
    """Return a short hash of a target, its hardware, and how models are converted for it if that has changed."""
    changed = load_runtime(target.runtime, target.options).conversions.get(target.precision)
    identity = [str(target), hardware, *([] if changed is None else [changed])]
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_json(profile: TargetProfile, folder: Path) -> bytes:
    """Return a profile as JSON; the paths of its reference models are relative to ``folder``."""
    values = asdict(profile)
    values |= {name: values[name].relative_to(folder).as_posix() for name in MODELS if values[name] is not None}
    values[DIGEST] = _digest(profile.references)
    return (json.dumps(values, indent=2) + "\n").encode()


def read_profile(folder: Path, fingerprint: str) -> TargetProfile | None:
    """Return the kept profile, or None if there is none, it is damaged, or an older version wrote it.

    It is then measured again.
    """
    try:
        values = json.loads((folder / PROFILE).read_text(encoding="utf-8"))
        digest = values.pop(DIGEST)
        paths = {key: folder / values[key] for key in MODELS if values.get(key) is not None}
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
    others = [*(getattr(profile, f"{name}_ms") for name in REFERENCES[1:]), profile.cache_bandwidth_bytes_per_s]
    rates = [profile.reference_ms, *peaks, *(rate for rate in others if rate is not None)]
    doubts = profile.why_no_peaks, profile.doubtful, profile.large_doubtful
    texts = (profile.target, profile.recorded, profile.clock, *doubts)
    wide = profile.reference_doubt, profile.larger_doubt
    return (
        all(isinstance(each, int | float) and not isinstance(each, bool) and 0 <= each < math.inf for each in wide)
        and all(isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate < math.inf for rate in rates)
        and all(isinstance(text, str) for text in texts)
        and isinstance(profile.hardware, Mapping)
        and isinstance(profile.reference, Path)
        and len({getattr(profile, f"{name}{unit}") is None for name in REFERENCES[1:] for unit in ("", "_ms")}) == 1
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
