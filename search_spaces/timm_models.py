"""Names and published facts of timm's pretrained models, without importing timm where a list of its names is kept.

timm takes five seconds to import, so its names are kept for each of its versions in the home of this project.
The file ``timm_models.csv`` holds a choice of models that spans sizes and families, with facts from the results that
timm publishes (Apache-2.0, https://github.com/huggingface/pytorch-image-models/tree/main/results): ImageNet top-1 in
per cent at a resolution, millions of parameters, and billions of multiply-accumulates.
"""

from __future__ import annotations

import csv
import fnmatch
import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import nas

SHIPPED = Path(__file__).with_name("timm_models.csv")
CURATED = "curated"
"""The name of the models of the file that ships."""
MODEL = "model"
SIZES = ("resolution", "mparams", "gmacs")
"""Columns of a table of facts that tell sizes. Its other columns of numbers tell of accuracies: higher is better."""
_MOST_NAMED = 5

Pair = tuple[str, int]
"""A model and its resolution; 0 stands for the model's own."""
Facts = Mapping[str, Mapping[str, float]]
"""By model, the numbers of a table by column."""


@functools.lru_cache(maxsize=8)
def read_facts(path: Path) -> Facts:
    """Return the numbers of a table of models in CSV; empty cells are left out.

    Raises:
        ValueError: it cannot be read, lacks the column ``model``, or holds no number beside the sizes.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"a table of what is known of models must be a CSV file, but {path} is none: {error}"
        ) from None
    if not rows or MODEL not in rows[0]:
        columns = ", ".join(map(str, rows[0])) if rows else "no row"
        raise ValueError(f"a table of what is known of models needs the column {MODEL!r}, but {path} has {columns}.")
    found = {row[MODEL]: _numbers(row) for row in rows if row[MODEL]}
    if not any(set(each) - set(SIZES) for each in found.values()):
        raise ValueError(f"a table of what is known of models needs a column of numbers, such as accuracies: {path}.")
    return found


def _numbers(row: Mapping[str, str | None]) -> dict[str, float]:
    found = {}
    for column, cell in row.items():
        try:
            value = float(cell or "nan")
        except (TypeError, ValueError):  # a text, such as a licence
            continue
        if column != MODEL and math.isfinite(value):
            found[column] = value
    return found


def chosen_models(wanted: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of pretrained models that a pattern, several of them, or ``curated`` stand for, in their order.

    A name without a tag, such as ``resnet18``, stands for timm's default weights of that architecture.

    Raises:
        ValueError: a pattern stands for no model; the nearest names are given.
    """
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    if not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise ValueError(f"models must be a pattern such as mobilenetv4*, or a list of them, but got {wanted!r:.80}.")
    found: dict[str, None] = {}
    for pattern in patterns:
        found |= dict.fromkeys(tuple(read_facts(SHIPPED)) if pattern == CURATED else _matching(pattern))
    return tuple(found)


def _matching(pattern: str) -> list[str]:
    known = known_names()
    if pattern in known:
        return [known[pattern]]
    matching = list(dict.fromkeys(known[name] for name in fnmatch.filter(known, pattern)))
    if not matching:
        near = _nearest(pattern, known)
        raise ValueError(
            f"models must name pretrained models of timm {version('timm')}, but none is called {pattern!r}. "
            f"Nearest: {', '.join(near)}. A pattern such as mobilenetv4* names several."
        )
    return matching


def _nearest(pattern: str, known: Mapping[str, str]) -> list[str]:
    import difflib

    plain = pattern.replace("*", "").replace("?", "")
    bare = sorted({name.partition(".")[0] for name in known})
    return difflib.get_close_matches(plain, bare, _MOST_NAMED, cutoff=0.3) or bare[:_MOST_NAMED]


def known_names() -> Mapping[str, str]:
    """Return the full name, with the tag of its weights, by every name of a pretrained model of timm."""
    return _names_of(version("timm"))


@functools.lru_cache(maxsize=1)
def _names_of(timm_version: str) -> Mapping[str, str]:
    kept = nas.home() / "timm" / timm_version / "names.json"
    try:
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        pass
    import timm
    from timm.models import get_pretrained_cfg

    full = timm.list_models(pretrained=True)
    found = {name: name for name in full}
    for name in timm.list_models():
        config = get_pretrained_cfg(name, allow_unregistered=True)
        if config is not None and config.tag and f"{name}.{config.tag}" in found:
            found[name] = f"{name}.{config.tag}"
    keep(kept, found)
    return found


def keep(path: Path, content: object) -> None:
    """Write plain data where later processes find them; a home that cannot be written to keeps nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        nas.write_aside(path, json.dumps(content).encode())
    except OSError:
        return


def worthwhile(pairs: Sequence[Pair], cost: Callable[[Pair], float], accuracy: Callable[[str], float]) -> list[Pair]:
    """Return the models with their resolutions that could be best at some cost, the cheapest first.

    These are all resolutions of the models that no cheaper one beats in ``accuracy``. What is known of a model
    is of one resolution, so its resolutions stay together. Nothing is left out where nothing is known.
    """
    by_model: dict[str, list[Pair]] = {}
    for pair in sorted(pairs, key=cost):
        by_model.setdefault(pair[0], []).append(pair)
    kept: list[str] = []
    best = -math.inf
    for name in sorted(by_model, key=lambda each: cost(by_model[each][-1])):
        known = accuracy(name)
        if known > best or math.isinf(known):
            kept.append(name)
            best = max(best, known)
    return sorted((pair for name in kept for pair in by_model[name]), key=cost)


def spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return ``count`` of some in order, evenly spread, both ends among them; all where there are no more."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[round(place * (len(pairs) - 1) / (count - 1))] for place in range(count)]
