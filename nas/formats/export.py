"""Exporting a torch module to a file, and checking that an ONNX file gives the module's outputs."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import onnx
import torch

from nas.errors import CandidateError
from nas.formats.onnx_file import with_counts
from nas.formats.onnx_session import Arrays, outputs_of
from nas.formats.torch_program import write_torch_program
from nas.formats.traced_export import without_notes, write_traced
from nas.progress import one_line
from nas.space.signature import TensorType
from nas.space.torch_settings import in_turn, torch_threads
from nas.space.tracing import zero_inputs
from nas.values.target import ModelFormat

OUTPUT = "logits"
"""The name of a model's output."""
EXAMPLE_BATCH = 2
"""The batch of the example for a model of any batch. One item would be taken for a batch that is always one."""
PARITY_TOLERANCE = 1e-3
"""Largest allowed difference of an output, relative to the largest output. fp32 kernels sum in different orders."""


@in_turn()
@torch_threads(1)
def export_onnx(module: torch.nn.Module, inputs: Sequence[TensorType], batch: int | None, path: Path) -> None:
    """Write ``module`` in eval mode as one ONNX file for batches of ``inputs``, which keep their names.

    The batch is fixed, so that the measured file is the exported one; None leaves it open, as the size ``batch``. The
    file is written under another name and renamed.
    Tracing takes some hundredths of a second. What it cannot express exactly goes through torch's newer exporter, which
    takes a second or more.

    Raises:
        CandidateError: the exporter cannot express the module.
    """
    example, names = zero_inputs(inputs, batch or EXAMPLE_BATCH), [each.name for each in inputs]
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    was_training = module.training
    module.eval()
    try:
        with _silence():
            if batch is None:
                _write_program(module, example, aside, names, opens_batch=True)
            elif not write_traced(module, example, aside, names, OUTPUT):
                _write_program(module, example, aside, names)
            if any(each.counts for each in inputs):
                onnx.save(with_counts(onnx.load(aside), inputs), aside)
    except Exception as error:  # any exception of the exporter is this architecture's failure
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise
        raise CandidateError("export", f"torch.onnx.export raised {_root_cause(error)}") from error
    finally:
        module.train(was_training)
    os.replace(aside, path)


def _write_program(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    names: Sequence[str],
    opens_batch: bool = False,
) -> None:
    """Write a module by torch's newer exporter, without its notes. Any exception says why it cannot."""
    shapes: tuple[object, ...] | None = None
    if opens_batch:
        shapes = tuple({0: torch.export.Dim("batch", min=1)} for _ in example)
        parameters = inspect.signature(module.forward).parameters.values()
        if any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters):  # one parameter takes all inputs
            shapes = (shapes,)
    program = torch.onnx.export(
        module,
        example,
        dynamo=True,
        verbose=False,
        input_names=list(names),
        output_names=[OUTPUT],
        dynamic_shapes=shapes,
    )
    assert program is not None
    program.save(path, external_data=False)
    model = without_notes(onnx.load(path))
    if opens_batch and not all(each.type.tensor_type.shape.dim[0].dim_param for each in model.graph.output):
        path.unlink()
        raise ValueError("its outputs have one batch size, whatever its inputs have")
    onnx.save(model, path)


@in_turn()
@torch_threads(1)
def parity(module: torch.nn.Module, path: Path, inputs: Arrays) -> float:
    """Return the largest difference between the outputs of ``module`` and the file, relative to the largest output.

    ``inputs`` holds an array for each input, whose first axis is N.

    Raises:
        CandidateError: the difference exceeds ``PARITY_TOLERANCE``, or an output is not finite.
    """
    exported = outputs_of(path, inputs)
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        expected = module(*map(torch.from_numpy, inputs)).numpy()
    module.train(was_training)
    for outputs, whose in ((exported, "the exported model"), (expected, "torch")):
        if not np.isfinite(outputs).all():
            raise CandidateError("parity", f"outputs must be finite, but those of {whose} are not.")
    difference = float(np.abs(exported - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if difference > PARITY_TOLERANCE:
        raise CandidateError(
            "parity",
            f"exported outputs must be within {PARITY_TOLERANCE:g} of torch's, but differ by {difference:.3g}.",
        )
    return difference


@in_turn()
@torch_threads(1)
def export_model(
    module: torch.nn.Module, inputs: Sequence[TensorType], batch: int, path: Path, model_format: ModelFormat
) -> None:
    """Write ``module`` in the format that a runtime takes: an ONNX file as in ``export_onnx``, or a torch program.

    Raises:
        CandidateError: the exporter cannot express the module.
    """
    if model_format == "onnx":
        export_onnx(module, inputs, batch, path)
        return
    try:
        with _silence():
            write_torch_program(module, inputs, batch, path)
    except OSError:
        raise
    except Exception as error:  # any exception of the exporter is this architecture's failure
        raise CandidateError("export", f"torch.export raised {_root_cause(error)}") from error


class _SilentHere:
    """A stream that drops what the thread writes that opened it. Other threads write as before."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or io.StringIO()
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence the exporter, which warns, logs and prints about its own passes, even whole graphs."""
    disabled_before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(cast(TextIO, _SilentHere(sys.stdout))),
            contextlib.redirect_stderr(cast(TextIO, _SilentHere(sys.stderr))),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled_before)


def _root_cause(error: BaseException) -> str:
    """Describe in one line the exception that the exporter wrapped in its own advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {one_line(lines[0])}" if lines else type(error).__name__
