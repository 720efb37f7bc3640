"""Energy per inference as modelled from a published table: it ranks architectures, it does not meter."""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import did_you_mean
from nas.layer import Layer, total_macs

# Energies at 45 nm in pJ, from M. Horowitz, "Computing's energy problem (and what we can do about it)",
# ISSCC 2014. Int8 products are added up in 32 bits. The table has no bf16: it gets the energies of fp16.
_MULTIPLY_PJ = {"fp32": 3.7, "fp16": 1.1, "bf16": 1.1, "int8": 0.2}
_ADD_PJ = {"fp32": 0.9, "fp16": 0.4, "bf16": 0.4, "int8": 0.1}
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
# 5 pJ for 32 bits out of a bank of 8 KB: a cache of many banks costs more, though far less than DRAM.
_SRAM_PJ_PER_BYTE = 5 / 4
_DRAM_PJ_PER_BYTE = 640 / 4
_MJ_PER_PJ = 1e-9

CACHE_BYTES = 2**20


def modelled_energy_mj(layers: Sequence[Layer], precision: str = "fp32", cache_bytes: int = CACHE_BYTES) -> float:
    """Modelled energy of one inference in mJ: arithmetic plus memory traffic.

    Each multiply-accumulate is one multiplication and one addition. Each weight is read once from DRAM. Each
    layer reads its input once and writes its output once, in SRAM where both together fit into ``cache_bytes``,
    else in DRAM.

    What it leaves out: caches between SRAM and DRAM, re-reading by tiles, fusion, the second input of an addition,
    control, idle and leakage power, and any process but 45 nm. Expect the order of architectures from it, not joules.

    Raises:
        ValueError: a precision that the table does not have, or a negative cache.
    """
    _check(precision, cache_bytes)
    arithmetic_pj = total_macs(layers) * (_MULTIPLY_PJ[precision] + _ADD_PJ[precision])
    dram_bytes = dram_traffic_bytes(layers, precision, cache_bytes)
    sram_bytes = sum(
        moved for moved in (_moved_bytes(layer, precision) for layer in layers) if not _spills(moved, cache_bytes)
    )
    return (arithmetic_pj + dram_bytes * _DRAM_PJ_PER_BYTE + sram_bytes * _SRAM_PJ_PER_BYTE) * _MJ_PER_PJ


def dram_traffic_bytes(layers: Sequence[Layer], precision: str = "fp32", cache_bytes: int = CACHE_BYTES) -> int:
    """Bytes that the model of ``modelled_energy_mj`` moves between chip and DRAM in one inference.

    All weights once, and the inputs and outputs of every layer for which they do not fit into ``cache_bytes``.
    Raises ValueError as ``modelled_energy_mj`` does.
    """
    _check(precision, cache_bytes)
    weights = sum(layer.params for layer in layers) * _BYTES[precision]
    spilled = sum(
        moved for moved in (_moved_bytes(layer, precision) for layer in layers) if _spills(moved, cache_bytes)
    )
    return weights + spilled


def _moved_bytes(layer: Layer, precision: str) -> int:
    return (layer.input_elements + layer.output_elements) * _BYTES[precision]


def _spills(moved_bytes: int, cache_bytes: int) -> bool:
    return moved_bytes > cache_bytes


def _check(precision: str, cache_bytes: int) -> None:
    if precision not in _BYTES:
        raise ValueError(
            f"precision must be one of {tuple(_BYTES)}, but got {precision!r}. {did_you_mean(precision, _BYTES)}"
        )
    if cache_bytes < 0:
        raise ValueError(f"cache_bytes must not be negative, but got {cache_bytes}.")
