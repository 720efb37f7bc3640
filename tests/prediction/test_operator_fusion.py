"""Layers that a runtime merges, from lists of operators and from ONNX Runtime's own graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.formats.export import export_model
from nas.hardware.runtimes.onnx_runtime import OnnxRuntimeCpu
from nas.prediction.operator_fusion import as_executed, merged_kinds
from nas.space.architecture import Architecture, Choice
from nas.space.description import Describer
from nas.space.layer import Layer
from nas.space.signature import image_inputs, image_signature
from nas.space.tracing import describer_of
from nas.values.measurement import OPERATORS, Measurement
from nas.values.target import Target
from predictors.additive import fit_additive

IMAGE = (3, 8, 8)
CONV = Layer("conv", IMAGE, (4, 8, 8), macs=6912, params=112, kernel=3)
RELU = Layer("activation", (4, 8, 8), (4, 8, 8))
ADD = Layer("elementwise", (4, 8, 8), (4, 8, 8))
NORM = Layer("norm", (4, 8, 8), (4, 8, 8), params=8)
POOL = Layer("pool", (4, 8, 8), (4,))


def test_kinds_without_an_operator_are_merged() -> None:
    """Activation and sum ran within the convolution. Pools, and kinds that no network has, are never merged."""
    assert merged_kinds([([CONV, RELU, ADD, POOL], {"FusedConv": 1, "ReduceMean": 1})]) == {"activation", "elementwise"}


def test_one_operator_anywhere_is_enough() -> None:
    """A kind with an operator in one network is not merged, even if other networks have none."""
    merged = ([CONV, RELU, ADD], {"Conv": 1})
    left = ([CONV, RELU, ADD, RELU], {"Conv": 1, "HardSwish": 1})
    assert merged_kinds([merged]) == {"activation", "elementwise"}
    assert merged_kinds([merged, left]) == {"elementwise"}


@pytest.mark.parametrize(
    ("operator", "kinds"),
    [
        pytest.param("Relu", {"activation"}, id="an activation"),
        pytest.param("QLinearAdd", {"elementwise"}, id="a quantised sum"),
        pytest.param("SkipLayerNormalization", {"norm"}, id="a norm that took a sum in"),
        pytest.param("Softmax", {"softmax"}, id="softmax, which is no maximum"),
        pytest.param("Eltwise", {"activation", "elementwise"}, id="OpenVINO's word for both"),
        pytest.param("NhwcMaxPool", set(), id="a pool, which is no maximum"),
        pytest.param("ReorderOutput", set(), id="moving data"),
        pytest.param("SomethingNew", {"activation", "elementwise", "norm", "softmax"}, id="unknown: may be any"),
    ],
)
def test_an_operator_speaks_for_kinds(operator: str, kinds: set[str]) -> None:
    """Of four mergeable kinds, those that the operator may belong to are not merged."""
    layers = [CONV, RELU, ADD, NORM, Layer("softmax", (4,), (4,))]
    found = merged_kinds([(layers, {"Conv": 1, operator: 1})])
    assert found == {"activation", "elementwise", "norm", "softmax"} - kinds


class Chain:
    """``depth`` convolutions, each optionally followed by an activation; with ``hard``, by one that is never merged."""

    choices = (Choice("depth", (1, 2, 3, 4)), Choice("width", (4, 8, 12)), Choice("hard", (False, True)))

    def build(self, architecture: Architecture) -> torch.nn.Module:
        parts: list[torch.nn.Module] = []
        channels = IMAGE[0]
        for _ in range(int(architecture["depth"])):
            width = int(architecture["width"])
            parts += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
            parts += [torch.nn.Hardswish()] if architecture["hard"] else []
            channels = width
        return torch.nn.Sequential(*parts, torch.nn.Flatten(), torch.nn.Linear(channels * 64, 10))


def measured(architecture: Architecture, value: float, conditions: dict[str, Any]) -> dict[str, Measurement]:
    """Return a latency of one value, measured under these conditions."""
    return {"latency_ms": Measurement("latency_ms", "t", ((value,),), conditions)}


def executed(architecture: Architecture, folder: Path) -> dict[str, Any]:
    """Return the operators that ONNX Runtime executes for a chain."""
    path = folder / f"{architecture.id}.onnx"
    export_model(Chain().build(architecture), image_inputs(IMAGE), 1, path, "onnx")
    return dict(OnnxRuntimeCpu().open(path, Target.parse("onnxruntime-cpu")).conditions())


@pytest.mark.parametrize(("hard", "merged"), [((False,), {"activation"}), ((False, True), set())])
def test_onnx_runtime_reports_that_relu_is_merged(tmp_path: Path, hard: Sequence[bool], merged: set[str]) -> None:
    """With ReLU only convolutions remain; a hard swish remains as an operator, so activations are not free."""
    space, describer = Chain(), describer_of(Chain(), image_signature(IMAGE, 10))
    found = {}
    for each in hard:
        architecture = Architecture({"depth": 2, "width": 8, "hard": each})
        found[architecture] = measured(architecture, 1.0, executed(architecture, tmp_path))
        operators = found[architecture]["latency_ms"].conditions[OPERATORS]
        assert sum(count for name, count in operators.items() if "Conv" in name) == 2
    view = as_executed(describer, found)
    assert view.merged == merged
    assert view.space is describer.space
    assert space.choices == view.choices


def test_nothing_is_merged_without_a_report() -> None:
    """Without reported operators, the describer and its features stay the same."""
    describer = Describer(Chain(), lambda architecture: [CONV, RELU])
    architecture = Architecture({"depth": 1, "width": 4, "hard": False})
    assert as_executed(describer, {architecture: measured(architecture, 1.0, {})}) is describer
    assert as_executed(describer, {}) is describer


def test_layers_that_are_merged_cost_nothing(tmp_path: Path) -> None:
    """Only convolutions and pools get costs, and predictions are exact without the merged activations."""
    describer = Describer(Chain(), lambda a: [CONV, RELU] * int(a["depth"]) + [POOL])
    samples = [Architecture({"depth": d, "width": w, "hard": False}) for d in (1, 2, 3, 4) for w in (4, 8, 12)]
    ran = {a: measured(a, 1.0 + int(a["depth"]), {OPERATORS: {"Conv": a["depth"], "ReduceMean": 1}}) for a in samples}
    view = as_executed(describer, ran)
    values = np.array([ran[a]["latency_ms"].median for a in samples])
    predictor = fit_additive(view, samples, values, target="t", seed=0)
    model: Any = predictor.model
    kinds = {key[0] for level, key in model.inner.costs.by_place if level == 0}
    assert kinds == {"conv", "pool"}
    assert predictor.predict(samples).mean == pytest.approx(values, rel=0.02)


def test_a_describer_keeps_its_views() -> None:
    """Merging the same kinds returns the same describer, and all of them share the layers."""
    asked: list[Architecture] = []

    def layers(architecture: Architecture) -> list[Layer]:
        asked.append(architecture)
        return [CONV, RELU, POOL]

    describer = Describer(Chain(), layers)
    architecture = Architecture({"depth": 1, "width": 4, "hard": False})
    view = describer.merging({"activation"})
    assert view is describer.merging(["activation"])
    assert describer.merging(()) is describer
    assert {group.kind for group in describer.describe([architecture]).groups} == {"conv", "activation", "pool"}
    assert {group.kind for group in view.describe([architecture]).groups} == {"conv", "pool"}
    assert len(asked) == 1
