"""The device on which this program runs."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, final

from nas.errors import TargetError
from nas.hardware.devices.device import DeviceFacts
from nas.hardware.devices.device_lock import holding_the_device
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.metering import NoMeter
from nas.hardware.machine import (
    cache_bytes,
    machine_id,
    memory_bytes,
    processor_name,
    products_of_bytes_overflow,
    usable_cores,
)
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import load_runtime
from nas.values.target import Target


@final
class LocalDevice:
    """This machine."""

    name = "this machine"

    @cached_property
    def facts(self) -> DeviceFacts:
        """What it is; the cores are those that this process may keep busy."""
        return DeviceFacts(
            processor=processor_name(),
            architecture=platform.machine(),
            system=platform.platform(),
            cores=usable_cores(),
            memory_bytes=memory_bytes(),
            cache_bytes=cache_bytes(),
            machine_id=machine_id(),
            adds_bytes_in_16_bits=products_of_bytes_overflow(),
        )

    def why_unavailable(self, target: Target) -> str | None:
        """Return why a target cannot be measured here, or None if it can. Raises RecipeError for an unknown runtime."""
        reason = load_runtime(target.runtime, target.options).why_unavailable(target)
        cores = self.facts.cores
        if reason is None and target.threads > cores:
            return (
                f"threads must be at most the {cores} core{'s' * (cores != 1)} that this process may use, "
                f"but {target} has {target.threads}."
            )
        return reason

    def why_no_meter(self, meter: Mapping[str, Any]) -> str | None:
        """Return why this machine has no energy meter of these settings, or None if it has one."""
        found = meter_from(meter)
        if isinstance(found, NoMeter):
            return found.reason
        program, *_ = meter.get("command") or [sys.executable]
        if shutil.which(program) is None:
            raise TargetError(f"a meter's command must be a program that can be started, but there is no {program!r}.")
        return None

    def leased(self, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """Wait until no other measurement runs on this machine, and then make others wait."""
        return holding_the_device(say)

    def process(self, target: Target, timeout_s: float, *, pinned: bool = True) -> MeasuringProcess:
        """Return a process of this machine. Files are read where they are."""
        return MeasuringProcess(target, timeout_s, pinned=pinned)
