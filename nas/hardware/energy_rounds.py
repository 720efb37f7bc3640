"""Energies of several models: one window of inferences in each round, in random order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nas.errors import CandidateError
from nas.hardware.bench import Outcome
from nas.hardware.cooling import Cooling
from nas.hardware.devices.device import Device
from nas.hardware.runtimes.runtime import Deployed
from nas.values.measurement import Measurement
from nas.values.target import Target

ENERGY_ROUNDS = 3
ENERGY_TIMEOUT_S = 120.0
"""Extra time for windows that slow meters lengthen, and for the idle window before them."""


def add_energies(
    outcomes: Sequence[Outcome],
    models: Sequence[Deployed],
    device: Device,
    target: Target,
    meter: Mapping[str, Any],
    timeout_s: float,
    rng: np.random.Generator,
    cooling: Cooling,
    in_time: Callable[[], bool],
) -> list[Outcome]:
    """Return the outcomes with the energy of one inference added. A model that failed before is not metered.

    ``meter`` are the settings of ``energy.choosing.meter_from``. Each round has a process of its own, and
    ``timeout_s`` is the time limit of a model in addition to ``ENERGY_TIMEOUT_S``. The device cools down before each
    round by ``cooling``, as long as ``in_time`` returns True: a hot one leaks more current.

    Raises:
        TargetError: the meter cannot be used, or the target cannot be measured on the device.
    """
    results = list(outcomes)
    rounds: list[list[tuple[float, ...]]] = [[] for _ in models]
    conditions: list[dict[str, Any]] = [{} for _ in models]
    warm = [""] * len(models)
    for _ in range(ENERGY_ROUNDS):
        pending = [index for index, known in enumerate(results) if not isinstance(known, CandidateError)]
        with device.process(target, timeout_s) as process:
            cooling.before_session(process, in_time)
            for index in rng.permutation(pending).tolist():
                cooling.between_models(process, in_time)
                try:
                    reply = process.ask(
                        "energy",
                        timeout_s=timeout_s + ENERGY_TIMEOUT_S,
                        model=models[index].path,
                        meter=meter,
                    )
                except CandidateError as error:
                    results[index] = error
                else:
                    rounds[index].append((float(reply["energy_mj"]),))
                    conditions[index] = {**process.conditions, **reply["conditions"]}
                    warm[index] = cooling.doubt or warm[index]
    for index, known in enumerate(results):
        if rounds[index] and not isinstance(known, CandidateError):
            flags = tuple(filter(None, [warm[index]]))
            energy = Measurement("energy_mj", str(target), tuple(rounds[index]), conditions[index], flags)
            results[index] = {**known, energy.metric: energy}
    return results
