"""Bad runtimes: of an earlier protocol, and what is no runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_inputs.bad_input import BadInput

BEFORE = """
{imports}
class Mine{parents}:
    def why_unavailable(self, target): ...
    def version(self): return "mine 1.0"
    def deploy(self, model, target, calibration, folder): ...
    def open(self, path, target): ...
"""


def module(text: str) -> Callable[[Path], object]:
    """Return what writes a module ``mine`` of the user's own."""
    return lambda folder: (folder / "mine.py").write_text(text)


def outdated(imports: str, parents: str) -> BadInput:
    """Return the case of a runtime that was written for version 0.8."""
    return BadInput(
        ("measure", "a.onnx", "--target", "mine:Mine"),
        (
            "a runtime must have convert(model, target, folder), but 'mine:Mine' has deploy(model, target, "
            "calibration, folder), which nas called until version 0.8",
            'docs/plug-ins.md shows under "A runtime" what to change',
        ),
        module(BEFORE.format(imports=imports, parents=parents)),
    )


BAD_INPUTS = {
    "a runtime of version 0.8": outdated("import nas", "(nas.Runtime)"),
    "a runtime of version 0.8 with no parent": outdated("", ""),
    "a runtime that cannot open": BadInput(
        ("measure", "a.onnx", "--target", "mine:Mine"),
        ("without open",),
        module(BEFORE.format(imports="", parents="").replace("deploy", "convert").replace("def open", "def close")),
    ),
}
