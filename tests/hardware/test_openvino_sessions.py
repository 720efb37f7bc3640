"""Sessions of OpenVINO: inputs, threads, shapes, refusals and no usage statistics."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from openvino_models import (
    BATCH,
    SHAPE,
    available,
    convolutions,
    dense,
    images_of,
    of_space,
    target_of,
    two_inputs,
    write_model,
)

from nas.hardware.runtimes.openvino_runtime import OpenVinoCpu
from nas.hardware.runtimes.runtime import ExportedModel, Float32Array


@pytest.fixture(name="runtime")
def fp32_runtime() -> OpenVinoCpu:
    return available("fp32")


@pytest.fixture(name="small", scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One exported model of batch size ``BATCH``."""
    return write_model(convolutions(), tmp_path_factory.mktemp("model"))


def timed_images() -> Float32Array:
    """The inputs with which a session of ``small_model`` is timed."""
    return np.random.default_rng(0).standard_normal((BATCH, *SHAPE)).astype(np.float32)


class TestSession:
    def test_inputs_stay_in_place(self, runtime: OpenVinoCpu, small: Path, tmp_path: Path) -> None:
        """Outputs for other images do not change the timed inputs."""
        session = runtime.open(runtime.convert(ExportedModel(small), target_of(), tmp_path).path, target_of())
        session.outputs([images_of(BATCH)])
        session.run()
        timed = np.array(session._request.get_output_tensor().data)
        np.testing.assert_allclose(timed, session.outputs([timed_images()]), rtol=1e-5)
        assert np.abs(timed - session.outputs([images_of(BATCH)])).max() > 1e-3

    def test_outputs_are_kept(self, runtime: OpenVinoCpu, small: Path) -> None:
        """Later inferences do not overwrite returned outputs."""
        session = runtime.open(small, target_of())
        first = session.outputs([images_of(BATCH)])
        before = first.copy()
        session.outputs([timed_images()])
        np.testing.assert_array_equal(first, before)

    def test_tells_the_threads_that_there_are(self, runtime: OpenVinoCpu, small: Path) -> None:
        """OpenVINO uses at most one thread for each core, and the conditions report their number."""
        assert runtime.open(small, target_of(threads=1)).conditions()["threads"] == 1
        asked = 10 * (os.cpu_count() or 1)
        assert 1 <= runtime.open(small, target_of(threads=asked)).conditions()["threads"] < asked

    @pytest.mark.slow
    @pytest.mark.parametrize("patch_size", [2, 4])
    def test_fuses_what_stays_right(self, runtime: OpenVinoCpu, tmp_path: Path, patch_size: int) -> None:
        """Attention is fused for four heads over sixteen tokens but not over four, and the conditions say so."""
        module = of_space("timm-vit", patch_size=patch_size, width=128, head_width=32, depth=1)
        session = runtime.open(write_model(module, tmp_path), target_of())
        kinds = {
            node.get_rt_info()["layerType"].astype(str) for node in session._compiled.get_runtime_model().get_ops()
        }
        assert ("Subgraph" in kinds) == session.conditions()["fuses_subgraphs"] == (patch_size == 2)

    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell a process's cores")
    def test_leaves_the_process_on_its_cores(self, runtime: OpenVinoCpu, small: Path) -> None:
        """OpenVINO does not change the cores to which the process is pinned."""
        before = os.sched_getaffinity(0)
        runtime.open(small, target_of()).run()
        assert os.sched_getaffinity(0) == before

    def test_takes_several_inputs(self, runtime: OpenVinoCpu, tmp_path: Path) -> None:
        """Inputs may have any type, and integers are valid indices."""
        target = target_of()
        session = runtime.open(runtime.convert(ExportedModel(two_inputs(tmp_path)), target, tmp_path).path, target)
        session.run()
        assert session.conditions()["input_shape"] == [[BATCH, 4], [BATCH, 3]]


class TestShapes:
    @pytest.mark.parametrize("batch", [1, 3])
    def test_fixes_a_symbolic_batch(self, runtime: OpenVinoCpu, tmp_path: Path, batch: int) -> None:
        """A symbolic batch becomes the target's before compiling."""
        target = target_of(batch=batch)
        path = dense(tmp_path, ["batch", 4])
        for opened in (path, runtime.convert(ExportedModel(path), target, tmp_path).path):
            session = runtime.open(opened, target)
            session.run()
            assert session.conditions()["input_shape"] == [batch, 4]
            assert session.outputs([np.ones((batch, 4), np.float32)]).shape == (batch, 2)

    def test_refuses_another_batch(self, runtime: OpenVinoCpu, small: Path, tmp_path: Path) -> None:
        """Another batch size is refused when deploying and when opening."""
        with pytest.raises(ValueError, match="batch size 5 "):
            runtime.convert(ExportedModel(small), target_of(batch=5), tmp_path)
        deployed = runtime.convert(ExportedModel(small), target_of(), tmp_path)
        with pytest.raises(ValueError, match="batch size 5 "):
            runtime.open(deployed.path, target_of(batch=5))

    def test_refuses_other_sizes_that_are_not_fixed(self, runtime: OpenVinoCpu, tmp_path: Path) -> None:
        """The error says what to do about a size that is not fixed."""
        with pytest.raises(ValueError, match="export the model with fixed sizes"):
            runtime.convert(ExportedModel(dense(tmp_path, [BATCH, "width"])), target_of(), tmp_path)


class TestRefusals:
    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None], ids=["empty", "garbage", "no file"])
    def test_refuses_what_is_no_model(self, runtime: OpenVinoCpu, tmp_path: Path, content: bytes | None) -> None:
        """The error says that the file is no ONNX file."""
        path = tmp_path / "model.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match="must be an ONNX file"):
            runtime.convert(ExportedModel(path), target_of(), tmp_path)

    def test_refuses_a_broken_ir(self, runtime: OpenVinoCpu, tmp_path: Path) -> None:
        """A broken IR raises an exception with a message."""
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
            runtime.convert(ExportedModel(path), target_of(), tmp_path)

    @pytest.mark.parametrize("precision", ["fp16", "int8-dynamic"])
    def test_names_the_precisions_that_it_has(self, precision: str) -> None:
        """The reason lists the precisions, even if OpenVINO is not installed."""
        reason = OpenVinoCpu().why_unavailable(target_of(precision))
        assert reason is not None
        assert "fp32, bf16, int8" in reason
        assert str(target_of(precision)) in reason

    @pytest.mark.parametrize(("precision", "package"), [("fp32", "openvino"), ("int8", "openvino"), ("int8", "nncf")])
    def test_names_the_package_that_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, precision: str, package: str
    ) -> None:
        """The reason names the missing package and how to install it. Opening an int8 model needs no NNCF."""
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else object())
        reason = OpenVinoCpu().why_not_converted(target_of(precision))
        assert OpenVinoCpu().why_unavailable(target_of(precision)) == (reason if package == "openvino" else None)
        assert reason is not None
        assert "pip install --editable '.[openvino]'." in reason
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
from nas.hardware.runtimes import openvino_runtime
from nas.hardware.runtimes.runtime import ExportedModel
from nas.values.target import Target
assert "openvino" not in sys.modules
runtime, target = openvino_runtime.OpenVinoCpu(), Target("openvino-cpu", sys.argv[2], batch=2)
runtime.version()
deployed = runtime.convert(ExportedModel(Path(sys.argv[1])), target, Path.cwd())
runtime.open(deployed.path, target).run()
import concurrent.futures.thread
concurrent.futures.thread._python_exit()  # waits for background senders to end
assert not tried, tried
assert not any(name.startswith("openvino_telemetry.") for name in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tells_nobody(small: Path, tmp_path: Path, precision: str) -> None:
    """Outside of CI, OpenVINO and NNCF open no connection, write no file at home and print nothing."""
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
