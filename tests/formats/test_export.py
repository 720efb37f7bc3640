"""An exported model gives the same outputs, or its architecture fails and no file is left."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.formats.export import PARITY_TOLERANCE, export_onnx, parity
from nas.formats.onnx_session import outputs_of
from nas.space.search_space import architecture_from, load_space
from nas.space.signature import TensorType, image_inputs

SHAPE = (1, 8, 8)


CALLS = itertools.count(1)


def images_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *SHAPE)).astype(np.float32)


def convolutions() -> nn.Module:
    space = TinySpace()
    module = space.build(architecture_from(space, {"width": 8, "depth": 2, "kernel": 3}))
    module(torch.from_numpy(images_of(32)))  # gives the batch norms statistics of their own
    return module


def vision_transformer() -> nn.Module:
    space = load_space("timm-vit", {}, input_shape=SHAPE, classes=10)
    return space.build(architecture_from(space, {choice.name: choice.options[0] for choice in space.choices}))


class Function(nn.Module):
    """A module without weights: the first ten pixels, after a function."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self._function(images.flatten(1)[:, :10])


@pytest.mark.parametrize("make", [convolutions, pytest.param(vision_transformer, marks=pytest.mark.slow)])
def test_a_batch_may_stay_open(tmp_path: Path, make: Callable[[], nn.Module]) -> None:
    """Then one file takes any number of items, with torch's outputs."""
    torch.manual_seed(0)
    module, path = make().eval(), tmp_path / "model.onnx"
    export_onnx(module, image_inputs(SHAPE), None, path)
    (declared,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()
    assert not isinstance(declared.shape[0], int)
    for count in (1, 2, 7):
        assert parity(module, path, [images_of(count)]) <= 1e-4
        assert outputs_of(path, [images_of(count)]).shape == (count, 10)


class Joining(nn.Module):
    """A module that takes any number of inputs, as models of tables do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 10)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = self.head(torch.cat(inputs, dim=1))
        return joined


def test_a_batch_of_several_inputs_may_stay_open(tmp_path: Path) -> None:
    types = [TensorType("first", (2,)), TensorType("second", (4,))]
    module, path = Joining().eval(), tmp_path / "model.onnx"
    export_onnx(module, types, None, path)
    for count in (1, 5):
        given = [np.ones((count, 2), np.float32), np.ones((count, 4), np.float32)]
        assert parity(module, path, given) <= 1e-4
        assert outputs_of(path, given).shape == (count, 10)


class FirstAlone(nn.Module):
    """A module that ignores its second input."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 10)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return self.head(first)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("batch", [2, None])
def test_an_input_that_a_module_ignores_stays_in_the_file(tmp_path: Path, batch: int | None, dtype: str) -> None:
    """Otherwise the file takes other inputs than the task gives, and such a model is trained but never wins."""
    types = [TensorType("first", (2,)), TensorType("second", (4,), dtype, (5,) * 4 if dtype == "int64" else ())]
    module, path = FirstAlone().eval(), tmp_path / "model.onnx"
    export_onnx(module, types, batch, path)
    assert [each.name for each in onnxruntime.InferenceSession(str(path)).get_inputs()] == ["first", "second"]
    given = [np.ones((4, 2), np.float32), np.ones((4, 4), dtype)]
    assert parity(module, path, given) <= 1e-4


@pytest.mark.slow
def test_a_module_of_one_batch_cannot_leave_it_open(tmp_path: Path) -> None:
    """It says so, and leaves no file."""
    with pytest.raises(CandidateError, match=r"torch\.onnx\.export raised"):
        export_onnx(Function(lambda rows: rows.reshape(2, 10)), image_inputs(SHAPE), None, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [convolutions, vision_transformer])
@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_are_the_same(tmp_path: Path, make: Callable[[], nn.Module], batch: int) -> None:
    """Folded batch norms and attention give torch's outputs, also for an incomplete last batch."""
    torch.manual_seed(0)
    module, path = make(), tmp_path / "model.onnx"
    module.train()
    export_onnx(module, image_inputs(SHAPE), batch, path)
    assert module.training
    assert list(tmp_path.iterdir()) == [path]
    assert parity(module, path, [images_of(7)]) <= PARITY_TOLERANCE
    assert module.training
    assert outputs_of(path, [images_of(7)]).shape == (7, 10)
    (declared,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()
    assert declared.shape == [batch, *SHAPE]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Function(lambda x: x if x.sum() > 0 else -x),
            "GuardOnDataDependentSymNode: Could not guard on data-dependent",
        ),
        (Function(lambda x: torch.linalg.svdvals(x[:, None])), "No ONNX function found for .*svd"),
        (Function(lambda x: x + 1 / 0), "ZeroDivisionError: (float )?division by zero"),
    ],
)
def test_what_cannot_be_exported_has_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], module: nn.Module, message: str
) -> None:
    """The reason is the root cause in one line, nothing is printed, and an existing file stays."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older model")
    with pytest.raises(CandidateError, match=f"torch.onnx.export raised .*{message}") as caught:
        export_onnx(module, image_inputs(SHAPE), 1, path)
    assert caught.value.kind == "export"
    assert "\n" not in caught.value.reason
    assert "\x1b" not in caught.value.reason
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"an older model"
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Function(lambda x: x * next(CALLS)),
            "must be within 0.001 of torch's, but differ by 0",
        ),
        (Function(lambda x: x + torch.rand(10)), "but differ by"),
        (Function(lambda x: torch.log(0 * x)), "outputs must be finite, but those of the exported model are not"),
        (Function(lambda x: x * float("nan")), "outputs must be finite"),
    ],
)
def test_other_outputs_are_a_failure(tmp_path: Path, module: nn.Module, message: str) -> None:
    """A module whose outputs are random or not finite fails."""
    path = tmp_path / "model.onnx"
    export_onnx(module, image_inputs(SHAPE), 1, path)
    with pytest.raises(CandidateError, match=message) as caught:
        parity(module, path, [images_of(4)])
    assert caught.value.kind == "parity"


def test_other_weights_are_a_failure(tmp_path: Path) -> None:
    """A file with other weights than the module fails."""
    module, path = convolutions(), tmp_path / "model.onnx"
    export_onnx(module, image_inputs(SHAPE), 1, path)
    with torch.no_grad():
        module[-1].bias += 0.1  # type: ignore[index]
    with pytest.raises(CandidateError, match="exported outputs must be within"):
        parity(module, path, [images_of(4)])


def test_a_missing_folder_stops_the_run(tmp_path: Path) -> None:
    """A missing folder raises OSError instead of failing the architecture."""
    with pytest.raises(OSError, match="No such file or directory"):
        export_onnx(convolutions(), image_inputs(SHAPE), 1, tmp_path / "missing" / "model.onnx")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A full disk raises OSError, keeps the old file and leaves no partial one."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older model")
    path.with_name(f".model.onnx.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        export_onnx(convolutions(), image_inputs(SHAPE), 1, path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"an older model"


def test_exporting_leaves_the_number_of_threads(tmp_path: Path) -> None:
    """It runs on one, also if the module fails."""
    seen: list[int] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return x

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        export_onnx(Function(look), image_inputs(SHAPE), 1, tmp_path / "model.onnx")
        assert torch.get_num_threads() == 3
        assert set(seen) == {1}
    finally:
        torch.set_num_threads(before)


def test_other_threads_print_while_one_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the exporting thread prints is dropped."""
    inside, printed = threading.Event(), threading.Event()

    def shouts(pixels: torch.Tensor) -> torch.Tensor:
        inside.set()
        print("graph")
        print("graph", file=sys.stderr)
        assert printed.wait(10)
        return pixels

    arguments = Function(shouts), image_inputs(SHAPE), 1, tmp_path / "a.onnx"
    exporting = threading.Thread(target=export_onnx, args=arguments)
    exporting.start()
    assert inside.wait(10)
    print("result")
    print("progress", file=sys.stderr)
    printed.set()
    exporting.join()
    assert capsys.readouterr() == ("result\n", "progress\n")
