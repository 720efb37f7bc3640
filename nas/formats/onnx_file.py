"""Reading an ONNX file's inputs, weights and work, after checking that it refers to no file outside its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import external_data_helper

from nas.formats.model_inputs import Input
from nas.paths import why_no_file
from nas.space.signature import TensorType

MULTIPLYING = (
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)


TRANSFORMERS = {"Attention", "LayerNormalization", "RMSNormalization"}
PASSING_ON = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Where"}
"""Types of nodes that may lie between a softmax and the product of an attention."""
COUNTS = "nas.counts"
"""The key of a model's metadata under which the counts of its whole numbers lie."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """Return the checked model, without its external data.

    Raises:
        ValueError: the file is not ONNX or has no graph, or its external data lies outside its folder or is missing.
    """
    model = read_graph(path)
    for tensor in _tensors(model):
        if external_data_helper.uses_external_data(tensor):
            _check_external(tensor, path)
    return model


def read_graph(path: Path) -> onnx.ModelProto:
    """Return the model as it stands in the file. Nobody has checked where its external data lies.

    Raises:
        ValueError: the file is not ONNX or has no graph.
    """
    why = why_no_file(path)
    if why is not None:
        raise ValueError(f"a model must be an ONNX file, but {path} {why}.")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors depend on its version
        raise ValueError(f"a model must be an ONNX file, but {path.name} is not: {type(error).__name__}.") from error
    if not model.graph.node:
        raise ValueError(f"a model must be an ONNX file with a graph, but {path.name} has none.")
    return model


def external_files(model: onnx.ModelProto, path: Path) -> set[Path]:
    """Return the files that hold external data of the tensors of ``model``, which was read from ``path``."""
    return {
        (path.parent / external_data_helper.ExternalDataInfo(tensor).location).resolve()
        for tensor in _tensors(model)
        if external_data_helper.uses_external_data(tensor)
    }


def inputs_of(model: onnx.ModelProto, batch: int) -> tuple[Input, ...]:
    """Return the inputs that a caller must give. A symbolic first size becomes ``batch``."""
    weights, counts = {tensor.name for tensor in model.graph.initializer}, counts_in(model)
    found = []
    for declared in model.graph.input:
        if declared.name in weights:
            continue
        tensor = declared.type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        if sizes and sizes[0] is None:
            sizes[0] = batch
        known = counts.get(declared.name, ())
        fits = len(known) == 1 or (bool(sizes) and len(known) == sizes[-1])
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        found.append(Input(declared.name, dtype, tuple(sizes), known if fits else ()))
    return tuple(found)


def leaves_batch_open(model: onnx.ModelProto) -> bool:
    """Return True if the first size of the model's first input is not fixed."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for declared in model.graph.input:
        if declared.name not in weights:
            sizes = declared.type.tensor_type.shape.dim
            return bool(sizes) and not sizes[0].HasField("dim_value")
    return False


def with_counts(model: onnx.ModelProto, inputs: Sequence[TensorType]) -> onnx.ModelProto:
    """Return the model with a note of the counts of its whole numbers, from which measuring draws valid inputs."""
    counts = {each.name: list(each.counts) for each in inputs if each.counts}
    if counts:
        onnx.helper.set_model_props(model, {COUNTS: json.dumps(counts)})
    return model


def counts_in(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the counts that ``with_counts`` noted, by input; none in other models."""
    noted = next((each.value for each in model.metadata_props if each.key == COUNTS), "{}")
    try:
        found = {name: tuple(map(int, counts)) for name, counts in json.loads(noted).items()}
    except (ValueError, TypeError, AttributeError):  # another program's note
        return {}
    return {name: counts for name, counts in found.items() if counts and min(counts) >= 1}


def weight_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes of all initializers and constants."""
    return sum(_tensor_bytes(tensor) for tensor in _tensors(model))


def multiply_accumulates(model: onnx.ModelProto) -> int | None:
    """Return the multiply-accumulates of convolutions and matrix products in one run.

    None if a shape is unknown, or if the graph is malformed or too large for ONNX to infer its shapes.
    """
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(model).graph
    except (shape_inference.InferenceError, RuntimeError, ValueError, TypeError, MemoryError):
        return None
    shapes: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    total = 0
    for node in inferred.node:
        if node.op_type not in MULTIPLYING:
            continue
        macs = _node_macs(node, shapes)
        if macs is None:
            return None
        total += macs
    return total


def light_heads(model: onnx.ModelProto, share: float) -> list[str]:
    """Return the names of the last matrix products before the outputs, with at most ``share`` of all weights each.

    These are the layers of heads. Convolutions are none: they may do much of the work with few weights. Nor are
    products without weights. Nodes without a name are left out.
    """
    last, _ = _last_products(model)
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    most = share * sum(sizes.values())
    weights = {node.name: sum(sizes.get(each, 0) for each in node.input) for node in last if node.name}
    products = (node.name for node in last if node.op_type in ("Gemm", "MatMul") and node.name)
    return [name for name in products if 0 < weights[name] <= most]


def convolves_into(model: onnx.ModelProto, heads: Sequence[str]) -> bool:
    """Return True if a graph convolves, and all of its outputs are those of these ``heads``."""
    last, meets_input = _last_products(model)
    convolves = any(node.op_type == "Conv" for node in model.graph.node)
    return bool(last) and convolves and not meets_input and all(node.name in heads for node in last)


def _last_products(model: onnx.ModelProto) -> tuple[list[onnx.NodeProto], bool]:
    """Return the last nodes before the outputs that multiply, and if a way from an output to an input meets none."""
    makers = {name: node for node in model.graph.node for name in node.output}
    inputs = {each.name for each in model.graph.input} - {each.name for each in model.graph.initializer}
    last: dict[str, onnx.NodeProto] = {}
    waiting, seen = [each.name for each in model.graph.output], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in makers:
            seen.add(name)
            continue
        seen.add(name)
        if makers[name].op_type in MULTIPLYING:
            last[name] = makers[name]
        else:
            waiting += makers[name].input
    return list(last.values()), bool(seen & inputs)


def is_transformer(model: onnx.ModelProto) -> bool:
    """Return True if a graph attends, so that a product takes what a softmax gives, or normalises layers."""
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    if any(node.op_type in TRANSFORMERS for node in model.graph.node):
        return True
    waiting = [name for node in model.graph.node if node.op_type == "Softmax" for name in node.output]
    while waiting:
        for node in users.get(waiting.pop(), ()):
            if node.op_type in ("MatMul", "Einsum"):
                return True
            waiting += node.output if node.op_type in PASSING_ON else ()
    return False


def fills_bytes(model: onnx.ModelProto) -> bool:
    """Return True if weights of int8 need all 8 bits. Those that were kept to 7 bits are at most 64."""
    return any(
        bool((np.abs(onnx.numpy_helper.to_array(tensor).astype(np.int16)) > 64).any())
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
        if not external_data_helper.uses_external_data(tensor)
    )


def executed_precisions(model: onnx.ModelProto) -> Mapping[str, int]:
    """Return the number of multiplying nodes in each precision. ``model`` is a graph that a runtime has optimised."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    counts: dict[str, int] = {}
    for node in model.graph.node:
        kind = node.op_type
        if not any(word in kind for word in ("Conv", "MatMul", "Gemm")):
            continue
        if any(word in kind for word in ("QLinear", "Integer", "QGemm", "DynamicQuantize")):
            precision = "int8"
        else:
            known = [types[name] for name in node.input if name in types]
            precision = _NAMES.get(known[0], "fp32") if known else "fp32"
        counts[precision] = counts.get(precision, 0) + 1
    return counts


_PACKED_BITS: Mapping[int, int] = {
    **dict.fromkeys((onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.FLOAT4E2M1), 4),
    **dict.fromkeys((onnx.TensorProto.INT2, onnx.TensorProto.UINT2), 2),
}
"""Types with several values in a byte. NumPy gives each value a byte of its own."""
_NAMES = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}


def _node_macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    kind = node.op_type
    second = 3 if kind.startswith("QLinear") else 1
    if len(node.input) <= second or not node.output:  # a malformed node, which every runtime refuses
        return None
    left, right = node.input[0], node.input[second]
    output = shapes.get(node.output[0])
    if output is None or not shapes.get(right):
        return None
    if "Conv" in kind and kind != "ConvTranspose":
        return math.prod(output) * math.prod(shapes[right][1:])
    if not shapes.get(left):
        return None
    if kind == "ConvTranspose":
        return math.prod(shapes[left]) * math.prod(shapes[right][1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(output) * shapes[left][0 if transposed else -1]


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield the initializers and constants of a model's graphs and functions, and of the graphs within their nodes."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)
        yield from _attribute_tensors(function.attribute_proto)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (
            *((attribute.sparse_tensor,) if attribute.HasField("sparse_tensor") else ()),
            *attribute.sparse_tensors,
        ):
            yield from (sparse.values, sparse.indices)
        if attribute.HasField("g"):
            yield from _graph_tensors(attribute.g)
        for inner in attribute.graphs:
            yield from _graph_tensors(inner)


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    bits = _PACKED_BITS.get(tensor.data_type)
    if bits is None:
        bits = 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    items: int = math.prod(tensor.dims)
    return math.ceil(items * bits / 8)


def _check_external(tensor: onnx.TensorProto, path: Path) -> None:
    """Check that external data is a file below the model's folder, after following links. Raises ValueError."""
    location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
    folder = path.parent.resolve()
    try:
        file = (folder / location).resolve()
    except (ValueError, OSError, RuntimeError) as error:  # a NUL character; a link to itself
        raise ValueError(
            f"external data of {path.name} must exist, but {tensor.name!r} points to {location!r}: {error}."
        ) from error
    if not location or not file.is_relative_to(folder) or file == folder:
        raise ValueError(
            f"external data of {path.name} must lie in its own folder, but {tensor.name!r} points to {location!r}."
        )
    why = why_no_file(file)
    if why is not None:
        raise ValueError(
            f"external data of {path.name} must be a file, but {tensor.name!r} points to {location!r}, which {why}."
        )
