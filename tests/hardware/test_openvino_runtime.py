"""OpenVINO runs the requested precision, or refuses it, and quantises with the given images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from networks_for_int8 import Cancelling
from openvino_models import (
    BATCH,
    all_outputs,
    as_many_heads_as_tokens,
    available,
    convolutions,
    images_of,
    of_space,
    target_of,
    two_inputs,
    write_model,
)
from torch import nn

from nas.formats.export import PARITY_TOLERANCE, export_onnx
from nas.formats.onnx_file import read_onnx, weight_bytes
from nas.formats.onnx_session import outputs_of
from nas.hardware.runtimes import openvino_runtime
from nas.hardware.runtimes.openvino_runtime import OpenVinoCpu, OpenVinoSession
from nas.hardware.runtimes.runtime import ExportedModel
from nas.space.signature import image_inputs


@pytest.fixture(name="runtime")
def fp32_runtime() -> OpenVinoCpu:
    return available("fp32")


MODELS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": convolutions,
    "mobilenet": lambda: of_space("mobilenet"),
    "transformer": lambda: of_space("timm-vit", patch_size=2, depth=2),
    "heads = tokens": as_many_heads_as_tokens,
}


@pytest.fixture(name="exported", scope="module", params=MODELS)
def exported_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of batch size ``BATCH``."""
    return write_model(MODELS[request.param](), tmp_path_factory.mktemp("model"))


@pytest.fixture(name="small", scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One exported model of batch size ``BATCH``."""
    return write_model(convolutions(), tmp_path_factory.mktemp("model"))


def kernels_of_products(session: OpenVinoSession) -> list[str]:
    """Return the names of kernels that run convolutions and dense layers, such as brgconv_avx512_f32."""
    facts = [node.get_rt_info() for node in session._compiled.get_runtime_model().get_ops()]
    found = [
        fact["primitiveType"].astype(str).lower()
        for fact in facts
        if fact["layerType"].astype(str) in ("Convolution", "FullyConnected")
    ]
    assert found
    return found


class TestFp32:
    def test_gives_the_same_outputs(self, runtime: OpenVinoCpu, exported: Path, tmp_path: Path) -> None:
        """Outputs equal ONNX Runtime's, except for the order of sums."""
        deployed = runtime.convert(ExportedModel(exported), target_of(), tmp_path)
        images = images_of(8)
        found = all_outputs(runtime.open(deployed.path, target_of()), images)
        expected = outputs_of(exported, [images])
        assert np.abs(found - expected).max() <= PARITY_TOLERANCE * np.abs(expected).max()

    def test_runs_fp32(self, runtime: OpenVinoCpu, exported: Path, tmp_path: Path) -> None:
        """fp32 is run even on a processor where OpenVINO would choose bf16."""
        session = runtime.open(runtime.convert(ExportedModel(exported), target_of(), tmp_path).path, target_of())
        assert session.conditions()["executed_precision"] == "fp32"
        assert all(kernel.endswith("f32") for kernel in kernels_of_products(session))

    def test_keeps_weights_as_they_are(self, runtime: OpenVinoCpu, exported: Path, tmp_path: Path) -> None:
        """The file keeps fp32 weights, and they are most of its data."""
        deployed = runtime.convert(ExportedModel(exported), target_of(), tmp_path)
        assert 0.95 < deployed.weight_bytes / weight_bytes(read_onnx(exported)) < 1.05
        assert {file.name for file in deployed.path.iterdir()} == {"model.xml", "model.bin"}
        assert deployed.file_bytes > deployed.weight_bytes


class TestBf16:
    @pytest.mark.slow
    def test_runs_bf16(self, exported: Path, tmp_path: Path) -> None:
        """bf16 is run, and outputs are close to fp32's but not equal."""
        runtime = available("bf16")
        deployed = runtime.convert(ExportedModel(exported), target_of("bf16"), tmp_path)
        session = runtime.open(deployed.path, target_of("bf16"))
        assert session.conditions()["executed_precision"] == "bf16"
        assert all(kernel.endswith("bf16") for kernel in kernels_of_products(session))
        images = images_of(8)
        found, expected = all_outputs(session, images), outputs_of(exported, [images])
        assert 1e-5 < np.abs(found - expected).max() / np.abs(expected).max() < 0.1

    @pytest.mark.parametrize(("flags", "runs"), [({"avx512f"}, False), ({"amx_bf16"}, True), (set(), True)])
    def test_needs_a_processor(
        self, runtime: OpenVinoCpu, monkeypatch: pytest.MonkeyPatch, flags: set[str], runs: bool
    ) -> None:
        """A processor that would emulate bf16 is refused; if its flags are unknown, OpenVINO decides."""
        monkeypatch.setattr(openvino_runtime, "processor_flags", lambda: frozenset(flags))
        reason = runtime.why_unavailable(target_of("bf16"))
        assert (reason is None) == runs
        assert reason is None or str(target_of("bf16")) in reason

    def test_openvino_decides_last(
        self, runtime: OpenVinoCpu, monkeypatch: pytest.MonkeyPatch, small: Path, tmp_path: Path
    ) -> None:
        """Where OpenVINO does not list bf16, opening is refused instead of running fp32."""
        deployed = runtime.convert(ExportedModel(small), target_of("bf16"), tmp_path)

        class Fp32Only:
            def get_property(self, device: str, name: str) -> list[str]:
                return ["FP32", "INT8"]

        monkeypatch.setattr(openvino_runtime, "_core", Fp32Only)
        with pytest.raises(ValueError, match="bf16 needs a processor"):
            runtime.open(deployed.path, target_of("bf16"))


class TestInt8:
    @pytest.mark.slow
    def test_runs_int8(self, exported: Path, tmp_path: Path) -> None:
        """Most products run in int8, weights take less than half the bytes, and outputs correlate with fp32's."""
        runtime = available("int8")
        images = images_of(32)
        deployed = runtime.convert(ExportedModel(exported, lambda: [images]), target_of("int8"), tmp_path)
        session = runtime.open(deployed.path, target_of("int8"))
        assert session.conditions()["executed_precision"].startswith("int8")
        kernels = kernels_of_products(session)
        assert sum(kernel.endswith("i8") for kernel in kernels) > len(kernels) / 2
        assert deployed.weight_bytes < 0.5 * weight_bytes(read_onnx(exported))
        found, expected = all_outputs(session, images), outputs_of(exported, [images])
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9
        assert np.abs(found - expected).max() > 0

    @pytest.mark.parametrize(
        ("count", "said"), [(5, "5 training items"), (1, "1 training items"), (None, "random inputs")]
    )
    def test_says_what_it_was_calibrated_on(self, small: Path, tmp_path: Path, count: int | None, said: str) -> None:
        """Any number of images works: fewer than a batch, or none."""
        runtime = available("int8")
        items = None if count is None else lambda: [images_of(count)]
        details = runtime.convert(ExportedModel(small, items), target_of("int8"), tmp_path).details
        assert details["calibrated_on"] == said
        assert "nncf" in details["quantised_by"]

    def test_ranges_are_those_of_the_images(self, small: Path, tmp_path: Path) -> None:
        """Calibration on images a thousand times as dark spoils the outputs for others."""
        runtime = available("int8")
        images = images_of(16)
        expected = outputs_of(small, [images])
        errors = []
        for scale in (1.0, 1e-3):
            folder = tmp_path / str(scale)
            folder.mkdir()
            model = ExportedModel(small, partial(list, [images * np.float32(scale)]))
            deployed = runtime.convert(model, target_of("int8"), folder)
            found = all_outputs(runtime.open(deployed.path, target_of("int8")), images)
            errors.append(np.abs(found - expected).max())
        assert errors[1] > 5 * errors[0]

    @pytest.mark.parametrize("stays", [True, False])
    def test_a_small_head_stays_in_fp32(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
        """Its weights cancel each other, as those of a regression may."""
        runtime = available("int8")
        monkeypatch.setattr(openvino_runtime, "MOST_OF_HEAD", 0.05 if stays else 0.0)
        torch.manual_seed(0)
        export_onnx(Cancelling().eval(), image_inputs((3, 16, 16)), BATCH, tmp_path / "model.onnx")
        images = np.random.default_rng(0).standard_normal((32, 3, 16, 16)).astype(np.float32)
        (tmp_path / "int8").mkdir()
        model = ExportedModel(tmp_path / "model.onnx", lambda: [images])
        deployed = runtime.convert(model, target_of("int8"), tmp_path / "int8")
        session = runtime.open(deployed.path, target_of("int8"))
        plain = outputs_of(tmp_path / "model.onnx", [images])
        lost = np.std(all_outputs(session, images) - plain, axis=0).mean() / np.std(plain, axis=0).mean()
        assert session.conditions()["executed_precision"] == ("int8 in 3 of 4 products" if stays else "int8")
        assert (lost < 0.3) == stays

    def test_prints_nothing(self, small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """Neither progress bars nor advice are printed."""
        available("int8").convert(ExportedModel(small, lambda: [images_of(4)]), target_of("int8"), tmp_path)
        assert capfd.readouterr() == ("", "")

    def test_takes_several_inputs(self, tmp_path: Path) -> None:
        """A model with two inputs is calibrated on random ones for both."""
        deployed = available("int8").convert(ExportedModel(two_inputs(tmp_path)), target_of("int8"), tmp_path)
        assert deployed.details["calibrated_on"] == "random inputs"
