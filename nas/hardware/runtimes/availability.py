"""Which runtimes and energy meters this machine has, and why it lacks the others."""

from __future__ import annotations

from nas.errors import RecipeError
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.metering import NoMeter
from nas.hardware.runtimes.runtime import load_runtime
from nas.space.plug_ins import plug_in_names
from nas.values.target import PRECISIONS, Target


def runtimes_here() -> list[tuple[str, str]]:
    """Return each registered runtime with the precisions that can be measured here, or the reason why none can."""
    return [(name, _precisions_of(name)) for name in plug_in_names("nas.runtimes")]


def meters_here() -> list[tuple[str, str]]:
    """Return the energy meters of the processor and the GPU, each with its name or the reason why there is none."""
    found = []
    for device, settings in (("processor", {"kind": "auto"}), ("GPU", {"kind": "auto", "gpu": 0})):
        meter = meter_from(settings)
        found.append((f"energy, {device}", _not_here(meter.reason) if isinstance(meter, NoMeter) else meter.name))
    return found


def _precisions_of(name: str) -> str:
    try:
        runtime = load_runtime(name)
    except RecipeError as error:  # of another package, which hides no other
        return _not_here(str(error))
    targets = [Target(name, each) for each in PRECISIONS]
    reasons = {each: runtime.why_unavailable(each) or runtime.why_not_converted(each) for each in targets}
    available = [target.precision for target, reason in reasons.items() if reason is None]
    if available:
        return ", ".join(available)
    first, reason = next(iter(reasons.items()))
    told = str(reason)
    # The runtime's name stands in the first column already.
    return _not_here("it " + told.removeprefix(f"{first} ") if told.startswith(f"{first} ") else told)


def _not_here(reason: str) -> str:
    return f"not here: {reason}"
