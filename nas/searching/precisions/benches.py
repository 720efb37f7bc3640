"""The bench of a recipe's target, or one for each precision to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nas.errors import TargetError
from nas.hardware.bench import Bench
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices.device import Device, why_not_measured
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import PoolBench, bench_on
from nas.progress import Progress
from nas.recipe.recipe import Recipe
from nas.values.objective import measured_metrics
from nas.values.target import Target


def benches_of(
    recipe: Recipe,
    given: Mapping[str, Bench],
    progress: Progress,
    device: Device,
    *,
    metrics: Sequence[str] | None = None,
    settings: BenchSettings | None = None,
) -> dict[str, Bench]:
    """Return the bench of each precision by its name; one of the target's own where precision is no choice.

    Those of ``given`` need not be opened. They measure ``metrics``, by default those that the recipe asks for.
    ``settings`` take the place of the recipe's.

    Raises:
        TargetError: the device cannot measure in one of the precisions, or by a metric that is asked for.
    """
    target = recipe.parsed_target
    targets = recipe.targets or {target.precision: target}
    for each in recipe.targets.values():
        reason = None if given else why_not_measured(each, device)
        if reason is not None and why_not_measured(replace(each, precision="fp32"), device) is not None:
            raise TargetError(reason)
        if reason is not None:
            raise TargetError(
                f"each of the precisions must run on the target, but {each.precision} does not run on "
                f"{replace(target, precision='fp32')} here. Leave it out. The runtime says: {reason}"
            )
    benches = {
        name: given.get(name) or device_bench(recipe, progress, each, settings, device)
        for name, each in targets.items()
    }
    for bench in benches.values():
        bench.check(metrics or measured_metrics(recipe.parsed_objectives, recipe.parsed_limits))
    return benches


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
