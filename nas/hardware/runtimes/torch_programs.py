"""Torch programs: reading one, converting its precision, opening it on a device, and counting its products.

A half precision converts weights, inputs and all activations, as ``module.to(torch.bfloat16)`` does. Autocast is not
used, because it would convert the weights again in every inference.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.formats.torch_program import program_inputs, read_torch_program
from nas.hardware.runtimes.torch_devices import Device
from nas.values.target import Target

if TYPE_CHECKING:
    import torch

TORCH_NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Torch's names of floating-point precisions."""
PRODUCT = re.compile(
    r"(?!_*reorder)_*(\w*convolution\w*|conv[\d_]\w*|linear(_\w+)?|matmul|einsum|(add|b|addb|badd)?(mm|bmm|mv)(_\w+)?|"
    r"v?dot|scaled_dot_product_\w+|(flash|efficient)_attention_forward)"
)
"""Names of operators that multiply and add: convolutions, matrix products and attention."""


@dataclass(frozen=True)
class Opened:
    """A model ready to run. ``forward`` maps its inputs, on its device and in its precision, to its output.

    ``inputs`` are the shape, with the batch, and the torch name of the type of each. ``products`` counts convolutions,
    matrix products and attention by their precision.
    """

    forward: Callable[..., torch.Tensor]
    inputs: tuple[tuple[tuple[int, ...], str], ...]
    precision: str
    products: Mapping[str, int]


def read_program(path: Path) -> torch.export.ExportedProgram:
    """Return the program in a file.

    Raises:
        ValueError: the file is an ONNX file or no program, or the program returns more than one tensor.
    """
    with path.open("rb") as file:
        start = file.read(1)
    if path.suffix == ".onnx" or start == b"\x08":  # the first field of every ONNX file
        raise ValueError(
            f"torch runtimes run torch programs, but {path.name} is an ONNX file; measure it with onnxruntime-cpu."
        )
    program = read_torch_program(path)
    if not program.call_spec.out_spec.is_leaf():
        raise ValueError(f"a model must return one tensor, but {path.name} returns {program.call_spec.out_spec}.")
    return program


def dtype_of(precision: str) -> torch.dtype:
    """Return torch's type for a precision."""
    import torch

    dtype: torch.dtype = getattr(torch, TORCH_NAMES[precision])
    return dtype


def precision_of(dtype: torch.dtype) -> str:
    """Return the target's name for ``dtype``, or torch's own name where targets have none."""
    ours = {torch_name: name for name, torch_name in TORCH_NAMES.items()}
    name = str(dtype).removeprefix("torch.")
    return ours.get(name, name)


def in_precision(program: torch.export.ExportedProgram, precision: str) -> torch.export.ExportedProgram:
    """Return the program with everything that was float32 in ``precision``: weights, inputs and operations' types."""
    import torch

    if precision == "fp32":
        return program
    dtype = dtype_of(precision)
    example = tuple(
        torch.zeros(tuple(each.shape), dtype=dtype if each.is_floating_point() else each.dtype)
        for each in program_inputs(program)
    )
    module = program.module(check_guards=False).to(dtype)

    def converted(argument: Any) -> Any:
        return dtype if argument is torch.float32 else argument

    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:  # checks types and computes nothing
            module.graph.erase_node(node)
            continue
        node.args = torch.fx.node.map_aggregate(node.args, converted)
        node.kwargs = torch.fx.node.map_aggregate(node.kwargs, converted)
    module.recompile()
    with torch.inference_mode():
        return torch.export.export(module, example)


def program_precision(program: torch.export.ExportedProgram) -> str:
    """Return the precision of the program's first input of floats; of its weights if all inputs are whole numbers."""
    tensors = (*program_inputs(program), *program.state_dict.values())
    return precision_of(next(each.dtype for each in tensors if each.is_floating_point()))


def described_inputs(program: torch.export.ExportedProgram) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Return the shape, with the batch, and the torch name of the type of each input."""
    return tuple((tuple(each.shape), str(each.dtype).removeprefix("torch.")) for each in program_inputs(program))


def open_program(path: Path, target: Target, device: Device) -> Opened:
    """Open a program that runs operation by operation.

    Raises:
        ValueError: the file is no program, or its input has another precision than the target.
    """
    import torch
    from torch.export.passes import move_to_device_pass

    program = read_program(path)
    inputs, precision = described_inputs(program), program_precision(program)
    if precision != target.precision:
        raise ValueError(f"{target} runs what convert() made for it, but {path.name} runs in {precision}.")
    if device.name != "cpu":
        program = move_to_device_pass(program, device.name)
    forward = program.module(check_guards=False).forward
    with torch.no_grad():
        zeros = [torch.zeros(shape, dtype=getattr(torch, dtype), device=device.name) for shape, dtype in inputs]
        products = _count_products(forward, zeros)
    return Opened(forward, inputs, precision, products)


def _count_products(forward: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor]) -> dict[str, int]:
    """Count the products that one inference runs, by the precision of their operands."""
    from torch.utils._python_dispatch import TorchDispatchMode

    products: Counter[str] = Counter()

    class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if is_product(func):
                products[operands_precision(args)] += 1
            return func(*args, **(kwargs or {}))

    with Watching():  # type: ignore[no-untyped-call]
        output = forward(*inputs)
    return dict(products) or {precision_of(output.dtype): 1}


def is_product(operator: Any) -> bool:
    """Return True for an operator that multiplies and adds, such as a convolution."""
    import torch

    if not isinstance(operator, torch._ops.OpOverload):
        return False
    return PRODUCT.fullmatch(operator._schema.name.partition("::")[2]) is not None


def operands_precision(operands: Any) -> str:
    """Return the precision of a product's floating-point operands, or all of their precisions where they differ."""
    import torch

    found = [
        operand.dtype for operand in operands if isinstance(operand, torch.Tensor) and operand.dtype.is_floating_point
    ]
    return " × ".join(dict.fromkeys(precision_of(dtype) for dtype in found)) or "integers"
