"""The protocol of a device: a machine that measures models. It tells its facts, is leased, and runs processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import load_runtime
from nas.values.target import Target


@dataclass(frozen=True)
class DeviceFacts:
    """What a machine is, as far as latencies depend on it.

    Attributes:
        processor: its name, as the system reports it.
        architecture: the kind of processor, such as ``x86_64``.
        system: the operating system with its version.
        cores: the number of cores that a measurement may use.
        memory_bytes: its main memory; None where that is unknown.
        cache_bytes: the sizes of the fastest core's data caches, such as ``{"L1": 49152}``; empty where unknown.
        machine_id: an identifier that tells it from others of its kind; None where it has none.
        adds_bytes_in_16_bits: True where products of bytes may overflow, so that weights of int8 keep to 7 bits.
        times_alone: True where nothing but the time of an inference can be read.
    """

    processor: str
    architecture: str
    system: str
    cores: int
    memory_bytes: int | None
    cache_bytes: Mapping[str, int]
    machine_id: str | None
    adds_bytes_in_16_bits: bool = False
    times_alone: bool = False


class Device(Protocol):
    """A machine that measures. Models are converted where the toolkits are, and opened on the device."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def facts(self) -> DeviceFacts:
        """What it is."""

    def why_unavailable(self, target: Target) -> str | None:
        """Return why a target cannot be measured there and what to do about it, or None if it can."""

    def why_no_meter(self, meter: Mapping[str, Any]) -> str | None:
        """Return why no energy meter of these settings is there, or None if one is.

        They are those of ``nas.hardware.energy.choosing.meter_from``, which says what it raises.
        """

    def leased(self, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """Hold the right to measure there, as soon as nobody else does. ``say`` hears of a wait."""

    def process(self, target: Target, timeout_s: float, *, pinned: bool = True) -> MeasuringProcess:
        """Return a process there that runs models on ``target``. Files that its requests name are brought there.

        Raises:
            TargetError: the target's runtime is not installed there.
        """


def why_not_measured(target: Target, device: Device) -> str | None:
    """Return why models cannot run on a device, or cannot be converted for it here, or None if both can be.

    Raises:
        RecipeError: the target's runtime is unknown.
    """
    return device.why_unavailable(target) or load_runtime(target.runtime, target.options).why_not_converted(target)
