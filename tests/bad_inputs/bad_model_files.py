"""Bad model files for ``nas measure``: what is no model, what lies elsewhere, and graphs that make no sense."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from bad_inputs.bad_input import BadInput
from onnx import TensorProto, helper
from onnx_models import linear, model_of, outside, tensor_info, with_external_data

MODEL = "model.onnx"
FAILED = 1
"""The exit status of ``nas measure`` if a file has a reason instead of numbers."""


def file(prepare: Callable[[Path], object], *says: str, more: tuple[str, ...] = ()) -> BadInput:
    """Return the case of a file that fails, with its reason on standard output."""
    return BadInput(("measure", MODEL, *more), says, prepare, status=FAILED)


def content(data: bytes) -> Callable[[Path], object]:
    """Return what writes the file."""
    return lambda here: (here / MODEL).write_bytes(data)


def graph(model: onnx.ModelProto) -> Callable[[Path], object]:
    """Return what writes a model."""
    return content(model.SerializeToString())


def whole() -> bytes:
    """Return a sound model."""
    return linear(np.ones((8, 4), np.float32)).SerializeToString()


def open_sizes(*sizes: int | str) -> onnx.ModelProto:
    """Return a model with one input of these sizes."""
    return model_of([helper.make_node("Relu", ["x"], ["y"])], [tensor_info("x", sizes)], [tensor_info("y", sizes)])


def external(location: str) -> Callable[[Path], object]:
    """Return what writes a model whose weights lie at ``location``."""

    def write(here: Path) -> None:
        (here / "loop").symlink_to("loop")
        os.mkfifo(here / "pipe")
        model = linear(np.ones((8, 4), np.float32))
        outside(model.graph.initializer[0], location)
        (here / MODEL).write_bytes(model.SerializeToString())

    return write


def elsewhere(here: Path) -> None:
    """Write a model whose weights lie beside its folder."""
    with_external_data(here / "inner", "../weights.bin").rename(here / MODEL)


def sequence() -> onnx.ModelProto:
    """Return a model whose input is no tensor."""
    return model_of(
        [helper.make_node("SequenceLength", ["x"], ["n"])],
        [helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, (1, 8))],
        [tensor_info("n", (), TensorProto.INT64)],
    )


SHAPE = ("--input-shape", "3x8x8")
BAD_INPUTS = {
    "a file that is missing": file(lambda here: None, "model.onnx does not exist"),
    "a named pipe": file(lambda here: os.mkfifo(here / MODEL), "model.onnx is a named pipe"),
    "a folder": file(lambda here: (here / MODEL).mkdir(), "model.onnx is a folder"),
    "a link to itself": file(lambda here: (here / MODEL).symlink_to(MODEL), "cannot be opened: Too many levels"),
    "an empty file": file(content(b""), "must be an ONNX file with a graph, but model.onnx has none"),
    "a text": file(content(b"hello"), "model.onnx is not"),
    "half of a model": file(content(whole()[:-20]), "model.onnx is not"),
    "open sizes": file(graph(open_sizes("N", 3, "H", "W")), "x has 1×3×?×?; name them with --input-shape"),
    "other sizes": file(graph(open_sizes(1, 3, 9, "W")), "must fit an input", "got 1×3×8×8 for x 1×3×9×?", more=SHAPE),
    "other fixed sizes": file(graph(open_sizes(1, 3, 9, 9)), "must fit an input of the model", more=SHAPE),
    "sizes for what is no tensor": file(graph(sequence()), "is something else", more=SHAPE),
    "external data that is missing": file(external("none.bin"), "points to 'none.bin', which does not exist"),
    "external data in a pipe": file(external("pipe"), "points to 'pipe', which is a named pipe"),
    "external data in a link to itself": file(external("loop"), "points to 'loop'"),
    "external data elsewhere": file(external("../weights.bin"), "must lie in its own folder"),
    "external data of the system": file(external("/etc/passwd"), "must lie in its own folder"),
    "external data of no name": file(external(""), "must lie in its own folder"),
    "a shape of two sizes for a space": BadInput(
        ("measure", "--space", "nasbench201", "--out", "t.csv.gz", "--input-shape", "3x8"),
        ("takes images, float32 of shape (channels, height, width), but the data have signals", "conv1d"),
    ),
    "a shape of letters": BadInput(("measure", MODEL, "--input-shape", "axb"), ("such as tokens=128, but got 'axb'",)),
    "a shape of nothing": BadInput(("measure", MODEL, "--input-shape", "0x8x8"), ("such as 3x32x32",)),
    "a shape of a hundred digits": BadInput(("measure", MODEL, "--input-shape", "9" * 100), ("such as 3x32x32",)),
    "more threads than cores": BadInput(
        ("measure", MODEL, "--target", "onnxruntime-cpu:threads=99999"), ("threads must be at most the", "core")
    ),
    "a batch of twelve digits": BadInput(
        ("measure", MODEL, "--target", "onnxruntime-cpu:batch=999999999999"), ("batch must have at most 6 digits",)
    ),
    "a batch that fills the memory": file(
        graph(open_sizes("N", 3, 64, 64)),
        "at most a quarter of the memory",
        "999999×3×64×64",
        "Lower the batch",
        more=("--target", "onnxruntime-cpu:batch=999999"),
    ),
    "an input that fills the memory": file(graph(open_sizes(1, 2**40)), "at most a quarter of the memory"),
    "an option of spaces": BadInput(("measure", MODEL, "--classes", "5"), ("--classes is for --space, not for ONNX",)),
    "a table": BadInput(("measure", MODEL, "--out", "t.csv.gz"), ("--out is for --space, not for ONNX files",)),
    "named architectures": BadInput(("measure", MODEL, "--architectures", "a"), ("--architectures is for --space",)),
    "random ones among named ones": BadInput(
        ("measure", "--space", "nasbench201", "--architectures", "a", "--count", "3"),
        ("--count is for random architectures, not for --architectures",),
    ),
}
