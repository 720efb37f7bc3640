"""Modelled energy: layers computed by hand, and laws that hold for any layers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from nas.hardware.energy_model import (
    DEFAULT_HIERARCHY,
    MemoryHierarchy,
    MemoryLevel,
    dram_traffic_bytes,
    modelled_energy_mj,
    sram_pj_per_byte,
    traffic_bytes,
)
from nas.hardware.machine import cache_bytes
from nas.space.layer import Layer
from nas.values.target import PRECISIONS

CONV = Layer("conv", (3, 32, 32), (16, 32, 32), macs=442_368, params=448, kernel=3)
"""In fp32: 77,824 bytes of activations and 1,792 of weights, 79,616 together."""

layers_strategy = st.lists(
    st.builds(
        Layer,
        kind=st.sampled_from(("conv", "linear", "activation")),
        input_shape=st.tuples(st.integers(1, 512), st.integers(1, 64)),
        output_shape=st.tuples(st.integers(1, 512), st.integers(1, 64)),
        macs=st.integers(0, 10**9),
        params=st.integers(0, 10**7),
    ),
    max_size=5,
)


def hierarchy_of(*capacities_bytes: int) -> MemoryHierarchy:
    """Return registers at 0.5 pJ/B, the n-th cache at n pJ/B and DRAM at 100 pJ/B."""
    caches = [MemoryLevel(f"L{n}", size, float(n)) for n, size in enumerate(capacities_bytes, start=1)]
    return MemoryHierarchy((MemoryLevel("registers", 512, 0.5), *caches, MemoryLevel("DRAM", math.inf, 100.0)))


def traffic_by_name(layers: list[Layer], precision: str, hierarchy: MemoryHierarchy) -> dict[str, int]:
    return {level.name: moved for level, moved in traffic_bytes(layers, precision, hierarchy).items()}


def test_one_layer_by_hand_in_a_cache() -> None:
    """The layer has 442,368 MACs of 4.6 pJ with 16 register bytes each, and all data come from the second cache."""
    expected_pj = 442_368 * (3.7 + 0.9 + 16 * 0.5) + 79_616 * 2
    hierarchy = hierarchy_of(32_768, 2**20)
    assert modelled_energy_mj([CONV], "fp32", hierarchy) == pytest.approx(expected_pj * 1e-9)
    assert dram_traffic_bytes([CONV], "fp32", hierarchy) == 0


def test_one_layer_by_hand_from_dram_in_int8() -> None:
    """A quarter of the data does not fit into 8 KB, and sums of int8 products are kept in 32 bits."""
    expected_pj = 442_368 * (0.2 + 0.1 + 10 * 0.5) + 19_904 * 100
    assert modelled_energy_mj([CONV], "int8", hierarchy_of(8192)) == pytest.approx(expected_pj * 1e-9)
    assert dram_traffic_bytes([CONV], "int8", hierarchy_of(8192)) == 19_904


def test_what_just_fits_stays_in_the_cache() -> None:
    """Data of exactly the cache's size fit; a cache that is one byte smaller does not hold them."""
    assert traffic_by_name([CONV], "fp32", hierarchy_of(79_616)) == {"L1": 79_616, "DRAM": 0}
    assert traffic_by_name([CONV], "fp32", hierarchy_of(79_615)) == {"L1": 0, "DRAM": 79_616}


def test_weights_come_from_where_the_whole_model_stays_between_inferences() -> None:
    """Activations come from the first cache. Weights with the largest activations fit only into the next."""
    layers = [Layer("linear", (1000,), (1000,), macs=10**6, params=10**6)] * 3
    size = 3 * 4_000_000 + 8_000
    wide = hierarchy_of(4_008_000, size)
    assert traffic_by_name(layers, "fp32", wide) == {"L1": 24_000, "L2": 12_000_000, "DRAM": 0}
    narrow = hierarchy_of(4_008_000, size - 1)
    assert traffic_by_name(layers, "fp32", narrow) == {"L1": 24_000, "L2": 0, "DRAM": 12_000_000}


def test_cache_energies_go_through_the_published_points() -> None:
    """8 KB, 32 KB and 1 MB take 10, 20 and 100 pJ for 64 bits, and no cache exceeds DRAM's 640 pJ for 32 bits."""
    assert [8 * sram_pj_per_byte(size) for size in (2**13, 2**15, 2**20)] == pytest.approx([10, 20, 100])
    assert sram_pj_per_byte(2**14) == pytest.approx(math.sqrt(1.25 * 2.5))
    assert sram_pj_per_byte(512) == pytest.approx(1.25 / 4)
    assert sram_pj_per_byte(2**40) == DEFAULT_HIERARCHY.dram.pj_per_byte == 160


@given(st.integers(1, 2**40), st.integers(1, 2**40))
def test_a_larger_memory_takes_more_energy_for_a_byte(one: int, other: int) -> None:
    """Energy grows with size on the chip, up to DRAM's."""
    small, large = sorted((one, other))
    assert sram_pj_per_byte(small) <= sram_pj_per_byte(large) * (1 + 1e-12)


def test_this_machine_has_a_hierarchy() -> None:
    """The hierarchy has 512 bytes of registers, at least one cache and DRAM, and energies never fall."""
    hierarchy = MemoryHierarchy.of_device(cache_bytes())
    assert hierarchy.registers.capacity_bytes == 512
    assert len(hierarchy.levels) >= 3
    assert 0 < modelled_energy_mj([CONV], "fp32", hierarchy) < 1


def test_caches_that_hold_nothing_more_are_left_out() -> None:
    """A last cache smaller than the one below is left out, and unknown caches give the default."""
    hierarchy = MemoryHierarchy.of_device({"L1": 2**15, "L2": 2**21, "L3": 2**20})
    assert [level.capacity_bytes for level in hierarchy.levels[1:-1]] == [2**15, 2**21]
    assert MemoryHierarchy.of_device({}) == DEFAULT_HIERARCHY


def test_nothing_costs_nothing() -> None:
    """A network without layers takes no energy."""
    assert modelled_energy_mj([]) == 0
    assert dram_traffic_bytes([]) == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_of_a_target_has_energies(precision: str) -> None:
    """Every precision of a target can be modelled, and int8-dynamic equals int8."""
    assert 0 < modelled_energy_mj([CONV], precision) <= modelled_energy_mj([CONV], "fp32")
    assert modelled_energy_mj([CONV], "int8-dynamic") == modelled_energy_mj([CONV], "int8")


@given(layers_strategy, layers_strategy)
def test_a_further_layer_never_saves_energy(first: list[Layer], second: list[Layer]) -> None:
    """A sequence takes at least the energy of its parts, and more if together they exceed a cache."""
    together = modelled_energy_mj(first + second)
    assert together >= (modelled_energy_mj(first) + modelled_energy_mj(second)) * (1 - 1e-12)


@given(layers_strategy, st.sampled_from(PRECISIONS))
def test_all_bytes_are_served_by_some_level(layers: list[Layer], precision: str) -> None:
    """Every input, output and weight is served once by some level, and DRAM's part is the DRAM traffic."""
    width = {"fp32": 4, "fp16": 2, "bf16": 2}.get(precision, 1)
    all_bytes = width * sum(layer.input_elements + layer.output_elements + layer.params for layer in layers)
    traffic = traffic_bytes(layers, precision)
    assert sum(traffic.values()) == all_bytes
    assert traffic[DEFAULT_HIERARCHY.dram] == dram_traffic_bytes(layers, precision)


@given(layers_strategy, st.integers(1024, 2**26), st.integers(1024, 2**26))
def test_a_larger_cache_never_moves_more_to_dram(layers: list[Layer], one: int, other: int) -> None:
    """A larger cache at the same energy per byte does not take more energy either."""
    small, large = (hierarchy_of(size) for size in sorted((one, other)))
    assert modelled_energy_mj(layers, "fp32", large) <= modelled_energy_mj(layers, "fp32", small) * (1 + 1e-12)
    assert dram_traffic_bytes(layers, "fp32", large) <= dram_traffic_bytes(layers, "fp32", small)


@given(layers_strategy)
def test_fewer_bits_never_cost_more(layers: list[Layer]) -> None:
    """int8 takes at most the energy of fp16, and fp16 at most that of fp32."""
    energies = [modelled_energy_mj(layers, precision) for precision in ("int8", "fp16", "fp32")]
    assert energies == sorted(energies)


def test_unknown_precisions_are_refused() -> None:
    """The error states the rule and then the value."""
    with pytest.raises(ValueError, match=r"precision must be one of .* but got 'fp8'"):
        modelled_energy_mj([CONV], "fp8")


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([("DRAM", math.inf, 1.0)], "levels must grow from registers to an unlimited DRAM"),
        ([("registers", 512, 1.0), ("L1", 2**15, 2.0)], "levels must grow from registers to an unlimited DRAM"),
        ([("registers", 512, 1.0), ("L1", 512, 2.0), ("DRAM", math.inf, 3.0)], r"their bytes are \[512, 512, inf\]"),
        ([("registers", 512, 2.0), ("DRAM", math.inf, 1.0)], r"must not take less energy, but got \[2.0, 1.0\]"),
    ],
)
def test_impossible_hierarchies_are_refused(levels: list[tuple[str, float, float]], message: str) -> None:
    """Sizes must grow, energies must not fall, and DRAM must be unlimited."""
    with pytest.raises(ValueError, match=message):
        MemoryHierarchy(tuple(MemoryLevel(*level) for level in levels))


@pytest.mark.parametrize("capacity", [0, -1, math.inf, math.nan])
def test_impossible_capacities_are_refused(capacity: float) -> None:
    """The error states the rule and then the value."""
    with pytest.raises(ValueError, match="capacity_bytes must be finite and positive, but got"):
        sram_pj_per_byte(capacity)
