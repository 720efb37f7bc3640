#!/usr/bin/env python3
"""Run the model in this folder. It needs numpy, onnxruntime and what reads the files, and nothing else.

    python predict.py FILE FOLDER ARRAYS.npy

Each input is prepared as the tested ones were: architecture.json says how, under "preparation".
An .npy file holds raw inputs, such as pixels, along its first axis.
Each input gives one line: its name and the model's answer, with tabs between them.
As a module:

    from predict import Model
    answers = Model().predict(["photo.jpg", "another.png"])    # of a classifier: probabilities, shape (2, classes)
"""

# The search itself prepares inputs by the code beside this file, so a deployed model gets what the tested one got.

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.tasks.deployed.inputs import Array, Arrays, InputError

Float32Array = npt.NDArray[np.float32]

HERE = Path(__file__).resolve().parent
FILLS_BYTES = "int8_weights_fill_bytes"
"""The key of an ``architecture.json`` whose deployed int8 weights have 8 bits, not 7."""
AT_ONCE = 64
"""About so many inputs are read before the model runs, so that a large folder needs little memory."""


# Answers


def softmax(logits: Float32Array) -> Float32Array:
    """Return probabilities over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Float32Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def answers_of(outputs: Float32Array, answers: Mapping[str, Any]) -> Array:
    """Return a model's outputs as answers. ``answers`` is that part of an ``architecture.json``; its kind decides.

    Classification gives the probabilities of classes, shape (N, classes); multi-label one for each label; regression
    values in the units of the data, shape (N, values); next tokens their probabilities, shape (N, tokens, vocabulary).
    """
    kind = answers["kind"]
    if kind in ("classification", "next-token"):
        return softmax(outputs)
    if kind == "multi-label":
        chances: Float32Array = np.exp(-np.logaddexp(np.float32(0), -outputs))  # the logistic function, no overflow
        return chances
    if kind == "regression":
        values: Array = outputs.astype(np.float64) * answers.get("scale", 1) + answers.get("offset", 0)
        return values
    return outputs


def line_of(name: str, outputs: Float32Array, answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is printed of one input as JSON. Its "shown" is what people see, in columns."""
    found = answers_of(outputs[None], answers)[0]
    names, kind = answers.get("names") or [str(number) for number in range(found.size)], answers["kind"]
    line: dict[str, Any] = {"input": name}
    values = {title: float(value) for title, value in zip(names, found.reshape(-1), strict=True)}
    if kind == "classification":
        best = names[int(found.argmax())]
        line |= {"class": best, "probabilities": values, "logits": [float(x) for x in outputs]}
        return {**line, "shown": [best, f"{found.max():.4f}"]}
    if kind == "multi-label":
        chosen = [title for title, value in values.items() if value > 0.5]
        return {**line, "labels": chosen, "probabilities": values, "shown": [", ".join(chosen) or "none"]}
    return {**line, "values": values, "shown": _shown(list(values.values()), answers)}


def _shown(values: Sequence[float], answers: Mapping[str, Any]) -> list[str]:
    """Return values with six digits, or more where an offset that is large beside the scale takes some of them."""
    offsets, scales = (np.broadcast_to(np.abs(answers.get(key, usual)), len(values)) for key, usual in _USUAL.items())
    ratios = np.divide(offsets, scales, out=np.ones(len(values)), where=scales > 0)
    digits = 6 + np.ceil(np.log10(np.clip(ratios, 1, 1e9))).astype(int)
    return [f"{value:.{count}g}" for value, count in zip(values, digits, strict=True)]


_USUAL = {"offset": 0, "scale": 1}


# The model


class Model:
    """The model in a folder, with the preparation of its inputs. It runs the deployed file if that is an ONNX file.

    Raises InputError if a file is missing or damaged.
    """

    def __init__(self, folder: Path = HERE) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # must be set before the import: no usage statistics
        import onnxruntime

        try:
            about = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
            self.batch: int = about["batch"]
            self.answers: dict[str, Any] = about["answers"]
            self.output: list[int] = about["signature"]["output"]
            self.preparation = loaded_preparation(about)
            overflows = about.get(FILLS_BYTES, False) and bytes_overflow()
            is_run = about["deployed"].endswith(".onnx") and not (overflows and (folder / "model.onnx").is_file())
            file = folder / (about["deployed"] if is_run else "model.onnx")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"{type(error).__name__}: {error}"
            raise InputError(f"predict.py needs the architecture.json of a winner beside it ({text}).") from error
        why = ": its 8-bit weights may overflow on an x86 without VNNI, or one that does not tell" if overflows else ""
        if not is_run:
            told = f"this runs model.onnx, not {about['deployed']}, which was tested and measured on {about['target']}"
            warnings.warn(f"{told}{why}.", stacklevel=2)
        elif overflows:
            warnings.warn(f"{about['deployed']} may answer wrongly{why}.", stacklevel=2)
        if not file.is_file():
            raise InputError(f"the model must lie beside predict.py, but there is no {file}.")
        try:
            self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            text = " ".join(str(error).split())
            raise InputError(f"onnxruntime {onnxruntime.__version__} cannot load {file}: {text}") from error
        self.names = [each.name for each in self.session.get_inputs()]

    def predict(self, inputs: Any) -> Float32Array:
        """Return the model's answers, such as the probabilities of classes, shape (N, classes).

        ``inputs`` is the path of a file or a folder, several such paths, or raw arrays. Raises InputError if one
        cannot be used.
        """
        return answers_of(self.outputs(inputs), self.answers)

    def outputs(self, inputs: Any) -> Float32Array:
        """Return the model's outputs for the same inputs, before they become answers: of a classifier the logits."""
        return self.outputs_of_raw(self.preparation.read(inputs))

    def outputs_of_raw(self, raw: Arrays) -> Float32Array:
        """Return the model's outputs for raw arrays, one for each input of the model."""
        prepared = self.preparation.prepared(raw)
        count = len(prepared[0])
        missing = -count % self.batch
        padded = [np.concatenate([each, np.zeros((missing, *each.shape[1:]), each.dtype)]) for each in prepared]
        parts = [
            self.session.run(None, self._feed(padded, start))[0] for start in range(0, count + missing, self.batch)
        ]
        return np.concatenate(parts)[:count] if parts else np.zeros((0, *self.output), np.float32)

    def _feed(self, padded: Sequence[Array], start: int) -> dict[str, Array]:
        return {name: each[start : start + self.batch] for name, each in zip(self.names, padded, strict=True)}


def bytes_overflow(info: Path = Path("/proc/cpuinfo")) -> bool:
    """Return True where products of 8-bit weights may overflow: on x86 without VNNI, or where that is unknown."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    return not any(line.startswith("flags") and "vnni" in line for line in lines)


def loaded_preparation(about: Mapping[str, Any]) -> Any:
    """Return the preparation that an ``architecture.json`` records, by the module that lies beside this one."""
    return preparing_module(about).preparation_of(about)


def preparing_module(about: Mapping[str, Any]) -> Any:
    """Return the module that prepares inputs. It may have a command line of its own: ``add_options`` and ``answer``."""
    module = about["preparation"]["module"]
    if not module.isidentifier():
        raise ValueError(f"the module of the preparation must be a name, but it is {module!r}")
    package = f"{__package__}." if __package__ else ""
    return importlib.import_module(f"{package}{module}")


# The command line


def answer(model: Model, paths: Iterable[Path], as_json: bool) -> int:
    """Print a line for each input. Return the exit status of ``main``; standard error says what cannot be used."""
    together = max(1, AT_ONCE // model.batch) * model.batch
    waiting: list[tuple[str, Arrays]] = []
    answered = unusable = 0
    for path in paths:
        for name, raw in model.preparation.items(path):
            if isinstance(raw, Exception):
                unusable += 1
                print(f"error: {raw}", file=sys.stderr)
                continue
            answered += 1
            waiting.append((name, raw))
            if len(waiting) == together:
                print_answers(model, waiting, as_json)
                waiting = []
    print_answers(model, waiting, as_json)
    return 0 if not unusable else 1 if answered else 2


def print_answers(model: Model, named: Sequence[tuple[str, Arrays]], as_json: bool) -> None:
    """Run the model on raw inputs and print a line for each."""
    if not named:
        return
    raw = tuple(np.stack(each) for each in zip(*(arrays for _, arrays in named), strict=True))
    for (name, _), outputs in zip(named, model.outputs_of_raw(raw), strict=True):
        line = line_of(name, outputs, model.answers)
        shown = line.pop("shown")
        print(json.dumps(line) if as_json else "\t".join([name, *shown]))


def own_command() -> Any:
    """Return the preparing module if it has a command line of its own, else None."""
    try:
        module = preparing_module(json.loads((HERE / "architecture.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError):
        return None  # loading the model tells what is missing
    return module if hasattr(module, "add_options") else None


def needed() -> list[str]:
    """Return the packages that this needs. The preparation of inputs may need some of its own."""
    try:
        about = json.loads((HERE / "architecture.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        about = {}
    return ["numpy", "onnxruntime", *about.get("packages", ())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return its exit status: 1 if an input cannot be used, 2 if none can, else 0."""
    description, _, more = (__doc__ or "").partition("\n\n")
    own = own_command()
    parser = argparse.ArgumentParser(
        prog="predict.py",
        description=description,
        epilog=more if own is None else own.ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="*", type=Path, metavar="INPUT", help="a file, a folder of files, or an .npy")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each, with the whole answer")
    if own is not None:
        own.add_options(parser)
    options = parser.parse_args(arguments)
    if not options.inputs and not getattr(options, "prompt", None):
        parser.error("the following arguments are required: INPUT")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            notes: set[str] = set()
            warnings.showwarning = lambda message, *_: notes.add(str(message))
            model = Model()
            status: int = answer(model, options.inputs, options.json) if own is None else own.answer(model, options)
        print(*(f"note: {note}\n" for note in sorted(notes)), sep="", end="", file=sys.stderr)
        return status
    except (InputError, ModuleNotFoundError) as error:
        more = "" if isinstance(error, InputError) else f". Install what it needs: pip install {' '.join(needed())}"
        print(f"error: {error}{more}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may have characters that the terminal lacks
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
