"""The forms in which a winner can be exported: each has a runtime that makes, runs and measures it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from nas.errors import RecipeError, did_you_mean
from nas.hardware.runtimes.runtime import load_runtime
from nas.space.plug_ins import plug_in_names
from nas.values.target import Target


@dataclass(frozen=True)
class Form:
    """A form of exported models. ``opens_batch`` is True if it can leave the size of the batch open."""

    name: str
    runtime: str
    opens_batch: bool = False


def forms() -> dict[str, Form]:
    """Return the forms of all registered runtimes, by name."""
    found: dict[str, Form] = {}
    for name in plug_in_names("nas.runtimes"):
        with contextlib.suppress(RecipeError):  # another package's runtime, of which nas target list tells the reason
            runtime = load_runtime(name)
            if runtime.form:
                found[runtime.form] = Form(runtime.form, name, runtime.opens_batch)
    return found


def form_named(name: str) -> Form:
    """Return the form called ``name``.

    Raises:
        RecipeError: there is none; the nearest known one is given.
    """
    known = forms()
    if name not in known:
        raise RecipeError(f"a format is one of {', '.join(known)}, but got {name!r}. {did_you_mean(name, known)}")
    return known[name]


def target_of(form: Form, precision: str, batch: int, threads: int) -> Target:
    """Return the target that runs a form.

    Raises:
        RecipeError: the precision is unknown.
    """
    return Target.parse(f"{form.runtime}:{precision}:batch={batch}:threads={threads}")


def check_open_batch(form: Form) -> None:
    """Check that a form can leave the batch open. Raises RecipeError."""
    if not form.opens_batch:
        names = " and ".join(each.name for each in forms().values() if each.opens_batch)
        raise RecipeError(
            f"a batch of any size is for the formats {names}, but got {form.name}, whose programs have fixed sizes. "
            "Export it once for each size that you need, with --batch."
        )
