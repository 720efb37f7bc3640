"""Scikit-learn's HistGradientBoosting with its defaults, as an ONNX file: the model that networks should beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nas.space.signature import Signature
from nas.tasks.deployed.inputs import Arrays

NAME = "HistGradientBoosting"
IN_WORDS = "scikit-learn's defaults; categories as ordered numbers"
SMALLEST_PROBABILITY = 1e-7
OPSETS = {"": 17, "ai.onnx.ml": 3}
_JOINED = "joined"


def fitted_boosting(
    inputs: Arrays, targets: npt.NDArray[Any], signature: Signature, batch: int, **settings: Any
) -> bytes:
    """Return a fitted model as an ONNX file that takes the inputs of ``signature`` and gives its output.

    ``targets`` are class numbers of shape (N,), or values of shape (N, 1). Outputs of a classifier are logits.
    ``settings`` are scikit-learn's, in the place of its defaults.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    columns = np.concatenate([each.astype(np.float32) for each in inputs], axis=1)
    is_classifier = targets.ndim == 1
    maker = HistGradientBoostingClassifier if is_classifier else HistGradientBoostingRegressor
    model = maker(random_state=0, **settings).fit(columns, targets.reshape(len(targets)))
    _floor_thresholds(model)
    return _onnx(model, columns.shape[1], is_classifier, signature, batch)


def _floor_thresholds(model: Any) -> None:
    """Round thresholds down to 32 bits. The export rounds to the nearest number, which turns some inputs."""
    for trees in model._predictors:
        for tree in trees:
            tree.nodes["num_threshold"] = floored(tree.nodes["num_threshold"])


def floored(exact: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return numbers rounded down to 32 bits: inputs of 32 bits exceed them if, and only if, they exceed the exact."""
    rounded = exact.astype(np.float32)
    above = rounded.astype(np.float64) > exact
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


class _PlainAttributes:
    """A container of skl2onnx whose nodes get numbers of Python: newer ONNX refuses NumPy's booleans among integers."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *arguments: Any, **attributes: Any) -> Any:
        """Add a node as the container does."""
        plain = {name: _plain(value) if isinstance(value, list) else value for name, value in attributes.items()}
        return self._container.add_node(*arguments, **plain)


def _plain(values: list[Any]) -> list[Any]:
    return [int(value) if isinstance(value, (bool, np.bool_, np.integer)) else value for value in values]


def _onnx(model: Any, columns: int, is_classifier: bool, signature: Signature, batch: int) -> bytes:
    import onnx
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.operator_converters import random_forest

    convert = (
        random_forest.convert_sklearn_random_forest_classifier
        if is_classifier
        else random_forest.convert_sklearn_random_forest_regressor_converter
    )
    trees = convert_sklearn(
        model,
        initial_types=[(_JOINED, FloatTensorType([batch, columns]))],
        options={id(model): {"zipmap": False}} if is_classifier else None,
        custom_conversion_functions={
            type(model): lambda scope, operator, container: convert(scope, operator, _PlainAttributes(container))
        },
        target_opset=OPSETS,
    )
    helper, kinds = onnx.helper, onnx.TensorProto
    before, casts = [], []
    for each in signature.inputs:
        casts.append(each.name if each.dtype == "float32" else f"{each.name}_as_floats")
        if each.dtype != "float32":
            before.append(helper.make_node("Cast", [each.name], [casts[-1]], to=kinds.FLOAT))
    before.append(helper.make_node("Concat", casts, [_JOINED], axis=1))
    answers = trees.graph.output[-1].name
    after = [helper.make_node("Identity", [answers], ["outputs"])]
    smallest = helper.make_tensor("smallest", kinds.FLOAT, [1], [SMALLEST_PROBABILITY])
    if is_classifier:
        after = [
            helper.make_node("Max", [answers, "smallest"], ["bounded"]),
            helper.make_node("Log", ["bounded"], ["outputs"]),
        ]
    given = [
        helper.make_tensor_value_info(
            each.name, kinds.FLOAT if each.dtype == "float32" else kinds.INT64, [batch, *each.shape]
        )
        for each in signature.inputs
    ]
    graph = helper.make_graph(
        [*before, *trees.graph.node, *after],
        NAME,
        given,
        [helper.make_tensor_value_info("outputs", kinds.FLOAT, [batch, *signature.output])],
        [*trees.graph.initializer, *([smallest] if is_classifier else [])],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content
