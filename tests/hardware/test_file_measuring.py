"""Model files measured together: numbers for the good files, and a reason for each bad one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fake_bench import FakeBench, latency_ms
from onnx import TensorProto, helper
from onnx_models import linear, model_of, tensor_info, with_external_data
from tiny_space import TinySpace

from nas.errors import CandidateError, RecipeError
from nas.formats.export import export_onnx
from nas.formats.input_sizes import InputSizes
from nas.formats.onnx_file import inputs_of, read_onnx
from nas.hardware.file_measuring import MeasuredFile, measure_files
from nas.hardware.runtimes.runtime import Deployed, ExportedModel
from nas.progress import NullProgress
from nas.space.search_space import enumerate_space
from nas.space.signature import image_inputs, image_signature
from nas.space.tracing import trace_layers
from nas.values.target import Target

SPACE = TinySpace()
SMALL, LARGE = next(iter(enumerate_space(SPACE))), list(enumerate_space(SPACE))[-1]
TARGET = Target("onnxruntime-cpu")


def measured(bench: FakeBench, *paths: Path, sizes: tuple[int, ...] | None = None) -> list[MeasuredFile]:
    given = InputSizes(sizes)
    return measure_files(paths, TARGET, bench, ["latency_ms", "model_bytes"], 0, NullProgress(), sizes and given)


def test_bad_files_have_reasons_and_the_others_numbers(tmp_path: Path) -> None:
    """Results keep the order of the files, and the bench gets no file that refers outside its folder."""
    paths = [tmp_path / f"{architecture.id}.onnx" for architecture in (SMALL, LARGE)]
    for architecture, path in zip((SMALL, LARGE), paths, strict=True):
        export_onnx(SPACE.build(architecture), image_inputs((1, 8, 8)), 1, path)
    (tmp_path / "garbage.onnx").write_bytes(b"\x00garbage")
    outside = with_external_data(tmp_path / "folder", "../weights.bin")
    bench = FakeBench(SPACE)
    found = measured(bench, paths[0], tmp_path / "garbage.onnx", outside, tmp_path / "none.onnx", paths[1])
    assert bench.measured == [SMALL.id, LARGE.id]
    reasons = [each.outcome.reason if isinstance(each.outcome, CandidateError) else "" for each in found]
    assert "garbage.onnx is not" in reasons[1]
    assert "must lie in its own folder, but 'w' points to '../weights.bin'" in reasons[2]
    assert "does not exist" in reasons[3]
    for architecture, each in ((SMALL, found[0]), (LARGE, found[4])):
        assert not isinstance(each.outcome, CandidateError)
        assert each.outcome["latency_ms"].median == pytest.approx(latency_ms(architecture), rel=0.05)
        assert each.macs == sum(
            layer.macs for layer in trace_layers(SPACE.build(architecture), image_signature((1, 8, 8), 10))
        )
        assert each.throughput is not None
        assert each.throughput.items_per_s == pytest.approx(1000 / each.outcome["latency_ms"].median)


def test_results_are_plain_data(tmp_path: Path) -> None:
    """A failure in JSON has its kind and reason, and no numbers."""
    path = tmp_path / f"{SMALL.id}.onnx"
    export_onnx(SPACE.build(SMALL), image_inputs((1, 8, 8)), 1, path)
    good, bad = measured(FakeBench(SPACE), path, tmp_path / "none.onnx")
    data = json.loads(json.dumps([good.to_json(), bad.to_json()], allow_nan=False))
    assert set(data[0]["measured"]) == {"latency_ms", "model_bytes"}
    assert data[0]["throughput_per_s"] > 0
    assert data[1]["failure"]["kind"] == "measure"
    assert "measured" not in data[1]
    assert bad.throughput is None


def macs_of(model: onnx.ModelProto, path: Path, batch: int = 1) -> int | None:
    """Return the multiply-accumulates that are counted for a model."""
    onnx.save(model, path / f"{SMALL.id}.onnx")
    target = Target("onnxruntime-cpu", batch=batch)
    paths = [path / f"{SMALL.id}.onnx"]
    (found,) = measure_files(paths, target, FakeBench(SPACE), ["latency_ms"], 0, NullProgress())
    assert isinstance(found.outcome, dict)
    return found.macs


def test_a_batch_that_the_file_leaves_open_is_the_targets(tmp_path: Path) -> None:
    """A symbolic batch becomes the target's, and its MACs are counted."""
    weights = np.ones((8, 4), np.float32)
    assert macs_of(linear(weights), tmp_path) == 32
    assert macs_of(linear(weights, "N"), tmp_path, batch=3) == 96


def test_what_cannot_be_counted_is_measured_all_the_same(tmp_path: Path) -> None:
    """Contradictory shapes and inputs that are no tensors leave the count unknown, and are measured."""
    crossed = linear(np.ones((5, 4), np.float32))
    crossed.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 8
    macs_of(crossed, tmp_path)
    sequence = helper.make_tensor_sequence_value_info("images", TensorProto.FLOAT, (1, 8))
    nodes = [helper.make_node("SequenceLength", ["images"], ["n"])]
    assert macs_of(model_of(nodes, [sequence], [tensor_info("n", (), TensorProto.INT64)]), tmp_path) == 0


def test_a_runtime_that_takes_no_onnx_files_is_refused(tmp_path: Path) -> None:
    """The message names runtimes that take ONNX files, and nothing is deployed."""
    bench = FakeBench(SPACE)
    bench.model_format = "torch"
    with pytest.raises(RecipeError, match=r"torch-cpu takes torch programs; choose onnxruntime-cpu"):
        measure_files([tmp_path / "a.onnx"], Target("torch-cpu"), bench, ["latency_ms"], 0, NullProgress())
    assert bench.deployed == []


def open_sizes(*sizes: int | str) -> onnx.ModelProto:
    """Return a model with one input of these sizes."""
    return model_of(
        [helper.make_node("Relu", ["images"], ["c"])], [tensor_info("images", sizes)], [tensor_info("c", sizes)]
    )


def test_sizes_that_a_file_leaves_open_are_given(tmp_path: Path) -> None:
    """The bench gets a copy with fixed sizes. Without sizes the reason says what to do."""
    path = tmp_path / f"{SMALL.id}.onnx"
    onnx.save(open_sizes("N", 3, "H", "W"), path)
    before = path.read_bytes()
    given: list[tuple[int | None, ...]] = []

    class Noting(FakeBench):
        def deploy(self, models: Sequence[ExportedModel], *rest: Any) -> list[Deployed | CandidateError]:
            given.extend(each.shape for model in models for each in inputs_of(read_onnx(model.path), 1))
            return super().deploy(models, *rest)

    (without,) = measure_files([path], TARGET, Noting(SPACE), ["latency_ms"], 0, NullProgress())
    assert isinstance(without.outcome, CandidateError)
    assert "images has 1×3×?×?; name them with --input-shape" in without.outcome.reason
    (found,) = measure_files([path], TARGET, Noting(SPACE), ["latency_ms"], 0, NullProgress(), InputSizes((3, 32, 32)))
    assert isinstance(found.outcome, dict)
    assert (found.path, given, path.read_bytes()) == (path, [(1, 3, 32, 32)], before)


def test_each_file_fails_alone(tmp_path: Path) -> None:
    """Malformed graphs, sizes that do not fit and paths to something else leave the results of the others alone."""
    good = tmp_path / f"{SMALL.id}.onnx"
    onnx.save(open_sizes(1, 3, "H", 8), good)
    bad = {
        "malformed": model_of([helper.make_node("MatMul", [], [])], [tensor_info("images", (1, 3, 8, 8))], []),
        "other": open_sizes(1, 1, 8, 8),
        "sequence": model_of(
            [helper.make_node("SequenceLength", ["images"], ["n"])],
            [helper.make_tensor_sequence_value_info("images", TensorProto.FLOAT, (1, 8))],
            [tensor_info("n", (), TensorProto.INT64)],
        ),
    }
    for name, model in bad.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    names = ("other", "sequence", "pipe", "loop", "none")
    paths = [*(tmp_path / f"{name}.onnx" for name in names), tmp_path, good]
    *failed, found = measure_files(
        paths, TARGET, FakeBench(SPACE), ["latency_ms"], 0, NullProgress(), InputSizes((3, 8, 8))
    )
    assert isinstance(found.outcome, dict)
    assert all(isinstance(each.outcome, CandidateError) for each in failed)
    assert json.loads(json.dumps([each.to_json() for each in failed]))
    (tmp_path / "malformed.onnx").rename(tmp_path / f"{LARGE.id}.onnx")  # the runtime decides about it
    (found,) = measure_files(
        [tmp_path / f"{LARGE.id}.onnx"], TARGET, FakeBench(SPACE), ["latency_ms"], 0, NullProgress()
    )
    assert found.macs is None


def test_a_file_whose_weights_onnx_does_not_load_fails_alone(tmp_path: Path) -> None:
    """ONNX refuses to load weights through a link, which is needed where sizes are given."""
    path = with_external_data(tmp_path / "linked", "link.bin")
    (path.parent / "link.bin").symlink_to("weights.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"
    path.write_bytes(model.SerializeToString())
    good = tmp_path / f"{SMALL.id}.onnx"
    onnx.save(open_sizes("N", "features"), good)
    linked, found = measure_files(
        [path, good], TARGET, FakeBench(SPACE), ["latency_ms"], 0, NullProgress(), InputSizes((8,))
    )
    assert isinstance(linked.outcome, CandidateError)
    assert isinstance(found.outcome, dict)


def test_the_device_is_left_alone_where_no_file_is_sound(tmp_path: Path) -> None:
    """A mistyped name costs no measurement of the reference model."""

    class Untouched(FakeBench):
        def measure(self, *_: Any, **__: Any) -> list[Any]:
            raise AssertionError("nothing is to be measured")

    (found,) = measure_files([tmp_path / "none.onnx"], TARGET, Untouched(SPACE), ["latency_ms"], 0, NullProgress())
    assert isinstance(found.outcome, CandidateError)
