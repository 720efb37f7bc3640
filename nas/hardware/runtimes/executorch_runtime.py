"""ExecuTorch on the CPU with its XNNPACK delegate: fp32, and int8 with static ranges of activations."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

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
from nas.storage.scratch import temporary_folder
from nas.values.target import ModelFormat, Target

if TYPE_CHECKING:
    import torch

METHOD = "forward"
DELEGATED_PRODUCTS = frozenset(
    {
        "XNNConv2d",
        "XNNConvTranspose2d",
        "XNNDepthwiseConv2d",
        "XNNFullyConnected",
        "XNNBatchMatrixMultiply",
        "XNNScaledDotProductAttention",
    }
)
PORTABLE_PRODUCTS = ("convolution", "linear", "addmm", "mm", "bmm", "matmul", "scaled_dot_product_attention")
"""Names of ATen operators that multiply matrices. Portable kernels run them in the type of their tensors."""
STATIC_INT8 = frozenset({"xnn_datatype_qint8", "xnn_datatype_qcint8", "xnn_datatype_quint8"})
DYNAMIC_INT8 = frozenset({"xnn_datatype_qdint8", "xnn_datatype_qpint8"})
PRECISION_OF = {"xnn_datatype_fp32": "fp32", "xnn_datatype_pfp32": "fp32", "xnn_datatype_fp16": "fp16"} | {
    "xnn_datatype_bf16": "bf16"
}


@final
class ExecuTorchXnnpack(Runtime):
    """Lowers torch programs to .pte files, with as much as possible delegated to XNNPACK, and runs them."""

    precisions = ("fp32", "int8")
    model_format: ClassVar[ModelFormat] = "torch"
    form = "executorch"
    environment: ClassVar[Environment | None] = Environment(
        "executorch",
        # executorch does not require torch, but cannot lower a program without it
        ("executorch==1.5.*", "torch==2.13.*", "numpy>=2.0,<3"),
        platforms=frozenset({("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64")}),
    )
    here_alone = "its package needs torch where it runs. LiteRT runs by XNNPACK too, without torch."

    def version(self) -> str:
        from importlib.metadata import version

        # loads the library, so that no model's memory includes it
        from executorch.runtime import Runtime as ExecuTorch

        assert ExecuTorch.get().backend_registry.is_available("XnnpackBackend")
        return f"executorch {version('executorch')}"

    def convert(self, model: ExportedModel, target: Target, folder: Path) -> Deployed:
        """Return a .pte file. For int8, PT2E quantises weights to s8 per channel and activations to s8, static ranges.

        ``details`` list the kernels that run the model, as ``conditions`` do.
        """
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.backends.xnnpack.utils.configs import get_xnnpack_edge_compile_config
        from executorch.exir import to_edge_transform_and_lower

        program = read_torch_program(model.path)
        check_batch(program_input_shape(program), target)
        details: dict[str, Any] = {}
        if target.precision == "int8":
            program, details = _quantise(program, model)
        lowered = to_edge_transform_and_lower(
            program, partitioner=[XnnpackPartitioner()], compile_config=get_xnnpack_edge_compile_config()
        )
        path = folder / "model.pte"
        path.write_bytes(lowered.to_executorch().buffer)
        contents = read_contents(path)
        return Deployed(path, contents.weight_bytes, details | contents.as_json())

    def open(self, path: Path, target: Target) -> ExecuTorchSession:
        return ExecuTorchSession(path, target)


@final
class ExecuTorchSession:
    """A loaded program with fixed inputs.

    The thread pool belongs to the process, not to the session: opening a session changes it for all sessions.
    """

    def __init__(self, path: Path, target: Target) -> None:
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime as ExecuTorch

        if portable_lib._threadpool_get_thread_count() != target.threads:
            portable_lib._unsafe_reset_threadpool(target.threads)
        self._threads = portable_lib._threadpool_get_thread_count
        self._path = path
        # the method does not keep its program alive
        self._program = ExecuTorch.get().load_program(path)
        method = self._program.load_method(METHOD)
        if method is None:
            raise ValueError(
                f"a model must have the method {METHOD}, but {path.name} has {self._program.method_names}."
            )
        self._method = method
        meta = method.metadata
        if meta.num_inputs() != 1:
            raise ValueError(f"a model must have one input, but {path.name} has {meta.num_inputs()}.")
        self._shape = tuple(meta.input_tensor_meta(0).sizes())
        check_batch(self._shape, target)
        (images,) = random_inputs((image_input(self._shape),)).values()
        self._inputs = (torch.from_numpy(images),)

    def run(self) -> None:
        # inputs are set each time, because the memory plan may put other tensors in their place
        self._method.execute(self._inputs)

    def outputs(self, inputs: Arrays) -> Float32Array:
        (images,) = inputs
        import torch

        result: Float32Array = self._method.execute((torch.from_numpy(images),))[0].numpy()
        return result

    def conditions(self) -> Mapping[str, Any]:
        contents = read_contents(self._path)
        return {
            "executed_precision": most_common(contents.products),
            "input_shape": list(self._shape),
            "threads_in_pool": self._threads(),
            **contents.as_json(),
        }


@dataclass(frozen=True)
class Contents:
    """The contents of a .pte file."""

    products: Mapping[str, int]
    """The number of convolutions and matrix products in each precision."""
    portable_products: int
    """The number of products that XNNPACK does not run."""
    delegate_calls: int
    portable_kernels: Mapping[str, int]
    """The number of calls of each of ExecuTorch's own kernels in one inference."""
    weight_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return everything that describes how the model runs, so not the size of its weights."""
        return {
            "products": dict(self.products),
            "portable_products": self.portable_products,
            "delegate_calls": self.delegate_calls,
            "portable_kernels": dict(self.portable_kernels),
        }


def read_contents(path: Path) -> Contents:
    """Read the contents of the .pte file at ``path`` from its execution plan and its XNNPACK graphs.

    Raises:
        ValueError: the file is no ExecuTorch program.
    """
    return _read_contents(path, path.stat().st_mtime_ns)


@functools.cache
def _read_contents(path: Path, _written_ns: int) -> Contents:
    data = path.read_bytes()
    # https://github.com/pytorch/executorch/blob/main/docs/source/pte-file-format.md
    if data[4:6] != b"ET" or data[8:12] != b"eh00":
        raise ValueError(f"an ExecuTorch program must have the marks ET and eh00, but {path.name} does not.")
    program_size, base = (int.from_bytes(data[start : start + 8], "little") for start in (16, 24))
    program = _flatbuffer(data[:program_size], "exir/_serialize", "program.fbs")
    segments = [(base + int(segment["offset"]), int(segment["size"])) for segment in program.get("segments", [])]

    plan = next(plan for plan in program["execution_plan"] if plan["name"] == METHOD)
    calls = [step for chain in plan["chains"] for step in chain.get("instructions", [])]
    kernels = Counter(
        plan["operators"][step["instr_args"]["op_index"]]["name"]
        for step in calls
        if step["instr_args_type"] == "KernelCall"
    )
    portable = sum(count for name, count in kernels.items() if name.rpartition("::")[2] in PORTABLE_PRODUCTS)
    products = Counter({"fp32": portable} if portable else {})
    constants = 0
    for delegate in plan.get("delegates", []):
        processed = delegate["processed"]
        assert processed["location"] == "SEGMENT", "lowering extracts delegates into segments"
        start, size = segments[processed["index"]]
        graph = _xnnpack_graph(data[start : start + size])
        products.update(_delegated_products(graph))
        constants += sum(int(entry["size"]) for entry in graph.get("constant_data", []) if not entry.get("named_key"))
    # the file omits empty vectors and tables
    held = {entry["segment_index"] for entry in program.get("named_data", [])}
    constant = program.get("constant_segment", {})
    if constant.get("offsets"):
        held.add(constant["segment_index"])
    return Contents(
        products=products,
        portable_products=portable,
        delegate_calls=sum(step["instr_args_type"] == "DelegateCall" for step in calls),
        portable_kernels=kernels,
        weight_bytes=constants + sum(segments[index][1] for index in held),
    )


def _delegated_products(graph: Mapping[str, Any]) -> Counter[str]:
    """Count the products in an XNNPACK graph by their precision."""
    types: dict[int, str] = {}
    for value in graph["xvalues"]:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        types[tensor["id_out"]] = tensor["datatype"]
    counts: Counter[str] = Counter()
    for node in graph["xnodes"]:
        if node["xnode_union_type"] in DELEGATED_PRODUCTS:
            union = node["xnode_union"]
            factors = [
                union[key] for key in ("input1_id", "filter_id", "input2_id", "query_id", "key_id") if key in union
            ]
            counts[_precision({types[factor] for factor in factors})] += 1
    return counts


def _precision(types: set[str]) -> str:
    """Return the precision in which XNNPACK multiplies tensors of these types."""
    if types <= STATIC_INT8:
        return "int8"
    if types & DYNAMIC_INT8:
        return "int8-dynamic"
    # a quantised weight and a floating-point activation are multiplied in floating point
    floating = sorted(types - STATIC_INT8)
    return PRECISION_OF.get(floating[0], floating[0]) if len(floating) == 1 else " × ".join(floating)


def _xnnpack_graph(payload: bytes) -> dict[str, Any]:
    """Return the graph in the data of an XNNPACK delegate, which begins with a header."""
    if payload[4:8] != b"XH00":
        raise ValueError(f"data for XNNPACK must have the mark XH00, but got {payload[4:8]!r}.")
    start, size = (int.from_bytes(payload[at : at + 4], "little") for at in (10, 14))
    return _flatbuffer(payload[start : start + size], "backends/xnnpack/serialization", "schema.fbs")


def _flatbuffer(binary: bytes, folder: str, schema: str) -> dict[str, Any]:
    """Return the contents of a flatbuffer, read with the compiler and the schemas that come with ExecuTorch."""
    spec = importlib.util.find_spec("executorch")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
    (compiler,) = (package / "data" / "bin").glob("flatc*")
    with temporary_folder("flatbuffer") as scratch:
        path = scratch / "contents.bin"
        path.write_bytes(binary)
        command = [str(compiler), "--raw-binary", "--json", "--defaults-json", "--strict-json", "-o", str(scratch)]
        command += [str(package / folder / schema), "--", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 ExecuTorch's own
        if done.returncode != 0:
            raise ValueError(f"{schema} must describe the model, but does not: {(done.stdout + done.stderr).strip()}")
        text = path.with_suffix(".json").read_text()
    # the compiler writes an unbounded clamp as inf, which is not JSON
    contents: dict[str, Any] = json.loads(re.sub(r"(?<=[:\[,] )(-?)\+?inf\b", r"\1Infinity", text))
    return contents


def _quantise(
    program: torch.export.ExportedProgram, model: ExportedModel
) -> tuple[torch.export.ExportedProgram, dict[str, Any]]:
    """Return the quantised program, and a description of how its ranges were found, in batches of its size."""
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    shape = program_input_shape(program)
    batches, details = calibration_of(model, [image_input(shape)], shape[0])
    quantiser = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program.module(), quantiser)
    with torch.no_grad():
        for (images,) in batches:
            prepared(torch.from_numpy(images))
    return torch.export.export(convert_pt2e(prepared), (torch.zeros(shape),)), details
