"""ONNX Runtime runs the requested precision and reports what it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from networks_for_int8 import Cancelling, Convolutional, Spiking, Transformer
from onnx import TensorProto, helper, numpy_helper
from onnx_models import with_external_data
from torch import nn

from nas.formats.export import export_onnx
from nas.formats.onnx_file import fills_bytes
from nas.formats.onnx_session import outputs_of
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes import onnx_runtime
from nas.hardware.runtimes.onnx_runtime import OnnxRuntimeCpu
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array
from nas.hardware.target_profile import fingerprint_of
from nas.space.signature import TensorType, image_inputs
from nas.values.target import Target

FP32, INT8, DYNAMIC = (Target("onnxruntime-cpu", precision) for precision in ("fp32", "int8", "int8-dynamic"))
RUNTIME = OnnxRuntimeCpu()


def images_of(count: int) -> Float32Array:
    """Return smooth images of varying brightness, like photographs."""
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((count, 3, 4, 4)) + rng.standard_normal((count, 1, 1, 1))
    return np.kron(coarse, np.ones((1, 1, 4, 4))).astype(np.float32)


@pytest.fixture(name="exported", scope="module")
def exported_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network, exported for a batch of two."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    torch.manual_seed(0)
    module = Convolutional()
    with torch.no_grad():  # an untrained batch norm would have no effect
        for _ in range(3):
            module(torch.from_numpy(images_of(64)))
    export_onnx(module, image_inputs((3, 16, 16)), 2, path)
    return path


def deploy(
    exported: Path, precision: str, folder: Path, images: Float32Array | None = None, *, classifies: bool = True
) -> tuple[Deployed, Target]:
    folder.mkdir()
    target = Target("onnxruntime-cpu", precision, batch=2)
    model = ExportedModel(exported, None if images is None else lambda: [images], classifies=lambda: classifies)
    return RUNTIME.convert(model, target, folder), target


def correlation(first: Float32Array, second: Float32Array) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@pytest.mark.parametrize("target", [INT8, DYNAMIC], ids=str)
def test_weights_keep_to_seven_bits_for_a_device_that_needs_it(target: Target, exported: Path, tmp_path: Path) -> None:
    """That device may be another one than this machine."""
    for narrow, most in ((True, 64), (False, 127)):
        (folder := tmp_path / str(narrow)).mkdir()
        made = RUNTIME.convert(ExportedModel(exported, narrow=narrow), target, folder)
        graph = onnx.load(made.path).graph
        assert fills_bytes(onnx.load(made.path)) is not narrow
        weights = [numpy_helper.to_array(each) for each in graph.initializer if each.data_type == TensorProto.INT8]
        assert max(int(np.abs(each.astype(int)).max()) for each in weights if each.ndim > 1) == most


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_precisions_that_it_lacks_are_refused(precision: str) -> None:
    """The reason names the precision and the target, and suggests one that works."""
    target = Target("onnxruntime-cpu", precision)
    assert RUNTIME.why_unavailable(target) == (
        f"onnxruntime-cpu runs fp32, int8, int8-dynamic, but {target} asks for {precision}; "
        "write onnxruntime-cpu:fp32, or choose another runtime of nas target list."
    )
    for known in (FP32, INT8, DYNAMIC):
        assert RUNTIME.why_unavailable(known) is None


def test_fp32_is_the_file_as_it_was_exported(exported: Path, tmp_path: Path) -> None:
    """Nothing is written for fp32, and the outputs are identical."""
    deployed, target = deploy(exported, "fp32", tmp_path / "deployed", images_of(8))
    assert deployed.path == exported
    assert list((tmp_path / "deployed").iterdir()) == []
    assert deployed.details == {}
    session = RUNTIME.open(deployed.path, target)
    assert session.conditions()["executed_precision"] == "fp32"
    assert session.conditions()["input_shape"] == [2, 3, 16, 16]
    images = images_of(2)
    np.testing.assert_array_equal(session.outputs([images]), outputs_of(exported, [images]))


def test_static_int8_runs_int8(exported: Path, tmp_path: Path) -> None:
    """ONNX Runtime's graph is int8, weights take a quarter of the bytes, and outputs are close to fp32's."""
    plain, _ = deploy(exported, "fp32", tmp_path / "fp32")
    deployed, target = deploy(exported, "int8", tmp_path / "int8", images_of(64))
    assert deployed.path.parent == tmp_path / "int8"
    assert deployed.weight_bytes < 0.4 * plain.weight_bytes
    assert deployed.file_bytes < 0.6 * plain.file_bytes
    assert deployed.details == {"calibrated_on": "64 training items"}
    session = RUNTIME.open(deployed.path, target)
    assert session.conditions()["executed_precision"] == "int8"
    assert session.conditions()["input_shape"] == [2, 3, 16, 16]
    images = images_of(20)
    found = np.concatenate([session.outputs([images[i : i + 2]]) for i in range(0, 20, 2)])
    assert 0.95 < correlation(found, outputs_of(exported, [images])) < 1


def test_static_int8_without_images_is_calibrated_at_random(exported: Path, tmp_path: Path) -> None:
    """Without images int8 is calibrated on random inputs, and the details say so."""
    deployed, target = deploy(exported, "int8", tmp_path / "int8")
    assert deployed.details == {"calibrated_on": "random inputs"}
    assert RUNTIME.open(deployed.path, target).conditions()["executed_precision"] == "int8"


@pytest.mark.parametrize("count", [1, 3])
def test_odd_numbers_of_images_calibrate_too(exported: Path, tmp_path: Path, count: int) -> None:
    """Fewer images than a batch are repeated, and an incomplete last batch is left out."""
    deployed, _ = deploy(exported, "int8", tmp_path / "int8", images_of(count))
    assert deployed.weight_bytes > 0


@pytest.mark.parametrize("stays", [True, False])
def test_a_small_head_stays_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
    """In int8 a fitted head of a tuned network answered twice as often wrongly, and took no less time."""
    monkeypatch.setattr(onnx_runtime, "MOST_OF_HEAD", 0.05 if stays else 0.0)
    torch.manual_seed(0)
    export_onnx(Cancelling().eval(), image_inputs((3, 16, 16)), 2, tmp_path / "model.onnx")
    deployed, target = deploy(tmp_path / "model.onnx", "int8", tmp_path / "int8", images_of(64))
    images = images_of(20)
    session = RUNTIME.open(deployed.path, target)
    found = np.concatenate([session.outputs([images[i : i + 2]]) for i in range(0, 20, 2)])
    assert session.conditions()["executed_precision"] == ("int8 in 3 of 4 products" if stays else "int8")
    plain = outputs_of(tmp_path / "model.onnx", [images])
    assert (float(np.std(found - plain) / np.std(plain)) < 0.3) == stays


@pytest.mark.parametrize("decomposed", [False, True])
def test_sums_of_a_transformer_stay_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decomposed: bool) -> None:
    """Were they in int8, large channels would leave the others no bits. Products are in int8 in both cases.

    How much they lose depends on the processor: some add products of bytes in 16 bits, and weights get 7 bits there.
    """
    torch.manual_seed(1)
    export_onnx(Transformer(decomposed).eval(), image_inputs((3, 16, 16)), 2, tmp_path / "model.onnx")
    images = images_of(20)
    plain = outputs_of(tmp_path / "model.onnx", [images])
    lost = []
    for name in ("products", "everything"):
        deployed, target = deploy(tmp_path / "model.onnx", "int8", tmp_path / name, images_of(64))
        session = RUNTIME.open(deployed.path, target)
        found = np.concatenate([session.outputs([images[i : i + 2]]) for i in range(0, 20, 2)])
        assert "int8" in session.conditions()["executed_precision"]
        lost.append(float(np.std(found - plain, axis=0).mean() / np.std(plain, axis=0).mean()))
        monkeypatch.setattr(onnx_runtime, "is_transformer", lambda model: False)
        monkeypatch.setattr(onnx_runtime, "light_heads", lambda model, share: [])
    assert lost[0] < min(0.5, lost[1] / 2)


@pytest.mark.parametrize("gain", [100.0, 10_000.0])
def test_values_of_rare_items_are_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    """With a range for all of them, 8 bits leave few steps to the others, and usual images look alike."""
    torch.manual_seed(0)
    export_onnx(Spiking(gain).eval(), image_inputs((3, 16, 16)), 2, tmp_path / "model.onnx")
    usual, spiked = images_of(20), images_of(128)
    spiked[::32] += 6
    plain = outputs_of(tmp_path / "model.onnx", [usual])
    lost = []
    for name, share in (("clipped", 0.95), ("whole", 1.0)):
        monkeypatch.setattr(onnx_runtime, "WITHIN_RANGE", share)
        deployed, target = deploy(tmp_path / "model.onnx", "int8", tmp_path / name, spiked)
        assert deployed.details["ranges"] == f"reach the largest values of {share:.0%} of these, and the smallest"
        session = RUNTIME.open(deployed.path, target)
        found = np.concatenate([session.outputs([usual[i : i + 2]]) for i in range(0, 20, 2)])
        lost.append(float(np.std(found - plain, axis=0).mean() / np.std(plain, axis=0).mean()))
    assert lost[0] < min(0.3, lost[1] / 3)


@pytest.mark.parametrize("count", [10, 128])
def test_numbers_and_few_items_are_not_clipped(tmp_path: Path, count: int) -> None:
    """The largest output is that of the brightest image, and stays: it is what a regression is for."""
    torch.manual_seed(0)
    export_onnx(Spiking().eval(), image_inputs((3, 16, 16)), 2, tmp_path / "model.onnx")
    images = images_of(count)
    images[:2] += 6
    deployed, target = deploy(tmp_path / "model.onnx", "int8", tmp_path / "int8", images, classifies=count < 128)
    assert "ranges" not in deployed.details
    found = RUNTIME.open(deployed.path, target).outputs([images[:2]])
    plain = outputs_of(tmp_path / "model.onnx", [images[:2]])
    assert np.abs(found - plain).max() < 0.1 * np.abs(plain).max()


@pytest.mark.parametrize("classifies", [True, False])
def test_the_task_tells_a_measuring_process_if_ranges_may_be_cut(tmp_path: Path, classifies: bool) -> None:
    export_onnx(Spiking().eval(), image_inputs((3, 16, 16)), 2, tmp_path / "model.onnx")
    model = ExportedModel(tmp_path / "model.onnx", lambda: [images_of(64)], classifies=lambda: classifies)
    (tmp_path / "int8").mkdir()
    with MeasuringProcess(Target("onnxruntime-cpu", "int8", batch=2), 60.0) as process:
        details = process.convert(model, tmp_path / "int8").details
    assert ("ranges" in details) == classifies


def test_another_conversion_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that were made in another way are measured again, but only in the precision in which they differ."""
    targets = [Target("onnxruntime-cpu", precision) for precision in ("fp32", "int8")]
    before = [fingerprint_of(each, {}) for each in targets]
    monkeypatch.setattr(OnnxRuntimeCpu, "conversions", {"int8": 99})
    fp32, int8 = (fingerprint_of(each, {}) for each in targets)
    assert fp32 == before[0]
    assert int8 != before[1]


def test_calibration_matters(exported: Path, tmp_path: Path) -> None:
    """Calibration on images a hundred times as bright spoils the outputs."""
    images = images_of(64)
    errors = []
    for name, calibration in (("right", images), ("wrong", 100 * images)):
        deployed, target = deploy(exported, "int8", tmp_path / name, calibration)
        found = RUNTIME.open(deployed.path, target).outputs([images[:2]])
        errors.append(float(np.abs(found - outputs_of(exported, [images[:2]])).max()))
    assert errors[1] > 3 * errors[0]


def test_dynamic_int8_runs_int8(exported: Path, tmp_path: Path) -> None:
    """int8-dynamic needs no calibration, because ranges are found at run time."""
    plain, _ = deploy(exported, "fp32", tmp_path / "fp32")
    deployed, target = deploy(exported, "int8-dynamic", tmp_path / "int8", images_of(64))
    assert deployed.weight_bytes < 0.4 * plain.weight_bytes
    assert deployed.details == {}
    session = RUNTIME.open(deployed.path, target)
    assert session.conditions()["executed_precision"] == "int8"
    images = images_of(2)
    assert correlation(session.outputs([images]), outputs_of(exported, [images])) > 0.95


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-dynamic"])
def test_another_batch_is_refused(exported: Path, tmp_path: Path, precision: str) -> None:
    """A file with another batch size than the target's is refused."""
    deployed, target = deploy(exported, precision, tmp_path / "deployed")
    with pytest.raises(ValueError, match=r"must have the batch size 3 of .*batch=3.*, but has \(2, 3, 16, 16\)"):
        RUNTIME.open(deployed.path, Target("onnxruntime-cpu", precision, batch=3))
    RUNTIME.open(deployed.path, target).run()


def test_conditions_are_plain_json(exported: Path) -> None:
    """The conditions survive JSON."""
    conditions = dict(RUNTIME.open(exported, Target("onnxruntime-cpu", batch=2)).conditions())
    assert json.loads(json.dumps(conditions, allow_nan=False)) == conditions


def test_takes_models_of_several_inputs_and_symbolic_batches(tmp_path: Path) -> None:
    """Integer inputs are indices, a symbolic batch becomes the target's, and all input shapes are reported."""
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ("N", 4)),
        helper.make_tensor_value_info("index", TensorProto.INT64, ("N",)),
    ]
    weights = [numpy_helper.from_array(np.ones((2, 4), np.float32), "table")]
    nodes = [
        helper.make_node("Gather", ["table", "index"], ["row"]),
        helper.make_node("Mul", ["image", "row"], ["logits"]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", 4))]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    session = RUNTIME.open(path, Target("onnxruntime-cpu", batch=5))
    session.run()
    assert session.conditions()["executed_precision"] == "fp32"
    assert session.conditions()["input_shape"] == [[5, 4], [5]]


def test_external_data_are_part_of_the_size(tmp_path: Path) -> None:
    """The size of an fp32 file includes its external data."""
    path = with_external_data(tmp_path / "model", "weights.bin")
    deployed = RUNTIME.convert(ExportedModel(path), FP32, tmp_path / "deployed")
    assert deployed.file_bytes == path.stat().st_size + 32 * 4
    assert deployed.weight_bytes == 32 * 4


def test_external_data_is_not_followed_outside(exported: Path, tmp_path: Path) -> None:
    """Deploying and opening both refuse external data outside the model's folder."""
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "model.onnx"
    model = onnx.load(exported)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    path.write_bytes(model.SerializeToString())
    (tmp_path / "deployed").mkdir()
    for target in (FP32, INT8, DYNAMIC):
        with pytest.raises(ValueError, match=r"external data of model\.onnx must lie in its own folder"):
            RUNTIME.convert(ExportedModel(path), target, tmp_path / "deployed")
        with pytest.raises(Exception, match="weights"):
            RUNTIME.open(path, target)
    assert list((tmp_path / "deployed").iterdir()) == []


def test_no_usage_statistics_are_recorded(tmp_path: Path) -> None:
    """ONNX Runtime writes no database of usage statistics to the user's cache folder."""
    code = "from nas.hardware.runtimes.onnx_runtime import load_onnxruntime; load_onnxruntime().SessionOptions()"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-dynamic"])
def test_a_model_that_ignores_an_input_is_deployed(tmp_path: Path, precision: str) -> None:
    """In each precision it takes both inputs and gives the outputs of the exported file."""

    class FirstAlone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))

        def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.head(first)
            return found

    torch.manual_seed(0)
    path, target = tmp_path / "model.onnx", Target("onnxruntime-cpu", precision, batch=2)
    export_onnx(FirstAlone(), [TensorType("first", (64,)), TensorType("second", (4,))], 2, path)
    given = [np.random.default_rng(0).standard_normal((64, size)).astype(np.float32) for size in (64, 4)]
    (tmp_path / "deployed").mkdir()
    deployed = RUNTIME.convert(ExportedModel(path, lambda: given), target, tmp_path / "deployed")
    found = RUNTIME.open(deployed.path, target).outputs([each[:2] for each in given])
    assert correlation(found, outputs_of(path, [each[:2] for each in given])) > 0.99
