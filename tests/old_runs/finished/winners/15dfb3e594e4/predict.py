#!/usr/bin/env python3
"""Classify images with the model in this folder; needs only numpy and onnxruntime.

    python predict.py images.npy

``images.npy`` holds uint8 images of shape (N, channels, height, width) or, where there is one channel,
(N, height, width). Prints one line an image: the class and its probability. As a module:

    from predict import Model
    probabilities = Model().predict(images)      # shape (N, classes)
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before it is loaded: no usage statistics

import onnxruntime

HERE = Path(__file__).resolve().parent


class Model:
    """The model in a folder, with the scaling that it was trained with: as deployed where that is an ONNX file."""

    def __init__(self, folder: Path = HERE) -> None:
        self.about = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
        self.classes = self.about["classes"]
        deployed = self.about["deployed"]
        file = deployed if deployed.endswith(".onnx") else "model.onnx"
        self.session = onnxruntime.InferenceSession(str(folder / file), providers=["CPUExecutionProvider"])

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities, shape (N, classes), of uint8 images, shape (N, channels, height, width)."""
        images = np.asarray(images)
        channels, height, width = self.about["input_shape"]
        if images.ndim == 3 and channels == 1:
            images = images[:, None]
        if images.dtype != np.uint8 or images.shape[1:] != (channels, height, width):
            raise ValueError(
                f"images must be uint8 of shape (N, {channels}, {height}, {width}), "
                f"but got {images.dtype} of shape {images.shape}."
            )
        mean = np.asarray(self.about["mean"], dtype=np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.about["std"], dtype=np.float32).reshape(1, -1, 1, 1)
        inputs = (images.astype(np.float32) / 255 - mean) / std
        batch = self.about["batch"]
        missing = -len(inputs) % batch
        padded = np.concatenate([inputs, np.zeros((missing, channels, height, width), np.float32)])
        parts = [self.session.run(None, {"images": padded[i : i + batch]})[0] for i in range(0, len(padded), batch)]
        if not parts:
            return np.zeros((0, len(self.classes)), np.float32)
        logits = np.concatenate(parts)[: len(inputs)]
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: npt.NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    model = Model()
    for row in model.predict(np.load(sys.argv[1], allow_pickle=False)):
        print(f"{model.classes[int(row.argmax())]}\t{row.max():.4f}")
