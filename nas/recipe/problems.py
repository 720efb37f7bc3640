"""The mistakes in a recipe, in sentences: the key, the rule and the value."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nas.errors import RecipeError, did_you_mean, nearest
from nas.recipe.toml_text import toml_literal

MOST_SAME = 3
"""A key such as ``name``, which more sections have, says nothing about the section that was meant."""
LONGEST_VALUE = 60
"""A longer value is cut in a message."""


@contextlib.contextmanager
def told_to_pydantic() -> Iterator[None]:
    """Turn a RecipeError into a ValueError: pydantic gathers these, and adds the key that they are about."""
    try:
        yield
    except RecipeError as error:
        raise ValueError(str(error)) from error


@contextlib.contextmanager
def explained(recipe: type[BaseModel]) -> Iterator[None]:
    """Turn pydantic's list of problems with a ``recipe`` into one RecipeError in our own words."""
    try:
        yield
    except ValidationError as error:
        problems = [_explain(problem, recipe) for problem in error.errors(include_url=False)]
        raise RecipeError("\n".join(dict.fromkeys(problems))) from error


def checked_keys(values: object) -> Mapping[str, Any]:
    """Return the keys that a user passes as a recipe. Raises RecipeError if they are no mapping of texts."""
    if isinstance(values, Mapping) and all(isinstance(key, str) for key in values):
        return values
    raise RecipeError(
        'a recipe is a nas.Recipe, the path of a TOML file, or a mapping of keys such as {"data": "digits"}, but got '
        f"{values!r:.{LONGEST_VALUE}}."
    )


def _explain(problem: Any, recipe: type[BaseModel]) -> str:
    """Return one pydantic problem as a sentence that says the rule and then the value."""
    inner = problem.get("ctx", {}).get("error")
    where = ".".join(str(part) for part in problem["loc"])
    if isinstance(inner, ValueError):
        return f"{where}: {inner}" if where else str(inner)
    if problem["type"] == "extra_forbidden":
        return f"a recipe has no key {where!r}. {_nearest_key(problem['loc'], recipe)}"
    if problem["type"] == "literal_error" and isinstance(problem["input"], str):
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        return f"{where}: unknown value {short(problem['input'])}. {did_you_mean(problem['input'], known)}"
    wanted = {"model_type": "input should be a table of keys", "tuple_type": "input should be a list"}
    rule = wanted.get(problem["type"], problem["msg"][0].lower() + problem["msg"][1:])
    return f"{where}: {rule}, but got {short(problem['input'])}."


def _nearest_key(location: Sequence[str | int], recipe: type[BaseModel]) -> str:
    """Return a suggestion for an unknown key: the same key of another section, or the key that is spelt most like it.

    A key that stands where it belongs to another section is common: ``--set epochs=4`` for ``training.epochs``.
    """
    *outer, last = (str(part) for part in location)
    keys = [key for key, _ in key_fields(recipe)]
    same = [key for key in keys if key.rpartition(".")[2] == last]
    if 0 < len(same) <= MOST_SAME:
        return f"Did you mean {' or '.join(map(repr, same))}?"
    prefix = "".join(f"{part}." for part in outer)
    siblings = list(dict.fromkeys(key.removeprefix(prefix).partition(".")[0] for key in keys if key.startswith(prefix)))
    if nearest(last, siblings) is None and not outer:
        leaf = nearest(last, [key.rpartition(".")[2] for key in keys])
        if leaf is not None:
            return f"Did you mean {' or '.join(repr(key) for key in keys if key.rpartition('.')[2] == leaf)}?"
    return did_you_mean(last, siblings)


def key_fields(model: Any, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield all keys of a section with their fields, those of its own sections in dotted form."""
    for key, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from key_fields(field.annotation, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", field


def short(value: Any) -> str:
    """Return a value as TOML writes it, cut if it is long."""
    try:
        text = repr(value) if isinstance(value, str) else toml_literal(value)
    except (AssertionError, ValueError):  # a date, an object from Python, or an integer of thousands of digits
        text = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} … ({len(text)} characters)"
