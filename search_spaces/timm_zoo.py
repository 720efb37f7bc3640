"""Pretrained models of timm (Wightman, 2019, https://github.com/huggingface/pytorch-image-models) as a search space.

The choices are the model, the resolution of its inputs, what its head sees, and how it is tuned. Each model keeps the
mean, the standard deviation, the crop and the interpolation with which it was trained.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import nas
from search_spaces.accepted import IMAGES, image_shape
from search_spaces.timm_descriptions import (
    LAST,
    OWN,
    STAGES,
    Descriptions,
    Key,
    RefusedError,
    build_model,
    size_of,
)
from search_spaces.timm_models import CURATED, SHIPPED, SIZES, chosen_models, read_facts, spread, worthwhile
from search_spaces.timm_weights import HUB, NONE, check_weights, load_into, origin_of

if TYPE_CHECKING:  # loading torch takes longer than reading what is kept of all models
    from torch import nn

HEAD = "head"
TUNE = (HEAD, "last", "all")
FEATURES = (STAGES, LAST)
LEARNING_RATES = (1e-4, 3e-4, 1e-3)
LAYER_DECAYS = (0.75, 1.0)
MOST_NAMED = 5
MOST_FIRST = 10
"""Fitted heads that a search begins with, at most."""
BYTES_PER_WEIGHT = 16
"""A weight in training, its gradient, and two moments of AdamW."""


class TimmZoo:
    """Pretrained models of timm (https://github.com/huggingface/pytorch-image-models), each with its own preparation.

    ``models`` is a pattern such as ``mobilenetv4*``, a list, or ``curated``, 150 models of many families and sizes.
    Without ``resolutions``, each model has its own. A resolution that a model refuses is left out. ``tune`` names the
    weights that change: the head, the last stage, or all. ``features`` name what the head sees: the ``last`` ones, or
    also the means of all ``stages``, where a model tells these. ``weights`` come from the hub or from a folder with a
    file for each model, such as ``resnet18.a1_in1k.safetensors``; ``none`` trains from scratch. ``known`` is a table in
    CSV of what is known of models, by default their accuracies on ImageNet; ``none`` uses nothing.

    >>> space = TimmZoo(input_shape=(3, 32, 32), classes=10, models=["resnet10t*", "lcnet_050*"])
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))

    Raises:
        ValueError: a pattern stands for no model, or no model accepts one of the resolutions.
    """

    accepts = IMAGES
    path_options = MappingProxyType({"weights": (HUB, NONE), "known": (NONE,)})

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        classes: int,
        models: str | Sequence[str] = CURATED,
        resolutions: Sequence[int] = (),
        tune: Sequence[str] = TUNE,
        features: Sequence[str] = FEATURES,
        learning_rates: Sequence[float] = LEARNING_RATES,
        layer_decays: Sequence[float] = LAYER_DECAYS,
        weights: str = HUB,
        known: str | None = None,
    ) -> None:
        self._channels, _, _ = image_shape(self, input_shape)
        self._classes = classes
        # Workers run in folders of their own, so the path must be whole.
        self._weights = weights if weights in (HUB, NONE) else str(Path(os.path.expanduser(weights)).resolve())
        self._facts = {} if known == NONE else read_facts(SHIPPED if known is None else Path(os.path.expanduser(known)))
        self._descriptions = Descriptions(self._channels, classes)
        self.notes: list[str] = []
        self._too_large = ""
        self._models = self._that_fit(chosen_models(models))
        self._resolutions = _checked_resolutions(resolutions)
        self._tune, self._features = tuple(tune), _checked_features(features)
        self._accepted = self._accepted_resolutions()
        self._models = tuple(self._accepted)
        if known not in (None, NONE) and not any(map(self._facts_of, self._models)):
            raise ValueError(
                f"a table of what is known of models must name some of those that are searched, but {known} has none "
                f"of them. Names are such as {self._models[0]}, with the tag of the weights or without."
            )
        self.choices = (
            nas.Choice("model", self._models),
            *([nas.Choice("resolution", self._resolutions)] if self._resolutions else []),
            *([nas.Choice("features", self._features)] if len(self._features) > 1 else []),
            nas.Choice("tune", tuple(tune), affects="training"),
            *self._by_depth(tune, learning_rates, layer_decays),
        )

    @staticmethod
    def options_of_winner(options: Mapping[str, Any], choices: Mapping[str, nas.Option]) -> dict[str, Any]:
        """Return the options with which a winner is built: its own model alone, without weights and tables of facts."""
        found: dict[str, Any] = {"models": [choices["model"]], "weights": NONE, "known": NONE}
        features = options.get("features", FEATURES)
        found |= {"features": list(features)} if "features" not in choices and len(features) == 1 else {}
        return found | ({"resolutions": [choices["resolution"]]} if "resolution" in choices else {})

    @staticmethod
    def _by_depth(
        tune: Sequence[str], learning_rates: Sequence[float], layer_decays: Sequence[float]
    ) -> list[nas.Choice]:
        """Return the choices that belong to the head alone, or to deeper tuning, which begins from a fitted head.

        Inputs of a head alone are not augmented, so that it is fitted in one pass over them.
        """
        found, deep = [], tuple(each for each in tune if each != HEAD)
        if HEAD in tune:
            found.append(nas.Choice("augment", (False,), when=("tune", (HEAD,)), affects="training"))
        if deep:
            found += [
                nas.Choice("learning_rate", tuple(learning_rates), when=("tune", deep), affects="training"),
                nas.Choice("fit_head", (True,), when=("tune", deep), affects="training"),
            ]
        if deep and layer_decays:
            found.append(nas.Choice("layer_decay", tuple(layer_decays), when=("tune", deep), affects="training"))
        return found

    @property
    def first(self) -> list[nas.Architecture]:
        """Fitted heads of a spread of models and resolutions, the cheapest first. Each costs one pass over the items.

        Of many, those are taken that no other one beats in accuracy and cost, as far as that is known.
        """
        if HEAD not in self._tune or self._weights == NONE:
            return []
        pairs = [(name, side) for name, sides in self._accepted.items() for side in sides]
        shown = self._features if len(pairs) * len(self._features) <= MOST_FIRST else self._features[:1]
        if len(pairs) > MOST_FIRST:
            pairs = spread(worthwhile(pairs, self._cost, self._accuracy), MOST_FIRST)
        named: list[dict[str, nas.Option]] = [
            {
                "model": name,
                **({"resolution": side} if self._resolutions else {}),
                **({"features": each} if len(self._features) > 1 else {}),
            }
            for name, side in sorted(pairs, key=self._cost)
            for each in shown
        ]
        found = [nas.Architecture({**self.canonical(values), "tune": HEAD, "augment": False}) for values in named]
        return list(dict.fromkeys(found))

    def _cost(self, pair: tuple[str, int]) -> float:
        """Return about how many multiply-accumulates a model takes at a resolution: as published, or else counted."""
        name, side = pair
        published = read_facts(SHIPPED).get(name, {})
        if "gmacs" in published and "resolution" in published:
            return 1e9 * published["gmacs"] * ((side or published["resolution"]) / published["resolution"]) ** 2
        return float(sum(layer.macs for layer in self._descriptions.layers(name, side, LAST)))

    def _accuracy(self, name: str) -> float:
        """Return the mean of what is known of a model; minus infinity where nothing is."""
        known = [value for column, value in self._facts_of(name).items() if column not in SIZES]
        return sum(known) / len(known) if known else -math.inf

    def _that_fit(self, models: Sequence[str]) -> tuple[str, ...]:
        """Leave out the models whose training exceeds the memory, unless all do: ``check_start`` refuses these."""
        usable = nas.usable_memory_bytes()
        large = [name for name in models if usable and self._weights_of(name) * BYTES_PER_WEIGHT > usable]
        if not large:
            return tuple(models)
        memory = f"takes more than the memory of {(usable or 0) / 2**30:.3g} GiB"
        named = ", ".join(large[:MOST_NAMED]) + (", …" if len(large) > MOST_NAMED else "")
        if len(large) == len(models):
            self._too_large = f"training each of the models {memory}: {named}. Choose smaller ones."
            return tuple(models)
        self.notes.append(f"{len(large)} models are left out, because training them {memory}: {named}.")
        return tuple(name for name in models if name not in large)

    def _weights_of(self, name: str) -> float:
        """Return the number of a model's weights: as published, or else counted; 0 if it cannot be built."""
        published = read_facts(SHIPPED).get(name, {}).get("mparams")
        if published is not None:
            return 1e6 * published
        try:
            return sum(layer.params for layer in self._descriptions.layers(name, OWN, LAST))
        except RefusedError:
            return 0

    def _accepted_resolutions(self) -> dict[str, tuple[int, ...]]:
        """Return the resolutions that each model accepts; models that accept none are left out."""
        if not self._resolutions:
            return dict.fromkeys(self._models, (OWN,))
        found: dict[str, tuple[int, ...]] = {}
        for name in self._models:
            refused = {side: self._descriptions.why_refused(name, side, LAST) for side in self._resolutions}
            accepted = tuple(side for side in self._resolutions if refused[side] is None)
            left_out = [side for side in self._resolutions if side not in accepted]
            if left_out:
                sides = ", ".join(map(str, left_out))
                self.notes.append(f"{name} is left out at {sides} pixels: {refused[left_out[0]]}")
            if accepted:
                found[name] = accepted
        if not found:
            raise ValueError(f"a model must accept one of the resolutions {self._resolutions}. {self.notes[-1]}")
        return found

    def canonical(self, values: Mapping[str, nas.Option]) -> Mapping[str, nas.Option]:
        """Give a model the nearest of the resolutions that it accepts, and the last features if it tells no stages."""
        found = dict(values)
        if "resolution" in values:
            accepted, wanted = self._accepted[str(values["model"])], int(values["resolution"])
            found["resolution"] = min(accepted, key=lambda side: (abs(side - wanted), side))
        if found.get("features") == STAGES and self._descriptions.why_refused(*self._named(found)):
            found["features"] = LAST
        return found

    def build(self, architecture: nas.Architecture) -> nn.Module:
        """Return the torch module with random weights; ``start`` loads the trained ones."""
        return build_model(*self._named(architecture), self._channels, self._classes)

    def layers(self, architecture: nas.Architecture) -> Sequence[nas.Layer]:
        """Return the layers, which are traced once for each model and resolution, and kept."""
        try:
            return self._descriptions.layers(*self._named(architecture))
        except RefusedError as error:
            raise ValueError(str(error)) from None

    def inputs(self, architecture: nas.Architecture) -> Mapping[str, Any]:
        """Return the preparation with which the model was trained, at the chosen resolution."""
        return self._descriptions.inputs(*self._named(architecture))

    def start(self, architecture: nas.Architecture, module: nn.Module) -> None:
        """Load the model's trained weights; the head stays new if the classes are others, or if it sees stages."""
        name, resolution, features = self._named(architecture)
        body = module if features == LAST else module.get_submodule("body")
        load_into(body, name, self._weights, self._channels, size_of(name, resolution))

    def origin(self, architecture: nas.Architecture) -> Mapping[str, str]:
        """Return the name, the place and the licence of a model's trained weights; nothing if there are none."""
        return {} if self._weights == NONE else origin_of(str(architecture["model"]), self._weights)

    def check_start(self) -> None:
        """Check that a model fits the memory, and that all weights can be had and fit. Raises RecipeError."""
        if self._too_large:
            raise nas.RecipeError(self._too_large)
        self.notes += check_weights(self._models, self._weights, self._channels)

    def known(self, architecture: nas.Architecture) -> Mapping[str, float]:
        """Return what the table tells of a model's accuracy; nothing of a model that it lacks."""
        facts = self._facts_of(str(architecture["model"])) if self._weights != NONE else {}
        return {column: value for column, value in facts.items() if column not in SIZES}

    def _facts_of(self, model: str) -> Mapping[str, float]:
        """Return the facts of a model, by its full name or by that without the tag; none if the table lacks it."""
        return self._facts.get(model) or self._facts.get(model.partition(".")[0], {})

    @property
    def known_names(self) -> tuple[str, ...]:
        """The columns of what is known of models."""
        named = {column: None for facts in self._facts.values() for column in facts if column not in SIZES}
        return () if self._weights == NONE else tuple(named)

    def _named(self, values: Mapping[str, nas.Option]) -> Key:
        """Return the model, its resolution and its features, which winners of earlier versions lack."""
        only = self._features[0] if len(self._features) == 1 else LAST
        return str(values["model"]), int(values.get("resolution", OWN)), str(values.get("features", only))


def _checked_features(given: object) -> tuple[str, ...]:
    """Return what heads may see, without duplicates. Raises ValueError for others than ``FEATURES``."""
    if not isinstance(given, (list, tuple)) or not given or not set(given) <= set(FEATURES):
        raise ValueError(
            f"features must be a list of {' and '.join(FEATURES)}, or of one of them, but got {given!r:.80}."
        )
    return tuple(dict.fromkeys(given))


def _checked_resolutions(given: object) -> tuple[int, ...]:
    """Return resolutions without duplicates. Raises ValueError for others than numbers of pixels."""
    if not isinstance(given, (list, tuple)) or not all(type(side) is int and side >= 1 for side in given):
        raise ValueError(
            f"resolutions must be a list of whole numbers of pixels, such as [160, 224], but got {given!r:.80}."
        )
    return tuple(dict.fromkeys(given))
