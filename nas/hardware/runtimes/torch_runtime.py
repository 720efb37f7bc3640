"""Torch on the CPU and on a CUDA GPU: a program run operation by operation, or compiled ahead of time."""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, final

from nas.formats.torch_program import program_inputs, program_weight_bytes, save_torch_program
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Runtime, check_batch
from nas.hardware.runtimes.torch_compiling import compile_program, open_package, why_no_compiler
from nas.hardware.runtimes.torch_devices import Cpu, Cuda, Device, use_threads, why_no_cuda
from nas.hardware.runtimes.torch_programs import in_precision, open_program, read_program
from nas.hardware.runtimes.torch_sessions import EventTimedSession, TorchSession
from nas.values.target import Target


class _TorchRuntime(Runtime):
    """The parts that all four torch runtimes share."""

    model_format = "torch"
    here_alone = "it needs torch, which is not put on other devices."
    compiles: ClassVar[bool]

    def why_not_converted(self, target: Target) -> str | None:
        return why_no_compiler(target) if self.compiles else None

    def version(self) -> str:
        """Return torch's version. Loads what opening a model needs, so that the model's memory excludes it."""
        import torch
        import torch.export._unlift
        import torch.export.passes

        if self.compiles:
            import torch._inductor.codecache
            import torch._inductor.package
        return f"torch {torch.__version__}"

    def convert(self, model: ExportedModel, target: Target, folder: Path) -> Deployed:
        """Return the program itself for fp32, a converted one for bf16 and fp16, or a package if compiled."""
        program = in_precision(read_program(model.path), target.precision)
        for each in program_inputs(program):
            check_batch(tuple(each.shape), target)
        size, path = program_weight_bytes(program), folder / "model.pt2"
        if self.compiles:
            began = time.perf_counter()
            use_threads(target.threads)
            compile_program(program, target, self._device(), path)
            seconds = round(time.perf_counter() - began, 1)
            return Deployed(path, size, {"compiler": "AOTInductor, weights frozen", "compile_seconds": seconds})
        if target.precision == "fp32":
            return Deployed(model.path, size)
        save_torch_program(program, path)
        return Deployed(path, size, {"converted": f"weights and inputs to {target.precision}"})

    def open(self, path: Path, target: Target) -> TorchSession | EventTimedSession:
        use_threads(target.threads)
        device = self._device()
        opened = (open_package if self.compiles else open_program)(path, target, device)
        session = TorchSession(opened, target, device)
        return session if device.name == "cpu" else EventTimedSession(session)

    @abstractmethod
    def _device(self) -> Device:
        """Return the device that the runtime runs on."""


class _OnCpu(_TorchRuntime):
    precisions = ("fp32", "bf16")

    def _device(self) -> Device:
        return Cpu()


class _OnCuda(_TorchRuntime):
    precisions = ("fp32", "fp16", "bf16")
    gpu = 0

    def why_unavailable(self, target: Target) -> str | None:
        return super().why_unavailable(target) or why_no_cuda(target)

    def version(self) -> str:
        """Return the versions of torch and CUDA and the name of the GPU, which a target's fingerprint also needs."""
        base = super().version()
        import torch

        return f"{base}, CUDA {torch.version.cuda} on {torch.cuda.get_device_name(0)}"

    def _device(self) -> Device:
        return Cuda.current()


@final
class TorchCpu(_OnCpu):
    """Runs torch programs on the CPU, operation by operation."""

    form = "torch"
    compiles = False


@final
class TorchCpuCompiled(_OnCpu):
    """Compiles torch programs ahead of time with AOTInductor, for the target's number of threads."""

    compiles = True


@final
class TorchCuda(_OnCuda):
    """Runs torch programs on the first CUDA GPU, operation by operation."""

    compiles = False


@final
class TorchCudaCompiled(_OnCuda):
    """Compiles torch programs ahead of time with AOTInductor for the first CUDA GPU."""

    compiles = True
