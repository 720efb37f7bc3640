"""The layers of a winner, read from the ONNX file in its bundle, as they are drawn on its card."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import onnx

from nas.formats.onnx_file import MULTIPLYING, read_graph

ONNX_NAME = "model.onnx"
MOST_LAYERS = 400
_WITH_WEIGHTS = {*MULTIPLYING, "Gather", "LSTM", "GRU", "RNN"}


def layers_in(bundle: Path) -> list[dict[str, Any]] | None:
    """Return the layers with weights, in their order; None if the bundle holds no ONNX file that can be read.

    Each has its operator, its output's shape where the file tells it, its kernel, stride and groups, the number of its
    weights, and the operators without weights that follow it.
    """
    try:
        model = read_graph(bundle / ONNX_NAME)
        inferred = onnx.shape_inference.infer_shapes(model)
    except (ValueError, OSError, onnx.shape_inference.InferenceError):
        return None
    graph = inferred.graph
    shapes = {
        each.name: [dim.dim_value or None for dim in each.type.tensor_type.shape.dim]
        for each in (*graph.value_info, *graph.output, *graph.input)
    }
    sizes = {each.name: math.prod(each.dims) for each in graph.initializer}
    layers: list[dict[str, Any]] = []
    between: Counter[str] = Counter()
    for node in graph.node:
        weights = sum(sizes.get(name, 0) for name in node.input)
        if node.op_type not in _WITH_WEIGHTS or not weights:
            if node.op_type not in ("Constant", "Identity"):
                between[node.op_type] += 1
            continue
        _close(layers, between)
        layers.append(_layer(node, weights, shapes))
    _close(layers, between)
    return layers[:MOST_LAYERS] or None


def _close(layers: list[dict[str, Any]], between: Counter[str]) -> None:
    if layers:
        layers[-1]["then"] = [f"{name} ×{count}" if count > 1 else name for name, count in between.items()]
    between.clear()


def _layer(node: onnx.NodeProto, weights: int, shapes: dict[str, list[int | None]]) -> dict[str, Any]:
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    shape = shapes.get(node.output[0], [])
    layer: dict[str, Any] = {"op": node.op_type, "weights": weights, "shape": shape[1:]}
    if "kernel_shape" in found:
        layer["kernel"] = list(found["kernel_shape"])
        layer["stride"] = max(found.get("strides", [1]), default=1)
        layer["groups"] = found.get("group", 1)
    return layer
