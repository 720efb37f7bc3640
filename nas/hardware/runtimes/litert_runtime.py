"""LiteRT on the CPU with XNNPACK: fp32, and int8 with static ranges of activations."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from nas.formats.model_inputs import image_input, random_inputs
from nas.formats.onnx_session import Arrays
from nas.formats.torch_program import program_input_shape, read_torch_program
from nas.hardware.runtimes.environments import Environment
from nas.hardware.runtimes.runtime import (
    Deployed,
    ExportedModel,
    Float32Array,
    Runtime,
    calibration_of,
    check_batch,
    most_common,
)
from nas.values.target import ModelFormat, Target

if TYPE_CHECKING:
    import torch

PRODUCTS = ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")
PRECISION_OF = {"FLOAT32": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16", "INT8": "int8", "UINT8": "int8"}
FILE_MARK = b"TFL3"
WEIGHT_AT = {"batch_norm": 1, "linear": 1, "mul": 1, "layer_norm": 2, "group_norm": 2} | dict.fromkeys(
    ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1
)
"""The position of an ATen operator's argument that scales its input."""


@final
class LiteRtCpu(Runtime):
    """Converts torch programs to .tflite files and compiles them for the CPU."""

    precisions = ("fp32", "int8")
    model_format: ClassVar[ModelFormat] = "torch"
    form = "litert"
    environment: ClassVar[Environment | None] = Environment(
        "litert",
        (
            "litert-torch==0.10.*",
            "ai-edge-litert==2.3.*",
            "ai-edge-quantizer==0.10.*",
            "torch==2.13.*",
            "numpy>=2.0,<3",
        ),
        platforms=frozenset({("Linux", "x86_64"), ("Darwin", "arm64")}),  # those of litert-converter 0.5
    )
    device_packages = ("ai-edge-litert", "numpy", "ml_dtypes", "flatbuffers")

    def version(self) -> str:
        from importlib.metadata import version

        # loads the library, so that no model's memory includes it
        _environment()
        return f"litert {version('ai-edge-litert')}"

    def convert(self, model: ExportedModel, target: Target, folder: Path) -> Deployed:
        """Return a .tflite file. For int8 it has s8 weights per channel and s8 activations with static ranges.

        Inputs and outputs stay fp32, as in other runtimes, so quantising them is part of an inference.

        Raises:
            ValueError: the batch size is not the target's, or weights are all zero.
        """
        import litert_torch
        import torch

        program = read_torch_program(model.path)
        shape = program_input_shape(program)
        check_batch(shape, target)
        _check_weights(program)
        path = folder / "model.tflite"
        litert_torch.convert(program.module(), (torch.zeros(shape),)).export(str(path))
        details: dict[str, Any] = {}
        if target.precision == "int8":
            details = _quantise(path, shape, model)
        contents = read_contents(path)
        return Deployed(path, contents.weight_bytes, details | {"products": dict(contents.products)})

    def open(self, path: Path, target: Target) -> LiteRtSession:
        return LiteRtSession(path, target)


@final
class LiteRtSession:
    """A compiled model with fixed inputs.

    LiteRT recommends compiling over interpreting (https://ai.google.dev/edge/litert/inference). The latencies of both
    differ by less than 2 %.
    """

    def __init__(self, path: Path, target: Target) -> None:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, Options

        _check_mark(path)
        options = Options(
            hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=target.threads)
        )
        self._path = path
        self._model = CompiledModel.from_file(str(path), environment=_environment(), options=options)
        (signature,) = self._model.get_signature_list()
        self._shape = _only_shape(self._model.get_input_tensor_details(signature), "input")
        self._output_shape = _only_shape(self._model.get_output_tensor_details(signature), "output")
        check_batch(self._shape, target)
        self._inputs, self._outputs = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
        (images,) = random_inputs((image_input(self._shape),)).values()
        self._inputs[0].write(images)

    def run(self) -> None:
        self._model.run_by_index(0, self._inputs, self._outputs)

    def outputs(self, inputs: Arrays) -> Float32Array:
        (images,) = inputs
        if images.shape != self._shape:
            raise ValueError(f"images must have the shape {self._shape}, but have {images.shape}.")
        # separate buffers, so that the fixed inputs stay in place
        given, found = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
        given[0].write(np.ascontiguousarray(images))
        self._model.run_by_index(0, given, found)
        result: Float32Array = found[0].read(int(np.prod(self._output_shape)), np.float32)
        return np.array(result).reshape(self._output_shape)

    def conditions(self) -> Mapping[str, Any]:
        contents = read_contents(self._path)
        return {
            "executed_precision": most_common(contents.products),
            "input_shape": list(self._shape),
            "products": dict(contents.products),
            # False means that LiteRT's own kernels run some of the operators
            "all_by_xnnpack": self._model.is_fully_accelerated(),
        }


@dataclass(frozen=True)
class Contents:
    """The contents of a .tflite file."""

    products: Mapping[str, int]
    """The number of convolutions and matrix products in each precision."""
    weight_bytes: int


def read_contents(path: Path) -> Contents:
    """Read the products and weights in the .tflite file at ``path`` from its operators and tensors.

    Raises:
        ValueError: the file is no model of LiteRT.
    """
    return _read_contents(path, path.stat().st_mtime_ns)


@functools.cache
def _read_contents(path: Path, _written_ns: int) -> Contents:
    from ai_edge_litert import schema_py_generated as schema

    _check_mark(path)
    data = path.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    operators = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    types = {code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    products: Counter[str] = Counter()
    held: set[int] = set()
    for graph in model.subgraphs:
        held.update(tensor.buffer for tensor in graph.tensors)
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            # codes up to 127 are in the older of the two fields
            name = operators[max(code.builtinCode, code.deprecatedBuiltinCode)]
            if name in PRODUCTS:
                # a transposed convolution has its shape before its two operands
                factors = operator.inputs[1:3] if name == "TRANSPOSE_CONV" else operator.inputs[:2]
                products[_precision([types[graph.tensors[factor].type] for factor in factors])] += 1
    return Contents(products, sum(_buffer_bytes(model.buffers[index]) for index in held))


def _buffer_bytes(buffer: Any) -> int:
    """Return a buffer's bytes. The quantiser puts data after the flatbuffer and notes its ``size`` and ``offset``."""
    if buffer.offset > 1:
        return int(buffer.size)
    return 0 if buffer.data is None else len(buffer.data)


def _check_mark(path: Path) -> None:
    """Check that the file is a LiteRT model, because LiteRT's own error does not say so. Raises ValueError."""
    with path.open("rb") as file:
        if file.read(8)[4:] != FILE_MARK:
            raise ValueError(f"a LiteRT model must have the mark {FILE_MARK.decode()}, but {path.name} does not.")


def _precision(types: list[str]) -> str:
    """Return the precision of a product of these types.

    LiteRT quantises fp32 activations at run time if the weights are int8.
    """
    found = {PRECISION_OF.get(name, name.lower()) for name in types}
    if found == {"fp32", "int8"}:
        return "int8-dynamic"
    return found.pop() if len(found) == 1 else " × ".join(sorted(found))


@functools.cache
def _environment() -> Any:
    """Load LiteRT's libraries once."""
    from ai_edge_litert.environment import Environment as LiteRt

    return LiteRt.create()


def _check_weights(program: torch.export.ExportedProgram) -> None:
    """Raise ValueError if weights are all zero, because the converter would drop the layers before and after them.

    An untrained ResNet-18, whose residual branches usually begin at zero, keeps 5 of 21 convolutions and takes 3 ms
    instead of 39.
    """
    names = program.graph_signature.inputs_to_parameters
    for node in program.graph.nodes:
        position = WEIGHT_AT.get(str(node.target).removeprefix("aten.").partition(".")[0], len(node.args))
        weight = getattr(node.args[position], "name", None) if position < len(node.args) else None
        if weight in names and not program.state_dict[names[weight]].any():
            raise ValueError(
                f"weights must not be all zero, but {names[weight]} is: LiteRT would run a smaller model, without the "
                "layers that zeros silence. Train the model, or change these weights."
            )


def _only_shape(details: Mapping[str, Mapping[str, Any]], noun: str) -> tuple[int, ...]:
    if len(details) != 1:
        raise ValueError(f"a model must have one {noun}, but has {len(details)}.")
    (only,) = details.values()
    if np.dtype(only["dtype"]) != np.float32:
        raise ValueError(f"a model must have an fp32 {noun}, but has one of {np.dtype(only['dtype'])}.")
    return tuple(int(size) for size in only["shape"])


def _quantise(path: Path, shape: tuple[int, ...], model: ExportedModel) -> dict[str, Any]:
    """Replace the fp32 model at ``path`` by its int8 form, and return a description of how ranges were found.

    Ranges are calibrated in batches of the model's size.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe import static_wi8_ai8

    batches, details = calibration_of(model, [image_input(shape)], shape[0])
    quantiser = Quantizer(str(path), static_wi8_ai8())
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        quantiser.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ((signature, ends),) = Interpreter(str(path)).get_signature_list().items()
    (name,) = ends["inputs"]
    items = [{name: images} for (images,) in batches]
    quantised = quantiser.quantize(quantiser.calibrate({signature: items}))
    quantised.export_model(str(path), overwrite=True)
    return details
