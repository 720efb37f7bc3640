"""A winner's folder with a small model, and pictures of every kind that its ``predict.py`` may get."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx_models import model_of, tensor_info
from PIL import Image

from nas.tasks.carrying import carried_files, recorded
from nas.tasks.images.images import Images

WIDE, TALL = (90, 61), (50, 83)


def write_bundle(folder: Path, data: Images, batch: int = 2) -> Path:
    """Write ``predict.py``, ``architecture.json`` and a linear model of the data's classes. Return the first."""
    rng = np.random.default_rng(1)
    channels, height, width = data.input_shape
    features = channels * height * width
    weights = {
        "w": rng.normal(size=(features, data.signature.classes)).astype(np.float32),
        "shape": np.array([batch, features], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["images", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    inputs = [tensor_info("images", (batch, channels, height, width))]
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(
        model_of(nodes, inputs, [tensor_info("logits", (batch, data.signature.classes))], weights),
        folder / "model.onnx",
    )
    about = {
        "signature": data.signature.to_json(),
        "answers": data.answers,
        "batch": batch,
        "preparation": recorded(data.preparation),
        "deployed": "model.onnx",
    }
    (folder / "architecture.json").write_text(json.dumps(about), encoding="utf-8")
    for name, content in carried_files(data.preparation).items():
        (folder / name).write_bytes(content)
    return folder / "predict.py"


def colours(size: tuple[int, int], seed: int) -> Image.Image:
    """Return a picture of smooth noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _with_orientation(path: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)


def _sixteen_bits(path: Path, picture: Image.Image) -> None:
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(path)


def _transparent(path: Path, picture: Image.Image) -> None:
    picture = picture.convert("RGBA")
    picture.putalpha(100)
    picture.save(path)


def _frames(path: Path, picture: Image.Image) -> None:
    picture.save(path, save_all=True, append_images=[picture.rotate(180)])


KINDS: dict[str, Callable[[Path, Image.Image], Any]] = {
    "plain.png": lambda path, picture: picture.save(path),
    "photo.jpg": lambda path, picture: picture.save(path),
    "turned.jpg": _with_orientation,
    "print.jpg": lambda path, picture: picture.convert("CMYK").save(path),
    "grey.png": lambda path, picture: picture.convert("L").save(path),
    "scan.tif": lambda path, picture: picture.convert("1").save(path),
    "deep.png": _sixteen_bits,
    "palette.png": lambda path, picture: picture.convert("P").save(path),
    "glass.png": _transparent,
    "moving.gif": _frames,
    "web.webp": lambda path, picture: picture.save(path),
    "old.bmp": lambda path, picture: picture.save(path),
    "raw.PPM": lambda path, picture: picture.save(path, format="PPM"),
}
"""By file name, how a picture of that kind is written."""


def write_photos(root: Path) -> None:
    """Write pictures of all kinds in two sizes into the splits and classes of a data set."""
    for split in ("train", "test"):
        for number, title in enumerate(("cat", "dog")):
            folder = root / split / title
            folder.mkdir(parents=True)
            for seed, (name, write) in enumerate(KINDS.items()):
                write(folder / name, colours((WIDE, TALL)[seed % 2], 1000 * number + seed + 100 * (split == "test")))


def write_jpegs(root: Path) -> Path:
    """Write 48 photos of several sizes into the splits and classes of a data set."""
    for number in range(48):
        path = root / ("train", "test")[number >= 32] / ("cat", "dog")[number % 2] / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colours((40 + 7 * (number % 5), 35 + 5 * (number % 7)), number).save(path, quality=60 + number % 36)
    return root
