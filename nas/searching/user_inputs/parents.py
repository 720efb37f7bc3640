"""Checking a space with a parent: candidates can inherit and learn from it, and it can be exported."""

from __future__ import annotations

from collections.abc import Iterable

from nas.errors import CandidateError, RecipeError
from nas.formats.export import export_model, export_onnx, parity
from nas.formats.model_inputs import random_inputs
from nas.formats.onnx_file import inputs_of, read_onnx
from nas.recipe.recipe import Recipe
from nas.recipe.ways import OPEN, WAYS
from nas.space.parts.own_inputs import signature_of
from nas.space.parts.parents import parents_space
from nas.space.search_space import SearchSpace
from nas.space.signature import Signature
from nas.storage.scratch import temporary_folder
from nas.values.target import ModelFormat


def check_parent(recipe: Recipe, space: SearchSpace) -> None:
    """Check that candidates of a space with a parent are trained by the trainer of this project, or share its weights.

    Raises:
        RecipeError: they are not.
    """
    if parents_space(space) is None:
        if recipe.evaluate == OPEN:
            raise RecipeError(
                f'evaluate = "auto" chooses how parts of a parent are evaluated, but the space {recipe.space.name!r} '
                "has no parent. Leave it out."
            )
        return
    if recipe.evaluate not in (OPEN, *WAYS):
        raise RecipeError(
            f'parts of a parent are tuned, so evaluate must be "auto", "train" or "supernet" with the space '
            f'{recipe.space.name!r}, but got "{recipe.evaluate}". Leave it out.'
        )
    if recipe.training.function is not None:
        raise RecipeError(
            f"parts of a parent learn from it in the trainer of this project, but got training.function "
            f"{recipe.training.function!r} with the space {recipe.space.name!r}. Leave the function out."
        )
    if recipe.training.folds > 1:
        raise RecipeError(
            f"a parent is tested on the validation items as they are, so training.folds must be 1 with the space "
            f"{recipe.space.name!r}, but got {recipe.training.folds}. Leave it out."
        )


def check_parent_exports(space: SearchSpace, signature: Signature, batch: int, formats: Iterable[ModelFormat]) -> None:
    """Check that a parent, if a space has one, becomes a file of each of ``formats``.

    Winners are exported last of all: without this look, what cannot be exported fails after all the training.

    Raises:
        RecipeError: an exporter cannot express the parent, or the file gives other outputs, such as NaN.
    """
    parents = parents_space(space)
    if parents is None:
        return
    module = parents.parent_module().eval()
    inputs = signature_of(space, parents.parent, signature).inputs
    try:
        with temporary_folder("parent") as folder:
            export_onnx(module, inputs, batch, folder / "model.onnx")
            for each in set(formats) - {"onnx"}:
                export_model(module, inputs, batch, folder / f"model.{each}", each)
            drawn = random_inputs(inputs_of(read_onnx(folder / "model.onnx"), batch))
            parity(module, folder / "model.onnx", list(drawn.values()))
    except CandidateError as error:
        raise RecipeError(
            f"a parent must be a model that can be exported to ONNX, as winners are, but: {error.reason}. Replace what "
            "the exporter names by operations that it knows."
        ) from error
