"""Heat: how warm this machine is, and what holds its clock down, as Linux tells it.

Most virtual machines tell nothing. Then nothing is read, and nothing is said.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from nas.hardware.machine import allowed_cores

ROOT = Path("/sys")
DENIED = "faster_cores_denied"
"""The condition of a measurement that lists faster cores which its process may not use."""
PROCESSOR = re.compile(r"cpu|soc|pkg|package|core|k10temp|zenpower|gpu|npu", re.IGNORECASE)
"""Names of sensors that tell the temperature of a processor."""
ELSEWHERE = re.compile(r"wifi|wlp|wlan|nvme|drive|bat|charger|pmic|fan|phy", re.IGNORECASE)
"""Names of sensors of something else. Where no sensor is known to be of a processor, all others count."""
SLOWING = re.compile(r"cpu|processor|devfreq|powerclamp|gpu", re.IGNORECASE)
"""Cooling devices of Linux that slow something. Others are fans and lamps."""
COLDEST_C, HOTTEST_C = -55.0, 150.0
"""A sensor that tells anything else is broken, or switched off."""
LOW_VOLTAGE = "the supply voltage was too low"
SLOWED_TO_COOL = "the system slowed the processor to cool it"
SLOWED_ITSELF = "the processor slowed itself to cool"
ALARM = "a sensor of the processor raised an alarm"
OTHER_CORES = "the cores that it may use changed"
NOT_BY_HEAT = (LOW_VOLTAGE, OTHER_CORES)
FIRMWARE = {
    0: LOW_VOLTAGE,
    1: "the firmware capped the clock",
    2: "the firmware throttled the processor",
    3: "the firmware's soft limit of temperature was reached",
}
"""The bits of a Raspberry Pi's word of throttling. Each has a sticky one, 16 places higher, for the time since start.

Source: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
"""
STICKY = 16
VCGENCMD, VCGENCMD_S = "vcgencmd", 2.0


@dataclass(frozen=True)
class Heat:
    """Readings at one moment. What is unknown is None or empty.

    Attributes:
        temperature_c: the temperature of the warmest sensor of the processor.
        signs: what holds the clock down now, in words.
        events: how many times each of them has happened so far; a sticky bit counts one.
        cap_mhz: the clock to which the system caps the cores, if that is below their top.
        cores: the cores that this process may use.
    """

    temperature_c: float | None = None
    signs: tuple[str, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)
    cap_mhz: float | None = None
    cores: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


def between(before: Heat, after: Heat) -> dict[str, Any]:
    """Return what heat did between two moments; nothing where nothing is known, or nothing happened.

    ``held_down`` tells what held the clock down meanwhile. What only a sticky bit of before tells of counts for
    ``held_down_before``, because nobody knows when it happened.
    """
    happened = {sign for sign, count in after.events.items() if count > before.events.get(sign, 0)}
    held = {*before.signs, *after.signs, *happened}
    if before.cores != after.cores:
        held.add(OTHER_CORES)
    earlier = {sign for sign, count in before.events.items() if count} - held
    temperatures = [each for each in (before.temperature_c, after.temperature_c) if each is not None]
    caps = [before.cap_mhz, after.cap_mhz]
    found = {
        "temperature_c": temperatures,
        "held_down": sorted(held),
        "held_down_before": sorted(earlier),
        "cap_mhz": caps if any(caps) else [],
    }
    return {name: value for name, value in found.items() if value}


@final
class Thermometer:
    """Reads the heat of this machine. The files to read are found once, under ``root``."""

    def __init__(self, root: Path | None = None, cores: Collection[int] | None = None) -> None:
        root = root or ROOT
        found = list(_sensors(root))
        own = [path for name, path in found if PROCESSOR.search(name)]
        self._sensors = own or [path for name, path in found if not ELSEWHERE.search(name)]
        self._alarms = list(_alarms(root))
        self._coolers = [
            folder / "cur_state"
            for folder in sorted(root.glob("class/thermal/cooling_device*"))
            if SLOWING.search(_text(folder / "type"))
        ]
        folders = [root / f"devices/system/cpu/cpu{core}" for core in cores or allowed_cores()]
        self._counts = [path for folder in folders for path in folder.glob("thermal_throttle/*_throttle_count")]
        self._clocks = [folder / "cpufreq" for folder in folders if (folder / "cpufreq/scaling_max_freq").is_file()]
        self._word = _firmware_word(root)

    def read(self) -> Heat:
        """Return the readings of this moment."""
        signs = {sign for sign, path in self._alarms if _number(path)}
        if any((_number(path) or 0) > 0 for path in self._coolers):
            signs.add(SLOWED_TO_COOL)
        events: dict[str, int] = {}
        if self._counts:
            events[SLOWED_ITSELF] = sum(_number(path) or 0 for path in self._counts)
        word = self._word()
        if word is not None:
            signs |= {sign for bit, sign in FIRMWARE.items() if word >> bit & 1}
            events |= {sign: word >> bit + STICKY & 1 for bit, sign in FIRMWARE.items()}
        return Heat(self._temperature_c(), tuple(sorted(signs)), events, self._cap_mhz(), tuple(allowed_cores()))

    def _temperature_c(self) -> float | None:
        read = [value / 1000 for value in map(_number, self._sensors) if value is not None]
        return max((each for each in read if COLDEST_C < each < HOTTEST_C), default=None)

    def _cap_mhz(self) -> float | None:
        """Return the lowest cap of a core that is below the core's own top clock."""
        pairs = (
            (_number(folder / "scaling_max_freq"), _number(folder / "cpuinfo_max_freq")) for folder in self._clocks
        )
        return min((cap / 1000 for cap, top in pairs if cap and top and cap < top), default=None)


def _sensors(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name of each sensor of temperature, and the file to read, in thousandths of a degree."""
    for zone in sorted(root.glob("class/thermal/thermal_zone*")):
        yield _text(zone / "type"), zone / "temp"
    for path in sorted(root.glob("class/hwmon/hwmon*/temp*_input")):
        label = _text(path.with_name(path.name.replace("_input", "_label")))
        yield f"{_text(path.with_name('name'))} {label}", path


def _alarms(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield alarms that concern the processor. Those of a desktop's voltages are often on for no reason."""
    for folder in sorted(root.glob("class/hwmon/hwmon*")):
        name = _text(folder / "name")
        if PROCESSOR.search(name):
            yield from ((ALARM, path) for path in sorted(folder.glob("temp*_alarm")))
        elif name == "rpi_volt":
            yield from ((LOW_VOLTAGE, path) for path in sorted(folder.glob("in*_alarm")))


def _firmware_word(root: Path) -> Callable[[], int | None]:
    """Return a function that reads a Raspberry Pi's word of throttling: from a file, or else by its own program."""
    files = sorted(root.glob("devices/platform/*/*firmware/get_throttled"))
    if files:
        return lambda: _hexadecimal(_text(files[0]))
    program = shutil.which(VCGENCMD)
    if program is None or _vcgencmd(program) is None:
        return lambda: None
    return lambda: _vcgencmd(program)


def _vcgencmd(program: str) -> int | None:
    """Return what ``vcgencmd get_throttled`` prints, such as ``throttled=0x50000``, or None if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 a fixed command of the system
            [program, "get_throttled"], capture_output=True, text=True, timeout=VCGENCMD_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    name, _, word = done.stdout.strip().partition("=")
    return _hexadecimal(word) if name == "throttled" else None


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


def _number(path: Path) -> int | None:
    """Return the number in a file, or None where there is none: a sensor may be switched off at any time."""
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
