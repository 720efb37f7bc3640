"""Tensors from files: safetensors, or a pickle that torch opens without running code."""

from __future__ import annotations

import errno
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import RecipeError

if TYPE_CHECKING:  # spaces are listed without it
    import torch


_CALLS = {"GLOBAL", "STACK_GLOBAL", "INST"}
"""What names code in a pickle."""


def tensors_in(path: Path, nested: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name, on the CPU.

    ``nested`` are names under which training scripts put them beside other things, those first that are preferred.

    Raises:
        RecipeError: the file cannot be read, holds no tensors by name, or is a pickle that needs to run code.
    """
    from torch import Tensor

    held = _of_safetensors(path) if path.suffix == ".safetensors" else _of_pickle(path)
    for name in nested:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
    if not isinstance(held, Mapping) or not held or not all(isinstance(each, Tensor) for each in held.values()):
        raise RecipeError(f"weights must be tensors by name, as of model.state_dict(), but {path} holds none.")
    return {str(name): tensor for name, tensor in held.items()}


def _of_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error


def structure_in(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a file of safetensors without their values: floats as float32, others as int64.

    Raises RecipeError as ``tensors_in`` does.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
            kinds = {name: (each.get_shape(), each.get_dtype()) for name, each in slices.items()}
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error
    if not kinds:  # timm would download others in their place
        raise RecipeError(f"weights must be tensors by name, as of model.state_dict(), but {path} holds none.")
    return {
        name: torch.empty(shape, device="meta", dtype=torch.float32 if kind.startswith(("F", "BF")) else torch.int64)
        for name, (shape, kind) in kinds.items()
    }


def _of_pickle(path: Path) -> object:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of another protocol, which are read or refused
            held: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _needs_code(path, error):
            raise unreadable(path, error) from error
        raise RecipeError(
            f"weights must be safetensors, or a pickle of tensors alone, but {path} is a pickle that needs to run "
            "code, which is refused. Save them by safetensors.torch.save_file(model.state_dict(), "
            "'weights.safetensors') where they come from."
        ) from error
    except Exception as error:  # damaged files and text raise KeyError, struct.error, UnicodeDecodeError and others
        raise unreadable(path, error) from error
    return held


def _needs_code(path: Path, error: pickle.UnpicklingError) -> bool:
    """Return True for a whole pickle of more than tensors, False for a file that is damaged or of another kind."""
    if zipfile.is_zipfile(path):
        return "Unsupported global" in str(error)
    with path.open("rb") as file:
        while True:  # torch's older files hold several pickles; the first ones are numbers
            try:
                names = {code.name for code, _, _ in pickletools.genops(file)}
            except Exception:  # what breaks off or is no pickle raises anything
                return False
            if names & _CALLS:
                return True


def unreadable(path: Path, error: Exception) -> RecipeError:
    """Return the error for a file that is damaged, or of another format."""
    form = " must be safetensors, but" if path.suffix == ".safetensors" else ""
    why = " ".join(str(error).split()) or "it ends too early"
    is_cut = isinstance(error, OSError) and error.errno == errno.EINVAL  # torch seeks beyond the end
    if path.is_file() and not path.stat().st_size:
        why = "it is empty"
    elif is_cut or isinstance(error, pickle.UnpicklingError | LookupError | UnicodeDecodeError):
        why = "it is damaged, or no file of weights"
    return RecipeError(f"weights in {path}{form} cannot be read: {why:.200}")
