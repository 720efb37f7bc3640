"""A target's profile in seconds."""

from __future__ import annotations

from nas.hardware.devices.device import Device
from nas.hardware.kept_profiles import FAILED_TRY, profile_of
from nas.hardware.target_probing import ProfileSettings
from nas.hardware.target_profile import PROFILE, TargetProfile
from nas.values.target import Target

QUICK_PROFILE = ProfileSettings(
    rounds=2,
    reference_seconds=0.05,
    probe_seconds=0.05,
    busy_share=float("inf"),
    others_busy=float("inf"),
    unsteady=float("inf"),
    max_stream_bytes=2**24,
)
"""Finds a profile in seconds, and keeps it on a busy machine too: tests compare nothing with it."""


def known_profile(target: Target, device: Device | None = None) -> TargetProfile:
    """Return a quick profile of ``target``, which is used for an hour from now on."""
    return used_for_an_hour(profile_of(target, device=device, settings=QUICK_PROFILE))


def used_for_an_hour(profile: TargetProfile) -> TargetProfile:
    """Let the profile be used, however fast the machine turns out to be meanwhile.

    Else it would be measured again: thoroughly, in half a minute, and in minutes where models are compiled.
    """
    folder = next(folder for folder in profile.reference.parents if (folder / PROFILE).is_file())
    (folder / FAILED_TRY).touch()
    return profile
