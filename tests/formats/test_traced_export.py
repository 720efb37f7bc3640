"""Exporting by tracing gives the runtime the same operators as torch's newer exporter, or leaves a module to that."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from nas.formats import export
from nas.formats.export import export_onnx, parity
from nas.formats.onnx_file import read_onnx, weight_bytes
from nas.formats.onnx_session import outputs_of
from nas.hardware.measuring import vary_constant_weights
from nas.space.search_space import architecture_from, load_space, sample
from nas.space.signature import Signature, TensorType, image_inputs

SHAPE = (3, 8, 8)


class Function(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._function(x)


def network(*layers: nn.Module) -> nn.Module:
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers, *head)


def doubled_by_size(x: torch.Tensor) -> torch.Tensor:
    if x.shape[3] % 7 > 0:
        x = x * 2
    return x


def scripted() -> nn.Module:
    """A module whose decision stays a decision when it is traced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return network(nn.ZeroPad2d((1, 0, 0, 0)), Function(torch.jit.script(doubled_by_size)))


TRACED = {
    "batch norm": lambda: network(nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout()),
    "bounded": lambda: network(nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid()),
    "squeeze and excite": lambda: network(Function(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)))),
    "pools": lambda: network(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1)),
    "depthwise": lambda: network(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.SiLU(), nn.Conv2d(8, 8, 3, dilation=2)),
    "padded by the size": lambda: network(Conv2dSame(8, 8, 3, stride=2, bias=True), nn.ReLU6(), Conv2dSame(8, 8, 3)),
    "padded twice": lambda: network(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(8, 8, 3, padding=1, stride=2)),
    "shuffled": lambda: network(Function(lambda x: x.view(-1, 2, 4, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8))),
    "exact gelu": lambda: network(nn.GELU()),
    "perceptron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.LeakyReLU(), nn.Linear(16, 10)),
    "no bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16, bias=False), nn.Linear(16, 10)),
    "root mean square": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.RMSNorm(16), nn.Linear(16, 10)),
}
OTHERS = {
    "the largest pixel": lambda: network(nn.AdaptiveMaxPool2d(1)),
    "gelu": lambda: network(nn.GELU("tanh")),
    "groups": lambda: network(nn.GroupNorm(2, 8)),
    "values that are counted": lambda: network(Function(lambda x: x * (x > 0).nonzero().shape[0])),
    "noise": lambda: network(nn.ZeroPad2d(1), Function(lambda x: x + torch.rand(x.shape[0], 8, 10, 10))),
    "a decision in a script": scripted,
    "padded by ones": lambda: network(nn.ConstantPad2d(1, 1.0), nn.Conv2d(8, 8, 3)),
    "padded for two": lambda: network(nn.ZeroPad2d(1), Function(lambda x: x + x.mean()), nn.Conv2d(8, 8, 3)),
    "a decision": lambda: network(Function(lambda x: x if x.shape[1] == 8 else -x)),
}


def optimised(path: Path) -> Counter[str]:
    """Return the operators that ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimised"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path.with_suffix(".optimised")).graph.node)


def assert_alike(module: nn.Module, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both exporters give ONNX Runtime the same operators and weights, and the outputs of torch."""
    newer, traced = folder / "newer.onnx", folder / "traced.onnx"
    vary_constant_weights(module)
    with monkeypatch.context() as patch:
        patch.setattr(export, "write_traced", lambda *_: False)
        export_onnx(module, image_inputs(SHAPE), 1, newer)
    with monkeypatch.context() as patch:
        patch.setattr(export, "_write_program", lambda *_: pytest.fail("it was not traced"))
        export_onnx(module, image_inputs(SHAPE), 1, traced)
    images = np.random.default_rng(0).standard_normal((3, *SHAPE)).astype(np.float32)
    assert optimised(traced) == optimised(newer)
    assert outputs_of(traced, [images]) == pytest.approx(outputs_of(newer, [images]), rel=1e-3, abs=1e-4)
    assert parity(module, traced, [images]) < 1e-5
    # Constants for shapes and axes, of some bytes each, are shared in one file and not in the other.
    assert weight_bytes(read_onnx(traced)) == pytest.approx(weight_bytes(read_onnx(newer)), rel=0.01, abs=200)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACED)
def test_both_exporters_give_the_runtime_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    torch.manual_seed(0)
    assert_alike(TRACED[name](), tmp_path, monkeypatch)


@pytest.mark.slow
def test_embeddings_are_traced_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of embeddings of each category becomes the same operators."""

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(count, 4) for count in (3, 10)])
            self.last = nn.Linear(13, 2)

        def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
            found = [table(categories[:, column]) for column, table in enumerate(self.tables)]
            return self.last(torch.cat([numbers, *found], dim=1))

    inputs = (TensorType("numbers", (5,)), TensorType("categories", (2,), "int64", (3, 10)))
    with monkeypatch.context() as patch:
        patch.setattr(export, "write_traced", lambda *_: False)
        export_onnx(module := Embedding().eval(), inputs, 1, tmp_path / "newer.onnx")
    monkeypatch.setattr(export, "_write_program", lambda *_: pytest.fail("it was not traced"))
    export_onnx(module, inputs, 1, tmp_path / "traced.onnx")
    assert optimised(tmp_path / "traced.onnx") == optimised(tmp_path / "newer.onnx")
    items = [np.ones((3, 5), np.float32), np.array([[0, 9], [2, 0], [1, 5]])]
    assert parity(module, tmp_path / "traced.onnx", items) < 1e-5


@pytest.mark.parametrize(
    ("positions", "norm", "heads_per_key"),
    [("learned", "layer", 1), pytest.param("rotary", "rms", 2, marks=pytest.mark.slow)],
)
def test_transformers_are_traced_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, positions: str, norm: str, heads_per_key: int
) -> None:
    """But for a reshape, which moves nothing, and keys and values that two slices take apart instead of a split."""
    signature = Signature((TensorType("tokens", (16,), "int64", (32,)),), (16, 32))
    space = load_space("gpt", {}, signature)
    sizes = {"depth": 1, "width": 32, "heads": 4, "ff_ratio": 2, "tied": False}
    chosen = architecture_from(space, {**sizes, "positions": positions, "norm": norm, "heads_per_key": heads_per_key})
    module = space.build(chosen).eval()
    with monkeypatch.context() as patch:
        patch.setattr(export, "write_traced", lambda *_: False)
        export_onnx(module, signature.inputs, 1, tmp_path / "newer.onnx")
    monkeypatch.setattr(export, "_write_program", lambda *_: pytest.fail("it was not traced"))
    export_onnx(module, signature.inputs, 1, tmp_path / "traced.onnx")
    found, wanted = optimised(tmp_path / "traced.onnx"), optimised(tmp_path / "newer.onnx")
    assert abs(found.pop("Reshape") - wanted.pop("Reshape")) <= 1
    found["Split"] += found.pop("Slice", 0) // 2
    assert found == wanted
    tokens = np.random.default_rng(0).integers(0, 32, (3, 16))
    assert parity(module, tmp_path / "traced.onnx", [tokens]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["tree", "table"])
def test_n_grams_are_traced_alike(pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that are looked up, and numbers that are scattered, become the same operators."""
    signature = Signature((TensorType("tokens", (16,), "int64", (32,)),), (16, 32))
    space = load_space("ngram", {}, signature)
    values = {"order": 4, "smoothing": "kneser-ney", "pairs": pairs, "followers": 128, "entries": 512}
    module = space.build(architecture_from(space, values)).eval()
    with monkeypatch.context() as patch:
        patch.setattr(export, "write_traced", lambda *_: False)
        export_onnx(module, signature.inputs, 1, tmp_path / "newer.onnx")
    monkeypatch.setattr(export, "_write_program", lambda *_: pytest.fail("it was not traced"))
    export_onnx(module, signature.inputs, 1, tmp_path / "traced.onnx")
    assert optimised(tmp_path / "traced.onnx") == optimised(tmp_path / "newer.onnx")
    tokens = np.random.default_rng(0).integers(0, 32, (3, 16))
    assert parity(module, tmp_path / "traced.onnx", [tokens]) < 1e-6


def test_signals_are_averaged_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not over their channels too."""
    monkeypatch.setattr(export, "_write_program", lambda *_: pytest.fail("it was not traced"))
    pool = (nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4))
    module = nn.Sequential(nn.Conv1d(3, 8, 5, dilation=2), nn.BatchNorm1d(8), nn.ReLU(), *pool).eval()
    export_onnx(module, image_inputs((3, 40)), 2, tmp_path / "model.onnx")
    signals = np.random.default_rng(0).standard_normal((4, 3, 40)).astype(np.float32)
    assert parity(module, tmp_path / "model.onnx", [signals]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("space", ["mobilenet", "fbnet", "nasbench201", "nasbench_macro"])
def test_architectures_of_spaces_are_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str) -> None:
    """So latencies of before and after compare."""
    rng = np.random.default_rng(0)
    made = load_space(space, {}, input_shape=SHAPE, classes=10)
    for seed in range(3):
        torch.manual_seed(seed)
        assert_alike(made.build(sample(made, rng)).eval(), tmp_path, monkeypatch)


class Shifted(nn.Module):
    """A network with parameters that are named as constants of the traced graph are."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)
        for number in range(4):
            for name in ("axes", "shape"):
                self.register_parameter(f"{name}_{number}", nn.Parameter(torch.randn(8)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.convolution(x), 1).flatten(1)
        for number in range(4):
            x = x + getattr(self, f"axes_{number}") + getattr(self, f"shape_{number}")
        return self.linear(x)


def test_constants_do_not_take_the_names_of_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    assert_alike(Shifted().eval(), tmp_path, monkeypatch)


@pytest.mark.parametrize("name", OTHERS)
def test_modules_that_differ_are_left_to_the_newer_exporter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No file is left for it to stumble over."""
    left: list[Path] = []
    monkeypatch.setattr(
        export, "_write_program", lambda module, example, path, names: (left.append(path), path.touch())
    )
    export_onnx(OTHERS[name](), image_inputs(SHAPE), 1, tmp_path / "model.onnx")
    assert len(left) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b""


def test_the_newer_exporter_leaves_no_paths_of_this_machine(tmp_path: Path) -> None:
    """Its notes hold stack traces, which would also count as bytes of the model."""
    path = tmp_path / "model.onnx"
    export_onnx(OTHERS["gelu"](), image_inputs(SHAPE), 1, path)
    assert b"site-packages" not in path.read_bytes()
    assert b"stack_trace" not in path.read_bytes()
    assert path.stat().st_size < 5000


@pytest.mark.slow
def test_exporting_takes_little_time(tmp_path: Path) -> None:
    """At most 0.3 s of the processor for each model, on average; the newer exporter takes a second and more."""
    space = load_space("mobilenet", {}, input_shape=(1, 8, 8), classes=10)
    rng = np.random.default_rng(0)
    modules = [space.build(sample(space, rng)) for _ in range(8)]
    export_onnx(modules[0], image_inputs((1, 8, 8)), 1, tmp_path / "first.onnx")
    began = time.process_time()
    for module in modules:
        export_onnx(module, image_inputs((1, 8, 8)), 1, tmp_path / "model.onnx")
    assert (time.process_time() - began) / len(modules) < 0.3
