"""The profiles that other runs took on a target, from which a run learns before its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nas.hardware.bench import target_part
from nas.space.architecture import Architecture
from nas.space.description import Describer
from nas.storage.measurement_store import MeasurementStore
from nas.values.profiled_network import LATENCY, ProfiledNetwork


def earlier_profiles(
    store: MeasurementStore, fingerprint: str | None, identity: str, space: Describer, *, before: float
) -> list[ProfiledNetwork]:
    """Return networks that were profiled on the target of a bench with this ``fingerprint`` before a time.

    ``before`` is in seconds since 1970; with the time at which a run began, a resumed run learns from the same ones.
    There are none for a bench whose measurements are not kept, or where the precision is a choice. ``identity`` is the
    ``space_identity`` of the space.

    Raises:
        TargetError: the store's file is none of this program.
    """
    if fingerprint is None or space.chooses_precision or math.isnan(before):
        return []
    return store.profiled(LATENCY, target_part(fingerprint), identity, before=before)


def apart_from(
    networks: Sequence[ProfiledNetwork], space: Describer, architectures: Iterable[Architecture]
) -> list[ProfiledNetwork]:
    """Return the networks of other runs that are none of these architectures, and have the layers of none.

    So a measured architecture tells nothing of itself where it is predicted as one that was not measured.
    """
    if not networks:
        return []
    measured = set(architectures)
    layers = {space.layers(each) for each in measured}
    return [each for each in networks if each.architecture not in measured and each.layers not in layers]
