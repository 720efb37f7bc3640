"""The device that a target names."""

from __future__ import annotations

from nas.hardware.devices.board import board_named
from nas.hardware.devices.device import Device
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.devices.registry import known
from nas.values.target import Target


def device_of(target: Target) -> Device:
    """Return the device that a target names; this machine if it names none.

    Raises:
        RecipeError: no device of this name was added.
    """
    return board_named(known(target.device)) if target.device else LocalDevice()
