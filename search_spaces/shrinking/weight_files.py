"""Weights of a parent from files, and how they fit its module."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from nas.errors import RecipeError
from search_spaces.tensor_files import tensors_in, unreadable
from search_spaces.weight_matching import (
    COUNTERS,
    OrderError,
    has_own_names,
    matched_in_order,
    mismatches,
    told,
)

NESTED = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
"""The names under which training scripts put weights beside other things."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What wrappers of torch and Lightning put before every name."""
WEIGHT, SCORE = "parent:", "importance:"
"""What names begin with in the file that a run leaves of its parent."""
MOST_NAMED = 3
HEAD_TENSORS = 2
"""A head, which comes last, has a weight and a bias. They may be those of another number of classes."""
REMEDY = "Name the function that makes the model of these weights, with its number of classes."


def read_weights(path: str, own: Collection[str]) -> dict[str, torch.Tensor]:
    """Return the tensors in a file by name, on the CPU.

    What wrappers put before every name is left out, unless the module's ``own`` names have it too.

    Raises:
        RecipeError: there is no such file, it holds no tensors by name, or it is a pickle that needs to run code.
    """
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise RecipeError(f"weights must be a file of tensors, such as weights.safetensors, but {path!r} is none.")
    found = tensors_in(file, NESTED)
    if all(name.startswith((WEIGHT, SCORE)) for name in found):
        found = {name.removeprefix(WEIGHT): each for name, each in found.items() if name.startswith(WEIGHT)}
    for prefix in PREFIXES:
        before = 2 * prefix if all(name.startswith(prefix) for name in own) else prefix
        if found and all(name.startswith(before) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


@dataclass(frozen=True)
class EarlierRun:
    """What a run tells of the parent that it leaves.

    Attributes:
        data: the name of its data.
        fingerprint: that of its data, as the parent saw them.
        preparation: how the parent saw pictures, as of the option of the space.
    """

    data: str
    fingerprint: str
    preparation: Mapping[str, Any]


def run_that_left(path: str) -> EarlierRun | None:
    """Return what the run tells that left a parent in a file; None for any other file.

    Raises:
        RecipeError: the file is damaged.
    """
    file = Path(os.path.expanduser(path))
    if file.suffix != ".safetensors" or not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            about = opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise unreadable(file, error) from error
    if not {"data", "fingerprint", "preparation"} <= about.keys():
        return None
    try:
        preparation = json.loads(about["preparation"])
        if not isinstance(preparation, dict):
            raise ValueError(f"a preparation must be a table, but is {about['preparation']:.40}")
    except ValueError as error:
        raise unreadable(file, error) from error
    return EarlierRun(about["data"], about["fingerprint"], preparation)


def named_alike(
    module: torch.nn.Module, weights: Mapping[str, torch.Tensor], of: str, path: str
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """Return weights under the module's names, with a sentence if they have others and are taken by their order.

    Those that have the module's names are returned as they are, whether they fit or not.

    Raises:
        RecipeError: they have other names, and their order does not fit either.
    """
    own = module.state_dict()
    if not has_own_names(own, weights):
        return dict(weights), ()
    try:
        found = matched_in_order(own, weights, list(own)[-HEAD_TENSORS:], Path(path))
    except OrderError as error:
        raise RecipeError(
            f"weights must be those of the parent, {of}, but {path} fits neither by names nor by order: {error}. "
            f"{REMEDY}"
        ) from error
    return found, (told(of, Path(path), len(found)),)


def class_count(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> int | None:
    """Return the number of outputs of the weights if they differ from the module in that alone; None otherwise."""
    own = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith(COUNTERS)}
    if set(own) != {name for name in weights if not name.endswith(COUNTERS)}:
        return None
    other = [name for name, tensor in own.items() if weights[name].shape != tensor.shape]
    sizes = {tuple(weights[name].shape[:1]) for name in other}
    same_rest = all(weights[name].shape[1:] == own[name].shape[1:] for name in other)
    return next(iter(sizes))[0] if len(sizes) == 1 and same_rest and len(other) <= 2 else None


def load_checked(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], of: str, path: str) -> None:
    """Load weights into the parent called ``of``. Raises RecipeError, which names the first tensors that do not fit."""
    wrong = mismatches(module.state_dict(), weights)
    if wrong:
        more = f", and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise RecipeError(
            f"weights must be those of the parent, {of}, but {path} does not fit: "
            f"{'; '.join(wrong[:MOST_NAMED])}{more}. {REMEDY}"
        )
    module.load_state_dict(weights, strict=False)  # counters of batches may be missing, and only those
