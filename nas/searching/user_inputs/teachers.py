"""The teacher that a recipe names: a winner of an earlier search, or a module that a user's own function returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import torch

from nas.errors import CandidateError, NasError, RecipeError, raised_text
from nas.recipe.recipe import Recipe
from nas.results.bundle import Bundle
from nas.space.own_code import own_code
from nas.space.parts.own_inputs import HasInputs
from nas.space.plug_ins import load_plug_in, parameters_of
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature
from nas.space.tracing import trace_layers

BEST = "best"
"""The name of the best winner as a teacher of the others."""


@final
@dataclass(frozen=True)
class Teacher:
    """Makes the module that ``name`` stands for, once in each process: a bundle's folder, or ``module:function``."""

    name: str
    signature: Signature
    key: str = "training.teacher"

    def __call__(self) -> torch.nn.Module:
        """Return the module. Raises RecipeError if there is none for these inputs and outputs."""
        return _loaded(self)


def teacher_of(recipe: Recipe, signature: Signature, space: SearchSpace | None = None) -> Teacher | None:
    """Return the teacher that a recipe names, if it names one, for candidates of ``space``.

    Raises:
        RecipeError: there is no such bundle or function, its model has other inputs or another output, or candidates
            have inputs of their own.
    """
    retraining = recipe.retraining.teacher
    if retraining is not None:
        retraining_teacher_of(retraining, recipe, signature, space)
    name = recipe.training.teacher
    return None if name is None else _checked(name, "training.teacher", recipe, signature, space)


def retraining_teacher_of(
    name: str, recipe: Recipe, signature: Signature, space: SearchSpace | None = None
) -> Teacher | None:
    """Return the teacher of winners of that name; None for the best winner, which is not there yet.

    Raises:
        RecipeError: as for ``teacher_of``.
    """
    if name != BEST:
        return _checked(name, "retraining.teacher", recipe, signature, space)
    _check_inputs("retraining.teacher", recipe, space)
    return None


def _checked(name: str, key: str, recipe: Recipe, signature: Signature, space: SearchSpace | None) -> Teacher:
    _check_inputs(key, recipe, space)
    # Workers run in folders of their own, so the path must be whole.
    teacher = Teacher(name if _is_code(name) else str(Path(name).resolve()), signature, key)
    teacher()
    return teacher


def _check_inputs(key: str, recipe: Recipe, space: SearchSpace | None) -> None:
    if isinstance(space, HasInputs):
        raise RecipeError(
            f"a teacher sees the inputs of the candidates, but those of {recipe.space.name!r} have inputs of their "
            f"own, such as another resolution. Leave {key} out."
        )


def _is_code(name: str) -> bool:
    return ":" in name and not Path(name).exists()


@lru_cache(maxsize=1)
def _loaded(teacher: Teacher) -> torch.nn.Module:
    name, signature = teacher.name, teacher.signature
    try:
        module = _of_code(name, signature) if _is_code(name) else _of_bundle(Path(name), signature, teacher.key)
        trace_layers(module, signature)
    except CandidateError as error:
        raise RecipeError(f"{teacher.key} {name!r} must be a model for the same task, but {error.reason}") from error
    return module


def _of_bundle(folder: Path, signature: Signature, key: str) -> torch.nn.Module:
    try:
        bundle = Bundle.read(folder)
    except NasError as error:
        raise RecipeError(
            f"{key} is the folder of a winner, such as runs/my-run/winners/0123456789ab, or "
            f"module:function, but got {str(folder)!r}. {error}"
        ) from error
    if bundle.signature != signature:
        raise RecipeError(
            f"a teacher must have the inputs and the output of the candidates, {signature}, but {folder} has "
            f"{bundle.signature}."
        )
    return bundle.module()


def _of_code(name: str, signature: Signature) -> torch.nn.Module:
    function: Any = load_plug_in("nas.teachers", name, "teacher")
    if not callable(function):
        raise RecipeError(f"a teacher must be a function that returns a torch module, but {name} is {function!r:.80}.")
    takes = parameters_of(function) or {}
    try:
        with own_code(), torch.random.fork_rng(devices=[]):
            module = function(**({"signature": signature} if "signature" in takes else {}))
    except Exception as error:
        raise RecipeError(f"the teacher {name} raised {raised_text(error)}.") from error
    if not isinstance(module, torch.nn.Module):
        raise RecipeError(f"a teacher must be a torch module, but {name} returned a {type(module).__name__}.")
    return module
