"""Settings that find a target's profile in seconds."""

from __future__ import annotations

from nas.hardware.target_probing import ProfileSettings

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
