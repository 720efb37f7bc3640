"""The runtimes in environments of their own: their outputs, and their reports of what ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.errors import CandidateError
from nas.formats.torch_program import write_torch_program
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.executorch_runtime import ExecuTorchXnnpack
from nas.hardware.runtimes.litert_runtime import LiteRtCpu
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array
from nas.space.signature import image_inputs
from nas.values.target import Target

RUNTIMES = {"executorch-xnnpack": ExecuTorchXnnpack, "litert-cpu": LiteRtCpu}
MISSING = {name: runtime().why_unavailable(Target(name)) for name, runtime in RUNTIMES.items()}
LIMIT_S = 200.0
SHAPE = (3, 16, 16)
BATCH = 2


@dataclass(frozen=True)
class Tried:
    """A process on a target, and the small module that it deployed."""

    target: Target
    process: MeasuringProcess
    deployed: Deployed
    found: Float32Array
    expected: Float32Array


def small_module() -> nn.Module:
    """Return the commonest layers, with batch-norm statistics to be folded in."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Hardswish(),
        nn.Conv2d(16, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    module(torch.randn(8, *SHAPE))  # gives the batch norm statistics of its own
    return module.eval()


class MixedProducts(nn.Module):
    """A convolution, which XNNPACK runs, and a product of two activations, which it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = self.convolution(images)[0].flatten(1)
        return torch.mm(rows, rows.t()).flatten().unsqueeze(0)


class MixedDepths(nn.Module):
    """A 2-D convolution, which becomes int8, and a 3-D one, which does not."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv3d(1, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.deep(self.flat(images).unsqueeze(1)).amax((2, 3)).flatten(1)


def written(module: nn.Module, batch: int, path: Path) -> Path:
    write_torch_program(module, image_inputs(SHAPE), batch, path)
    return path


def outputs_of(module: nn.Module, images: Float32Array) -> Float32Array:
    """Return torch's own outputs."""
    with torch.inference_mode():
        result: Float32Array = module.eval()(torch.from_numpy(images)).numpy()
    return result


@pytest.fixture(name="images", scope="module")
def some_images() -> Float32Array:
    """Three images, so that the last batch is incomplete."""
    return np.random.default_rng(1).standard_normal((3, *SHAPE)).astype(np.float32)


def installed(name: str) -> None:
    """Skip a test of a runtime whose environment is not installed."""
    reason = MISSING[name]
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(
    name="tried", scope="module", params=[f"{name}:{precision}" for name in RUNTIMES for precision in ("fp32", "int8")]
)
def tried_out(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, images: Float32Array
) -> Iterator[Tried]:
    target = replace(Target.parse(request.param), batch=BATCH)
    installed(target.runtime)
    folder = tmp_path_factory.mktemp("tried")
    module = small_module()
    with MeasuringProcess(target, LIMIT_S) as process:
        model = written(module, BATCH, folder / "model.pt2")
        (folder / "deployed").mkdir()
        deployed = process.convert(ExportedModel(model), folder / "deployed", LIMIT_S)
        found = process.outputs(deployed.path, [images])
        yield Tried(target, process, deployed, found, outputs_of(module, images))


@pytest.mark.parametrize("name", RUNTIMES)
class TestUnavailable:
    def test_other_precisions(self, name: str) -> None:
        """The reason names the precisions that the runtime has."""
        reason = RUNTIMES[name]().why_unavailable(Target(name, "bf16"))
        assert reason is not None
        assert "fp32, int8" in reason
        assert str(Target(name, "bf16")) in reason

    def test_not_installed(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reason says how to install the environment."""
        monkeypatch.setenv("NAS_HOME", str(tmp_path))
        monkeypatch.setattr("platform.system", lambda: "Linux")
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        reason = RUNTIMES[name]().why_unavailable(Target(name))
        assert reason is not None
        assert reason.endswith(f"nas target install {name}.")

    def test_no_packages_for_this_platform(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reason suggests no installation, because it would fail."""
        monkeypatch.setattr("platform.machine", lambda: "riscv64")
        reason = RUNTIMES[name]().why_unavailable(Target(name))
        assert reason is not None
        assert "riscv64" in reason
        assert "install" not in reason


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestRun:
    def test_computes_what_torch_does(self, tried: Tried) -> None:
        """fp32 equals torch up to rounding; int8 is close, and differs."""
        error = np.abs(tried.found - tried.expected).max()
        if tried.target.precision == "fp32":
            assert error < 1e-5
        else:
            assert 1e-5 < error < 0.1 * np.ptp(tried.expected)

    def test_tells_what_ran(self, tried: Tried) -> None:
        """The precision of every product is read from the file."""
        precision = tried.target.precision
        reply = tried.process.ask(
            "time", model=str(tried.deployed.path), reference=None, seconds=0.05, min_samples=3, describe=True
        )
        conditions = reply["conditions"]
        assert conditions["executed_precision"] == precision
        assert conditions["products"] == {precision: 4} == tried.deployed.details["products"]
        assert conditions["input_shape"] == [BATCH, *SHAPE]
        assert min(reply["samples"]) > 0

    def test_counts_the_weights(self, tried: Tried) -> None:
        """Weights take four bytes each in fp32 and about one in int8, and all of them are in the file."""
        whole = sum(weight.numel() for weight in small_module().parameters())
        each = 4 if tried.target.precision == "fp32" else 1
        assert each * whole * 0.9 < tried.deployed.weight_bytes < each * whole * 1.6
        assert tried.deployed.weight_bytes < tried.deployed.file_bytes

    def test_says_its_version(self, tried: Tried) -> None:
        """The version is a name and a number."""
        product, number = tried.process.conditions["runtime"].split()
        assert product == tried.target.runtime.partition("-")[0]
        assert number[0].isdigit()
        assert "+" not in number

    def test_refuses_another_batch_size(self, tried: Tried, tmp_path: Path) -> None:
        """Another batch size is refused when deploying, before minutes are spent."""
        model = written(small_module(), BATCH + 1, tmp_path / "model.pt2")
        with pytest.raises(CandidateError, match=f"batch size {BATCH} "):
            tried.process.convert(ExportedModel(model), tmp_path, LIMIT_S)

    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000], ids=["empty", "garbage"])
    def test_refuses_what_is_no_model(self, tried: Tried, tmp_path: Path, content: bytes) -> None:
        """A file that is no model is refused, and the process answers the next request."""
        path = tmp_path / "model"
        path.write_bytes(content)
        with pytest.raises(CandidateError, match="refused the model"):
            tried.process.ask("memory", model=str(path))
        assert tried.process.ask("memory", model=str(tried.deployed.path))["samples"][0] > 0

    @pytest.mark.parametrize("name", RUNTIMES)
    def test_calibrates_on_what_it_is_given(self, name: str, tmp_path: Path, images: Float32Array) -> None:
        """Calibration on images of an unusual range gives better outputs for them than random inputs."""
        installed(name)
        module, wide = small_module(), 20 * images
        errors = {}
        with MeasuringProcess(Target(name, "int8", batch=1), LIMIT_S) as process:
            model = written(module, 1, tmp_path / "model.pt2")
            for name, calibration in (("random", None), ("own", lambda: [np.repeat(wide, 4, axis=0)])):
                folder = tmp_path / name
                folder.mkdir()
                deployed = process.convert(ExportedModel(model, calibration), folder, LIMIT_S)
                found = process.outputs(deployed.path, [wide])
                errors[name] = np.abs(found - outputs_of(module, wide)).max()
                expected = "random inputs" if calibration is None else "12 training items"
                assert deployed.details["calibrated_on"] == expected
        assert errors["own"] < errors["random"] / 2

    def test_tells_what_xnnpack_leaves(self, tmp_path: Path) -> None:
        """The contents count the products that ExecuTorch's own kernels run in fp32."""
        installed("executorch-xnnpack")
        with MeasuringProcess(Target("executorch-xnnpack", "int8"), LIMIT_S) as process:
            deployed = process.convert(
                ExportedModel(written(MixedProducts(), 1, tmp_path / "model.pt2")), tmp_path, LIMIT_S
            )
        assert deployed.details["products"] == {"fp32": 1, "int8": 1}
        assert deployed.details["portable_products"] == 1
        assert deployed.details["portable_kernels"]["aten::mm"] == 1

    def test_uses_the_threads_of_the_target(self, tmp_path: Path) -> None:
        """ExecuTorch's pool has the target's threads, even on a machine with fewer cores."""
        installed("executorch-xnnpack")
        with MeasuringProcess(Target("executorch-xnnpack", threads=3), LIMIT_S) as process:
            deployed = process.convert(
                ExportedModel(written(small_module(), 1, tmp_path / "model.pt2")), tmp_path, LIMIT_S
            )
            reply = process.ask("memory", model=str(deployed.path))
        assert reply["conditions"]["threads_in_pool"] == 3

    def test_tells_what_is_not_quantised(self, tmp_path: Path) -> None:
        """The contents count the products that LiteRT runs in fp32."""
        installed("litert-cpu")
        with MeasuringProcess(Target("litert-cpu", "int8"), LIMIT_S) as process:
            deployed = process.convert(
                ExportedModel(written(MixedDepths(), 1, tmp_path / "model.pt2")), tmp_path, LIMIT_S
            )
            reply = process.ask("memory", model=str(deployed.path))
        assert deployed.details["products"] == {"fp32": 1, "int8": 1}
        assert "1 of 2 products" in reply["conditions"]["executed_precision"]
        assert not reply["conditions"]["all_by_xnnpack"]

    def test_refuses_weights_that_are_all_zero(self, tried: Tried, tmp_path: Path) -> None:
        """All-zero weights are refused: LiteRT drops their layers, and the network would seem ten times faster."""
        if tried.target.runtime != "litert-cpu":
            pytest.skip("only LiteRT's converter drops them")
        module = small_module()
        assert isinstance(module, nn.Sequential)
        nn.init.zeros_(module[1].weight)
        model = written(module, BATCH, tmp_path / "model.pt2")
        with pytest.raises(CandidateError, match=r"all zero, but 1\.weight"):
            tried.process.convert(ExportedModel(model), tmp_path, LIMIT_S)
