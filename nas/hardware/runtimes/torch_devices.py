"""Devices that torch runs on: the processor, or a CUDA GPU with its events, clocks and power."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, final

from nas.values.target import Target


class Event(Protocol):
    """A point in a device's queue of work, as ``torch.cuda.Event``."""

    def record(self) -> None: ...
    def synchronize(self) -> None: ...
    def elapsed_time(self, end_event: Any) -> float: ...


class Device(Protocol):
    """A place for tensors and their work. ``name`` is torch's."""

    name: str

    def synchronise(self) -> None:
        """Return when all submitted work is done."""

    def event(self) -> Event:
        """Return a new event that records times."""

    def conditions(self) -> Mapping[str, Any]:
        """Return the device's kind and settings as plain JSON data."""


@final
class Cpu:
    """This machine's processor. Its work has ended when a call returns."""

    name = "cpu"

    def synchronise(self) -> None:
        pass

    def event(self) -> Event:
        raise AssertionError("a processor is timed by the clock")

    def conditions(self) -> Mapping[str, Any]:
        import torch

        return {
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "bf16_in_hardware": torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported(),
        }


@final
class Cuda:
    """The current CUDA GPU. TF32 is switched off, because it keeps only 10 of the 23 bits of fp32's mantissa.

    ``torch`` and ``nvml``, the module pynvml or None, are arguments, so that tests can play a GPU.
    """

    name = "cuda"

    def __init__(self, torch: Any, nvml: Any) -> None:
        self._torch, self._nvml = torch, nvml
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    @classmethod
    def current(cls) -> Cuda:
        """Return CUDA's current device, with NVML where its package is installed."""
        import torch

        nvml = None
        if importlib.util.find_spec("pynvml") is not None:
            nvml = importlib.import_module("pynvml")
        return cls(torch, nvml)

    def synchronise(self) -> None:
        self._torch.cuda.synchronize()

    def event(self) -> Event:
        event: Event = self._torch.cuda.Event(enable_timing=True)
        return event

    def conditions(self) -> Mapping[str, Any]:
        torch = self._torch
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        return {
            "gpu": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "tf32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
            **_nvml_facts(self._nvml, f"GPU-{properties.uuid}"),
        }


def _nvml_facts(nvml: Any, uuid: str) -> dict[str, Any]:
    """Return the driver, clocks and power that NVML reports now. A missing reading is None."""
    if nvml is None:
        return {"nvml": "not installed; pip install nvidia-ml-py to record clocks and power"}
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"nvml": f"unreadable: {error}"}

    def read(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except nvml.NVMLError:  # not every GPU has every reading
            return None

    try:
        gpu = read(nvml.nvmlDeviceGetHandleByUUID, uuid)
        if gpu is None:
            return {"nvml": f"unreadable: it knows no {uuid}"}
        limit_mw = read(nvml.nvmlDeviceGetEnforcedPowerLimit, gpu)
        persistence = read(nvml.nvmlDeviceGetPersistenceMode, gpu)
        return {
            "driver": read(nvml.nvmlSystemGetDriverVersion),
            "sm_clock_mhz": read(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_SM),
            "max_sm_clock_mhz": read(nvml.nvmlDeviceGetMaxClockInfo, gpu, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": read(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_MEM),
            "power_limit_w": None if limit_mw is None else limit_mw / 1000,
            "persistence_mode": None if persistence is None else bool(persistence),
            "temperature_c": read(nvml.nvmlDeviceGetTemperature, gpu, nvml.NVML_TEMPERATURE_GPU),
        }
    finally:
        nvml.nvmlShutdown()


def why_no_cuda(target: Target) -> str | None:
    """Return why torch has no CUDA GPU here and what to do about it, or None when it has one.

    NVML is asked, so this process gets no CUDA context and may still fork.
    """
    import torch

    if torch.version.cuda is None:
        return (
            f"{target} needs torch with CUDA, but torch {torch.__version__} has none; install a build for your CUDA, "
            "as the selector at pytorch.org/get-started says."
        )
    asked = os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    try:
        available = torch.cuda.is_available()
    finally:
        if asked is None:
            del os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"]
        else:
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = asked
    if available:
        return None
    return (
        f"{target} needs an NVIDIA GPU that torch sees, but there is none; check that nvidia-smi lists it and that "
        "CUDA_VISIBLE_DEVICES does not hide it, or measure on torch-cpu."
    )


def use_threads(threads: int) -> None:
    """Let torch use ``threads`` threads for one operator, run one operator at a time, and compute in true fp32."""
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        # Torch accepts this once, before its first work. The conditions record the number in use.
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(1)
    torch.set_float32_matmul_precision("highest")  # other settings let fp32 products run in bf16 or TF32
