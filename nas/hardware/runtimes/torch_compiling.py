"""Compiling torch programs ahead of time with AOTInductor, and opening the packages."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.hardware.runtimes.torch_devices import Device
from nas.hardware.runtimes.torch_programs import (
    Opened,
    described_inputs,
    is_product,
    operands_precision,
    program_precision,
)
from nas.storage.scratch import temporary_folder
from nas.values.target import Target

if TYPE_CHECKING:
    import torch

FACTS = "extra/compiled.json"
"""The place of a package's description of itself, within its archive."""


@dataclass(frozen=True)
class _Compiled:
    """A package's description of itself. ``products`` counts those of the compiled graph by their precision."""

    inputs: tuple[tuple[tuple[int, ...], str], ...]
    precision: str
    device: str
    threads: int
    products: Mapping[str, int]


def why_no_compiler(target: Target) -> str | None:
    """Return the missing compiler and how to install it, or None when all are there.

    AOTInductor writes C++, and for a GPU also Triton kernels.
    """
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if shutil.which(compiler) is None:
        return (
            f"{target} needs a C++ compiler, but {compiler} is not found; install it (apt install g++, "
            "xcode-select --install, or Visual Studio's build tools) or name another in the variable CXX."
        )
    if "cuda" in target.runtime and importlib.util.find_spec("triton") is None:
        return f"{target} needs triton, which compiles for the GPU, but it is not installed; pip install triton."
    return None


def compile_program(program: torch.export.ExportedProgram, target: Target, device: Device, path: Path) -> None:
    """Compile a program into a package at ``path`` that also holds the facts that ``open_package`` needs."""
    import torch
    import torch._inductor
    from torch._inductor.utils import fresh_cache
    from torch.export.passes import move_to_device_pass

    inputs, precision = described_inputs(program), program_precision(program)
    products: Counter[str] = Counter()

    def read_products(graph: torch.fx.Graph) -> None:
        for node in graph.nodes:
            if node.op == "call_function" and is_product(node.target):
                values = (argument.meta.get("val") for argument in node.args if isinstance(argument, torch.fx.Node))
                products[operands_precision(values)] += 1

    if device.name != "cpu":
        program = move_to_device_pass(program, device.name)
    zeros = tuple(torch.zeros(shape, dtype=getattr(torch, dtype), device=device.name) for shape, dtype in inputs)
    program.example_inputs = (zeros, {})
    settings = {
        "freezing": True,  # folds batch norms and lays weights out for their kernels, as for deployment
        "cpp.threads": target.threads,
        "compile_threads": 1,  # no pool of processes that would outlive this one
        "post_grad_custom_pre_pass": read_products,
    }
    with (
        temporary_folder("compile") as scratch,
        fresh_cache(dir=str(scratch)),
        _quiet_compiler(),
        torch.no_grad(),
    ):
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
    counted = dict(products) or {precision: 1}
    facts = _Compiled(inputs, precision, device.name, target.threads, counted)
    with zipfile.ZipFile(path, "a") as package:
        root = package.namelist()[0].partition("/")[0]
        package.writestr(zipfile.ZipInfo(f"{root}/{FACTS}"), json.dumps(asdict(facts)))


def open_package(path: Path, target: Target, device: Device) -> Opened:
    """Load a package. It holds machine code, so only packages that ``convert`` made here are opened.

    Raises:
        ValueError: the file is no package, or it was compiled for another target.
    """
    import torch._inductor

    facts = _package_facts(path)
    made_for = (facts.device, facts.precision, facts.threads)
    if made_for != (device.name, target.precision, target.threads):
        raise ValueError(
            f"{target} runs what convert() compiled for it, but {path.name} was compiled for {facts.device}, "
            f"{facts.precision} and threads={facts.threads}."
        )
    with _quiet_compiler():
        loader = torch._inductor.aoti_load_package(str(path), run_single_threaded=True).loader

    def forward(*inputs: torch.Tensor) -> torch.Tensor:
        # The package's own call parses the shape of inputs and outputs every time, which takes 0.8 ms on a small CNN.
        (output,) = loader.boxed_run(list(inputs))
        return output

    return Opened(forward, facts.inputs, facts.precision, facts.products)


def _package_facts(path: Path) -> _Compiled:
    try:
        with zipfile.ZipFile(path) as package:
            root = package.namelist()[0].partition("/")[0]
            facts = json.loads(package.read(f"{root}/{FACTS}"))
    except (zipfile.BadZipFile, LookupError) as error:
        raise ValueError(
            f"a compiled runtime opens what its convert() made, but {path.name} is no compiled package: {error}."
        ) from error
    inputs = tuple((tuple(shape), dtype) for shape, dtype in facts["inputs"])
    return _Compiled(**{**facts, "inputs": inputs})


@contextlib.contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Silence warnings about deprecated features that torch's compiler uses itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script", DeprecationWarning)
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        yield
