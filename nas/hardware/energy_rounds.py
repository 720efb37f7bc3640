"""Energies of several models: one window of inferences in each round, in random order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.errors import CandidateError
from nas.hardware.bench import Outcome
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
) -> list[Outcome]:
    """Return the outcomes with the energy of one inference added. A model that failed before is not metered.

    ``meter`` are the settings of ``energy.choosing.meter_from``. Each round has a process of its own, and
    ``timeout_s`` is the time limit of a model in addition to ``ENERGY_TIMEOUT_S``.

    Raises:
        TargetError: the meter cannot be used, or the target cannot be measured on the device.
    """
    results = list(outcomes)
    rounds: list[list[tuple[float, ...]]] = [[] for _ in models]
    conditions: list[dict[str, Any]] = [{} for _ in models]
    for _ in range(ENERGY_ROUNDS):
        pending = [index for index, known in enumerate(results) if not isinstance(known, CandidateError)]
        with device.process(target, timeout_s) as process:
            for index in rng.permutation(pending).tolist():
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
    return [
        _added(known, Measurement("energy_mj", str(target), tuple(rounds[i]), conditions[i])) if rounds[i] else known
        for i, known in enumerate(results)
    ]


def _added(known: Outcome, found: Measurement) -> Outcome:
    return known if isinstance(known, CandidateError) else {**known, found.metric: found}
