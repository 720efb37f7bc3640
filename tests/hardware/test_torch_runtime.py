"""Tests of nas.hardware.runtimes.torch_runtime."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from tiny_space import TinySpace

from nas.formats.export import export_onnx
from nas.formats.torch_program import write_torch_program
from nas.hardware.runtimes.runtime import Float32Array, Runtime, TimedSession, torch_devices, torch_runtime
from nas.hardware.runtimes.torch_runtime import (
    EventTimedSession,
    TorchCpu,
    TorchCpuCompiled,
    TorchCuda,
    TorchCudaCompiled,
)
from nas.space.search_space import architecture_from
from nas.values.target import Target

SHAPE = (3, 32, 32)
BF16_TOLERANCE = 0.1
"""Largest difference, relative to the largest output: bf16 keeps 8 bits, and random weights leave outputs close."""
EVERY = [TorchCpu, TorchCpuCompiled, TorchCuda, TorchCudaCompiled]
NO_COMPILER = torch_runtime._why_no_compiler(Target("torch-cpu-compiled"))


@pytest.fixture(autouse=True)
def same_torch() -> Iterator[None]:
    """Puts back what sessions set for their whole process."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


@pytest.fixture(name="case", scope="module", params=["cnn", "vit"])
def module_and_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A network with random weights, and its program for a batch of 2."""
    torch.manual_seed(0)
    if request.param == "cnn":
        module = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
    else:
        module = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, num_classes=10).eval()
    path = tmp_path_factory.mktemp(request.param) / "model.pt2"
    write_torch_program(module, SHAPE, 2, path)
    return module, path


@pytest.fixture(name="small", scope="module")
def small_program(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A convolution with a batch norm, a matrix product, and their program for a batch of 2."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10)
    )
    module(torch.randn(64, *SHAPE))
    path = tmp_path_factory.mktemp("small") / "model.pt2"
    write_torch_program(module, SHAPE, 2, path)
    return module.eval(), path


@pytest.fixture(name="images")
def random_batch(rng: np.random.Generator) -> Float32Array:
    return rng.standard_normal((2, *SHAPE)).astype(np.float32)


def outputs_of(module: torch.nn.Module, images: Float32Array) -> Float32Array:
    with torch.inference_mode():
        outputs: Float32Array = module(torch.tensor(images)).numpy()
    return outputs


def difference(outputs: Float32Array, expected: Float32Array) -> float:
    return float(np.abs(outputs - expected).max() / np.abs(expected).max())


class TestEager:
    def test_gives_the_module_s_outputs_in_fp32(self, case: Any, images: Float32Array, tmp_path: Path) -> None:
        """To the last bit, from the very file that was exported."""
        module, path = case
        target = Target("torch-cpu", batch=2)
        deployed = TorchCpu().deploy(path, target, None, tmp_path)
        assert deployed.path == path
        assert list(tmp_path.iterdir()) == []
        session = TorchCpu().open(deployed.path, target)
        assert np.array_equal(session.outputs(images), outputs_of(module, images))
        assert session.conditions()["executed_precision"] == "fp32"

    def test_gives_nearly_the_module_s_outputs_in_bf16(self, case: Any, images: Float32Array, tmp_path: Path) -> None:
        """As float32, though all products run in bf16 and the weights take half."""
        module, path = case
        target = Target("torch-cpu", "bf16", batch=2)
        deployed = TorchCpu().deploy(path, target, None, tmp_path)
        session = TorchCpu().open(deployed.path, target)
        outputs = session.outputs(images)
        assert outputs.dtype == np.float32
        assert 0 < difference(outputs, outputs_of(module, images)) < BF16_TOLERANCE
        assert session.conditions()["executed_precision"] == "bf16"
        whole = TorchCpu().deploy(path, Target("torch-cpu", batch=2), None, tmp_path)
        assert deployed.weight_bytes == pytest.approx(whole.weight_bytes / 2, rel=0.01)
        assert deployed.file_bytes < 0.75 * whole.file_bytes

    def test_is_what_the_module_in_bf16_gives(self, images: Float32Array, small: Any, tmp_path: Path) -> None:
        """Converting the program and converting the module are the same."""
        module, path = small
        target = Target("torch-cpu", "bf16", batch=2)
        deployed = TorchCpu().deploy(path, target, None, tmp_path)
        with torch.inference_mode():
            expected = copy.deepcopy(module).to(torch.bfloat16)(torch.tensor(images).bfloat16()).float().numpy()
        assert np.array_equal(TorchCpu().open(deployed.path, target).outputs(images), expected)

    def test_says_plain_facts(self, small: Any) -> None:
        """As JSON, with the shape of the images."""
        session = TorchCpu().open(small[1], Target("torch-cpu", batch=2))
        session.run()
        conditions = json.loads(json.dumps(dict(session.conditions()), allow_nan=False))
        assert conditions["input_shape"] == [2, *SHAPE]
        assert conditions["fp32_matmul_precision"] == "highest"

    def test_reads_the_precision_back(self, tmp_path: Path) -> None:
        """From what runs, and not from what was asked for."""

        class Mixed(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.convolution = torch.nn.Conv2d(3, 4, 3)
                self.layer = torch.nn.Linear(4, 4).bfloat16()

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                features = self.convolution(images).mean((2, 3)).bfloat16()
                return self.layer(self.layer(features)).float()

        path = tmp_path / "model.pt2"
        write_torch_program(Mixed(), SHAPE, 1, path)
        conditions = TorchCpu().open(path, Target("torch-cpu")).conditions()
        assert conditions["executed_precision"] == "bf16 in 2 of 3 products"

    @pytest.mark.parametrize("threads", [1, 2])
    def test_uses_the_target_s_threads(self, small: Any, threads: int) -> None:
        """Read back from torch."""
        session = TorchCpu().open(small[1], Target("torch-cpu", batch=2, threads=threads))
        assert torch.get_num_threads() == threads
        assert session.conditions()["intra_op_threads"] == threads

    def test_runs_on_no_file_of_another_precision(self, small: Any) -> None:
        """What was not deployed for bf16 would be measured in fp32."""
        with pytest.raises(ValueError, match=r"deploy\(\).*fp32"):
            TorchCpu().open(small[1], Target("torch-cpu", "bf16", batch=2))

    def test_converts_types_that_the_module_names(self, images: Float32Array, tmp_path: Path) -> None:
        """A mask made as float32 and a cast to float32 do not break a model in bf16."""

        class Casting(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(32, 4)

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                mask = torch.ones(32, dtype=torch.float32)
                return self.layer(images.to(torch.float32) * mask).mean((1, 2))

        path = tmp_path / "model.pt2"
        module = Casting()
        write_torch_program(module, SHAPE, 2, path)
        target = Target("torch-cpu", "bf16", batch=2)
        (tmp_path / "deployed").mkdir()
        session = TorchCpu().open(TorchCpu().deploy(path, target, None, tmp_path / "deployed").path, target)
        assert session.conditions()["executed_precision"] == "bf16"
        assert difference(session.outputs(images), outputs_of(module, images)) < BF16_TOLERANCE


@pytest.mark.parametrize(
    ("operator", "is_product"),
    [
        ("aten.conv2d.default", True),
        ("aten._convolution.default", True),
        ("aten.convolution.default", True),
        ("mkldnn._convolution_pointwise.default", True),
        ("mkldnn._linear_pointwise.default", True),
        ("mkldnn._reorder_convolution_weight.default", False),
        ("aten.linear.default", True),
        ("aten.addmm.default", True),
        ("aten.baddbmm.default", True),
        ("aten._addmm_activation.default", True),
        ("aten._scaled_dot_product_flash_attention_for_cpu.default", True),
        ("aten.upsample_bilinear2d.default", False),
        ("prims.convert_element_type.default", False),
        ("aten.add.Tensor", False),
        ("aten.mul.Tensor", False),
    ],
)
def test_products_are_what_multiplies_and_adds(operator: str, is_product: bool) -> None:
    """Of torch's real operators; neither casts nor resizing count, whatever they are called."""
    assert torch_runtime._is_product(attrgetter(operator)(torch.ops)) is is_product


class TestRefusing:
    @pytest.mark.parametrize("runtime", EVERY)
    @pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
    def test_int8(self, runtime: Any, precision: str) -> None:
        """With the runtimes that have it."""
        target = Target(runtime.name, precision)
        reason = runtime().why_unavailable(target)
        assert str(target) in reason
        assert "onnxruntime-cpu" in reason

    @pytest.mark.parametrize("runtime", [TorchCpu, TorchCpuCompiled])
    def test_fp16_on_a_processor(self, runtime: Any) -> None:
        """There only GPUs are fast in it."""
        assert "fp16" in runtime().why_unavailable(Target(runtime.name, "fp16"))

    @pytest.mark.parametrize("runtime", EVERY)
    def test_another_batch_size(self, runtime: Any, small: Any, tmp_path: Path) -> None:
        """Before anything is compiled."""
        with pytest.raises(ValueError, match="batch size 3"):
            runtime().deploy(small[1], Target(runtime.name, batch=3), None, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_another_batch_size_when_opening(self, small: Any) -> None:
        """A file is measured as it is."""
        with pytest.raises(ValueError, match="batch size 3"):
            TorchCpu().open(small[1], Target("torch-cpu", batch=3))

    @pytest.mark.parametrize("runtime", [TorchCpu, TorchCpuCompiled])
    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"PK\x05\x06" + bytes(18), None], ids=str)
    def test_what_is_no_program(self, runtime: Any, tmp_path: Path, content: bytes | None) -> None:
        """Whether it is to be deployed or opened."""
        path = tmp_path / "model.pt2"
        if content is not None:
            path.write_bytes(content)
        for act in (runtime().open, lambda path, target: runtime().deploy(path, target, None, tmp_path)):
            with pytest.raises((ValueError, OSError), match=r"model\.pt2"):
                act(path, Target(runtime.name))

    @pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
    def test_onnx_files(self, name: str, tmp_path: Path) -> None:
        """Known by name or content, with the runtimes that they are for."""
        space, path = TinySpace(), tmp_path / name
        export_onnx(space.build(architecture_from(space, {"width": 4, "depth": 1, "kernel": 3})), (1, 8, 8), 1, path)
        with pytest.raises(ValueError, match="ONNX file; those are for onnxruntime-cpu"):
            TorchCpu().deploy(path, Target("torch-cpu"), None, tmp_path)

    def test_images_of_another_shape(self, small: Any, images: Float32Array) -> None:
        """Nothing is broadcast, nor read past its end."""
        session = TorchCpu().open(small[1], Target("torch-cpu", batch=2))
        with pytest.raises(ValueError, match="must have the shape"):
            session.outputs(images[:1])

    def test_models_with_two_outputs(self, tmp_path: Path) -> None:
        """A classifier returns one tensor."""

        class Two(torch.nn.Module):
            def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                return images, images + 1

        write_torch_program(Two(), SHAPE, 1, tmp_path / "model.pt2")
        with pytest.raises(ValueError, match="one tensor"):
            TorchCpu().open(tmp_path / "model.pt2", Target("torch-cpu"))


class TestAvailability:
    def test_is_asked_without_loading_torch_on_a_processor(self) -> None:
        """Importing the runtime and asking it takes none of torch's seconds."""
        code = (
            "import sys; from nas.hardware.runtimes.torch_runtime import TorchCpu; "
            "from nas.values.target import Target; "
            "assert TorchCpu().why_unavailable(Target('torch-cpu')) is None; assert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.parametrize("runtime", [TorchCpuCompiled, TorchCudaCompiled])
    def test_needs_a_compiler(self, runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Named as it was looked for, with what to do."""
        monkeypatch.setattr(torch_runtime, "why_no_cuda", lambda target: None)
        monkeypatch.setenv("CXX", "no-such-compiler")
        reason = runtime().why_unavailable(Target(runtime.name))
        assert "no-such-compiler is not found" in reason
        assert "apt install g++" in reason

    def test_needs_triton_for_a_gpu_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Triton compiles no kernels for processors."""
        monkeypatch.setattr(torch_runtime, "why_no_cuda", lambda target: None)
        monkeypatch.setenv("CXX", sys.executable)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        reason = TorchCudaCompiled().why_unavailable(Target("torch-cuda-compiled"))
        assert reason is not None
        assert "pip install triton" in reason
        assert TorchCpuCompiled().why_unavailable(Target("torch-cpu-compiled")) is None

    @pytest.mark.parametrize("runtime", [TorchCuda, TorchCudaCompiled])
    def test_needs_a_torch_with_cuda(self, runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Torch's version is told, for many have the build for processors by mistake."""
        monkeypatch.setattr(torch.version, "cuda", None)
        reason = runtime().why_unavailable(Target(runtime.name))
        assert f"torch {torch.__version__} has none" in reason

    @pytest.mark.parametrize("before", [None, "0"])
    def test_needs_a_gpu(self, before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        """Asked through NVML, which leaves no context behind; the variable that says so is put back."""
        asked = []

        def available() -> bool:
            asked.append(torch_devices.os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"])
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
        assert torch_devices.os.environ.get(name) == before


class PlayedEvent:
    """An event that notes what happens to it, and to which of the device's events."""

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
    """A device that does its work elsewhere, or nowhere, and notes the order of what it is told."""

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

    def test_waits_for_the_work_within_what_is_timed(self, device: PlayedDevice, small: Any) -> None:
        """By the clock: hand over, wait. By events: record, hand over, record, wait, read."""
        session = TorchCuda().open(small[1], Target("torch-cuda", batch=2))
        assert isinstance(session, TimedSession)
        assert device.deeds == ["synchronise"], "images must be on the device before anything is timed"
        opened = session._session.opened
        noting = torch_runtime._Opened(
            lambda images: device.deeds.append("infer") or opened.forward(images),
            opened.input_shape,
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

    def test_moves_weights_and_images_there(self, device: PlayedDevice, small: Any) -> None:
        """The device "meta" refuses to mix with others."""
        session = TorchCuda().open(small[1], Target("torch-cuda", batch=2))
        session.run()
        assert session._session._images.device.type == "meta"
        assert session.conditions()["gpu"] == "played"
        assert session.conditions()["executed_precision"] == "fp32"

    @pytest.mark.parametrize("precision", ["fp16", "bf16"])
    def test_runs_half_precisions(self, device: PlayedDevice, small: Any, precision: str, tmp_path: Path) -> None:
        """What is deployed is the same for every device."""
        target = Target("torch-cuda", precision, batch=2)
        deployed = TorchCuda().deploy(small[1], target, None, tmp_path)
        session = TorchCuda().open(deployed.path, target)
        session.run()
        assert session.conditions()["executed_precision"] == precision

    def test_gives_outputs_from_there(self, monkeypatch: pytest.MonkeyPatch, small: Any, images: Float32Array) -> None:
        """As float32 in this machine's memory."""
        session = TorchCpu().open(small[1], Target("torch-cpu", batch=2))
        session.device = PlayedDevice("cpu")
        played = EventTimedSession(session)
        assert np.array_equal(played.outputs(images), outputs_of(small[0], images))

    def test_is_timed_by_the_clock_on_a_processor(self, small: Any) -> None:
        """Its session has no clock of its own."""
        assert not isinstance(TorchCpu().open(small[1], Target("torch-cpu", batch=2)), TimedSession)


class PlayedNvmlError(Exception):
    """What the played NVML raises."""


def played_nvml(**changes: Any) -> SimpleNamespace:
    """NVML for one GPU, "GPU-12ab". Readings are given or raise."""

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
    """As much of torch as a GPU is asked through, with TF32 on."""
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
        """fp32 is fp32, and clocks and power are as NVML reads them."""
        found = dict(torch_devices.Cuda(played_torch(), played_nvml()).conditions())
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
        """One reading that fails takes no other with it."""
        nvml = played_nvml(nvmlDeviceGetEnforcedPowerLimit=raising, nvmlDeviceGetPersistenceMode=raising)
        found = torch_devices.Cuda(played_torch(), nvml).conditions()
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
        """The rest is told all the same."""
        found = torch_devices.Cuda(played_torch(), nvml).conditions()
        assert reason in found["nvml"]
        assert found["gpu"] == "Played 100"


@pytest.mark.slow
@pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))
class TestCompiled:
    @pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", BF16_TOLERANCE)])
    def test_gives_nearly_the_eager_outputs(
        self, precision: str, tolerance: float, small: Any, images: Float32Array, tmp_path: Path
    ) -> None:
        """From one package, which is opened for what it was compiled for alone, and leaves nothing else behind."""
        module, path = small
        target = Target("torch-cpu-compiled", precision, batch=2)
        left_before = set(Path(tempfile.gettempdir()).glob("nas-compile-*"))
        deployed = TorchCpuCompiled().deploy(path, target, None, tmp_path)
        assert set(Path(tempfile.gettempdir()).glob("nas-compile-*")) <= left_before
        assert list(tmp_path.iterdir()) == [deployed.path]
        session = TorchCpuCompiled().open(deployed.path, target)
        session.run()
        outputs = session.outputs(images)
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


def test_a_compiled_runtime_opens_no_program(small: Any) -> None:
    """An archive of torch's, but not compiled."""
    with pytest.raises(ValueError, match="no compiled package"):
        TorchCpuCompiled().open(small[1], Target("torch-cpu-compiled", batch=2))


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("runtime", [TorchCuda, TorchCudaCompiled])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 0.02), ("bf16", BF16_TOLERANCE)])
def test_a_gpu_gives_nearly_the_module_s_outputs(
    runtime: type[Runtime], precision: str, tolerance: float, case: Any, images: Float32Array, tmp_path: Path
) -> None:
    """Timed by its own events, in real fp32."""
    module, path = case
    target = Target(runtime.name, precision, batch=2)  # type: ignore[attr-defined]
    session = runtime().open(runtime().deploy(path, target, None, tmp_path).path, target)
    assert difference(session.outputs(images), outputs_of(module, images)) < tolerance
    assert isinstance(session, TimedSession)
    session.run()
    assert 0 < session.timed_run_ms() < 1000
    conditions = json.loads(json.dumps(dict(session.conditions())))
    assert conditions["executed_precision"] == precision
    assert conditions["tf32"] is False
