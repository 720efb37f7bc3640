"""The benches of a recipe's targets, or one of each for each precision to choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nas.errors import TargetError
from nas.hardware.bench import Bench
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices.device import Device, why_not_measured
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import PoolBench, bench_on
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.values.metric import bare_name, target_in
from nas.values.objective import measured_metrics
from nas.values.target import Target


def benches_of(
    recipe: Recipe,
    given: Mapping[str, Bench],
    progress: Progress,
    device_of: Callable[[Target], Device],
    *,
    metrics: Sequence[str] | None = None,
    settings: BenchSettings | None = None,
) -> dict[str, Bench]:
    """Return the bench of each of the recipe's ``measured_targets``, by the same names.

    Those of ``given`` need not be opened. They measure ``metrics``, by default those that the recipe asks for.
    ``settings`` take the place of the recipe's.

    Raises:
        TargetError: a device cannot measure in one of the precisions, or by a metric that is asked for.
        RecipeError: a target names no device that was added.
    """
    for each in recipe.measured_targets.values() if not given and recipe.precisions else ():
        _check_precision(each, device_of(each))
    benches = {
        name: given.get(name) or device_bench(recipe, progress, each, settings, device_of(each))
        for name, each in recipe.measured_targets.items()
    }
    asked = metrics or measured_metrics(recipe.parsed_objectives, recipe.parsed_limits)
    for name, bench in benches.items():
        bench.check([bare_name(each) for each in asked if target_in(each) == target_in(name)])
    return benches


def _check_precision(target: Target, device: Device) -> None:
    """Check that a target measures in the precision that it got to choose from. Raises TargetError."""
    reason = why_not_measured(target, device)
    plain = replace(target, precision="fp32")
    if reason is not None and why_not_measured(plain, device) is not None:
        raise TargetError(reason)
    if reason is not None:
        raise TargetError(
            f"each of the precisions must run on the target, but {target.precision} does not run on {plain} here. "
            f"Leave it out. The runtime says: {reason}"
        )


def device_bench(
    recipe: Recipe,
    progress: Progress,
    target: Target | None = None,
    settings: BenchSettings | None = None,
    device: Device | None = None,
) -> DeviceBench | PoolBench:
    """Return the bench of the recipe's target, or another.

    ``settings`` take the place of the recipe's. Without a ``device`` it is that of this machine.
    """
    return bench_on(
        target or recipe.parsed_target,
        settings or BenchSettings(**recipe.measuring.bench_settings),
        meter=recipe.energy.meter_settings,
        say=progress.say,
        device=device,
    )
