"""Which runtimes and energy meters this machine has, and why it lacks the others."""

from __future__ import annotations

from dataclasses import dataclass

from nas.errors import RecipeError
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.metering import NoMeter
from nas.hardware.runtimes.runtime import load_runtime
from nas.space.plug_ins import plug_in_names
from nas.values.target import PRECISIONS, Target


@dataclass(frozen=True)
class Available:
    """What a runtime or a kind of meter offers here: ``offers``, or the reason ``why_not``."""

    name: str
    offers: tuple[str, ...] = ()
    why_not: str | None = None

    @property
    def text(self) -> str:
        """What it offers, or why it does not, for people."""
        return ", ".join(self.offers) if self.why_not is None else f"not here: {self.why_not}"


def runtimes_here() -> list[Available]:
    """Return each registered runtime with the precisions that can be measured here, or the reason why none can."""
    return [_runtime(name) for name in plug_in_names("nas.runtimes")]


def meters_here() -> list[Available]:
    """Return the energy meters of the processor and the GPU, each with its name or the reason why there is none."""
    found = []
    for device, settings in (("processor", {"kind": "auto"}), ("GPU", {"kind": "auto", "gpu": 0})):
        meter = meter_from(settings)
        found.append(
            Available(device, why_not=meter.reason) if isinstance(meter, NoMeter) else Available(device, (meter.name,))
        )
    return found


def _runtime(name: str) -> Available:
    try:
        runtime = load_runtime(name)
    except RecipeError as error:  # of another package, which hides no other
        return Available(name, why_not=str(error))
    targets = [Target(name, each) for each in PRECISIONS]
    reasons = {each: runtime.why_unavailable(each) or runtime.why_not_converted(each) for each in targets}
    available = tuple(target.precision for target, reason in reasons.items() if reason is None)
    if available:
        return Available(name, available)
    first, reason = next(iter(reasons.items()))
    told = str(reason)
    # The runtime's name stands in the first column already.
    return Available(name, why_not="it " + told.removeprefix(f"{first} ") if told.startswith(f"{first} ") else told)
