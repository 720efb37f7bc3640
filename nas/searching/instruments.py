"""What a run measures with: its bench, its device and its clocks, which tests replace."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nas.hardware.bench import Bench
from nas.hardware.devices.device import Device
from nas.hardware.devices.named import device_of
from nas.recipe.recipe import Recipe
from nas.values.target import Target

Clock = Callable[[], float]


@dataclass(frozen=True)
class Instruments:
    """The bench, the device and the clocks of a run; tests replace them. Without a bench it is the device's.

    Without a device it is the one that the target names.

    ``benches`` has one for each of the recipe's ``measured_targets``, where these are several.
    ``clock`` dates the rows. ``stopwatch`` takes durations: setting the system's clock must not end trainings.
    ``looks_apart`` lets a user's own space first run in a process of its own.
    """

    bench: Bench | None = None
    benches: Mapping[str, Bench] = field(default_factory=dict, repr=False)
    device: Device | None = field(default=None, repr=False)
    looks_apart: bool = True
    clock: Clock = field(default=time.time)
    stopwatch: Clock = field(default=time.monotonic)

    def device_of(self, target: Target) -> Device:
        """The device that measures on a target. Raises RecipeError if the target names none that was added."""
        return self.device or device_of(target)

    def given_benches(self, recipe: Recipe) -> Mapping[str, Bench]:
        """The benches that take the place of the device's, by the names of ``measured_targets``."""
        return {next(iter(recipe.measured_targets)): self.bench} if self.bench is not None else self.benches
