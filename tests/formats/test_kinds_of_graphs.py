"""What a graph is for: its heads, whether it ends in them, and whether it is a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import linear, model_of, tensor_info

from nas.formats.onnx_file import convolves_into, is_transformer, light_heads


def test_the_layers_of_small_heads_are_named() -> None:
    """They are the last products before each output. Large ones are left out, and what has no other product."""
    weights = {"w": (8, 64), "a": (64, 2), "b": (64, 40)}
    nodes = [helper.make_node("Gemm", ["x", "w"], ["hidden"], name="body"), helper.make_node("Relu", ["hidden"], ["y"])]
    nodes += [helper.make_node("MatMul", ["y", each], [f"of {each}"], name=f"head {each}") for each in "ab"]
    nodes += [helper.make_node("Softmax", ["of a"], ["first"]), helper.make_node("Relu", ["of b"], ["second"])]
    outputs = [tensor_info("first", (1, 2)), tensor_info("second", (1, 40))]
    model = model_of(
        nodes, [tensor_info("x", (1, 8))], outputs, {n: np.ones(s, np.float32) for n, s in weights.items()}
    )
    assert light_heads(model, 0.05) == ["head a"]
    assert sorted(light_heads(model, 0.9)) == ["head a", "head b"]
    model.graph.node[2].op_type = "Conv"  # of a map as large as the picture, few weights do much
    assert light_heads(model, 0.05) == []
    assert light_heads(linear(np.ones((8, 4), np.float32)), 0.5) == []
    product = helper.make_node("MatMul", ["x", "y"], ["z"], name="without weights")
    ends = [tensor_info("x", (8, 8)), tensor_info("y", (8, 8))], [tensor_info("z", (8, 8))]
    assert light_heads(model_of([product], *ends, {}), 0.5) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"body": "Gemm"}, False),  # nothing convolves
        ({"heads": []}, False),
        ({"end": ("Add", ["of head", "map"])}, False),  # the map is an answer too
        ({"end": ("Add", ["of head", "x"])}, False),  # and so is the input
    ],
)
def test_networks_of_maps_end_in_heads_alone(changed: dict[str, Any], expected: bool) -> None:
    """Each output comes from a head, and from nothing else."""
    setting = {"body": "Conv", "heads": ["head"], "end": ("Softmax", ["of head"]), **changed}
    kind, inputs = setting["end"]
    nodes = [
        helper.make_node(setting["body"], ["x", "w"], ["map"], name="body"),
        helper.make_node("Gemm", ["map", "h"], ["of head"], name="head"),
        helper.make_node(kind, inputs, ["y"], name="end"),
    ]
    weights = {"w": np.ones((8, 8), np.float32), "h": np.ones((8, 4), np.float32)}
    model = model_of(nodes, [tensor_info("x", (1, 8))], [tensor_info("y", (1, 4))], weights)
    assert convolves_into(model, setting["heads"]) == expected


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["Softmax", "MatMul"], True),
        (["LayerNormalization"], True),
        (["Softmax", "Identity", "MatMul"], True),
        (["Softmax", "Relu", "MatMul"], False),
        (["MatMul", "Softmax"], False),
        (["Softmax", "Relu"], False),
        (["Relu"], False),
    ],
)
def test_transformers_attend_or_normalise_layers(kinds: list[str], expected: bool) -> None:
    """A product before a softmax is that of a classifier."""
    nodes = []
    for place, kind in enumerate(kinds):
        weights = {"MatMul": ["w"], "LayerNormalization": ["scale"]}.get(kind, [])
        nodes.append(helper.make_node(kind, [f"x{place}", *weights], [f"x{place + 1}"]))
    ends = [tensor_info("x0", (1, 8))], [tensor_info(f"x{len(kinds)}", (1, 8))]
    model = model_of(nodes, *ends, {"w": np.eye(8, dtype=np.float32), "scale": np.ones(8, np.float32)})
    assert is_transformer(model) == expected
