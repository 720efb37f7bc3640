"""The forms in which a winner can be exported: each has a runtime that makes, runs and measures it."""

from __future__ import annotations

from dataclasses import dataclass

from nas.errors import RecipeError, did_you_mean
from nas.values.target import Target


@dataclass(frozen=True)
class Form:
    """A form of exported models. ``opens_batch`` is True if it can leave the size of the batch open."""

    name: str
    runtime: str
    file: str
    opens_batch: bool = False


FORMS = {
    form.name: form
    for form in (
        Form("onnx", "onnxruntime-cpu", "an ONNX file", opens_batch=True),
        Form("openvino", "openvino-cpu", "OpenVINO's IR, an .xml and a .bin file", opens_batch=True),
        Form("executorch", "executorch-xnnpack", "a .pte file"),
        Form("litert", "litert-cpu", "a .tflite file"),
        Form("torch", "torch-cpu", "a program of torch.export, a .pt2 file"),
    )
}


def form_named(name: str) -> Form:
    """Return the form called ``name``.

    Raises:
        RecipeError: there is none; the nearest known one is given.
    """
    if name not in FORMS:
        raise RecipeError(f"a format is one of {', '.join(FORMS)}, but got {name!r}. {did_you_mean(name, FORMS)}")
    return FORMS[name]


def target_of(form: Form, precision: str, batch: int, threads: int) -> Target:
    """Return the target that runs a form.

    Raises:
        RecipeError: the precision is unknown.
    """
    return Target.parse(f"{form.runtime}:{precision}:batch={batch}:threads={threads}")


def check_open_batch(form: Form) -> None:
    """Check that a form can leave the batch open. Raises RecipeError."""
    if not form.opens_batch:
        names = " and ".join(each.name for each in FORMS.values() if each.opens_batch)
        raise RecipeError(
            f"a batch of any size is for the formats {names}, but got {form.name}, whose programs have fixed sizes. "
            "Export it once for each size that you need, with --batch."
        )
