"""The TOML of recipes: reading it, overriding keys, and writing it."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.errors import RecipeError

NAMED = ("data", "space", "sampler", "predictor")
"""Sections that a recipe may write as their name alone."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file. Raises RecipeError if it is missing or malformed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"a recipe is a TOML file, but {path} does not exist.") from None
    except OSError as error:
        raise RecipeError(f"a recipe is a TOML file, but {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"a recipe is a TOML file, but {path} is not: {error}.") from error


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return ``values`` with each ``dotted.key=value`` set. What is not TOML is taken as text.

    Raises:
        RecipeError: an override without ``=``, or with a key inside something that is no table.
    """
    result: dict[str, Any] = json.loads(json.dumps(values, default=str))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set takes key=value, such as training.epochs=4, but got {override!r}.")
        *tables, last = [part.strip() for part in key.split(".")]
        place = result
        for table in tables:
            inner = place.setdefault(table, {})
            if isinstance(inner, str) and table in NAMED:
                inner = place[table] = {"name": inner}
            if not isinstance(inner, dict):
                raise RecipeError(f"--set {override}: {table!r} is not a table but {inner!r}.")
            place = inner
        place[last] = _toml_value(text.strip())
    return result


def toml_lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the lines of TOML for nested tables of plain values. The standard library reads TOML but does not write it.

    TOML has no word for None, so a key without a value becomes a comment.
    """
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    for key, value in values.items():
        if value is None:
            yield f"# {_toml_key(key)} =\n"
        elif key not in tables:
            yield f"{_toml_key(key)} = {_toml_literal(value)}\n"
    for key, table in tables.items():
        name = f"{prefix}{_toml_key(key)}"
        yield f"\n[{name}]\n"
        yield from toml_lines(table, f"{name}.")


def flat_literals(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the literals of nested tables by their dotted keys."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= flat_literals(value, f"{name}.") if isinstance(value, Mapping) else {name: _toml_literal(value)}
    return flat


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_literal(key)


def _toml_literal(value: Any) -> str:
    if isinstance(value, str):
        # JSON's strings are TOML's, but for the one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_literal(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_toml_key(k)} = {_toml_literal(v)}' for k, v in value.items())}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    assert isinstance(value, bool | int | float), value
    return json.dumps(value)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
