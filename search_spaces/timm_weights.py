"""Trained weights for timm's models: from timm's place on the hub, or from a folder of files, one for each model.

Nothing that comes from outside may run code: files are safetensors, or pickles that torch loads with ``weights_only``.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nas
from search_spaces.tensor_files import tensors_in, unreadable

if TYPE_CHECKING:
    import torch
    from torch import nn

HUB, NONE = "hub", "none"
NESTED = ("state_dict_ema", "state_dict", "model")
"""The names under which timm's training script puts weights; the averaged ones are those that it evaluates."""
ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
_MOST_NAMED = 5
_CONNECT_S = 5.0
_HOST = "huggingface.co"


def check_weights(models: Sequence[str], weights: str) -> None:
    """Check that the weights of all models are there or can be downloaded, before anything runs.

    Raises:
        RecipeError: the folder lacks some, a file is a pickle that may run code, or the hub cannot be reached.
    """
    if weights == NONE:
        return
    if weights == HUB:
        _check_hub(models)
        return
    folder = Path(weights)
    if not folder.is_dir():
        raise nas.RecipeError(
            f'weights must be "{HUB}", "{NONE}" or a folder of files such as {models[0]}.safetensors, but there is no '
            f"folder {folder}."
        )
    missing = [name for name in models if file_in(folder, name) is None]
    if missing:
        raise nas.RecipeError(
            f"the folder {folder} lacks the weights of {_listed(missing)}. Put a file for each into it, called "
            f"{missing[0]}.safetensors, or choose other models."
        )
    for name in models:
        path = file_in(folder, name)
        assert path is not None
        if path.suffix == ".safetensors":
            _check_whole(path)
        else:
            tensors_in(path, NESTED)


def _check_whole(path: Path) -> None:
    """Check the list of tensors at the beginning of a file, and that all of them are there. Raises RecipeError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            if not file.keys():  # timm would download others in their place
                raise nas.RecipeError(
                    f"weights must be tensors by name, as of model.state_dict(), but {path} holds none."
                )
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from error


def origin_of(model: str, weights: str) -> dict[str, str]:
    """Return where a model's weights come from, and their licence as far as timm knows it.

    Files of a folder may be others than those of the hub, so their licence is not known.
    """
    if weights != HUB:
        return {"model": model, "source": "a file of yours", "licence": "unknown: ask who gave you the file"}
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(model)
    place = getattr(config, "hf_hub_id", None)
    licence = getattr(config, "license", None)
    return {
        "model": model,
        "source": f"{_HOST}/{place}" if place else "timm",
        "licence": licence or "not told by timm: see the model's page",
    }


def _check_hub(models: Sequence[str]) -> None:
    from timm.models import get_pretrained_cfg

    missing = []
    for name in models:
        config = get_pretrained_cfg(name)
        if config is None or not _is_cached(config.hf_hub_id):
            missing.append(name)
    if missing and not _is_reachable():
        raise nas.RecipeError(
            f"the weights of {_listed(missing)} are not on this machine, and {_HOST} cannot be reached. Put a file for "
            f"each into a folder, called {missing[0]}.safetensors, and name it: --set space.weights=FOLDER. Or train "
            f'from scratch by space.weights="{NONE}".'
        )


def _is_cached(repository: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    if not repository:
        return False
    name, _, revision = repository.partition("@")
    files = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(name, file, revision=revision or None), str) for file in files)


def _is_reachable() -> bool:
    import os
    import socket
    from urllib.parse import urlparse

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    given = urlparse(proxy or os.environ.get("HF_ENDPOINT") or f"https://{_HOST}")
    try:
        with socket.create_connection((given.hostname or _HOST, given.port or 443), _CONNECT_S):
            return True
    except OSError:
        return False


def _listed(models: Sequence[str]) -> str:
    more = len(models) - _MOST_NAMED
    return ", ".join(models[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def file_in(folder: Path, model: str) -> Path | None:
    """Return the file of a model's weights in a folder: by its full name, or by its name without the tag."""
    for stem in (model, model.partition(".")[0]):
        for ending in ENDINGS:
            path = folder / f"{stem}{ending}"
            if path.is_file():
                return path
    return None


def load_into(module: nn.Module, model: str, weights: str, channels: int, size: Mapping[str, Any]) -> None:
    """Load a model's trained weights into a module that timm built. The head of another number of classes stays new.

    ``size`` holds the arguments that told the module its resolution.

    Raises:
        CandidateError: of kind build; the weights are those of another network, or cannot be fetched.
    """
    import timm

    if weights == NONE:
        return
    overlay: dict[str, Any] = {}
    if weights != HUB:
        path = file_in(Path(weights), model)
        if path is None:
            raise nas.CandidateError("build", f"the folder {weights} has no weights of {model}.")
        tensors = tensors_in(path, NESTED)
        overlay = {"state_dict": tensors, "num_classes": _classes_in(tensors, module)}
    classes = int(module.num_classes)  # type: ignore[arg-type]
    with _notes_of_loading() as notes:
        try:
            trained = timm.create_model(
                model, pretrained=True, num_classes=classes, in_chans=channels, pretrained_cfg_overlay=overlay, **size
            )
        except Exception as error:
            text = " ".join(str(error).split())
            raise nas.CandidateError(
                "build", f"the weights of {model} cannot be loaded into it: {text:.300}"
            ) from error
    _check_all(model, module, notes)
    module.load_state_dict(trained.state_dict())


def _head_names(module: nn.Module) -> tuple[str, ...]:
    config: Any = module.pretrained_cfg
    names = config.get("classifier")
    return (names,) if isinstance(names, str) else tuple(names or ())


def _classes_in(tensors: Mapping[str, torch.Tensor], module: nn.Module) -> int:
    """Return the number of classes of a file's head; 0 if it has none."""
    heads = [tensors[f"{name}.weight"] for name in _head_names(module) if f"{name}.weight" in tensors]
    return len(heads[0]) if heads else 0


@contextlib.contextmanager
def _notes_of_loading() -> Iterator[list[str]]:
    """Collect what timm logs about names that are missing or strange, instead of showing it."""
    notes: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: notes.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("timm.models._builder")
    before = logger.level, logger.propagate, logging.root.manager.disable, logger.disabled
    logging.disable(logging.NOTSET)  # programs may have silenced all libraries, but these notes are needed
    logger.disabled = False
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield notes
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate, logger.disabled = before[1], before[3]
        logging.disable(before[2])


def _check_all(model: str, module: nn.Module, notes: Sequence[str]) -> None:
    """Check that only the head was missing. Raises CandidateError."""
    heads = _head_names(module)
    for note in notes:
        found = re.match(r"(Missing|Unexpected) keys \((.*)\)", note)
        if found is None:
            continue
        names = [name for name in found[2].split(", ") if name.rpartition(".")[0] not in heads]
        if names:
            what = "lack" if found[1] == "Missing" else "have besides"
            raise nas.CandidateError(
                "build", f"the weights of {model} must be those of its architecture, but they {what} {_listed(names)}."
            )
