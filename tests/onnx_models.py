"""Small ONNX models for tests: some take their weights from a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int | str, ...]


def tensor_info(name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Return the description of a tensor."""
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray[Any, Any]] | None = None,
) -> onnx.ModelProto:
    """Return a model of these nodes."""
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def linear(weights: np.ndarray[Any, Any], batch: int | str = 1) -> onnx.ModelProto:
    """Return a model that multiplies images by ``weights``, shape (features, classes)."""
    features, classes = weights.shape
    return model_of(
        [helper.make_node("MatMul", ["images", "w"], ["logits"])],
        [tensor_info("images", (batch, features))],
        [tensor_info("logits", (batch, classes))],
        {"w": weights},
    )


def outside(tensor: onnx.TensorProto, location: str) -> None:
    """Make a tensor take its values from a file at ``location``."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value=location)


def with_external_data(folder: Path, location: str) -> Path:
    """Write a model whose 32 weights lie at ``location``; files of that length lie in ``folder`` and beside it."""
    folder.mkdir(exist_ok=True)
    weights = np.arange(32, dtype=np.float32).reshape(8, 4)
    for place in (folder, folder.parent):
        (place / "weights.bin").write_bytes(weights.tobytes())
    model = linear(weights)
    outside(model.graph.initializer[0], location)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path
