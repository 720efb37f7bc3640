"""Modelled energy: one layer by hand, and the laws that any such model keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.energy import dram_traffic_bytes, modelled_energy_mj
from nas.layer import Layer
from nas.target import PRECISIONS

CONV = Layer("conv", (3, 32, 32), (16, 32, 32), macs=442_368, params=448, kernel=3)

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


def test_one_layer_by_hand() -> None:
    """442,368 MACs of 4.6 pJ, 1,792 bytes of weights from DRAM, 77,824 bytes of activations in SRAM."""
    expected_pj = 442_368 * (3.7 + 0.9) + 1_792 * 160 + 77_824 * 1.25
    assert modelled_energy_mj([CONV]) == pytest.approx(expected_pj * 1e-9)
    assert dram_traffic_bytes([CONV]) == 1_792


def test_one_layer_by_hand_with_a_small_cache_in_int8() -> None:
    """19,456 bytes of activations do not fit into 8 KB, so they too come from DRAM."""
    expected_pj = 442_368 * (0.2 + 0.1) + (448 + 19_456) * 160
    assert modelled_energy_mj([CONV], "int8", cache_bytes=8192) == pytest.approx(expected_pj * 1e-9)
    assert dram_traffic_bytes([CONV], "int8", cache_bytes=8192) == 448 + 19_456


def test_activations_that_just_fit_stay_on_chip() -> None:
    """The limit itself fits."""
    assert dram_traffic_bytes([CONV], cache_bytes=77_824) == 1_792
    assert dram_traffic_bytes([CONV], cache_bytes=77_823) == 1_792 + 77_824


def test_nothing_costs_nothing() -> None:
    """No layers, no energy."""
    assert modelled_energy_mj([]) == 0
    assert dram_traffic_bytes([]) == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_of_a_target_has_energies(precision: str) -> None:
    """A target's precision can always be modelled."""
    assert 0 < modelled_energy_mj([CONV], precision) <= modelled_energy_mj([CONV], "fp32")


@given(layers_strategy, layers_strategy, st.integers(0, 2**21))
def test_energy_adds_up_over_layers(first: list[Layer], second: list[Layer], cache_bytes: int) -> None:
    """The energy of a sequence is the sum of its parts, so that a further layer never saves any."""
    apart = modelled_energy_mj(first, "fp32", cache_bytes) + modelled_energy_mj(second, "fp32", cache_bytes)
    assert modelled_energy_mj(first + second, "fp32", cache_bytes) == pytest.approx(apart)


@given(layers_strategy, st.integers(0, 2**21), st.integers(0, 2**21))
def test_a_larger_cache_never_costs_more(layers: list[Layer], one: int, other: int) -> None:
    """More of the activations stay on chip."""
    small, large = sorted((one, other))
    assert modelled_energy_mj(layers, "fp32", large) <= modelled_energy_mj(layers, "fp32", small) * (1 + 1e-12)
    assert dram_traffic_bytes(layers, "fp32", large) <= dram_traffic_bytes(layers, "fp32", small)


@given(layers_strategy, st.integers(0, 2**21))
def test_fewer_bits_never_cost_more(layers: list[Layer], cache_bytes: int) -> None:
    """fp32, fp16 and int8 come in this order."""
    energies = [modelled_energy_mj(layers, precision, cache_bytes) for precision in ("int8", "fp16", "fp32")]
    assert energies == sorted(energies)


def test_unknown_precision_and_negative_cache_are_refused() -> None:
    """The error says the rule and then the value."""
    with pytest.raises(ValueError, match=r"precision must be one of .* but got 'fp8'"):
        modelled_energy_mj([CONV], "fp8")
    with pytest.raises(ValueError, match="cache_bytes must not be negative, but got -1"):
        dram_traffic_bytes([CONV], cache_bytes=-1)
