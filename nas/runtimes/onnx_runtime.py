"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from nas.target import Target


@final
class OnnxRuntimeCpu:
    """Opens ONNX files with the CPU execution provider, in fp32."""

    def why_unavailable(self, target: Target) -> str | None:
        if target.precision != "fp32":
            return (
                f"onnxruntime-cpu runs fp32 here, but {target} asks for {target.precision}; write onnxruntime-cpu:fp32."
            )
        return None

    def version(self) -> str:
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    def open(self, model: Path, target: Target) -> OnnxSession:
        return OnnxSession(model, target)


@final
class OnnxSession:
    """An inference session with one fixed input from a standard normal distribution."""

    def __init__(self, model: Path, target: Target) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = target.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        (declared,) = self._session.get_inputs()
        shape = tuple(declared.shape)
        if any(not isinstance(size, int) for size in shape) or shape[0] != target.batch:
            raise ValueError(f"the model's input must have the batch size {target.batch} of {target}, but has {shape}.")
        self._shape = shape
        self._feed = {declared.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}

    def run(self) -> None:
        self._session.run(None, self._feed)

    def conditions(self) -> Mapping[str, Any]:
        return {"executed_precision": "fp32", "input_shape": list(self._shape)}
