"""The TOML of recipes: reading it, overriding keys, and writing it."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.errors import RecipeError
from nas.paths import why_no_file

UTF_8 = "utf-8-sig"
"""The encoding of recipes. A byte-order mark, as Windows' editor writes it, is skipped."""
NAMED = ("data", "space", "sampler", "predictor")
"""Sections that a recipe may write as their name alone."""

NOT_OF_TABLES = ("target", "precisions", "data")
"""Keys without a use where everything is looked up in a table."""
SELDOM = ("further_targets",)
"""Keys that are written only where they are set."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file. Raises RecipeError if it is missing or malformed."""
    why = why_no_file(path)
    if why is not None:
        raise RecipeError(f"a recipe is a TOML file, but {path} {why}.")
    try:
        return tomllib.loads(path.read_text(encoding=UTF_8))
    except OSError as error:
        raise RecipeError(f"a recipe is a TOML file, but {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"a recipe is a TOML file in UTF-8, but {path} is in another encoding: {error}. Save it as UTF-8."
        ) from error
    except RecursionError:
        raise RecipeError(f"a recipe is a TOML file, but {path} is nested too deeply.") from None
    except ValueError as error:  # not TOML, or an integer of thousands of digits
        raise RecipeError(f"a recipe is a TOML file, but {path} is not: {error}.") from error


def apply_overrides(
    values: Mapping[str, Any], overrides: Iterable[str], say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Return ``values`` with each ``dotted.key=value`` set. What is not TOML is taken as text.

    A name alone, ``sampler=gp``, keeps the options that ``values`` have for the same name. Those for another name are
    dropped, and ``say`` is told so.

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
        value = _toml_value(text.strip())
        if place is result and last in NAMED and isinstance(value, str):
            value = _renamed(last, result.get(last), value, say)
        place[last] = value
    return result


def _renamed(section: str, before: object, name: str, say: Callable[[str], None]) -> str | dict[str, Any]:
    """Return the section ``before`` with another name, or the name alone; options go with the name that they had."""
    if not isinstance(before, dict) or section == "data":
        return {**before, "name": name} if isinstance(before, dict) else name
    if before.get("name") == name:
        return before
    options = ", ".join(key for key in before if key != "name")
    if options:
        say(f"the {section} {name} does not get the recipe's options of {before.get('name', 'the default')}: {options}")
    return name


def toml_lines(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the lines of TOML for nested tables of plain values. The standard library reads TOML but does not write it.

    TOML has no word for None, so a key without a value becomes a comment.
    """
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    for key, value in values.items():
        if value is None:
            yield f"# {_toml_key(key)} =\n"
        elif key not in tables:
            yield f"{_toml_key(key)} = {toml_literal(value)}\n"
    for key, table in tables.items():
        name = f"{prefix}{_toml_key(key)}"
        yield f"\n[{name}]\n"
        yield from toml_lines(table, f"{name}.")


def used_values(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's values without the defaults of keys without a use: a table needs neither data nor target."""
    unused = (*SELDOM, *(NOT_OF_TABLES if values["evaluate"] == "table" else ()))
    return {key: value for key, value in values.items() if key not in unused or value != defaults[key]}


def flat_literals(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the literals of nested tables by their dotted keys."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= flat_literals(value, f"{name}.") if isinstance(value, Mapping) else {name: toml_literal(value)}
    return flat


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_literal(key)


def toml_literal(value: Any) -> str:
    """Return a plain value as TOML writes it."""
    if isinstance(value, str):
        # JSON's strings are TOML's, but for the one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_literal(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_toml_key(k)} = {toml_literal(v)}' for k, v in value.items())}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    assert isinstance(value, bool | int | float), value
    return json.dumps(value)


def _toml_value(text: str) -> Any:
    """Return the value that ``text`` is in TOML, or the text itself if it is no TOML, or more than one value.

    Between brackets, a comment or a second line with a key of its own is an error instead of vanishing.
    """
    try:
        found = tomllib.loads(f"value = {text}")
        return found["value"] if tomllib.loads(f"value = [{text}]") == {"value": [found["value"]]} else text
    except (ValueError, RecursionError):  # not TOML, an integer of thousands of digits, or brackets within brackets
        return text
