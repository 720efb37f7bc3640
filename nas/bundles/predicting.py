"""Running a bundle's own ``predict.py`` on the items in the bundle, as somebody does who has only the folder."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import CandidateError, RecipeError
from nas.results.bundle import ABOUT, Bundle
from nas.results.bundled.manifest import files_in
from nas.results.bundled.samples import Samples
from nas.storage.scratch import temporary_folder
from nas.tasks.carrying import carried_files
from nas.tasks.deployed.inputs import Arrays, ReadsFiles

PREDICT = "predict.py"
TIMEOUT_S = 300.0
"""The longest that it may take for at most 512 items."""
MOST_CHARACTERS = 300
"""A report of a failure has no more of an exception's text."""
ONE_CLASS_EACH = "classification"
OTHERS = ("multi-label", "regression", "next-token")
"""Kinds of answers that have no target of one whole number for each item."""
_RUN = """
import sys
from pathlib import Path
import numpy
from predict import Model, line_of
folder, items, found = map(Path, sys.argv[1:])
with numpy.load(items) as stored:
    raw = tuple(stored[f"arr_{place}"] for place in range(len(stored.files)))
model = Model(folder)
outputs = model.outputs_of_raw(raw)
if model.answers["kind"] != "next-token":
    for each in outputs:
        line_of("item", each, model.answers)
numpy.save(found, outputs)
"""


def modules_of(bundle: Bundle) -> list[Path]:
    """Return the modules that run a bundle's model: those with hashes, or else what lies there and is no link."""
    named = files_in(bundle.folder)
    found = [bundle.folder / each for each in named] if named is not None else list(bundle.folder.glob("*.py"))
    return [each for each in found if each.parent == bundle.folder and each.suffix == ".py" and not each.is_symlink()]


def check_answers(bundle: Bundle, samples: Samples) -> None:
    """Check that what a bundle says of its inputs and answers fits the items that it keeps.

    Raises:
        CandidateError: a size, the kind of answers, or the number of names does not fit.
    """
    answers, outputs = bundle.answers, samples.outputs
    kind, shape = str(answers["kind"]), tuple(bundle.signature.output)
    if outputs.shape[1:] != shape:
        raise _misfit(f"outputs of shape {shape}", f"torch's recorded ones have {outputs.shape[1:]}")
    one_number_each = samples.targets.dtype.kind in "iu" and len(samples.targets) == len(outputs) > 0
    if one_number_each and kind in OTHERS:
        raise _misfit(f"answers of the kind {kind}", "the kept items have one class each")
    if kind == ONE_CLASS_EACH and not one_number_each:
        raise _misfit(f"answers of the kind {kind}", "the kept items have no class each")
    if kind == ONE_CLASS_EACH and not 0 <= samples.targets.min() <= samples.targets.max() < math.prod(shape):
        raise _misfit(f"{math.prod(shape)} classes", f"a kept item is of class {samples.targets.max()}")
    names = answers.get("names")
    if names is not None and len(names) != math.prod(shape):
        raise _misfit(f"{len(names)} names of answers", f"the model has {math.prod(shape)} outputs")
    if not samples.is_prepared:
        _check_items(bundle, samples.checked)


def _check_items(bundle: Bundle, raw: Arrays) -> None:
    """Check that files are prepared to the sizes of the kept items. Raises CandidateError."""
    preparation = bundle.preparation
    if not isinstance(preparation, ReadsFiles):
        return
    declared, kept = ([(each.shape[1:], each.dtype.kind) for each in arrays] for arrays in (preparation.nothing, raw))
    if declared != kept:
        shapes = [", ".join(str(shape) for shape, _ in each) for each in (declared, kept)]
        raise _misfit(f"inputs that are prepared to {shapes[0]}", f"the kept ones have {shapes[1]}")


def _misfit(says: str, but: str) -> CandidateError:
    return CandidateError("parity", f"{ABOUT} says {says}, but {but}.")


def predicted(bundle: Bundle, samples: Samples, *, trust: bool) -> npt.NDArray[np.float32]:
    """Return the outputs of a bundle's ``predict.py`` for the raw items that it keeps, in a process of its own.

    Code of this version runs; other code only with ``trust``.

    Raises:
        RecipeError: the code is another, and nobody trusts it.
        CandidateError: it fails.
        JournalError: the preparation of inputs is not recorded.
    """
    carried: Mapping[str, bytes] = carried_files(bundle.preparation)
    own = {each.name: each.read_bytes() for each in modules_of(bundle) if each.is_file()}
    if PREDICT not in own:
        raise CandidateError("exception", "it is missing.")
    if any(own.get(name) != content for name, content in carried.items()):
        if not trust:
            raise RecipeError(
                f"{PREDICT} or a module beside it is not the one of this version, so it would run other code. If the "
                "bundle is your own, or you trust who made it, say so with --trust."
            )
        carried = own
    with temporary_folder("predict") as scratch:
        for name, content in carried.items():  # not in the bundle, where compiled files may lie that no hash covers
            (scratch / name).write_bytes(content)
        (scratch / "run.py").write_text(_RUN, encoding="utf-8")
        np.savez(scratch / "items.npz", *samples.checked)
        _run(scratch, bundle.folder)
        found: npt.NDArray[np.float32] = np.load(scratch / "outputs.npy", allow_pickle=False)
    return found


def _run(scratch: Path, folder: Path) -> None:
    """Run the model of ``folder`` by the modules in ``scratch``. Raises CandidateError if that fails."""
    places = [str(scratch / "run.py"), str(folder.absolute()), str(scratch / "items.npz"), str(scratch / "outputs.npy")]
    try:
        ended = subprocess.run(  # noqa: S603 (code of this version, or trusted)
            [sys.executable, "-B", *places], capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise CandidateError("timeout", f"it took more than {TIMEOUT_S:g} s for the kept items.") from error
    if ended.returncode:
        raised = re.split(r"\n  .*(?=\n)", ended.stderr)[-1].split()  # what follows the last line of a traceback
        told = " ".join(raised) or f"it ended with status {ended.returncode}"
        raise CandidateError("exception", f"it fails on the kept items: {told[:MOST_CHARACTERS]}")
