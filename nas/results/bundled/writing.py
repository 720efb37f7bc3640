"""Writing what lies beside the model of a bundle: its description, its measurements, its card and its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nas.formats.onnx_file import fills_bytes, read_graph
from nas.paths import why_no_file
from nas.results.bundle import ABOUT
from nas.results.bundled.card import CARD, card_text
from nas.results.bundled.manifest import write_manifest
from nas.storage.journal import write_aside
from nas.tasks.deployed.predict import FILLS_BYTES
from nas.values.measurement import Measurement

MEASURED = "measurement.json"
"""Raw samples, intervals and conditions of each metric."""


def write_about(folder: Path, about: Mapping[str, Any], measured: Mapping[str, Measurement]) -> None:
    """Write ``architecture.json``, ``measurement.json`` and the model card, and last the manifest of all files."""
    about = {key: value for key, value in about.items() if key != FILLS_BYTES} | _of_weights(folder, about)
    write_aside(folder / ABOUT, as_json(about))
    write_aside(folder / MEASURED, as_json({name: each.to_json() for name, each in measured.items()}))
    write_aside(folder / CARD, card_text(about, measured).encode())
    write_manifest(folder, version("nas"))


def _of_weights(folder: Path, about: Mapping[str, Any]) -> dict[str, bool]:
    """Return if the deployed ONNX file has weights whose products overflow on some processors; nothing for others."""
    path = folder / str(about["deployed"])
    return {FILLS_BYTES: True} if path.suffix == ".onnx" and fills_bytes(read_graph(path)) else {}


def read_measured(folder: Path) -> dict[str, Measurement]:
    """Return the measurements in a bundle; none where the file is missing or cannot be read."""
    if why_no_file(folder / MEASURED) is not None:
        return {}
    try:
        stored = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
        return {str(name): Measurement.from_json(each) for name, each in stored.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def as_json(value: object) -> bytes:
    """Return plain data as the text of a file."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
