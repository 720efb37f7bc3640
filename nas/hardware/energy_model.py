"""Energy and memory traffic per inference, modelled from published figures, for ranking architectures.

Energies are those of a 45 nm process, from M. Horowitz, "Computing's energy problem (and what we can do about it)",
ISSCC 2014. The model leaves out re-reading by tiles, fusion, the second input of an addition, instructions and
control, leakage and idle power, and other processes. Expect the order of architectures from it, not joules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from nas.errors import did_you_mean
from nas.space.layer import TOTALS, Layer, total_macs, total_params

# pJ for one operation. Int8 products are added up in 32 bits. The table lacks bf16, which gets the energies of fp16.
_MULTIPLY_PJ = {"fp32": 3.7, "fp16": 1.1, "bf16": 1.1, "int8": 0.2}
_ADD_PJ = {"fp32": 0.9, "fp16": 0.4, "bf16": 0.4, "int8": 0.1}
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_SUM_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 4}

# 64 bits from a cache of 8 KB, 32 KB and 1 MB: 10, 20 and 100 pJ. Other tables give the first as 5 pJ for 32 bits.
_CACHE_SIZES = (2**13, 2**15, 2**20)
_CACHE_PJ_PER_BYTE = (10 / 8, 20 / 8, 100 / 8)
# 640 pJ for 32 bits, the lower end of the 1.3 to 2.6 nJ for 64.
_DRAM_PJ_PER_BYTE = 640 / 4
# Sixteen registers of 32 bytes, or thirty-two of 16: the least that a core with vector units has today.
_REGISTER_BYTES = 512
_MJ_PER_PJ = 1e-9


def sram_pj_per_byte(capacity_bytes: float) -> float:
    """Return the picojoules to read a byte from an on-chip memory of this size.

    The values lie on lines between Horowitz's three caches, in the logarithms of size and energy, extended at both
    ends. Energy grows about as the square root of size, as wires do, and never exceeds DRAM's. A register file of
    512 B gets 0.31 pJ/B, or 0.7 of a 16-bit multiply-accumulate; Chen et al., "Eyeriss", ISCA 2016, found 1.

    Raises:
        ValueError: the capacity is not finite and positive.
    """
    if not 0 < capacity_bytes < math.inf:
        raise ValueError(f"capacity_bytes must be finite and positive, but got {capacity_bytes}.")
    sizes, energies = np.log(_CACHE_SIZES), np.log(_CACHE_PJ_PER_BYTE)
    segment = 0 if capacity_bytes <= _CACHE_SIZES[1] else 1
    slope = (energies[segment + 1] - energies[segment]) / (sizes[segment + 1] - sizes[segment])
    energy = math.exp(energies[segment] + slope * (math.log(capacity_bytes) - sizes[segment]))
    return min(energy, _DRAM_PJ_PER_BYTE)


@dataclass(frozen=True)
class MemoryLevel:
    """One memory: its capacity in bytes, and the picojoules to read or write a byte."""

    name: str
    capacity_bytes: float
    pj_per_byte: float


@dataclass(frozen=True)
class MemoryHierarchy:
    """The memories of a machine. The first level is the registers, then come caches, and the last is unlimited DRAM.

    Raises:
        ValueError: there are fewer than two levels, sizes do not grow, energies fall, or DRAM is limited.
    """

    levels: tuple[MemoryLevel, ...]

    def __post_init__(self) -> None:
        sizes = [level.capacity_bytes for level in self.levels]
        energies = [level.pj_per_byte for level in self.levels]
        if len(sizes) < 2 or sizes[0] <= 0 or sizes != sorted(set(sizes)) or sizes[-1] != math.inf:
            raise ValueError(f"levels must grow from registers to an unlimited DRAM, but their bytes are {sizes}.")
        if energies[0] < 0 or energies != sorted(energies):
            raise ValueError(f"a larger level must not take less energy, but got {energies} pJ per byte.")

    @classmethod
    def with_caches(cls, *capacities_bytes: int) -> Self:
        """Return registers, caches of these sizes at the energies of ``sram_pj_per_byte``, and DRAM."""
        on_chip = {"registers": _REGISTER_BYTES} | {f"L{i}": size for i, size in enumerate(capacities_bytes, start=1)}
        levels = [MemoryLevel(name, size, sram_pj_per_byte(size)) for name, size in on_chip.items()]
        return cls((*levels, MemoryLevel("DRAM", math.inf, _DRAM_PJ_PER_BYTE)))

    @classmethod
    def of_device(cls, cache_bytes: Mapping[str, int]) -> Self:
        """Return the hierarchy of a device with these caches, or ``DEFAULT_CACHES`` where it reports none.

        The last cache counts in full, although other cores, or other tenants of a rented machine, may share it.
        """
        sizes: list[int] = []
        for size in cache_bytes.values():
            if size > max(sizes, default=_REGISTER_BYTES):  # a cache no larger than the one below holds nothing more
                sizes.append(size)
        return cls.with_caches(*(sizes or DEFAULT_CACHES))

    @property
    def registers(self) -> MemoryLevel:
        """The first level."""
        return self.levels[0]

    @property
    def dram(self) -> MemoryLevel:
        """The last level."""
        return self.levels[-1]

    def holding(self, size_bytes: float) -> MemoryLevel:
        """Return the smallest cache that holds ``size_bytes``, else DRAM. Registers hold operands, never a tensor."""
        return next(level for level in self.levels[1:] if size_bytes <= level.capacity_bytes)


DEFAULT_CACHES = (2**15, 2**20)
"""The two larger of Horowitz's caches, about those of a core of a small processor."""
DEFAULT_HIERARCHY = MemoryHierarchy.with_caches(*DEFAULT_CACHES)


def modelled_energy_mj(
    layers: Sequence[Layer], precision: str = "fp32", hierarchy: MemoryHierarchy = DEFAULT_HIERARCHY
) -> float:
    """Return the modelled energy of one inference of one item in mJ, for arithmetic and memory in repeated inference.

    Each multiply-accumulate is a multiplication and an addition. It reads two operands and the sum from registers and
    writes the sum. Beyond registers, each weight and each layer's input is read once, and each output is written
    once, at the level that ``traffic_bytes`` finds. ``int8-dynamic`` has the energies of int8.

    Raises:
        ValueError: the table lacks the precision.
    """
    return modelled_costs(layers, precision, hierarchy)[0]


def dram_traffic_bytes(
    layers: Sequence[Layer], precision: str = "fp32", hierarchy: MemoryHierarchy = DEFAULT_HIERARCHY
) -> int:
    """Return the bytes moved between chip and DRAM in one inference: none where everything fits in caches.

    The model is that of ``modelled_energy_mj``, and ValueError is raised as there.
    """
    return modelled_costs(layers, precision, hierarchy)[1]


def modelled_costs(layers: Sequence[Layer], precision: str, hierarchy: MemoryHierarchy) -> tuple[float, int]:
    """Return both at once: the energy in mJ, and the traffic of DRAM in bytes. Samplers ask for thousands."""
    stored = _stored(precision)
    register_bytes = 2 * _BYTES[stored] + 2 * _SUM_BYTES[stored]
    mac_pj = _MULTIPLY_PJ[stored] + _ADD_PJ[stored] + register_bytes * hierarchy.registers.pj_per_byte
    traffic = traffic_bytes(layers, precision, hierarchy)
    moved_pj = sum(moved * level.pj_per_byte for level, moved in traffic.items())
    return (total_macs(layers) * mac_pj + moved_pj) * _MJ_PER_PJ, traffic[hierarchy.dram]


COUNTS = (*TOTALS, "modelled_energy_mj", "dram_traffic_bytes")
"""The names in ``counts_of``."""


def counts_of(layers: Sequence[Layer], precision: str, hierarchy: MemoryHierarchy) -> dict[str, float]:
    """Return ``params`` and ``macs`` of layers, and the modelled ``modelled_energy_mj`` and ``dram_traffic_bytes``."""
    energy_mj, traffic_bytes = modelled_costs(layers, precision, hierarchy)
    return {
        **{name: float(total(layers)) for name, total in TOTALS.items()},
        "modelled_energy_mj": energy_mj,
        "dram_traffic_bytes": float(traffic_bytes),
    }


def traffic_bytes(
    layers: Sequence[Layer], precision: str = "fp32", hierarchy: MemoryHierarchy = DEFAULT_HIERARCHY
) -> dict[MemoryLevel, int]:
    """Return the bytes read and written beyond registers in one inference, for each cache and DRAM.

    Data come from the smallest level that holds everything touched between two uses of them. This is the reuse
    distance of Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 1970. An
    activation's reuse distance is its layer's input, output and weights. A weight is used again in the next inference.
    Its reuse distance is all weights plus the largest input and output of a layer, since runtimes reuse memory.

    Raises:
        ValueError: the table lacks the precision.
    """
    width = _BYTES[_stored(precision)]
    moved = dict.fromkeys(hierarchy.levels[1:], 0)
    weights = total_params(layers) * width
    largest = 0
    for layer in layers:
        activations = (layer.input_elements + layer.output_elements) * width
        largest = max(largest, activations)
        moved[hierarchy.holding(activations + layer.params * width)] += activations
    moved[hierarchy.holding(weights + largest)] += weights
    return moved


def _stored(precision: str) -> str:
    stored = "int8" if precision == "int8-dynamic" else precision
    if stored not in _BYTES:
        known = (*_BYTES, "int8-dynamic")
        raise ValueError(f"precision must be one of {known}, but got {precision!r}. {did_you_mean(precision, known)}")
    return stored
