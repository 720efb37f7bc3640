"""Bad bundles: what is none, what is damaged, and forms that do not exist."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from bad_inputs.bad_input import BadInput
from damaged_journals import rows_of_a_run, write_run

from nas.results.bundle import ABOUT
from nas.results.bundled.manifest import MANIFEST, write_manifest

BUNDLE = "bundle"
VERIFY, EXPORT = ("bundle", "verify", BUNDLE), ("bundle", "export", BUNDLE, "--format", "onnx")
LEAST = {
    "id": "0123456789ab",
    "target": "onnxruntime-cpu:fp32:batch=1:threads=1",
    "deployed": "model.onnx",
    "batch": 1,
    "signature": {"inputs": [{"name": "x", "shape": [4], "dtype": "float32", "counts": []}], "output": [2]},
    "answers": {"kind": "classification"},
    "space": {"name": "mlp"},
    "choices": {},
}


def bundle(change: Callable[[Path], object], **about: object) -> Callable[[Path], object]:
    """Return what writes a bundle with a file that is no model, and then changes it."""

    def prepare(here: Path) -> None:
        folder = here / BUNDLE
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"no model")
        (folder / ABOUT).write_text(json.dumps({**LEAST, **about}))
        write_manifest(folder, "1.0")
        change(folder)

    return prepare


def nothing(here: Path) -> None:
    """Prepare nothing."""


BAD_INPUTS = {
    "none": BadInput(VERIFY, ("have no winner bundle",), nothing),
    "a path to none": BadInput(("bundle", "verify", "runs/x/winners/y"), ("does not exist",), nothing),
    "an empty folder": BadInput(VERIFY, ("has no architecture.json",), lambda here: (here / BUNDLE).mkdir()),
    "a file": BadInput(VERIFY, ("is no folder",), lambda here: (here / BUNDLE).write_text("")),
    "no JSON": BadInput(
        VERIFY, ("architecture.json has changed",), bundle(lambda f: (f / ABOUT).write_text("{")), status=1
    ),
    "a missing model": BadInput(
        (*VERIFY, "--no-measure"),
        ("model.onnx is missing.", "The bundle is not sound"),
        bundle(lambda f: (f / "model.onnx").unlink()),
        status=1,
    ),
    "a changed model": BadInput(
        (*VERIFY, "--no-measure"),
        ("model.onnx has changed: its SHA-256 is",),
        bundle(lambda f: (f / "model.onnx").write_bytes(b"an model")),
        status=1,
    ),
    "a manifest that leads away": BadInput(
        (*VERIFY, "--no-measure"),
        ("files of a bundle must lie within it",),
        bundle(
            lambda f: (f / MANIFEST).write_text(
                json.dumps({"format": 1, "files": {"../secret": {"bytes": 1, "sha256": ""}}})
            )
        ),
        status=1,
    ),
    "an unknown format": BadInput(
        ("bundle", "export", BUNDLE, "--format", "onxx"), ("Did you mean 'onnx'?",), bundle(nothing)
    ),
    "an open batch for litert": BadInput(
        ("bundle", "export", BUNDLE, "--format", "litert", "--dynamic-batch"),
        ("a batch of any size is for the formats onnx and openvino",),
        bundle(nothing),
    ),
    "a precision that is none": BadInput((*EXPORT, "--precision", "int4"), ("parts of a target",), bundle(nothing)),
    "a precision that the runtime lacks": BadInput(
        (*EXPORT, "--precision", "bf16"), ("onnxruntime-cpu runs fp32, int8",), bundle(nothing)
    ),
    "a place that is taken": BadInput((*EXPORT, "--out", BUNDLE), ("holds something else",), bundle(nothing)),
    "a place in a file": BadInput(
        (*EXPORT, "--out", f"{BUNDLE}/model.onnx/form"),
        ("a bundle must be written to", "Nothing was left"),
        bundle(nothing),
    ),
    "code that nobody trusts": BadInput(
        (*EXPORT, "--batch", "3"),
        ("names code of its own, evil:Space",),
        bundle(lambda f: (f / "model.safetensors").write_bytes(b"x"), space={"name": "evil:Space"}),
    ),
    "a run without winners": BadInput(
        ("drift", "run"),
        ("nas drift needs winners with models",),
        lambda here: write_run(here / "run", [r for r in rows_of_a_run() if getattr(r, "stage", "") != "winner"]),
    ),
    "no run": BadInput(("drift", "run"), ("must be the folder of a run",), nothing),
    "a target that is none": BadInput(
        ("drift", "run", "--target", "?"),
        ("a target starts with the name of a runtime",),
        lambda here: write_run(here / "run", rows_of_a_run()),
    ),
}
