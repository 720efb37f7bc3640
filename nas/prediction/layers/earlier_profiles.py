"""The profiles that other runs took on a target, from which a run learns before its own."""

from __future__ import annotations

from collections.abc import Iterable

from nas.hardware.bench import target_part
from nas.space.description import Describer
from nas.storage.measurement_store import MeasurementStore
from nas.values.profiled_network import LATENCY, ProfiledNetwork


def earlier_profiles(
    store: MeasurementStore,
    fingerprint: str | None,
    identity: str,
    space: Describer,
    own: Iterable[ProfiledNetwork],
) -> list[ProfiledNetwork]:
    """Return networks that other runs profiled on the target of a bench with this ``fingerprint``.

    There are none for a bench whose measurements are not kept, or where the precision is a choice. ``identity`` is the
    ``space_identity`` of the space, and networks like a run's ``own`` are left out.

    Raises:
        TargetError: the store's file is none of this program.
    """
    if fingerprint is None or space.precisions != ("",):
        return []
    return store.profiled(LATENCY, target_part(fingerprint), identity, without={each.layers for each in own})
