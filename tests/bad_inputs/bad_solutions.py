"""Bad requests about finished runs: what nas solve and nas drift cannot answer, and bundles that do not add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_inputs.bad_bundles import BUNDLE, LEAST, bundle, nothing
from bad_inputs.bad_input import BadInput
from damaged_journals import rows_of_a_run, write_run

Prepare = Callable[[Path], object]


def finished(here: Path) -> Path:
    """Write a finished run."""
    return write_run(here / "run", rows_of_a_run())


def untrained(here: Path) -> Path:
    """Write a run of measurements alone."""
    rows = (row for row in rows_of_a_run() if getattr(row, "stage", "measure") == "measure")
    return write_run(here / "run", rows)


def solve(*options: str, says: tuple[str, ...], prepare: Prepare = finished, status: int = 2) -> BadInput:
    """Return the case of a finished run that is solved again with these options."""
    return BadInput(("solve", "run", *options), says, prepare, status)


def drift(*options: str, says: tuple[str, ...], prepare: Prepare = finished) -> BadInput:
    """Return the case of winners that are measured again with these options."""
    return BadInput(("drift", "run", *options), says, prepare)


def verify(*options: str, says: tuple[str, ...], status: int = 2, **about: Any) -> BadInput:
    """Return the case of a bundle that says this about itself."""
    return BadInput(("bundle", "verify", BUNDLE, *options), says, bundle(nothing, **about), status)


def export(*options: str, says: tuple[str, ...], **about: Any) -> BadInput:
    """Return the case of a bundle that is to be exported in another form."""
    return BadInput(("bundle", "export", BUNDLE, "--format", "onnx", *options), says, bundle(nothing, **about))


def changed_signature(**changes: object) -> dict[str, Any]:
    """Return the signature of a bundle with these changes."""
    return {"signature": {**LEAST["signature"], **changes}}  # type: ignore[dict-item]


BAD_INPUTS = {
    "solve: a metric limited twice": solve(
        "--limit",
        "params<=1k",
        "--limit",
        "params<=2k",
        says=("a metric has one limit at most, but params has several",),
    ),
    "solve: a limit below zero": solve(
        "--limit", "latency_ms<=-1ms", says=("must be finite and not negative, but got '-1ms'",)
    ),
    "solve: a limit of nothing known": solve("--limit", "latency_ms<=nanms", says=("but got 'nanms'",)),
    "solve: a lower bound": solve("--limit", "latency_ms>=1ms", says=("Write 'latency_ms <= 2ms'",)),
    "solve: a limit without a value": solve("--limit", "latency_ms<=", says=("but got 'latency_ms<='",)),
    "solve: an empty limit": solve("--limit", "", says=("but got ''",)),
    "solve: accuracy limited from above": solve("--limit", "accuracy<=90%", says=("'error <= 10%'",)),
    "solve: an objective that is none": solve("--objective", "speed", says=("unknown metric 'speed'",)),
    "solve: an objective twice": solve(
        "--objective", "error", "--objective", "error", says=("one to four different metrics",)
    ),
    "solve: five objectives": solve(
        *(w for name in ("error", "latency_ms", "params", "macs", "model_bytes") for w in ("--objective", name)),
        says=("one to four different metrics",),
    ),
    "solve: half a measurement": solve("--measure", "1.5", says=("Invalid value for '--measure'",)),
    "solve: a target of an unknown precision": solve(
        "--target", "onnxruntime-cpu:int9", says=("Did you mean 'int8'?",)
    ),
    "solve: a target with no threads": solve("--target", "onnxruntime-cpu:threads=0", says=("but got 'threads=0'",)),
    "solve: an empty target": solve("--target", "", says=("a target starts with the name of a runtime",)),
    "solve: a new run in the old one": solve("--as-run", "run", says=("run already holds one",)),
    "solve: a new run in a file": solve(
        "--as-run",
        "notes/new",
        says=(
            "a run must be written to notes/new",
            "Not a directory",
        ),
        prepare=lambda here: (finished(here), (here / "notes").write_text("")),
    ),
    "solve: a new run without a name": solve("--as-run", "", says=("a run's name has letters",)),
    "solve: no run": solve(says=("it does not exist. nas show lists all runs",), prepare=nothing),
    "solve: a file": solve(says=("it is not a folder",), prepare=lambda here: (here / "run").write_text("")),
    "solve: an empty folder": solve(says=("it has no recipe.toml",), prepare=lambda here: (here / "run").mkdir()),
    "solve: nothing trained": solve(says=("has none whose training ran to its end",), prepare=untrained),
    "solve: an empty journal": solve(
        says=("has none whose training ran to its end",), prepare=lambda here: write_run(here / "run", [])
    ),
    "drift: within less than nothing": drift("--within", "-0.1", says=("Invalid value for '--within'",)),
    "drift: within what is no number": drift("--within", "nan", says=("but got 'nan'",)),
    "drift: no rounds": drift("--max-rounds", "0", says=("greater than or equal to 2, but got '0'",)),
    "drift: a seed below zero": drift("--seed", "-1", says=("Invalid value for '--seed'",)),
    "drift: a seed of many digits": drift("--seed", "9" * 30, says=("less than or equal to 4294967295",)),
    "drift: a target of no threads": drift("--target", "onnxruntime-cpu:threads=-1", says=("but got 'threads=-1'",)),
    "drift: an empty journal": drift(
        says=("nas drift needs winners with models",), prepare=lambda here: write_run(here / "run", [])
    ),
    "drift: models that are gone": BadInput(
        ("drift", "run"), ("not measured: a winner's folder must hold architecture.json",), finished, status=1
    ),
    "verify: within what is no number": verify("--within", "nan", says=("but got 'nan'",)),
    "verify: rounds below zero": verify("--max-rounds", "-3", says=("Invalid value for '--max-rounds'",)),
    "verify: a batch in words": verify(says=("in it batch must be present and sound",), batch="two"),
    "verify: a batch of nothing": verify(says=("in it batch must be present and sound",), batch=0),
    "verify: no batch": verify(says=("in it batch must be present and sound",), batch=None),
    "verify: a target that is none": verify(says=("a target starts with the name of a runtime",), target="?"),
    "verify: a target that is a number": verify(says=("in it target must be present and sound",), target=3),
    "verify: no inputs": verify(
        says=("a model must have inputs with different names, but got [].",), **changed_signature(inputs=[])
    ),
    "verify: an input without a shape": verify(
        says=("KeyError: 'shape'",), **changed_signature(inputs=[{"name": "x"}])
    ),
    "verify: a shape in words": verify(
        says=("'four'",),
        **changed_signature(inputs=[{"name": "x", "shape": ["four"], "dtype": "float32", "counts": []}]),
    ),
    "verify: a type that is none": verify(
        says=("values of the input x must be float32 or int64, but got 'float99'",),
        **changed_signature(inputs=[{"name": "x", "shape": [4], "dtype": "float99", "counts": []}]),
    ),
    "verify: a signature that is a text": verify(says=("must describe a winner, but",), signature="4 -> 2"),
    "verify: a deployed file elsewhere": verify(
        says=(
            "it is missing, or lies outside the bundle",
            "The bundle is not sound",
        ),
        status=1,
        deployed="../../secret.onnx",
    ),
    "verify: a deployed file that is a number": verify(says=("in it deployed must be present and sound",), deployed=3),
    "verify: answers that are none": verify(says=("must describe a winner, but",), answers="yes"),
    "verify: choices that are a list": verify(says=("in it choices must be present and sound",), choices=[1]),
    "verify: a space that is a number": verify(says=("in it space must be present and sound",), space=3),
    "verify: an id that is a number": verify(says=("in it id must be present and sound",), id=3),
    "export: a batch of nothing": export("--batch", "0", says=("Invalid value for '--batch'",)),
    "export: a batch below zero": export("--batch", "-2", says=("Invalid value for '--batch'",)),
    "export: a batch of billions": export("--batch", "99999999999", says=("batch must have at most 6 digits",)),
    "export: no format": BadInput(("bundle", "export", BUNDLE), ("Missing option '--format'",), bundle(nothing)),
    "export: an empty precision": export("--precision", "", says=("parts of a target are a precision",)),
    "export: a bundle that is a list": BadInput(
        ("bundle", "export", BUNDLE, "--format", "onnx"),
        ("must be present and sound",),
        bundle(lambda folder: (folder / "architecture.json").write_text(json.dumps([LEAST]))),
    ),
}
