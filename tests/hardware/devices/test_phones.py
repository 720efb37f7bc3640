"""Phones by adb: a shell of this machine plays one, with a benchmark program that is pushed there and run."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import own_runtime
import pytest
import real_adbd
from acting_models import QUICK, as_they_are, failure_of, latency_of, models_of

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices import adb_phone
from nas.hardware.devices.adb_phone import Phone, told_by_benchmark
from nas.hardware.devices.program_device import ProgramDevice
from nas.hardware.devices.registry import DeviceRecord
from nas.values.target import Target

BENCHMARK = f"""#!/bin/sh
for word in "$@"; do case "$word" in --graph=*) model=${{word#--graph=}} ;; esac; done
set -- $(tr -d '\\0' < "$model")
case "$1" in
  clock) us="$2"000 ;;
  "") us=$(echo {own_runtime.REFERENCE_MS} | sed 's/0\\.\\(.\\)/\\100/') ;;
  *) eval "$*" ;;
esac
echo "INFO: Inference timings in us: Init: 12, First inference: 99, Warmup (avg): 88, Inference (avg): $us" >&2
"""


class AdbFailureError(Exception):
    """What the fake adb raises."""


@dataclass
class FakeAdb:
    """An adb server with phones, each a state by its serial, whose shell is that of this machine."""

    states: dict[str, str] = field(default_factory=lambda: {"R58": "device"})
    pushed: list[str] = field(default_factory=list)
    is_gone: bool = False

    def list(self) -> list[Any]:
        return [SimpleNamespace(serial=serial, state=state) for serial, state in self.states.items()]

    def device(self, serial: str) -> Any:
        return SimpleNamespace(serial=serial, shell2=self.shell, sync=SimpleNamespace(push=self.push))

    def shell(self, command: str, timeout: float, v2: bool) -> Any:
        if self.is_gone:
            raise AdbFailureError("device 'R58' not found")
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=timeout)
        return SimpleNamespace(
            returncode=done.returncode, stdout=done.stdout, stderr=done.stderr, output=done.stdout + done.stderr
        )

    def push(self, content: bytes, place: str, mode: int, check: bool) -> None:
        self.pushed.append(Path(place).name)
        Path(place).write_bytes(content)
        Path(place).chmod(mode)


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAdb:
    found = FakeAdb()
    monkeypatch.setattr(adb_phone, "FOLDER", PurePosixPath(tmp_path / "phone"))
    monkeypatch.setattr(adb_phone, "adb_client", lambda: found)
    monkeypatch.setattr(adb_phone, "adb_errors", lambda: (AdbFailureError,))
    monkeypatch.setattr("nas.formats.export.export_model", own_runtime.write_unread)
    return found


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "benchmark_model"
    path.write_text(BENCHMARK)
    return path


def phone(program: Path, serial: str = " ", arguments: str = "") -> ProgramDevice:
    record = DeviceRecord("phone", f"adb:{serial} {program} {arguments}")
    return ProgramDevice(record, Phone(record))


def measured(device: ProgramDevice, target: Target, folder: Path, deeds: Mapping[str, str]) -> list[Any]:
    bench = DeviceBench(replace(target, device="phone"), QUICK, device=device)
    return bench.measure(as_they_are(models_of(folder, deeds)), ["latency_ms"], np.random.default_rng(0))


class TestMeasuring:
    def test_tells_the_mean_of_the_benchmark_program(
        self, adb: FakeAdb, program: Path, acting: Target, tmp_path: Path
    ) -> None:
        """Each file is pushed once. A model that fails there fails alone."""
        deeds = {"a": "clock 3", "x": "echo no operator >&2; exit 1", "s": "us=fast"}
        good, bad, strange = measured(phone(program), acting, tmp_path, deeds)
        assert latency_of(good).median == pytest.approx(3.0)
        assert latency_of(good).drift == 1.0
        assert latency_of(good).conditions["runtime"].startswith("benchmark_model sha256:")
        kind, reason = failure_of(bad)
        assert kind == "measure"
        assert reason == "phone: benchmark_model ended with exit code 1: no operator"
        assert "phone: benchmark_model must print milliseconds, but it printed nothing" in failure_of(strange)[1]
        assert [adb.pushed.count(name) for name in ("benchmark_model", "a.txt")] == [1, 1]

    def test_tells_heat_where_android_does(
        self, adb: FakeAdb, program: Path, acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert phone(program).runner.heat().temperature_c is None
        dumpsys = tmp_path / "bin" / "dumpsys"
        dumpsys.parent.mkdir()
        dumpsys.write_text(
            '#!/bin/sh\ncase "$1" in battery) echo "  temperature: 412" ;; *) echo "Thermal Status: 2" ;; esac'
        )
        dumpsys.chmod(0o755)
        monkeypatch.setenv("PATH", f"{dumpsys.parent}{os.pathsep}{os.environ['PATH']}")
        (found,) = measured(phone(program), acting, tmp_path, {"a": "clock 3"})
        assert latency_of(found).conditions["temperature_c"] == [41.2, 41.2]
        assert latency_of(found).flags == ("Android's thermal status was moderate in 2 of 2 sessions",)

    def test_of_a_program_that_hangs_ends_it_there(
        self, adb: FakeAdb, program: Path, acting: Target, tmp_path: Path
    ) -> None:
        (model,) = models_of(tmp_path, {"h": "sleep 30"})
        with pytest.raises(CandidateError, match=r"phone: benchmark_model did not end within 0\.2 s") as failed:
            phone(program).runner.run(model, acting, 1, 0.2)
        assert failed.value.kind == "timeout"

    def test_passes_what_is_wanted(self, adb: FakeAdb, acting: Target, tmp_path: Path) -> None:
        """Without a word about the model it comes last. The hash of program and arguments is the identity."""
        own = tmp_path / "time it"
        own.write_text('#!/bin/sh\necho "$@" >&2\necho 7')
        content = own.read_bytes()
        device = phone(Path(f"'{own}'"), arguments="--repeat {samples} --cores {threads}")
        (model,) = models_of(tmp_path, {"a": "x"})
        assert device.runner.run(model, replace(acting, threads=2), 9, 5.0).samples_ms == (7.0,)
        words = ["--repeat", "{samples}", "--cores", "{threads}", "{model}"]
        digest = hashlib.sha256(repr(words).encode() + content).hexdigest()[:16]
        assert device.runner.identity == f"time it sha256:{digest}"

    def test_leaves_nothing_once_it_is_removed(
        self, adb: FakeAdb, program: Path, acting: Target, tmp_path: Path
    ) -> None:
        device = phone(program)
        measured(device, acting, tmp_path, {"a": "clock 3"})
        assert (tmp_path / "phone").is_dir()
        device.clear()
        assert not (tmp_path / "phone").exists()


class TestPhones:
    @pytest.mark.parametrize(
        ("states", "serial", "said"),
        [
            ({}, " ", "phone must be connected, but adb sees no phone: switch on USB debugging"),
            (
                {"A": "device", "B": "device"},
                " ",
                "must name its phone, because there are 2: A, B. Add it again",
            ),
            ({"A": "device"}, "B", "must be connected as B, but adb sees A"),
            ({"A": "unauthorized"}, " ", r"phone \(A\) has not allowed this computer: unlock it, and accept the key"),
            ({"A": "offline"}, "A", r"phone \(A\) is offline: unplug it"),
            ({"A": "recovery"}, "A", r"phone \(A\) is in the state recovery"),
        ],
    )
    def test_that_cannot_be_used_are_told(
        self, adb: FakeAdb, program: Path, acting: Target, states: dict[str, str], serial: str, said: str
    ) -> None:
        adb.states = states
        with pytest.raises(TargetError, match=said):
            phone(program, serial).look()
        assert phone(program, serial).why_unavailable(replace(acting, device="phone"))

    def test_one_of_two_is_named(self, adb: FakeAdb, program: Path) -> None:
        adb.states = {"A": "unauthorized", "127.0.0.1:5555": "device"}
        assert phone(program, "127.0.0.1:5555").look()["serial"] == "127.0.0.1:5555"

    def test_that_is_unplugged_is_told(self, adb: FakeAdb, program: Path, acting: Target, tmp_path: Path) -> None:
        device = phone(program)
        device.look()
        adb.is_gone = True
        with pytest.raises(TargetError, match="phone cannot be reached by adb: device 'R58' not found"):
            device.runner.run(*models_of(tmp_path, {"a": "clock 1"}), acting, 1, 1.0)

    def test_without_the_package_or_the_program_are_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(TargetError, match="must be a file of this machine"):
            phone(tmp_path / "nothing").look()
        monkeypatch.setitem(__import__("sys").modules, "adbutils", None)
        with pytest.raises(TargetError, match="needs the package adbutils: pip install"):
            adb_phone.adb_client()

    @pytest.mark.parametrize("address", ["adb:", "adb:R58", "adb: "])
    def test_need_a_program(self, address: str) -> None:
        with pytest.raises(RecipeError, match="the address of a phone is adb:"):
            Phone(DeviceRecord("phone", address))


@pytest.mark.parametrize(
    ("printed", "said", "ms"),
    [
        ("", "Inference (avg): 777.5\n", 0.7775),
        ("Inference (avg): 1.2e+06", "", 1200.0),
        ("Average inference time cost total: 12.5 ms", "", 12.5),
        ("3\n4\n", "warming up", 3.0),
    ],
)
def test_what_known_programs_print_is_read(printed: str, said: str, ms: float) -> None:
    assert told_by_benchmark(printed, said).samples_ms[0] == pytest.approx(ms)


@pytest.mark.slow
@pytest.mark.skipif(bool(real_adbd.WHY_NOT), reason=f"this machine lacks {real_adbd.WHY_NOT}")
def test_a_real_adbd_runs_programs(tmp_path: Path) -> None:
    """It lists itself twice, as two phones. A program that hangs is ended there, and nothing is left."""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, real_adbd.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "must name its phone, because there are 2: " in found["unnamed"]
    assert found["ran"] == [2.5]
    assert "phone: time it did not end within 0.5 s" in found["hung"]
    assert not found["left"]
