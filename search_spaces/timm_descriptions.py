"""Inputs and layers of timm's models, found once and kept in the home of this project.

A description takes about a second, so that of 150 models takes minutes; read again, all of them take a second. Files
are kept for each version of timm, and for the number of channels and classes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import nas
from search_spaces.timm_models import keep

if TYPE_CHECKING:
    from torch import nn

LAST, STAGES = "last", "stages"
"""What the head of a model sees: its last features, or also the means of the maps of all stages."""
Key = tuple[str, int, str]
"""The name of a model, its resolution, and the features of its head."""
OWN = 0
"""The resolution that stands for a model's own."""
TELL_AFTER_S = 5.0
"""Somebody who waits hears of it after these seconds, and again each time that the wait has doubled."""
_FORMAT = 1
"""It changes when descriptions are written in another way."""
_REFUSED = "refused"


class RefusedError(ValueError):
    """A model cannot be built, or not for this resolution."""


def build_model(name: str, resolution: int, features: str, channels: int, classes: int) -> nn.Module:
    """Return a model of timm without trained weights. Only models with a fixed size are told their resolution.

    With the features ``stages`` its head also sees the means of all stages. Raises ValueError if it has none.
    """
    import timm

    has_head, size = features == LAST, size_of(name, resolution)
    module: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=classes if has_head else 0, in_chans=channels, **size
    )
    if has_head:
        return module
    from search_spaces.timm_stages import WithStages

    side = inputs_of(name, resolution, channels)["image_size"]
    return WithStages(module, (channels, side, side), classes)


def size_of(name: str, resolution: int) -> dict[str, Any]:
    """Return the argument that tells a model its resolution, if it has a fixed one and another is wanted."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    assert config is not None
    is_own = resolution in (OWN, config.input_size[-1])
    return {"img_size": resolution} if config.fixed_input_size and not is_own else {}


def inputs_of(name: str, resolution: int, channels: int) -> dict[str, Any]:
    """Return the preparation of pictures that a model was trained with, at another resolution if that is given.

    Grey pictures get the mean over the colours, because timm adds up the weights of the first layer for them.
    """
    from timm.data import resolve_data_config  # type: ignore[attr-defined]
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    assert config is not None
    found: dict[str, Any] = resolve_data_config(pretrained_cfg=vars(config))  # type: ignore[no-untyped-call]
    interpolation = found["interpolation"]
    return {
        "image_size": resolution or int(found["input_size"][-1]),
        **scaling_of(found, channels),
        "crop": float(found["crop_pct"]),
        "interpolation": "bicubic" if interpolation == "random" else interpolation,
    }


def scaling_of(config: Mapping[str, Any], channels: int) -> dict[str, list[float]]:
    """Return the mean and the standard deviation of a model's configuration, for this number of channels."""
    mean, std = ([float(value) for value in config[key]] for key in ("mean", "std"))
    if channels != len(mean):
        mean, std = [sum(mean) / len(mean)] * channels, [sum(std) / len(std)] * channels
    return {"mean": mean, "std": std}


@final
class Descriptions:
    """Descriptions of models for pictures of ``channels`` and a number of ``classes``."""

    def __init__(self, channels: int, classes: int) -> None:
        self._channels = channels
        self._classes = classes
        self._found: dict[Key, Mapping[str, Any]] = {}
        self._made_count, self._made_s, self._told_s = 0, 0.0, TELL_AFTER_S

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_found": {}}

    def inputs(self, *key: *Key) -> dict[str, Any]:
        """Return what a model asks of the preparation of pictures. Raises RefusedError if it cannot be built."""
        return dict(self._of(key)["inputs"])

    def layers(self, *key: *Key) -> list[nas.Layer]:
        """Return a model's layers. Raises RefusedError if it cannot be built for this resolution and features."""
        rows = self._of(key)["layers"]
        return [nas.Layer(kind, tuple(given), tuple(made), *counts) for kind, given, made, *counts in rows]

    def why_refused(self, *key: *Key) -> str | None:
        """Return why a model cannot be built for this resolution and features; None if it can."""
        try:
            self._of(key)
        except RefusedError as error:
            return str(error)
        return None

    def _of(self, key: Key) -> Mapping[str, Any]:
        if key not in self._found:
            self._found[key] = self._read(key) or self._timed(key)
        found = self._found[key]
        if _REFUSED in found:
            raise RefusedError(found[_REFUSED])
        return found

    def _path(self, key: Key) -> Path:
        name, resolution, features = key
        kind = f"{self._channels}-{self._classes}-{_FORMAT}"
        whole = "" if features == LAST else f"-{features}"
        return nas.home() / "timm" / version("timm") / kind / f"{name}-{resolution or 'own'}{whole}.json"

    def _read(self, key: Key) -> Mapping[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if {_REFUSED} <= found.keys() or {"inputs", "layers"} <= found.keys() else None

    def _timed(self, key: Key) -> dict[str, Any]:
        began = time.monotonic()
        made = self._made(key)
        self._made_count += 1
        self._made_s += time.monotonic() - began
        if self._made_s >= self._told_s and self._made_count > 1:
            self._told_s = 2 * self._made_s
            counted = f"{self._made_count} in {self._made_s:.0f} s so far"
            print(f"describing models of timm, which is done once: {counted}", file=sys.stderr)
        return made

    def _made(self, key: Key) -> dict[str, Any]:
        name, resolution, _ = key
        try:
            inputs = inputs_of(name, resolution, self._channels)
            side = inputs["image_size"]
            signature = nas.image_signature((self._channels, side, side), self._classes)
            only = _OneModel(key, self._channels, self._classes)
            layers = nas.layers_of(only, nas.Architecture({"model": name}), signature)
        except nas.CandidateError as error:
            found: dict[str, Any] = {_REFUSED: error.reason}
        except Exception as error:  # an unknown name, or a library that a model needs
            raise RefusedError(f"timm cannot describe {name}: {error}") from error
        else:
            found = {"inputs": inputs, "layers": [list(vars(layer).values()) for layer in layers]}
        keep(self._path(key), found)
        return found


@final
class _OneModel:
    """A space of one model, whose layers are traced."""

    def __init__(self, key: Key, channels: int, classes: int) -> None:
        self.choices = (nas.Choice("model", (key[0],)),)
        self._given = (*key, channels, classes)

    def build(self, architecture: nas.Architecture) -> nn.Module:
        """Return the model."""
        return build_model(*self._given)
