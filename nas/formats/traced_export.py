"""Exporting by tracing: many times quicker than torch's newer exporter, for the modules of which both make the same."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper, shape_inference

from nas.formats.onnx_session import load_onnxruntime

OPSET = 18
"""The version of operators that torch's newer exporter has functions for."""
_ARITHMETIC = ("Add", "Clip", "Div", "Mul", "Neg", "Pow", "Reciprocal", "ReduceMean", "Sqrt", "Sub", "Trilu", "Where")
_ACTIVATIONS = ("Erf", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softmax")
_LAYERS = ("AveragePool", "BatchNormalization", "Conv", "Gemm", "GlobalAveragePool", "LayerNormalization", "MatMul")
_MOVES = ("Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Transpose", "Unsqueeze")
_LOOK_UPS = ("Cast", "Equal", "GatherElements", "Less", "Min", "ReduceMax", "ScatterElements")
SAME_OPERATORS = frozenset((*_ARITHMETIC, *_ACTIVATIONS, *_LAYERS, *_MOVES, *_LOOK_UPS, "Constant", "MaxPool"))
"""Operators that both exporters write alike, so that ONNX Runtime makes the same of both files. A test compares them.

Others are left to the newer exporter.
"""
_OF_NUMBERS = ("Ceil", "Floor", "Greater", "Max", "Mod", "Not")
OF_SHAPES = frozenset((*_OF_NUMBERS, "ConstantOfShape", "Pad", "Range", "ReduceProd", "Shape", "Size", "Squeeze"))
"""Further operators by which shapes are computed, and whose results have a size that follows from those of inputs."""
Shapes = Mapping[str, tuple[int, ...]]


class _DiffersError(Exception):
    """The newer exporter would write something else."""


def write_traced(
    module: torch.nn.Module, example: tuple[torch.Tensor, ...], path: Path, inputs: Sequence[str], output: str
) -> bool:
    """Write a module in eval mode as one ONNX file, if torch's newer exporter would write the same operators.

    ``inputs`` are the names of the inputs, and ``output`` that of the output. Returns False, without a file, for any
    other module, for one whose decisions depend on values, and if this version of torch cannot trace it. The newer
    exporter then decides.
    """
    assert not module.training
    try:
        with warnings.catch_warnings(), _no_printed_graphs(), _root_mean_square_norm():
            # A decision that depends on values would be fixed.
            warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            torch.onnx.export(
                module,
                example,
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=[output],
            )
        onnx.save(_with_inputs(_alike(_folded(onnx.load(path))), inputs, example), path)
    except OSError:
        raise
    except Exception:  # what cannot be traced has many exceptions
        path.unlink(missing_ok=True)
        return False
    return True


def _with_inputs(model: onnx.ModelProto, names: Sequence[str], example: tuple[torch.Tensor, ...]) -> onnx.ModelProto:
    """Return the model with all of its inputs, in order: tracing leaves out those that the module ignores."""
    there = {each.name: each for each in model.graph.input}
    for name, each in zip(names, example, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(each.numpy().dtype)
        there.setdefault(name, helper.make_tensor_value_info(name, kind, tuple(each.shape)))
    del model.graph.input[:]
    model.graph.input.extend(there[name] for name in names)
    return model


@contextlib.contextmanager
def _no_printed_graphs() -> Iterator[None]:
    """Keep torch from printing a whole graph, past ``sys.stdout``, when an operator of it cannot be written.

    Its switch for that is always on, because ``setup_onnx_logging`` tests a function instead of calling it.
    """
    printing = getattr(torch._C, "_jit_onnx_log", None)
    if printing is None:
        yield
        return
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = printing


@contextlib.contextmanager
def _root_mean_square_norm() -> Iterator[None]:
    """Teach the tracing exporter ``RMSNorm``, in the operators of the newer one."""
    name = "aten::rms_norm"
    from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        register_custom_op_symbolic(name, _write_rms_norm, OPSET)
    try:
        yield
    finally:
        unregister_custom_op_symbolic(name, OPSET)


def _write_rms_norm(graph: Any, x: Any, shape: Any, weight: Any, epsilon: Any) -> Any:
    """Write x / √(mean(x²) + ε) · weight, where the mean goes over the last axes."""
    from torch.onnx import symbolic_helper

    constants = symbolic_helper._maybe_get_const
    tiny = constants(epsilon, "f")
    if symbolic_helper._is_none(epsilon) or not isinstance(tiny, float):
        tiny = float(torch.finfo(torch.float32).eps)
    rank = len(constants(shape, "is"))
    axes = graph.op("Constant", value_t=torch.arange(-rank, 0))
    square = graph.op("Pow", x, graph.op("Constant", value_t=torch.tensor(2.0)))
    mean = graph.op("ReduceMean", square, axes, keepdims_i=1)
    root = graph.op("Sqrt", graph.op("Add", mean, graph.op("Constant", value_t=torch.tensor(tiny))))
    normal = graph.op("Mul", x, graph.op("Reciprocal", root))
    return normal if symbolic_helper._is_none(weight) else graph.op("Mul", normal, weight)


def without_notes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the newer exporter's notes, which hold stack traces with paths of this machine; return the model."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    return model


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with constants instead of the shapes that it computes, if it computes any.

    What follows from shapes alone is the same for all items, so one run on zeros tells it. Transposed tensors are
    merged as the newer exporter merges them.
    """
    graph = model.graph
    if all(node.op_type not in ("Shape", "Pad") for node in graph.node):
        return model
    # Elsewhere a shape may depend on values, a graph within the graph may read them, and noise is no constant.
    strange = {node.op_type for node in graph.node} - SAME_OPERATORS - OF_SHAPES
    if strange:
        raise _DiffersError(f"{sorted(strange)}")
    of_shapes: set[str] = set()
    for node in graph.node:  # in the order in which they run
        if node.op_type in ("Shape", "Constant") or (node.input and of_shapes.issuperset(filter(None, node.input))):
            of_shapes.update(node.output)
    kept = [node for node in graph.node if node.op_type == "Constant" or not of_shapes.intersection(node.output)]
    constants = {name for node in kept if node.op_type == "Constant" for name in node.output}
    used = dict.fromkeys(name for node in kept for name in node.input if name in of_shapes and name not in constants)
    found = _run_on_zeros(model, list(used))
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in found.items())
    if all(node.op_type != "Transpose" for node in graph.node):
        return model
    from onnxscript.optimizer import optimize  # here, because it is slow to import

    merged: onnx.ModelProto = optimize(shape_inference.infer_shapes(model, data_prop=True))
    return merged


def _run_on_zeros(model: onnx.ModelProto, names: Sequence[str]) -> dict[str, Any]:
    """Return what a model computes under these names, from inputs that are zero."""
    wanted = onnx.ModelProto()
    wanted.CopyFrom(model)
    del wanted.graph.output[:]
    wanted.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(wanted.SerializeToString(), options, providers=["CPUExecutionProvider"])
    zeros = {
        each.name: np.zeros(
            [size.dim_value for size in each.type.tensor_type.shape.dim],
            helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type),
        )
        for each in model.graph.input
    }
    return dict(zip(names, session.run(list(names), zeros), strict=True))


def _pad_in_convolutions(graph: onnx.GraphProto) -> None:
    """Let convolutions pad with zeros what a node before them pads, as the newer exporter does."""
    known = {each.name: each for each in graph.initializer}
    known |= {
        n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute[0].HasField("t")
    }
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {each.name for each in graph.output}
    gone: list[onnx.NodeProto] = []
    for node in graph.node:
        following = readers.get(node.output[0], ())
        if node.op_type != "Pad" or len(following) != 1 or following[0].op_type != "Conv" or node.input[1] not in known:
            continue
        convolution = following[0]
        if convolution.input[0] != node.output[0] or node.output[0] in outputs:
            continue
        settings = {each.name: helper.get_attribute_value(each) for each in (*node.attribute, *convolution.attribute)}
        is_zero = len(node.input) < 3 or not node.input[2] or not np.any(numpy_helper.to_array(known[node.input[2]]))
        pads = numpy_helper.to_array(known[node.input[1]]).tolist()
        half = len(pads) // 2
        outside = [*pads[:2], *pads[half : half + 2]]
        is_plain = settings.get("mode", b"constant") == b"constant" and len(node.input) < 4 and is_zero
        if not is_plain or any(outside) or min(pads) < 0 or settings.get("auto_pad", b"NOTSET") != b"NOTSET":
            continue
        inner = [*pads[2:half], *pads[half + 2 :]]
        own = settings.get("pads", [0] * len(inner))
        kept = [each for each in convolution.attribute if each.name != "pads"]
        del convolution.attribute[:]
        convolution.attribute.extend(kept)
        convolution.attribute.append(helper.make_attribute("pads", [a + b for a, b in zip(own, inner, strict=True)]))
        convolution.input[0] = node.input[0]
        gone.append(node)
    for node in gone:
        graph.node.remove(node)


def _drop_unread_constants(graph: onnx.GraphProto) -> None:
    """Remove constants that nothing reads any more, which would count as weights."""
    read = {name for node in graph.node for name in node.input}
    unread = [node for node in graph.node if node.op_type == "Constant" and not read.intersection(node.output)]
    for node in unread:
        graph.node.remove(node)
    kept_weights = [each for each in graph.initializer if each.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept_weights)


def _alike(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model as the newer exporter would write it.

    Raises:
        _DiffersError: an operator is not among ``SAME_OPERATORS``, or one is used in a way that differs.
    """
    graph = model.graph
    _pad_in_convolutions(graph)
    _drop_unread_constants(graph)
    strange = {node.op_type for node in graph.node} - SAME_OPERATORS
    if strange:
        raise _DiffersError(f"{sorted(strange)}")
    _skip_identities(graph)
    shapes = _shapes(model)
    for index, node in enumerate(graph.node):
        if node.op_type == "GlobalAveragePool":
            rank = len(shapes[node.output[0]])
            # Of signals the newer exporter writes three operators, one of which is enough.
            axes = _constant(graph, f"axes_{index}", (-1, -2) if rank == 4 else tuple(range(2, rank)))
            changed = helper.make_node("ReduceMean", [node.input[0], axes], node.output, node.name, keepdims=1)
        elif node.op_type == "Flatten":
            shape = _constant(graph, f"shape_{index}", shapes[node.output[0]])
            changed = helper.make_node("Reshape", [node.input[0], shape], node.output, node.name, allowzero=1)
        elif node.op_type == "MatMul" and all(len(shapes.get(each, ())) == 2 for each in node.input):
            changed = helper.make_node("Gemm", node.input, node.output, node.name)
        elif node.op_type == "MaxPool" and math.prod(shapes[node.output[0]][2:]) == 1:
            raise _DiffersError("a pool of the whole image becomes ReduceMax")
        else:
            continue
        node.CopyFrom(changed)
    return model


def _skip_identities(graph: onnx.GraphProto) -> None:
    """Remove nodes that only rename a tensor, such as weights that several layers share."""
    outputs = {output.name for output in graph.output}
    renamed = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "Identity" and node.output[0] not in outputs
    }
    kept = [node for node in graph.node if node.output[0] not in renamed]
    for node in kept:
        for place, name in enumerate(node.input):
            while name in renamed:
                name = renamed[name]
            node.input[place] = name
    del graph.node[:]
    graph.node.extend(kept)


def _shapes(model: onnx.ModelProto) -> Shapes:
    """Return the shapes of a model's tensors, as far as all sizes are known."""
    graph = shape_inference.infer_shapes(model).graph
    found = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    known = {
        name: tuple(size.dim_value for size in sizes)
        for name, sizes in found.items()
        if all(size.HasField("dim_value") for size in sizes)
    }
    return known | {each.name: tuple(each.dims) for each in graph.initializer}


def _constant(graph: onnx.GraphProto, name: str, values: tuple[int, ...]) -> str:
    """Add a constant, and return its name: ``name``, made longer if a tensor has it, such as a module's parameter."""
    taken = {each.name for each in (*graph.initializer, *graph.input)} | {o for node in graph.node for o in node.output}
    while name in taken:
        name += "_"
    graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
    return name
