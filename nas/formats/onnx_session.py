"""Running an ONNX file on this machine's processor, to compare or score its outputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError

Float32Array = npt.NDArray[np.float32]
Arrays = Sequence[npt.NDArray[Any]]
"""An array for each input of a model. Their first axis is that of the items."""


def load_onnxruntime() -> Any:
    """Import ONNX Runtime without its usage statistics, which it would record in a database in the user's home."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def outputs_of(path: Path, inputs: Arrays) -> Float32Array:
    """Return an ONNX file's outputs, whose first axis is N, for an array for each of its inputs, with the same axis.

    A last incomplete batch is padded with zeros. A file that leaves its batch open gets all items at once.

    Raises:
        CandidateError: ONNX Runtime cannot run the file.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        declared = session.get_inputs()
        count, first = len(inputs[0]), declared[0].shape[0]
        batch = first if isinstance(first, int) else max(count, 1)
        missing = -count % batch
        padded = [np.concatenate([each, np.zeros((missing, *each.shape[1:]), dtype=each.dtype)]) for each in inputs]
        parts = [
            session.run(None, {d.name: each[i : i + batch] for d, each in zip(declared, padded, strict=True)})[0]
            for i in range(0, count + missing, batch)
        ]
    except OSError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no other base class
        raise CandidateError("export", f"ONNX Runtime cannot run the exported model: {error}") from error
    return np.concatenate(parts)[:count]
