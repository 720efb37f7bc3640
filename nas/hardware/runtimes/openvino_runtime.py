"""OpenVINO on the CPU: fp32, bf16 where the processor multiplies it, and int8 quantised by NNCF."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import logging
import math
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from nas.formats.model_inputs import Input, random_inputs
from nas.formats.onnx_session import Arrays
from nas.hardware.machine import processor_flags
from nas.hardware.runtimes.profiles import run_to_profile, typical
from nas.hardware.runtimes.runtime import (
    MOST_OF_HEAD,
    Deployed,
    ExportedModel,
    Float32Array,
    Runtime,
    calibration_of,
    check_batch,
    most_common,
    told_shape,
    without_logged_warnings,
)
from nas.values.layer_times import LayerTime
from nas.values.measurement import OPERATORS
from nas.values.target import Target

COUNTS_INFO = "nas_counts"
"""The key of a model's information under which the counts of its whole numbers lie."""
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})
"""Flags of processors with instructions for bf16; the last one is Arm's. OpenVINO emulates bf16 on others."""
MULTIPLYING = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "ScaledDotProductAttention")
"""Types of nodes in the CPU plug-in's graph that multiply. Products within a fused Subgraph are not visible there."""

PRODUCTS = (
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "GRUSequence",
    "LSTMSequence", "RNNSequence", "ScaledDotProductAttention",
)  # fmt: skip
"""Operations of a model, beside MatMul, that multiply."""


@final
class OpenVinoCpu(Runtime):
    """Converts ONNX files to OpenVINO's IR, two files in a folder, and compiles it for the CPU."""

    precisions = ("fp32", "bf16", "int8")
    conversions: ClassVar[Mapping[str, int]] = {"int8": 1}  # small heads stay in fp32
    form = "openvino"
    opens_batch = True
    device_packages = ("openvino", "numpy")

    def why_unavailable(self, target: Target) -> str | None:
        reason = super().why_unavailable(target) or _why_missing("openvino", target)
        if reason is not None:
            return reason
        flags = processor_flags()
        if target.precision == "bf16" and flags and not flags & BF16_FLAGS:
            return (
                f"bf16 needs a processor with instructions for it ({', '.join(sorted(BF16_FLAGS))}), but {target} "
                "was requested on one without; write openvino-cpu:fp32."
            )
        return None

    def why_not_converted(self, target: Target) -> str | None:
        reason = _why_missing("openvino", target)
        return reason or (_why_missing("nncf", target) if target.precision == "int8" else None)

    def version(self) -> str:
        return f"openvino {_core().get_versions('CPU')['CPU'].build_number}"

    def convert(self, model: ExportedModel, target: Target, folder: Path) -> Deployed:
        """Return the IR: with unchanged weights for fp32 and bf16, or with s8 weights per channel for int8.

        For bf16, compiling rounds the weights. A batch that the exported model leaves open stays open in the IR, and
        ``open`` fixes it.
        """
        from nas.formats.onnx_file import leaves_batch_open, read_onnx  # a device that opens the IR has no onnx

        details: dict[str, Any] = {}
        converted = _read_exported(model.path, target)
        if target.precision == "int8":
            converted, details = _quantise(converted, target, model)
        if leaves_batch_open(read_onnx(model.path)):
            converted.reshape({port.any_name: [-1, *list(port.shape)[1:]] for port in converted.inputs})
        # weights would be stored as fp16 by default
        _load_openvino().save_model(converted, folder / "model.xml", compress_to_fp16=False)
        return Deployed(folder, (folder / "model.bin").stat().st_size, details)

    def open(self, path: Path, target: Target) -> OpenVinoSession:
        return OpenVinoSession(path, target)

    def layer_times(self, path: Path, target: Target) -> list[LayerTime]:
        """Return the nodes that the CPU plug-in executed with their times, as its performance counters tell them."""
        return OpenVinoSession(path, target, counts_time=True).layer_times()


@final
class OpenVinoSession:
    """A compiled model and its one request, whose inputs stay in place.

    ``path`` is a folder with an IR, or an ONNX file, which runs unchanged. With ``counts_time`` it can tell the time of
    each node, which makes inferences slower.
    """

    def __init__(self, path: Path, target: Target, *, counts_time: bool = False) -> None:
        openvino = _load_openvino()
        if target.precision == "bf16" and "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ValueError(f"bf16 needs a processor on which OpenVINO runs it, but {target} was opened on another.")
        model = _read_ir(path, target) if path.is_dir() else _read_exported(path, target)
        settings = {**_settings(target), "PERF_COUNT": counts_time}
        self._fuses_subgraphs = not _swaps_equal_sizes(model)
        if not self._fuses_subgraphs:
            settings["SNIPPETS_MODE"] = "DISABLE"
        self._compiled = _core().compile_model(model, "CPU", settings)
        self._batch = target.batch
        self._inputs = _inputs_of(model)
        _check_batches(self._inputs, target)
        self._feed = random_inputs(self._inputs)
        self._request = self._compiled.create_infer_request()
        for name, values in self._feed.items():
            self._request.set_tensor(name, openvino.Tensor(values, shared_memory=True))

    def run(self) -> None:
        # start_async and wait take 0.1 ms longer, because another thread must wake up
        self._request.infer(share_outputs=True)

    def layer_times(self) -> list[LayerTime]:
        """Return the nodes that are executed, in their order, with their times.

        A node that takes less than a microsecond is told as not run, in that inference alone.
        """
        found: list[list[Any]] = []

        def run() -> None:
            self.run()
            found.append(self._request.profiling_info)

        runs = run_to_profile(run)
        executed = [nodes for nodes in zip(*found[-runs:], strict=True) if any(map(_is_executed, nodes))]
        elements = self._elements_by_node()
        return [
            LayerTime(name, kind, typical([n.real_time.total_seconds() * 1e3 for n in nodes]), elements.get(name, 0))
            for nodes in executed
            for name, kind in [(nodes[0].node_name, nodes[0].node_type)]
        ]

    def _elements_by_node(self) -> dict[str, int]:
        """Return how many elements each node writes for one item, where its shape is fixed."""
        nodes = [node for node in self._compiled.get_runtime_model().get_ordered_ops() if node.get_output_size()]
        fixed = [node for node in nodes if node.get_output_partial_shape(0).is_static]
        return {node.get_friendly_name(): math.prod(node.get_output_shape(0)) // self._batch for node in fixed}

    def outputs(self, inputs: Arrays) -> Float32Array:
        feed = {declared.name: each for declared, each in zip(self._inputs, inputs, strict=True)}
        # a separate request, so that these do not overwrite the inputs that stay in place
        result: Float32Array = self._compiled.create_infer_request().infer(feed)[0]
        return result

    def conditions(self) -> Mapping[str, Any]:
        return {
            **self._executed,
            "input_shape": told_shape(values.shape for values in self._feed.values()),
            "fuses_subgraphs": self._fuses_subgraphs,
            # OpenVINO uses at most as many threads as there are cores
            "threads": int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
        }

    @functools.cached_property
    def _executed(self) -> Mapping[str, Any]:
        """The commonest precision of products and the number of operators of each type.

        Both are read from the graph that OpenVINO compiled for this processor.
        """
        precisions: Counter[str] = Counter()
        operators: Counter[str] = Counter()
        for node in self._compiled.get_runtime_model().get_ops():
            facts = node.get_rt_info()
            kind = facts["layerType"].astype(str)
            operators[kind] += 1
            if kind in MULTIPLYING:
                precision = facts["runtimePrecision"].astype(str).lower()
                precisions[_NAMES.get(precision, precision)] += 1
        return {"executed_precision": most_common(precisions), OPERATORS: dict(sorted(operators.items()))}


_NAMES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}


def _is_executed(node: Any) -> bool:
    return bool(node.status.name == "EXECUTED")


def _settings(target: Target) -> dict[str, Any]:
    """Return the settings for compiling a model: one stream of work, on threads that the process has pinned already."""
    return {
        # without it, fp32 runs in bf16 on processors that have bf16
        "INFERENCE_PRECISION_HINT": "bf16" if target.precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": target.threads,
        "ENABLE_CPU_PINNING": False,
        "CACHE_DIR": "",
    }


def _swaps_equal_sizes(model: Any) -> bool:
    """Return True if a transpose swaps the two middle axes, such as heads and tokens, and both have the same size.

    Found by trial with OpenVINO 2026.4.1: if timm's attention has as many heads as tokens, the fused subgraph omits its
    last transpose, because the shapes match without it. Outputs are then wrong by tenths.
    """
    for operation in model.get_ops():
        if operation.get_type_name() == "Transpose":
            order = operation.input_value(1).get_node()
            sizes = operation.get_input_partial_shape(0)
            if order.get_type_name() == "Constant" and order.data.tolist() == [0, 2, 1, 3] and sizes[1] == sizes[2]:
                return True
    return False


def _inputs_of(model: Any) -> tuple[Input, ...]:
    """Return the inputs of a model, with the counts that it was noted with."""
    noted = json.loads(model.get_rt_info(COUNTS_INFO).astype(str)) if model.has_rt_info(COUNTS_INFO) else {}
    return tuple(
        Input(
            port.any_name,
            np.dtype(port.element_type.to_dtype()),
            tuple(port.shape),
            tuple(noted.get(port.any_name, ())),
        )
        for port in model.inputs
    )


def _read_ir(folder: Path, target: Target) -> Any:
    """Return the IR in a folder, with an open batch size fixed to the target's."""
    model = _core().read_model(folder / "model.xml")
    if model.is_dynamic():
        sizes = {port.any_name: [size.get_length() for size in list(port.partial_shape)[1:]] for port in model.inputs}
        model.reshape({name: [target.batch, *each] for name, each in sizes.items()})
    return model


def _read_exported(path: Path, target: Target) -> Any:
    """Return an ONNX file as an OpenVINO model, with a symbolic batch size fixed to the target's.

    Raises:
        ValueError: the file is no model, its data lies outside its folder, a size is not fixed, or its batch size is
            not the target's.
    """
    from nas.formats.onnx_file import counts_in, inputs_of, read_onnx

    exported = read_onnx(path)
    inputs = inputs_of(exported, target.batch)
    _check_batches(inputs, target)
    shapes = {name: list(values.shape) for name, values in random_inputs(inputs).items()}
    model = _core().read_model(path)
    if model.is_dynamic():
        model.reshape(shapes)
    if counts := counts_in(exported):
        model.set_rt_info(json.dumps(counts), COUNTS_INFO)
    return model


def _check_batches(inputs: tuple[Input, ...], target: Target) -> None:
    for declared in inputs:
        check_batch(declared.shape, target)


def _quantise(converted: Any, target: Target, model: ExportedModel) -> tuple[Any, dict[str, Any]]:
    """Return the model with static ranges of activations, and a description of how they were found."""
    nncf = _load_nncf()
    inputs = _inputs_of(converted)
    names = [each.name for each in inputs]
    batches, details = calibration_of(model, inputs, target.batch)
    attention, heads = _has_attention(converted), _light_heads(converted)
    # hides progress bars, and a warning of torch's builds for CUDA that they find no GPU
    with contextlib.redirect_stdout(io.StringIO()), without_logged_warnings():
        quantised = nncf.quantize(
            converted,
            nncf.Dataset([dict(zip(names, each, strict=True)) for each in batches]),
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
            ignored_scope=nncf.IgnoredScope(names=heads, validate=False) if heads else None,
        )
    details["quantised_by"] = f"nncf {nncf.__version__}"
    return quantised, {**details, "model_type": "transformer"} if attention else details


def _light_heads(model: Any) -> list[str]:
    """Return the names of the last matrix products before the outputs, with few of all weights each."""
    constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    most = MOST_OF_HEAD * sum(math.prod(op.get_shape()) for op in constants)
    heads, seen, waiting = list[str](), set[str](), [each.get_node() for each in model.outputs]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        inputs = [each.get_node() for each in node.input_values()]
        if node.get_type_name() == "MatMul":
            heads += [node.get_friendly_name()] if 0 < sum(map(_weights_of, inputs)) <= most else []
        elif node.get_type_name() not in PRODUCTS:
            waiting += inputs
    return heads


def _weights_of(node: Any) -> int:
    """Return the number of weights that an operation passes on; 0 for what is computed."""
    while node.get_type_name() in ("Convert", "Transpose", "Reshape"):
        node = node.input_value(0).get_node()
    return math.prod(node.get_shape()) if node.get_type_name() == "Constant" else 0


def _has_attention(model: Any) -> bool:
    """Return True if the output of a softmax is multiplied, as in attention. NNCF quantises such models differently."""
    for operation in model.get_ops():
        if operation.get_type_name() == "ScaledDotProductAttention":
            return True
        if operation.get_type_name() == "Softmax":
            users = [port.get_node() for port in operation.output(0).get_target_inputs()]
            if any(user.get_type_name() == "MatMul" for user in users):
                return True
    return False


def _why_missing(package: str, target: Target) -> str | None:
    """Return how to install a package that ``target`` needs, or None if it is installed."""
    if importlib.util.find_spec(package) is not None:
        return None
    return (
        f"{target} needs the package {package}, but it is not installed; install the extra openvino of "
        "nas: pip install --editable '.[openvino]'."
    )


@functools.cache
def _core() -> Any:
    """Return OpenVINO with its CPU plug-in loaded.

    A small convolution is compiled first, because the first compilation takes 26 MiB that no model's peak memory should
    include.
    """
    openvino = _load_openvino()
    core = openvino.Core()
    images = openvino.opset13.parameter([1, 1, 4, 4], openvino.Type.f32)
    kernel = openvino.opset13.constant(np.ones((1, 1, 3, 3), np.float32))
    convolution = openvino.opset13.convolution(images, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    core.compile_model(openvino.Model([convolution], [images]), "CPU", _settings(Target("openvino-cpu")))
    return core


def _load_openvino() -> Any:
    """Import OpenVINO without its usage statistics, which it would send on import.

    Its own way to opt out, https://docs.openvino.ai/2026/about-openvino/additional-resources/telemetry.html, writes
    into the user's home and reports that too. OpenVINO and NNCF both work without the package that sends,
    ``openvino_telemetry``. None in ``sys.modules`` hides it from imports:
    https://docs.python.org/3/reference/import.html#the-module-cache.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def _load_nncf() -> Any:
    """Import NNCF, without its logging to standard output and its replacement of the class of all later loggers."""
    _load_openvino()
    logger_class = logging.getLoggerClass()
    import nncf

    logging.setLoggerClass(logger_class)
    nncf.set_log_level(logging.ERROR)
    return nncf
