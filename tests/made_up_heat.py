"""Folders like Linux's ``/sys``, with thermometers and clocks that a test sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PI_TEMPERATURE = "class/thermal/thermal_zone0/temp"
PI_WORD = "devices/platform/soc/soc:firmware/get_throttled"
FAN, SLOWING = "class/thermal/cooling_device0", "class/thermal/cooling_device1"
TOP, CAP = (f"devices/system/cpu/cpu0/cpufreq/{name}" for name in ("cpuinfo_max_freq", "scaling_max_freq"))
COUNT = "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
VOLTAGE = "class/hwmon/hwmon1/in0_lcrit_alarm"


def put(root: Path, files: Mapping[str, str | int]) -> Path:
    """Write files below ``root``, as the system would, and return it."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def pi(root: Path, celsius: float = 45.0, word: str = "0") -> Path:
    """Write what a Raspberry Pi tells."""
    return put(
        root,
        {
            "class/thermal/thermal_zone0/type": "cpu-thermal",
            PI_TEMPERATURE: int(1000 * celsius),
            f"{FAN}/type": "pwm-fan",
            f"{FAN}/cur_state": 2,
            f"{SLOWING}/type": "cpufreq-cpu0",
            f"{SLOWING}/cur_state": 0,
            "class/hwmon/hwmon0/name": "cpu_thermal",
            "class/hwmon/hwmon0/temp1_input": int(1000 * celsius) - 500,
            "class/hwmon/hwmon1/name": "rpi_volt",
            VOLTAGE: 0,
            PI_WORD: word,
            TOP: 2_400_000,
            CAP: 2_400_000,
        },
    )
