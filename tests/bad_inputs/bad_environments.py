"""Bad surroundings: what is kept in $NAS_HOME is damaged, or the folder is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_inputs.bad_input import BadInput

HOME = {"NAS_HOME": "home"}


def environment(content: bytes) -> Callable[[Path], object]:
    """Return what writes the marker of an environment."""

    def write(here: Path) -> None:
        folder = here / "home" / "environments" / "executorch"
        folder.mkdir(parents=True)
        (folder / "installed.json").write_bytes(content)

    return write


def damaged(content: bytes) -> BadInput:
    """Return the case of an environment with this marker: it counts as not installed."""
    return BadInput(
        ("measure", "a.onnx", "--target", "executorch-xnnpack"),
        ("needs an environment of its own", "run: nas target install executorch-xnnpack"),
        environment(content),
        variables=HOME,
    )


BAD_INPUTS = {
    "an environment's marker that is no JSON": damaged(b"{"),
    "an environment's marker that is no text": damaged(b"\xff\xfe"),
    "an environment's marker that is a list": damaged(b"[]"),
    "an environment's marker that is a number": damaged(b"3"),
    "an environment's marker without packages": damaged(b"{}"),
    "an environment's marker of another kind": damaged(b'{"requirements": 3}'),
    "the home of nobody": BadInput(
        ("measure", "a.onnx", "--target", "executorch-xnnpack"),
        ("NAS_HOME must be a folder, but got '~nosuchuser/x'",),
        variables={"NAS_HOME": "~nosuchuser/x"},
    ),
    "a home that is a file": BadInput(
        ("search", "--data", "digits", "--space", "mobilenet", "--target", "onnxruntime-cpu"),
        ("NAS_HOME must be a folder, but got 'notes', and {here}/notes is none",),
        lambda here: (here / "notes").write_text("of mine"),
        variables={"NAS_HOME": "notes"},
    ),
    "a home within a file": BadInput(
        ("measure", "a.onnx", "--target", "executorch-xnnpack"),
        ("NAS_HOME must be a folder, but got 'notes/home', and {here}/notes is none",),
        lambda here: (here / "notes").write_text("of mine"),
        variables={"NAS_HOME": "notes/home"},
    ),
}
