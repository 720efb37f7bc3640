"""Which axis of an array of windows is that of the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FIRST, LAST = "channels-first", "channels-last"
LAYOUTS = ("auto", FIRST, LAST)
FEWEST_SAMPLES = 4
"""Windows of at most so many samples of more channels are taken for the other layout."""
SMOOTHER = 0.8
"""Time is the axis along which neighbours differ by less than this share of what they differ by along the other."""
LOOKED_AT = 256


def has_channels_last(windows: npt.NDArray[Any], layout: str) -> bool:
    """Return True if windows have the shape (N, samples, channels) instead of (N, channels, samples).

    "auto" asks the shape and the values: time is the longer axis, and neighbours in time are alike. Raises ValueError
    for another layout, or one of windows without an axis of channels.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, but got {layout!r}.")
    if layout == LAST and windows.ndim != 3:
        raise ValueError(f"{LAST} is the layout of (N, samples, channels), but windows have the shape {windows.shape}.")
    if layout != "auto" or windows.ndim != 3:
        return layout == LAST
    _, first, last = windows.shape
    if last >= first:
        return False
    few = windows[:LOOKED_AT].astype(np.float64)
    return last <= FEWEST_SAMPLES or _roughness(few, 1) < SMOOTHER * _roughness(few, 2)


def _roughness(windows: npt.NDArray[np.float64], axis: int) -> float:
    return float(np.abs(np.diff(windows, axis=axis)).mean())


def layout_notes(windows: npt.NDArray[Any], layout: str, *, channels_last: bool) -> list[str]:
    """Return a sentence about windows whose layout was found to be the less usual one."""
    if layout != "auto" or not channels_last:
        return []
    _, samples, channels = windows.shape
    return [
        f"windows of shape {windows.shape} are taken as {samples} samples of {channels} channels. If they are "
        f"{samples} channels of {channels} samples, set layout={FIRST}."
    ]
