"""RAPL and NVML as energy counters: wrap-around, resets, missing permissions and missing devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from played_meters import FakeNvmlError, fake_nvml, write_domain, write_two_packages

from nas.errors import CandidateError, TargetError
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.counters import NvmlCounter, RaplCounter
from nas.hardware.energy.metering import NoMeter, measure_idle_w


@pytest.fixture(name="powercap")
def two_packages(tmp_path: Path) -> Path:
    """A folder of RAPL counters with two packages."""
    return write_two_packages(tmp_path)


def set_energy(powercap: Path, domain: str, energy_uj: int) -> None:
    (powercap / domain / "energy_uj").write_text(f"{energy_uj}\n")


def test_rapl_adds_up_packages_and_their_memory(powercap: Path) -> None:
    """Two packages and one DRAM give a joule each. Cores, psys and mmio would count the same energy again."""
    counter = RaplCounter(powercap)
    assert counter.name == "RAPL package-0 + dram + package-1"
    before = counter.read()
    for domain, energy_uj in (
        ("intel-rapl:0", 2_000_000),
        ("intel-rapl:0/intel-rapl:0:0", 1_400_000),
        ("intel-rapl:0/intel-rapl:0:1", 1_200_000),
        ("intel-rapl:1", 4_000_000),
        ("intel-rapl:2", 19_000_000),
        ("intel-rapl-mmio:0", 2_000_000),
    ):
        set_energy(powercap, domain, energy_uj)
    assert counter.joules(before, counter.read()) == pytest.approx(3.0)


def test_each_rapl_domain_wraps_around_at_its_own_range(powercap: Path) -> None:
    """The DRAM uses one joule, starting 0.5 J below its range, while the packages use none."""
    set_energy(powercap, "intel-rapl:0/intel-rapl:0:1", 65_712_499_613)
    counter = RaplCounter(powercap)
    before = counter.read()
    set_energy(powercap, "intel-rapl:0/intel-rapl:0:1", 500_000)
    assert counter.joules(before, counter.read()) == pytest.approx(1.0)


def test_a_rapl_domain_that_was_reset_gives_no_number(powercap: Path) -> None:
    """A step from 3 J back to 1 J is not a wrap-around at 262 kJ, so it raises an error."""
    counter = RaplCounter(powercap)
    before = counter.read()
    set_energy(powercap, "intel-rapl:1", 1_000_000)
    with pytest.raises(CandidateError, match=r"must not go backwards, but went from 3000000 to 1000000 µJ"):
        counter.joules(before, counter.read())


def test_rapl_that_turns_unreadable_gives_no_number(powercap: Path) -> None:
    """An empty file, text, a fraction or a missing file raises an error."""
    counter = RaplCounter(powercap)
    for text in ("", "many", "1.5e3"):
        (powercap / "intel-rapl:1" / "energy_uj").write_text(text)
        with pytest.raises(CandidateError, match="must give whole microjoules, but failed"):
            counter.read()
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    with pytest.raises(CandidateError, match="must give whole microjoules, but failed"):
        counter.read()


def test_rapl_for_root_only_says_how_to_open_it(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most systems since 2020 let only root read RAPL. The error shows the command that opens it."""
    read_text = Path.read_text

    def for_root_only(path: Path, *arguments: Any, **named: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", for_root_only)
    with pytest.raises(TargetError, match=r"only root may read .*CVE-2020-8694.*sudo chmod a\+r"):
        RaplCounter(powercap)


def test_no_rapl_is_said(tmp_path: Path) -> None:
    """A missing folder, or one without a package as on a virtual machine, raises an error."""
    write_domain(tmp_path / "intel-rapl:0", "psys", 9)
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(TargetError, match="RAPL must list a package"):
            RaplCounter(root)


@pytest.mark.parametrize("gpu", [1, "GPU-7"])
def test_nvml_counts_millijoules(gpu: int | str) -> None:
    """The counter reads the GPU with the given index or UUID, and a lost GPU raises an error."""
    counter = NvmlCounter(gpu, fake_nvml([1, 5_000, 7_500]))
    assert counter.joules(counter.read(), counter.read()) == pytest.approx(2.5)
    with pytest.raises(CandidateError, match="must give its energy, but NVML says: GPU is lost"):
        counter.read()


def test_nvml_does_not_go_backwards() -> None:
    """A reloaded driver starts its counter again, which raises an error."""
    counter = NvmlCounter(1, fake_nvml([1]))
    with pytest.raises(CandidateError, match=r"NVML GPU 1 must not go backwards, but went from 5\.0 to 2\.0 mJ"):
        counter.joules((5.0,), (2.0,))


def test_a_gpu_without_a_counter_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing driver, an old GPU and a missing package each raise an error with the reason."""

    def no_driver() -> None:
        raise FakeNvmlError("Driver Not Loaded")

    with pytest.raises(TargetError, match="NVML says: Driver Not Loaded"):
        NvmlCounter(0, fake_nvml([1], nvmlInit=no_driver))
    with pytest.raises(TargetError, match="GPU 1 must have an energy counter"):
        NvmlCounter(1, fake_nvml([]))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(TargetError, match="pip install nvidia-ml-py"):
        NvmlCounter(0)


@pytest.mark.gpu
def test_a_real_gpu_takes_energy() -> None:
    """The idle power of any GPU with a counter lies between a watt and a kilowatt."""
    meter = meter_from({"kind": "auto", "gpu": 0})
    if isinstance(meter, NoMeter):
        pytest.skip(meter.reason)
    assert 1 < measure_idle_w(meter) < 1000
