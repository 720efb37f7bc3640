"""OpenVINO runs what was asked for, says what really runs, and tells nobody."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tiny_space import TinySpace
from torch import nn

from nas.formats.export import PARITY_TOLERANCE, export_onnx
from nas.formats.onnx_file import read_onnx, weight_bytes
from nas.formats.onnx_session import outputs_of
from nas.hardware.runtimes.openvino_runtime import OpenVinoCpu, OpenVinoSession
from nas.hardware.runtimes.runtime import Float32Array, openvino_runtime, random_images
from nas.space.search_space import architecture_from, load_space
from nas.values.target import Target

SHAPE = (1, 8, 8)
BATCH = 2


def target_of(precision: str = "fp32", batch: int = BATCH, threads: int = 1) -> Target:
    return Target("openvino-cpu", precision, batch, threads)


def images_of(count: int) -> Float32Array:
    return np.random.default_rng(7).standard_normal((count, *SHAPE)).astype(np.float32)


def available(precision: str) -> OpenVinoCpu:
    runtime = OpenVinoCpu()
    reason = runtime.why_unavailable(target_of(precision))
    if reason is not None:
        pytest.skip(reason)
    return runtime


@pytest.fixture(name="runtime")
def fp32_runtime() -> OpenVinoCpu:
    return available("fp32")


def convolutions() -> nn.Module:
    space = TinySpace()
    return space.build(architecture_from(space, {"width": 16, "depth": 2, "kernel": 3}))


def of_space(name: str, **values: int) -> nn.Module:
    space = load_space(name, {}, input_shape=SHAPE, classes=10)
    largest = {choice.name: choice.options[-1] for choice in space.choices}
    return space.build(architecture_from(space, {**largest, **values}))


def as_many_heads_as_tokens() -> nn.Module:
    return of_space("timm-vit", patch_size=4, width=128, head_width=32, depth=2)


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
    """An exported model of batch size ``BATCH`` where it does not matter which."""
    return write_model(convolutions(), tmp_path_factory.mktemp("model"))


def write_model(module: nn.Module, folder: Path) -> Path:
    torch.manual_seed(0)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
    module(torch.from_numpy(images_of(32)))  # batch norms with statistics of their own
    path = folder / "model.onnx"
    export_onnx(module, SHAPE, BATCH, path)
    return path


def all_outputs(session: OpenVinoSession, images: Float32Array) -> Float32Array:
    return np.concatenate([session.outputs(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])


def kernels_of_products(session: OpenVinoSession) -> list[str]:
    """Names of the kernels that run convolutions and dense layers, such as brgconv_avx512_f32."""
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
        """As ONNX Runtime, within what the order of sums makes."""
        deployed = runtime.deploy(exported, target_of(), None, tmp_path)
        images = images_of(8)
        found = all_outputs(runtime.open(deployed.path, target_of()), images)
        expected = outputs_of(exported, images)
        assert np.abs(found - expected).max() <= PARITY_TOLERANCE * np.abs(expected).max()

    def test_runs_fp32(self, runtime: OpenVinoCpu, exported: Path, tmp_path: Path) -> None:
        """Also on a processor where OpenVINO would choose bf16 for itself."""
        session = runtime.open(runtime.deploy(exported, target_of(), None, tmp_path).path, target_of())
        assert session.conditions()["executed_precision"] == "fp32"
        assert all(kernel.endswith("f32") for kernel in kernels_of_products(session))

    def test_keeps_weights_as_they_are(self, runtime: OpenVinoCpu, exported: Path, tmp_path: Path) -> None:
        """They are not halved to fp16 in the file, and its weights are most of what the IR's data holds."""
        deployed = runtime.deploy(exported, target_of(), None, tmp_path)
        assert 0.95 < deployed.weight_bytes / weight_bytes(read_onnx(exported)) < 1.05
        assert {file.name for file in deployed.path.iterdir()} == {"model.xml", "model.bin"}
        assert deployed.file_bytes > deployed.weight_bytes


class TestBf16:
    def test_runs_bf16(self, exported: Path, tmp_path: Path) -> None:
        """With outputs that are near fp32's, and not equal to them."""
        runtime = available("bf16")
        deployed = runtime.deploy(exported, target_of("bf16"), None, tmp_path)
        session = runtime.open(deployed.path, target_of("bf16"))
        assert session.conditions()["executed_precision"] == "bf16"
        assert all(kernel.endswith("bf16") for kernel in kernels_of_products(session))
        images = images_of(8)
        found, expected = all_outputs(session, images), outputs_of(exported, images)
        assert 1e-5 < np.abs(found - expected).max() / np.abs(expected).max() < 0.1

    @pytest.mark.parametrize(("flags", "runs"), [({"avx512f"}, False), ({"amx_bf16"}, True), (set(), True)])
    def test_needs_a_processor(
        self, runtime: OpenVinoCpu, monkeypatch: pytest.MonkeyPatch, flags: set[str], runs: bool
    ) -> None:
        """One that emulates bf16 is refused before anything starts; where flags are not told, OpenVINO decides."""
        monkeypatch.setattr(openvino_runtime, "_processor_flags", lambda: frozenset(flags))
        reason = runtime.why_unavailable(target_of("bf16"))
        assert (reason is None) == runs
        assert reason is None or str(target_of("bf16")) in reason

    def test_openvino_decides_last(
        self, runtime: OpenVinoCpu, monkeypatch: pytest.MonkeyPatch, small: Path, tmp_path: Path
    ) -> None:
        """Where it does not list bf16, nothing is opened that would run as fp32."""
        deployed = runtime.deploy(small, target_of("bf16"), None, tmp_path)

        class Fp32Only:
            def get_property(self, device: str, name: str) -> list[str]:
                return ["FP32", "INT8"]

        monkeypatch.setattr(openvino_runtime, "_core", Fp32Only)
        with pytest.raises(ValueError, match="bf16 needs a processor"):
            runtime.open(deployed.path, target_of("bf16"))


class TestInt8:
    def test_runs_int8(self, exported: Path, tmp_path: Path) -> None:
        """Most products are of bytes, weights take less than half, and outputs go with fp32's."""
        runtime = available("int8")
        images = images_of(32)
        deployed = runtime.deploy(exported, target_of("int8"), images, tmp_path)
        session = runtime.open(deployed.path, target_of("int8"))
        assert session.conditions()["executed_precision"].startswith("int8")
        kernels = kernels_of_products(session)
        assert sum(kernel.endswith("i8") for kernel in kernels) > len(kernels) / 2
        assert deployed.weight_bytes < 0.5 * weight_bytes(read_onnx(exported))
        found, expected = all_outputs(session, images), outputs_of(exported, images)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9
        assert np.abs(found - expected).max() > 0

    @pytest.mark.parametrize(
        ("count", "said"), [(5, "5 training images"), (1, "1 training images"), (None, "random inputs")]
    )
    def test_says_what_it_was_calibrated_on(self, small: Path, tmp_path: Path, count: int | None, said: str) -> None:
        """Any number of images will do, also fewer than a batch, and none at all."""
        runtime = available("int8")
        images = None if count is None else images_of(count)
        details = runtime.deploy(small, target_of("int8"), images, tmp_path).details
        assert details["calibrated_on"] == said
        assert "nncf" in details["quantised_by"]

    def test_ranges_are_those_of_the_images(self, small: Path, tmp_path: Path) -> None:
        """Calibrated on images a thousand times as dark, it is wrong on others."""
        runtime = available("int8")
        images = images_of(16)
        expected = outputs_of(small, images)
        errors = []
        for scale in (1.0, 1e-3):
            folder = tmp_path / str(scale)
            folder.mkdir()
            deployed = runtime.deploy(small, target_of("int8"), images * np.float32(scale), folder)
            found = all_outputs(runtime.open(deployed.path, target_of("int8")), images)
            errors.append(np.abs(found - expected).max())
        assert errors[1] > 5 * errors[0]

    def test_prints_nothing(self, small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """Neither bars nor advice."""
        available("int8").deploy(small, target_of("int8"), images_of(4), tmp_path)
        assert capfd.readouterr() == ("", "")

    def test_refuses_several_inputs(self, tmp_path: Path) -> None:
        """There are no images for the second."""
        with pytest.raises(ValueError, match="one input, but has 2"):
            available("int8").deploy(two_inputs(tmp_path), target_of("int8"), None, tmp_path)


class TestSession:
    def test_inputs_stay_in_place(self, runtime: OpenVinoCpu, small: Path, tmp_path: Path) -> None:
        """What ran on other images does not change what is timed."""
        session = runtime.open(runtime.deploy(small, target_of(), None, tmp_path).path, target_of())
        session.outputs(images_of(BATCH))
        session.run()
        timed = np.array(session._request.get_output_tensor().data)
        np.testing.assert_allclose(timed, session.outputs(random_images((BATCH, *SHAPE))), rtol=1e-5)
        assert np.abs(timed - session.outputs(images_of(BATCH))).max() > 1e-3

    def test_outputs_are_kept(self, runtime: OpenVinoCpu, small: Path) -> None:
        """Later inferences do not write into outputs that were given before."""
        session = runtime.open(small, target_of())
        first = session.outputs(images_of(BATCH))
        before = first.copy()
        session.outputs(random_images((BATCH, *SHAPE)))
        np.testing.assert_array_equal(first, before)

    def test_tells_the_threads_that_there_are(self, runtime: OpenVinoCpu, small: Path) -> None:
        """OpenVINO takes one for each core at most, and nothing says so but this."""
        assert runtime.open(small, target_of(threads=1)).conditions()["threads"] == 1
        asked = 10 * (os.cpu_count() or 1)
        assert 1 <= runtime.open(small, target_of(threads=asked)).conditions()["threads"] < asked

    @pytest.mark.parametrize("patch_size", [2, 4])
    def test_fuses_what_stays_right(self, runtime: OpenVinoCpu, tmp_path: Path, patch_size: int) -> None:
        """Attention of four heads over sixteen tokens, but not over four, and it is told which."""
        module = of_space("timm-vit", patch_size=patch_size, width=128, head_width=32, depth=1)
        session = runtime.open(write_model(module, tmp_path), target_of())
        kinds = {
            node.get_rt_info()["layerType"].astype(str) for node in session._compiled.get_runtime_model().get_ops()
        }
        assert ("Subgraph" in kinds) == session.conditions()["fuses_subgraphs"] == (patch_size == 2)

    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell a process's cores")
    def test_leaves_the_process_on_its_cores(self, runtime: OpenVinoCpu, small: Path) -> None:
        """Whoever measures has pinned it."""
        before = os.sched_getaffinity(0)
        runtime.open(small, target_of()).run()
        assert os.sched_getaffinity(0) == before

    def test_takes_several_inputs(self, runtime: OpenVinoCpu, tmp_path: Path) -> None:
        """Of any type; whole numbers are indices that are there."""
        target = target_of()
        session = runtime.open(runtime.deploy(two_inputs(tmp_path), target, None, tmp_path).path, target)
        session.run()
        assert session.conditions()["input_shape"] == [[BATCH, 4], [BATCH, 3]]


class TestShapes:
    @pytest.mark.parametrize("batch", [1, 3])
    def test_fixes_a_symbolic_batch(self, runtime: OpenVinoCpu, tmp_path: Path, batch: int) -> None:
        """To the target's, before it is compiled."""
        target = target_of(batch=batch)
        path = dense(tmp_path, ["batch", 4])
        for opened in (path, runtime.deploy(path, target, None, tmp_path).path):
            session = runtime.open(opened, target)
            session.run()
            assert session.conditions()["input_shape"] == [batch, 4]
            assert session.outputs(np.ones((batch, 4), np.float32)).shape == (batch, 2)

    def test_refuses_another_batch(self, runtime: OpenVinoCpu, small: Path, tmp_path: Path) -> None:
        """When it deploys, and when it opens what was deployed for another."""
        with pytest.raises(ValueError, match="batch size 5 "):
            runtime.deploy(small, target_of(batch=5), None, tmp_path)
        deployed = runtime.deploy(small, target_of(), None, tmp_path)
        with pytest.raises(ValueError, match="batch size 5 "):
            runtime.open(deployed.path, target_of(batch=5))

    def test_refuses_other_sizes_that_are_not_fixed(self, runtime: OpenVinoCpu, tmp_path: Path) -> None:
        """With what to do about it."""
        with pytest.raises(ValueError, match="export the model with fixed sizes"):
            runtime.deploy(dense(tmp_path, [BATCH, "width"]), target_of(), None, tmp_path)


class TestRefusals:
    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None], ids=["empty", "garbage", "no file"])
    def test_refuses_what_is_no_model(self, runtime: OpenVinoCpu, tmp_path: Path, content: bytes | None) -> None:
        """With a text that says so."""
        path = tmp_path / "model.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match="must be an ONNX file"):
            runtime.deploy(path, target_of(), None, tmp_path)

    def test_refuses_a_broken_ir(self, runtime: OpenVinoCpu, tmp_path: Path) -> None:
        """With any exception, whose text is not empty."""
        (tmp_path / "model.xml").write_text("<net")
        (tmp_path / "model.bin").write_bytes(b"")
        with pytest.raises(Exception, match=r"."):
            runtime.open(tmp_path, target_of())

    def test_reads_no_data_of_others(self, runtime: OpenVinoCpu, tmp_path: Path) -> None:
        """External data outside the model's folder is refused before OpenVINO sees the file."""
        (tmp_path / "secret").write_bytes(np.ones((4, 2), np.float32).tobytes())
        folder = tmp_path / "model"
        folder.mkdir()
        path = dense(folder, [BATCH, 4])
        model = onnx.load(path)
        onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../secret")
        model.graph.initializer[0].ClearField("raw_data")
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match="must lie in its own folder"):
            runtime.deploy(path, target_of(), None, tmp_path)

    @pytest.mark.parametrize("precision", ["fp16", "int8-dynamic"])
    def test_names_the_precisions_that_it_has(self, precision: str) -> None:
        """Whether or not OpenVINO is installed."""
        reason = OpenVinoCpu().why_unavailable(target_of(precision))
        assert reason is not None
        assert "fp32, bf16, int8" in reason
        assert str(target_of(precision)) in reason

    @pytest.mark.parametrize(("precision", "package"), [("fp32", "openvino"), ("int8", "openvino"), ("int8", "nncf")])
    def test_names_the_package_that_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, precision: str, package: str
    ) -> None:
        """And how to install it."""
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else object())
        reason = OpenVinoCpu().why_unavailable(target_of(precision))
        assert reason is not None
        assert f"pip install {package}." in reason
        assert str(target_of(precision)) in reason


USING_IT = """
import socket, sys
from pathlib import Path
import numpy as np
tried = []
def refuse(*arguments):
    tried.append(arguments)
    raise OSError("no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from nas.hardware.runtimes.runtime import openvino_runtime
from nas.values.target import Target
assert "openvino" not in sys.modules
runtime, target = openvino_runtime.OpenVinoCpu(), Target("openvino-cpu", sys.argv[2], batch=2)
runtime.version()
deployed = runtime.deploy(Path(sys.argv[1]), target, None, Path.cwd())
runtime.open(deployed.path, target).run()
import concurrent.futures.thread
concurrent.futures.thread._python_exit()  # senders in the background have ended
assert not tried, tried
assert not any(name.startswith("openvino_telemetry.") for name in sys.modules)
"""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tells_nobody(small: Path, tmp_path: Path, precision: str) -> None:
    """Outside of tests and CI, where OpenVINO and NNCF would send: no connection, no file at home, nothing printed."""
    available(precision)
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", USING_IT, str(small), precision],
        env={**kept, "HOME": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [path for path in home.rglob("*") if "intel" in path.name.lower() or "openvino" in path.name.lower()]


def dense(folder: Path, shape: list[Any]) -> Path:
    """A dense layer from 4 values to 2, whose input is declared with ``shape``."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (4, 2), np.arange(8, dtype=np.float32).tobytes(), raw=True)
    return save(
        folder,
        [helper.make_node("MatMul", ["values", "weight"], ["logits"])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, shape)],
        [weight],
    )


def two_inputs(folder: Path) -> Path:
    """Rows of a table of two, picked by the second input, times the sum of the first."""
    table = helper.make_tensor("table", TensorProto.FLOAT, (2, 2), np.ones((2, 2), np.float32).tobytes(), raw=True)
    nodes = [
        helper.make_node("Gather", ["table", "indices"], ["rows"]),
        helper.make_node("ReduceSum", ["rows"], ["row"], keepdims=0),
        helper.make_node("Mul", ["values", "row"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info("values", TensorProto.FLOAT, [BATCH, 4]),
        helper.make_tensor_value_info("indices", TensorProto.INT64, ["batch", 3]),
    ]
    return save(folder, nodes, inputs, [table])


def save(folder: Path, nodes: list[Any], inputs: list[Any], weights: list[Any]) -> Path:
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", inputs, [logits], weights)
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return path
