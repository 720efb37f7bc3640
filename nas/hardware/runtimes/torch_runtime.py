"""Torch on the CPU and on a CUDA GPU: a program run operation by operation, or compiled ahead of time.

Half precisions are what ``module.to(torch.bfloat16)`` gives: weights, inputs and all between them, without autocast,
which would convert the weights again in every inference.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from nas.formats.torch_program import program_input_shape, program_weight_bytes, read_torch_program, save_torch_program
from nas.hardware.runtimes.runtime import Deployed, Float32Array, Runtime, check_batch, most_common, random_images
from nas.hardware.runtimes.torch_devices import Cpu, Cuda, Device, use_threads, why_no_cuda
from nas.values.target import Target

if TYPE_CHECKING:
    import torch

TORCH_NAMES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Torch's names of the precisions that floating-point programs have."""
PRODUCT = re.compile(
    r"(?!_*reorder)_*(\w*convolution\w*|conv[\d_]\w*|linear(_\w+)?|matmul|einsum|(add|b|addb|badd)?(mm|bmm|mv)(_\w+)?|"
    r"v?dot|scaled_dot_product_\w+|(flash|efficient)_attention_forward)"
)
"""Names of operators that multiply and add: convolutions, matrix products, attention."""
FACTS = "extra/compiled.json"
"""What a compiled package says of itself, within the archive that holds it."""


@dataclass(frozen=True)
class _Opened:
    """A model ready to run: maps images, on the device and of the precision, to logits."""

    forward: Callable[[torch.Tensor], torch.Tensor]
    input_shape: tuple[int, ...]
    precision: str
    products: Mapping[str, int]


@dataclass(frozen=True)
class _Compiled:
    """What was compiled, and for what. ``products`` counts, by precision, those in the graph that was compiled."""

    input_shape: tuple[int, ...]
    precision: str
    device: str
    threads: int
    products: Mapping[str, int]


class _TorchRuntime(Runtime):
    """What the four have in common."""

    model_format = "torch"
    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]
    compiles: ClassVar[bool]

    def why_unavailable(self, target: Target) -> str | None:
        if target.precision not in self.precisions:
            return (
                f"{self.name} runs {', '.join(self.precisions)}, but {target} asks for {target.precision}; "
                f"write {self.name}:fp32, or use onnxruntime-cpu or openvino-cpu for int8."
            )
        return self._why_no_device(target) or (_why_no_compiler(target) if self.compiles else None)

    def version(self) -> str:
        """Torch's version. Loads what opening a model needs, so that it does not count as the model's memory."""
        import torch
        import torch.export._unlift
        import torch.export.passes

        if self.compiles:
            import torch._inductor.codecache
            import torch._inductor.package
        return f"torch {torch.__version__}"

    def deploy(self, model: Path, target: Target, calibration: Float32Array | None, folder: Path) -> Deployed:
        """The program itself for fp32; one of the target's precision for bf16 and fp16; a package when compiled.

        ``calibration`` is for int8, which torch does not run here.
        """
        program = _in_precision(_read(model), target.precision)
        check_batch(program_input_shape(program), target)
        size, path = program_weight_bytes(program), folder / "model.pt2"
        if self.compiles:
            began = time.perf_counter()
            use_threads(target.threads)
            _compile(program, target, self._device(), path)
            seconds = round(time.perf_counter() - began, 1)
            return Deployed(path, size, {"compiler": "AOTInductor, weights frozen", "compile_seconds": seconds})
        if target.precision == "fp32":
            return Deployed(model, size)
        save_torch_program(program, path)
        return Deployed(path, size, {"converted": f"weights and inputs to {target.precision}"})

    def open(self, path: Path, target: Target) -> TorchSession | EventTimedSession:
        use_threads(target.threads)
        device = self._device()
        opened = (_open_package if self.compiles else _open_program)(path, target, device)
        session = TorchSession(opened, target, device)
        return session if device.name == "cpu" else EventTimedSession(session)

    @abstractmethod
    def _device(self) -> Device:
        """The device that the runtime runs on."""

    @abstractmethod
    def _why_no_device(self, target: Target) -> str | None:
        """Why this machine has no such device, and what to do about it."""


class _OnCpu(_TorchRuntime):
    precisions = ("fp32", "bf16")

    def _device(self) -> Device:
        return Cpu()

    def _why_no_device(self, target: Target) -> str | None:
        return None


class _OnCuda(_TorchRuntime):
    precisions = ("fp32", "fp16", "bf16")
    gpu = 0

    def version(self) -> str:
        """Torch's and CUDA's version, and the GPU, which a target's fingerprint needs too."""
        base = super().version()
        import torch

        return f"{base}, CUDA {torch.version.cuda} on {torch.cuda.get_device_name(0)}"

    def _device(self) -> Device:
        return Cuda.current()

    def _why_no_device(self, target: Target) -> str | None:
        return why_no_cuda(target)


@final
class TorchCpu(_OnCpu):
    """Runs torch programs on the CPU, operation by operation."""

    name = "torch-cpu"
    compiles = False


@final
class TorchCpuCompiled(_OnCpu):
    """Compiles torch programs ahead of time with AOTInductor, for as many threads as the target has."""

    name = "torch-cpu-compiled"
    compiles = True


@final
class TorchCuda(_OnCuda):
    """Runs torch programs on the first CUDA GPU, operation by operation."""

    name = "torch-cuda"
    compiles = False


@final
class TorchCudaCompiled(_OnCuda):
    """Compiles torch programs ahead of time with AOTInductor for the first CUDA GPU."""

    name = "torch-cuda-compiled"
    compiles = True


@final
class TorchSession:
    """A model and its images, both on the device and in the executed precision."""

    def __init__(self, opened: _Opened, target: Target, device: Device) -> None:
        import torch

        check_batch(opened.input_shape, target)
        self.opened, self.device = opened, device
        self._inference_mode = torch.inference_mode
        self._images = self._on_device(random_images(opened.input_shape))
        device.synchronise()

    def infer(self) -> None:
        """Hand one inference over to the device, which may return before it has ended."""
        with self._inference_mode():
            self.opened.forward(self._images)

    def run(self) -> None:
        self.infer()
        self.device.synchronise()

    def outputs(self, images: Float32Array) -> Float32Array:
        if images.shape != self.opened.input_shape:  # compiled code would read past the end
            raise ValueError(f"images must have the shape {self.opened.input_shape}, but have {images.shape}.")
        with self._inference_mode():
            logits = self.opened.forward(self._on_device(images))
            result: Float32Array = logits.float().cpu().numpy()
        return result

    def conditions(self) -> Mapping[str, Any]:
        import torch

        return {
            "executed_precision": most_common(self.opened.products),
            "input_shape": list(self.opened.input_shape),
            "intra_op_threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "fp32_matmul_precision": torch.get_float32_matmul_precision(),
            **self.device.conditions(),
        }

    def _on_device(self, images: Float32Array) -> torch.Tensor:
        import torch

        return torch.tensor(images).to(self.device.name, _dtype(self.opened.precision))


@final
class EventTimedSession:
    """A session on a device that works on its own: timed between two events in its queue."""

    def __init__(self, session: TorchSession) -> None:
        self._session = session
        self._start, self._end = session.device.event(), session.device.event()

    def run(self) -> None:
        self._session.run()

    def timed_run_ms(self) -> float:
        """Milliseconds from one event to the other, of one inference which has ended."""
        self._start.record()
        self._session.infer()
        self._end.record()
        self._end.synchronize()
        return self._start.elapsed_time(self._end)

    def outputs(self, images: Float32Array) -> Float32Array:
        return self._session.outputs(images)

    def conditions(self) -> Mapping[str, Any]:
        return {**self._session.conditions(), "clock": "events of the device"}


def _why_no_compiler(target: Target) -> str | None:
    """AOTInductor writes C++, and for a GPU also Triton kernels."""
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if shutil.which(compiler) is None:
        return (
            f"{target} needs a C++ compiler, but {compiler} is not found; install it (apt install g++, "
            "xcode-select --install, or Visual Studio's build tools) or name another in the variable CXX."
        )
    if "cuda" in target.runtime and importlib.util.find_spec("triton") is None:
        return f"{target} needs triton, which compiles for the GPU, but it is not installed; pip install triton."
    return None


def _read(path: Path) -> torch.export.ExportedProgram:
    """The program in a file; one of ONNX is told apart, for that is the likely mistake."""
    with path.open("rb") as file:
        start = file.read(1)
    if path.suffix == ".onnx" or start == b"\x08":  # the first field of every ONNX file
        raise ValueError(
            f"torch runtimes run torch programs, but {path.name} is an ONNX file; those are for onnxruntime-cpu "
            "or openvino-cpu."
        )
    program = read_torch_program(path)
    if not program.call_spec.out_spec.is_leaf():
        raise ValueError(f"a model must return one tensor, but {path.name} returns {program.call_spec.out_spec}.")
    return program


def _dtype(precision: str) -> torch.dtype:
    import torch

    dtype: torch.dtype = getattr(torch, TORCH_NAMES[precision])
    return dtype


def _precision(dtype: torch.dtype) -> str:
    """The precision that a target would call ``dtype``, or torch's own name for it."""
    ours = {torch_name: name for name, torch_name in TORCH_NAMES.items()}
    name = str(dtype).removeprefix("torch.")
    return ours.get(name, name)


def _in_precision(program: torch.export.ExportedProgram, precision: str) -> torch.export.ExportedProgram:
    """The program with all that was float32 in ``precision``: weights, inputs, and types named in its operations."""
    import torch

    if precision == "fp32":
        return program
    dtype = _dtype(precision)
    images = torch.zeros(program_input_shape(program), dtype=dtype)
    module = program.module(check_guards=False).to(dtype)

    def converted(argument: Any) -> Any:
        return dtype if argument is torch.float32 else argument

    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:  # holds types, too, and computes nothing
            module.graph.erase_node(node)
            continue
        node.args = torch.fx.node.map_aggregate(node.args, converted)
        node.kwargs = torch.fx.node.map_aggregate(node.kwargs, converted)
    module.recompile()
    with torch.inference_mode():
        return torch.export.export(module, (images,))


def _program_dtype(program: torch.export.ExportedProgram) -> torch.dtype:
    (name,) = program.graph_signature.user_inputs
    dtypes: list[torch.dtype] = [node.meta["val"].dtype for node in program.graph.nodes if node.name == name]
    return dtypes[0]


def _open_program(path: Path, target: Target, device: Device) -> _Opened:
    import torch
    from torch.export.passes import move_to_device_pass

    program = _read(path)
    shape, precision = program_input_shape(program), _precision(_program_dtype(program))
    if precision != target.precision:
        raise ValueError(f"{target} runs what deploy() made for it, but {path.name} takes images of {precision}.")
    if device.name != "cpu":
        program = move_to_device_pass(program, device.name)
    forward = program.module(check_guards=False).forward
    with torch.no_grad():
        products = _count_products(forward, torch.zeros(shape, dtype=_dtype(precision), device=device.name))
    return _Opened(forward, shape, precision, products)


def _count_products(forward: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> dict[str, int]:
    """How many products of each precision one inference runs, by the types of their operands."""
    from torch.utils._python_dispatch import TorchDispatchMode

    products: Counter[str] = Counter()

    class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if _is_product(func):
                products[_operands_precision(args)] += 1
            return func(*args, **(kwargs or {}))

    with Watching():  # type: ignore[no-untyped-call]
        logits = forward(images)
    return dict(products) or {_precision(logits.dtype): 1}


def _is_product(operator: Any) -> bool:
    import torch

    if not isinstance(operator, torch._ops.OpOverload):
        return False
    return PRODUCT.fullmatch(operator._schema.name.partition("::")[2]) is not None


def _operands_precision(operands: Any) -> str:
    """That of the operands of a product, and of all of them where they differ."""
    import torch

    found = [
        operand.dtype for operand in operands if isinstance(operand, torch.Tensor) and operand.dtype.is_floating_point
    ]
    return " × ".join(dict.fromkeys(_precision(dtype) for dtype in found)) or "integers"


def _compile(program: torch.export.ExportedProgram, target: Target, device: Device, path: Path) -> None:
    """Compile into a package at ``path`` that also holds the facts that ``_open_package`` needs."""
    import torch
    import torch._inductor
    from torch._inductor.utils import fresh_cache
    from torch.export.passes import move_to_device_pass

    shape, dtype = program_input_shape(program), _program_dtype(program)
    products: Counter[str] = Counter()

    def read_products(graph: torch.fx.Graph) -> None:
        for node in graph.nodes:
            if node.op == "call_function" and _is_product(node.target):
                values = (argument.meta.get("val") for argument in node.args if isinstance(argument, torch.fx.Node))
                products[_operands_precision(values)] += 1

    if device.name != "cpu":
        program = move_to_device_pass(program, device.name)
    program.example_inputs = ((torch.zeros(shape, dtype=dtype, device=device.name),), {})
    settings = {
        "freezing": True,  # folds batch norms and lays weights out for their kernels, as one would for deployment
        "cpp.threads": target.threads,
        "compile_threads": 1,  # no pool of processes that would outlive this one
        "post_grad_custom_pre_pass": read_products,
    }
    with (
        tempfile.TemporaryDirectory(prefix="nas-compile-") as scratch,
        fresh_cache(dir=scratch),
        _quiet_compiler(),
        torch.no_grad(),
    ):
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
    counted = dict(products) or {_precision(dtype): 1}
    facts = _Compiled(shape, _precision(dtype), device.name, target.threads, counted)
    with zipfile.ZipFile(path, "a") as package:
        root = package.namelist()[0].partition("/")[0]
        package.writestr(zipfile.ZipInfo(f"{root}/{FACTS}"), json.dumps(asdict(facts)))


def _open_package(path: Path, target: Target, device: Device) -> _Opened:
    """Load a package, which is machine code: only what ``deploy`` made here is ever opened."""
    import torch._inductor

    facts = _package_facts(path)
    made_for = (facts.device, facts.precision, facts.threads)
    if made_for != (device.name, target.precision, target.threads):
        raise ValueError(
            f"{target} runs what deploy() compiled for it, but {path.name} was compiled for {facts.device}, "
            f"{facts.precision} and threads={facts.threads}."
        )
    with _quiet_compiler():
        loader = torch._inductor.aoti_load_package(str(path), run_single_threaded=True).loader

    def forward(images: torch.Tensor) -> torch.Tensor:
        # The package's own call parses the shape of inputs and outputs anew every time: 0.8 ms on a small CNN.
        (logits,) = loader.boxed_run([images])
        return logits

    return _Opened(forward, facts.input_shape, facts.precision, facts.products)


def _package_facts(path: Path) -> _Compiled:
    try:
        with zipfile.ZipFile(path) as package:
            root = package.namelist()[0].partition("/")[0]
            facts = json.loads(package.read(f"{root}/{FACTS}"))
    except (zipfile.BadZipFile, LookupError) as error:
        raise ValueError(
            f"a compiled runtime opens what its deploy() made, but {path.name} is no compiled package: {error}."
        ) from error
    return _Compiled(**{**facts, "input_shape": tuple(facts["input_shape"])})


@contextlib.contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Torch's compiler warns of its own use of what torch has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script", DeprecationWarning)
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        yield
