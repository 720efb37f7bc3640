"""Signatures of models that each installed space can build, by what the space accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.space.plug_ins import load_plug_in, plug_in_names
from nas.space.signature import Signature, TensorType, image_signature

CLASSES = 10
IMAGES = tuple(image_signature(shape, CLASSES) for shape in ((1, 8, 8), (1, 28, 28), (3, 32, 32)))
SIGNALS = tuple(
    Signature((TensorType("signals", shape),), (CLASSES,)) for shape in ((1, 24), (6, 100), (40, 101), (2, 4000))
)
TEXTS = tuple(
    Signature((TensorType("tokens", (context,), "int64", (vocabulary,)),), (context, vocabulary))
    for context, vocabulary in ((16, 256), (48, 700))
)
_NUMBERS = TensorType("numbers", (5,))
_CATEGORIES = TensorType("categories", (3,), "int64", (2, 7, 30))
_CATEGORY = TensorType("categories", (1,), "int64", (4,))
TABLES = tuple(
    Signature(inputs, (CLASSES,))
    for inputs in (
        (_NUMBERS,),
        (_CATEGORIES,),
        (_NUMBERS, _CATEGORY),
        (_NUMBERS, _CATEGORIES),
        (TensorType("numbers", (400,)), _CATEGORIES),
    )
)
BY_NOUN: Mapping[str, tuple[Signature, ...]] = {
    "images": IMAGES,
    "signals": SIGNALS,
    "tables": TABLES,
    "texts": TEXTS,
}


def building_spaces() -> list[str]:
    """Return the names of the installed spaces that build networks; rows of a table are looked up."""
    return [name for name in plug_in_names("nas.search_spaces") if name != "table"]


def signatures_for(space: str) -> tuple[Signature, ...]:
    """Return some signatures, small ones first, of models that the installed space can build."""
    accepts = getattr(load_plug_in("nas.search_spaces", space, "search space"), "accepts", None)
    return BY_NOUN[accepts.noun] if accepts is not None else IMAGES


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "joined": {"spaces": ["mobilenet", "fbnet"]},
    "shrunk": {"parent": "small_parents:make_colours"},
}
"""Options without which an installed space cannot be made."""


SMALL: Mapping[str, Mapping[str, Any]] = {
    "timm": {"models": ["test_vit.r*", "test_efficientnet.r*", "lcnet_050.*"], "resolutions": [64, 80, 96]}
}
"""Small models in the place of the default ones, which take minutes to be described."""


def options_for(space: str) -> Mapping[str, Any]:
    """Return the options that the installed space needs."""
    return OPTIONS.get(space, {})
