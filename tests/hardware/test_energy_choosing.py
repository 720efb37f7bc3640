"""Settings choose the meter, and wrong settings are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from played_meters import fake_nvml, write_two_packages

from nas.errors import RecipeError, TargetError
from nas.hardware.energy.choosing import meter_from
from nas.hardware.energy.commands import CommandLogMeter
from nas.hardware.energy.counters import CounterMeter
from nas.hardware.energy.metering import NoMeter


@pytest.fixture(name="powercap")
def two_packages(tmp_path: Path) -> Path:
    """A folder of RAPL counters with two packages."""
    return write_two_packages(tmp_path)


def test_settings_choose_the_meter(powercap: Path, tmp_path: Path) -> None:
    """For a model on the processor, auto means RAPL, or no meter with the reason where RAPL is missing."""
    assert meter_from({"kind": "rapl", "root": str(powercap)}).name == "RAPL package-0 + dram + package-1"
    assert meter_from({"root": str(powercap)}).name == "RAPL package-0 + dram + package-1"
    assert isinstance(meter_from({"kind": "none"}), NoMeter)
    nothing = meter_from({"kind": "auto", "root": str(tmp_path / "missing")})
    assert isinstance(nothing, NoMeter)
    assert "RAPL must list a package" in nothing.reason
    command = {"kind": "command", "command": ["joule-meter", "--total"]}
    assert isinstance(meter_from(command), CounterMeter)
    log = meter_from(command | {"format": "csv"})
    assert isinstance(log, CommandLogMeter)
    assert log.name == "command joule-meter"


def test_a_gpus_energy_is_never_taken_from_the_processor(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NVML fails, auto gives no meter, even if RAPL can be read."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = meter_from({"kind": "auto", "root": str(powercap), "gpu": 0})
    assert isinstance(meter, NoMeter)
    assert "nvidia-ml-py" in meter.reason
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([1, 2]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert meter_from({"kind": "auto", "root": str(powercap), "gpu": "GPU-7"}).name == "NVML GPU GPU-7"


@pytest.mark.parametrize(("visible", "name"), [("1", "1"), ("GPU-7,0", "GPU-7"), (" 1 , 0", "1")])
def test_cudas_first_gpu_is_found_among_all(monkeypatch: pytest.MonkeyPatch, visible: str, name: str) -> None:
    """NVML ignores CUDA_VISIBLE_DEVICES, so CUDA's index is translated to avoid metering another GPU."""
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([1, 2]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert meter_from({"kind": "nvml", "gpu": 0}).name == f"NVML GPU {name}"
    with pytest.raises(TargetError, match="GPU 2 must be in CUDA_VISIBLE_DEVICES"):
        meter_from({"kind": "nvml", "gpu": 2})


def test_an_instrument_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    """A named instrument that is missing raises an error. Only auto may give no meter."""
    with pytest.raises(TargetError, match="RAPL must list a package"):
        meter_from({"kind": "rapl", "root": str(tmp_path)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "rappl"}, "kind of a meter is one of .* but got 'rappl'. Did you mean 'rapl'"),
        ({"kind": "command"}, "command of a meter is a list of arguments, the program first, but got None"),
        ({"kind": "command", "command": "joule-meter --total"}, "but got 'joule-meter --total'"),
        ({"kind": "command", "command": []}, r"but got \[\]"),
        ({"kind": "command", "command": ["x"], "format": "xml"}, "format of a meter's command is one of"),
        ({"kind": "none", "index": 1}, "settings of a meter are .* but got 'index'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """The error states the rule and then the value."""
    with pytest.raises(RecipeError, match=message):
        meter_from(settings)
