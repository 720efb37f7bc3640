"""What every registered runtime does with a model, in the process that measures."""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.formats.export import export_model
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes import environments
from nas.hardware.runtimes.runtime import Deployed, ExportedModel, Float32Array, ProfilingRuntime, load_runtime
from nas.recipe.recipe import Recipe
from nas.space.plug_ins import plug_in_names, plug_in_path
from nas.space.search_space import architecture_from
from nas.space.signature import Signature, TensorType, image_inputs
from nas.values.target import PRECISIONS, Target

NAMES = plug_in_names("nas.runtimes")
SLOW = [name for name in NAMES if name.endswith("-compiled") or load_runtime(name).environment is not None]
"""A compiler takes half a minute, and a converter with an environment of its own nearly so."""
RUNTIMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NAMES]
INPUT_SHAPE = (1, 8, 8)
BATCH = 2
TIMEOUT_S = 240.0
TOOLKITS = {
    *("torch", "torchvision", "torchao", "timm", "ray", "optuna", "pandas", "scipy", "sklearn", "pydantic"),
    *("onnxruntime.quantization", "onnxscript", "nncf", "litert_torch", "ai_edge_quantizer"),
}
"""Packages that train, search and convert, which a device need not have."""
WITH_TORCH = ("torch", "executorch")
"""Runtimes that are torch, or whose models take its tensors."""
NAS = Path(__file__).parents[2]


@dataclass(frozen=True)
class Deployment:
    """A small model, deployed on a target by a process that is ready for more. ``folder`` was given for it."""

    target: Target
    process: MeasuringProcess
    exported: Path
    folder: Path
    deployed: Deployed


def images_of(count: int) -> Float32Array:
    return np.random.default_rng(0).standard_normal((count, *INPUT_SHAPE)).astype(np.float32)


@functools.cache
def module() -> nn.Module:
    """A small network whose batch norms have seen images."""
    space = TinySpace()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = space.build(architecture_from(space, {"width": 16, "depth": 1, "kernel": 3}))
        with torch.no_grad():
            for _ in range(3):
                built(torch.from_numpy(images_of(64)))
    return built.eval()


def target_of(name: str, precision: str) -> Target:
    """The target, which must be available here."""
    target = Target(name, precision, batch=BATCH)
    unavailable = load_runtime(name).why_unavailable(target)
    if unavailable is not None:
        pytest.skip(unavailable)
    return target


def sent(deployed: Deployed, device: Path) -> Path:
    """Copy a model's files to another folder, as to a device, and return its path there."""
    for file in deployed.files:
        there = device / file.relative_to(deployed.path.parent)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, there)
    return device / deployed.path.name


@pytest.fixture(name="deploy", scope="module")
def deployer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Deployment]]:
    """Deploys a model once for each runtime and precision."""
    folder = tmp_path_factory.mktemp("runtimes")
    known: dict[Target, Deployment] = {}

    def deploy(name: str, precision: str) -> Deployment:
        target = target_of(name, precision)
        if target not in known:
            model_format = load_runtime(name).model_format
            exported = folder / f"model.{model_format}"
            if not exported.exists():
                export_model(module(), image_inputs(INPUT_SHAPE), BATCH, exported, model_format)
            own = folder / name / precision
            own.mkdir(parents=True)
            model = ExportedModel(exported, lambda: [images_of(32)])
            process = processes.enter_context(MeasuringProcess(target, TIMEOUT_S))
            known[target] = Deployment(target, process, exported, own, process.convert(model, own, TIMEOUT_S))
        return known[target]

    with contextlib.ExitStack() as processes:
        yield deploy


@pytest.mark.parametrize("name", RUNTIMES)
class TestEvery:
    def test_says_what_it_is(self, name: str, deploy: Callable[[str, str], Deployment]) -> None:
        """Its version begins with a name and holds a number."""
        product, number, *_ = deploy(name, "fp32").process.conditions["runtime"].split()
        assert product
        assert number[0].isdigit()

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_runs_a_precision_or_says_why_not(
        self, name: str, deploy: Callable[[str, str], Deployment], precision: str
    ) -> None:
        """A target that is refused is named in the reason; else inferences take time, and it is told what ran."""
        target = Target(name, precision, batch=BATCH)
        reason = load_runtime(name).why_unavailable(target)
        if reason is not None:
            assert str(target) in reason
            assert precision in reason
            return
        deployment = deploy(name, precision)
        reply = deployment.process.ask(
            "time", model=str(deployment.deployed.path), reference=None, seconds=0.02, min_samples=4
        )
        assert len(reply["samples"]) >= 4
        assert all(0 < sample < 1000 for sample in reply["samples"])
        conditions = reply["conditions"]
        assert json.loads(json.dumps(conditions, allow_nan=False)) == conditions
        assert conditions["input_shape"] == [BATCH, *INPUT_SHAPE]
        executed = conditions["executed_precision"].split()[0]
        assert executed in PRECISIONS
        if precision == "fp32":
            assert executed == "fp32"

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_deploys_into_the_folder_alone(
        self, name: str, deploy: Callable[[str, str], Deployment], precision: str
    ) -> None:
        """Or takes the model as it was exported; sizes and plain data say how it was made."""
        deployment = deploy(name, precision)
        deployed = deployment.deployed
        assert deployed.path == deployment.exported or deployed.path.resolve().is_relative_to(deployment.folder)
        assert deployed.file_bytes >= deployed.weight_bytes > 0
        assert deployed.weight_bytes < 1.1 * sum(4 * weights.numel() for weights in module().state_dict().values())
        details = dict(deployed.details)
        assert json.loads(json.dumps(details, allow_nan=False)) == details
        assert {file.name for file in deployment.exported.parent.iterdir()} <= {
            *("model.onnx", "model.torch"),
            *NAMES,
        }

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_outputs_are_those_of_torch(
        self, name: str, deploy: Callable[[str, str], Deployment], precision: str, tmp_path: Path
    ) -> None:
        """To a thousandth of the largest in fp32, and much like them in less; a last batch may be half full."""
        images = images_of(7)
        with torch.inference_mode():
            expected = module()(torch.from_numpy(images)).numpy()
        deployment = deploy(name, precision)
        found = deployment.process.outputs(deployment.deployed.path, [images])
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        if precision == "fp32":
            assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
        else:
            assert float(np.corrcoef(found.ravel(), expected.ravel())[0, 1]) > 0.95

    @pytest.mark.slow
    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_opens_where_no_toolkit_is(
        self,
        name: str,
        deploy: Callable[[str, str], Deployment],
        precision: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A device gets the converted files alone. It has no package for training and converting, and no compiler."""
        deployment = deploy(name, precision)
        images = images_of(3)
        expected = deployment.process.outputs(deployment.deployed.path, [images])
        there = sent(deployment.deployed, tmp_path / "device")
        packages = load_runtime(name).device_packages
        hidden = sorted(TOOLKITS - ({"torch"} if name.startswith(WITH_TORCH) else set()))
        hidden += ["onnx"] if packages and "onnx" not in packages else []
        refuse = f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n"  # None there makes an import fail
        monkeypatch.setattr(environments, "START", refuse + environments.START)
        monkeypatch.setenv("CXX", "no-such-compiler")
        with MeasuringProcess(deployment.target, TIMEOUT_S) as process:
            assert process.ask("time", model=there, reference=None, seconds=0.01, min_samples=1)["samples"]
            np.testing.assert_array_equal(process.outputs(there, [images]), expected)
            if isinstance(load_runtime(name), ProfilingRuntime):
                assert process.layer_times(there)
        with MeasuringProcess(deployment.target, TIMEOUT_S) as process:
            assert process.ask("memory", model=there)["samples"][0] > 0

    @pytest.mark.slow
    def test_is_named_by_its_own_module_alone(self, name: str) -> None:
        """A new runtime needs its module, its entry point, its test and its line in the docs, and nothing else."""
        if name == Recipe.model_fields["target"].default:
            pytest.skip("it is the default")
        own = plug_in_path("nas.runtimes", name, "runtime").partition(":")[0].replace(".", "/")
        for path in (NAS / "nas").rglob("*.py"):
            if path != NAS / f"{own}.py":
                tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                assert name not in {node.value for node in tree if isinstance(node, ast.Constant)}, path

    def test_says_how_much_memory_a_model_takes(self, name: str, deploy: Callable[[str, str], Deployment]) -> None:
        """A finite number of MiB, in a process of its own."""
        deployment = deploy(name, "fp32")
        with MeasuringProcess(deployment.target, TIMEOUT_S) as process:
            reply = process.ask("memory", model=str(deployment.deployed.path))
        (peak,) = reply["samples"]
        assert 0 < peak < math.inf
        assert reply["conditions"]["executed_precision"] == "fp32"

    @pytest.mark.parametrize("precision", ["fp32", "int8"])
    def test_tells_its_latency_by_layer_or_that_it_cannot(
        self, name: str, deploy: Callable[[str, str], Deployment], precision: str
    ) -> None:
        """Operators have types and times; a runtime without a profiler is named in the reason."""
        deployment = deploy(name, precision)
        if isinstance(load_runtime(name), ProfilingRuntime):
            layers = deployment.process.layer_times(deployment.deployed.path)
            assert sum(layer.ms for layer in layers) > 0
            assert all(layer.name and layer.kind for layer in layers)
        else:
            (found,) = DeviceBench(deployment.target, BenchSettings()).layer_times([deployment.deployed])
            assert found.reason == f"{name} does not tell how long each operator takes."

    def test_refuses_another_batch_size(
        self, name: str, deploy: Callable[[str, str], Deployment], tmp_path: Path
    ) -> None:
        """A model is measured as it is, never as something else; deploying or opening it says so."""
        deployment = deploy(name, "fp32")

        def run(process: MeasuringProcess) -> None:
            deployed = process.convert(ExportedModel(deployment.exported), tmp_path, TIMEOUT_S)
            process.ask("time", model=str(deployed.path), reference=None, seconds=0.01, min_samples=1)

        with (
            MeasuringProcess(replace(deployment.target, batch=BATCH + 1), TIMEOUT_S) as other,
            pytest.raises(CandidateError, match=f"{name} refused the model: .*batch size {BATCH + 1} "),
        ):
            run(other)

    @pytest.mark.parametrize("content", [b"", b"garbage" * 1000, None], ids=["empty", "garbage", "no file"])
    def test_refuses_what_is_no_model(
        self, name: str, deploy: Callable[[str, str], Deployment], tmp_path: Path, content: bytes | None
    ) -> None:
        """Both to deploy it and to run it, with a text; the process goes on."""
        path = tmp_path / "model"
        if content is not None:
            path.write_bytes(content)
        (tmp_path / "deployed").mkdir()
        process = deploy(name, "fp32").process
        refused = rf"^{name} refused the model: \w+: \S"
        with pytest.raises(CandidateError, match=refused) as deploying:
            process.convert(ExportedModel(path), tmp_path / "deployed", TIMEOUT_S)
        with pytest.raises(CandidateError, match=refused) as running:
            process.ask("time", model=str(path), reference=None, seconds=0.01, min_samples=1)
        assert deploying.value.kind == running.value.kind == "measure"
        assert process.ask("conditions")["runtime"]


def test_the_runtime_in_the_documentation_converts_and_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An int8 model of it gets the items that it was given."""
    text = (NAS / "docs" / "plug-ins.md").read_text(encoding="utf-8")
    code = re.search(r"^import nas\n+class Inlined.*?(?=^```)", text, re.DOTALL | re.MULTILINE)
    assert code is not None
    (tmp_path / "inlined.py").write_text(code[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    exported, target = tmp_path / "model.onnx", Target("inlined:Inlined", "int8", batch=BATCH)
    export_model(module(), image_inputs(INPUT_SHAPE), BATCH, exported, "onnx")
    bench, model = DeviceBench(target, BenchSettings()), ExportedModel(exported, lambda: [images_of(6)])
    (deployed,) = bench.deploy([model], [tmp_path / "converted"])
    assert isinstance(deployed, Deployed)
    assert deployed.details == {"calibrated_on": "6 training items"}
    assert bench.outputs(deployed, [images_of(3)]).shape == (3, 10)


class Numbered(nn.Module):
    """A network of numbers and of two whole numbers, the second of which has many values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Embedding(3, 4), nn.Embedding(1000, 4)
        self.last = nn.Linear(13, 2)

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        embedded = [self.first(categories[:, 0]), self.second(categories[:, 1])]
        return self.last(torch.cat([numbers, *embedded], dim=1))


SEVERAL = Signature((TensorType("numbers", (5,)), TensorType("categories", (2,), "int64", (3, 1000))), (2,))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", RUNTIMES)
def test_several_inputs_are_measured_within_their_counts(name: str, precision: str, tmp_path: Path) -> None:
    """Whole numbers are valid indices, in calibrating, in timing and in giving outputs. Or converting refuses them."""
    target, runtime = target_of(name, precision), load_runtime(name)
    torch.manual_seed(0)
    network, exported = Numbered().eval(), tmp_path / f"model.{runtime.model_format}"
    export_model(network, SEVERAL.inputs, BATCH, exported, runtime.model_format)
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((8, 5)).astype(np.float32)
    categories = np.stack([rng.integers(0, 3, 8), rng.integers(0, 1000, 8)], axis=1)
    with torch.inference_mode():
        expected = network(torch.from_numpy(numbers), torch.from_numpy(categories)).numpy()
    with MeasuringProcess(target, TIMEOUT_S) as process:
        (tmp_path / "deployed").mkdir()
        try:
            deployed = process.convert(
                ExportedModel(exported, lambda: [numbers, categories]), tmp_path / "deployed", TIMEOUT_S
            )
        except CandidateError as error:
            if "must have one input of floats here, but its inputs are" not in error.reason:
                raise
            return
        reply = process.ask("time", model=str(deployed.path), reference=None, seconds=0.02, min_samples=4)
        found = process.outputs(deployed.path, [numbers, categories])
    assert reply["conditions"]["input_shape"] == [[BATCH, 5], [BATCH, 2]]
    assert np.abs(found - expected).max() < (1e-3 if precision == "fp32" else 0.3) * np.abs(expected).max()
