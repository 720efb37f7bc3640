"""Profiles that an earlier run kept of the networks of ``fault_spaces``."""

from __future__ import annotations

from pathlib import Path

from fake_bench import TARGET, latency_ms
from fault_spaces import Faulty

import nas
from nas.space.search_space import enumerate_space
from nas.storage.measurement_store import MeasurementStore, space_identity
from nas.values.layer_times import LayerTime
from nas.values.measurement import Measurement
from nas.values.profiled_network import profile_of


def keep_profiles(home: Path, fingerprint: str) -> int:
    """Keep a latency and a profile of each network on the target of a bench, and return how many there are.

    The network's latency is shared among its products by their multiply-accumulates.
    """
    store, signature = MeasurementStore(home), nas.image_signature((1, 8, 8), 10)
    describer, space = nas.describer_of(Faulty(), signature), space_identity(Faulty(), signature)
    architectures = list(enumerate_space(Faulty()))
    for architecture in architectures:
        layers = describer.layers(architecture)
        products = [layer for layer in layers if layer.macs]
        ms_per_mac = latency_ms(architecture) / sum(layer.macs for layer in products)
        operators = [LayerTime("", "Conv", ms_per_mac * layer.macs, layer.output_elements) for layer in products]
        profile = profile_of(layers, operators)
        found = Measurement("latency_ms", TARGET, ((latency_ms(architecture),),), profile)
        store.add(fingerprint, f"{space}-layers", architecture, {"latency_ms": found})
    return len(architectures)
