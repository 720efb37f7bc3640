"""What disturbed a measurement, in words, and how much doubt it leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nas.hardware.runtimes.heat import DENIED, NOT_BY_HEAT
from nas.hardware.runtimes.neighbours import BUSY_SHARE, SLEEP_S
from nas.hardware.runtimes.stopwatch import COMPUTES_ELSEWHERE
from nas.hardware.target_profile import TargetProfile
from nas.values.measurement import THREAD

ROUND_REPEATS = 2
"""How many times a disturbed round is repeated at most."""
WARM_DOUBT, COLD_DOUBT = 0.02, 0.05
"""Half of a 95 % interval: how far the thread's clock is from an undisturbed run, if others have the core often.

``experiments.busy_desk`` measured it: for models with enough inferences with warm caches, and for others.
"""
OFTEN = 0.3
"""The share of the time for which other programs have the core from which on that doubt is whole."""

MUCH_DRIFT = 0.1
"""A measurement is flagged when the machine is slower or faster than recorded by more than this share."""
DOUBTFUL_REFERENCE = 0.05
"""Half of a 95 % interval: how far latencies that no reference corrects differ from those of an idle machine."""


def slept(reply: Mapping[str, Any]) -> bool:
    """Return True if the machine slept during a round."""
    return (reply["asleep_s"] or 0.0) > SLEEP_S


def clock_doubt(replies: Sequence[Mapping[str, Any]]) -> float:
    """Return half of a 95 % interval, in logarithms: what the thread's clock cannot see in these rounds."""
    doubts = [min(1.0, reply["waited"] / OFTEN) * (WARM_DOUBT if reply["is_warm"] else COLD_DOUBT) for reply in replies]
    return float(np.median(doubts))


def waited(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the conditions that tell for which share of the time other programs had the core, if the clocks differ."""
    if not any(reply["clock"] == THREAD for reply in replies):
        return {}
    share = float(np.median([reply["waited"] for reply in replies]))
    return {"waited_share": float(f"{share:.3g}"), "warm_caches": all(reply["is_warm"] for reply in replies)}


def is_disturbed(reply: Mapping[str, Any], busy_share: float = BUSY_SHARE) -> bool:
    """Return True for a round that no clock sees through.

    The machine slept, the host of a virtual machine took the core away, which the thread's clock counts, or other
    programs did while the wall clock alone could be read.
    """
    waits = reply["pressure"] if reply["why_wall"] else reply["stolen"]
    return slept(reply) or (waits or 0.0) > busy_share


def disturbances(replies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a doubt for each thing that disturbed the rounds of a model."""
    share = float(np.median([reply["waited"] for reply in replies]))
    if share > BUSY_SHARE:
        yield (
            "the machine was busy with other work while this was measured, for "
            f"{100 * share:.0f} % of the time, so the processor time of the thread counts"
        )
    elif any(is_disturbed(reply) and not slept(reply) for reply in replies):
        yield "the machine was busy with other work while this was measured"
    if any(slept(reply) for reply in replies):
        yield "the machine slept while this was measured"
    for name, what in (
        ("throttled", "the processor quota of this container stopped the measurement"),
        ("sibling_busy", "other programs used the other hyper-thread of the measured core"),
    ):
        share = float(np.median([reply[name] or 0.0 for reply in replies]))
        if share > BUSY_SHARE:
            yield f"{what} for {100 * share:.0f} % of the time"
    if any(reply["why_wall"] == COMPUTES_ELSEWHERE for reply in replies):
        yield COMPUTES_ELSEWHERE


def heat_of(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the conditions that tell of heat; none where nothing is known.

    ``temperature_c`` is the range of all sessions, and ``clock_cap_mhz`` the lowest clock to which the system capped
    the cores. ``held_down`` tells what held the clock down meanwhile, and ``held_down_before`` what had done so since
    the device was started.
    """
    heats = [reply.get("heat") or {} for reply in replies]
    temperatures = [each for heat in heats for each in heat.get("temperature_c", ())]
    caps = [cap for heat in heats for cap in heat.get("cap_mhz", ()) if cap is not None]
    held, before = (
        sorted({sign for heat in heats for sign in heat.get(name, ())}) for name in ("held_down", "held_down_before")
    )
    found = {
        "temperature_c": [min(temperatures), max(temperatures)] if temperatures else [],
        "clock_cap_mhz": min(caps, default=None),
        "held_down": held,
        "held_down_before": [sign for sign in before if sign not in held],
    }
    return {name: value for name, value in found.items() if value}


def heat_doubts(
    conditions: Mapping[str, Any], replies: Sequence[Mapping[str, Any]], *, is_sustained: bool = False
) -> Iterator[str]:
    """Yield a doubt for all that held the clock down, and for faster cores that the core mask denies.

    A cap on the clock that stays the same is how the device is set up. Only one that changed is a doubt. Where a
    latency ``is_sustained``, heat is what is looked for, and only what has other causes is a doubt.
    """
    heats = [reply.get("heat") or {} for reply in replies]
    for sign in conditions.get("held_down", ()):
        if is_sustained and sign not in NOT_BY_HEAT:
            continue
        share = sum(sign in heat.get("held_down", ()) for heat in heats)
        yield f"{sign} in {share} of {len(heats)} sessions"
    caps = {cap for heat in heats if "cap_mhz" in heat for cap in heat["cap_mhz"]}
    caps |= {None} if any("cap_mhz" not in heat for heat in heats) else set()
    if len(caps) > 1 and not is_sustained:
        yield f"the system capped the clock at {min(cap for cap in caps if cap is not None):.0f} MHz for a while"
    if conditions.get(DENIED):
        listed = ", ".join(map(str, conditions[DENIED]))
        yield f"the core mask of this process leaves out faster cores: {listed}"


def reference_flags(profile: TargetProfile, drift: float, otherwise: str) -> Iterator[str]:
    """Yield a doubt if latencies cannot be corrected to the recorded reference speed, or must be by a lot.

    ``otherwise`` says how latencies are corrected where the recorded speed is doubtful.
    """
    if profile.doubtful:
        yield f"the target's reference speed is doubtful, because {profile.doubtful}; so {otherwise}"
    elif abs(math.log(drift)) > MUCH_DRIFT:
        yield (
            f"the machine was {'slower' if drift > 1 else 'faster'} by {100 * abs(drift - 1):.0f} % "
            "than when the target's reference speed was recorded"
        )


def reference_doubt(profile: TargetProfile, of_larger: float = 0.0) -> float:
    """Return half of a 95 % interval, as a logarithm, of the reference speed that latencies are corrected to.

    ``of_larger`` is the part that a larger reference has in it.
    """
    return DOUBTFUL_REFERENCE if profile.doubtful else float(f"{math.hypot(profile.reference_doubt, of_larger):.3g}")
