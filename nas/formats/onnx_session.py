"""Running an ONNX file on this machine's processor, to compare or score its outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError

Float32Array = npt.NDArray[np.float32]


def load_onnxruntime() -> Any:
    """Import ONNX Runtime without its usage statistics, which it would record in a database in the user's home."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def outputs_of(path: Path, images: Float32Array) -> Float32Array:
    """Return an ONNX file's outputs, shape (N, classes), for float32 images, shape (N, channels, height, width).

    A last incomplete batch is padded with zeros.

    Raises:
        CandidateError: ONNX Runtime cannot run the file.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (declared,) = session.get_inputs()
        batch = int(declared.shape[0])
        padded = np.concatenate([images, np.zeros((-len(images) % batch, *images.shape[1:]), dtype=np.float32)])
        parts = [session.run(None, {declared.name: padded[i : i + batch]})[0] for i in range(0, len(padded), batch)]
    except OSError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no other base class
        raise CandidateError("export", f"ONNX Runtime cannot run the exported model: {error}") from error
    return np.concatenate(parts)[: len(images)]
