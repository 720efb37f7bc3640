"""Windows of energy against a counter whose power is known, on a clock that takes no time; and the instruments."""

from __future__ import annotations

import math
import sys
import time
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.energy.instrument import Timer
from nas.hardware.energy.meters import (
    MIN_WINDOW_S,
    CommandCounter,
    CommandLogMeter,
    CounterMeter,
    NoMeter,
    NvmlCounter,
    RaplCounter,
    Reading,
    Window,
    energy_mj,
    grams_co2e,
    measure_idle_w,
    measure_window,
    meter_from,
)

IDLE_W = 20.0
BUSY_W = 70.0


@dataclass
class FakeMachine:
    """Draws known power, more while it works, on a clock that only its own sleeping and working move."""

    now_s: float = 100.0
    joules: float = 5000.0
    history: list[tuple[float, float]] = field(default_factory=lambda: [(100.0, 5000.0)])

    @property
    def timer(self) -> Timer:
        return Timer(lambda: self.now_s, lambda seconds: self.spend(seconds, IDLE_W))

    def spend(self, seconds: float, watts: float) -> None:
        self.now_s += seconds
        self.joules += seconds * watts
        self.history.append((self.now_s, self.joules))

    def work(self, seconds: float) -> Callable[[], None]:
        return lambda: self.spend(seconds, BUSY_W)


@dataclass
class FakeCounter:
    """Shows a machine's joules as they were at its last update. ``change`` alters what it shows."""

    machine: FakeMachine
    period_s: float
    change: Callable[[float], float] = float
    name: str = "fake"
    poll_s: float = 1e-4

    def read(self) -> Reading:
        updated_s = math.floor(self.machine.now_s / self.period_s + 1e-9) * self.period_s
        history = self.machine.history
        index = max(1, bisect(history, (updated_s, math.inf)))
        (t0, j0), (t1, j1) = history[index - 1], history[min(index, len(history) - 1)]
        share = (updated_s - t0) / (t1 - t0) if t1 > t0 else 0.0
        return (self.change(j0 + share * (j1 - j0)),)

    def joules(self, before: Reading, after: Reading) -> float:
        if after < before:
            raise CandidateError("energy", f"fake must not go backwards, but went from {before} to {after}.")
        return after[0] - before[0]


@settings(deadline=None)
@given(st.floats(2e-4, 0.5), st.sampled_from((1e-3, 0.02, 0.1)))
def test_energy_of_an_inference_is_found_whatever_the_period(inference_s: float, period_s: float) -> None:
    """50 W above idle power, for so long: within 3 %, though updates fall anywhere into inferences."""
    machine = FakeMachine()
    meter = CounterMeter(FakeCounter(machine, period_s), machine.timer)
    idle_w = measure_idle_w(meter)
    window = measure_window(meter, machine.work(inference_s))
    assert idle_w == pytest.approx(IDLE_W, rel=1e-3)
    assert window.seconds >= MIN_WINDOW_S
    expected_mj = (BUSY_W - IDLE_W) * inference_s * 1000
    assert energy_mj(window, idle_w) == pytest.approx(expected_mj, rel=0.03)


def test_a_naive_window_would_be_wrong_where_ours_is_not() -> None:
    """Two reads two seconds apart miss up to an update of 100 ms, 5 %; from update to update it is below 1 %."""
    machine = FakeMachine(now_s=100.0)
    counter = FakeCounter(machine, 0.1)
    meter = CounterMeter(counter, machine.timer)
    assert meter.update_period_s == pytest.approx(0.1, rel=0.02)
    machine.spend(0.099 - machine.now_s % 0.1, IDLE_W)
    before = counter.read()
    for _ in range(199):
        machine.spend(0.01, BUSY_W)
    naive_w = counter.joules(before, counter.read()) / 1.99
    window = measure_window(meter, machine.work(0.001))
    assert abs(naive_w / BUSY_W - 1) > 0.02
    assert window.watts == pytest.approx(BUSY_W, rel=0.01)


def test_slow_meters_get_longer_windows() -> None:
    """Twelve updates, where two seconds are fewer, and what was asked for where that is more."""
    machine = FakeMachine()
    slow = CounterMeter(FakeCounter(machine, 0.5), machine.timer)
    assert measure_window(slow, machine.work(0.01)).seconds == pytest.approx(6.25, abs=0.3)
    fast = CounterMeter(FakeCounter(machine, 0.001), machine.timer)
    assert measure_window(fast, machine.work(0.01), seconds=3).seconds == pytest.approx(3, abs=0.02)
    assert measure_window(fast, machine.work(0.01), seconds=0.1).seconds >= MIN_WINDOW_S


def test_inferences_are_all_counted() -> None:
    """Those while the last update is awaited are in the window too."""
    machine, done = FakeMachine(), 0
    meter = CounterMeter(FakeCounter(machine, 0.1), machine.timer)

    def work() -> None:
        nonlocal done
        done += 1
        machine.spend(0.003, BUSY_W)

    assert measure_window(meter, work).inferences == done > 600


def test_a_counter_that_never_moves_is_no_instrument() -> None:
    """Watched for half a minute, then refused for good, with what is needed."""
    machine = FakeMachine()
    meter = CounterMeter(FakeCounter(machine, 0.01, change=lambda joules: 7.0), machine.timer)
    with pytest.raises(TargetError, match=r"fake must move while it is watched, but stays at \(7\.0,\)"):
        measure_window(meter, machine.work(0.01))
    assert 130 <= machine.now_s <= 131


def test_a_counter_that_gets_stuck_gives_no_number() -> None:
    """It moved while it was watched, and does not at the end of the window."""
    machine = FakeMachine()
    meter = CounterMeter(FakeCounter(machine, 0.01, change=lambda joules: min(joules, 5060.0)), machine.timer)
    with pytest.raises(CandidateError, match="fake must move while it is watched") as caught:
        measure_window(meter, machine.work(0.01))
    assert caught.value.kind == "energy"


def test_a_counter_that_goes_backwards_gives_no_number() -> None:
    """It was reset in the middle of the window."""
    machine = FakeMachine()
    change = lambda joules: joules if joules < 5060 else joules - 5000  # noqa: E731
    meter = CounterMeter(FakeCounter(machine, 0.01, change=change), machine.timer)
    with pytest.raises(CandidateError, match="must not go backwards"):
        measure_window(meter, machine.work(0.01))


def test_energy_below_idle_power_is_no_energy() -> None:
    """Noise can make a window cheaper than the idle machine: that is said, and not recorded."""
    assert energy_mj(Window(joules=30.0, seconds=2.0, inferences=100), idle_w=10.0) == pytest.approx(100.0)
    for idle_w in (15.0, 20.0, math.nan):
        with pytest.raises(CandidateError, match="energy must be above that of the idle machine, but 100 inferences"):
            energy_mj(Window(joules=30.0, seconds=2.0, inferences=100), idle_w)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_window_without_a_length_is_refused(seconds: float) -> None:
    """A caller's mistake."""
    machine = FakeMachine()
    with pytest.raises(ValueError, match="seconds must be finite and positive"):
        measure_window(CounterMeter(FakeCounter(machine, 0.01), machine.timer), machine.work(0.01), seconds)


def test_emissions_follow_from_energy_and_the_users_intensity() -> None:
    """One kilowatt-hour at 380 g; there is no default, and no negative emission."""
    assert grams_co2e(3.6e6, 380) == pytest.approx(380)
    for joules, intensity in ((-1, 380), (1, -380), (math.nan, 380), (1, math.inf)):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            grams_co2e(joules, intensity)


def write_domain(folder: Path, name: str, energy_uj: int, range_uj: int = 262_143_328_850) -> None:
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")


@pytest.fixture(name="powercap")
def two_packages(tmp_path: Path) -> Path:
    """A tree as Linux has it: two packages with parts, one with DRAM, listed flat too, then psys and mmio."""
    write_domain(tmp_path / "intel-rapl:0", "package-0", 1_000_000)
    write_domain(tmp_path / "intel-rapl:0" / "intel-rapl:0:0", "core", 400_000)
    write_domain(tmp_path / "intel-rapl:0" / "intel-rapl:0:1", "dram", 200_000, range_uj=65_712_999_613)
    write_domain(tmp_path / "intel-rapl:1", "package-1", 3_000_000)
    write_domain(tmp_path / "intel-rapl:2", "psys", 9_000_000)
    write_domain(tmp_path / "intel-rapl-mmio:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl").mkdir()
    if sys.platform != "win32":
        (tmp_path / "intel-rapl:0:1").symlink_to(tmp_path / "intel-rapl:0" / "intel-rapl:0:1")
    return tmp_path


def set_energy(powercap: Path, domain: str, energy_uj: int) -> None:
    (powercap / domain / "energy_uj").write_text(f"{energy_uj}\n")


def test_rapl_adds_up_packages_and_their_memory(powercap: Path) -> None:
    """A joule each, counted once: cores are a part, psys the whole, mmio a repetition."""
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
    """The DRAM starts over a joule after 0.5 J before its end, while the packages stand still."""
    set_energy(powercap, "intel-rapl:0/intel-rapl:0:1", 65_712_499_613)
    counter = RaplCounter(powercap)
    before = counter.read()
    set_energy(powercap, "intel-rapl:0/intel-rapl:0:1", 500_000)
    assert counter.joules(before, counter.read()) == pytest.approx(1.0)


def test_a_rapl_domain_that_was_reset_gives_no_number(powercap: Path) -> None:
    """From 3 J back to 1 J is no wrap-around at 262 kJ."""
    counter = RaplCounter(powercap)
    before = counter.read()
    set_energy(powercap, "intel-rapl:1", 1_000_000)
    with pytest.raises(CandidateError, match=r"must not go backwards, but went from 3000000 to 1000000 µJ"):
        counter.joules(before, counter.read())


def test_rapl_that_turns_unreadable_gives_no_number(powercap: Path) -> None:
    """Nothing, text, or no file."""
    counter = RaplCounter(powercap)
    for text in ("", "many", "1.5e3"):
        (powercap / "intel-rapl:1" / "energy_uj").write_text(text)
        with pytest.raises(CandidateError, match="must give whole microjoules, but failed"):
            counter.read()
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    with pytest.raises(CandidateError, match="must give whole microjoules, but failed"):
        counter.read()


def test_rapl_for_root_only_says_how_to_open_it(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on most systems since 2020."""
    read_text = Path.read_text

    def for_root_only(path: Path, *arguments: Any, **named: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", for_root_only)
    with pytest.raises(TargetError, match=r"only root may read .*CVE-2020-8694.*sudo chmod a\+r"):
        RaplCounter(powercap)


def test_no_rapl_is_said(tmp_path: Path) -> None:
    """A virtual machine's folder is empty, or has control types without a package."""
    write_domain(tmp_path / "intel-rapl:0", "psys", 9)
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(TargetError, match="RAPL must list a package"):
            RaplCounter(root)


class FakeNvmlError(Exception):
    """NVML's error."""


def fake_nvml(energies_mj: list[int], **changes: Any) -> SimpleNamespace:
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


@pytest.mark.parametrize("gpu", [1, "GPU-7"])
def test_nvml_counts_millijoules(gpu: int | str) -> None:
    """Of the GPU that was named, by index or UUID; a lost GPU gives no number."""
    counter = NvmlCounter(gpu, fake_nvml([1, 5_000, 7_500]))
    assert counter.joules(counter.read(), counter.read()) == pytest.approx(2.5)
    with pytest.raises(CandidateError, match="must give its energy, but NVML says: GPU is lost"):
        counter.read()


def test_nvml_does_not_go_backwards() -> None:
    """A reloaded driver starts over."""
    counter = NvmlCounter(1, fake_nvml([1]))
    with pytest.raises(CandidateError, match=r"NVML GPU 1 must not go backwards, but went from 5\.0 to 2\.0 mJ"):
        counter.joules((5.0,), (2.0,))


def test_a_gpu_without_a_counter_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver, an old GPU, or no package."""

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
    """Idle power of any GPU with a counter lies between a watt and a kilowatt."""
    meter = meter_from({"kind": "auto", "gpu": 0})
    if isinstance(meter, NoMeter):
        pytest.skip(meter.reason)
    assert 1 < measure_idle_w(meter) < 1000


def test_no_meter_says_why() -> None:
    """Using it is refused with the reason, at every use."""
    meter = NoMeter("nothing is connected.")
    for use in (lambda: meter.update_period_s, meter.span, lambda: measure_idle_w(meter)):
        with pytest.raises(TargetError, match=r"energy cannot be measured here: nothing is connected\."):
            use()


def test_settings_choose_the_meter(powercap: Path, tmp_path: Path) -> None:
    """Auto is RAPL for a model on the processor, and none, with the reason, where it is not there."""
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
    """Where NVML fails, auto is no meter, though RAPL could be read."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = meter_from({"kind": "auto", "root": str(powercap), "gpu": 0})
    assert isinstance(meter, NoMeter)
    assert "nvidia-ml-py" in meter.reason
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([1, 2]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert meter_from({"kind": "auto", "root": str(powercap), "gpu": "GPU-7"}).name == "NVML GPU GPU-7"


@pytest.mark.parametrize(("visible", "name"), [("1", "1"), ("GPU-7,0", "GPU-7"), (" 1 , 0", "1")])
def test_cudas_first_gpu_is_found_among_all(monkeypatch: pytest.MonkeyPatch, visible: str, name: str) -> None:
    """NVML knows nothing of CUDA_VISIBLE_DEVICES, and the energy of another GPU would be a wrong number."""
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([1, 2]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert meter_from({"kind": "nvml", "gpu": 0}).name == f"NVML GPU {name}"
    with pytest.raises(TargetError, match="GPU 2 must be in CUDA_VISIBLE_DEVICES"):
        meter_from({"kind": "nvml", "gpu": 2})


def test_an_instrument_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    """Only auto may turn into none."""
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
    """The error says the rule and then the value."""
    with pytest.raises(RecipeError, match=message):
        meter_from(settings)


FAST = 20
"""Tests with real commands let time run so much faster."""
FAST_TIME = Timer(lambda: FAST * time.perf_counter(), lambda seconds: time.sleep(seconds / FAST))

STEADY_LOG = f"""
import sys, time
print("time_s,watts", flush=True)
for _ in range(100_000):
    print(f"{{{FAST} * time.monotonic() - 1e6}},{{12.5}}", flush=True)
    time.sleep(0.002)
"""


def python_command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_that_counts_is_a_meter() -> None:
    """Its joules follow a clock at 40 W, so between two calls there are 40 W times the seconds."""
    code = "import time; print(40 * time.monotonic())"
    machine_time = Timer(time.monotonic, time.sleep)
    counter = CommandCounter(python_command(code))
    before, began = counter.read(), machine_time.now()
    time.sleep(0.05)
    after, ended = counter.read(), machine_time.now()
    assert counter.joules(before, after) == pytest.approx(40 * (ended - began), rel=0.5)
    assert isinstance(meter_from({"kind": "command", "command": python_command(code)}), CounterMeter)


def test_a_command_that_logs_power_is_a_meter() -> None:
    """12.5 W, whatever its clock starts from and with a line of head; the command ends with the window."""
    meter = CommandLogMeter(python_command(STEADY_LOG), FAST_TIME, timeout_s=10 * FAST)
    assert 0.02 < meter.update_period_s < 5
    window = measure_window(meter, lambda: FAST_TIME.sleep(0.01))
    assert window.watts == pytest.approx(12.5)
    assert window.seconds >= MIN_WINDOW_S
    assert window.inferences > 10


def test_a_log_that_ends_within_the_window_gives_no_number() -> None:
    """It moved while it was watched; then its instrument was unplugged."""
    code = STEADY_LOG.replace("100_000", "10") + "\nsys.exit('unplugged')"
    meter = CommandLogMeter(python_command(code), FAST_TIME, timeout_s=10 * FAST)
    assert meter.update_period_s > 0
    with pytest.raises(CandidateError, match="it ended early, with exit code 1: unplugged"):
        measure_window(meter, lambda: FAST_TIME.sleep(1.0), seconds=10)


def test_a_command_that_cannot_log_is_no_instrument() -> None:
    """The reason is the command's, and what is needed follows."""
    meter = CommandLogMeter(python_command("print('time_s,watts')"), FAST_TIME)
    with pytest.raises(TargetError, match=r"it ended early, with exit code 0.*time_s,watts"):
        measure_window(meter, lambda: None)


def test_work_that_fails_ends_the_log(tmp_path: Path) -> None:
    """The command is stopped though the inference raised."""
    mark = tmp_path / "closed"
    closing = f"import signal\nsignal.signal(signal.SIGTERM, lambda *_: (open({str(mark)!r}, 'w').close(), sys.exit()))"
    meter = CommandLogMeter(
        python_command(STEADY_LOG.replace("print(", f"{closing}\nprint(", 1)), FAST_TIME, timeout_s=10 * FAST
    )

    def fail() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        measure_window(meter, fail)
    assert mark.exists()
