"""Torch runtimes: refusals, availability, compiled packages and a real GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_space import TinySpace
from torch_models import BF16_TOLERANCE, SHAPE, difference, outputs_of

from nas.formats.export import export_onnx
from nas.formats.torch_program import write_torch_program
from nas.hardware.runtimes.runtime import ExportedModel, Float32Array, Runtime, TimedSession
from nas.hardware.runtimes.torch_compiling import why_no_compiler
from nas.hardware.runtimes.torch_runtime import TorchCpu, TorchCpuCompiled, TorchCuda, TorchCudaCompiled
from nas.space.search_space import architecture_from
from nas.space.signature import image_inputs
from nas.values.target import Target

pytest_plugins = ("torch_fixtures",)
pytestmark = pytest.mark.usefixtures("same_torch")

EVERY: dict[Any, str] = {
    TorchCpu: "torch-cpu",
    TorchCpuCompiled: "torch-cpu-compiled",
    TorchCuda: "torch-cuda",
    TorchCudaCompiled: "torch-cuda-compiled",
}
NO_COMPILER = why_no_compiler(Target("torch-cpu-compiled"))


class TestRefusing:
    @pytest.mark.parametrize("runtime", EVERY)
    @pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
    def test_int8(self, runtime: Any, precision: str) -> None:
        """The reason names what lists the runtimes that run int8."""
        target = Target(EVERY[runtime], precision)
        reason = runtime().why_unavailable(target)
        assert str(target) in reason
        assert "nas target list" in reason

    @pytest.mark.parametrize("runtime", [TorchCpu, TorchCpuCompiled])
    def test_fp16_on_a_processor(self, runtime: Any) -> None:
        """fp16 is refused on processors, because only GPUs are fast in it."""
        assert "fp16" in runtime().why_unavailable(Target(EVERY[runtime], "fp16"))

    @pytest.mark.parametrize("runtime", EVERY)
    def test_another_batch_size(self, runtime: Any, small_program: Any, tmp_path: Path) -> None:
        """A wrong batch size is refused before anything is compiled."""
        with pytest.raises(ValueError, match="batch size 3"):
            runtime().convert(ExportedModel(small_program[1]), Target(EVERY[runtime], batch=3), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_another_batch_size_when_opening(self, small_program: Any) -> None:
        """A program's batch size is not changed when it is opened."""
        with pytest.raises(ValueError, match="batch size 3"):
            TorchCpu().open(small_program[1], Target("torch-cpu", batch=3))

    @pytest.mark.parametrize("runtime", [TorchCpu, TorchCpuCompiled])
    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"PK\x05\x06" + bytes(18), None], ids=str)
    def test_what_is_no_program(self, runtime: Any, tmp_path: Path, content: bytes | None) -> None:
        """Deploying and opening both refuse a file that is no program."""
        path = tmp_path / "model.pt2"
        if content is not None:
            path.write_bytes(content)
        for act in (runtime().open, lambda path, target: runtime().convert(ExportedModel(path), target, tmp_path)):
            with pytest.raises((ValueError, OSError), match=r"model\.pt2"):
                act(path, Target(EVERY[runtime]))

    @pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
    def test_onnx_files(self, name: str, tmp_path: Path) -> None:
        """ONNX files are recognised by name or content, and the error names the runtimes for them."""
        space, path = TinySpace(), tmp_path / name
        export_onnx(
            space.build(architecture_from(space, {"width": 4, "depth": 1, "kernel": 3})),
            image_inputs((1, 8, 8)),
            1,
            path,
        )
        with pytest.raises(ValueError, match="ONNX file; measure it with onnxruntime-cpu"):
            TorchCpu().convert(ExportedModel(path), Target("torch-cpu"), tmp_path)

    def test_images_of_another_shape(self, small_program: Any, images: Float32Array) -> None:
        """Images of another shape are neither broadcast nor read past their end."""
        session = TorchCpu().open(small_program[1], Target("torch-cpu", batch=2))
        with pytest.raises(ValueError, match="must have the shapes"):
            session.outputs([images[:1]])

    def test_models_with_two_outputs(self, tmp_path: Path) -> None:
        """A model with two outputs is refused, because a classifier returns one tensor."""

        class Two(torch.nn.Module):
            def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                return images, images + 1

        write_torch_program(Two(), image_inputs(SHAPE), 1, tmp_path / "model.pt2")
        with pytest.raises(ValueError, match="one tensor"):
            TorchCpu().open(tmp_path / "model.pt2", Target("torch-cpu"))


class TestAvailability:
    def test_is_asked_without_loading_torch_on_a_processor(self) -> None:
        """Importing the runtime and checking a target does not import torch."""
        code = (
            "import sys; from nas.hardware.runtimes.torch_runtime import TorchCpu; "
            "from nas.values.target import Target; "
            "assert TorchCpu().why_unavailable(Target('torch-cpu')) is None; assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.parametrize("runtime", [TorchCpuCompiled, TorchCudaCompiled])
    def test_needs_a_compiler(self, runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reason names the missing compiler and how to install one. Opening a package needs none."""
        monkeypatch.setenv("CXX", "no-such-compiler")
        reason = runtime().why_not_converted(Target(EVERY[runtime]))
        assert "no-such-compiler is not found" in reason
        assert "apt install g++" in reason

    def test_needs_triton_for_a_gpu_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Triton compiles no kernels for processors."""
        monkeypatch.setenv("CXX", sys.executable)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        reason = TorchCudaCompiled().why_not_converted(Target("torch-cuda-compiled"))
        assert reason is not None
        assert "pip install triton" in reason
        assert TorchCpuCompiled().why_not_converted(Target("torch-cpu-compiled")) is None

    @pytest.mark.parametrize("runtime", [TorchCuda, TorchCudaCompiled])
    def test_needs_a_torch_with_cuda(self, runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reason shows torch's version, because the build without CUDA is often installed by mistake."""
        monkeypatch.setattr(torch.version, "cuda", None)
        reason = runtime().why_unavailable(Target(EVERY[runtime]))
        assert f"torch {torch.__version__} has none" in reason

    @pytest.mark.parametrize("before", [None, "0"])
    def test_needs_a_gpu(self, before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        """Torch checks through NVML, which creates no CUDA context, and the environment variable is restored."""
        asked = []

        def available() -> bool:
            asked.append(os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"])
            return len(asked) > 1

        name = "PYTORCH_NVML_BASED_CUDA_CHECK"
        monkeypatch.delenv(name, raising=False) if before is None else monkeypatch.setenv(name, before)
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", available)
        reason = TorchCuda().why_unavailable(Target("torch-cuda"))
        assert reason is not None
        assert "nvidia-smi" in reason
        assert TorchCuda().why_unavailable(Target("torch-cuda")) is None
        assert asked == ["1", "1"]
        assert os.environ.get(name) == before


@pytest.mark.slow
@pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))
class TestCompiled:
    @pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", BF16_TOLERANCE)])
    def test_gives_nearly_the_eager_outputs(
        self, precision: str, tolerance: float, small_program: Any, images: Float32Array, tmp_path: Path
    ) -> None:
        """Compiling leaves one package and no scratch files, and the package opens only for its own target."""
        module, path = small_program
        target = Target("torch-cpu-compiled", precision, batch=2)
        left_before = set(Path(tempfile.gettempdir()).glob("nas-compile-*"))
        deployed = TorchCpuCompiled().convert(ExportedModel(path), target, tmp_path)
        assert set(Path(tempfile.gettempdir()).glob("nas-compile-*")) <= left_before
        assert list(tmp_path.iterdir()) == [deployed.path]
        session = TorchCpuCompiled().open(deployed.path, target)
        session.run()
        outputs = session.outputs([images])
        assert outputs.dtype == np.float32
        assert difference(outputs, outputs_of(module, images)) < tolerance
        assert session.conditions()["executed_precision"] == precision
        assert dict(session.opened.products) == {precision: 2}
        assert session.conditions()["input_shape"] == [2, *SHAPE]
        for other in (
            Target("torch-cpu-compiled", precision, batch=2, threads=2),
            Target("torch-cpu-compiled", "fp16"),
        ):
            with pytest.raises(ValueError, match="threads=1"):
                TorchCpuCompiled().open(deployed.path, other)
        with pytest.raises(ValueError, match="batch size 3"):
            TorchCpuCompiled().open(deployed.path, Target("torch-cpu-compiled", precision, batch=3))


def test_a_compiled_runtime_opens_no_program(small_program: Any) -> None:
    """A program that was not compiled is refused."""
    with pytest.raises(ValueError, match="no compiled package"):
        TorchCpuCompiled().open(small_program[1], Target("torch-cpu-compiled", batch=2))


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("runtime", [TorchCuda, TorchCudaCompiled])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 0.02), ("bf16", BF16_TOLERANCE)])
def test_a_gpu_gives_nearly_the_module_s_outputs(
    runtime: type[Runtime], precision: str, tolerance: float, network: Any, images: Float32Array, tmp_path: Path
) -> None:
    """A GPU's outputs are close, without TF32, and its inferences are timed by its own events."""
    module, path = network
    target = Target(EVERY[runtime], precision, batch=2)
    session = runtime().open(runtime().convert(ExportedModel(path), target, tmp_path).path, target)
    assert difference(session.outputs([images]), outputs_of(module, images)) < tolerance
    assert isinstance(session, TimedSession)
    session.run()
    assert 0 < session.timed_run_ms() < 1000
    conditions = json.loads(json.dumps(dict(session.conditions())))
    assert conditions["executed_precision"] == precision
    assert conditions["tf32"] is False
