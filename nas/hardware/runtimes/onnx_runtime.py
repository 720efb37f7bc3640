"""ONNX Runtime on the CPU: fp32, and int8 with static or dynamic ranges of activations."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, final

import numpy as np
import onnx

from nas.formats.model_inputs import random_inputs
from nas.formats.onnx_file import (
    convolves_into,
    executed_precisions,
    external_files,
    inputs_of,
    is_transformer,
    light_heads,
    read_graph,
    read_onnx,
    weight_bytes,
)
from nas.formats.onnx_session import Arrays, load_onnxruntime
from nas.hardware.machine import products_of_bytes_overflow
from nas.hardware.runtimes.profiles import onnxruntime_times, run_to_profile
from nas.hardware.runtimes.runtime import (
    MOST_OF_HEAD,
    Deployed,
    ExportedModel,
    Float32Array,
    Runtime,
    calibration_of,
    check_batch,
    most_common,
    told_shape,
    without_logged_warnings,
)
from nas.storage.scratch import temporary_folder
from nas.values.layer_times import LayerTime
from nas.values.measurement import OPERATORS
from nas.values.target import Target

WITHIN_RANGE, FEWEST_CLIPPED = 0.95, 40
"""The share of items whose largest values are within the range of a tensor, and so for the smallest. Of fewer items
than the second number, those of all are. This is for networks that convolve and classify by heads in fp32: with ranges
for all items, one with large values may leave few steps to the others. Elsewhere some values are answers."""
PRODUCTS = ("Conv", "ConvTranspose", "Gather", "Gemm", "MatMul")
"""What becomes int8 in a transformer; embeddings are gathered. A few channels of what its blocks add up are so large
that 8 bits leave nothing of the others: with all operators in int8, small language models lost up to 23 points of
accuracy, instead of none, and took longer (``python -m experiments.int8_accuracy``)."""


@final
class OnnxRuntimeCpu(Runtime):
    """Opens ONNX files with the CPU execution provider."""

    precisions = ("fp32", "int8", "int8-dynamic")
    form = "onnx"
    opens_batch = True
    conversions: ClassVar[Mapping[str, int]] = {"int8": 2}  # fp32 in heads and transformers, and clipped values
    device_packages = ("onnxruntime", "onnx", "numpy", "protobuf", "ml_dtypes", "typing_extensions")

    def version(self) -> str:
        return f"onnxruntime {load_onnxruntime().__version__}"

    def convert(self, model: ExportedModel, target: Target, folder: Path) -> Deployed:
        """Return the file itself for fp32, or a quantised file.

        int8 becomes QDQ with u8 activations and s8 weights per channel, for which the CPU provider has fast kernels. A
        small head stays in fp32, and so does all of a transformer but its products and embeddings. Where a head does,
        ranges of convolutional classifiers leave out the largest values of a twentieth of the items.
        int8-dynamic becomes operators with dynamic ranges and s8 weights per channel.
        """
        load_onnxruntime()  # before its quantiser imports it with usage statistics on
        exported = read_onnx(model.path)
        if target.precision == "fp32":
            external = external_files(exported, model.path)
            return Deployed(model.path, weight_bytes(exported), beside=tuple(sorted(external)))
        path = folder / "model.onnx"
        with without_logged_warnings(), temporary_folder("quantise") as scratch:
            prepared = scratch / "prepared.onnx"
            from onnxruntime.quantization.shape_inference import quant_pre_process

            quant_pre_process(model.path, prepared, skip_symbolic_shape=True)
            if target.precision == "int8":
                details = _quantise_static(prepared, path, model)
            else:
                details = _quantise_dynamic(prepared, path, model)
        quantised = read_onnx(path)
        if exported.metadata_props:  # the quantiser drops the note of counts
            onnx.helper.set_model_props(quantised, {each.key: each.value for each in exported.metadata_props})
            onnx.save(quantised, path)
        return Deployed(path, weight_bytes(quantised), details)

    def open(self, path: Path, target: Target) -> OnnxSession:
        return OnnxSession(path, target)

    def layer_times(self, path: Path, target: Target) -> list[LayerTime]:
        """Return the operators of the optimised graph with their times, as ONNX Runtime's profiler counts them."""
        with temporary_folder("profile") as folder:
            session = OnnxSession(path, target, folder / "profile")
            runs = run_to_profile(session.run)
            events = json.loads(session.end_profile().read_text(encoding="utf-8", errors="replace"))
        return onnxruntime_times(events, runs, target.batch)


@final
class OnnxSession:
    """An inference session with fixed inputs. Floating-point inputs are standard normal.

    With ``profile``, the beginning of a file's path, each inference is profiled into that file.
    """

    def __init__(self, model: Path, target: Target, profile: Path | None = None) -> None:
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = target.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        self._model, self._options = model, options
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs = inputs_of(read_onnx(model), target.batch)
        for declared in self._inputs:
            check_batch(declared.shape, target)
        self._feed = random_inputs(self._inputs)

    def run(self) -> None:
        self._session.run(None, self._feed)

    def end_profile(self) -> Path:
        """End profiling, and return the file of its events."""
        return Path(self._session.end_profiling())

    def outputs(self, inputs: Arrays) -> Float32Array:
        feed = {declared.name: each for declared, each in zip(self._inputs, inputs, strict=True)}
        result: Float32Array = self._session.run(None, feed)[0]
        return result

    def conditions(self) -> Mapping[str, Any]:
        return {
            **_executed(self._model, self._options.intra_op_num_threads),
            "input_shape": told_shape(values.shape for values in self._feed.values()),
        }


@functools.cache
def _executed(model: Path, threads: int) -> Mapping[str, Any]:
    """Return the commonest precision of products and the number of operators of each type.

    Both are read from the graph that ONNX Runtime optimises for this processor.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    with temporary_folder("optimised") as folder:
        path = folder / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        optimised = read_graph(path)  # it refers to the external data of the model, which stays where it is
        return {
            "executed_precision": most_common(executed_precisions(optimised)),
            OPERATORS: dict(sorted(Counter(node.op_type for node in optimised.graph.node).items())),
        }


def _quantise_static(prepared: Path, path: Path, model: ExportedModel) -> dict[str, Any]:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    whole = read_onnx(prepared)
    inputs = inputs_of(whole, 1)
    batches, details = calibration_of(model, inputs, inputs[0].shape[0] or 1)
    names = [each.name for each in inputs]
    heads, transforms = light_heads(whole, MOST_OF_HEAD), is_transformer(whole)
    classifies = model.classifies is not None and model.classifies()
    options: dict[str, Any] = {}
    if classifies and heads and not transforms and convolves_into(whole, heads):
        ranges = _clipped_ranges(whole, [dict(zip(names, each, strict=True)) for each in batches])
        options["TensorQuantOverrides"] = ranges
        if ranges:
            details |= {"ranges": f"reach the largest values of {WITHIN_RANGE:.0%} of these, and the smallest"}
    feeds = (dict(zip(names, each, strict=True)) for each in batches)
    quantize_static(
        prepared,
        path,
        SimpleNamespace(get_next=lambda: next(feeds, None)),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=_is_narrow(model),
        nodes_to_exclude=heads,
        op_types_to_quantize=PRODUCTS if transforms else None,
        extra_options=options,
    )
    return details


def _clipped_ranges(model: onnx.ModelProto, feeds: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return ranges that reach the ends of ``WITHIN_RANGE`` of the items, for the tensors within a graph.

    Left out are tensors of too few items, with infinite values, or that are 0 for most items.

    ONNX Runtime's own percentiles are of the values of all items. One item with values that are a thousand times as
    large may move them, or make them nothing, because they are edges of equal bins up to the largest value.
    """
    made = {name for node in model.graph.node for name in node.output} - {each.name for each in model.graph.output}
    real = [each for each in model.graph.value_info if each.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    inner = [each for each in real if each.name in made]  # others were left from before the graph was optimised
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(inner)
    options = load_onnxruntime().SessionOptions()
    options.log_severity_level = 3
    session = load_onnxruntime().InferenceSession(watched.SerializeToString(), options, ["CPUExecutionProvider"])
    names = [each.name for each in inner]
    ends: dict[str, list[Any]] = {}
    for feed in feeds:
        batch = len(next(iter(feed.values())))
        for name, values in zip(names, session.run(names, dict(feed)), strict=True):
            items = values.reshape(batch if values.ndim and len(values) == batch else 1, -1)
            if items.size:
                ends.setdefault(name, []).append((items.min(axis=1), items.max(axis=1)))
    ranges = {}
    for name, found in ends.items():
        lows, highs = (np.concatenate(each) for each in zip(*found, strict=True))
        if len(lows) < FEWEST_CLIPPED or not np.isfinite([lows, highs]).all():
            continue
        low, high = np.quantile(lows, 1 - WITHIN_RANGE), np.quantile(highs, WITHIN_RANGE)
        if min(low, 0) < max(high, 0):
            ranges[name] = [{"rmin": np.array(low, np.float32), "rmax": np.array(high, np.float32)}]
    return ranges


def _quantise_dynamic(prepared: Path, path: Path, model: ExportedModel) -> dict[str, Any]:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(prepared, path, weight_type=QuantType.QInt8, per_channel=True, reduce_range=_is_narrow(model))
    return {}


def _is_narrow(model: ExportedModel) -> bool:
    """Return True if weights must keep to 7 bits where the model will run."""
    return products_of_bytes_overflow() if model.narrow is None else model.narrow
