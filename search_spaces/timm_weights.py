"""Trained weights for timm's models: from timm's place on the hub, or from a folder of files, one for each model.

Nothing that comes from outside may run code: files are safetensors, or pickles that torch loads with ``weights_only``.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nas
from search_spaces.tensor_files import structure_in, tensors_in
from search_spaces.weight_matching import OrderError, flaws, has_own_names, matched_in_order, mismatches, told

if TYPE_CHECKING:
    import torch
    from torch import nn

HUB, NONE = "hub", "none"
NESTED = ("state_dict_ema", "state_dict", "model")
"""The names under which timm's training script puts weights; the averaged ones are those that it evaluates."""
ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
_MOST_NAMED = 5
_MOST_DIFFERENCES = 2
_CONNECT_S = 5.0
_HOST = "huggingface.co"
_OF_XET = ("CAS Client Error", "error sending request", "Data processing error")
"""Signs of an outage in the RuntimeErrors of hf_xet, which downloads most files of the hub."""
_PAUSES_S = (5.0, 30.0)
"""After a download that failed, so long until the next try."""


def check_weights(models: Sequence[str], weights: str, channels: int) -> list[str]:
    """Check that the weights of all models are there or can be downloaded, before anything runs, and that files fit.

    Returns a sentence for each file whose tensors have other names than timm's, and are taken by their order.

    Raises:
        RecipeError: the folder lacks some, a file is a pickle that may run code or belongs to another network, or the
            hub cannot be reached.
    """
    if weights == NONE:
        return []
    if weights == HUB:
        _check_hub(models)
        return []
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
    notes = []
    for name in models:
        path = file_in(folder, name)
        assert path is not None
        if path.suffix == ".safetensors" and not mismatches(*_structures(name, path)):
            continue  # without reading all weights of a large folder
        try:
            _, note = tensors_for(name, path, channels)
        except nas.CandidateError as error:
            raise nas.RecipeError(error.reason) from error
        notes += [note] if note else []
    return notes


def tensors_for(model: str, path: Path, channels: int) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tensors in a file under names that timm knows, and what to tell of them if they were matched by order.

    Raises:
        RecipeError: the file cannot be read, or holds no tensors.
        CandidateError: of kind build; the tensors are those of another network.
    """
    tensors = tensors_in(path, NESTED)
    own, heads = structure_of(model)
    rule = f"the weights of {model} must be those of its architecture, but {path}"
    damaged = flaws(own, tensors)
    if damaged:
        raise nas.CandidateError("build", f"{rule} does not fit: {_some(damaged)}.")
    differences = mismatches(own, tensors, heads)
    if not differences:
        return tensors, ""
    try:  # timm knows names of some other packages, and fits embeddings of places to other resolutions
        _made_by_timm(model, _classes_in(tensors, heads), channels, {}, tensors)
        return tensors, ""
    except nas.CandidateError as error:
        by_name = error
    if not has_own_names(own, tensors):
        raise nas.CandidateError("build", f"{rule} does not fit: {_some(differences)}.") from by_name
    try:
        matched = matched_in_order(own, tensors, heads, path)
    except OrderError as error:
        raise nas.CandidateError("build", f"{rule} fits neither by names nor by order: {error}.") from error
    return matched, told(model, path, len(matched))


def _some(differences: Sequence[str]) -> str:
    """Return the first differences and the number of others."""
    more = f", and {len(differences) - _MOST_DIFFERENCES} more" if len(differences) > _MOST_DIFFERENCES else ""
    return "; ".join(differences[:_MOST_DIFFERENCES]) + more


def _structures(model: str, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], set[str]]:
    own, heads = structure_of(model)
    return own, structure_in(path), heads


def structure_of(model: str) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Return the tensors of a model of timm without their values, and the names of its head's."""
    import timm
    import torch

    with torch.device("meta"):
        module = timm.create_model(model)
    own = module.state_dict()
    return own, {name for name in own if name.rpartition(".")[0] in _head_names(module)}


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
        CandidateError: of kind build; the weights are those of another network, or the hub refuses them.
        TargetError: the hub cannot be reached. That is no fault of the model, so a run ends and can go on.
    """
    if weights == NONE:
        return
    tensors, classes = None, int(module.num_classes)  # type: ignore[arg-type]
    if weights != HUB:
        path = file_in(Path(weights), model)
        if path is None:
            raise nas.CandidateError("build", f"the folder {weights} has no weights of {model}.")
        tensors, _ = tensors_for(model, path, channels)
    trained = _made_by_timm(model, classes, channels, size, tensors)
    module.load_state_dict(trained.state_dict())


def _made_by_timm(
    model: str, classes: int, channels: int, size: Mapping[str, Any], tensors: dict[str, torch.Tensor] | None
) -> nn.Module:
    """Return timm's model with trained weights, those of the hub if ``tensors`` is None.

    Raises:
        CandidateError: of kind build; the weights are those of another network, or the hub refuses them.
        TargetError: the hub cannot be reached, after some tries.
    """
    import timm

    overlay: dict[str, Any] = {}
    if tensors is not None:
        _, heads = structure_of(model)
        overlay = {"state_dict": dict(tensors), "num_classes": _classes_in(tensors, heads)}
    with _notes_of_loading() as notes:
        for pause_s in (*_PAUSES_S, None):
            try:
                trained: nn.Module = timm.create_model(
                    model,
                    pretrained=True,
                    num_classes=classes,
                    in_chans=channels,
                    pretrained_cfg_overlay=overlay,
                    **size,
                )
                break
            except Exception as error:
                text = f"{' '.join(str(error).split()):.300}"
                if tensors is not None or not _is_of_the_network(error):
                    raise nas.CandidateError(
                        "build", f"the weights of {model} cannot be loaded into it: {text}"
                    ) from error
                if pause_s is None:
                    raise nas.TargetError(
                        f"the weights of {model} must come from {_HOST}, but it cannot be read: {text} See that the "
                        "network works and the disk has room."
                    ) from error
                time.sleep(pause_s)
    _check_all(model, trained, notes)
    return trained


def _is_of_the_network(error: Exception) -> bool:
    """Return True if weights could not be downloaded, and not because the hub has none or gives none."""
    seen: BaseException | None = error
    while seen is not None:
        status = getattr(getattr(seen, "response", None), "status_code", getattr(seen, "code", None))
        if isinstance(status, int):
            return status >= 500 or status in (408, 429)
        if isinstance(seen, OSError) or any(sign in str(seen) for sign in _OF_XET):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _head_names(module: nn.Module) -> tuple[str, ...]:
    config: Any = module.pretrained_cfg
    names = config.get("classifier")
    return (names,) if isinstance(names, str) else tuple(names or ())


def _classes_in(tensors: Mapping[str, torch.Tensor], heads: Collection[str]) -> int:
    """Return the number of classes of a file's head; 0 if it has none."""
    found = [tensors[name] for name in heads if name.endswith(".weight") and name in tensors]
    return len(found[0]) if found else 0


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
