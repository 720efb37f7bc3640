"""The devices whose speeds a pool's latencies are corrected to: they stay the same, whichever devices answer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.hardware.pool_likeness import ALIKE, alike, identity_of, median_profile
from nas.hardware.target_profile import TargetProfile
from nas.storage.home import home
from nas.storage.journal import write_aside
from nas.values.target import Target

TEXTS = ("recorded", "doubtful", "large_doubtful")


def reference_members(
    target: Target, pool: str, names: Sequence[str], found: Mapping[str, TargetProfile]
) -> dict[str, TargetProfile]:
    """Return the profiles, by device, whose median the latencies of a pool named ``pool`` are corrected to.

    ``names`` are those of its devices, and ``found`` has the profiles of those that answer.
    They are those of the last time, also of devices that do not answer now. They are chosen anew if one of them was
    measured again, if their speeds are doubtful while others are not, or if an answering device is not like them.
    Then all devices that answer count, and of the others those that are like these.
    """
    like = next(iter(found.values()))
    path = home() / "pools" / f"{pool}-{identity_of(target, like)}.json"
    kept = {name: profile for name, profile in _read(path, like).items() if name in names}
    if kept and not are_measured_again(kept, found):
        common, sound = median_profile(kept), median_profile(found).is_sound
        if len(alike(found, common)) == len(found) and common.is_sound >= sound:
            return kept
    absent = {name: profile for name, profile in kept.items() if name not in found}
    members = {**found, **alike(absent, median_profile(found))}
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {name: {key: getattr(members[name], key) for key in (*ALIKE, *TEXTS)} for name in sorted(members)}
    write_aside(path, (json.dumps(values, indent=2) + "\n").encode())
    return members


def are_measured_again(members: Mapping[str, TargetProfile], found: Mapping[str, TargetProfile]) -> bool:
    """Return True if the speeds of a member were recorded at another time than it tells now."""
    return any(profile.recorded != members[name].recorded for name, profile in found.items() if name in members)


def recorded_digest(members: Mapping[str, TargetProfile]) -> str:
    """Return a short hash of the times at which the speeds of all members were recorded."""
    recorded = "".join(sorted(profile.recorded for profile in members.values()))
    return hashlib.sha256(recorded.encode()).hexdigest()[:8]


def _read(path: Path, like: TargetProfile) -> dict[str, TargetProfile]:
    """Return kept speeds, as profiles ``like`` another; none if the file is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: replace(like, **each) for name, each in values.items() if _is_sound(each)}
    except (OSError, ValueError, AttributeError):
        return {}


def _is_sound(values: Any) -> bool:
    """Return True if the kept speeds of a device are of the kinds that they should be."""
    if not isinstance(values, dict) or values.keys() != {*ALIKE, *TEXTS}:
        return False
    speeds = [values[name] for name in ALIKE if name == "reference_ms" or values[name] is not None]
    return all(isinstance(values[name], str) for name in TEXTS) and all(
        isinstance(speed, int | float) and 0 < speed < math.inf for speed in speeds
    )
