"""The profiles of this machine's targets: each is measured when it is first needed, and kept."""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from nas.hardware.devices.device import Device
from nas.hardware.devices.named import device_of
from nas.hardware.target_probing import TIMEOUT_S, ProfileSettings, find_profile, speeds_now
from nas.hardware.target_profile import (
    MODELS,
    PROFILE,
    TargetProfile,
    fingerprint_of,
    hardware_of,
    read_profile,
    to_json,
)
from nas.storage.home import home
from nas.storage.journal import write_aside
from nas.values.target import Target

LEFTOVER_S = 3600.0
"""The age of an unfinished profile after which nobody can still be measuring it."""
DOUBTFUL_FOR_S, SOUND_FOR_S = 3600.0, 30 * 86400.0
"""The ages from which on a doubtful profile and a sound one are measured again."""
MUCH_CHANGED = 1.5
"""From this factor between the machine's speed and the recorded one on, the profile is measured again first."""
FASTER = 1.05
"""So it is where the machine runs any reference model faster by this factor.

Others that share its caches or its host only ever slow it down, and no clock of ours sees them. So the record is slow.
"""
FAILED_TRY = "failed_try"
"""A file beside a profile. It was written when a better profile was last tried for in vain."""
USUAL = ProfileSettings()


def profile_of(
    target: Target,
    say: Callable[[str], None] = lambda text: None,
    *,
    device: Device | None = None,
    renew: bool = False,
    settings: ProfileSettings = USUAL,
) -> TargetProfile:
    """Return the profile of ``target`` on a device, by default that of the target. A new one takes about ten seconds.

    A sound profile is kept for a month, unless the machine's speed has changed by ``MUCH_CHANGED``, or it is now
    ``FASTER``. A doubtful one, from a machine that was too busy, is kept for an hour, and does not take the place of a
    better one, nor does one that turns out no faster. After such a try the older profile is used for an hour. ``renew``
    measures the profile again.

    Raises:
        TargetError: the target cannot be measured there.
    """
    single, device = replace(target, batch=1), device or device_of(target)
    with device.process(single, TIMEOUT_S) as process:
        hardware = hardware_of(process.conditions, device.facts)
        fingerprint = fingerprint_of(target, hardware)
        folder = home() / "targets" / fingerprint_of(single, hardware)
        _remove_leftovers(folder.parent)
        known = read_profile(folder, fingerprint)
        factors: Mapping[str, float] = {}
        if known is None or renew:
            why = f"once for {device.name}"
        elif _has_just_failed(folder):
            why = ""
        else:
            why = _why_again(known)
            factors = {} if why else speeds_now(single, known, process)
            why = why or _why_too_different(known, factors)
        if known is not None and not why:
            return known
    say(f"measuring the reference speed and peaks of {single}, {why}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        profile = find_profile(single, device, hardware, made, settings)
        why_not = "" if known is None else _why_worse(profile, known, factors)
        if known is not None and why_not:
            say(f"{why_not}; that of {known.recorded} is used")
            (folder / FAILED_TRY).touch()
            shutil.rmtree(made)
            return known
        if not profile.is_sound:
            say(f"{_doubt_text(profile)}; it will be measured again in an hour")
        write_aside(made / PROFILE, to_json(profile, made))
        kept = _put_in_place(made, folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    paths = {name: getattr(profile, name) for name in MODELS}
    moved = {name: kept / path.relative_to(made) for name, path in paths.items() if path is not None}
    return replace(profile, fingerprint=fingerprint, **moved)


def _doubt_text(profile: TargetProfile) -> str:
    if profile.doubtful:
        return f"the reference speed is doubtful, because {profile.doubtful}"
    return f"the speeds of the two larger reference models are doubtful, because {profile.large_doubtful}"


def _doubts(profile: TargetProfile) -> int:
    """Return how doubtful a profile is: in nothing, in the larger references alone, or in all."""
    return bool(profile.doubtful) + bool(profile.large_doubtful)


def _has_just_failed(folder: Path) -> bool:
    """Return True if a better profile was tried for in vain within the last hour."""
    try:
        tried = (folder / FAILED_TRY).stat().st_mtime
    except FileNotFoundError:
        return False
    return abs(time.time() - tried) < DOUBTFUL_FOR_S  # a clock that was set back may leave a time in the future


def _why_again(profile: TargetProfile) -> str:
    """Return why a profile of this age is measured again, or nothing if it is not."""
    if not profile.is_sound:
        return f"because that of {profile.recorded} is doubtful" if age_s(profile) >= DOUBTFUL_FOR_S else ""
    return "" if age_s(profile) < SOUND_FOR_S else f"because that of {profile.recorded} is not of the last month"


def _why_too_different(profile: TargetProfile, factors: Mapping[str, float]) -> str:
    """Return by how much the machine's speed has changed if that is too much to count as drift, or nothing."""
    if not factors:
        return ""
    small = factors["reference"]
    fastest = min(factors.values())
    if small < MUCH_CHANGED and fastest > 1 / FASTER:
        return ""
    word, times = ("slower", small) if small >= MUCH_CHANGED else ("faster", 1 / fastest)
    return f"because the machine is {times:.3g} times {word} than on {profile.recorded}"


def _why_worse(profile: TargetProfile, known: TargetProfile, factors: Mapping[str, float]) -> str:
    """Return why a new profile does not take the place of the known one, or nothing if it does."""
    if not profile.is_sound and _doubts(profile) >= _doubts(known):
        return _doubt_text(profile)
    name = min(factors, key=lambda each: factors[each], default="")
    if not name or factors[name] > 1 / FASTER or factors["reference"] >= MUCH_CHANGED:
        return ""
    before_ms, now_ms = (getattr(each, f"{name}_ms") for each in (known, profile))
    if now_ms is None or now_ms * math.sqrt(FASTER) < before_ms:
        return ""
    return "the machine was faster for a moment only"


def age_s(profile: TargetProfile) -> float:
    """Return the seconds since a profile was recorded. It is infinite if that is not known, or lies in the future."""
    try:
        found = time.time() - datetime.datetime.fromisoformat(profile.recorded).timestamp()
    except ValueError:
        return math.inf
    return found if found > -DOUBTFUL_FOR_S else math.inf


def _remove_leftovers(targets: Path) -> None:
    """Remove the folders of profiles that killed processes did not finish."""
    for pattern in (".new-*", ".old-*"):
        for path in targets.glob(pattern):
            with contextlib.suppress(OSError):  # another process may be removing it too
                if time.time() - path.stat().st_mtime > LEFTOVER_S:
                    shutil.rmtree(path)


def _put_in_place(made: Path, folder: Path) -> Path:
    """Move a finished profile's folder to its final name. Another process may still read the older one there.

    Where several finish at once, the last one stays.
    """
    while True:
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
            with contextlib.suppress(FileNotFoundError):  # another process has moved it
                os.replace(folder, old / "profile")
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.replace(made, folder)
        except OSError:
            if not folder.exists():  # else another process has put its own there meanwhile
                raise
        else:
            return folder
