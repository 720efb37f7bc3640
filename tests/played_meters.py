"""Energy counters for tests: a folder as Linux lists RAPL, and a module that plays NVML."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def write_domain(folder: Path, name: str, energy_uj: int, range_uj: int = 262_143_328_850) -> None:
    """Write one RAPL domain in Linux's format."""
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")


def write_two_packages(folder: Path) -> Path:
    """Write two packages as Linux lists them, with the cores and DRAM of the first, psys and mmio."""
    write_domain(folder / "intel-rapl:0", "package-0", 1_000_000)
    write_domain(folder / "intel-rapl:0" / "intel-rapl:0:0", "core", 400_000)
    write_domain(folder / "intel-rapl:0" / "intel-rapl:0:1", "dram", 200_000, range_uj=65_712_999_613)
    write_domain(folder / "intel-rapl:1", "package-1", 3_000_000)
    write_domain(folder / "intel-rapl:2", "psys", 9_000_000)
    write_domain(folder / "intel-rapl-mmio:0", "package-0", 1_000_000)
    (folder / "intel-rapl").mkdir()
    if sys.platform != "win32":
        (folder / "intel-rapl:0:1").symlink_to(folder / "intel-rapl:0" / "intel-rapl:0:1")
    return folder


class FakeNvmlError(Exception):
    """Stands in for NVML's exception."""


def fake_nvml(energies_mj: list[int], **changes: Any) -> SimpleNamespace:
    """Return a module that plays NVML and shows ``energies_mj`` one after another, then loses its GPU."""

    def energy(handle: str) -> int:
        assert handle in ("index 1", "uuid GPU-7")
        if not energies_mj:
            raise FakeNvmlError("GPU is lost")
        return energies_mj.pop(0)

    functions = {
        "NVMLError": FakeNvmlError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: f"index {index}",
        "nvmlDeviceGetHandleByUUID": lambda uuid: f"uuid {uuid}",
        "nvmlDeviceGetTotalEnergyConsumption": energy,
    }
    return SimpleNamespace(**(functions | changes))
