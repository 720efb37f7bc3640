"""Models for the tests of OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from tiny_space import TinySpace
from torch import nn

from nas.formats.export import export_onnx
from nas.hardware.runtimes.openvino_runtime import OpenVinoCpu, OpenVinoSession
from nas.hardware.runtimes.runtime import Float32Array
from nas.space.search_space import architecture_from, load_space
from nas.space.signature import image_inputs
from nas.values.target import Target

SHAPE = (1, 8, 8)
BATCH = 2


def target_of(precision: str = "fp32", batch: int = BATCH, threads: int = 1) -> Target:
    """Return an OpenVINO target."""
    return Target("openvino-cpu", precision, batch, threads)


def images_of(count: int) -> Float32Array:
    """Return random images of shape (count, 1, 8, 8)."""
    return np.random.default_rng(7).standard_normal((count, *SHAPE)).astype(np.float32)


def available(precision: str) -> OpenVinoCpu:
    """Return the runtime, or skip the test where it cannot run the precision."""
    runtime = OpenVinoCpu()
    reason = runtime.why_unavailable(target_of(precision))
    if reason is not None:
        pytest.skip(reason)
    return runtime


def convolutions() -> nn.Module:
    """Return a small convolutional network."""
    space = TinySpace()
    return space.build(architecture_from(space, {"width": 16, "depth": 2, "kernel": 3}))


def of_space(name: str, **values: int) -> nn.Module:
    """Return the largest network of a space, except for the given choices."""
    space = load_space(name, {}, input_shape=SHAPE, classes=10)
    largest = {choice.name: choice.options[-1] for choice in space.choices}
    return space.build(architecture_from(space, {**largest, **values}))


def as_many_heads_as_tokens() -> nn.Module:
    """Return a transformer with four heads over four tokens."""
    return of_space("timm-vit", patch_size=4, width=128, head_width=32, depth=2)


def write_model(module: nn.Module, folder: Path) -> Path:
    """Export a module with random weights for a batch of ``BATCH``."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_normal_(parameter)
    module(torch.from_numpy(images_of(32)))  # batch norms with statistics of their own
    path = folder / "model.onnx"
    export_onnx(module, image_inputs(SHAPE), BATCH, path)
    return path


def all_outputs(session: OpenVinoSession, images: Float32Array) -> Float32Array:
    """Return the outputs for any number of images that is a multiple of the batch."""
    return np.concatenate([session.outputs([images[i : i + BATCH]]) for i in range(0, len(images), BATCH)])


def dense(folder: Path, shape: list[Any]) -> Path:
    """Write a dense layer from 4 values to 2, whose input is declared with ``shape``."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (4, 2), np.arange(8, dtype=np.float32).tobytes(), raw=True)
    return save(
        folder,
        [helper.make_node("MatMul", ["values", "weight"], ["logits"])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, shape)],
        [weight],
    )


def two_inputs(folder: Path) -> Path:
    """Write a model that multiplies the sum of picked table rows with the first input."""
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
    """Write an ONNX file with one output."""
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", inputs, [logits], weights)
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return path
