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


@final
@dataclass(frozen=True)
class Teacher:
    """Makes the module that ``name`` stands for, once in each process: a bundle's folder, or ``module:function``."""

    name: str
    signature: Signature

    def __call__(self) -> torch.nn.Module:
        """Return the module. Raises RecipeError if there is none for these inputs and outputs."""
        return _loaded(self)


def teacher_of(recipe: Recipe, signature: Signature, space: SearchSpace | None = None) -> Teacher | None:
    """Return the teacher that a recipe names, if it names one, for candidates of ``space``.

    Raises:
        RecipeError: there is no such bundle or function, its model has other inputs or another output, or candidates
            have inputs of their own.
    """
    name = recipe.training.teacher
    if name is None:
        return None
    if isinstance(space, HasInputs):
        raise RecipeError(
            f"a teacher sees the inputs of the candidates, but those of {recipe.space.name!r} have inputs of their "
            "own, such as another resolution. Leave training.teacher out."
        )
    # Workers run in folders of their own, so the path must be whole.
    teacher = Teacher(name if _is_code(name) else str(Path(name).resolve()), signature)
    teacher()
    return teacher


def _is_code(name: str) -> bool:
    return ":" in name and not Path(name).exists()


@lru_cache(maxsize=1)
def _loaded(teacher: Teacher) -> torch.nn.Module:
    name, signature = teacher.name, teacher.signature
    try:
        module = _of_code(name, signature) if _is_code(name) else _of_bundle(Path(name), signature)
        trace_layers(module, signature)
    except CandidateError as error:
        raise RecipeError(f"training.teacher {name!r} must be a model for the same task, but {error.reason}") from error
    return module


def _of_bundle(folder: Path, signature: Signature) -> torch.nn.Module:
    try:
        bundle = Bundle.read(folder)
    except NasError as error:
        raise RecipeError(
            f"training.teacher is the folder of a winner, such as runs/my-run/winners/0123456789ab, or "
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
