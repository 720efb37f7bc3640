"""Tells by reference models and hardware whether the devices of a pool are alike, and what they have in common."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.errors import TargetError
from nas.hardware.target_profile import TargetProfile, fingerprint_of
from nas.values.target import Target

ALIKE = {"reference_ms": 0.05, "medium_reference_ms": 0.1, "large_reference_ms": 0.1}
"""The largest share by which a reference speed of one device may differ from the median of its pool.

Latencies are corrected for it, as they are for a drift. What a model responds otherwise than a reference is left.
"""
KIND = ("processor", "cores", "architecture", "runtime", "threads", "governor")
"""The parts of the hardware and the versions in which the devices of a pool must agree."""


def common_profile(pool: str, profiles: Mapping[str, TargetProfile]) -> TargetProfile:
    """Return the ``median_profile`` of a pool's devices. Raises TargetError if they are not alike."""
    common = median_profile(profiles)
    for name, profile in profiles.items():
        if reason := why_unlike(name, profile, pool, common):
            raise TargetError(reason)
    return common


def median_profile(profiles: Mapping[str, TargetProfile]) -> TargetProfile:
    """Return a profile with the median reference speeds of devices, given by name.

    Speeds that are doubtful count only where there are no others.
    """
    every = list(profiles.values())
    small = [each for each in every if not each.doubtful] or every
    larger = [each for each in every if each.is_sound] or small
    medians: dict[str, Any] = {
        name: _median([getattr(each, name) for each in (small if name == "reference_ms" else larger)]) for name in ALIKE
    }
    return replace(larger[0], **medians)


def alike(profiles: Mapping[str, TargetProfile], common: TargetProfile) -> dict[str, TargetProfile]:
    """Return those of the devices, given by name, that are like a pool."""
    return {name: profile for name, profile in profiles.items() if not why_unlike(name, profile, "", common)}


def why_unlike(name: str, profile: TargetProfile, pool: str, common: TargetProfile) -> str:
    """Return how a device differs from its pool too much, with the figures; empty if it is alike.

    Speeds that are doubtful tell nothing.
    """
    differences = [
        f"{part} {_text(profile.hardware.get(part))}, not {_text(common.hardware.get(part))}"
        for part in KIND
        if profile.hardware.get(part) != common.hardware.get(part)
    ]
    for speed, most in ALIKE.items():
        own_ms, common_ms = getattr(profile, speed), getattr(common, speed)
        doubtful = (
            profile.doubtful
            or common.doubtful
            or (speed != "reference_ms" and not (profile.is_sound and common.is_sound))
        )
        if doubtful or own_ms is None or common_ms is None:
            continue
        if max(own_ms / common_ms, common_ms / own_ms) > 1 + most:
            model = speed.removesuffix("_ms").replace("_", " ")
            differences.append(f"the {model} model takes {own_ms:.3g} ms there, not {common_ms:.3g} ms")
    if not differences:
        return ""
    return (
        f"the devices of {pool} must be alike, but {name} differs: {'; '.join(differences)}. If something slows it "
        f"down, end that. Else take it out of the pool, and measure it as a target of its own, {name}/…"
    )


def with_speeds_of(common: TargetProfile, profile: TargetProfile) -> TargetProfile:
    """Return a device's profile with the reference speeds of its pool, unless its own are doubtful."""
    if profile.doubtful or common.doubtful:
        return profile
    known = {name: getattr(common, name) for name in ALIKE if getattr(profile, name) is not None}
    return replace(profile, **known)


def identity_of(target: Target, profile: TargetProfile) -> str:
    """Return an identifier of a target and the kind of its devices, whichever of them measures."""
    kind = {name: part for name, part in profile.hardware.items() if name not in ("machine", "memory_bytes")}
    return fingerprint_of(target, kind)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _text(value: Any) -> str:
    return "unknown" if value is None else str(value)
