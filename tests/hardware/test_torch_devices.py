"""Torch on a played GPU: the order of work and timing, and the recorded conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch_models import outputs_of

from nas.hardware.runtimes.runtime import ExportedModel, Float32Array, TimedSession
from nas.hardware.runtimes.torch_devices import Cuda
from nas.hardware.runtimes.torch_programs import Opened
from nas.hardware.runtimes.torch_runtime import TorchCpu, TorchCuda
from nas.hardware.runtimes.torch_sessions import EventTimedSession
from nas.values.target import Target

pytest_plugins = ("torch_fixtures",)
pytestmark = pytest.mark.usefixtures("same_torch")


class PlayedEvent:
    """An event that records its calls and its name."""

    def __init__(self, deeds: list[str], name: str) -> None:
        self.deeds, self.name = deeds, name

    def record(self) -> None:
        self.deeds.append(f"record {self.name}")

    def synchronize(self) -> None:
        self.deeds.append(f"wait for {self.name}")

    def elapsed_time(self, end_event: PlayedEvent) -> float:
        self.deeds.append(f"time from {self.name} to {end_event.name}")
        return 1.5


class PlayedDevice:
    """A device that records the order of its calls."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deeds: list[str] = []
        self._names = iter(("start", "end"))

    def synchronise(self) -> None:
        self.deeds.append("synchronise")

    def event(self) -> PlayedEvent:
        return PlayedEvent(self.deeds, next(self._names))

    def conditions(self) -> Mapping[str, Any]:
        return {"gpu": "played"}


class TestOnADeviceOfItsOwn:
    @pytest.fixture(name="device")
    def played(self, monkeypatch: pytest.MonkeyPatch) -> PlayedDevice:
        device = PlayedDevice("meta")
        monkeypatch.setattr(TorchCuda, "_device", lambda self: device)
        return device

    def test_waits_for_the_work_within_what_is_timed(self, device: PlayedDevice, small_program: Any) -> None:
        """By the clock: submit, wait. By events: record, submit, record, wait, read."""
        session = TorchCuda().open(small_program[1], Target("torch-cuda", batch=2))
        assert isinstance(session, TimedSession)
        assert device.deeds == ["synchronise"], "images must be on the device before anything is timed"
        opened = session._session.opened
        noting = Opened(
            lambda images: device.deeds.append("infer") or opened.forward(images),
            opened.inputs,
            opened.precision,
            opened.products,
        )
        session._session.opened = noting
        device.deeds.clear()
        session.run()
        assert device.deeds == ["infer", "synchronise"]
        device.deeds.clear()
        assert session.timed_run_ms() == 1.5
        assert device.deeds == ["record start", "infer", "record end", "wait for end", "time from start to end"]

    def test_moves_weights_and_images_there(self, device: PlayedDevice, small_program: Any) -> None:
        """The images are on the played device: torch's "meta", which refuses tensors of other devices."""
        session = TorchCuda().open(small_program[1], Target("torch-cuda", batch=2))
        session.run()
        assert session._session._inputs[0].device.type == "meta"
        assert session.conditions()["gpu"] == "played"
        assert session.conditions()["executed_precision"] == "fp32"

    @pytest.mark.parametrize("precision", ["fp16", "bf16"])
    def test_runs_half_precisions(
        self, device: PlayedDevice, small_program: Any, precision: str, tmp_path: Path
    ) -> None:
        """A file deployed in a half precision runs in it."""
        target = Target("torch-cuda", precision, batch=2)
        deployed = TorchCuda().convert(ExportedModel(small_program[1]), target, tmp_path)
        session = TorchCuda().open(deployed.path, target)
        session.run()
        assert session.conditions()["executed_precision"] == precision

    def test_gives_outputs_from_there(
        self, monkeypatch: pytest.MonkeyPatch, small_program: Any, images: Float32Array
    ) -> None:
        """Outputs are float32 in this machine's memory."""
        session = TorchCpu().open(small_program[1], Target("torch-cpu", batch=2))
        session.device = PlayedDevice("cpu")
        played = EventTimedSession(session)
        assert np.array_equal(played.outputs([images]), outputs_of(small_program[0], images))

    def test_is_timed_by_the_clock_on_a_processor(self, small_program: Any) -> None:
        """A processor's session has no clock of its own."""
        assert not isinstance(TorchCpu().open(small_program[1], Target("torch-cpu", batch=2)), TimedSession)


class PlayedNvmlError(Exception):
    """The exception of the played NVML."""


def played_nvml(**changes: Any) -> SimpleNamespace:
    """Return a module that plays NVML for one GPU, "GPU-12ab". ``changes`` replace its functions."""

    def handle(uuid: str) -> str:
        if uuid != "GPU-12ab":
            raise PlayedNvmlError("not found")
        return "gpu"

    functions: dict[str, Any] = {
        "NVMLError": PlayedNvmlError,
        "NVML_CLOCK_SM": "sm",
        "NVML_CLOCK_MEM": "memory",
        "NVML_TEMPERATURE_GPU": "die",
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByUUID": handle,
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetClockInfo": lambda gpu, clock: {"sm": 1980, "memory": 2619}[clock],
        "nvmlDeviceGetMaxClockInfo": lambda gpu, clock: {"sm": 2100}[clock],
        "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: 350_000,
        "nvmlDeviceGetPersistenceMode": lambda gpu: 1,
        "nvmlDeviceGetTemperature": lambda gpu, sensor: 41,
    }
    return SimpleNamespace(**{**functions, **changes})


def raising(*arguments: Any) -> Any:
    raise PlayedNvmlError("not supported")


def played_torch() -> SimpleNamespace:
    """Return the parts of torch that describe a GPU, with TF32 on."""
    return SimpleNamespace(
        cuda=SimpleNamespace(
            current_device=lambda: 0,
            get_device_properties=lambda index: SimpleNamespace(name="Played 100", major=9, minor=0, uuid="12ab"),
        ),
        version=SimpleNamespace(cuda="13.0"),
        backends=SimpleNamespace(
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)),
            cudnn=SimpleNamespace(allow_tf32=True, benchmark=False, version=lambda: 91200),
        ),
    )


class TestConditionsOfAGpu:
    def test_tell_what_it_is_and_how_it_is_set(self) -> None:
        """TF32 is off, and clocks and power are NVML's readings."""
        found = dict(Cuda(played_torch(), played_nvml()).conditions())
        assert json.loads(json.dumps(found)) == {
            "gpu": "Played 100",
            "compute_capability": "9.0",
            "cuda": "13.0",
            "cudnn": 91200,
            "cudnn_benchmark": False,
            "tf32": False,
            "driver": "580.1",
            "sm_clock_mhz": 1980,
            "max_sm_clock_mhz": 2100,
            "memory_clock_mhz": 2619,
            "power_limit_w": 350.0,
            "persistence_mode": True,
            "temperature_c": 41,
        }

    def test_leave_out_what_cannot_be_read(self) -> None:
        """A failed reading leaves the other readings in place."""
        nvml = played_nvml(nvmlDeviceGetEnforcedPowerLimit=raising, nvmlDeviceGetPersistenceMode=raising)
        found = Cuda(played_torch(), nvml).conditions()
        assert found["power_limit_w"] is None
        assert found["persistence_mode"] is None
        assert found["sm_clock_mhz"] == 1980

    @pytest.mark.parametrize(
        ("nvml", "reason"),
        [
            (None, "pip install nvidia-ml-py"),
            (played_nvml(nvmlInit=raising), "not supported"),
            (played_nvml(nvmlDeviceGetHandleByUUID=raising), "it knows no GPU-12ab"),
        ],
    )
    def test_say_why_nvml_is_silent(self, nvml: Any, reason: str) -> None:
        """Without NVML the conditions give the reason and the rest."""
        found = Cuda(played_torch(), nvml).conditions()
        assert reason in found["nvml"]
        assert found["gpu"] == "Played 100"
